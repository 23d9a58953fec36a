//! The sync point without a slot, and how rows that changed meanwhile are settled by looking at them again.
//!
//! Call the transactions that a snapshot of the publisher shows its set; that of a subscriber's snapshot are those whose
//! changes are applied and visible in it. The whole level stands on one order of observations, the *sandwich*:
//!
//! 1. A: a snapshot of the publisher, and then a position L of its WAL. Everything in the set of A ends before L.
//! 2. Replay passes L, then S, a snapshot of the subscriber: **A is a part of S.**
//! 3. X: the transactions that hold an identifier, read after S. The commit record of a transaction in S was written before
//!    S was taken, and locks on identifiers go last (src/backend/access/transam/xact.c, CommitTransaction): it has ended, or
//!    it is in X.
//! 4. B: a snapshot of the publisher that shows every transaction of X as ended, but for those that were seen after S where
//!    they cannot have written a commit record before S: **S is a part of B.** A transaction that is idle with an identifier
//!    is neither in S nor in B, so that it stands in nobody's way.
//!
//! A row version that A and B both show was not touched by anything in B beyond A: it stands in S like this, wherever
//! between A and B the position of S may be. So a version that S does not have is a difference, at once. A key that neither
//! A nor B shows may have come and gone in between; see [`judge`].
//!
//! The scans use the sandwich once for all tables, with P for A and P' for B, and P is not even kept: a version in P' was in
//! P if the transaction that made it is older than all that ran at P ([`Since`]). Rows of which that is not known, and rows of
//! the subscriber that are not in P', are *suspects*. They are set aside on both sides by their keys and settled afterwards,
//! by sandwiches of their own.

use std::time::{Duration, Instant};

use crate::connect::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::gate::cut::{Suspect, accept_publisher};
use crate::gate::keepers::{Keepers, end, export};
use crate::gate::live::{self, caught_up, followed};
use crate::gate::observe::{self, unexpected};
use crate::gate::open::{Opened, Request, SyncPoint};
use crate::gate::rules::NotYet;
use crate::gate::snapshot::SnapshotText;
use crate::lsn::Lsn;
use crate::side::{Side, Sides};

/// What the report says of such a sync point.
pub(crate) const PROOF: &str = "settled by recheck";
/// How often it is looked whether transactions have ended that the subscriber may hold.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The transactions that may have made a row version which P' shows and P does not: identifiers `from..until`.
///
/// `from` is the oldest transaction that ran at P, `until` the end of what P' shows. A transaction in P' and not in P ran at
/// P or came later, so it is not older than `from`. The list of those that ran at P would narrow this, but it names top-level
/// transactions only, and rows carry the identifiers of subtransactions, which are younger than their parents: read against
/// that list, a row that a savepoint of a running transaction wrote would look as if it had long been there.
///
/// Rows show identifiers without their epoch, also those that were frozen long ago. An old one that looks as if it were in
/// here makes a suspect of a row that is none, which costs a second look and no more. One that is in here always looks like it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Since {
    /// The oldest that counts.
    pub from: u64,
    /// The first that does not.
    pub until: u64,
}

impl Since {
    /// What lies between two snapshots of the publisher.
    #[must_use]
    pub(crate) fn between(before: &SnapshotText, after: &SnapshotText) -> Self {
        Self { from: before.xmin, until: after.xmax.max(before.xmin) }
    }

    /// Whether there is none.
    #[must_use]
    pub(crate) fn is_empty(self) -> bool {
        self.from >= self.until
    }

    /// The ends without their epochs: inclusive, exclusive. Where the first is not below the second, identifiers from the
    /// first up and those below the second are meant. `None` where every identifier looks as if it were in here.
    #[must_use]
    pub(crate) fn ends(self) -> Option<(u32, u32)> {
        const EPOCH: u64 = 1 << 32;
        let low = |xid: u64| u32::try_from(xid % EPOCH).ok();
        if self.until.saturating_sub(self.from) >= EPOCH { None } else { low(self.from).zip(low(self.until)) }
    }
}

/// A version of a row: what tells it from every other one, and its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Version {
    /// The transaction that made it, without its epoch (`xmin`).
    pub xmin: u32,
    /// Its heap.
    pub heap: u32,
    /// Its place there: block and line pointer.
    pub place: (u32, u16),
    /// The digest of its image.
    pub digest: [u8; 32],
}

/// What one sandwich saw of one key: the versions in A, in S and in B, each in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// On the publisher, before.
    pub before: Vec<Version>,
    /// On the subscriber.
    pub subscriber: Vec<Version>,
    /// On the publisher, after.
    pub after: Vec<Version>,
}

/// What a sandwich says of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Both sides have the same.
    Equal,
    /// They do not.
    Different,
    /// Nothing can be said yet: it changed, or what the subscriber has too much may have been there for a moment.
    NotYet,
}

/// What a sandwich says of a key, given the one before it that began and ended earlier.
///
/// Where A and B show the same versions, these stood all the while: a version has one place and one maker, and a maker that
/// A shows has ended. So the subscriber must have each of them; where it lacks one, that is a difference.
///
/// What the subscriber has beyond them can be a row that came after A and went before B. It would have gone from the subscriber,
/// too, before the next sandwich looks there: whoever put it there is in the S of the first sandwich, so in its B, so in the
/// A of the next one; that A does not show the row, so it shows who removed it, and replay has passed that when the next S is taken.
/// So where the next sandwich still finds the very same versions on the subscriber, and the same on the publisher, they are a difference.
#[must_use]
pub(crate) fn judge(seen: &Seen, before: Option<&Seen>) -> Settled {
    if seen.before != seen.after {
        return Settled::NotYet;
    }
    let digests = |versions: &[Version]| {
        let mut digests: Vec<_> = versions.iter().map(|version| version.digest).collect();
        digests.sort_unstable();
        digests
    };
    let (publisher, subscriber) = (digests(&seen.after), digests(&seen.subscriber));
    if publisher == subscriber {
        return Settled::Equal;
    }
    let mut rest = subscriber.as_slice();
    let has_all = publisher.iter().all(|wanted| {
        let at = rest.partition_point(|digest| digest < wanted);
        let found = rest.get(at) == Some(wanted);
        rest = rest.get(at + usize::from(found)..).unwrap_or_default();
        found
    });
    if !has_all || before == Some(seen) { Settled::Different } else { Settled::NotYet }
}

/// One attempt to take both snapshots. Whatever comes of it, the keepers' transactions are left to the caller unless it was
/// accepted.
pub(crate) async fn attempt(
    control: Sides<&Session>,
    keepers: &Keepers,
    request: &Request<'_>,
    deadline: Instant,
) -> Result<Result<Box<Opened>, (NotYet, Lsn)>> {
    let segment = request.wal_segment_bytes;
    let (before, target) = observe::snapshot_and_position(control.publisher, segment).await?;
    if let Err(not_yet) = caught_up(control, request, target, deadline).await? {
        return Ok(Err((not_yet, target)));
    }
    let opened = Instant::now();
    let (subscriber, _) = export(keepers, Side::Subscriber, None).await?;
    let open = Open::at(control.publisher).await?;
    if let Err(not_yet) = followed(control, request).await? {
        return Ok(Err((not_yet, target)));
    }
    loop {
        let suspects = open.now(control.publisher).await?;
        let (publisher, _) = export(keepers, Side::Publisher, None).await?;
        let after: SnapshotText = publisher.text.parse().map_err(|_| unexpected(control.publisher, "its snapshot"))?;
        let Err(suspect) = accept_publisher(&suspects, &after) else {
            return Ok(Ok(Box::new(Opened {
                point: SyncPoint {
                    id: request.id,
                    snapshots: Sides { publisher, subscriber },
                    publisher_lsn: Some(target),
                    applied_lsn: Some(target),
                    lag_bytes: Some(0),
                    proof: PROOF.to_owned(),
                    raise: None,
                    in_flight: (0, 0),
                    decoded_bytes: None,
                    waited: Duration::ZERO,
                    opened,
                },
                window: None,
                since: Some(Since::between(&before, &after)),
            })));
        };
        if Instant::now() >= deadline {
            return Ok(Err((NotYet::Committing { pid: suspect.pid }, target)));
        }
        end(keepers, Side::Publisher).await?;
        pause(request).await?;
    }
}

/// The transactions of the publisher that held an identifier at a moment.
struct Open {
    since: String,
    xids: Vec<u32>,
}

impl Open {
    /// Those that do now.
    async fn at(publisher: &Session) -> Result<Self> {
        let since = publisher.value("SELECT pg_catalog.clock_timestamp()").await?;
        let since = since.ok_or_else(|| unexpected(publisher, "the time"))?;
        let xids = observe::suspects(publisher, &since).await?.into_iter().map(|suspect| suspect.xid).collect();
        Ok(Self { since, xids })
    }

    /// Those of them that still do. Who was seen once where it cannot have been committing then is seen so again, or has ended.
    async fn now(&self, publisher: &Session) -> Result<Vec<Suspect>> {
        let suspects = observe::suspects(publisher, &self.since).await?;
        Ok(suspects.into_iter().filter(|suspect| self.xids.contains(&suspect.xid)).collect())
    }
}

/// Waits until replay has passed everything that the publisher's snapshots showed up to now. `false` if there is no time left.
///
/// # Errors
/// Where a session fails or the run was stopped.
pub(crate) async fn pass(control: Sides<&Session>, request: &Request<'_>, deadline: Instant) -> Result<bool> {
    let target: Lsn = observe::insert_position(control.publisher, request.wal_segment_bytes).await?;
    loop {
        if live::approach(control, request, target).await?.is_ok() {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        pause(request).await?;
    }
}

/// Waits until every snapshot of the publisher shows whatever the subscriber's showed up to now. `false` if there is no time
/// left, or the subscriptions are not to be trusted any longer.
///
/// # Errors
/// Where a session fails or the run was stopped.
pub(crate) async fn enclose(control: Sides<&Session>, request: &Request<'_>, deadline: Instant) -> Result<bool> {
    let open = Open::at(control.publisher).await?;
    if followed(control, request).await?.is_err() {
        return Ok(false);
    }
    loop {
        let suspects = open.now(control.publisher).await?;
        // What has ended here has ended in every later snapshot.
        let (shown, _) = observe::snapshot_and_position(control.publisher, request.wal_segment_bytes).await?;
        if accept_publisher(&suspects, &shown).is_ok() {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        pause(request).await?;
    }
}

async fn pause(request: &Request<'_>) -> Result<()> {
    tokio::select! {
        () = tokio::time::sleep(POLL_INTERVAL) => Ok(()),
        () = request.stop.cancelled() => Err(Error::new(ErrorKind::Interrupted, "interrupted while waiting for the sync point")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn snapshot(text: &str) -> SnapshotText {
        text.parse().unwrap()
    }

    /// Whether a row that shows this maker is suspect.
    fn suspect(since: Since, maker: u64) -> bool {
        let low = u32::try_from(maker % (1 << 32)).unwrap();
        match since.ends() {
            None => true,
            Some((from, until)) if from < until => from <= low && low < until,
            Some((from, until)) => !since.is_empty() && (from <= low || low < until),
        }
    }

    #[test]
    fn a_subtransaction_of_a_running_transaction_is_suspect() {
        // 100 runs at P and has written under a savepoint as 103, which no list of running transactions names.
        let before = snapshot("100:110:100,105");
        assert!(before.shows(103));
        let since = Since::between(&before, &snapshot("120:120:"));
        assert!(suspect(since, 103) && suspect(since, 100) && suspect(since, 119));
        assert!(!suspect(since, 99) && !suspect(since, 120));
        assert!(Since::between(&before, &snapshot("100:100:")).is_empty());
    }

    #[test]
    fn identifiers_wrap_around() {
        let epoch = 1_u64 << 32;
        let since = Since { from: 3 * epoch - 10, until: 3 * epoch + 10 };
        assert_eq!(since.ends(), Some((u32::MAX - 9, 10)));
        assert!(suspect(since, 3 * epoch - 1) && suspect(since, 3 * epoch + 9) && !suspect(since, 3 * epoch + 10));
        // One of an earlier epoch that was frozen long ago looks as if it were in there, which costs a second look.
        assert!(suspect(since, epoch + 3));
        assert_eq!(Since { from: 5, until: 5 + epoch }.ends(), None);
        assert!(Since { from: 5, until: 5 }.is_empty());
    }

    fn version(xmin: u32, content: u8) -> Version {
        Version { xmin, heap: 1, place: (0, 1), digest: [content; 32] }
    }

    fn seen(before: &[Version], subscriber: &[Version], after: &[Version]) -> Seen {
        Seen { before: before.to_vec(), subscriber: subscriber.to_vec(), after: after.to_vec() }
    }

    #[test]
    fn what_held_still_is_settled() {
        let (old, new) = (version(10, 1), version(20, 2));
        let (same, other) = (version(700, 1), version(701, 9));
        assert_eq!(judge(&seen(&[old], &[same], &[old]), None), Settled::Equal);
        assert_eq!(judge(&seen(&[], &[], &[]), None), Settled::Equal);
        // It was rewritten in between, be it with the same content.
        assert_eq!(judge(&seen(&[old], &[same], &[new]), None), Settled::NotYet);
        assert_eq!(judge(&seen(&[old], &[same], &[version(11, 1)]), None), Settled::NotYet);
        assert_eq!(judge(&seen(&[old], &[], &[]), None), Settled::NotYet);
        // It stood all the while, and the subscriber has it otherwise, or not at all.
        assert_eq!(judge(&seen(&[old], &[other], &[old]), None), Settled::Different);
        assert_eq!(judge(&seen(&[old], &[], &[old]), None), Settled::Different);
        assert_eq!(judge(&seen(&[old, old], &[same], &[old, old]), None), Settled::Different);
    }

    #[test]
    fn what_the_subscriber_has_besides_must_stay() {
        let extra = version(700, 1);
        let besides = seen(&[], &[extra], &[]);
        assert_eq!(judge(&besides, None), Settled::NotYet);
        assert_eq!(judge(&besides, Some(&besides)), Settled::Different);
        // Another version of it: the first one came and went.
        let later = seen(&[], &[version(701, 1)], &[]);
        assert_eq!(judge(&later, Some(&besides)), Settled::NotYet);
        let twice = seen(&[version(1, 1)], &[extra, version(3, 1)], &[version(1, 1)]);
        assert_eq!(judge(&twice, None), Settled::NotYet);
        assert_eq!(judge(&twice, Some(&twice)), Settled::Different);
    }

    /// A key's history on the publisher, one state after the other, each with its maker.
    fn history() -> impl Strategy<Value = Vec<Option<u8>>> {
        prop::collection::vec(prop::option::of(0_u8..3), 2..12)
    }

    proptest! {
        /// Whatever happens to a key, and wherever the looks fall, as long as their order holds: a subscriber that loses nothing is
        /// never called different.
        #[test]
        fn a_faithful_subscriber_is_never_different(history in history(), looks in prop::collection::vec(0_usize..12, 3..24)) {
            let at = |position: usize| {
                let position = position.min(history.len() - 1);
                // The maker is who brought this state about.
                let state = history[position];
                state.map(|content| version(u32::try_from(position).unwrap(), content))
            };
            let applied = |position: usize| at(position).map(|version| Version { xmin: version.xmin + 5000, ..version });
            let mut looks = looks;
            looks.sort_unstable();
            let mut last: Option<Seen> = None;
            for three in looks.chunks_exact(3) {
                let now = seen(at(three[0]).as_slice(), applied(three[1]).as_slice(), at(three[2]).as_slice());
                prop_assert_ne!(judge(&now, last.as_ref()), Settled::Different, "{:?} {:?}", now, last);
                last = Some(now);
            }
        }

        /// A subscriber that lacks a row, or has one that nobody replicated, is found as soon as the key holds still.
        #[test]
        fn a_loss_is_found_when_the_key_holds_still(content in prop::option::of(0_u8..3), held in prop::option::of(0_u8..3)) {
            let publisher: Vec<_> = content.map(|content| version(7, content)).into_iter().collect();
            let subscriber: Vec<_> = held.map(|held| version(700, held)).into_iter().collect();
            let now = seen(&publisher, &subscriber, &publisher);
            let first = judge(&now, None);
            let expected = if content == held { Settled::Equal } else { Settled::Different };
            prop_assert!(first == expected || first == Settled::NotYet);
            prop_assert_eq!(judge(&now, Some(&now)), expected);
        }
    }
}
