//! How the work is cut: into chunks, which are what is compared, reported and drilled into, and into slices, which are
//! how one side is read. Pure: the only thing read from a server is a sample of keys, by a job of `scan`.
//!
//! The chunks of a table tile its whole key space: ranges are half-open and open at both ends, buckets take the key's
//! hash modulo their number. So every row, also one that should not be there, belongs to exactly one chunk.

mod advance;
mod chunks;
mod lookup;
mod position;
mod range;
mod sample;
mod slices;
mod statement;

pub(crate) use advance::Advance;
pub(crate) use chunks::{Bound, Chunking, cut_ranges};
pub(crate) use lookup::{
    Finding, KeysOf, Sameness, keys_statement, located_statement, lookup_statement, versions_statement,
};
pub(crate) use position::Position;
pub use range::{ChunkRange, KeyText};
pub(crate) use sample::{KeySample, SampleSpec, sample_spec};
pub(crate) use slices::{Slice, slices};
pub(crate) use statement::{
    CUT, Reading, Source, WHOLE, column_names, count_statement, heap_check, rows_statement, sample_statement,
    statement, write_source,
};

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use crate::catalog::TablePair;
use crate::row::Shape;
use crate::side::{Side, Sides};

/// Target rows in a chunk where nobody asked for a number: small enough to be read again in a blink, large enough that
/// a table of millions has few.
const CHUNK_ROWS: u64 = 65_536;
/// Target bytes in a chunk: rows of many kilobytes make smaller chunks.
const CHUNK_BYTES: u64 = 64 << 20;
/// Chunks of a table at most; they are kept in memory (a bound, two tallies) until the end of the run.
const CHUNKS_MAX: u64 = 4096;
/// What a side is expected to deliver in a second at least, in bytes on disk, where no measurement is at hand yet: a slow
/// network disk. Only decides whether a heap scan could outlast the snapshots.
const SLOW_BYTES_PER_SECOND: u64 = 40 << 20;

/// How a table is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScanKind {
    /// In physical order; rows are filed under their chunk by their key.
    Heap,
    /// Chunk by chunk through the index of the key.
    KeyRange,
}

impl ScanKind {
    /// For reports.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Heap => "heap scan",
            Self::KeyRange => "key-range scan",
        }
    }
}

/// What bounds the cutting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Target rows in a chunk, if the user asked for a number.
    pub chunk_rows: Option<NonZeroU64>,
    /// How long snapshots are held.
    pub snapshot_age_max: Duration,
    /// Scan sessions per side.
    pub jobs: usize,
}

/// How one table is cut and read.
#[derive(Debug, Clone)]
pub(crate) struct TablePlan {
    /// How it is read.
    pub scan: ScanKind,
    /// Into what it is cut.
    pub chunking: Arc<Chunking>,
    /// In which pieces each side is read.
    pub slices: Sides<Vec<Slice>>,
    /// Why it is read like this, for people.
    pub why: String,
}

/// Which scan a table gets, and why.
///
/// `unfinished` says that a heap scan of it was cut off by the age limit before.
#[must_use]
pub(crate) fn choose_scan(pair: &TablePair, shape: &Shape, limits: &Limits, unfinished: bool) -> (ScanKind, String) {
    let bytes = pair.relations.publisher.bytes.max(pair.relations.subscriber.bytes);
    let expected = Duration::from_secs_f64(bytes as f64 / SLOW_BYTES_PER_SECOND as f64);
    let too_long = unfinished || expected > limits.snapshot_age_max / 2;
    if !too_long {
        return (ScanKind::Heap, "read in physical order: no sort, no index, sequential".to_owned());
    }
    let indexed = pair.relations.publisher.key_index && pair.relations.subscriber.key_index;
    if shape.order().is_some() && indexed {
        (
            ScanKind::KeyRange,
            "a heap scan could outlast the snapshots, and the key has an index on both sides".to_owned(),
        )
    } else {
        let why = if shape.order().is_some() {
            "read in physical order although that may outlast the snapshots: a side has no index on the key that can be relied on"
        } else {
            "read in physical order although that may outlast the snapshots: the two sides do not provably share a key order"
        };
        (ScanKind::Heap, why.to_owned())
    }
}

/// Target rows of the table's chunks.
#[must_use]
pub(crate) fn chunk_rows(pair: &TablePair, limits: &Limits) -> u64 {
    let rows = estimated_rows(pair);
    let wanted = limits.chunk_rows.map_or_else(
        || {
            let row_bytes = (pair.relations.publisher.bytes / rows.max(1)).max(1);
            CHUNK_ROWS.min((CHUNK_BYTES / row_bytes).max(1))
        },
        NonZeroU64::get,
    );
    wanted.max(rows.div_ceil(CHUNKS_MAX))
}

/// The larger side's estimate.
#[must_use]
pub(crate) fn estimated_rows(pair: &TablePair) -> u64 {
    pair.relations.publisher.rows_estimate.max(pair.relations.subscriber.rows_estimate)
}

/// Cuts a table whose chunks are known.
#[must_use]
pub(crate) fn plan(
    pair: &TablePair,
    shape: &Shape,
    chunking: Chunking,
    versions: Sides<u32>,
    limits: &Limits,
    unfinished: bool,
) -> TablePlan {
    let (scan, why) = choose_scan(pair, shape, limits, unfinished);
    // Through the index, a single chunk would be one long statement without any gain.
    let scan = if chunking.count() > 1 { scan } else { ScanKind::Heap };
    let slices = Sides::from_fn(|side: Side| {
        slices(pair.relations.get(side), scan, chunking.count(), *versions.get(side), limits.jobs)
    });
    TablePlan { scan, chunking: Arc::new(chunking), slices, why }
}
