//! Rows that are set aside, because nothing tells whether they changed between the two snapshots ([`crate::gate::recheck`]).
//!
//! They are known by their identity, and left out on both sides wherever rows are counted, summed or hashed, so that what is
//! left must be equal: a row of the publisher's snapshot that is left stood like this all the while. First come the rows that
//! look as if they had been made in between. What the subscriber has besides what is left on the publisher may have been removed
//! there in between, or is a difference: it is set aside as well, and the rest is read again without it, so that
//! nothing is left over then. Counts and sums are asked for at the end, without all of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::catalog::{ColumnPair, TypeFacts, TypeKind};
use crate::compare::case::Case;
use crate::compare::recheck::{Pending, Recheck};
use crate::gate::recheck::Since;
use crate::gate::window::{Identity, Lookup, Touched, Value, Values, Wanted};
use crate::plan::{Advance, KeysOf, Position};
use crate::row::written_otherwise;
use crate::scan::{ASIDE_BYTES_MAX, ENTRIES_MAX, Job, Work, key_bytes, too_many};
use crate::side::{Side, Sides};
use crate::verdict::Reason;

/// What makes rows suspect at a sync point.
#[derive(Debug, Clone)]
pub(crate) struct Suspecting {
    /// The transactions that may have changed them.
    pub since: Since,
    /// Bytes of identities that all tables have set aside.
    pub held: Arc<AtomicUsize>,
}

/// What a table has set aside.
#[derive(Debug)]
pub(super) struct Aside {
    by: Suspecting,
    keys: BTreeSet<Values>,
    bytes: usize,
    /// Where their rows lie.
    places: Sides<Option<Vec<Position>>>,
    /// Rows that the subscriber has besides; one of each kind.
    extra: BTreeSet<Position>,
    unit_again: bool,
    figures_asked: bool,
    /// What became of them.
    pub(super) settled: Option<Recheck>,
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.by.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Aside {
    fn new(by: Suspecting) -> Self {
        Self {
            by,
            keys: BTreeSet::new(),
            bytes: 0,
            places: Sides::default(),
            extra: BTreeSet::new(),
            unit_again: false,
            figures_asked: false,
            settled: None,
        }
    }

    /// Whether something is set aside that is not settled.
    pub(super) fn is_open(&self) -> bool {
        !self.keys.is_empty() && self.settled.is_none()
    }

    pub(super) fn begin_unit(&mut self) {
        self.unit_again = false;
    }

    /// The subscriber has rows like this one besides.
    pub(super) fn extra(&mut self, position: Option<Position>) {
        self.unit_again = true;
        // One too many says that there are too many: the others need not be kept.
        if !self.has_too_many() {
            self.extra.extend(position);
        }
    }

    /// Whether the subscriber has more rows besides than can be set aside.
    pub(super) fn has_too_many(&self) -> bool {
        self.extra.len() > ENTRIES_MAX
    }

    /// Whether rows are to be set aside in the unit in hand.
    pub(super) fn is_unit_to_be_read_again(&self) -> bool {
        self.unit_again
    }

    /// Count and sums are there, without what is set aside.
    pub(super) fn figures_are_known(&mut self) {
        self.figures_asked = true;
    }

    /// Takes identities in. `None` if there are too many, otherwise whether there was a new one.
    fn add(&mut self, keys: Vec<Values>) -> Option<bool> {
        let before = self.keys.len();
        for key in keys {
            let bytes = key_bytes(&key);
            if self.keys.insert(key) {
                self.bytes += bytes;
                if self.by.held.fetch_add(bytes, Ordering::Relaxed) + bytes > ASIDE_BYTES_MAX {
                    return None;
                }
            }
        }
        Some(self.keys.len() > before)
    }
}

/// Whether equal texts of a column are equal values on both sides, and the other way round.
fn texts_tell(column: &ColumnPair) -> bool {
    let Sides { publisher, subscriber } = column.types.as_ref().map(TypeFacts::base);
    let own = matches!(publisher.kind, TypeKind::Enum(_));
    // A declaration in front of xml is not replicated; money is written as the server's locale has it.
    let known = publisher.builtin().is_some_and(|name| !matches!(name, "xml" | "money"));
    let alike = publisher.name == subscriber.name && !written_otherwise(column);
    alike && (known && publisher.kind == TypeKind::Base || own)
}

impl Case {
    /// Says, before a sync point is opened for the table, whether rows are suspect at it.
    pub(crate) fn suspecting(&mut self, by: Option<&Suspecting>) {
        if self.awaits_recheck() {
            return;
        }
        match (by, &mut self.aside) {
            (Some(by), Some(aside)) => aside.by.since = by.since,
            (Some(by), aside) => *aside = Some(Aside::new(by.clone())),
            // What was read without some rows does not go together with what is read with all of them.
            (None, Some(_)) => self.anew(),
            (None, None) => {}
        }
    }

    /// What identifies rows that are set aside.
    fn identity(&self) -> Identity {
        match self.table.shape.key_len() {
            0 => Identity::WholeRow,
            columns => Identity::Columns(self.table.shape.columns().take(columns).collect()),
        }
    }

    /// Why no row of the table can be set aside, if that is so.
    fn unsettleable(&self) -> Option<&'static str> {
        let columns = &self.table.pair.columns;
        match self.identity() {
            Identity::WholeRow => (!columns.iter().all(texts_tell))
                .then_some("it has no key, and columns whose texts do not tell whether rows are equal"),
            Identity::Columns(key) => {
                let vague = |column: &ColumnPair| {
                    let Sides { publisher, subscriber } = &column.collations;
                    publisher.iter().chain(subscriber).any(|facts| !facts.deterministic)
                };
                key.iter()
                    .filter_map(|&at| columns.get(at))
                    .any(vague)
                    .then_some("the collation of its key calls different texts equal")
            }
        }
    }

    /// Begins at a sync point where rows are suspect.
    pub(super) fn suspect(&mut self) -> Vec<Job> {
        let Some(aside) = &mut self.aside else { return Vec::new() };
        aside.extra.clear();
        aside.figures_asked = false;
        let since = aside.by.since;
        if !self.table.checks.rows {
            let message = format!(
                "{} was written to, and without a temporary slot (REPLICATION) its rows tell what changed: select the check rows",
                self.table.pair.name
            );
            return self.fail(Reason::Unsupported, message);
        }
        if since.is_empty() {
            return self.set_aside();
        }
        vec![self.job(Side::Publisher, Work::Keys(self.identity(), KeysOf::MadeBy(since)))]
    }

    /// Takes in what identifies suspect rows.
    pub(super) fn take_keys(&mut self, keys: Vec<Values>, of: &KeysOf) -> Vec<Job> {
        let name = &self.table.pair.name;
        if let (false, Some(why)) = (keys.is_empty(), self.unsettleable()) {
            let message =
                format!("{name} changes, and without a temporary slot (REPLICATION) that cannot be settled: {why}");
            return self.fail(Reason::Unsupported, message);
        }
        let Some(aside) = &mut self.aside else { return Vec::new() };
        match aside.add(keys) {
            None => {
                let message = format!("{name}: {}", too_many());
                self.fail(Reason::Unsupported, message)
            }
            Some(false) if matches!(of, KeysOf::At(_)) => {
                let message = format!(
                    "rows of {name} on the subscriber are not found by their own keys: check its indexes with amcheck"
                );
                self.fail(Reason::RereadDiffers, message)
            }
            Some(_) => self.set_aside(),
        }
    }

    /// Finds out where the rows lie that are set aside.
    fn set_aside(&mut self) -> Vec<Job> {
        self.advance = Sides::default();
        let Some(aside) = &mut self.aside else { return Vec::new() };
        aside.places = Sides::default();
        if aside.keys.is_empty() {
            return self.begin();
        }
        let lookup = |key: &Values| Lookup { key: key.clone(), wanted: Wanted::Any };
        let lookups = aside.keys.iter().map(lookup).collect();
        let touched = Arc::new(Touched { identity: self.identity(), lookups, images: Vec::new() });
        Side::BOTH.map(|side| self.job(side, Work::LookUp(Arc::clone(&touched)))).into()
    }

    /// Takes in where they lie on a side.
    pub(super) fn take_places(&mut self, side: Side, places: Vec<(usize, Position)>) -> Vec<Job> {
        let Some(aside) = &mut self.aside else { return Vec::new() };
        *aside.places.get_mut(side) = Some(places.into_iter().map(|(_, place)| place).collect());
        let (Some(publisher), Some(subscriber)) = (&aside.places.publisher, &aside.places.subscriber) else {
            return Vec::new();
        };
        let without = |places: &[Position]| (!places.is_empty()).then(|| Arc::new(Advance::without(places.to_vec())));
        self.advance = Sides::new(without(publisher), without(subscriber));
        aside.places = Sides::default();
        self.begin()
    }

    /// Nothing is left to drill into for now. Once everything is read: what the subscriber has besides is set aside and its
    /// chunks are read again, or the figures are asked for.
    pub(super) fn all_drilled(&mut self) -> Vec<Job> {
        let identity = self.identity();
        let Some(aside) = &mut self.aside else { return Vec::new() };
        if aside.figures_asked || !self.chunks.iter().all(|chunk| chunk.settled.is_some() || chunk.again) {
            return Vec::new();
        }
        let extra: Vec<_> = std::mem::take(&mut aside.extra).into_iter().collect();
        if extra.is_empty() {
            aside.figures_asked = true;
            return self.ask_figures();
        }
        vec![self.job(Side::Subscriber, Work::Keys(identity, KeysOf::At(extra)))]
    }

    /// Fails where the subscriber has more rows besides than can be set aside: what else it has makes no difference then.
    pub(super) fn fail_of_too_many(&mut self) -> Vec<Job> {
        let message = format!(
            "the subscriber has more than {ENTRIES_MAX} rows of {} that the publisher's later snapshot does not have",
            self.table.pair.name
        );
        self.fail(Reason::Unsupported, message)
    }

    /// Whether everything else is read, and what was set aside is to be settled.
    #[must_use]
    pub(crate) fn awaits_recheck(&self) -> bool {
        self.failure.is_none() && self.is_read() && self.aside.as_ref().is_some_and(Aside::is_open)
    }

    /// What is to be settled; `None` unless [`Case::awaits_recheck`].
    #[must_use]
    pub(crate) fn pending(&self) -> Option<Pending> {
        let aside = self.aside.as_ref().filter(|_| self.awaits_recheck())?;
        let samples = self.settings.samples.saturating_sub(self.found.samples.len());
        Some(Pending::new(Arc::clone(&self.table), self.identity(), &aside.keys, samples, self.settings.show_values))
    }

    /// Takes what became of it.
    pub(crate) fn rechecked(&mut self, recheck: Recheck) {
        if let Some(aside) = self.aside.as_mut().filter(|aside| aside.is_open()) {
            aside.settled = Some(recheck);
        }
    }

    pub(super) fn recheck(&self) -> Option<&Recheck> {
        self.aside.as_ref()?.settled.as_ref()
    }
}

/// A key as reports show it.
pub(super) fn key_text(names: &[&str], key: &Values) -> crate::plan::KeyText {
    let text = |value: &Value| match value {
        Value::Text(text) => serde_json::Value::String(text.to_string()),
        Value::Null | Value::Unchanged | Value::Computed => serde_json::Value::Null,
    };
    names.iter().map(|&name| name.to_owned()).zip(key.iter().map(text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_besides_are_kept_up_to_one_too_many() {
        let mut aside = Aside::new(Suspecting { since: Since { from: 1, until: 2 }, held: Arc::default() });
        let mut at = 0;
        let mut find = |aside: &mut Aside, rows: usize| {
            for _ in 0..rows {
                aside.extra(Some(Position { heap: 1, block: at, offset: 1 }));
                at += 1;
            }
        };
        find(&mut aside, ENTRIES_MAX);
        assert!(aside.is_unit_to_be_read_again() && !aside.has_too_many());
        find(&mut aside, 1000);
        assert!(aside.has_too_many());
        assert_eq!(aside.extra.len(), ENTRIES_MAX + 1);
    }
}
