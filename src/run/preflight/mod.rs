//! `preflight`: can this pair be replicated and verified? Reads catalogs and states; of user tables, at most whether one
//! that has no counterpart holds a row.
//!
//! The engine here asks, `judge` decides without I/O, and a report shows what came out.

mod code;
mod judge;
mod outcome;

pub use code::CHECKS;
pub use outcome::*;

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use self::judge::Seen;
use crate::catalog::health::{self, Health, Probe};
use crate::catalog::{self, Finding};
use crate::config::{ConnectOptions, GateMode, PreflightConfig};
use crate::connect::{Session, SessionSettings};
use crate::error::{Error, ErrorKind, Result};
use crate::lsn::Lsn;
use crate::run::assemble::{self, server_of};
use crate::run::exit;
use crate::run::outcome::SCHEMA_VERSION;
use crate::run::servers::refuse_same;
use crate::side::Side;

/// How long a transaction of ours may stay open: none lasts longer than a statement.
const TRANSACTION_LIMIT: Duration = Duration::from_secs(5 * 60);
/// How often the schemas are read again where tables are created or dropped meanwhile.
const SCHEMA_ATTEMPTS: u32 = 3;

/// Looks at a publisher and, if there is one, at a subscriber.
///
/// # Errors
///
/// Where nothing was judged: a server that cannot be reached or is of an unsupported version, a publisher that is a
/// standby, a pattern that matches nothing, a subscription that does not exist. What a server refuses to tell is none: it
/// is a check with [`Status::Unknown`]. A session that is lost on the way is an error of kind [`ErrorKind::Lost`].
pub async fn preflight(config: PreflightConfig, stop: CancellationToken) -> Result<PreflightOutcome> {
    tokio::select! {
        result = look(&config) => result,
        () = stop.cancelled() => Err(Error::new(ErrorKind::Interrupted, "interrupted")),
    }
}

async fn look(config: &PreflightConfig) -> Result<PreflightOutcome> {
    let (publisher, subscriber) = connect(config).await?;
    let begin = (health::read_position_of_primary(&publisher).await?, Instant::now());
    let request = request(config);
    let health = health::read(&publisher, subscriber.as_ref(), &request).await?;
    let schema = match &subscriber {
        Some(subscriber) => Some(schema(&publisher, subscriber, request, &health, config).await?),
        None => None,
    };
    let slot = slot(config, &publisher, &health).await?;
    tokio::time::sleep(config.wal_interval.saturating_sub(begin.1.elapsed())).await;
    let wal = rate(begin, health::read_position_of_primary(&publisher).await?);
    let seen = Seen {
        health: &health,
        schema: schema.as_ref(),
        slot: slot.as_ref(),
        wal: &wal,
        requested: &config.subscriptions,
        scope: config.scope,
        long_transaction: config.long_transaction,
        retained_bytes: config.retained_bytes,
        restore_lsn: config.restore_lsn,
    };
    let (checks, proof) = judge::judge(&seen);
    let outcome = PreflightOutcome {
        schema_version: SCHEMA_VERSION,
        tool: assemble::tool(),
        exit_code: exit_code(&checks),
        publisher: server_of(&health.publisher.server.facts, publisher.endpoint()),
        subscriber: health
            .subscriber
            .as_ref()
            .zip(subscriber.as_ref())
            .map(|(health, session)| server_of(&health.server.facts, session.endpoint())),
        proof,
        wal,
        publications: publications(&health),
        checks,
    };
    publisher.close().await;
    if let Some(subscriber) = subscriber {
        subscriber.close().await;
    }
    Ok(outcome)
}

async fn connect(config: &PreflightConfig) -> Result<(Session, Option<Session>)> {
    let settings = SessionSettings::control(TRANSACTION_LIMIT);
    let open = |options: ConnectOptions, side| async move {
        Session::open(&options, side, "preflight", &settings, None).await
    };
    let publisher = open(config.publisher.clone(), Side::Publisher).await?;
    let subscriber = match &config.subscriber {
        Some(options) => Some(open(options.clone(), Side::Subscriber).await?),
        None => None,
    };
    if let Some(subscriber) = &subscriber {
        refuse_same(&publisher, subscriber).await?;
    }
    Ok((publisher, subscriber))
}

fn request(config: &PreflightConfig) -> catalog::Request {
    catalog::Request {
        subscriptions: config.subscriptions.clone(),
        tables: config.tables.clone(),
        exclude_tables: config.exclude_tables.clone(),
        scope: config.scope,
        mappings: config.mappings.clone(),
        // Where no subscription joins the two yet, their tables are still to be equal one day.
        gate: GateMode::None,
    }
}

/// What the schemas of both sides say.
async fn schema(
    publisher: &Session,
    subscriber: &Session,
    mut request: catalog::Request,
    health: &Health,
    config: &PreflightConfig,
) -> Result<Probe<Vec<Finding>>> {
    let known = health.subscriber.as_ref().map(|health| health.subscriptions.as_slice()).unwrap_or_default();
    for name in &config.subscriptions {
        if !known.iter().any(|subscription| &subscription.name == name) {
            let names: Vec<_> = known.iter().map(|subscription| subscription.name.as_str()).collect();
            let message = format!("subscription {name} does not exist on the subscriber");
            let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(Error::new(ErrorKind::Usage, message)
                .with_hint(format!("subscriptions of this database of the subscriber: {there}")));
        }
    }
    // One with a wrong slot is told as such; here it would be an error.
    let slots = health.publisher.slots.told().map(Vec::as_slice).unwrap_or_default();
    request.subscriptions.retain(|name| {
        let of = known.iter().find(|subscription| &subscription.name == name);
        let slot = of.and_then(|subscription| subscription.slot.as_ref());
        slots.iter().any(|known| Some(&known.name) == slot && known.logical && known.own_database)
    });
    let mut attempt = 1;
    loop {
        match catalog::read(publisher, subscriber, &request).await {
            Err(error) if error.kind() == ErrorKind::Usage => return Err(error),
            Err(error) if error.kind() == ErrorKind::Changed && attempt < SCHEMA_ATTEMPTS => attempt += 1,
            result => return Probe::of(result.map(|catalog| catalog.findings)),
        }
    }
}

/// Tries out a temporary slot in a session of its own, where the role has the privilege and the server the level.
async fn slot(config: &PreflightConfig, publisher: &Session, health: &Health) -> Result<Option<Probe<()>>> {
    let server = &health.publisher.server;
    let role = &server.role;
    let logical = server.settings.get("wal_level").is_some_and(|setting| setting.value == "logical");
    if !logical || !(role.superuser || role.replication || role.rds_replication) {
        return Ok(None);
    }
    let slots = health.publisher.slots.told().map(Vec::as_slice).unwrap_or_default();
    let subscriptions = health.subscriber.as_ref().map(|health| health.subscriptions.as_slice()).unwrap_or_default();
    let source = slots.iter().find(|slot| {
        let used = subscriptions.iter().any(|subscription| subscription.slot.as_ref() == Some(&slot.name));
        used && slot.logical && slot.own_database && slot.invalidated.is_none()
    });
    let settings = SessionSettings::control(TRANSACTION_LIMIT);
    let endpoint = publisher.endpoint();
    let session = Session::open(&config.publisher, Side::Publisher, "preflight slot", &settings, Some(endpoint)).await;
    let session = match session {
        Ok(session) => session,
        // The server has answered before: what it says now is about this session, such as that no connection is left.
        Err(error) => return Ok(Some(Probe::Refused(error.message().to_owned()))),
    };
    let tried = health::try_slot(&session, source.map(|slot| slot.name.as_str())).await;
    session.close().await;
    Probe::of(tried).map(Some)
}

fn rate((from, since): (Lsn, Instant), to: Lsn) -> WalRate {
    let interval_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
    WalRate { from, to, bytes: to.bytes_since(from), interval_ms }
}

fn publications(health: &Health) -> Vec<PublicationReport> {
    let report = |publication: &health::Publication| PublicationReport {
        name: publication.name.clone(),
        all_tables: publication.all_tables,
        lacking: publication.lacking.clone(),
        tables: publication.tables.iter().map(ToString::to_string).collect(),
    };
    health.publisher.tables.publications.iter().map(report).collect()
}

/// Something to fix comes before what could not be seen.
fn exit_code(checks: &[Check]) -> u8 {
    let any = |status| checks.iter().any(|check| check.status == status);
    if any(Status::Fix) {
        exit::DIFFERENT
    } else if any(Status::Unknown) {
        exit::UNPROVEN
    } else {
        exit::MATCH
    }
}

#[cfg(test)]
mod tests {
    use super::code::Code;
    use super::*;

    #[test]
    fn what_is_to_be_fixed_goes_before_what_could_not_be_seen() {
        let of = |statuses: &[Status]| {
            let check = |&status: &Status| Check::new(Code::WalRate, status, None, "");
            exit_code(&statuses.iter().map(check).collect::<Vec<_>>())
        };
        assert_eq!(of(&[Status::Ok, Status::Warn]), exit::MATCH);
        assert_eq!(of(&[Status::Unknown, Status::Ok]), exit::UNPROVEN);
        assert_eq!(of(&[Status::Unknown, Status::Fix, Status::Warn]), exit::DIFFERENT);
    }

    #[test]
    fn rates_are_per_time_and_do_not_overflow() {
        let rate = WalRate { from: Lsn(0), to: Lsn(3000), bytes: 3000, interval_ms: 1500 };
        assert_eq!(rate.bytes_in(Duration::from_secs(60)), 120_000);
        let none = WalRate { interval_ms: 0, bytes: u64::MAX, ..rate };
        assert_eq!(none.bytes_in(Duration::from_secs(60)), u64::MAX);
    }
}
