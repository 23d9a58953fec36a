//! How a table is drilled into: from chunks whose tallies differ, unit by unit, to named rows.

use std::sync::Arc;

use crate::compare::aside::Aside;
use crate::compare::case::Case;
use crate::compare::join::join;
use crate::compare::peel::Locating;
use crate::compare::sample::{Naming, batch_size};
use crate::compare::units::{Listing, finer, next_part, next_unit, unit_slices};
use crate::compare::{Difference, DifferenceKind, Sample};
use crate::plan::{Chunking, ScanKind, Slice};
use crate::scan::{DrillUnit, Entry, Job, Work};
use crate::side::{Side, Sides};
use crate::verdict::Reason;

/// What a table is doing to find its differing rows.
#[derive(Debug)]
pub(super) enum Drill {
    Idle,
    Locating(Locating),
    Listing(Listing),
    Naming { unit: Arc<DrillUnit>, naming: Naming, waiting: Vec<Difference> },
    Asking { unit: Arc<DrillUnit>, naming: Naming, waiting: Vec<Difference> },
}

/// Differing rows of a table.
#[derive(Debug, Default, Clone)]
pub(super) struct Found {
    pub(super) missing: u64,
    pub(super) extra: u64,
    pub(super) changed: u64,
    /// Of them, rows whose key is on both sides, but not equally often.
    pub(super) duplicated: u64,
    pub(super) samples: Vec<Sample>,
}

impl Found {
    pub(super) fn rows(&self) -> u64 {
        self.missing + self.extra + self.changed
    }

    /// Takes over what was found elsewhere.
    pub(super) fn add(&mut self, other: &mut Self) {
        self.missing += other.missing;
        self.extra += other.extra;
        self.changed += other.changed;
        self.duplicated += other.duplicated;
        self.samples.append(&mut other.samples);
    }
}

impl Case {
    /// Settles chunks whose tallies agree, and puts the others on the list of what is drilled into.
    pub(super) fn compare_chunks(&mut self) -> Vec<Job> {
        for (at, chunk) in (0..).zip(&mut self.chunks) {
            let read = chunk.read.publisher && chunk.read.subscriber && !self.images_open;
            let ready = read && chunk.settled.is_none() && !chunk.again;
            if ready && chunk.tallies.agree() {
                chunk.settled = Some(self.sync_point);
                self.peels.forget(at);
            } else if ready && !self.divergent.iter().any(|&(known, _)| known == at) && !drilled(&self.drill, at) {
                self.divergent.push((at, chunk.tallies.publisher.rows().max(chunk.tallies.subscriber.rows())));
            }
        }
        self.drill_on(None)
    }

    /// Starts a unit if none is in hand: this one, or the next.
    pub(super) fn drill_on(&mut self, unit: Option<DrillUnit>) -> Vec<Job> {
        if !matches!(self.drill, Drill::Idle) {
            return Vec::new();
        }
        let Some(plan) = &self.plan else { return Vec::new() };
        // A heap scan is complete only with its last slice; the chunks of a key-range scan are complete one by one.
        if plan.scan == ScanKind::Heap && (self.open_slices.publisher > 0 || self.open_slices.subscriber > 0) {
            return Vec::new();
        }
        if unit.is_none()
            && let Some(jobs) = self.locate()
        {
            return jobs;
        }
        let Some(plan) = &self.plan else { return Vec::new() };
        let relations = &self.table.pair.relations;
        let by_key = matches!(*self.chunking, Chunking::Ranges(_))
            && self.chunking.count() > 1
            && relations.publisher.key_index
            && relations.subscriber.key_index;
        let keyed = self.table.shape.key_len() > 0;
        let next = || next_unit(&self.chunking, &mut self.divergent, keyed, by_key);
        let Some(unit) = unit.or_else(next).map(Arc::new) else { return self.all_drilled() };
        let mut slices = plan.slices.as_ref().map(|slices| unit_slices(&unit, by_key, slices));
        if self.has_images() {
            slices.publisher.push(Slice::Images);
        }
        if unit.part == 0 {
            self.found_in_unit = Found::default();
            if let Some(aside) = &mut self.aside {
                aside.begin_unit();
            }
        }
        self.drill = Drill::Listing(Listing::new(Arc::clone(&unit), slices.as_ref().map(Vec::len)));
        let list = |side| {
            let work = |slice: &Slice| Work::Digests(Arc::clone(&unit), slice.clone());
            slices.get(side).iter().map(|slice| self.job(side, work(slice))).collect::<Vec<_>>()
        };
        let (publisher, subscriber) = (list(Side::Publisher), list(Side::Subscriber));
        publisher.into_iter().chain(subscriber).collect()
    }

    pub(super) fn list_complete(&mut self) -> Vec<Job> {
        let Drill::Listing(listing) = std::mem::replace(&mut self.drill, Drill::Idle) else { return Vec::new() };
        let unit = Arc::clone(&listing.unit);
        let same = unit.chunks.iter().all(|&chunk| {
            let tallies = self.chunks.get(chunk as usize).map(|chunk| chunk.tallies).unwrap_or_default();
            Side::BOTH.iter().all(|&side| listing.same_rows(chunk, side, tallies.get(side)))
        });
        if !same {
            let message = "reading divergent chunks again in the same snapshot brought other rows than before: \
                           check the index of the key with amcheck";
            return self.fail(Reason::RereadDiffers, message);
        }
        match listing.rows() {
            Some(rows) => self.join_rows(unit, rows),
            None => self.cut_finer(&unit),
        }
    }

    /// Finds what differs between the rows of both sides of a unit, and goes on to name it.
    pub(super) fn join_rows(&mut self, unit: Arc<DrillUnit>, mut rows: Sides<Vec<Entry>>) -> Vec<Job> {
        let listed = self.found.samples.len() + self.found_in_unit.samples.len();
        let wanted = self.settings.samples.saturating_sub(listed);
        let mut waiting = Vec::new();
        let found = &mut self.found_in_unit;
        let aside = &mut self.aside;
        join(&mut rows.publisher, &mut rows.subscriber, |difference| {
            if let (Some(aside), DifferenceKind::Extra) = (aside.as_mut(), difference.kind) {
                return aside.extra(difference.positions.subscriber);
            }
            match difference.kind {
                DifferenceKind::Missing => found.missing += difference.count,
                DifferenceKind::Extra => found.extra += difference.count,
                DifferenceKind::Changed => found.changed += difference.count,
            }
            found.duplicated += if difference.duplicated { difference.count } else { 0 };
            let listed = usize::try_from(difference.count).unwrap_or(usize::MAX).min(wanted - waiting.len());
            waiting.extend(std::iter::repeat_n(difference, listed));
        });
        drop(rows);
        if self.aside.as_ref().is_some_and(Aside::has_too_many) {
            return self.fail_of_too_many();
        }
        if self.aside.as_ref().is_some_and(Aside::is_unit_to_be_read_again) {
            waiting.clear();
        }
        self.name_next(unit, waiting)
    }

    /// Begins a unit anew in more parts. What its parts found so far is forgotten with its first part.
    fn cut_finer(&mut self, unit: &DrillUnit) -> Vec<Job> {
        let chunks = unit.chunks.iter().filter_map(|&chunk| self.chunks.get(chunk as usize));
        let rows = chunks.map(|chunk| chunk.tallies.publisher.rows().max(chunk.tallies.subscriber.rows())).sum();
        match finer(unit, rows) {
            Some(unit) => self.drill_on(Some(unit)),
            None => {
                let message = format!(
                    "{} differs, but its differing rows cannot be listed: too many different rows have the same key",
                    self.table.pair.name
                );
                self.fail(Reason::Unsupported, message)
            }
        }
    }

    /// Reads the rows of the next batch of differences, or ends the unit.
    fn name_next(&mut self, unit: Arc<DrillUnit>, mut waiting: Vec<Difference>) -> Vec<Job> {
        if waiting.is_empty() {
            return self.unit_complete(&unit);
        }
        let rest = waiting.split_off(waiting.len().min(batch_size(&self.table)));
        let mut naming = Naming::new(waiting);
        let mut jobs = Vec::new();
        let mut complete = false;
        for side in Side::BOTH {
            let positions = naming.positions(side);
            if positions.is_empty() {
                complete = naming.take(side, Vec::new());
            } else {
                jobs.push(self.job(side, Work::Rows(positions)));
            }
        }
        self.drill = Drill::Naming { unit, naming, waiting: rest };
        if complete { self.describe() } else { jobs }
    }

    pub(super) fn describe(&mut self) -> Vec<Job> {
        let Drill::Naming { unit, mut naming, waiting } = std::mem::replace(&mut self.drill, Drill::Idle) else {
            return Vec::new();
        };
        let Some(questions) = naming.describe(&self.table, self.settings.show_values) else {
            return self.fail(Reason::RereadDiffers, "a differing row was not there any more when it was read again");
        };
        if questions.is_empty() {
            return self.named(unit, naming, waiting, &[]);
        }
        self.drill = Drill::Asking { unit, naming, waiting };
        vec![self.job(Side::Publisher, Work::Evaluate(questions))]
    }

    pub(super) fn named(
        &mut self,
        unit: Arc<DrillUnit>,
        naming: Naming,
        waiting: Vec<Difference>,
        answers: &[Option<String>],
    ) -> Vec<Job> {
        self.found_in_unit.samples.append(&mut naming.finish(answers));
        self.name_next(unit, waiting)
    }

    fn unit_complete(&mut self, unit: &DrillUnit) -> Vec<Job> {
        self.drill = Drill::Idle;
        if let Some(next) = next_part(unit) {
            return self.drill_on(Some(next));
        }
        let mut found = std::mem::take(&mut self.found_in_unit);
        if self.aside.as_ref().is_some_and(Aside::is_unit_to_be_read_again) {
            for &chunk in &unit.chunks {
                if let Some(chunk) = self.chunks.get_mut(chunk as usize) {
                    chunk.again = true;
                }
            }
            return self.drill_on(None);
        }
        if found.rows() == 0 {
            return self
                .fail(Reason::RereadDiffers, "chunks differ as a whole but not in any row: a defect of triplecheck");
        }
        self.found.add(&mut found);
        for &chunk in &unit.chunks {
            if let Some(chunk) = self.chunks.get_mut(chunk as usize) {
                chunk.settled = Some(self.sync_point);
            }
        }
        self.drill_on(None)
    }
}

fn drilled(drill: &Drill, chunk: u32) -> bool {
    match drill {
        Drill::Idle => false,
        Drill::Locating(locating) => locating.listing.unit.chunks.contains(&chunk),
        Drill::Listing(listing) => listing.unit.chunks.contains(&chunk),
        Drill::Naming { unit, .. } | Drill::Asking { unit, .. } => unit.chunks.contains(&chunk),
    }
}
