//! A temporary slot in a session of its own: the only thing that is ever created, and it dies with its session.

use crate::catalog::Subscription;
use crate::connect::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::gate::observe::{self, unexpected};
use crate::gate::open::Request;
use crate::sql;
use std::time::Duration;

/// WAL that a copied slot may make the publisher decode again, in bytes: about ten seconds of it. A long transaction keeps
/// a slot back; then a new slot is made, which waits for the transactions that run.
const DECODE_AGAIN_MAX: u64 = 1 << 30;
/// WAL that is decoded again sooner than a new slot is there, in bytes. Every slot is some seconds of WAL behind: a publisher
/// writes what a slot can move on by every 15 s (`LOG_SNAPSHOT_INTERVAL_MS`, bgwriter.c).
/// It may leave one segment (16 MiB) nearly empty (`archive_timeout`), which is decoded in no time.
const DECODE_AGAIN_FREELY: u64 = 24 << 20;
/// Longest time for making a new slot where one can be copied as well, in milliseconds: transactions as they are in an
/// application end sooner, and decoding takes longer.
const CREATE_QUICKLY_MS: u32 = 500;
/// The minor of each major from which a new slot waits for all transactions that run (commit "Fix possibility of logical
/// decoding partial transaction changes", release notes of these). Before, it could take up a state that another slot had
/// written down, and bring the rest of a transaction without its beginning.
const CREATES_WHOLE_SINCE: [u32; 5] = [120_020, 130_016, 140_013, 150_008, 160_004];
/// Longest time for copying a slot, which waits for nobody.
const COPY_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest time for making a slot, which waits for every transaction that runs.
const CREATE_TIMEOUT: Duration = Duration::from_secs(30);

/// A temporary slot. Nothing else may be asked of its session: any error in it drops the slot.
#[derive(Debug)]
pub(crate) struct TempSlot {
    pub(crate) session: Session,
    pub(crate) name: String,
    /// The publisher's clock when the slot was there.
    pub(crate) since: String,
    /// Identifiers of the transactions of this database that held one then.
    pub(crate) suspects: Vec<u32>,
    /// Bytes of WAL behind the publisher's position that its decoding starts at.
    pub(crate) behind: u64,
}

/// Slot names are unique in a cluster; the process of the session is as well.
pub(crate) fn name(session: &Session) -> String {
    format!("triplecheck_{}", session.backend_pid())
}

/// The subscription whose slot shows what the others got as well: pgoutput takes one origin option for all.
///
/// # Errors
/// Where their options differ, or there is none.
pub(crate) fn source(subscriptions: &[Subscription]) -> Result<&Subscription> {
    let [first, others @ ..] = subscriptions else {
        return Err(Error::new(ErrorKind::Usage, "no subscription joins the two sides, so there is nothing to decode"));
    };
    match others.iter().find(|other| other.origin != first.origin) {
        None => Ok(first),
        Some(other) => {
            let message = format!("subscriptions {} and {} have different origin options", first.name, other.name);
            Err(Error::new(ErrorKind::Usage, message).with_hint("verify them one by one with --subscription"))
        }
    }
}

/// Copies a subscription's slot.
///
/// Copied, not created: creation waits for every running transaction, of other databases, too. Two slots that differ only
/// in how far they were confirmed decode the same later changes.
pub(crate) async fn copy(session: &Session, source: &Subscription) -> Result<()> {
    let copy = format!(
        "SELECT pg_catalog.pg_copy_logical_replication_slot({}, {}, true)",
        sql::literal(&source.slot),
        sql::literal(&name(session))
    );
    within(COPY_TIMEOUT, session, &copy, &format!("copying slot {}", source.slot)).await
}

async fn within(time: Duration, session: &Session, statement: &str, what: &str) -> Result<()> {
    match tokio::time::timeout(time, session.value(statement)).await {
        Ok(made) => made.map(drop),
        Err(_) => Err(Error::new(ErrorKind::TimedOut, format!("{what} took longer than {} s", time.as_secs()))),
    }
}

/// Makes a slot, and looks who could have ended unseen while it was made.
pub(crate) async fn make(publisher: &Session, source: &Subscription, request: &Request<'_>) -> Result<TempSlot> {
    let session = (request.slot_session)().await?;
    let behind = distance(publisher, &source.slot).await?;
    let whole = creates_whole(publisher.version_num());
    let behind = if whole && behind > DECODE_AGAIN_MAX {
        tracing::info!(behind, slot = %source.slot, "decoding from the subscription's slot would take long; making a new one");
        let patience = CREATE_TIMEOUT.min(request.timeout / 4);
        within(patience, &session, &create_sql(&session), "creating a temporary slot").await?;
        0
    } else if whole && behind > DECODE_AGAIN_FREELY && created_quickly(&session).await? {
        0
    } else {
        copy(&session, source).await?;
        behind
    };
    tracing::debug!(behind, "temporary slot made");
    let since = publisher.value("SELECT pg_catalog.clock_timestamp()").await?;
    let since = since.ok_or_else(|| unexpected(publisher, "the time"))?;
    let suspects = observe::suspects(publisher, &since).await?.into_iter().map(|suspect| suspect.xid).collect();
    Ok(TempSlot { name: name(&session), session, since, suspects, behind })
}

/// Whether what a new slot brings of a transaction is all of it.
fn creates_whole(version_num: u32) -> bool {
    let since = CREATES_WHOLE_SINCE.into_iter().find(|since| since / 10_000 == version_num / 10_000);
    since.map_or(version_num > 160_000, |since| version_num >= since)
}

/// Why a temporary slot was refused, for people.
pub(crate) fn refusal(error: &Error) -> String {
    let remedy =
        if error.kind() == ErrorKind::Permission { "ALTER ROLE ... REPLICATION" } else { "max_replication_slots" };
    format!("{error} ({remedy} on the publisher)")
}

fn create_sql(session: &Session) -> String {
    format!(
        "SELECT slot_name FROM pg_catalog.pg_create_logical_replication_slot({}, 'pgoutput', true)",
        sql::literal(&name(session))
    )
}

/// Makes a new slot, unless a transaction that runs is in the way of it for too long.
async fn created_quickly(session: &Session) -> Result<bool> {
    session.batch(&format!("BEGIN READ ONLY; SET LOCAL statement_timeout = {CREATE_QUICKLY_MS}")).await?;
    match session.value(&create_sql(session)).await {
        Ok(_) => session.batch("COMMIT").await.map(|()| true),
        // The failed statement has taken its slot with it (src/backend/tcop/postgres.c, ReplicationSlotCleanup).
        // Only the message tells a timeout from a cancellation, and it may be in any language.
        Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Cancelled) => {
            session.batch("ROLLBACK").await.map(|()| false)
        }
        Err(error) => Err(error),
    }
}

/// How far a slot's decoding starts behind the publisher's position, in bytes.
async fn distance(publisher: &Session, slot: &str) -> Result<u64> {
    let query = format!(
        "SELECT GREATEST(0, pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), restart_lsn)) \
         FROM pg_catalog.pg_replication_slots WHERE slot_name = {}",
        sql::literal(slot)
    );
    let rows = publisher.rows_simple(&query).await?;
    match rows.as_slice() {
        [row] => match row.as_slice() {
            [Some(bytes)] => bytes.parse().map_err(|_| unexpected(publisher, "the state of a slot")),
            _ => Err(Error::new(ErrorKind::Unsupported, format!("slot {slot} holds no WAL any longer"))),
        },
        _ => Err(Error::new(ErrorKind::Changed, format!("slot {slot} is not there any longer"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_minors_make_no_slot_that_brings_half_a_transaction() {
        for since in CREATES_WHOLE_SINCE {
            assert!(creates_whole(since));
            assert!(creates_whole(since + 1));
            assert!(!creates_whole(since - 1));
        }
        assert!(creates_whole(170_000));
        assert!(creates_whole(180_004));
        assert!(!creates_whole(110_022));
    }

    #[test]
    fn one_slot_shows_what_subscriptions_of_one_origin_option_got() {
        let subscription = |name: &str, origin: Option<&str>| Subscription {
            oid: 1,
            name: name.to_owned(),
            slot: name.to_owned(),
            publications: Vec::new(),
            enabled: true,
            two_phase: false,
            origin: origin.map(str::to_owned),
        };
        let of = |subscriptions: &[Subscription]| source(subscriptions).map(|found| found.name.clone());
        assert_eq!(of(&[subscription("a", None), subscription("b", None)]).unwrap(), "a");
        // Of what another server wrote, the slot would show nothing, and one subscription got it.
        let error = of(&[subscription("a", Some("none")), subscription("b", None)]).unwrap_err();
        assert_eq!(error.to_string(), "subscriptions a and b have different origin options");
        assert!(of(&[]).is_err());
    }
}
