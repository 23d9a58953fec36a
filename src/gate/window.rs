//! The window: what transactions changed that are in the subscriber's snapshot and not in the publisher's.
//!
//! Decoded messages go in, one after the other; what comes out says for each table which rows of the publisher's snapshot
//! are to be left out and which rows are to be put in their place, so that the rest is the table as it stood at the cut.
//! Rows are known by what the WAL carries, the replica identity; a table without one is a multiset of whole rows. No I/O.

mod budget;
mod rows;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::gate::pgoutput::{self, Message, Relation};
use crate::gate::snapshot::SnapshotText;
use crate::lsn::Lsn;
use budget::Budget;
use rows::{Change, Mapping, Rows, apply};

/// Bytes of changed rows that a window may hold: half of what a run may use besides its streams.
pub(crate) const WINDOW_BYTES_MAX: usize = 16 << 20;
/// What to do about a table whose changes cannot be had.
pub(crate) const QUIET: &str = "verify it again at a quieter moment, or while nobody writes (--gate quiesced)";
/// What a value costs beside its text: two pointers and a length, the counts of its allocation, its share of the map.
pub(crate) const VALUE_BYTES: usize = 48;

/// A value as the publisher's output function writes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Value {
    /// NULL.
    Null,
    /// Its text.
    Text(Arc<str>),
    /// What stands in the publisher's snapshot: a large value that no change in the window touched.
    Unchanged,
    /// What the publisher computes of the others, and does not send.
    Computed,
}

/// The compared columns of a row, in the order of [`crate::catalog::TablePair::columns`]; or those of its identity.
pub(crate) type Values = Vec<Value>;

/// What identifies the rows of a table in the WAL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Identity {
    /// These columns, as positions in [`crate::catalog::TablePair::columns`].
    Columns(Vec<usize>),
    /// All of them together, and there may be duplicates.
    WholeRow,
}

/// How many rows of the publisher's snapshot have an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// One, which the window changed or removed.
    One,
    /// None: the first thing that happened to it in the window is that it came.
    Nothing,
    /// At least so many, of which so many went.
    Of(u64),
    /// However many there are.
    Any,
}

/// An identity to look up in the publisher's snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lookup {
    /// Its values.
    pub key: Values,
    /// What must be found. Anything else means that the window and the snapshot do not belong together.
    pub wanted: Wanted,
}

/// Rows as they stood at the cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    /// The values.
    pub row: Values,
    /// How many there are.
    pub copies: u64,
    /// Which of the lookups finds the row that holds its [`Value::Unchanged`] values.
    pub origin: Option<usize>,
}

/// What the window did to a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Touched {
    /// What the keys of the lookups are made of.
    pub identity: Identity,
    /// Rows of the publisher's snapshot that do not count at the cut, and such that must not be there.
    pub lookups: Vec<Lookup>,
    /// Rows that stood at the cut in their place.
    pub images: Vec<Image>,
}

impl Touched {
    /// How many identities were touched.
    #[must_use]
    pub(crate) fn keys(&self) -> u64 {
        let lookups = self.lookups.len() as u64;
        match self.identity {
            Identity::Columns(_) => lookups,
            Identity::WholeRow => lookups + self.images.len() as u64,
        }
    }
}

/// Why the window cannot say how a table stood at the cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    /// It was truncated, or its columns are not those that were read: another sync point will do.
    Changed(String),
    /// Its changes are more than memory holds, and were dropped: another sync point will do, where less has changed.
    TooLarge(String),
    /// It never will.
    Unsupported(String),
}

/// A table whose changes matter.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    /// The subscription that feeds it, as a position.
    pub subscription: usize,
    /// The names of its compared columns; `None` for those that are computed and not sent.
    pub columns: Vec<Option<String>>,
    /// Columns of its identity that are not sent.
    pub unsent_identity: Vec<String>,
}

/// What is known of the position that a subscription's part of the subscriber's snapshot corresponds to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Every transaction that ends at or before it is in the snapshot.
    pub certain: Lsn,
    /// No transaction that ends behind it is.
    pub upto: Lsn,
}

impl Bounds {
    /// A position that is known exactly.
    #[must_use]
    pub(crate) fn exact(cut: Lsn) -> Self {
        Self { certain: cut, upto: cut }
    }
}

/// A transaction of which it is not known whether the subscriber's snapshot holds it.
#[derive(Debug, Clone)]
struct Pending {
    end: Lsn,
    changes: Vec<(u32, Change)>,
}

/// The window while it is decoded, and afterwards.
#[derive(Debug)]
pub(crate) struct Window {
    snapshot: SnapshotText,
    watched: HashMap<u32, Watched>,
    bounds: Vec<Bounds>,
    mappings: HashMap<u32, Mapping>,
    /// The transaction in hand, if it matters.
    open: Option<Vec<(u32, Change)>>,
    tables: BTreeMap<u32, Rows>,
    pending: Vec<Pending>,
    problems: BTreeMap<u32, Problem>,
    transactions: u64,
    budget: Budget,
}

impl Window {
    /// An empty window behind a snapshot of the publisher. `watched` is by object identifier on the publisher; `bounds` has
    /// one element for each subscription.
    #[must_use]
    pub(crate) fn new(snapshot: SnapshotText, watched: HashMap<u32, Watched>, bounds: Vec<Bounds>) -> Self {
        Self {
            snapshot,
            watched,
            bounds,
            mappings: HashMap::new(),
            open: None,
            tables: BTreeMap::new(),
            pending: Vec::new(),
            problems: BTreeMap::new(),
            transactions: 0,
            budget: Budget::default(),
        }
    }

    /// Takes the next message.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] where it does not follow the protocol.
    pub(crate) fn feed(&mut self, message: &[u8]) -> Result<()> {
        match pgoutput::parse(message)? {
            Message::Begin { xid, .. } => {
                // By its identifier, never by its position: a transaction can have ended before the snapshot's position and
                // still be invisible in it.
                let counts = !self.snapshot.shows(self.snapshot.extend(xid));
                self.open = counts.then(Vec::new);
            }
            Message::Commit { end_lsn } => self.commit(end_lsn),
            Message::Relation(relation) => self.describe(&relation),
            Message::Insert { relation, new } => {
                self.change(relation, |mapping| Ok(Change::Insert(mapping.row(&new)?)))?;
            }
            Message::Update { relation, old, new } => self.change(relation, |mapping| {
                Ok(Change::Update(old.as_ref().map(|old| mapping.row(old)).transpose()?, mapping.row(&new)?))
            })?,
            Message::Delete { relation, old } => {
                self.change(relation, |mapping| Ok(Change::Delete(mapping.row(&old)?)))?;
            }
            Message::Truncate { relations } => {
                if self.open.is_some() {
                    for relation in relations {
                        self.problem(relation, Problem::Changed("was truncated".to_owned()));
                    }
                }
            }
            Message::Other => {}
        }
        Ok(())
    }

    fn problem(&mut self, relation: u32, problem: Problem) {
        if self.watched.contains_key(&relation) {
            self.problems.entry(relation).or_insert(problem);
        }
    }

    fn describe(&mut self, relation: &Relation) {
        let Some(watched) = self.watched.get(&relation.oid) else { return };
        let position = |name: &Option<String>| match name {
            Some(name) => relation.columns.iter().position(|(sent, _)| sent == name).map(Some),
            None => Some(None),
        };
        let columns: Option<Vec<_>> = watched.columns.iter().map(position).collect();
        let mut identity = Vec::new();
        let mut strangers = Vec::new();
        for (name, _) in relation.columns.iter().filter(|(_, key)| *key && relation.identity != b'f') {
            match watched.columns.iter().position(|known| known.as_ref() == Some(name)) {
                Some(at) => identity.push(at),
                None => strangers.push(name.as_str()),
            }
        }
        let problem = match &columns {
            None => Some(Problem::Changed("has other columns than when the catalog was read".to_owned())),
            Some(_) if !strangers.is_empty() => Some(Problem::Unsupported(format!(
                "is identified by columns that are not compared ({})",
                strangers.join(", ")
            ))),
            // What is sent names only some of these columns as the identity (`logicalrep_write_attrs`, proto.c).
            Some(_) if relation.identity != b'f' && !watched.unsent_identity.is_empty() => {
                Some(Problem::Unsupported(format!(
                    "is identified by columns that replication does not send ({}), so that it cannot be told which rows \
                     changed: verify it while nobody writes to it, with --gate quiesced",
                    watched.unsent_identity.join(", ")
                )))
            }
            Some(_) => None,
        };
        if let Some(problem) = problem {
            return self.problem(relation.oid, problem);
        }
        let identity = if identity.is_empty() { Identity::WholeRow } else { Identity::Columns(identity) };
        let mapping = Mapping { columns: columns.unwrap_or_default(), identity };
        let known = self.mappings.insert(relation.oid, mapping.clone());
        if known.is_some_and(|known| known != mapping) {
            self.problem(relation.oid, Problem::Changed("changed its columns or its replica identity".to_owned()));
        }
    }

    fn change(&mut self, relation: u32, change: impl FnOnce(&Mapping) -> Result<Change, Problem>) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if !self.watched.contains_key(&relation) || self.problems.contains_key(&relation) {
            return Ok(());
        }
        let Some(mapping) = self.mappings.get(&relation) else {
            return Err(Error::new(ErrorKind::Corrupt, "a decoded change is of a relation that was not described"));
        };
        match change(mapping) {
            Ok(change) => {
                self.budget.add(relation, change.bytes());
                open.push((relation, change));
                self.make_room();
            }
            Err(problem) => self.problem(relation, problem),
        }
        Ok(())
    }

    /// Drops the changes of the relations that take most until the others have room. A relation of which a change was dropped
    /// keeps its problem whatever comes after, so that it is never judged by the rest.
    fn make_room(&mut self) {
        while let Some(relation) = self.budget.largest_beyond(WINDOW_BYTES_MAX) {
            let limit = WINDOW_BYTES_MAX >> 20;
            let what = format!("takes most of the changes between the two snapshots, more than {limit} MiB: {QUIET}");
            self.problems.entry(relation).or_insert(Problem::TooLarge(what));
            self.budget.forget(relation);
            self.tables.remove(&relation);
            let of_others = |(of, _): &(u32, Change)| *of != relation;
            if let Some(open) = &mut self.open {
                open.retain(of_others);
            }
            // Where nothing else happened in a transaction, the positions before and behind it are the same to all others.
            self.pending.iter_mut().for_each(|pending| pending.changes.retain(of_others));
            self.pending.retain(|pending| !pending.changes.is_empty());
        }
    }

    fn commit(&mut self, end: Lsn) {
        let Some(changes) = self.open.take() else { return };
        let (mut certain, mut pending) = (Vec::new(), Vec::new());
        for (relation, change) in changes {
            let subscription = self.watched.get(&relation).map(|watched| watched.subscription);
            let Some(bounds) = subscription.and_then(|at| self.bounds.get(at)) else { continue };
            if end <= bounds.certain {
                certain.push((relation, change));
            } else if end <= bounds.upto {
                pending.push((relation, change));
            } else {
                self.budget.take(relation, change.bytes());
            }
        }
        if !(certain.is_empty() && pending.is_empty()) {
            self.transactions += 1;
        }
        if !pending.is_empty() {
            self.pending.push(Pending { end, changes: pending });
        }
        for (relation, change) in certain {
            let Some(mapping) = self.mappings.get(&relation) else { continue };
            self.budget.take(relation, change.bytes());
            // Also such as were dropped meanwhile.
            if self.problems.contains_key(&relation) {
                continue;
            }
            match apply(&mut self.tables, relation, mapping, change) {
                Ok(grown) => self.budget.grow(relation, grown),
                Err(problem) => self.problem(relation, problem),
            }
            self.make_room();
        }
    }

    /// Transactions that count.
    #[must_use]
    pub(crate) fn transactions(&self) -> u64 {
        self.transactions
    }

    /// The position of each subscription as far as it is known; one of [`Window::cuts`].
    #[must_use]
    pub(crate) fn bounds(&self) -> &[Bounds] {
        &self.bounds
    }

    /// The positions that a subscription's part of the subscriber's snapshot may correspond to, ascending: one, where it is
    /// known or makes no difference.
    #[must_use]
    pub(crate) fn cuts(&self, subscription: usize) -> Vec<Lsn> {
        let first = self.bounds.get(subscription).map(|bounds| bounds.certain);
        let ends = self.pending.iter().filter(|pending| !self.of(subscription, pending).is_empty());
        first.into_iter().chain(ends.map(|pending| pending.end)).collect()
    }

    fn of<'a>(&self, subscription: usize, pending: &'a Pending) -> Vec<&'a (u32, Change)> {
        let fed = |relation: &u32| self.watched.get(relation).is_some_and(|known| known.subscription == subscription);
        pending.changes.iter().filter(|(relation, _)| fed(relation)).collect()
    }

    /// How many answers it takes to tell the cuts apart, at most: cuts times changes between them.
    #[must_use]
    pub(crate) fn undecided(&self) -> usize {
        self.pending.len() * self.pending.iter().map(|pending| pending.changes.len()).sum::<usize>()
    }

    /// What became of the tables up to a cut for each subscription.
    #[must_use]
    pub(crate) fn at(&self, cuts: &[Lsn]) -> BTreeMap<u32, Result<Touched, Problem>> {
        let (tables, mut problems) = self.rows_at(cuts);
        problems.extend(self.problems.clone());
        let mut touched: BTreeMap<_, _> =
            tables.into_iter().map(|(relation, rows)| (relation, Ok(rows.touched()))).collect();
        touched.extend(problems.into_iter().map(|(relation, problem)| (relation, Err(problem))));
        touched
    }

    fn rows_at(&self, cuts: &[Lsn]) -> (BTreeMap<u32, Rows>, BTreeMap<u32, Problem>) {
        let mut tables = self.tables.clone();
        let mut problems = BTreeMap::new();
        for pending in &self.pending {
            for (relation, change) in &pending.changes {
                let cut = self.watched.get(relation).and_then(|known| cuts.get(known.subscription));
                let Some(mapping) = self.mappings.get(relation) else { continue };
                if cut.is_some_and(|cut| pending.end <= *cut)
                    && let Err(problem) = apply(&mut tables, *relation, mapping, change.clone())
                {
                    problems.insert(*relation, problem);
                }
            }
        }
        (tables, problems)
    }

    /// What tells the cuts of a subscription apart: for each identity that a transaction between them touched, what the
    /// subscriber must have at each cut.
    #[must_use]
    pub(crate) fn questions(&self, subscription: usize) -> Vec<Question> {
        let cuts = self.cuts(subscription);
        let mut touched: BTreeMap<u32, BTreeSet<Values>> = BTreeMap::new();
        for (relation, change) in self.pending.iter().flat_map(|pending| self.of(subscription, pending)) {
            if let Some(mapping) = self.mappings.get(relation).filter(|_| !self.problems.contains_key(relation)) {
                touched.entry(*relation).or_default().extend(mapping.identities(change));
            }
        }
        let mut questions: Vec<Question> = touched
            .into_iter()
            .flat_map(|(relation, keys)| {
                keys.into_iter().map(move |key| Question { relation, key, expected: Vec::new() })
            })
            .collect();
        for cut in cuts {
            let mut all: Vec<Lsn> = self.bounds.iter().map(|bounds| bounds.certain).collect();
            if let Some(own) = all.get_mut(subscription) {
                *own = cut;
            }
            let (tables, _) = self.rows_at(&all);
            for question in &mut questions {
                let expected = match tables.get(&question.relation) {
                    None => Expected::AsInSnapshot,
                    Some(Rows::Keyed(_, rows)) => match rows.get(&question.key).map(|row| &row.now) {
                        None => Expected::AsInSnapshot,
                        Some(None) => Expected::Nothing,
                        Some(Some(version)) => Expected::Row(version.row.clone()),
                    },
                    Some(Rows::Whole(rows)) => Expected::More(rows.get(&question.key).copied().unwrap_or_default()),
                };
                question.expected.push(expected);
            }
        }
        questions
    }

    /// What identifies the rows of a relation that was touched.
    #[must_use]
    pub(crate) fn identity(&self, relation: u32) -> Option<&Identity> {
        self.mappings.get(&relation).map(|mapping| &mapping.identity)
    }
}

/// An identity that tells cuts apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// The relation on the publisher.
    pub relation: u32,
    /// The identity.
    pub key: Values,
    /// What the subscriber has at each of [`Window::cuts`].
    pub expected: Vec<Expected>,
}

/// What the subscriber has of an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expected {
    /// What the publisher's snapshot has.
    AsInSnapshot,
    /// No row.
    Nothing,
    /// One row; what is unchanged in it is not known.
    Row(Values),
    /// So many more rows like this than the publisher's snapshot has.
    More(i64),
}

#[cfg(test)]
mod tests;
