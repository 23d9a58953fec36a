//! Which job comes next: drill-down before witnesses before slices, and the largest table first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use crate::catalog::TableIndex;
use crate::scan::{Job, Work};
use crate::side::{Side, Sides};

/// The kind of work, then the size of the table, then the order of arrival.
type Key = (u8, Reverse<u64>, u64);

/// Jobs that wait for a session of their side.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Sides<BTreeMap<Key, Job>>,
    arrived: u64,
    /// The rows of one table's divergent chunks are in memory at a time: the jobs of others wait here.
    drilling: Option<TableIndex>,
    parked: VecDeque<Job>,
}

impl Queue {
    pub(crate) fn push(&mut self, job: Job) {
        if matches!(job.work, Work::Digests(..) | Work::Locate(_)) {
            match self.drilling {
                Some(table) if table != job.table.index => {
                    self.parked.push_back(job);
                    return;
                }
                _ => self.drilling = Some(job.table.index),
            }
        }
        self.arrived += 1;
        let bytes = job.table.pair.relations.publisher.bytes;
        let key = (job.work.rank(), Reverse(bytes), self.arrived);
        self.waiting.get_mut(job.side).insert(key, job);
    }

    pub(crate) fn pop(&mut self, side: Side) -> Option<Job> {
        self.waiting.get_mut(side).pop_first().map(|(_, job)| job)
    }

    pub(crate) fn len(&self, side: Side) -> usize {
        self.waiting.get(side).len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.publisher.is_empty() && self.waiting.subscriber.is_empty() && self.parked.is_empty()
    }

    /// A table has nothing in memory any more: the next one may drill.
    pub(crate) fn drilled(&mut self, table: TableIndex) {
        if self.drilling == Some(table) {
            self.drilling = None;
            let parked = std::mem::take(&mut self.parked);
            parked.into_iter().for_each(|job| self.push(job));
        }
    }

    /// Drops the jobs of a table.
    pub(crate) fn forget(&mut self, table: TableIndex) {
        for side in Side::BOTH {
            self.waiting.get_mut(side).retain(|_, job| job.table.index != table);
        }
        self.parked.retain(|job| job.table.index != table);
        self.drilled(table);
    }
}
