//! The beginnings of the bounds of ranges, found from keys that come in any order.
//!
//! A binary search asks the processor to guess at every step, and for keys in random order every second guess is wrong. So a grid
//! over the bounds says at once between which ones a key lies, for all but the keys near a bound.

/// Bits of the number of the grid's cells: many to a bound where bounds are few, and 8 KiB of them at most.
const CELL_BITS: u32 = 11;

/// The first 16 bytes of each bound as a number, ascending.
#[derive(Debug, Default)]
pub(super) struct Starts {
    starts: Vec<u128>,
    /// For every cell how many bounds lie before it; one more at the end.
    before: Vec<u32>,
    /// A cell is `2^shift` wide.
    shift: u32,
}

impl Starts {
    pub(super) fn new(starts: Vec<u128>) -> Self {
        let (Some(first), Some(last)) = (starts.first(), starts.last()) else { return Self::default() };
        let width = last - first;
        let shift = (u128::BITS - width.leading_zeros()).saturating_sub(CELL_BITS);
        let cell = |start: &u128| (start - first) >> shift;
        let cells = cell(last) + 1;
        let count = |before: u128| starts.partition_point(|start| cell(start) < before);
        let before = (0..=cells).map(|at| u32::try_from(count(at)).unwrap_or(u32::MAX)).collect();
        Self { starts, before, shift }
    }

    /// How many bounds begin with less than this; `None` if one begins with just this.
    #[inline]
    pub(super) fn below(&self, beginning: u128) -> Option<usize> {
        let Some(offset) = self.starts.first().and_then(|first| beginning.checked_sub(*first)) else { return Some(0) };
        let cell = usize::try_from(offset >> self.shift).unwrap_or(usize::MAX);
        let (Some(&from), Some(&to)) = (self.before.get(cell), self.before.get(cell.saturating_add(1))) else {
            return Some(self.starts.len());
        };
        let from = from as usize;
        let near = self.starts.get(from..to as usize).unwrap_or_default();
        if near.is_empty() {
            return Some(from);
        }
        let below = near.partition_point(|start| *start < beginning);
        if near.get(below) == Some(&beginning) { None } else { Some(from + below) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a search among all of them finds.
    fn searched(starts: &[u128], beginning: u128) -> Option<usize> {
        let below = starts.partition_point(|start| *start < beginning);
        (starts.get(below) != Some(&beginning)).then_some(below)
    }

    fn check(starts: &[u128], beginnings: impl IntoIterator<Item = u128>) {
        let grid = Starts::new(starts.to_vec());
        assert!(grid.before.len() <= (1 << CELL_BITS) + 1);
        for beginning in beginnings {
            assert_eq!(grid.below(beginning), searched(starts, beginning), "{beginning} among {starts:?}");
        }
    }

    #[test]
    fn at_the_ends_of_all_numbers() {
        let ends = [0, 1, 2, u128::MAX / 2, u128::MAX - 1, u128::MAX];
        for starts in [&[][..], &[0], &[u128::MAX], &[0, u128::MAX], &[7, 7, 7], &[1, 2, u128::MAX - 1], &ends] {
            check(starts, ends);
        }
    }

    proptest! {
        #[test]
        fn finds_what_a_search_finds(mut starts in prop::collection::vec(number(), 0..40), others in prop::collection::vec(number(), 0..40)) {
            starts.sort_unstable();
            let near = starts.iter().flat_map(|start| [start.saturating_sub(1), *start, start.saturating_add(1)]);
            check(&starts, near.chain(others));
        }
    }

    /// Close together and far apart, with and without what all have in common.
    fn number() -> impl Strategy<Value = u128> {
        (any::<u128>(), 0u32..128, any::<bool>()).prop_map(|(number, shift, high)| {
            let small = number >> shift;
            if high { small | 0xabcd << 112 } else { small }
        })
    }
}
