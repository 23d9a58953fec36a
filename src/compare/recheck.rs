//! What was set aside, while it is looked at again and again.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::compare::aside::key_text;
use crate::compare::drill::Found;
use crate::compare::sample::{Naming, batch_size};
use crate::compare::{Difference, DifferenceKind, Sample, Unsettled, join};
use crate::gate::recheck::{Seen, Settled, Version, judge};
use crate::gate::window::{Identity, Values};
use crate::plan::{KeyText, Position};
use crate::scan::{Entry, SampledRow, TableContext};
use crate::side::{Side, Sides};

/// What became of rows that were set aside.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recheck {
    pub(super) found: Found,
    /// Rows that were settled.
    pub(super) rows: Sides<u64>,
    pub(super) unsettled: u64,
    keys: Vec<KeyText>,
}

impl Recheck {
    /// The keys that never held still; `None` where there is none.
    pub(super) fn unsettled(&self) -> Option<Unsettled> {
        (self.unsettled > 0).then(|| Unsettled { count: self.unsettled, keys: self.keys.clone() })
    }
}

/// Identities of a table that are to be settled.
#[derive(Debug)]
pub(crate) struct Pending {
    /// The table.
    pub table: Arc<TableContext>,
    /// What the identities are made of.
    pub identity: Identity,
    open: Vec<(Values, Option<Seen>)>,
    recheck: Recheck,
    /// How many differing rows, or keys that are not settled, are listed at most.
    samples: usize,
    show_values: bool,
}

/// A difference that a sandwich proved.
#[derive(Debug, Clone)]
pub(crate) struct Proven {
    /// Where.
    pub key: Values,
    difference: Difference,
    versions: Vec<Version>,
}

impl Pending {
    pub(super) fn new(
        table: Arc<TableContext>,
        identity: Identity,
        keys: &BTreeSet<Values>,
        samples: usize,
        show_values: bool,
    ) -> Self {
        let open = keys.iter().map(|key| (key.clone(), None)).collect();
        Self { table, identity, open, recheck: Recheck::default(), samples, show_values }
    }

    /// Those that are not settled, in the order in which [`Pending::absorb`] takes what was seen of them.
    #[must_use]
    pub(crate) fn keys(&self) -> Vec<&Values> {
        self.open.iter().map(|(key, _)| key).collect()
    }

    /// Takes in what a sandwich saw. Returns some of the differences that it proves, as many as are to be listed.
    pub(crate) fn absorb(&mut self, seen: Vec<Seen>) -> Vec<Proven> {
        let mut proven = Vec::new();
        let (mut open, mut moved) = (Vec::new(), Vec::new());
        let mut seen = seen.into_iter();
        for (key, last) in std::mem::take(&mut self.open) {
            let Some(seen) = seen.next() else {
                open.push((key, last));
                continue;
            };
            let settled = judge(&seen, last.as_ref());
            if settled == Settled::NotYet {
                moved.push((key, Some(seen)));
                continue;
            }
            self.recheck.rows.publisher += seen.after.len() as u64;
            self.recheck.rows.subscriber += seen.subscriber.len() as u64;
            if settled == Settled::Equal {
                continue;
            }
            let found = &mut self.recheck.found;
            let samples = self.samples;
            join(&mut entries(&seen.after), &mut entries(&seen.subscriber), |difference| {
                match difference.kind {
                    DifferenceKind::Missing => found.missing += difference.count,
                    DifferenceKind::Extra => found.extra += difference.count,
                    DifferenceKind::Changed => found.changed += difference.count,
                }
                found.duplicated += if difference.duplicated { difference.count } else { 0 };
                let wanted = samples.saturating_sub(found.samples.len() + proven.len());
                let listed = usize::try_from(difference.count).unwrap_or(usize::MAX).min(wanted);
                let versions = [seen.after.as_slice(), seen.subscriber.as_slice()].concat();
                proven.extend(std::iter::repeat_n(Proven { key: key.clone(), difference, versions }, listed));
            });
        }
        // Those that were not looked at yet come first.
        open.append(&mut moved);
        self.open = open;
        proven
    }

    /// How many differences are named at once.
    #[must_use]
    pub(crate) fn batch_size(&self) -> usize {
        batch_size(&self.table)
    }

    /// Begins to name differences from rows that were read once more, each with its version. Where the rows are not there any
    /// more, only the key is known.
    pub(crate) fn describe(
        &mut self,
        proven: Vec<Proven>,
        rows: Sides<Vec<(Version, SampledRow)>>,
    ) -> Option<(Naming, Vec<String>)> {
        let mut there = Sides::<Vec<SampledRow>>::default();
        let known: HashSet<Version> = proven.iter().flat_map(|proven| &proven.versions).copied().collect();
        for (side, rows) in [(Side::Publisher, rows.publisher), (Side::Subscriber, rows.subscriber)] {
            let same = rows.into_iter().filter(|(version, _)| known.contains(version)).map(|(_, row)| row);
            there.get_mut(side).extend(same);
        }
        let has = |side: Side, position: Option<Position>| {
            position.is_none_or(|position| there.get(side).iter().any(|row| row.position == position))
        };
        let (here, gone): (Vec<_>, Vec<_>) = proven
            .into_iter()
            .partition(|proven| Side::BOTH.iter().all(|&side| has(side, *proven.difference.positions.get(side))));
        let names: Vec<_> = self.table.column_names().into_iter().take(self.table.shape.key_len()).collect();
        self.recheck.found.samples.extend(gone.into_iter().map(|proven| Sample {
            kind: proven.difference.kind,
            key: key_text(&names, &proven.key),
            columns: Vec::new(),
            representation_only: false,
            row_digest: None,
            publisher: None,
            subscriber: None,
        }));
        let mut naming = Naming::new(here.into_iter().map(|proven| proven.difference).collect());
        naming.take(Side::Publisher, there.publisher);
        naming.take(Side::Subscriber, there.subscriber);
        let questions = naming.describe(&self.table, self.show_values)?;
        Some((naming, questions))
    }

    /// Takes the answers to the questions of [`Pending::describe`].
    pub(crate) fn named(&mut self, naming: Naming, answers: &[Option<String>]) {
        self.recheck.found.samples.append(&mut naming.finish(answers));
    }

    /// Ends it: what is open now never held still.
    #[must_use]
    pub(crate) fn finish(mut self) -> Recheck {
        let names: Vec<_> = self.table.column_names().into_iter().take(self.table.shape.key_len()).collect();
        self.recheck.unsettled = self.open.len() as u64;
        if !names.is_empty() {
            self.recheck.keys = self.open.iter().take(self.samples).map(|(key, _)| key_text(&names, key)).collect();
        }
        self.recheck
    }
}

/// Versions of one identity as the join of rows takes them.
fn entries(versions: &[Version]) -> Vec<Entry> {
    let entry = |version: &Version| {
        let mut digest = [0; 16];
        digest.copy_from_slice(&version.digest[..16]);
        let (block, offset) = version.place;
        Entry { key: [0; 16], digest, position: Position { heap: version.heap, block, offset }, copies: 1 }
    };
    versions.iter().map(entry).collect()
}
