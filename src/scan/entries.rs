//! What is kept of the rows of a chunk while it is drilled into.

use crate::plan::Position;

/// Distinct rows of one side that are kept at once: about 7 MiB.
pub(crate) const ENTRIES_MAX: usize = 131_072;
/// Rows that a list takes in between two collapses at least.
const SLACK_MIN: usize = 4096;

/// Equal rows as they are joined with the other side's: 56 bytes, whatever their width and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// 128 bits of the hash of its key in normal form; of its digest for a table without a key.
    pub key: [u8; 16],
    /// 128 bits of its digest.
    pub digest: [u8; 16],
    /// Where one of them lies: their content is the same, so any names them all.
    pub position: Position,
    /// How many there are.
    pub copies: u64,
}

impl Entry {
    fn is_equal_row(&self, other: &Self) -> bool {
        (self.key, self.digest) == (other.key, other.digest)
    }
}

/// A list of rows in which equal ones become one entry. Past so many distinct ones it gives up and keeps none.
#[derive(Debug)]
pub(crate) struct Entries {
    list: Vec<Entry>,
    max: usize,
    /// Entries that the last collapse left.
    kept: usize,
    overflowed: bool,
}

impl Default for Entries {
    fn default() -> Self {
        Self::with_max(ENTRIES_MAX)
    }
}

impl Entries {
    fn with_max(max: usize) -> Self {
        Self { list: Vec::new(), max, kept: 0, overflowed: false }
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        if self.overflowed {
            return;
        }
        let slack = (self.kept / 8).max(SLACK_MIN.min(self.max));
        if self.list.len() == self.list.capacity() {
            // Doubling would hold twice of what there may be.
            self.list.reserve_exact(slack);
        }
        self.list.push(entry);
        if self.list.len() >= self.kept + slack {
            self.collapse();
        }
    }

    /// Takes in what another list ended with.
    pub(crate) fn append(&mut self, other: Option<Vec<Entry>>) {
        match other {
            Some(entries) => entries.into_iter().for_each(|entry| self.push(entry)),
            None => self.overflow(),
        }
    }

    fn collapse(&mut self) {
        self.sort();
        self.list.dedup_by(|entry, before| {
            let equal = entry.is_equal_row(before);
            if equal {
                before.copies += entry.copies;
            }
            equal
        });
        self.kept = self.list.len();
        if self.kept > self.max {
            self.overflow();
        }
    }

    /// Sorts what came since the last collapse into what it left, which is in order: sorting all of it each time costs more
    /// than reading the rows.
    fn sort(&mut self) {
        let mut added = self.list.split_off(self.kept.min(self.list.len()));
        added.sort_unstable();
        let mut at = self.list.len();
        self.list.extend_from_slice(&added);
        let mut free = self.list.len();
        // From the back: the largest of both goes to the last free place. What is free is as much as was not placed yet.
        while let Some(entry) = added.last() {
            free -= 1;
            match self.list.get(..at).and_then(<[Entry]>::last) {
                Some(kept) if kept > entry => {
                    self.list.swap(at - 1, free);
                    at -= 1;
                }
                _ => {
                    if let (Some(place), Some(entry)) = (self.list.get_mut(free), added.pop()) {
                        *place = entry;
                    }
                }
            }
        }
    }

    /// Gives up, and frees what was kept.
    pub(crate) fn overflow(&mut self) {
        *self = Self { overflowed: true, ..Self::with_max(self.max) };
    }

    /// Entries that the last collapse left.
    pub(crate) fn kept(&self) -> usize {
        self.kept
    }

    /// Distinct rows, in order; `None` if there were too many.
    pub(crate) fn finish(mut self) -> Option<Vec<Entry>> {
        self.collapse();
        (!self.overflowed).then_some(self.list)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(row: u32, at: u32) -> Entry {
        let mut key = [0; 16];
        key[..4].copy_from_slice(&row.to_be_bytes());
        Entry { key, digest: key, position: Position { heap: 1, block: at, offset: 1 }, copies: 1 }
    }

    #[test]
    fn equal_rows_become_one_entry_with_a_count() {
        let mut entries = Entries::default();
        let rows = 10 * u32::try_from(ENTRIES_MAX).unwrap();
        for at in 0..rows {
            entries.push(entry(at % 3, at));
            assert!(entries.list.capacity() <= 2 * SLACK_MIN);
        }
        // The same key with another digest is another row.
        entries.push(Entry { digest: [9; 16], ..entry(1, rows) });
        let list = entries.finish().unwrap();
        let seen: Vec<_> = list.iter().map(|entry| (entry.key[3], entry.digest[3], entry.copies)).collect();
        let third = u64::from(rows / 3);
        assert_eq!(seen, [(0, 0, third + 1), (1, 1, third + 1), (1, 9, 1), (2, 2, u64::from(rows) - 2 * third - 2)]);
        assert_eq!(list.iter().map(|entry| entry.position.block).collect::<Vec<_>>(), [0, 1, rows, 2]);
    }

    #[test]
    fn too_many_distinct_rows_are_given_up_and_freed() {
        let mut entries = Entries::with_max(10);
        (0..1000).for_each(|at| entries.push(entry(at % 10, at)));
        assert_eq!(entries.finish().map(|list| list.len()), Some(10));
        let mut entries = Entries::with_max(10);
        (0..11).for_each(|at| entries.push(entry(at, at)));
        assert_eq!(entries.finish(), None);
        let mut entries = Entries::default();
        for at in 0..3 * u32::try_from(ENTRIES_MAX).unwrap() {
            entries.push(entry(at, at));
            assert!(entries.list.capacity() <= ENTRIES_MAX + ENTRIES_MAX / 4);
        }
        assert_eq!((entries.overflowed, entries.list.capacity()), (true, 0));
        assert_eq!(entries.finish(), None);
    }

    #[test]
    fn lists_of_several_slices_collapse_and_overflow_as_one() {
        let slice = |rows: std::ops::Range<u32>| {
            let mut entries = Entries::with_max(10);
            rows.for_each(|row| entries.push(entry(row, row)));
            entries.finish()
        };
        let mut entries = Entries::with_max(10);
        (0..50).for_each(|_| entries.append(slice(0..8)));
        let list = entries.finish().unwrap();
        assert_eq!((list.len(), list[7].copies), (8, 50));
        let mut entries = Entries::with_max(10);
        entries.append(slice(0..8));
        entries.append(slice(4..12));
        assert_eq!(entries.finish(), None);
        let mut entries = Entries::with_max(10);
        entries.append(slice(0..12));
        entries.append(slice(0..2));
        assert_eq!(entries.finish(), None);
    }

    proptest! {
        #[test]
        fn a_list_is_what_sorting_all_of_it_gives(rows in prop::collection::vec(0u32..40, 0..300), cuts in prop::collection::vec(1usize..50, 0..10)) {
            let all: Vec<_> = (0..).zip(&rows).map(|(at, row)| entry(*row, at)).collect();
            let mut entries = Entries::default();
            let mut rest = all.as_slice();
            for cut in cuts {
                let (piece, behind) = rest.split_at(cut.min(rest.len()));
                piece.iter().for_each(|entry| entries.push(*entry));
                entries.collapse();
                rest = behind;
            }
            rest.iter().for_each(|entry| entries.push(*entry));
            let mut counted = std::collections::BTreeMap::<[u8; 16], (u64, u32)>::new();
            for entry in &all {
                let (copies, first) = counted.entry(entry.key).or_insert((0, entry.position.block));
                *copies += 1;
                *first = entry.position.block.min(*first);
            }
            let list = entries.finish().unwrap_or_default();
            let list: Vec<_> = list.iter().map(|entry| (entry.key, (entry.copies, entry.position.block))).collect();
            prop_assert_eq!(list, counted.into_iter().collect::<Vec<_>>());
        }
    }
}
