//! What `verify` would read, as `plan` tells it. No table is read for it, and of those that replication does not carry
//! or that the subscriber lacks only whether they hold a row.

use serde::{Deserialize, Serialize};

use super::outcome::{Server, Tool};
use crate::catalog::Finding;
use crate::side::Sides;
use crate::verdict::Reason;

/// The outcome of `plan`: `schema_version` 1, fields are added, never renamed or removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanOutcome {
    /// [`SCHEMA_VERSION`](super::SCHEMA_VERSION) of the writer.
    pub schema_version: u32,
    /// Who wrote it.
    pub tool: Tool,
    /// The publisher.
    pub publisher: Server,
    /// The subscriber.
    pub subscriber: Server,
    /// The tables, by schema and name.
    pub tables: Vec<PlannedTable>,
    /// What was left out on purpose, by name.
    pub excluded: Vec<String>,
    /// What a careful reader should know besides.
    pub findings: Vec<Finding>,
}

/// How one table would be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTable {
    /// Schema on the publisher.
    pub schema: String,
    /// Name on the publisher.
    pub name: String,
    /// `heap scan` or `key-range scan`, where digests come first `digest, else ...`; empty for a table that would not be read,
    /// of which [`Self::reason`] says why.
    pub scan: String,
    /// Why it would be read that way; empty for a table that would not be read.
    pub why: String,
    /// The columns that identify a row, in key order; empty for a table without a key.
    pub key: Vec<String>,
    /// Into how many chunks it would be cut; zero for a table that would not be read.
    pub chunks: u64,
    /// What a chunk is: `key range`, `key hash` or `row hash`; empty for a table that would not be read.
    pub chunked_by: String,
    /// Estimated rows on the side that has more of them.
    pub rows_estimate: u64,
    /// Bytes on disk (heaps with their TOAST tables) on the side that has more of them.
    pub bytes_estimate: u64,
    /// Into how many pieces the reading of each side is cut; zero for a table that would not be read.
    pub slices: Sides<u64>,
    /// The exact statements that each side would be sent to read rows; none for a table that would not be read.
    pub statements: Sides<Vec<String>>,
    /// Why the table cannot be `match`, where that is known already.
    pub reason: Option<Reason>,
    /// The reason for people: names the object and says what to do.
    pub message: Option<String>,
}
