//! Where the rows of a table lie, and how many there may be.

use std::collections::HashMap;

use super::fields::Fields;
use super::model::Heap;
use super::queries;
use super::relations::{Entry, Kind, Relations};
use crate::connect::Session;
use crate::error::{Error, ErrorKind, Result};

/// Rows guessed per page where a table was never analyzed: rows of 160 bytes, more or less.
const GUESSED_ROWS_PER_PAGE: u64 = 50;
/// Bytes of a page on every build that we have met (`BLCKSZ`), for estimates only.
const PAGE_BYTES: u64 = 8192;

/// Pages of the main fork and bytes with TOAST, by relation.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    sizes: HashMap<u32, (u64, u64)>,
    /// As of now; else as of the last ANALYZE.
    current: bool,
}

impl Sizes {
    /// Reads the current sizes of some relations with storage.
    ///
    /// Asking for a size takes a lock for a moment. Where another session holds one of the tables for longer than our
    /// patience, the sizes at the last ANALYZE stand in: they are estimates for planning, nothing is proven by them.
    pub(super) async fn read(session: &Session, entries: &[&Entry]) -> Result<Self> {
        if entries.is_empty() {
            return Ok(Self::default());
        }
        let rows = match session.rows_simple(&queries::sizes(entries.iter().map(|entry| entry.oid))).await {
            Ok(rows) => rows,
            Err(error) if error.kind() == ErrorKind::TimedOut => return Ok(Self::as_analyzed(entries)),
            Err(error) => return Err(error),
        };
        let mut sizes = HashMap::new();
        for row in rows {
            let mut fields = Fields::new("the sizes of tables", row);
            let oid = fields.parse()?;
            if let (Some(pages), Some(bytes)) = (fields.parse_optional()?, fields.parse_optional()?) {
                sizes.insert(oid, (pages, bytes));
            }
        }
        Ok(Self { sizes, current: true })
    }

    fn as_analyzed(entries: &[&Entry]) -> Self {
        let size = |entry: &&Entry| (entry.oid, (u64::from(entry.pages), u64::from(entry.pages) * PAGE_BYTES));
        Self { sizes: entries.iter().map(size).collect(), current: false }
    }

    /// Whether a relation has no page, and so no row. Only heaps can be told by this.
    pub(super) fn is_bare(&self, entry: &Entry) -> bool {
        self.current && entry.heap && self.sizes.get(&entry.oid).is_some_and(|&(pages, _)| pages == 0)
    }

    fn of(&self, entry: &Entry) -> Result<(u64, u64)> {
        let gone = || Error::new(ErrorKind::Changed, format!("{} was dropped meanwhile", entry.name));
        self.sizes.get(&entry.oid).copied().ok_or_else(gone)
    }
}

/// The storage of a table.
pub(super) struct Storage {
    pub(super) heaps: Vec<Heap>,
    pub(super) rows_estimate: u64,
    pub(super) bytes: u64,
    /// Partitions whose rows lie on another server.
    pub(super) foreign: Vec<String>,
}

/// Describes the storage of a table.
pub(super) fn describe(relations: &Relations, sizes: &Sizes, table: u32) -> Result<Storage> {
    let mut storage = Storage { heaps: Vec::new(), rows_estimate: 0, bytes: 0, foreign: Vec::new() };
    for leaf in relations.leaves(table) {
        if leaf.kind != Kind::Table {
            storage.foreign.push(leaf.name.to_string());
            continue;
        }
        let (blocks, bytes) = sizes.of(leaf)?;
        storage.rows_estimate = storage.rows_estimate.saturating_add(estimate(leaf, blocks));
        storage.bytes = storage.bytes.saturating_add(bytes);
        storage.heaps.push(Heap {
            oid: leaf.oid,
            name: leaf.name.clone(),
            blocks,
            readable: leaf.readable(),
            is_heap: leaf.heap,
        });
    }
    Ok(storage)
}

/// Rows at the last ANALYZE, scaled to the current size, and at least one per page: a table that was empty when it was looked
/// at, but kept its pages (`vacuum_truncate` off), may have been filled since, and would be read as one chunk, again and again.
fn estimate(entry: &Entry, blocks: u64) -> u64 {
    if entry.pages == 0 || entry.tuples < 0.0 {
        return blocks.saturating_mul(GUESSED_ROWS_PER_PAGE);
    }
    // Both factors are estimates: neither the rounding nor the saturation of the casts matters.
    let scaled = (entry.tuples / f64::from(entry.pages) * blocks as f64).round() as u64;
    scaled.max(blocks)
}

#[cfg(test)]
mod tests {
    use super::super::relations::tests::{entry, tree};
    use super::*;

    #[test]
    fn rows_are_estimated_from_the_current_size() {
        let analyzed = Entry { pages: 10, tuples: 1000.0, ..entry(1, "t", Kind::Table) };
        assert_eq!(estimate(&analyzed, 20), 2000);
        assert_eq!(estimate(&analyzed, 0), 0);
        let never = Entry { tuples: -1.0, ..entry(1, "t", Kind::Table) };
        assert_eq!(estimate(&never, 3), 150);
        assert_eq!(estimate(&never, 0), 0);
        // It was empty, and kept its pages.
        let emptied = Entry { pages: 10, tuples: 0.0, ..entry(1, "t", Kind::Table) };
        assert_eq!(estimate(&emptied, 130_000), 130_000);
        assert_eq!(estimate(&emptied, 0), 0);
        let nearly = Entry { pages: 1000, tuples: 3.0, ..emptied };
        assert_eq!(estimate(&nearly, 2000), 2000);
    }

    #[test]
    fn only_the_current_size_tells_that_a_table_is_empty() {
        let (bare, full) = (entry(1, "bare", Kind::Table), entry(2, "full", Kind::Table));
        let current = Sizes { sizes: [(1, (0, 8192)), (2, (1, 8192))].into(), current: true };
        assert!(current.is_bare(&bare) && !current.is_bare(&full));
        assert!(!current.is_bare(&entry(3, "unknown", Kind::Table)));
        assert!(!current.is_bare(&Entry { heap: false, ..bare.clone() }));
        assert!(!Sizes::as_analyzed(&[&bare]).is_bare(&bare));
    }

    #[test]
    fn a_tree_is_the_sum_of_its_leaves() {
        let sizes = Sizes { sizes: [(2, (1, 8192)), (4, (2, 20_000))].into(), current: true };
        let storage = describe(&tree(), &sizes, 1).unwrap();
        assert_eq!(storage.heaps.iter().map(|heap| heap.oid).collect::<Vec<_>>(), [2, 4]);
        assert_eq!((storage.rows_estimate, storage.bytes), (150, 28_192));
        assert!(describe(&tree(), &Sizes::default(), 1).is_err());
    }
}
