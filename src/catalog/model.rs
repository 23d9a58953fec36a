//! What the catalogs of both servers say, as plain data: servers, subscriptions, table pairs, sequences, findings.

use serde::{Deserialize, Serialize};

use crate::side::{Side, Sides};
use crate::sql::QualifiedName;
use crate::verdict::Reason;

/// Everything that a run compares, and everything that it must say about what it does not compare.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// Both servers.
    pub servers: Sides<ServerFacts>,
    /// The subscriptions that join the two sides and were selected; empty where none joins them.
    pub subscriptions: Vec<Subscription>,
    /// The selected tables that exist on both sides, by schema and name.
    pub tables: Vec<TablePair>,
    /// Selected objects of the publisher that cannot be compared at all, and why.
    pub unpaired: Vec<Unpaired>,
    /// The selected sequences of the publisher.
    pub sequences: Vec<SequencePair>,
    /// What a careful reader should know besides.
    pub findings: Vec<Finding>,
    /// What the user excluded by name, or by `--scope published`, for the closing line.
    pub excluded: Vec<String>,
}

impl Catalog {
    /// Whether both describe the same things to compare in the same shape; sizes and estimates may differ.
    #[must_use]
    pub fn same_shape(&self, other: &Self) -> bool {
        let tables = |tables: &[TablePair]| -> Vec<TablePair> { tables.iter().map(TablePair::without_sizes).collect() };
        self.servers == other.servers
            && self.subscriptions == other.subscriptions
            && self.unpaired == other.unpaired
            && self.sequences == other.sequences
            && self.excluded == other.excluded
            && tables(&self.tables) == tables(&other.tables)
    }
}

impl TablePair {
    /// The same but for what changes all the time and is used for planning only.
    #[must_use]
    pub fn without_sizes(&self) -> Self {
        let mut pair = self.clone();
        for relation in [&mut pair.relations.publisher, &mut pair.relations.subscriber] {
            (relation.rows_estimate, relation.bytes) = (0, 0);
            relation.heaps.iter_mut().for_each(|heap| heap.blocks = 0);
        }
        pair
    }
}

/// What one server says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// `server_version_num`, for instance 140023.
    pub version_num: u32,
    /// `server_version`, for instance `14.23`.
    pub version: String,
    /// The database that the session is in.
    pub database: String,
    /// The role that the session runs as.
    pub user: String,
    /// `system_identifier` of the cluster; equal on physical clones. `None` where the role may not ask.
    pub system_identifier: Option<String>,
    /// Size of a WAL segment in bytes.
    pub wal_segment_bytes: u64,
    /// The server's encoding of the database, for instance `UTF8` or `SQL_ASCII`.
    pub encoding: String,
    /// Whether the server is a standby.
    pub in_recovery: bool,
}

impl ServerFacts {
    /// The major version: 14 of 14.23.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.version_num / 10_000
    }
}

/// A subscription in the subscriber's database whose slot is on the publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Object identifier on the subscriber; names the replication origin `pg_<oid>`.
    pub oid: u32,
    /// Its name.
    pub name: String,
    /// The slot on the publisher that feeds it.
    pub slot: String,
    /// Its publications on the publisher.
    pub publications: Vec<String>,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Whether two-phase commit is anything but disabled (15+).
    pub two_phase: bool,
    /// The `origin` option that the publisher is asked for, where both know it (16+) and it is not `any`.
    pub origin: Option<String>,
}

/// The position of a table in [`Catalog::tables`].
pub type TableIndex = usize;

/// A table of the publisher and the table of the subscriber that must hold the same rows.
#[derive(Debug, Clone, PartialEq)]
pub struct TablePair {
    /// The publisher's name for it, which reports use.
    pub name: QualifiedName,
    /// The subscription that feeds it, as a position in [`Catalog::subscriptions`]; `None` where none does.
    pub subscription: Option<usize>,
    /// The relation on each side.
    pub relations: Sides<Relation>,
    /// The compared columns, in the publisher's order.
    pub columns: Vec<ColumnPair>,
    /// What identifies a row.
    pub key: Key,
    /// Columns of the publisher's replica identity that replication does not carry: what it sends of a row does not identify it.
    pub unsent_identity: Vec<String>,
    /// Why equality need not hold although both sides are healthy.
    pub not_implied: Option<NotImplied>,
    /// Why the table cannot be `match` whatever its rows say (a column that could not be compared, data that are not replicated, ...).
    pub reservations: Vec<Reservation>,
}

/// What replication does not promise of a table, and which kinds of difference mean something all the same. Of the others,
/// differences are `unproven`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotImplied {
    /// Why, for people: `publication p does not publish deletes`.
    pub why: String,
    /// Whether every row of the publisher must be on the subscriber.
    pub missing: bool,
    /// Whether every row of the subscriber must be on the publisher.
    pub extra: bool,
    /// Whether rows that are on both sides must be equal.
    pub changed: bool,
}

/// A reason against `match` that is known before a row is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The stable reason.
    pub reason: Reason,
    /// What it is about, for people: names the object and says what to do.
    pub message: String,
    /// Whether rows are worth reading all the same. `false` where reading is impossible or would tell nothing.
    pub readable: bool,
}

/// A table on one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Object identifier.
    pub oid: u32,
    /// Its name on this side.
    pub name: QualifiedName,
    /// Whether it is the root of a partition tree (then it has no storage of its own).
    pub partitioned: bool,
    /// The relations with storage, in the order of their object identifiers: the table itself, or the leaves of the tree.
    pub heaps: Vec<Heap>,
    /// The row filter of the publication as SQL, with qualified names; publisher only, `None` for all rows.
    pub filter: Option<String>,
    /// Whether a valid btree index starts with exactly the key columns in key order (default operator classes, ascending), and
    /// none of them is a text whose collation is [stale](CollationFacts::stale).
    pub key_index: bool,
    /// Estimated rows (`pg_class.reltuples` scaled to the current size; zero where never analyzed and empty).
    pub rows_estimate: u64,
    /// Bytes of all heaps with their TOAST tables.
    pub bytes: u64,
}

/// A relation with storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heap {
    /// Object identifier.
    pub oid: u32,
    /// Its name.
    pub name: QualifiedName,
    /// Pages of its main fork when the catalog was read.
    pub blocks: u64,
    /// Whether the role may read it by its own name (a privilege on the root does not imply one on the leaves).
    pub readable: bool,
    /// Whether it is stored by the heap access method, whose rows have a physical order.
    pub is_heap: bool,
}

/// A column on both sides.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnPair {
    /// The publisher's name for it, which reports use.
    pub name: String,
    /// Its name on the subscriber where that is another one.
    pub subscriber_name: Option<String>,
    /// Its type on each side.
    pub types: Sides<TypeFacts>,
    /// Its collation on each side, for collatable types.
    pub collations: Sides<Option<CollationFacts>>,
    /// The time zone by which a timestamp of one side is a timestamptz of the other, where one is stated.
    pub time_zone: Option<String>,
    /// How the publisher computes it, where both sides do and replication does not carry it: of a row that it sends, this
    /// column is missing.
    pub computed: Option<String>,
    /// Whether each side generates it.
    pub generated: Sides<bool>,
    /// Whether both sides have a constraint, and have validated it, that no value is NULL.
    pub not_null: bool,
}

impl ColumnPair {
    /// Whether indexes on it are not to be relied on: its collation sorts otherwise than when they were built, or may do so.
    #[must_use]
    pub fn stale_on(&self, side: Side) -> bool {
        self.collations.get(side).as_ref().is_some_and(|collation| collation.stale.is_some())
    }

    /// Its name on a side.
    #[must_use]
    pub fn name_on(&self, side: Side) -> &str {
        match (side, &self.subscriber_name) {
            (Side::Subscriber, Some(name)) => name,
            _ => &self.name,
        }
    }
}

/// A type, resolved as far as its binary form depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeFacts {
    /// Object identifier on this server.
    pub oid: u32,
    /// The name of the type, for instance `pg_catalog.int8`.
    pub name: QualifiedName,
    /// The type as SQL, with its modifier, for instance `numeric(12,2)` (`format_type`).
    pub declared: String,
    /// Its kind and what it is made of.
    pub kind: TypeKind,
    /// Whether it has a binary output function.
    pub has_send: bool,
    /// Whether a default btree or hash operator class says when two of its values are equal. Of types that are made of
    /// others, their parts decide.
    pub has_equality: bool,
}

/// The kinds of type (`pg_type.typtype` and `typcategory`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypeKind {
    /// A base type.
    Base,
    /// An enum, its labels in order.
    Enum(Vec<String>),
    /// A domain over another type.
    Domain(Box<TypeFacts>),
    /// A true array of another type (`typlen = -1`, `typelem` set, `typsubscript`/`typoutput` of arrays).
    Array(Box<TypeFacts>),
    /// A composite type: its attributes in order.
    Composite(Vec<(String, TypeFacts)>),
    /// A range over another type.
    Range(Box<TypeFacts>),
    /// A multirange over the range's subtype.
    Multirange(Box<TypeFacts>),
    /// A pseudo-type; cannot be a column of a table.
    Pseudo,
}

impl TypeFacts {
    /// The type under all domains.
    #[must_use]
    pub fn base(&self) -> &Self {
        let mut facts = self;
        while let TypeKind::Domain(base) = &facts.kind {
            facts = base;
        }
        facts
    }

    /// The name of a built-in type (schema `pg_catalog`), under all domains: `int8`, `numeric`, `text`, ...
    #[must_use]
    pub fn builtin(&self) -> Option<&str> {
        let base = self.base();
        (base.name.schema == "pg_catalog").then_some(base.name.name.as_str())
    }
}

/// What decides how texts sort and when they are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollationFacts {
    /// Its name for people.
    pub name: String,
    /// Whether it orders by bytes on this server: C, POSIX, `ucs_basic`, or the builtin provider's code point order in UTF8.
    pub bytewise: bool,
    /// Whether equal means equal bytes.
    pub deterministic: bool,
    /// Set where indexes may have been built with another version of the library that sorts: what they find is not relied on.
    pub stale: Option<CollationVersions>,
}

/// Versions of a collation's library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollationVersions {
    /// What the server noted when the collation was made or refreshed (`pg_collation.collversion`, `pg_database.datcollversion`).
    pub recorded: String,
    /// What the library is now; `None` where it does not say.
    pub actual: Option<String>,
}

/// What identifies a row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Positions in [`TablePair::columns`], in key order; empty for a table without a key.
    pub columns: Vec<usize>,
    /// Where the key comes from.
    pub source: KeySource,
}

/// Where a key comes from, in the order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// The primary key.
    PrimaryKey,
    /// The index named by REPLICA IDENTITY USING INDEX.
    ReplicaIdentity,
    /// A unique index over columns that are all NOT NULL.
    UniqueIndex,
    /// Nothing identifies a row; the table is compared as a multiset.
    None,
}

/// A selected object that has no counterpart, or that replication does not carry, so that it is not compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpaired {
    /// The publisher's name of the object.
    pub name: QualifiedName,
    /// What is missing.
    pub why: Missing,
    /// For people: names the object and says what to do.
    pub message: String,
}

/// What an unpaired object lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The table does not exist on the subscriber. `different` if the publisher has rows in it (the flag), else `unproven`.
    OnSubscriber {
        /// The publisher has at least one row that should be replicated.
        publisher_has_rows: bool,
    },
    /// It is on both sides or only on the publisher, but replication does not carry it (and it holds something).
    Replication,
    /// It may not be looked at, or is of a kind that cannot be compared.
    Because(Reason),
}

/// A sequence of the publisher and its counterpart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequencePair {
    /// The publisher's name.
    pub name: QualifiedName,
    /// The sequence on the subscriber; `None` if there is none.
    pub definitions: Sides<Option<SequenceFacts>>,
    /// The table columns that own it or draw from it on either side, the publisher's owner first. Of a partition tree, only
    /// the root, which holds all values.
    pub columns: Vec<FedColumn>,
}

/// The definition of a sequence (`pg_sequence`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceFacts {
    /// Object identifier.
    pub oid: u32,
    /// The step; negative for descending sequences.
    pub increment: i64,
    /// The smallest value.
    pub min: i64,
    /// The largest value.
    pub max: i64,
    /// Where it begins, and begins again with RESTART.
    pub start: i64,
    /// How many values a session takes at once. What is taken counts as handed out, also where it is never used.
    pub cache: i64,
    /// Whether it starts over at its end.
    pub cycle: bool,
    /// Whether the role may read its state.
    pub readable: bool,
}

/// A column that a sequence feeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FedColumn {
    /// The table.
    pub table: QualifiedName,
    /// The column.
    pub column: String,
    /// Whether it holds numbers, so that its largest value says something about the sequence.
    pub numeric: bool,
}

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Will bite one day, or limits what was proven.
    Warning,
    /// Must be mended.
    Error,
}

/// Something about the pair that is not a row difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// A stable identifier.
    pub code: String,
    /// How serious it is.
    pub severity: Severity,
    /// The object it is about, as a person would name it.
    pub object: String,
    /// What was seen.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}
