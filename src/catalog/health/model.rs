//! What was seen, as plain data.

use std::collections::BTreeMap;

use crate::catalog::ServerFacts;
use crate::error::{Error, ErrorKind, Result};
use crate::lsn::Lsn;
use crate::sql::QualifiedName;

/// An answer, or what the server said instead of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe<T> {
    /// The answer.
    Told(T),
    /// What the server said.
    Refused(String),
}

impl<T> Probe<T> {
    /// Takes a refusal for an answer of its own.
    ///
    /// # Errors
    ///
    /// The error itself where the session has ended, or where what came back makes no sense.
    pub fn of(result: Result<T>) -> Result<Self> {
        match result {
            Ok(told) => Ok(Self::Told(told)),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::Lost | ErrorKind::Connect | ErrorKind::Interrupted | ErrorKind::Corrupt
                ) =>
            {
                Err(error)
            }
            Err(error) => Ok(Self::Refused(said(&error))),
        }
    }

    /// The answer, if there is one.
    pub fn told(&self) -> Option<&T> {
        match self {
            Self::Told(told) => Some(told),
            Self::Refused(_) => None,
        }
    }
}

/// An error with its causes, in one line.
fn said(error: &Error) -> String {
    let mut text = error.message().to_owned();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        let next_text = next.to_string();
        if !text.contains(&next_text) {
            text.push_str(": ");
            text.push_str(&next_text);
        }
        cause = next.source();
    }
    text
}

/// Both servers' health.
#[derive(Debug, Clone)]
pub struct Health {
    /// The publisher's.
    pub publisher: PublisherHealth,
    /// The subscriber's; `None` where none was named.
    pub subscriber: Option<SubscriberHealth>,
}

/// What is asked of either side.
#[derive(Debug, Clone)]
pub struct ServerHealth {
    /// What the server says about itself.
    pub facts: ServerFacts,
    /// The role of the session.
    pub role: RoleFacts,
    /// Settings by name; one that the server does not have is missing.
    pub settings: BTreeMap<String, Setting>,
    /// `aurora_version()`, on Aurora only.
    pub aurora: Option<String>,
    /// Open transactions of client sessions of the cluster, the oldest first; those of others only where
    /// [`RoleFacts::sees_sessions`].
    pub transactions: Probe<Vec<OpenTransaction>>,
    /// Prepared transactions of the cluster, the oldest first.
    pub prepared: Probe<Vec<PreparedTransaction>>,
    /// Installed extensions.
    pub extensions: Probe<Vec<Extension>>,
    /// Default versions of the extensions that could be installed, by name.
    pub available: Probe<BTreeMap<String, String>>,
    /// The database's own collation.
    pub database_collation: Probe<DatabaseCollation>,
    /// Collations that columns or indexes use and whose recorded version is not that of the library.
    pub stale_collations: Probe<Vec<StaleCollation>>,
}

/// A setting of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The value in force, in the setting's own unit.
    pub value: String,
    /// Whether another value waits for a restart.
    pub pending_restart: bool,
}

/// What the role of the session may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleFacts {
    /// Its name.
    pub name: String,
    /// Whether it is a superuser.
    pub superuser: bool,
    /// The attribute REPLICATION.
    pub replication: bool,
    /// Membership in `rds_replication`, which stands for the attribute on RDS and Aurora.
    pub rds_replication: bool,
    /// Whether the role `rds_replication` exists: then it is what has to be granted.
    pub rds: bool,
    /// `pg_read_all_stats`, of which `pg_monitor` is a member: states of other sessions, replay positions.
    pub sees_sessions: bool,
    /// EXECUTE on `pg_replication_origin_progress(text, boolean)`.
    pub origin_progress: bool,
}

/// A transaction of a client session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenTransaction {
    /// The process.
    pub pid: i32,
    /// Its role.
    pub user: String,
    /// Its database.
    pub database: String,
    /// `active`, `idle in transaction`, ...
    pub state: String,
    /// How long it has been open.
    pub seconds: u64,
    /// Whether it has written.
    pub writes: bool,
}

/// A prepared transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedTransaction {
    /// Its global identifier.
    pub gid: String,
    /// Its database.
    pub database: String,
    /// How long it has been prepared.
    pub seconds: u64,
}

/// An installed extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// Its name.
    pub name: String,
    /// The installed version.
    pub version: String,
}

/// The collation of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseCollation {
    /// `libc`, `icu` or `builtin`.
    pub provider: String,
    /// Its locale for people.
    pub locale: String,
    /// The version that was recorded when its indexes were built (15+).
    pub recorded: Option<String>,
    /// The version of the library now (15+).
    pub actual: Option<String>,
}

/// A collation whose library has changed under its indexes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleCollation {
    /// Its name.
    pub name: QualifiedName,
    /// The recorded version.
    pub recorded: String,
    /// The version of the library now; `None` where the library does not know it any longer.
    pub actual: Option<String>,
    /// The indexes that are sorted by it, or whose expressions or conditions use it.
    pub indexes: Vec<QualifiedName>,
}

/// What is asked of a publisher.
#[derive(Debug, Clone)]
pub struct PublisherHealth {
    /// As on either side.
    pub server: ServerHealth,
    /// All replication slots of the cluster.
    pub slots: Probe<Vec<Slot>>,
    /// Walsenders in use.
    pub senders: Probe<u64>,
    /// Roles that may log in and replicate and are no superusers.
    pub replication_roles: Probe<Vec<String>>,
    /// The selected tables.
    pub tables: PublishedTables,
    /// The number of large objects; `None` where they were excluded.
    pub large_objects: Option<Probe<u64>>,
    /// Sequences that users created.
    pub sequences: Vec<SequenceAccess>,
    /// Bytes of the database on disk.
    pub database_bytes: Probe<u64>,
}

/// A replication slot (PostgreSQL manual, "pg_replication_slots").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// Whether it is a logical one.
    pub logical: bool,
    /// Its output plugin.
    pub plugin: Option<String>,
    /// Whether it belongs to the database of the session.
    pub own_database: bool,
    /// Whether it goes with its session.
    pub temporary: bool,
    /// Whether a receiver uses it.
    pub active: bool,
    /// Up to where its receiver has confirmed.
    pub confirmed_flush_lsn: Option<Lsn>,
    /// `reserved`, `extended`, `unreserved` or `lost` (13+).
    pub wal_status: Option<String>,
    /// Bytes that may be written until it is lost (13+); `None` without a limit.
    pub safe_wal_bytes: Option<i64>,
    /// Why it was invalidated: a reason (17+), or that it conflicts with recovery (16).
    pub invalidated: Option<String>,
    /// Bytes of WAL that it keeps.
    pub retained_bytes: Option<u64>,
}

/// The selected tables of the publisher, seen from replication.
#[derive(Debug, Clone, Default)]
pub struct PublishedTables {
    /// Tables (partitions, not roots) without a usable replica identity or without a primary key, largest first.
    pub weak_identities: Vec<WeakIdentity>,
    /// Unlogged tables, largest first.
    pub unlogged: Vec<SizedTable>,
    /// All publications of the database.
    pub publications: Vec<Publication>,
    /// Tables that no publication covers, largest first.
    pub uncovered: Vec<SizedTable>,
    /// Tables that the role cannot read: the statement that closes the gap.
    pub unreadable: Vec<AccessGap>,
    /// How many tables were looked at.
    pub count: u64,
}

/// A table and its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SizedTable {
    /// Its name.
    pub name: QualifiedName,
    /// Bytes with TOAST and indexes.
    pub bytes: u64,
}

/// A table whose rows replication cannot, or can only slowly, identify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeakIdentity {
    /// The table.
    pub table: SizedTable,
    /// `pg_class.relreplident`: `d`, `n`, `f` or `i`.
    pub identity: char,
    /// Whether it has a primary key.
    pub primary_key: bool,
    /// Whether a publication covers it.
    pub published: bool,
}

/// A publication of the publisher's database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Its name.
    pub name: String,
    /// FOR ALL TABLES.
    pub all_tables: bool,
    /// `insert`, `update`, `delete`, `truncate`: those that it does not publish.
    pub lacking: Vec<String>,
    /// The tables that it covers: roots or leaves, as it publishes them.
    pub tables: Vec<QualifiedName>,
}

/// What a role lacks to read a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessGap {
    /// The table.
    pub name: QualifiedName,
    /// What was seen.
    pub message: String,
    /// The statement that closes the gap.
    pub grant: String,
}

/// A sequence and whether its state may be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceAccess {
    /// Its name.
    pub name: QualifiedName,
    /// Whether the role may read its state.
    pub readable: bool,
}

/// What is asked of a subscriber.
#[derive(Debug, Clone)]
pub struct SubscriberHealth {
    /// As on either side.
    pub server: ServerHealth,
    /// The subscriptions of the database.
    pub subscriptions: Vec<SubscriptionHealth>,
    /// Logical replication workers in use in the cluster.
    pub workers: Probe<u64>,
    /// Replication origins of the cluster.
    pub origins: Probe<u64>,
    /// Sequences that users created.
    pub sequences: Vec<SequenceAccess>,
    /// Tables that hold something and that were never analyzed, largest first.
    pub without_statistics: Probe<Vec<SizedTable>>,
    /// Of the publisher's selected tables: how many have the same name here, and how many of these the same object
    /// identifier, which pg_upgrade keeps.
    pub namesakes: Namesakes,
    /// Where its own WAL begins and ends, as far as it can be known.
    pub own_wal: Probe<OwnWal>,
}

/// Tables of the same name on both sides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Namesakes {
    /// How many there are.
    pub count: u64,
    /// How many have the same object identifier on both sides.
    pub same_oid: u64,
}

/// A subscription and its workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionHealth {
    /// Object identifier; names the replication origin `pg_<oid>`.
    pub oid: u32,
    /// Its name.
    pub name: String,
    /// Its slot; `None` for `slot_name = NONE`.
    pub slot: Option<String>,
    /// Its publications.
    pub publications: Vec<String>,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Whether two-phase commit is anything but disabled (15+).
    pub two_phase: bool,
    /// Whether an error disables it (15+).
    pub disable_on_error: bool,
    /// The transaction that it is told to skip (15+).
    pub skip_lsn: Option<Lsn>,
    /// The process of its apply worker.
    pub worker: Option<i32>,
    /// How long nothing has been received from the publisher.
    pub silent_seconds: Option<u64>,
    /// Errors counted by the server (15+): while applying, and while copying.
    pub errors: Option<(u64, u64)>,
    /// Conflicts counted by the server (18+), by kind, those above zero.
    pub conflicts: Option<Vec<(String, u64)>>,
    /// Position of its origin; `None` where it has none, or none was ever set.
    pub origin: Probe<Option<Lsn>>,
}

/// The WAL of the subscriber itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnWal {
    /// Where it stands now.
    pub current: Lsn,
    /// The redo point of its last checkpoint.
    pub redo: Lsn,
    /// The start of the oldest segment in `pg_wal`; `None` where the role may not list it.
    pub oldest_segment: Option<Lsn>,
    /// `aurora_volume_logical_start_lsn()`: the restore point, as Aurora knows it.
    pub aurora_start: Option<Probe<Lsn>>,
}
