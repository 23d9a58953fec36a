//! Scattered differences, located without reading a table again.
//!
//! What is read goes into a sketch besides the tallies of its chunks: into one for the whole table, or one for each chunk where
//! chunks are read one by one. The keys that come out of the difference of both
//! sides' sketches are read on both sides, through the index of the key and in the same snapshots. Where the rows that this
//! brings differ in just what the tallies of a chunk differ in, they are all that differs there: count and sum of what is left
//! are equal, as in a chunk that agrees from the beginning. Every other chunk is drilled into.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::compare::case::Case;
use crate::compare::drill::{Drill, Found};
use crate::compare::units::Listing;
use crate::plan::{ScanKind, Slice};
use crate::row::{KeyTexts, Tally};
use crate::scan::{DrillUnit, Entry, Job, LocatedKeys, TableSketch, Work};
use crate::side::{Side, Sides};

/// What the two sides of a table, or of each chunk that is read on its own, differ in, as far as they are read.
#[derive(Debug, Default)]
pub(super) struct Peels(BTreeMap<Option<u32>, Peel>);

impl Peels {
    /// Takes in the sketch of a slice.
    pub(super) fn take(&mut self, side: Side, slice: &Slice, sketch: Option<TableSketch>) {
        let chunk = if let Slice::Chunks { first, .. } = slice { Some(*first) } else { None };
        self.0.entry(chunk).or_default().take(side, sketch);
    }

    /// A chunk agrees.
    pub(super) fn forget(&mut self, chunk: u32) {
        self.0.remove(&Some(chunk));
    }

    /// What the two sides of a chunk differ in, or of the whole table.
    fn difference(&mut self, chunk: Option<u32>) -> Option<TableSketch> {
        match self.0.remove(&chunk)? {
            Peel::Of(_, sketch) => Some(sketch),
            Peel::Nothing | Peel::Void => None,
        }
    }
}

#[derive(Debug, Default)]
enum Peel {
    /// Nothing is read.
    #[default]
    Nothing,
    /// The rows of this side less those of the other.
    Of(Side, TableSketch),
    /// Rows were read without a sketch.
    Void,
}

impl Peel {
    fn take(&mut self, side: Side, sketch: Option<TableSketch>) {
        *self = match (std::mem::replace(self, Self::Void), sketch) {
            (Self::Nothing, Some(sketch)) => Self::Of(side, sketch),
            (Self::Of(first, mut sum), Some(sketch)) => {
                if first == side {
                    sum.merge(&sketch);
                } else {
                    sum.subtract(&sketch);
                }
                Self::Of(first, sum)
            }
            (_, None) | (Self::Void, Some(_)) => Self::Void,
        };
    }
}

/// Rows of some keys while they come in.
#[derive(Debug)]
pub(super) struct Locating {
    pub(super) listing: Listing,
    wanted: Arc<LocatedKeys>,
}

impl Case {
    /// Asks for the rows of the keys that come out of a sketch; `None` where there is nothing to ask for.
    pub(super) fn locate(&mut self) -> Option<Vec<Job>> {
        // With rows set aside, what the subscriber has besides is no difference yet.
        if self.aside.is_some() {
            self.peels = Peels::default();
            return None;
        }
        let texts = KeyTexts::new(&self.table.pair, &self.table.shape)?;
        let divergent: Vec<u32> = self.divergent.iter().map(|(chunk, _)| *chunk).collect();
        let (peels, chunking) = (&mut self.peels, &self.chunking);
        let wanted = Arc::new(match self.plan.as_ref()?.scan {
            ScanKind::Heap => peels.difference(None)?.wanted(&texts, chunking, &divergent)?,
            ScanKind::KeyRange => {
                let mut of = |chunk: &u32| peels.difference(Some(*chunk))?.wanted(&texts, chunking, &[*chunk]);
                divergent.iter().find_map(&mut of)?
            }
        });
        self.drill = Drill::Locating(Locating {
            listing: Listing::new(Arc::clone(&wanted.unit), Sides::new(1, 1)),
            wanted: Arc::clone(&wanted),
        });
        Some(Side::BOTH.map(|side| self.job(side, Work::Locate(Arc::clone(&wanted)))).into())
    }

    /// Reads the chunks again that the rows of some keys might have explained: a side cannot look them up.
    pub(super) fn give_up_locating(&mut self, wanted: &Arc<LocatedKeys>) -> Vec<Job> {
        match &self.drill {
            Drill::Locating(locating) if Arc::ptr_eq(&locating.wanted, wanted) => {
                self.drill = Drill::Idle;
                self.drill_on(None)
            }
            _ => Vec::new(),
        }
    }

    /// Takes in a side's rows of these keys.
    pub(super) fn take_located(
        &mut self,
        side: Side,
        wanted: &Arc<LocatedKeys>,
        entries: Option<Vec<Entry>>,
        tallies: Vec<(u32, Tally)>,
    ) -> Vec<Job> {
        match std::mem::replace(&mut self.drill, Drill::Idle) {
            // The other side of keys that were given up may still answer.
            Drill::Locating(mut locating) if Arc::ptr_eq(&locating.wanted, wanted) => {
                if locating.listing.take(side, entries, tallies) {
                    return self.located(locating);
                }
                self.drill = Drill::Locating(locating);
                Vec::new()
            }
            other => {
                self.drill = other;
                Vec::new()
            }
        }
    }

    /// Joins the rows of the chunks that they explain, and leaves the other chunks to be drilled into.
    fn located(&mut self, locating: Locating) -> Vec<Job> {
        let Locating { listing, wanted } = locating;
        let explained = |chunk: &u32| {
            let known = self.chunks.get(*chunk as usize);
            known.is_some_and(|known| listing.difference(*chunk) == difference(&known.tallies))
        };
        let chunks: Vec<u32> = wanted.unit.chunks.iter().copied().filter(explained).collect();
        tracing::debug!(
            table = %self.table.pair.name,
            keys = wanted.keys.len(),
            explained = chunks.len(),
            divergent = self.divergent.len(),
            "divergent chunks were explained by the rows of some keys"
        );
        let (Some(mut rows), false) = (listing.rows(), chunks.is_empty()) else { return self.drill_on(None) };
        let known = |chunk: &u32| chunks.binary_search(chunk).is_ok();
        for side in Side::BOTH {
            rows.get_mut(side).retain(|entry| wanted.chunk_of.get(&entry.key).is_some_and(known));
        }
        self.divergent.retain(|(chunk, _)| !known(chunk));
        self.found_in_unit = Found::default();
        let chunking = Arc::clone(&self.chunking);
        let unit = DrillUnit { chunking, chunks, part: 0, parts: 1, held: Sides::default() };
        self.join_rows(Arc::new(unit), rows)
    }
}

/// What the publisher's rows have that the subscriber's do not.
pub(super) fn difference(tallies: &Sides<Tally>) -> Tally {
    let mut difference = tallies.publisher;
    difference.subtract(&tallies.subscriber);
    difference
}
