//! The rules by which a pair of snapshots is accepted: pure functions over what was observed, without I/O.

use std::fmt;

use crate::gate::snapshot::SnapshotText;
use crate::lsn::Lsn;

/// A transaction that has written, or may have, and has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Writer {
    /// A session that holds a transaction identifier (its lock on it shows in `pg_locks`, which everybody may read).
    Session {
        /// Its process.
        pid: i32,
        /// Its state in `pg_stat_activity`; `None` where the role may not see it.
        state: Option<String>,
        /// Since when, seconds; `None` where the role may not see it.
        seconds: Option<u64>,
    },
    /// A prepared transaction of this database (`pg_prepared_xacts`).
    Prepared {
        /// Its global identifier.
        gid: String,
    },
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session { pid, state, seconds } => {
                write!(f, "a transaction that may have written is open in process {pid}")?;
                if let Some(state) = state {
                    write!(f, " ({state}")?;
                    if let Some(seconds) = seconds {
                        write!(f, " for {seconds} s")?;
                    }
                    f.write_str(")")?;
                }
                Ok(())
            }
            Self::Prepared { gid } => {
                write!(f, "the prepared transaction {gid:?} is neither committed nor rolled back")
            }
        }
    }
}

/// Where a subscription stands, as the publisher's slot and the subscriber's worker tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The subscription.
    pub subscription: String,
    /// `pg_stat_replication.replay_lsn` of the process that serves the slot, or the slot's `confirmed_flush_lsn` where that
    /// is further or the role may not see the former. Everything that committed before it is applied and visible.
    pub replayed: Option<Lsn>,
    /// Whether a walsender serves the slot whose `replay_lsn` the role may not see.
    pub replay_hidden: bool,
    /// `pg_stat_subscription.received_lsn` of the leader on the subscriber.
    pub received: Option<Lsn>,
    /// Tables of the subscription that are not in state `r`.
    pub tables_not_ready: u64,
}

/// What was observed before the subscriber's snapshot is taken, in this order: writers, then the publisher's snapshot and
/// with it its insert position, then progress.
#[derive(Debug, Clone)]
pub(crate) struct Caught<'a> {
    /// Transactions of the publisher's database that had a transaction identifier just before its snapshot.
    pub writers: &'a [Writer],
    /// The publisher's normalised insert position, read in the statement that took the snapshot: every transaction that is
    /// visible in it committed before.
    pub target: Lsn,
    /// All subscriptions.
    pub progress: &'a [Progress],
}

/// Why a pair of snapshots cannot be had yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotYet {
    /// A transaction of the publisher's database is open that may have written: both snapshots would miss it.
    Writing(Writer),
    /// A subscription has not applied everything up to the target.
    Behind {
        /// The subscription.
        subscription: String,
        /// What must be reached.
        target: Lsn,
        /// What is reached, if anything is known.
        replayed: Option<Lsn>,
    },
    /// Tables of a subscription are still being copied.
    NotReady {
        /// The subscription.
        subscription: String,
        /// How many.
        tables: u64,
    },
    /// Transactions committed on the publisher between the two snapshots.
    Moved {
        /// The insert position before the publisher's snapshot.
        before: Lsn,
        /// The insert position after the subscriber's snapshot.
        after: Lsn,
    },
    /// A transaction may have written its commit record before the slot was there, and is not visible yet.
    Committing {
        /// Its process; `None` for a prepared transaction.
        pid: Option<i32>,
    },
    /// There are too many positions that the subscriber's snapshot may correspond to.
    Undecided,
    /// What changed between the two snapshots cannot be had.
    Undecodable {
        /// Why, for people.
        error: String,
    },
    /// The subscriber's worker has received from beyond the publisher's end: another server feeds it.
    ForeignPosition {
        /// The subscription.
        subscription: String,
        /// What it has received.
        received: Lsn,
        /// The publisher's insert position, read later.
        publisher: Lsn,
    },
}

impl fmt::Display for NotYet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Writing(writer) => write!(f, "writes on the publisher to stop: {writer}"),
            Self::Behind { subscription, target, replayed: Some(replayed) } => write!(
                f,
                "subscription {subscription} to reach {target}: it has applied up to {replayed}, {} bytes short",
                target.bytes_since(*replayed)
            ),
            Self::Behind { subscription, target, replayed: None } => write!(
                f,
                "subscription {subscription} to reach {target}: nothing serves its slot, so nothing is known of how far it is"
            ),
            Self::NotReady { subscription, tables } => {
                write!(f, "subscription {subscription} to finish copying: {tables} of its tables are not ready")
            }
            Self::Moved { before, after } => write!(
                f,
                "writes on the publisher to stop: transactions committed while both snapshots were taken (from {before} to {after})"
            ),
            Self::Committing { pid: Some(pid) } => write!(
                f,
                "the transaction of process {pid} to end: it may have been committing when the temporary slot was made"
            ),
            Self::Committing { pid: None } => f.write_str(
                "a prepared transaction to end: it may have been committing when the temporary slot was made",
            ),
            // With the privilege, what is in doubt is what was being applied while the origin was asked, also of two-phase commits.
            Self::Undecided => f.write_str(
                "fewer transactions to be in doubt: too many may or may not be in the subscriber's snapshot; EXECUTE on \
                 pg_replication_origin_progress(text, boolean) there settles all but those that are being applied",
            ),
            Self::Undecodable { error } => {
                write!(f, "the changes between the two snapshots, which cannot be decoded: {error}")
            }
            Self::ForeignPosition { subscription, received, publisher } => write!(
                f,
                "subscription {subscription} to follow this publisher: it has received up to {received}, beyond this publisher's \
                 end at {publisher}, so another server feeds it"
            ),
        }
    }
}

/// Whether the subscriber's snapshot may be taken: nobody writes, and everything visible to the publisher's snapshot is
/// applied and visible on the subscriber.
///
/// # Errors
/// The first thing that stands against it.
pub(crate) fn accept_caught_up(observed: &Caught<'_>) -> Result<(), NotYet> {
    if let Some(writer) = observed.writers.first() {
        return Err(NotYet::Writing(writer.clone()));
    }
    for progress in observed.progress {
        if progress.tables_not_ready > 0 {
            return Err(NotYet::NotReady {
                subscription: progress.subscription.clone(),
                tables: progress.tables_not_ready,
            });
        }
        // The worker's own word is asked for as well: a slot of the same name on a clone could be served to another subscriber.
        let applied = progress.replayed.is_some_and(|replayed| replayed >= observed.target);
        let received = progress.received.is_some_and(|received| received >= observed.target);
        if !(applied && received) {
            return Err(NotYet::Behind {
                subscription: progress.subscription.clone(),
                target: observed.target,
                replayed: if applied { progress.received } else { progress.replayed },
            });
        }
    }
    Ok(())
}

/// What was observed around both snapshots, in this order: `before` (position), the writers of [`Caught`], the publisher's
/// snapshot, the subscriber's snapshot, `progress`, `writers_after`, then in one statement `snapshot_after` and `after`.
#[derive(Debug, Clone)]
pub(crate) struct Around<'a> {
    /// The publisher's normalised insert position, before the writers were looked at.
    pub before: Lsn,
    /// The publisher's snapshot.
    pub snapshot: &'a SnapshotText,
    /// All subscriptions, after the subscriber's snapshot.
    pub progress: &'a [Progress],
    /// Transactions of the publisher's database that had an identifier after the subscriber's snapshot was taken.
    pub writers_after: &'a [Writer],
    /// Another snapshot of the publisher, taken after `writers_after` was read.
    pub snapshot_after: &'a SnapshotText,
    /// The publisher's normalised insert position, read last.
    pub after: Lsn,
    /// Row changes decoded from a slot between a position before the publisher's snapshot and one after the subscriber's;
    /// `None` where nothing was decoded.
    pub decoded_changes: Option<u64>,
}

/// Why nothing of the publisher's database can stand in the subscriber's snapshot that is not in the publisher's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stillness {
    /// Not a byte of WAL was written in between.
    WalUnchanged,
    /// WAL was written (hint bits, vacuum, checkpoints), but no transaction that had an identifier ended in between.
    NoTransactionEnded,
    /// Transactions ended, of other databases or without effect on published tables: decoding the WAL in between showed no
    /// row change.
    NothingDecoded,
}

impl Stillness {
    /// For the report.
    #[must_use]
    pub(crate) fn proof(self) -> &'static str {
        match self {
            Self::WalUnchanged => "quiesced: no WAL was written between the two snapshots",
            Self::NoTransactionEnded => "quiesced: no writing transaction ended between the two snapshots",
            Self::NothingDecoded => "quiesced: the WAL between the two snapshots holds no change of a published table",
        }
    }
}

/// Whether the pair of snapshots shows the same publisher state, given that [`accept_caught_up`] held before.
///
/// Take a transaction T of the publisher's database that is in the subscriber's snapshot and not in the publisher's. Nobody
/// held a transaction identifier between `before` and the publisher's snapshot, and T, invisible there, had not let go of
/// its own if it had one: so T began to write later, and its commit record lies behind `before`. If `after` equals
/// `before`, there is no T. The same goes for what was decoded from `before` on. Its commit record was written before the
/// subscriber's snapshot was taken. When `snapshot_after` was taken, T had either left the list of running transactions
/// (then that snapshot differs from the first one) or not (then it still held its lock when `writers_after` was read a
/// moment earlier, because locks are released last; src/backend/access/transam/xact.c, CommitTransaction): if both say
/// no, there is no T.
///
/// # Errors
/// [`NotYet::Moved`] where neither can be said and nothing was decoded, or something was; [`NotYet::ForeignPosition`].
pub(crate) fn accept_still(observed: &Around<'_>) -> Result<Stillness, NotYet> {
    for progress in observed.progress {
        if let Some(received) = progress.received
            && received > observed.after
        {
            return Err(NotYet::ForeignPosition {
                subscription: progress.subscription.clone(),
                received,
                publisher: observed.after,
            });
        }
    }
    if observed.before == observed.after {
        Ok(Stillness::WalUnchanged)
    } else if observed.snapshot == observed.snapshot_after && observed.writers_after.is_empty() {
        Ok(Stillness::NoTransactionEnded)
    } else if observed.decoded_changes == Some(0) {
        Ok(Stillness::NothingDecoded)
    } else {
        Err(NotYet::Moved { before: observed.before, after: observed.after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(replayed: u64, received: u64) -> Progress {
        Progress {
            subscription: "s".into(),
            replayed: Some(Lsn(replayed)),
            replay_hidden: false,
            received: Some(Lsn(received)),
            tables_not_ready: 0,
        }
    }

    fn snapshot(text: &str) -> SnapshotText {
        text.parse().unwrap()
    }

    #[test]
    fn every_subscription_must_have_applied_and_received_the_target() {
        let caught = |writers: &[Writer], progress: &[Progress]| {
            accept_caught_up(&Caught { writers, target: Lsn(100), progress })
        };
        assert_eq!(caught(&[], &[progress(100, 100), progress(101, 120)]), Ok(()));
        assert!(matches!(caught(&[], &[progress(100, 100), progress(99, 120)]), Err(NotYet::Behind { .. })));
        assert!(matches!(caught(&[], &[progress(100, 99)]), Err(NotYet::Behind { .. })));
        let unknown = Progress { replayed: None, ..progress(0, 100) };
        assert!(matches!(caught(&[], &[unknown]), Err(NotYet::Behind { replayed: None, .. })));
        let copying = Progress { tables_not_ready: 2, ..progress(100, 100) };
        assert!(matches!(caught(&[], &[copying]), Err(NotYet::NotReady { tables: 2, .. })));
        let writer = Writer::Prepared { gid: "g".into() };
        assert_eq!(caught(std::slice::from_ref(&writer), &[progress(100, 100)]), Err(NotYet::Writing(writer)));
    }

    #[test]
    fn what_moved_between_the_snapshots_is_refused_unless_it_is_proven_harmless() {
        let quiet = snapshot("10:10:");
        let later = snapshot("11:11:");
        let writer = [Writer::Session { pid: 1, state: None, seconds: None }];
        let still = |after, snapshot_after: &SnapshotText, writers_after: &[Writer], decoded_changes| {
            accept_still(&Around {
                before: Lsn(100),
                snapshot: &quiet,
                progress: &[progress(100, 100)],
                writers_after,
                snapshot_after,
                after: Lsn(after),
                decoded_changes,
            })
        };
        assert_eq!(still(100, &quiet, &[], None), Ok(Stillness::WalUnchanged));
        assert_eq!(still(900, &quiet, &[], None), Ok(Stillness::NoTransactionEnded));
        // A transaction can have written its commit record and still count as running: its lock gives it away.
        assert!(matches!(still(900, &quiet, &writer, None), Err(NotYet::Moved { .. })));
        assert!(matches!(still(900, &later, &[], None), Err(NotYet::Moved { .. })));
        assert!(matches!(still(900, &later, &[], Some(1)), Err(NotYet::Moved { .. })));
        assert_eq!(still(900, &later, &[], Some(0)), Ok(Stillness::NothingDecoded));
    }

    #[test]
    fn what_is_in_doubt_is_said_with_what_settles_it() {
        let waited = format!("waited 5 s for {}", NotYet::Undecided);
        assert_eq!(
            waited,
            "waited 5 s for fewer transactions to be in doubt: too many may or may not be in the subscriber's snapshot; EXECUTE \
             on pg_replication_origin_progress(text, boolean) there settles all but those that are being applied"
        );
    }

    #[test]
    fn a_position_beyond_the_publishers_end_comes_from_another_server() {
        let quiet = snapshot("10:10:");
        let result = accept_still(&Around {
            before: Lsn(100),
            snapshot: &quiet,
            progress: &[progress(100, 101)],
            writers_after: &[],
            snapshot_after: &quiet,
            after: Lsn(100),
            decoded_changes: None,
        });
        assert!(matches!(result, Err(NotYet::ForeignPosition { .. })));
    }
}
