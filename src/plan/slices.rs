//! Slices: in which pieces one side of a table is read.

use crate::catalog::Relation;
use crate::plan::ScanKind;

/// First version that reads a range of physical positions without scanning the whole table (release notes of 14).
const TID_RANGE_SCAN_SINCE: u32 = 140_000;
/// Blocks in a slice: 64 MiB, about a second of reading, after which the worker's locks are let go.
const SLICE_BLOCKS: u64 = 8192;
/// Blocks in a slice at least: below, statements cost more than they read.
const SLICE_BLOCKS_MIN: u64 = 512;
/// Blocks of a heap up to which it is read by one statement: 1 GiB, some seconds. A plain sequential scan goes through a ring
/// of buffers of its own (src/backend/storage/buffer/README, "Buffer Ring Replacement Strategy"); a scan of a range of
/// positions does not (`table_beginscan_tidrange`, tableam.h), so that it pushes the pages of others out of the server's
/// cache, and costs the server 10 % more (measured).
const WHOLE_BLOCKS: u64 = 131_072;
/// Slices per scan session that make the sessions end at about the same time.
const SLICES_PER_JOB: u64 = 4;

/// A piece of one side of a table, read by one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Slice {
    /// Blocks of one heap: inclusive lower, exclusive upper, `None` where open.
    Blocks {
        /// Position in [`Relation::heaps`].
        heap: usize,
        /// The first block.
        from: Option<u64>,
        /// The first block that is not part of it.
        to: Option<u64>,
    },
    /// The whole relation, through its root.
    Whole,
    /// Neighbouring range chunks, by their key.
    Chunks {
        /// The first one.
        first: u32,
        /// The last one, inclusive.
        last: u32,
    },
    /// The rows that stood at the cut in the place of rows of the snapshot ([`crate::plan::Advance`]).
    Images,
}

/// The slices of one side; together they read every row once.
#[must_use]
pub(crate) fn slices(relation: &Relation, scan: ScanKind, chunks: u32, version_num: u32, jobs: usize) -> Vec<Slice> {
    if scan == ScanKind::KeyRange {
        return (0..chunks).map(|chunk| Slice::Chunks { first: chunk, last: chunk }).collect();
    }
    // A privilege on the root lets one read its leaves through it only. Without leaves there is nothing to read, which is
    // known only once it was read.
    if relation.partitioned && (relation.heaps.is_empty() || !relation.heaps.iter().all(|heap| heap.readable)) {
        return vec![Slice::Whole];
    }
    let all: u64 = relation.heaps.iter().map(|heap| heap.blocks).sum();
    let even = all / (SLICES_PER_JOB * jobs.max(1) as u64);
    let size = even.clamp(SLICE_BLOCKS_MIN, SLICE_BLOCKS);
    let mut slices = Vec::new();
    for (heap, facts) in relation.heaps.iter().enumerate() {
        let by_position = version_num >= TID_RANGE_SCAN_SINCE && facts.is_heap && facts.blocks > WHOLE_BLOCKS;
        let count = if by_position { facts.blocks.div_ceil(size).max(1) } else { 1 };
        // Open at both ends: what was appended since the size was read lies behind the last bound.
        slices.extend((0..count).map(|i| Slice::Blocks {
            heap,
            from: (i > 0).then_some(i * size),
            to: (i + 1 < count).then_some((i + 1) * size),
        }));
    }
    slices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Heap;
    use crate::sql::QualifiedName;

    fn relation(blocks: &[u64], readable: bool) -> Relation {
        let heaps = blocks.iter().map(|&blocks| Heap {
            oid: 1,
            name: QualifiedName::new("public", "t"),
            blocks,
            readable,
            is_heap: true,
        });
        Relation {
            oid: 1,
            name: QualifiedName::new("public", "t"),
            partitioned: blocks.len() != 1,
            heaps: heaps.collect(),
            filter: None,
            key_index: true,
            rows_estimate: 0,
            bytes: 0,
        }
    }

    #[test]
    fn slices_cover_every_block_once_and_are_open_at_both_ends() {
        let blocks = 200_000;
        let slices = slices(&relation(&[blocks], true), ScanKind::Heap, 9, 160_000, 2);
        let mut expected = None;
        for slice in &slices {
            let Slice::Blocks { heap: 0, from, to } = slice else { panic!("{slice:?}") };
            assert_eq!(*from, expected);
            expected = *to;
        }
        assert_eq!(expected, None);
        assert!(slices.len() >= 12, "{}", slices.len());
    }

    #[test]
    fn a_root_without_leaves_is_read_all_the_same() {
        assert_eq!(slices(&relation(&[], true), ScanKind::Heap, 1, 160_000, 2), [Slice::Whole]);
    }

    #[test]
    fn old_servers_and_unreadable_leaves_are_read_whole() {
        let whole = |relation: &Relation, version| slices(relation, ScanKind::Heap, 9, version, 2);
        assert_eq!(whole(&relation(&[100_000], true), 130_000).len(), 1);
        assert_eq!(whole(&relation(&[10, 100_000], true), 130_000).len(), 2);
        assert_eq!(whole(&relation(&[10, 100_000], false), 160_000), [Slice::Whole]);
        assert_eq!(whole(&relation(&[0], true), 160_000).len(), 1);
    }
}
