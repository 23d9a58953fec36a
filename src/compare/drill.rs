//! From divergent chunks to differing rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::compare::DifferenceKind;
use crate::plan::{Chunking, Slice};
use crate::row::Tally;
use crate::scan::{DrillUnit, Entry, Position};
use crate::side::{Side, Sides};

/// Rows of one side that are joined at once: with 48 bytes each about 6 MiB per side, and one unit of one table at a time.
pub(crate) const UNIT_ROWS: u64 = 131_072;

/// A row that differs, with where it lies on each side that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// How it differs.
    pub kind: DifferenceKind,
    /// Where it lies.
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
        && p.digest == s.digest
    {
        return;
    }
    let mut left = Sides::<Vec<Position>>::default();
    let (mut p, mut s) = (publisher.iter().peekable(), subscriber.iter().peekable());
    loop {
        match (p.peek(), s.peek()) {
            (Some(a), Some(b)) if a.digest == b.digest => {
                p.next();
                s.next();
            }
            (Some(a), Some(b)) if a.digest > b.digest => {
                left.subscriber.push(b.position);
                s.next();
            }
            (Some(a), _) => {
                left.publisher.push(a.position);
                p.next();
            }
            (None, Some(b)) => {
                left.subscriber.push(b.position);
                s.next();
            }
            (None, None) => break,
        }
    }
    let duplicated = !publisher.is_empty() && !subscriber.is_empty() && publisher.len() != subscriber.len();
    let mut left_subscriber = left.subscriber.into_iter();
    for position in left.publisher {
        let other = left_subscriber.next();
        let kind = if other.is_some() { DifferenceKind::Changed } else { DifferenceKind::Missing };
        found(Difference { kind, positions: Sides::new(Some(position), other), duplicated });
    }
    for position in left_subscriber {
        found(Difference { kind: DifferenceKind::Extra, positions: Sides::new(None, Some(position)), duplicated });
    }
}

/// A unit while its rows come in.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) unit: Arc<DrillUnit>,
    outstanding: Sides<usize>,
    entries: Sides<Vec<Entry>>,
    tallies: Sides<BTreeMap<u32, Tally>>,
}

impl Listing {
    pub(crate) fn new(unit: Arc<DrillUnit>, slices: Sides<usize>) -> Self {
        Self { unit, outstanding: slices, entries: Sides::default(), tallies: Sides::default() }
    }

    /// Takes in one slice of a side. True once both sides are complete.
    pub(crate) fn take(&mut self, side: Side, mut entries: Vec<Entry>, tallies: Vec<(u32, Tally)>) -> bool {
        self.entries.get_mut(side).append(&mut entries);
        for (chunk, tally) in tallies {
            self.tallies.get_mut(side).entry(chunk).or_default().merge(&tally);
        }
        let outstanding = self.outstanding.get_mut(side);
        *outstanding = outstanding.saturating_sub(1);
        self.outstanding.publisher == 0 && self.outstanding.subscriber == 0
    }

    /// Whether a chunk's rows are the ones that were read before.
    pub(crate) fn same_rows(&self, chunk: u32, side: Side, before: &Tally) -> bool {
        self.tallies.get(side).get(&chunk).copied().unwrap_or_default() == *before
    }

    /// The differing rows of the unit.
    pub(crate) fn join(mut self, found: impl FnMut(Difference)) {
        join(&mut self.entries.publisher, &mut self.entries.subscriber, found);
    }
}

/// The next unit from some divergent chunks with the rows of their larger side, which are taken from the front of the list.
///
/// Range chunks of one unit are neighbours where they are read through the key.
pub(crate) fn next_unit(
    chunking: &Arc<Chunking>,
    divergent: &mut Vec<(u32, u64)>,
    part: Option<(u32, u64, u64)>,
    by_key: bool,
) -> Option<DrillUnit> {
    let chunking = Arc::clone(chunking);
    if let Some((chunk, part, parts)) = part {
        return Some(DrillUnit { chunking, chunks: vec![chunk], part, parts });
    }
    let &(first, rows) = divergent.first()?;
    if rows > UNIT_ROWS {
        divergent.remove(0);
        return Some(DrillUnit { chunking, chunks: vec![first], part: 0, parts: rows.div_ceil(UNIT_ROWS) });
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
    Some(DrillUnit { chunking, chunks, part: 0, parts: 1 })
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
        Entry { key: [key; 16], digest: [digest; 16], position: Position { heap: 1, block: 0, offset: at } }
    }

    fn kinds(publisher: &[Entry], subscriber: &[Entry]) -> Vec<(DifferenceKind, bool)> {
        let mut found = Vec::new();
        join(&mut publisher.to_vec(), &mut subscriber.to_vec(), |difference| {
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
    fn a_large_chunk_is_split_by_key_hash_and_small_ones_are_joined() {
        let chunking = Arc::new(Chunking::Buckets { of: 10 });
        let mut divergent = vec![(1, 10), (2, 10), (4, 10), (5, UNIT_ROWS * 2)];
        let unit = next_unit(&chunking, &mut divergent, None, false).unwrap();
        assert_eq!((unit.chunks, unit.parts), (vec![1, 2, 4], 1));
        let unit = next_unit(&chunking, &mut divergent, None, false).unwrap();
        assert_eq!((unit.chunks, unit.parts), (vec![5], 2));
        assert!(next_unit(&chunking, &mut divergent, None, false).is_none());
        let mut divergent = vec![(1, 10), (2, 10), (4, 10)];
        let unit = next_unit(&chunking, &mut divergent, None, true).unwrap();
        assert_eq!(unit.chunks, [1, 2]);
    }
}
