//! The outcome of a run: everything a report needs, and exactly the JSON document that users' scripts read.
//!
//! The shape is a contract (`schema_version` 1): fields are added, never renamed or removed. Numbers that may exceed
//! 2^53, and all values, are strings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalog::Finding;
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
    /// Objects that replication does not carry and that hold something, beside tables (large objects, ...).
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
    /// `quiesced` or `none` (`live` comes with its issue).
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
    /// The publisher's snapshot (`pg_current_snapshot()`).
    pub publisher_snapshot: String,
    /// The subscriber's snapshot.
    pub subscriber_snapshot: String,
    /// What transactions in flight changed.
    pub in_flight: InFlight,
    /// How long the snapshots were held.
    pub held_ms: u64,
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

/// The outcome of one table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableOutcome {
    /// Schema on the publisher.
    pub schema: String,
    /// Name on the publisher.
    pub name: String,
    /// The worst of its checks.
    pub verdict: Verdict,
    /// Why it is unproven.
    pub reason: Option<Reason>,
    /// The reason for people: names the object and says what to do.
    pub message: Option<String>,
    /// The sync points at which it was read.
    pub sync_points: Vec<u32>,
    /// Rows on each side: read where rows were read, else counted.
    pub rows: Option<RowCounts>,
    /// The checks; one that was not selected is null.
    pub checks: Checks,
    /// The likely causes of its differences.
    pub causes: Vec<Cause>,
    /// How it was read: `heap scan`, `key-range scan`.
    pub scan: Option<String>,
}

/// Rows on each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowCounts {
    /// On the publisher.
    pub publisher: u64,
    /// On the subscriber.
    pub subscriber: u64,
}

/// The checks of a table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Checks {
    /// `count(*)` by the servers.
    pub count: Option<FigureCheck>,
    /// `max()` of each date and timestamp column.
    pub max: Option<Vec<ColumnCheck>>,
    /// `sum()` of each numeric column.
    pub sum: Option<Vec<ColumnCheck>>,
    /// Row by row.
    pub rows: Option<RowsCheck>,
}

/// One figure on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FigureCheck {
    /// Whether they are equal.
    pub verdict: Verdict,
    /// The publisher's; null where it could not be had.
    pub publisher: Option<String>,
    /// The subscriber's.
    pub subscriber: Option<String>,
}

/// One figure of a column on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnCheck {
    /// The column.
    pub column: String,
    /// Whether they are equal.
    pub verdict: Verdict,
    /// The publisher's; null where there are no values.
    pub publisher: Option<String>,
    /// The subscriber's.
    pub subscriber: Option<String>,
    /// Publisher minus subscriber, exact; sums that differ only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta: Option<String>,
    /// How it was summed where that is not the type's own sum: `shortest text` for floats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
}

/// The row-by-row check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowsCheck {
    /// Whether all rows are equal.
    pub verdict: Verdict,
    /// Into how many chunks the table was cut.
    pub chunks: u64,
    /// How many of them differ.
    pub divergent_chunks: u64,
    /// Rows on the publisher only.
    pub missing: u64,
    /// Rows on the subscriber only.
    pub extra: u64,
    /// Rows on both sides that are not equal.
    pub changed: u64,
    /// Where the differences are; neighbouring divergent chunks are one range. Ranges: `{"from": {...}|null, "to": {...}|null}`,
    /// buckets: `{"bucket": 17, "of": 64}`.
    pub divergent_ranges: Vec<ChunkRange>,
    /// Some of the differing rows.
    pub samples: Vec<Sample>,
}

/// A part of a table's key space.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ChunkRange {
    /// A bucket of the key's hash.
    Bucket {
        /// Which one, from 0.
        bucket: u32,
        /// Of how many.
        of: u32,
    },
    /// A range of the key, half-open; null is open.
    Keys {
        /// The first key, inclusive.
        from: Option<KeyText>,
        /// The end, exclusive.
        to: Option<KeyText>,
    },
}

/// A key as texts, in key order.
pub type KeyText = serde_json::Map<String, Value>;

/// How a row differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// On the publisher only.
    Missing,
    /// On the subscriber only.
    Extra,
    /// On both, not equal.
    Changed,
}

impl DifferenceKind {
    /// The word that reports use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Changed => "changed",
        }
    }
}

/// A differing row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// How it differs.
    pub kind: DifferenceKind,
    /// Its key; empty for a table without one.
    pub key: KeyText,
    /// The differing columns; empty unless `changed`.
    pub columns: Vec<String>,
    /// Whether the types' own `=` calls all differing columns equal.
    pub representation_only: bool,
    /// The digest of the row image in hexadecimal; tables without a key only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_digest: Option<String>,
    /// Column to text or null on the publisher; with `--show-values` only. Long values are cut and end in `…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher: Option<KeyText>,
    /// The same on the subscriber.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscriber: Option<KeyText>,
}

/// A likely cause of a table's differences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// A stable identifier.
    pub code: String,
    /// What likely happened and what to look at.
    pub message: String,
    /// What was seen that says so.
    pub evidence: String,
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
    /// Why it is unproven or different, for people.
    pub message: Option<String>,
    /// The publisher's next value; null where it could not be read.
    pub publisher_next: Option<String>,
    /// The subscriber's next value.
    pub subscriber_next: Option<String>,
}

/// One line of the ledger of chunks (`--report-chunks`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChunkRecord {
    /// Schema on the publisher.
    pub schema: String,
    /// Name on the publisher.
    pub table: String,
    /// From 0.
    pub chunk: u64,
    /// Its part of the key space.
    pub range: ChunkRange,
    /// The sync point at which both sides were read.
    pub sync_point: u32,
    /// Whether both tallies are equal.
    pub verdict: Verdict,
    /// Rows on the publisher.
    pub publisher_rows: u64,
    /// Rows on the subscriber.
    pub subscriber_rows: u64,
    /// Sum of row digests modulo 2^256, hexadecimal.
    pub publisher_digest: String,
    /// The subscriber's.
    pub subscriber_digest: String,
}
