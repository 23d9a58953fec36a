//! How a table is read: cut into chunks, which fill up slice by slice until both sides of one can be compared.

use std::sync::Arc;

use crate::compare::case::Case;
use crate::compare::peel::Peels;
use crate::plan::{self, Chunking, ScanKind, Slice};
use crate::row::Tally;
use crate::scan::{Job, Work};
use crate::side::{Side, Sides};
use crate::verdict::Reason;

/// One chunk of a table.
#[derive(Debug, Clone, Default)]
pub(super) struct Chunk {
    pub(super) tallies: Sides<Tally>,
    /// Whether all of it was read.
    pub(super) read: Sides<bool>,
    /// Where both sides were read and every difference was found.
    pub(super) settled: Option<u32>,
    /// It holds rows that are to be set aside, and is read again without them.
    pub(super) again: bool,
}

impl Case {
    /// Cuts the table into chunks, for which keys may have to be sampled first.
    pub(super) fn cut(&mut self) -> Vec<Job> {
        match plan::sample_spec(&self.table.pair, &self.table.shape, &self.settings.limits) {
            Ok(spec) => vec![self.job(Side::Publisher, Work::Sample(spec))],
            Err(chunking) => self.plan_with(chunking),
        }
    }

    /// Reads the table, now that its chunks are known.
    pub(super) fn plan_with(&mut self, chunking: Chunking) -> Vec<Job> {
        let table = &self.table;
        let plan =
            plan::plan(&table.pair, &table.shape, chunking, table.versions, &self.settings.limits, self.unfinished);
        self.chunking = Arc::clone(&plan.chunking);
        self.chunks = vec![Chunk::default(); self.chunking.count() as usize];
        self.plan = Some(plan);
        self.read_again()
    }

    /// Reads what is not settled: of a heap scan everything.
    pub(super) fn read_again(&mut self) -> Vec<Job> {
        let Some(by_key) = self.plan.as_ref().map(|plan| plan.scan == ScanKind::KeyRange) else { return Vec::new() };
        for chunk in &mut self.chunks {
            if !by_key || chunk.settled.is_none() {
                *chunk = Chunk::default();
            }
        }
        self.peels = Peels::default();
        if !by_key {
            self.forget_differences();
        }
        let Some(plan) = &self.plan else { return Vec::new() };
        let mut slices = plan.slices.as_ref().map(|slices| match by_key {
            true => (0..).zip(slices).filter(|(at, _)| self.is_open(*at)).map(|(_, slice)| slice.clone()).collect(),
            false => slices.clone(),
        });
        self.images_open = self.has_images();
        if self.images_open {
            // First, so that chunks that are read through the key can be settled one by one.
            slices.publisher.insert(0, Slice::Images);
        }
        self.open_slices = slices.as_ref().map(Vec::len);
        let tally = |side| {
            let work = |slice: &Slice| Work::Tally(Arc::clone(&self.chunking), slice.clone());
            slices.get(side).iter().map(work).map(|work| self.job(side, work)).collect::<Vec<_>>()
        };
        // Both sides in turn, so that both servers are busy from the first moment.
        let (publisher, subscriber) = (tally(Side::Publisher), tally(Side::Subscriber));
        publisher.into_iter().chain(subscriber).collect()
    }

    /// Whether rows stood at the cut that the publisher's snapshot does not hold.
    pub(super) fn has_images(&self) -> bool {
        self.advance.publisher.as_ref().is_some_and(|advance| advance.has_images())
    }

    fn is_open(&self, chunk: usize) -> bool {
        self.chunks.get(chunk).is_some_and(|chunk| chunk.settled.is_none())
    }

    /// Takes in what a slice of a side adds up to.
    pub(super) fn take_tallies(&mut self, side: Side, tallies: &[(u32, Tally)], slice: &Slice) -> Vec<Job> {
        for (at, tally) in tallies {
            match self.chunks.get_mut(*at as usize) {
                // Its rows were compared at an earlier cut.
                Some(chunk) if *slice == Slice::Images && chunk.settled.is_some() => {}
                Some(chunk) => chunk.tallies.get_mut(side).merge(tally),
                None => return self.fail(Reason::ServerError, "a row filed under a chunk that there is not"),
            }
        }
        let open = self.open_slices.get_mut(side);
        *open = open.saturating_sub(1);
        let complete = *open == 0;
        let by_heap = self.plan.as_ref().is_some_and(|plan| plan.scan == ScanKind::Heap);
        self.images_open &= *slice != Slice::Images;
        match slice {
            Slice::Chunks { first, last } => {
                for chunk in self.chunks.iter_mut().take(*last as usize + 1).skip(*first as usize) {
                    *chunk.read.get_mut(side) = true;
                }
            }
            _ if complete && by_heap => self.chunks.iter_mut().for_each(|chunk| *chunk.read.get_mut(side) = true),
            _ => {}
        }
        self.compare_chunks()
    }
}
