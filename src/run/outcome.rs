//! The outcome of a run: everything a report needs, and exactly the JSON document that users' scripts read.
//!
//! The shape is a contract (`schema_version` 1): fields are added, never renamed or removed. Numbers that may exceed
//! 2^53, and all values, are strings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalog::Finding;
use crate::compare::TableOutcome;
use crate::lsn::Lsn;
use crate::verdict::{Reason, Verdict};

/// Version of the JSON document.
pub const SCHEMA_VERSION: u32 = 1;

/// The outcome of `verify`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// Who wrote it.
    pub tool: Tool,
    /// The worst of all tables, sequences and checks.
    pub verdict: Verdict,
    /// The exit code of the command.
    pub exit_code: u8,
    /// Whether the run was interrupted before everything selected was settled.
    pub interrupted: bool,
    /// The preset that was asked for.
    pub profile: Option<String>,
    /// When the run began, RFC 3339 in UTC.
    pub started_at: String,
    /// When it ended.
    pub finished_at: String,
    /// The settings in force, without secrets.
    pub settings: BTreeMap<String, Value>,
    /// What was left out on purpose, by name.
    pub excluded: Vec<String>,
    /// The publisher.
    pub publisher: Server,
    /// The subscriber.
    pub subscriber: Server,
    /// The first sync point at a glance.
    pub gate: Gate,
    /// All sync points, in turn.
    pub sync_points: Vec<SyncPointReport>,
    /// The tables, by schema and name.
    pub tables: Vec<TableOutcome>,
    /// The sequences, by schema and name.
    pub sequences: Vec<SequenceOutcome>,
    /// What a careful reader should know besides: codes of [`FINDINGS`](crate::catalog::FINDINGS).
    pub findings: Vec<Finding>,
    /// What was read.
    pub totals: Totals,
}

/// Who wrote a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// `triplecheck`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// One server, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// `server_version`.
    pub server_version: String,
    /// The host or socket directory that answered.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The database.
    pub database: String,
    /// The role.
    pub user: String,
    /// The cluster's system identifier, where the role may ask for it.
    pub system_identifier: Option<String>,
}

/// When the comparison was allowed to begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// `live`, `quiesced` or `none`.
    pub mode: String,
    /// Whether the (first) sync point was reached.
    pub reached: bool,
    /// The normalised insert position of the publisher at its snapshot.
    pub publisher_lsn: Option<Lsn>,
    /// The publisher position that the subscriber's snapshot corresponds to.
    pub applied_lsn: Option<Lsn>,
    /// What replay was short of the publisher's position when the subscriber's snapshot was taken.
    pub lag_bytes: Option<u64>,
    /// How long the sync point was waited for.
    pub waited_ms: u64,
    /// What transactions in flight changed.
    pub in_flight: InFlight,
    /// Where it was not reached: what was waited for, how far it came and why it likely stalls.
    pub message: Option<String>,
}

/// Transactions that the subscriber's snapshot holds and the publisher's does not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// How many.
    pub transactions: u64,
    /// How many keys they touched.
    pub keys: u64,
}

/// One pair of snapshots at which pieces were compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncPointReport {
    /// 1, 2, ... in the order of opening.
    pub id: u32,
    /// The subscription it belongs to; null where none joins the two sides or it covers several.
    pub subscription: Option<String>,
    /// The normalised insert position of the publisher at its snapshot.
    pub publisher_lsn: Option<Lsn>,
    /// The publisher position that the subscriber's snapshot corresponds to.
    pub applied_lsn: Option<Lsn>,
    /// How equality at one position was established.
    pub proof: String,
    /// What would raise the level of proof; null where it is the highest.
    #[serde(default)]
    pub raise: Option<String>,
    /// The publisher's snapshot (`pg_current_snapshot()`).
    pub publisher_snapshot: String,
    /// The subscriber's snapshot.
    pub subscriber_snapshot: String,
    /// What transactions in flight changed.
    pub in_flight: InFlight,
    /// WAL in bytes that the publisher had to decode again for a copied slot; null where nothing was decoded.
    #[serde(default)]
    pub decoded_bytes: Option<u64>,
    /// How long the snapshots were held.
    pub held_ms: u64,
    /// What that held back.
    #[serde(default)]
    pub held: Held,
    /// Why it ended before its time; null where it did not.
    #[serde(default)]
    pub ended_early: Option<String>,
}

/// What the snapshots of a sync point held back while it was open: the most that was seen. Null where nobody was told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Transactions of the publisher since the oldest that its snapshot keeps vacuum from: `age(backend_xmin)`.
    pub publisher_xids: Option<u64>,
    /// The same on the subscriber.
    pub subscriber_xids: Option<u64>,
    /// WAL in bytes that the publisher keeps for the slot of a subscription: of the one that it keeps most for.
    pub retained_bytes: Option<u64>,
    /// The worst `wal_status` among the slots of the subscriptions when they were last looked at.
    pub wal_status: Option<String>,
}

/// What was read in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Rows read on the publisher.
    pub publisher_rows: u64,
    /// Rows read on the subscriber.
    pub subscriber_rows: u64,
    /// Bytes received from both servers by COPY.
    pub bytes: u64,
    /// From the beginning to the end of the run.
    pub elapsed_ms: u64,
}

/// The outcome of one sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceOutcome {
    /// Schema on the publisher.
    pub schema: String,
    /// Name on the publisher.
    pub name: String,
    /// Whether the subscriber's next value is safe.
    pub verdict: Verdict,
    /// Why it is unproven.
    pub reason: Option<Reason>,
    /// Why it is unproven or different, for people.
    pub message: Option<String>,
    /// The publisher's next value; null where it could not be read.
    pub publisher_next: Option<String>,
    /// The subscriber's next value.
    pub subscriber_next: Option<String>,
}
