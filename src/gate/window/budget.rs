//! What the changes in a window take, by relation.

use std::collections::BTreeMap;

/// Bytes of changed rows, of each relation and of all.
#[derive(Debug, Default)]
pub(super) struct Budget {
    all: usize,
    of: BTreeMap<u32, usize>,
}

impl Budget {
    /// A relation takes so many more, or fewer.
    pub(super) fn grow(&mut self, relation: u32, bytes: isize) {
        let own = self.of.entry(relation).or_default();
        let before = *own;
        *own = before.saturating_add_signed(bytes);
        self.all = (self.all - before).saturating_add(*own);
    }

    pub(super) fn add(&mut self, relation: u32, bytes: usize) {
        self.grow(relation, isize::try_from(bytes).unwrap_or(isize::MAX));
    }

    pub(super) fn take(&mut self, relation: u32, bytes: usize) {
        self.grow(relation, isize::try_from(bytes).map_or(isize::MIN, isize::wrapping_neg));
    }

    /// The relation that takes most, where all take more than there may be.
    pub(super) fn largest_beyond(&self, max: usize) -> Option<u32> {
        let largest = self.of.iter().max_by_key(|(_, bytes)| **bytes).map(|(relation, _)| *relation);
        largest.filter(|_| self.all > max)
    }

    /// Nothing of a relation is held any longer.
    pub(super) fn forget(&mut self, relation: u32) {
        self.all -= self.of.remove(&relation).unwrap_or_default();
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> usize {
        assert_eq!(self.all, self.of.values().sum::<usize>());
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_the_relations() {
        let mut budget = Budget::default();
        budget.add(1, 10);
        budget.add(2, 20);
        budget.take(2, 5);
        assert_eq!((budget.all(), budget.largest_beyond(24), budget.largest_beyond(25)), (25, Some(2), None));
        budget.forget(2);
        assert_eq!((budget.all(), budget.largest_beyond(9)), (10, Some(1)));
        // What was forgotten cannot go again.
        budget.take(2, 5);
        budget.forget(3);
        assert_eq!(budget.all(), 10);
        budget.add(1, usize::MAX);
        assert_eq!(budget.largest_beyond(0), Some(1));
        budget.forget(1);
        assert_eq!((budget.all(), budget.largest_beyond(0)), (0, None));
    }
}
