//! The validated settings of a run. Whatever builds a [`Config`] has already said no to what makes no sense.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::conninfo::ConnectOptions;
use super::mapping::TableMapping;
use super::pattern::TablePattern;
use crate::side::Sides;

/// Scan sessions per side where none are asked for: enough to keep two servers busy without crowding them.
pub const DEFAULT_JOBS: usize = 4;
/// Scan sessions per side at most: beyond it a server is crowded out, not read faster.
pub const MAX_JOBS: usize = 64;
/// How long a sync point is waited for.
pub const DEFAULT_LAG_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// How long a pair of snapshots is held: they hold back vacuum on both servers.
pub const DEFAULT_SNAPSHOT_AGE_MAX: Duration = Duration::from_secs(15 * 60);
/// Listed differing rows per table.
pub const DEFAULT_SAMPLES: usize = 100;
/// Listed differing rows per table at most, to keep memory and reports bounded.
pub const MAX_SAMPLES: usize = 10_000;

/// Everything that `verify` and `plan` need to know, immutable.
#[derive(Debug, Clone)]
pub struct Config {
    /// How to reach each side.
    pub servers: Sides<ConnectOptions>,
    /// Names of subscriptions; empty for all that the publisher feeds.
    pub subscriptions: Vec<String>,
    /// Which tables; empty for all.
    pub tables: Vec<TablePattern>,
    /// Which tables not.
    pub exclude_tables: Vec<TablePattern>,
    /// What must be accounted for.
    pub scope: Scope,
    /// Which witnesses.
    pub checks: CheckSet,
    /// Scan sessions per side, at most [`MAX_JOBS`].
    pub jobs: NonZeroUsize,
    /// Target rows in a chunk; `None`: by size, at plan time.
    pub chunk_rows: Option<NonZeroU64>,
    /// Whether rows are compared by digests of the servers first.
    pub scan: ScanMode,
    /// When the comparison may begin.
    pub gate: GateMode,
    /// How long a sync point is waited for.
    pub lag_timeout: Duration,
    /// How long a pair of snapshots is held.
    pub snapshot_age_max: Duration,
    /// Listed differing rows per table, at most [`MAX_SAMPLES`].
    pub samples: usize,
    /// Whether reports hold values of other columns than keys.
    pub show_values: bool,
    /// Whether the ledger of chunks is wanted: it takes about a kilobyte of memory for each of them.
    pub ledger: bool,
    /// Tables that have another shape on the subscriber on purpose.
    pub mappings: Vec<TableMapping>,
}

/// What a run must account for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Every user table and large object of the publisher's database.
    Database,
    /// What the publications carry.
    Published,
}

/// When a comparison may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateMode {
    /// Writes go on: both sides are compared at one position of the publisher.
    Live,
    /// Writes are stopped and everything is applied.
    Quiesced,
    /// Nothing replicates between the two any more: two unrelated snapshots.
    None,
}

impl GateMode {
    /// The name as flags and reports have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Quiesced => "quiesced",
            Self::None => "none",
        }
    }
}

/// How the rows of a table are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScanMode {
    /// Every row is read.
    #[default]
    Rows,
    /// Both servers digest the table, with two sums of 64-bit hashes; rows are read where the digests differ.
    Digest,
    /// The same with one sum.
    Digest64,
}

/// The witnesses of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckSet {
    /// `count(*)`.
    pub count: bool,
    /// `max()` of date and timestamp columns.
    pub max: bool,
    /// `sum()` of numeric columns.
    pub sum: bool,
    /// Sequences.
    pub sequence: bool,
    /// Row by row.
    pub rows: bool,
}

impl CheckSet {
    /// All of them.
    pub const ALL: Self = Self { count: true, max: true, sum: true, sequence: true, rows: true };
}
