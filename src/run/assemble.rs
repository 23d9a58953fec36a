//! Puts the outcome of a run together.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::catalog::{Catalog, Finding, Missing, ServerFacts, Unpaired, sequence_behind, sessions_refused};
use crate::compare::{Checks, TableOutcome};
use crate::config::{CheckSet, Config, GateMode};
use crate::connect::Endpoint;
use crate::gate::{NotReached, SyncPoint};
use crate::run::epoch::Closed;
use crate::run::exit;
use crate::run::outcome::{
    Gate, InFlight, Outcome, SCHEMA_VERSION, SequenceOutcome, Server, SyncPointReport, Tool, Totals,
};
use crate::side::{Side, Sides};
use crate::sql::QualifiedName;
use crate::verdict::{Reason, Verdict};

/// What a run has come to.
pub(crate) struct Settled<'a> {
    pub(crate) config: &'a Config,
    pub(crate) catalog: &'a Catalog,
    pub(crate) endpoints: &'a Sides<Endpoint>,
    pub(crate) tables: Vec<TableOutcome>,
    pub(crate) sequences: Vec<SequenceOutcome>,
    pub(crate) sync_points: &'a [(SyncPoint, Closed)],
    pub(crate) not_reached: Option<&'a NotReached>,
    pub(crate) started: (jiff::Timestamp, Instant),
    /// Bytes received by COPY.
    pub(crate) bytes: u64,
    pub(crate) interrupted: bool,
}

pub(crate) fn tool() -> Tool {
    Tool { name: env!("CARGO_PKG_NAME").to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
}

/// The name of a server as reports have it.
pub(crate) fn server(catalog: &Catalog, endpoints: &Sides<Endpoint>, side: Side) -> Server {
    server_of(catalog.servers.get(side), endpoints.get(side))
}

/// The same of what a server says about itself.
pub(crate) fn server_of(facts: &ServerFacts, endpoint: &Endpoint) -> Server {
    Server {
        server_version: facts.version.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
        database: facts.database.clone(),
        user: facts.user.clone(),
        system_identifier: facts.system_identifier.clone(),
    }
}

pub(crate) fn outcome(settled: Settled<'_>) -> Outcome {
    let Settled {
        config,
        catalog,
        endpoints,
        mut tables,
        sequences,
        sync_points,
        not_reached,
        started,
        bytes,
        interrupted,
    } = settled;
    tables.extend(catalog.unpaired.iter().map(unpaired));
    tables.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
    // Replication does not carry sequences: until writes have stopped, they are behind on every healthy subscriber. One that
    // is not there cannot be set.
    let (behind, counting): (Vec<_>, Vec<_>) =
        sequences.iter().partition(|sequence| config.gate == GateMode::Live && is_behind(sequence));
    let verdicts = tables.iter().map(|table| table.verdict).chain(counting.iter().map(|sequence| sequence.verdict));
    let verdict = Verdict::worst_of(verdicts);
    let mut findings = catalog.findings.clone();
    findings.extend(behind.into_iter().map(behind_finding));
    findings.extend(Side::BOTH.into_iter().filter_map(|side| refused(sync_points, side, config.jobs.get())));
    let rows = |side: fn(&crate::compare::RowCounts) -> u64| {
        tables
            .iter()
            .filter(|table| table.checks.rows.as_ref().is_some_and(|rows| rows.proof.is_none()))
            .filter_map(|table| table.rows.as_ref())
            .map(side)
            .sum()
    };
    let (publisher_rows, subscriber_rows) = (rows(|rows| rows.publisher), rows(|rows| rows.subscriber));
    Outcome {
        schema_version: SCHEMA_VERSION,
        tool: tool(),
        verdict,
        exit_code: exit::code(verdict),
        interrupted,
        profile: None,
        started_at: started.0.to_string(),
        finished_at: jiff::Timestamp::now().to_string(),
        settings: settings(config),
        excluded: catalog.excluded.clone(),
        publisher: server(catalog, endpoints, Side::Publisher),
        subscriber: server(catalog, endpoints, Side::Subscriber),
        gate: gate(config, sync_points.first().map(|(point, _)| point), not_reached),
        sync_points: sync_points.iter().map(|(point, closed)| sync_point(catalog, point, closed)).collect(),
        tables,
        sequences,
        findings,
        totals: Totals { publisher_rows, subscriber_rows, bytes, elapsed_ms: millis(started.1.elapsed()) },
    }
}

fn is_behind(sequence: &SequenceOutcome) -> bool {
    sequence.verdict == Verdict::Different && sequence.subscriber_next.is_some()
}

fn behind_finding(sequence: &SequenceOutcome) -> Finding {
    let name = QualifiedName { schema: sequence.schema.clone(), name: sequence.name.clone() };
    let why = sequence.message.clone().unwrap_or_else(|| format!("sequence {name} is not safe to use"));
    sequence_behind(&name, why)
}

/// A side that never gave the sessions that were asked for, although some waited for them.
fn refused(sync_points: &[(SyncPoint, Closed)], side: Side, asked: usize) -> Option<Finding> {
    let refused = sync_points.iter().filter_map(|(_, closed)| closed.refused.get(side).as_ref());
    let refused = refused.max_by_key(|refused| refused.most)?;
    (refused.most < asked).then(|| sessions_refused(side, refused.most, asked, &refused.why))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn gate(config: &Config, first: Option<&SyncPoint>, not_reached: Option<&NotReached>) -> Gate {
    let mode = config.gate.name().to_owned();
    let in_flight = first.map(in_flight).unwrap_or_default();
    match (first, not_reached) {
        (Some(point), _) => Gate {
            mode,
            reached: true,
            publisher_lsn: point.publisher_lsn,
            applied_lsn: point.applied_lsn,
            lag_bytes: point.lag_bytes,
            waited_ms: millis(point.waited),
            in_flight,
            message: not_reached.map(|not_reached| not_reached.message.clone()),
        },
        (None, Some(not_reached)) => Gate {
            mode,
            reached: false,
            publisher_lsn: not_reached.publisher_lsn,
            applied_lsn: not_reached.applied_lsn,
            lag_bytes: match (not_reached.publisher_lsn, not_reached.applied_lsn) {
                (Some(publisher), Some(applied)) => Some(publisher.bytes_since(applied)),
                _ => None,
            },
            waited_ms: millis(not_reached.waited),
            in_flight,
            message: Some(not_reached.message.clone()),
        },
        (None, None) => Gate {
            mode,
            reached: false,
            publisher_lsn: None,
            applied_lsn: None,
            lag_bytes: None,
            waited_ms: 0,
            in_flight,
            message: None,
        },
    }
}

fn in_flight(point: &SyncPoint) -> InFlight {
    InFlight { transactions: point.in_flight.0, keys: point.in_flight.1 }
}

fn sync_point(catalog: &Catalog, point: &SyncPoint, closed: &Closed) -> SyncPointReport {
    let subscription = match catalog.subscriptions.as_slice() {
        [subscription] => Some(subscription.name.clone()),
        _ => None,
    };
    SyncPointReport {
        id: point.id,
        subscription,
        publisher_lsn: point.publisher_lsn,
        applied_lsn: point.applied_lsn,
        proof: point.proof.clone(),
        raise: point.raise.clone(),
        publisher_snapshot: point.snapshots.publisher.text.clone(),
        subscriber_snapshot: point.snapshots.subscriber.text.clone(),
        in_flight: in_flight(point),
        decoded_bytes: point.decoded_bytes,
        held_ms: millis(closed.after),
        held: closed.held.clone(),
        ended_early: closed.early.clone(),
    }
}

/// The outcome of an object that was not compared.
fn unpaired(unpaired: &Unpaired) -> TableOutcome {
    let (verdict, reason) = match unpaired.why {
        Missing::OnSubscriber { publisher_has_rows: true } => (Verdict::Different, None),
        Missing::OnSubscriber { publisher_has_rows: false } => (Verdict::Unproven, Some(Reason::NotRead)),
        Missing::Replication => (Verdict::Unproven, Some(Reason::NotReplicated)),
        Missing::Because(reason) => (Verdict::Unproven, Some(reason)),
    };
    TableOutcome {
        schema: unpaired.name.schema.clone(),
        name: unpaired.name.name.clone(),
        verdict,
        reason,
        message: Some(unpaired.message.clone()),
        sync_points: Vec::new(),
        rows: None,
        checks: Checks::default(),
        causes: Vec::new(),
        scan: None,
    }
}

/// Seconds as they were given: a whole number, unless there is a fraction.
fn seconds(duration: Duration) -> Value {
    if duration.subsec_nanos() == 0 { json!(duration.as_secs()) } else { json!(duration.as_secs_f64()) }
}

/// The settings in force, without secrets.
fn settings(config: &Config) -> BTreeMap<String, Value> {
    let CheckSet { count, max, sum, sequence, rows } = config.checks;
    let checks = [("count", count), ("max", max), ("sum", sum), ("sequence", sequence), ("rows", rows)];
    let checks: Vec<_> = checks.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    let patterns = |patterns: &[crate::config::pattern::TablePattern]| -> Vec<String> {
        patterns.iter().map(|pattern| pattern.text().to_owned()).collect()
    };
    BTreeMap::from([
        ("subscription".to_owned(), json!(config.subscriptions)),
        ("table".to_owned(), json!(patterns(&config.tables))),
        ("exclude_table".to_owned(), json!(patterns(&config.exclude_tables))),
        ("scope".to_owned(), json!(config.scope)),
        ("checks".to_owned(), json!(checks)),
        ("jobs".to_owned(), json!(config.jobs)),
        ("chunk_rows".to_owned(), json!(config.chunk_rows)),
        ("scan".to_owned(), json!(config.scan)),
        ("gate".to_owned(), json!(config.gate)),
        ("lag_timeout_seconds".to_owned(), seconds(config.lag_timeout)),
        ("snapshot_age_max_seconds".to_owned(), seconds(config.snapshot_age_max)),
        ("samples".to_owned(), json!(config.samples)),
        ("show_values".to_owned(), json!(config.show_values)),
        ("tables".to_owned(), json!(config.mappings)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, RawSettings};

    fn given(raw: RawSettings) -> BTreeMap<String, Value> {
        let server = Some("host=h dbname=shop user=checker password=sesame".to_owned());
        let raw = RawSettings { publisher: server.clone(), subscriber: server, ..raw };
        settings(&raw.validate(&Environment::default()).unwrap())
    }

    #[test]
    fn a_fraction_of_a_second_is_not_lost_and_whole_ones_stay_whole_numbers() {
        let timeouts = |lag: &str, age: &str| {
            let text = |text: &str| Some(text.to_owned());
            let raw = RawSettings { lag_timeout: text(lag), snapshot_age_max: text(age), ..RawSettings::default() };
            let given = given(raw);
            ["lag_timeout_seconds", "snapshot_age_max_seconds"].map(|key| given[key].to_string())
        };
        assert_eq!(timeouts("500ms", "1s 250ms"), ["0.5", "1.25"]);
        assert_eq!(timeouts("90s", "1h"), ["90", "3600"]);
    }

    /// All of them, and nothing else: neither a server nor its password.
    #[test]
    fn the_documentation_shows_every_setting() {
        let documentation = include_str!("../../docs/reports.md");
        let example =
            documentation.split_once("<!-- json: verify -->\n```json\n").unwrap().1.split_once("```").unwrap().0;
        let example: Value = serde_json::from_str(example).unwrap();
        let raw = RawSettings {
            gate: Some("quiesced".to_owned()),
            exclude_table: Some(vec!["public.audit".to_owned()]),
            ..RawSettings::default()
        };
        assert_eq!(json!(given(raw)), example["settings"]);
    }
}
