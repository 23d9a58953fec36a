//! The outcome of one table, as it stands in the JSON document.

use serde::{Deserialize, Serialize};

use crate::plan::{ChunkRange, KeyText};
use crate::verdict::{Reason, Verdict};

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
    /// How it was read: `heap scan`, `key-range scan`, `digest` where equal digests made that unnecessary.
    pub scan: Option<String>,
}

impl TableOutcome {
    /// One line for people who watch: what differs, or why it is unproven.
    #[must_use]
    pub fn summary(&self) -> String {
        match (self.verdict, &self.checks.rows, &self.message) {
            (Verdict::Different, Some(rows), _) if rows.missing + rows.extra + rows.changed > 0 => {
                format!("{} missing, {} extra, {} changed", rows.missing, rows.extra, rows.changed)
            }
            (Verdict::Different, ..) => "the servers' figures differ".to_owned(),
            (_, _, Some(message)) => message.clone(),
            (..) => self.rows.map(|rows| format!("{} rows", rows.publisher)).unwrap_or_default(),
        }
    }
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

/// What equality of rows can rest on besides the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowsProof {
    /// Equal digests by the servers: no row was read.
    Digest,
}

/// The servers' digests of all rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestCheck {
    /// Their bits; null where the table cannot be digested.
    pub bits: Option<u32>,
    /// Whether they are equal. Different digests are no verdict: rows were read because of them.
    pub verdict: Verdict,
    /// Why there are none, or why rows that differ so are equal all the same, for people.
    pub message: Option<String>,
}

impl DigestCheck {
    /// The exponent of the odds that tables which differ in something that is hashed have equal digests: 106 for 2^-106, as
    /// far as the server's hash functions behave as random ones do. They are fast ones, not made against an adversary.
    #[must_use]
    pub fn strength(&self) -> Option<u32> {
        // Each sum of 64-bit hashes tells two rows apart by 53 bits.
        self.bits.map(|bits| bits / 64 * 53)
    }
}

/// The row-by-row check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowsCheck {
    /// Whether all rows are equal.
    pub verdict: Verdict,
    /// What that rests on, where it is not the rows themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<RowsProof>,
    /// What the servers' digests said; with `--scan digest` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<DigestCheck>,
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
    /// Keys of which nothing is known, because their rows never held still; without a temporary slot only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsettled: Option<Unsettled>,
}

/// Keys that were looked at again and again and kept changing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unsettled {
    /// How many.
    pub count: u64,
    /// Some of them; none for a table without a key.
    pub keys: Vec<KeyText>,
}

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
