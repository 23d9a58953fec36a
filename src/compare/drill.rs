//! From divergent chunks to differing rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::compare::DifferenceKind;
use crate::plan::{Chunking, Position, Slice};
use crate::row::Tally;
use crate::scan::{DrillUnit, ENTRIES_MAX, Entries, Entry};
use crate::side::{Side, Sides};

/// Rows of one side that are joined at once: one unit of one table at a time.
pub(crate) const UNIT_ROWS: u64 = ENTRIES_MAX as u64;
/// Rows that a part is cut for: keys spread over parts by their hash, so some parts get more.
const PART_ROWS: u64 = UNIT_ROWS / 8 * 7;
/// Parts for each one that the number of rows asks for. Where these are not enough, most rows have the same key.
const PARTS_PER_NEEDED_MAX: u64 = 8;

/// Rows that differ in the same way, with where one of them lies on each side that has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// How they differ.
    pub kind: DifferenceKind,
    /// How many there are, or pairs of them.
    pub count: u64,
    /// Where one lies.
    pub positions: Sides<Option<Position>>,
    /// Whether the same key is on this side more often than on the other, and on both.
    pub duplicated: bool,
}

/// Joins the rows of a unit as multisets, key by key: equal rows cancel each other one for one; of what is left, rows of
/// one key pair up as changed, and the rest is missing or extra. Duplicate keys stay what they are.
pub fn join(publisher: &mut [Entry], subscriber: &mut [Entry], mut found: impl FnMut(Difference)) {
    publisher.sort_unstable();
    subscriber.sort_unstable();
    let (mut p, mut s) = (&*publisher, &*subscriber);
    while let Some(key) = p.first().into_iter().chain(s.first()).map(|entry| entry.key).min() {
        let of_key = |entries: &[Entry]| entries.iter().take_while(|entry| entry.key == key).count();
        let (p_group, p_rest) = p.split_at(of_key(p));
        let (s_group, s_rest) = s.split_at(of_key(s));
        (p, s) = (p_rest, s_rest);
        join_key(p_group, s_group, &mut found);
    }
}

fn join_key(publisher: &[Entry], subscriber: &[Entry], found: &mut impl FnMut(Difference)) {
    if let ([p], [s]) = (publisher, subscriber)
        && (p.digest, p.copies) == (s.digest, s.copies)
    {
        return;
    }
    let mut left = Sides::<Vec<Entry>>::default();
    let (mut p, mut s) = (publisher.iter().copied(), subscriber.iter().copied());
    let (mut a, mut b) = (p.next(), s.next());
    loop {
        match (&mut a, &mut b) {
            (Some(x), Some(y)) if x.digest == y.digest => {
                take_both(x, y);
                if x.copies == 0 {
                    a = p.next();
                }
                if y.copies == 0 {
                    b = s.next();
                }
            }
            (Some(x), Some(y)) if x.digest > y.digest => {
                left.subscriber.push(*y);
                b = s.next();
            }
            (Some(x), _) => {
                left.publisher.push(*x);
                a = p.next();
            }
            (None, Some(y)) => {
                left.subscriber.push(*y);
                b = s.next();
            }
            (None, None) => break,
        }
    }
    let rows = |entries: &[Entry]| entries.iter().map(|entry| entry.copies).sum::<u64>();
    let (p_rows, s_rows) = (rows(publisher), rows(subscriber));
    let duplicated = p_rows > 0 && s_rows > 0 && p_rows != s_rows;
    let mut others = left.subscriber.into_iter();
    let mut other = others.next();
    for mut row in left.publisher {
        while row.copies > 0 {
            let (kind, count, at) = match &mut other {
                Some(pair) => (DifferenceKind::Changed, take_both(&mut row, pair), Some(pair.position)),
                None => (DifferenceKind::Missing, std::mem::take(&mut row.copies), None),
            };
            found(Difference { kind, count, positions: Sides::new(Some(row.position), at), duplicated });
            if other.is_some_and(|pair| pair.copies == 0) {
                other = others.next();
            }
        }
    }
    for row in other.into_iter().chain(others) {
        let positions = Sides::new(None, Some(row.position));
        found(Difference { kind: DifferenceKind::Extra, count: row.copies, positions, duplicated });
    }
}

/// Takes as many rows off both as both have, and tells how many.
fn take_both(a: &mut Entry, b: &mut Entry) -> u64 {
    let both = a.copies.min(b.copies);
    a.copies -= both;
    b.copies -= both;
    both
}

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

    fn entry(key: u8, digest: u8, at: u16) -> Entry {
        Entry { key: [key; 16], digest: [digest; 16], position: Position { heap: 1, block: 0, offset: at }, copies: 1 }
    }

    fn kinds(publisher: &[Entry], subscriber: &[Entry]) -> Vec<(DifferenceKind, bool)> {
        let mut found = Vec::new();
        join(&mut publisher.to_vec(), &mut subscriber.to_vec(), |difference| {
            assert_eq!(difference.count, 1);
            found.push((difference.kind, difference.duplicated));
        });
        found
    }

    #[test]
    fn equal_rows_cancel_one_for_one() {
        use DifferenceKind::{Changed, Extra, Missing};
        assert_eq!(kinds(&[entry(1, 1, 1)], &[entry(1, 1, 9)]), []);
        assert_eq!(kinds(&[entry(1, 1, 1)], &[entry(1, 2, 9)]), [(Changed, false)]);
        assert_eq!(kinds(&[entry(1, 1, 1)], &[entry(2, 1, 9)]), [(Missing, false), (Extra, false)]);
        // A duplicated key on the subscriber, with an equal and with a differing copy.
        assert_eq!(kinds(&[entry(1, 1, 1)], &[entry(1, 1, 1), entry(1, 1, 2)]), [(Extra, true)]);
        assert_eq!(kinds(&[entry(1, 2, 1)], &[entry(1, 1, 1), entry(1, 2, 2)]), [(Extra, true)]);
        // Rows without a key: the digest is the key, and multiplicity counts.
        assert_eq!(kinds(&[entry(5, 5, 1), entry(5, 5, 2)], &[entry(5, 5, 1)]), [(Missing, true)]);
    }

    #[test]
    fn copies_cancel_and_pair_up_by_their_number() {
        use DifferenceKind::{Changed, Extra, Missing};
        let of = |key, digest, at, copies| Entry { copies, ..entry(key, digest, at) };
        let found = |publisher: &[Entry], subscriber: &[Entry]| {
            let mut found = Vec::new();
            join(&mut publisher.to_vec(), &mut subscriber.to_vec(), |difference| {
                let at = |side| difference.positions.get(side).map_or(0, |position: Position| position.offset);
                let (p, s) = (at(Side::Publisher), at(Side::Subscriber));
                found.push((difference.kind, difference.count, p, s, difference.duplicated));
            });
            found
        };
        let million = 1_000_000;
        assert_eq!(found(&[of(1, 1, 1, million)], &[of(1, 1, 9, million)]), []);
        assert_eq!(found(&[of(1, 1, 1, million)], &[of(1, 1, 9, million - 1)]), [(Missing, 1, 1, 0, true)]);
        assert_eq!(found(&[of(1, 1, 1, 2)], &[of(1, 1, 9, million)]), [(Extra, million - 2, 0, 9, true)]);
        assert_eq!(found(&[of(1, 1, 1, million)], &[]), [(Missing, million, 1, 0, false)]);
        // What is left of equal rows pairs up with rows of other digests, in their number.
        assert_eq!(
            found(&[of(1, 1, 1, 5), of(1, 3, 2, 4)], &[of(1, 1, 9, 2), of(1, 2, 8, 4), of(1, 4, 7, 1)]),
            [
                (Changed, 3, 1, 8, false),
                (Changed, 1, 2, 8, false),
                (Changed, 1, 2, 7, false),
                (Missing, 2, 2, 0, false)
            ]
            .map(|(kind, count, p, s, _)| (kind, count, p, s, true))
        );
        assert_eq!(
            found(&[of(1, 3, 1, 2)], &[of(1, 2, 8, 1), of(1, 4, 7, 3)]),
            [(Changed, 1, 1, 8, true), (Changed, 1, 1, 7, true), (Extra, 2, 0, 7, true)]
        );
        // As often on both sides.
        assert_eq!(found(&[of(1, 3, 1, 2)], &[of(1, 4, 7, 2)]), [(Changed, 2, 1, 7, false)]);
        // Lists that were not collapsed join alike.
        assert_eq!(found(&[of(1, 1, 1, 3)], &[of(1, 1, 5, 1), of(1, 1, 6, 1)]), [(Missing, 1, 1, 0, true)]);
    }

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
        let mut tally = Tally::default();
        tally.add(&crate::row::RowDigest::of(b"row"));
        assert!(!listing.take(Side::Publisher, None, vec![(1, tally)]));
        assert!(!listing.take(Side::Publisher, Some(vec![entry(1, 1, 1)]), vec![]));
        assert!(listing.take(Side::Subscriber, Some(vec![entry(1, 1, 1)]), vec![]));
        assert!(listing.same_rows(1, Side::Publisher, &tally));
        assert!(listing.rows().is_none());
    }
}
