//! The units in which divergent chunks are read again: what fits into memory at once, and the rows of one while they come in.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::plan::{Chunking, Slice};
use crate::row::Tally;
use crate::scan::{DrillUnit, ENTRIES_MAX, Entries, Entry};
use crate::side::{Side, Sides};

/// Rows of one side that are joined at once: one unit of one table at a time.
const UNIT_ROWS: u64 = ENTRIES_MAX as u64;
/// Rows that a part is cut for: keys spread over parts by their hash, so some parts get more.
const PART_ROWS: u64 = UNIT_ROWS / 8 * 7;
/// Parts for each one that the number of rows asks for. Where these are not enough, most rows have the same key.
const PARTS_PER_NEEDED_MAX: u64 = 8;

/// A unit while its rows come in.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) unit: Arc<DrillUnit>,
    outstanding: Sides<usize>,
    entries: Sides<Entries>,
    tallies: Sides<BTreeMap<u32, Tally>>,
}

impl Listing {
    pub(crate) fn new(unit: Arc<DrillUnit>, slices: Sides<usize>) -> Self {
        Self { unit, outstanding: slices, entries: Sides::default(), tallies: Sides::default() }
    }

    /// Takes in one slice of a side. True once both sides are complete.
    pub(crate) fn take(&mut self, side: Side, entries: Option<Vec<Entry>>, tallies: Vec<(u32, Tally)>) -> bool {
        self.entries.get_mut(side).append(entries);
        for (chunk, tally) in tallies {
            self.tallies.get_mut(side).entry(chunk).or_default().merge(&tally);
        }
        let outstanding = self.outstanding.get_mut(side);
        *outstanding = outstanding.saturating_sub(1);
        self.outstanding.publisher == 0 && self.outstanding.subscriber == 0
    }

    /// What the rows of a chunk that came in differ in.
    pub(crate) fn difference(&self, chunk: u32) -> Tally {
        let mut difference = self.tallies.publisher.get(&chunk).copied().unwrap_or_default();
        difference.subtract(&self.tallies.subscriber.get(&chunk).copied().unwrap_or_default());
        difference
    }

    /// Whether a chunk's rows are the ones that were read before.
    pub(crate) fn same_rows(&self, chunk: u32, side: Side, before: &Tally) -> bool {
        self.tallies.get(side).get(&chunk).copied().unwrap_or_default() == *before
    }

    /// The rows of both sides; `None` if there are too many distinct ones.
    pub(crate) fn rows(self) -> Option<Sides<Vec<Entry>>> {
        Some(Sides::new(self.entries.publisher.finish()?, self.entries.subscriber.finish()?))
    }
}

/// The next unit from some divergent chunks with the rows of their larger side, which are taken from the front of the list.
///
/// Range chunks of one unit are neighbours where they are read through the key. Rows without a key are all tried at once:
/// equal ones are one entry, and a bucket is large only where rows are equal.
pub(crate) fn next_unit(
    chunking: &Arc<Chunking>,
    divergent: &mut Vec<(u32, u64)>,
    keyed: bool,
    by_key: bool,
) -> Option<DrillUnit> {
    let &(first, rows) = divergent.first()?;
    if rows > UNIT_ROWS {
        divergent.remove(0);
        let parts = if keyed { rows.div_ceil(PART_ROWS) } else { 1 };
        return Some(unit(chunking, vec![first], 0, parts));
    }
    let mut total = 0;
    let mut chunks = Vec::new();
    for &(chunk, rows) in divergent.iter() {
        let neighbour = chunks.last().is_none_or(|&last: &u32| last + 1 == chunk);
        if total + rows > UNIT_ROWS || (by_key && !neighbour) {
            break;
        }
        total += rows;
        chunks.push(chunk);
    }
    divergent.drain(..chunks.len());
    Some(unit(chunking, chunks, 0, 1))
}

/// The next part of the same unit.
pub(crate) fn next_part(done: &DrillUnit) -> Option<DrillUnit> {
    let next = || unit(&done.chunking, done.chunks.clone(), done.part + 1, done.parts);
    (done.part + 1 < done.parts).then(next)
}

/// The same unit in more parts, from its first part, as one of them had too many distinct rows. `None` where more parts
/// would not help.
pub(crate) fn finer(too_large: &DrillUnit, rows: u64) -> Option<DrillUnit> {
    let needed = rows.div_ceil(PART_ROWS).max(1);
    let parts = (too_large.parts * 2).max(needed);
    let cut = || unit(&too_large.chunking, too_large.chunks.clone(), 0, parts);
    (parts <= needed * PARTS_PER_NEEDED_MAX).then(cut)
}

fn unit(chunking: &Arc<Chunking>, chunks: Vec<u32>, part: u64, parts: u64) -> DrillUnit {
    DrillUnit { chunking: Arc::clone(chunking), chunks, part, parts, held: Sides::default() }
}

/// How a side reads a unit: through the key where both sides can, else in its own slices.
pub(crate) fn unit_slices(unit: &DrillUnit, by_key: bool, slices: &[Slice]) -> Vec<Slice> {
    match (by_key, unit.chunks.first(), unit.chunks.last()) {
        (true, Some(&first), Some(&last)) => vec![Slice::Chunks { first, last }],
        _ => slices.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Position;

    fn unit_of(unit: DrillUnit) -> (Vec<u32>, u64, u64) {
        (unit.chunks, unit.part, unit.parts)
    }

    #[test]
    fn a_large_chunk_is_split_by_key_hash_and_small_ones_are_joined() {
        let chunking = Arc::new(Chunking::Buckets { of: 10 });
        let divergent = vec![(1, 10), (2, 10), (4, 10), (5, UNIT_ROWS * 2)];
        for (keyed, parts) in [(true, 3), (false, 1)] {
            let mut divergent = divergent.clone();
            let unit = next_unit(&chunking, &mut divergent, keyed, false).unwrap();
            assert_eq!(unit_of(unit), (vec![1, 2, 4], 0, 1));
            let unit = next_unit(&chunking, &mut divergent, keyed, false).unwrap();
            assert_eq!(unit_of(unit), (vec![5], 0, parts));
            assert!(next_unit(&chunking, &mut divergent, keyed, false).is_none());
        }
        let mut divergent = vec![(1, 10), (2, 10), (4, 10)];
        let unit = next_unit(&chunking, &mut divergent, true, true).unwrap();
        assert_eq!(unit.chunks, [1, 2]);
    }

    #[test]
    fn a_unit_that_overflows_is_cut_finer_up_to_a_limit() {
        let chunking = Arc::new(Chunking::Buckets { of: 10 });
        let whole = unit(&chunking, vec![1, 2], 0, 1);
        assert!(next_part(&whole).is_none());
        let twice = finer(&whole, 100).unwrap();
        assert_eq!(next_part(&twice).map(unit_of), Some((vec![1, 2], 1, 2)));
        assert!(next_part(&next_part(&twice).unwrap()).is_none());
        assert_eq!(finer(&next_part(&twice).unwrap(), 100).map(unit_of), Some((vec![1, 2], 0, 4)));
        let by_rows = finer(&whole, 30 * PART_ROWS).unwrap();
        assert_eq!(by_rows.parts, 30);
        assert_eq!(finer(&unit(&chunking, vec![1], 3, 120), 30 * PART_ROWS).map(unit_of), Some((vec![1], 0, 240)));
        assert!(finer(&unit(&chunking, vec![1], 3, 121), 30 * PART_ROWS).is_none());
    }

    #[test]
    fn a_side_that_overflows_in_one_slice_has_no_rows_but_tallies() {
        let chunking = Arc::new(Chunking::Buckets { of: 10 });
        let mut listing = Listing::new(Arc::new(unit(&chunking, vec![1], 0, 1)), Sides::new(2, 1));
        let position = Position { heap: 1, block: 0, offset: 1 };
        let row = Entry { key: [1; 16], digest: [1; 16], position, copies: 1 };
        let mut tally = Tally::default();
        tally.add(&crate::row::RowDigest::of(b"row"));
        assert!(!listing.take(Side::Publisher, None, vec![(1, tally)]));
        assert!(!listing.take(Side::Publisher, Some(vec![row]), vec![]));
        assert!(listing.take(Side::Subscriber, Some(vec![row]), vec![]));
        assert!(listing.same_rows(1, Side::Publisher, &tally));
        assert!(listing.rows().is_none());
    }
}
