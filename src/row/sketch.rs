//! Which rows of two large sets differ, from a sketch of each that does not grow with them.
//!
//! An invertible Bloom lookup table (Goodrich and Mitzenmacher, "Invertible Bloom Lookup Tables", 2011; Eppstein et al., "What's
//! the Difference?", SIGCOMM 2011): every row is added into three cells that its digest chooses. Subtracting the other set's
//! sketch leaves what differs; a cell that holds a single row gives it away, and taking that out of its other cells bares the
//! next one. Cells are summed modulo 2^64, word by word, never by XOR, in which equal rows would cancel in pairs.
//!
//! What comes out is only where to look: nothing here proves anything, nor needs to. Who reads the rows of the keys that came
//! out on both sides, and finds that they are all of what two [tallies](super::Tally) differ in, has proven that.

use std::collections::BTreeSet;

use super::RowDigest;

/// Cells that a row is added into.
const CHOICES: usize = 3;
/// Bits of the hash that choose one of them in the sketch of a table: from 2048 cells. All rows come out with high probability
/// up to 0.8 of them a cell (threshold 0.818), so that 4,900 come out of a sketch: 2,400 that changed, as each of them differs as it
/// was and as it is.
const TABLE_BITS: u32 = 11;
/// The same in the sketch of a chunk: from 128 cells, so that 300 rows come out.
const CHUNK_BITS: u32 = 7;
/// Words of a cell that hold the key.
const KEY_WORDS: usize = 5;
/// Bytes of the longest key, in normal form, that fits into a cell: two uuid, or 37 bytes of text. With this a cell is as large
/// as a line of the processor's cache.
const KEY_BYTES: usize = KEY_WORDS * size_of::<u64>();

/// A key in normal form with zeros behind it. Normal forms say themselves where they end, so that these differ where keys do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SketchKey([u64; KEY_WORDS]);

impl SketchKey {
    /// `None` for a key that does not fit.
    #[must_use]
    pub fn new(normal_form: &[u8]) -> Option<Self> {
        let mut bytes = [0; KEY_BYTES];
        bytes.get_mut(..normal_form.len())?.copy_from_slice(normal_form);
        let mut words = [0; KEY_WORDS];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_be_bytes(*bytes);
        }
        Some(Self(words))
    }

    /// Of a normal form of no more than 17 bytes: the first 16 as a number, and the last one.
    pub(super) fn from_number(first: u128, last: u8) -> Self {
        Self([(first >> 64) as u64, first as u64, u64::from(last) << 56, 0, 0])
    }

    /// The first 16 bytes as a number: where two of these differ, the keys sort as they do.
    #[must_use]
    pub fn beginning(&self) -> u128 {
        let [high, low, ..] = self.0;
        u128::from(high) << 64 | u128::from(low)
    }

    /// The normal form, and zeros behind it.
    #[must_use]
    pub fn padded(&self) -> [u8; KEY_BYTES] {
        let mut bytes = [0; KEY_BYTES];
        for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(self.0) {
            *bytes = word.to_be_bytes();
        }
        bytes
    }
}

/// Sums over the rows that chose the cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(align(64))]
struct Cell {
    count: u64,
    hash: u64,
    check: u64,
    key: [u64; KEY_WORDS],
}

impl Cell {
    fn of(key: &SketchKey, hash: u64) -> Self {
        Self { count: 1, hash, check: mix(hash), key: key.0 }
    }

    fn add(&mut self, other: &Self) {
        self.count = self.count.wrapping_add(other.count);
        self.hash = self.hash.wrapping_add(other.hash);
        self.check = self.check.wrapping_add(other.check);
        self.key.iter_mut().zip(other.key).for_each(|(sum, word)| *sum = sum.wrapping_add(word));
    }

    fn subtract(&mut self, other: &Self) {
        self.count = self.count.wrapping_sub(other.count);
        self.hash = self.hash.wrapping_sub(other.hash);
        self.check = self.check.wrapping_sub(other.check);
        self.key.iter_mut().zip(other.key).for_each(|(sum, word)| *sum = sum.wrapping_sub(word));
    }

    /// What it holds, if that is one row, of either set; and whether it is of the one that was subtracted.
    fn single(&self) -> Option<(Self, bool)> {
        let negative = self.count == u64::MAX;
        let row = if negative {
            let mut row = Self::default();
            row.subtract(self);
            row
        } else {
            *self
        };
        (row.count == 1 && row.check == mix(row.hash)).then_some((row, negative))
    }
}

/// A function that no sum goes through (the finalizer of SplitMix64): the sum of several rows is not taken for one.
fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// The cells that a row is added into.
fn choices(hash: u64, bits: u32) -> [usize; CHOICES] {
    let cells = 1 << bits;
    let mut base = 0;
    let mut hash = hash;
    [(); CHOICES].map(|()| {
        let choice = base + (hash as usize & (cells - 1));
        base += cells;
        hash >>= bits;
        choice
    })
}

/// A sketch of a set of rows, or of the difference of two. Sketches go together that are of the same kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sketch {
    bits: u32,
    cells: Box<[Cell]>,
}

impl Sketch {
    /// An empty sketch for a table: 384 KiB.
    #[must_use]
    pub fn of_table() -> Self {
        Self::with(TABLE_BITS)
    }

    /// An empty sketch for a chunk: 24 KiB.
    #[must_use]
    pub fn of_chunk() -> Self {
        Self::with(CHUNK_BITS)
    }

    fn with(bits: u32) -> Self {
        Self { bits, cells: vec![Cell::default(); CHOICES << bits].into_boxed_slice() }
    }

    /// What it holds in memory, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.cells)
    }

    /// Adds a row.
    pub fn add(&mut self, key: &SketchKey, digest: &RowDigest) {
        let [hash, ..] = digest.as_bytes().as_chunks().0 else { return };
        let hash = u64::from_le_bytes(*hash);
        let row = Cell::of(key, hash);
        for choice in choices(hash, self.bits) {
            if let Some(cell) = self.cells.get_mut(choice) {
                cell.add(&row);
            }
        }
    }

    /// Adds the rows of another sketch.
    pub fn merge(&mut self, other: &Self) {
        self.cells.iter_mut().zip(&other.cells).for_each(|(cell, other)| cell.add(other));
    }

    /// Subtracts the rows of another sketch.
    pub fn subtract(&mut self, other: &Self) {
        self.cells.iter_mut().zip(&other.cells).for_each(|(cell, other)| cell.subtract(other));
    }

    /// The keys of the rows that come out; all of them unless there are too many, or a row is more often in one set than in the
    /// other by two or more. Empty where more is left than came out: then nearly every key would be missing one.
    #[must_use]
    pub fn peel(mut self) -> BTreeSet<SketchKey> {
        let mut keys = BTreeSet::new();
        let mut waiting: Vec<usize> = (0..self.cells.len()).collect();
        // Every row that there is leaves at least one cell empty. More come out only of what no sum of rows makes.
        let mut rounds = self.cells.len();
        while let Some(at) = waiting.pop() {
            let Some((row, negative)) = self.cells.get(at).and_then(Cell::single) else { continue };
            if rounds == 0 {
                return BTreeSet::new();
            }
            rounds -= 1;
            for choice in choices(row.hash, self.bits) {
                if let Some(cell) = self.cells.get_mut(choice) {
                    if negative {
                        cell.add(&row);
                    } else {
                        cell.subtract(&row);
                    }
                    waiting.push(choice);
                }
            }
            keys.insert(SketchKey(row.key));
        }
        let left = self.cells.iter().filter(|cell| **cell != Cell::default()).count();
        if left > keys.len() { BTreeSet::new() } else { keys }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(id: u32) -> SketchKey {
        SketchKey::new(&id.to_be_bytes()).expect("short")
    }

    fn add(sketch: &mut Sketch, id: u32, version: u32) {
        sketch.add(&key(id), &RowDigest::of(&[id.to_be_bytes(), version.to_be_bytes()].concat()));
    }

    /// The difference of two sets of rows `(id, version)`.
    fn difference(ours: impl IntoIterator<Item = (u32, u32)>, theirs: impl IntoIterator<Item = (u32, u32)>) -> Sketch {
        let (mut sketch, mut other) = (Sketch::of_table(), Sketch::of_table());
        ours.into_iter().for_each(|(id, version)| add(&mut sketch, id, version));
        theirs.into_iter().for_each(|(id, version)| add(&mut other, id, version));
        sketch.subtract(&other);
        sketch
    }

    fn ids(sketch: Sketch) -> Vec<u32> {
        let id = |key: SketchKey| {
            let (id, zeros) =
                key.padded().split_at_checked(4).map(|(id, zeros)| (id.to_vec(), zeros.to_vec())).unwrap();
            assert!(zeros.iter().all(|zero| *zero == 0));
            u32::from_be_bytes(id.try_into().unwrap())
        };
        sketch.peel().into_iter().map(id).collect()
    }

    #[test]
    fn thousands_of_changed_rows_among_many_come_out() {
        let rows = 100_000;
        for changed in [0, 1, 1000, 2200] {
            let every = rows / changed.max(1);
            let version = |id: u32| u32::from(changed > 0 && id.is_multiple_of(every) && id / every < changed);
            let sketch = difference((0..rows).map(|id| (id, 0)), (0..rows).map(|id| (id, version(id))));
            assert_eq!(ids(sketch), (0..changed).map(|at| at * every).collect::<Vec<_>>());
        }
    }

    #[test]
    fn too_many_give_nothing_rather_than_some() {
        assert!(ids(difference((0..50_000).map(|id| (id, 0)), [])).is_empty());
        assert!(ids(difference([], (0..6000).map(|id| (id, 0)))).is_empty());
    }

    #[test]
    fn rows_that_stick_do_not_keep_others_from_coming_out() {
        let theirs = (10..20).map(|id| (id, 1)).chain([(1, 0), (1, 0), (2, 0)]);
        let ours = (10..20).map(|id| (id, 0)).chain([(2, 0), (2, 0)]);
        // One is twice in theirs and never in ours.
        assert_eq!(ids(difference(ours, theirs)), [[2].as_slice(), &(10..20).collect::<Vec<_>>()].concat());
    }

    #[test]
    fn tens_of_changed_rows_come_out_of_the_sketch_of_a_chunk() {
        let (mut sketch, mut other) = (Sketch::of_chunk(), Sketch::of_chunk());
        for id in 0..10_000 {
            add(&mut sketch, id, 0);
            add(&mut other, id, u32::from(id % 100 == 0));
        }
        sketch.subtract(&other);
        assert_eq!(ids(sketch), (0..100).map(|at| at * 100).collect::<Vec<_>>());
    }

    #[test]
    fn sketches_of_slices_are_that_of_the_whole() {
        let mut merged = difference((0..500).map(|id| (id, 0)), []);
        merged.merge(&difference((500..1000).map(|id| (id, 0)), []));
        assert_eq!(merged, difference((0..1000).map(|id| (id, 0)), []));
        merged.subtract(&difference((0..1000).map(|id| (id, 0)), []));
        assert_eq!(merged, Sketch::of_table());
        assert_eq!((merged.bytes(), Sketch::of_chunk().bytes()), (384 << 10, 24 << 10));
    }

    #[test]
    fn keys_that_do_not_fit_are_told() {
        assert_eq!(SketchKey::new(&[7; KEY_BYTES]).map(|key| key.padded()), Some([7; KEY_BYTES]));
        assert_eq!(SketchKey::new(&[7; KEY_BYTES + 1]), None);
        assert_eq!(size_of::<Cell>(), 64);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn nothing_comes_out_that_does_not_differ(
            common in prop::collection::vec((0u32..200, 0u32..3), 0..300),
            ours in prop::collection::vec((0u32..200, 0u32..3), 0..60),
            theirs in prop::collection::vec((0u32..200, 0u32..3), 0..60),
        ) {
            let side = |own: &[(u32, u32)]| common.iter().chain(own).copied().collect::<Vec<_>>();
            let mut counts = std::collections::BTreeMap::<(u32, u32), i64>::new();
            side(&ours).iter().for_each(|row| *counts.entry(*row).or_default() += 1);
            side(&theirs).iter().for_each(|row| *counts.entry(*row).or_default() -= 1);
            counts.retain(|_, count| *count != 0);
            let differing: BTreeSet<u32> = counts.keys().map(|(id, _)| *id).collect();
            let found = ids(difference(side(&ours), side(&theirs)));
            prop_assert!(found.iter().all(|id| differing.contains(id)));
            // So few do not meet in all three cells.
            if counts.values().all(|count| count.abs() == 1) {
                prop_assert_eq!(found, differing.into_iter().collect::<Vec<_>>());
            }
        }

        #[test]
        fn cells_of_any_content_end(cells in prop::collection::vec((0usize..CHOICES << TABLE_BITS, 0u64..3, any::<u64>(), any::<u64>()), 0..50)) {
            let mut sketch = Sketch::of_table();
            for (at, count, hash, key) in cells {
                sketch.cells[at] = Cell { count: count.wrapping_sub(1), hash, check: mix(hash), key: [key; KEY_WORDS] };
            }
            let _ = sketch.peel();
        }
    }
}
