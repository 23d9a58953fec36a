//! The rules of the gate `live`: pure functions over what was observed, without I/O.

use crate::gate::snapshot::SnapshotText;
use crate::gate::window::Bounds;
use crate::lsn::Lsn;

/// A transaction that held an identifier just after the slot was there: its commit record may stand before the slot's
/// start, so that the slot will never decode it, while it is not visible yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Suspect {
    /// Its identifier, without the epoch.
    pub xid: u32,
    /// Its process; `None` for a prepared transaction.
    pub pid: Option<i32>,
    /// Whether it was seen, after the slot was there, where it cannot have written its commit record before: idle in
    /// transaction, or in a statement that began later. For a prepared one: no statement that began earlier is running.
    pub cleared: bool,
}

/// Whether everything that the publisher's snapshot does not show will be decoded from the slot.
///
/// A transaction whose commit record stands before the slot's start held its identifier when the slot was made, or had
/// ended (the lock on the identifier goes last; src/backend/access/transam/xact.c, CommitTransaction). So it is enough to
/// look at those that held one just after.
///
/// # Errors
/// The first transaction that could be missed by both.
pub(crate) fn accept_publisher(suspects: &[Suspect], snapshot: &SnapshotText) -> Result<(), Suspect> {
    let missed = |suspect: &&Suspect| !suspect.cleared && !snapshot.shows(snapshot.extend(suspect.xid));
    suspects.iter().find(missed).map_or(Ok(()), |suspect| Err(suspect.clone()))
}

/// What was observed around the subscriber's snapshot, in this order: `before`, `workers`, then in one statement the
/// snapshot and `after`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bracket {
    /// `pg_replication_origin_progress(origin, false)`; zero where nothing was ever applied.
    pub before: Lsn,
    /// Identifiers that the subscription's workers hold, without the epoch.
    pub workers: Vec<u32>,
    /// The origin's position again, in the statement that took the snapshot.
    pub after: Lsn,
}

/// Which publisher position a subscriber's snapshot corresponds to, exactly.
///
/// A worker moves the origin on before its transaction becomes visible, so that equal positions alone say nothing. If no
/// worker holds an identifier after the first reading, the transaction of that position had ended before the snapshot. If
/// one does and the snapshot shows it as ended, it was that transaction or a later one; a later one would have moved the
/// position. Nothing later is in the snapshot for the same reason. Workers commit one after the other.
///
/// `None` where that cannot be said.
#[must_use]
pub(crate) fn accept_subscriber(bracket: &Bracket, snapshot: &SnapshotText) -> Option<Lsn> {
    let ended = bracket.workers.iter().all(|&xid| snapshot.shows(snapshot.extend(xid)));
    (bracket.before == bracket.after && ended).then_some(bracket.before)
}

/// What is certain of a snapshot that was not accepted: everything that ends before the first reading of the origin is in
/// it, nothing that ends after the second.
#[must_use]
pub(crate) fn bounds_of_origin(bracket: &Bracket) -> Bounds {
    Bounds { certain: Lsn(bracket.before.0.saturating_sub(1)), upto: bracket.after }
}

/// What is certain where the origin may not be asked: everything that replay had passed before the snapshot is in it,
/// nothing that the worker had not received after it.
#[must_use]
pub(crate) fn bounds_of_stream(replayed: Lsn, received: Lsn) -> Bounds {
    Bounds { certain: replayed, upto: received.max(replayed) }
}

/// How well each cut explains what the subscriber has of the identities that tell cuts apart.
///
/// `explained[question][cut]`: whether the subscriber has what it must have at this cut. The cut that explains the most is
/// the one; of several, the last. An identity that no cut explains differs at every one of them, and is found when rows
/// are compared.
#[must_use]
pub(crate) fn best_cut(cuts: usize, explained: &[Vec<bool>]) -> usize {
    let score = |cut: usize| explained.iter().filter(|answers| answers.get(cut) == Some(&true)).count();
    (0..cuts).max_by_key(|&cut| (score(cut), cut)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> SnapshotText {
        text.parse().unwrap()
    }

    fn suspect(xid: u32, cleared: bool) -> Suspect {
        Suspect { xid, pid: Some(1), cleared }
    }

    #[test]
    fn a_transaction_between_its_commit_record_and_its_end_is_waited_for() {
        // As observed: the slot starts behind the commit record of 25660, and the snapshot does not show it.
        let hole = snapshot("25660:25660:");
        assert_eq!(accept_publisher(&[suspect(25660, false)], &hole), Err(suspect(25660, false)));
        assert_eq!(accept_publisher(&[suspect(25660, true)], &hole), Ok(()));
        assert_eq!(accept_publisher(&[suspect(25660, false)], &snapshot("25661:25661:")), Ok(()));
        assert_eq!(
            accept_publisher(&[suspect(25660, false)], &snapshot("25660:25662:25660")),
            Err(suspect(25660, false))
        );
        assert_eq!(accept_publisher(&[], &hole), Ok(()));
    }

    #[test]
    fn equal_positions_are_not_enough() {
        let bracket = |before, workers: &[u32], after| Bracket {
            before: Lsn(before),
            workers: workers.to_vec(),
            after: Lsn(after),
        };
        // As observed: the position is advanced, the row invisible, the list of running transactions empty.
        assert_eq!(accept_subscriber(&bracket(100, &[740], 100), &snapshot("740:740:")), None);
        assert_eq!(accept_subscriber(&bracket(100, &[740], 100), &snapshot("739:741:740")), None);
        assert_eq!(accept_subscriber(&bracket(100, &[740], 100), &snapshot("741:741:")), Some(Lsn(100)));
        assert_eq!(accept_subscriber(&bracket(100, &[], 100), &snapshot("740:740:")), Some(Lsn(100)));
        assert_eq!(accept_subscriber(&bracket(100, &[], 101), &snapshot("740:740:")), None);
        // A parallel worker counts like the leader.
        assert_eq!(accept_subscriber(&bracket(100, &[738, 741], 100), &snapshot("740:741:")), None);
    }

    #[test]
    fn bounds_hold_what_is_certain() {
        let bracket = Bracket { before: Lsn(100), workers: vec![], after: Lsn(120) };
        assert_eq!(bounds_of_origin(&bracket), Bounds { certain: Lsn(99), upto: Lsn(120) });
        assert_eq!(bounds_of_stream(Lsn(100), Lsn(120)), Bounds { certain: Lsn(100), upto: Lsn(120) });
        assert_eq!(bounds_of_stream(Lsn(100), Lsn(90)), Bounds { certain: Lsn(100), upto: Lsn(100) });
    }

    #[test]
    fn the_cut_is_the_one_that_explains_the_most() {
        assert_eq!(best_cut(3, &[vec![false, true, false], vec![false, true, true]]), 1);
        // One row still shows an earlier cut, another row proves a later one.
        assert_eq!(best_cut(3, &[vec![true, false, false], vec![false, false, true], vec![false, false, true]]), 2);
        // A row that no cut explains does not vote.
        assert_eq!(best_cut(2, &[vec![false, false], vec![true, false]]), 0);
        assert_eq!(best_cut(2, &[]), 1);
        assert_eq!(best_cut(1, &[]), 0);
    }
}
