//! Opening a sync point: exported snapshots on both sides that any number of sessions import.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::catalog::{Subscription, TablePair};
use crate::config::GateMode;
use crate::connect::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::gate::live;
use crate::gate::observe::{self, unexpected};
use crate::gate::recheck::{self, Since};
use crate::gate::rules::{Around, Caught, NotYet, accept_caught_up, accept_still};
use crate::gate::slot;
use crate::gate::snapshot::SnapshotText;
use crate::gate::stall;
use crate::gate::window::Window;
use crate::lsn::Lsn;
use crate::side::{Side, Sides};

/// Pause between two looks at how far replay is: short beside a round trip of replication, long beside a query.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Longest pause after attempts that failed; an idle-in-transaction writer may stay for minutes.
const POLL_INTERVAL_MAX: Duration = Duration::from_millis(500);
/// How often an observer hears what is being waited for.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Attempts that found other transactions ending in between before a slot is used to see what they changed.
const ATTEMPTS_BEFORE_DECODING: u32 = 3;
/// Longest time a keeper may take to say that it is alive.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);
/// How often what changed between the snapshots may fail to be decoded, in time or at all.
const WINDOWS_MAX: u32 = 3;

/// A snapshot that other sessions can import while its keeper lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// What `SET TRANSACTION SNAPSHOT` takes.
    pub exported: String,
    /// What `pg_current_snapshot()` says in it; sessions that import it must see the same.
    pub text: String,
}

/// The sessions that export snapshots. They touch no user table, so they hold no lock that anybody could wait for.
#[derive(Debug)]
pub struct Keepers {
    /// One on each side.
    pub sessions: Sides<Session>,
}

/// A pair of snapshots at which both sides can be compared.
#[derive(Debug, Clone)]
pub struct SyncPoint {
    /// 1, 2, ... in the order of opening.
    pub id: u32,
    /// The snapshots to import.
    pub snapshots: Sides<Snapshot>,
    /// The publisher's normalised insert position at its snapshot; `None` without a subscription.
    pub publisher_lsn: Option<Lsn>,
    /// The publisher position that the subscriber's snapshot corresponds to.
    pub applied_lsn: Option<Lsn>,
    /// What replay was short of `publisher_lsn` when the subscriber's snapshot was taken.
    pub lag_bytes: Option<u64>,
    /// How equality at one position was established.
    pub proof: String,
    /// What would raise the level of proof, for people; `None` where it is the highest.
    pub raise: Option<String>,
    /// Transactions that the subscriber's snapshot holds and the publisher's does not, and the keys that they touched.
    pub in_flight: (u64, u64),
    /// WAL that the publisher had to decode again for a copied slot, in bytes; `None` where nothing was decoded.
    pub decoded_bytes: Option<u64>,
    /// How long it was waited for.
    pub waited: Duration,
    /// When the older of the two snapshots was taken.
    pub opened: Instant,
}

/// A sync point that could not be had in time.
#[derive(Debug, Clone)]
pub struct NotReached {
    /// What was waited for, how far it came, why it likely stalls.
    pub message: String,
    /// The publisher's last position.
    pub publisher_lsn: Option<Lsn>,
    /// The position up to which the last subscription in the way has applied.
    pub applied_lsn: Option<Lsn>,
    /// How long it was waited for.
    pub waited: Duration,
}

/// What a sync point is asked for.
pub struct Request<'a> {
    /// 1, 2, ...
    pub id: u32,
    /// When it may be had.
    pub mode: GateMode,
    /// The subscriptions that join both sides.
    pub subscriptions: &'a [Subscription],
    /// The tables that are compared.
    pub tables: &'a [TablePair],
    /// Size of a WAL segment of the publisher in bytes.
    pub wal_segment_bytes: u64,
    /// How long to wait.
    pub timeout: Duration,
    /// Ends the wait.
    pub stop: &'a CancellationToken,
    /// Hears about once a second what is being waited for.
    pub waiting: &'a (dyn Fn(&str, Duration) + Sync),
    /// Opens the session for the slot.
    pub slot_session: &'a (dyn Fn() -> futures::future::BoxFuture<'a, Result<Session>> + Sync),
}

/// A sync point as it was opened.
pub struct Opened {
    /// The pair of snapshots.
    pub point: SyncPoint,
    /// What changed between them; `None` where nothing did, or nothing is known (gate `none`).
    pub window: Option<Window>,
    /// Where what changed between them is not known, the transactions that may have changed it: rows are to be settled one by
    /// one.
    pub since: Option<Since>,
}

/// Takes a pair of snapshots.
///
/// # Errors
/// [`NotReached`] inside of `Ok` where the time ran out; an error where a session fails or the run was stopped.
pub async fn open(
    control: Sides<&Session>,
    keepers: &mut Keepers,
    request: &Request<'_>,
) -> Result<Result<Opened, NotReached>> {
    let mut wait = Wait::new(request);
    let opened = match request.mode {
        GateMode::None => return unrelated(keepers, request.id, wait.begun).await.map(Ok),
        GateMode::Quiesced => quiesced(control, keepers, &mut wait, None).await?,
        GateMode::Live => live(control, keepers, &mut wait).await?,
    };
    match opened {
        Ok(mut opened) => {
            opened.point.waited = wait.begun.elapsed();
            Ok(Ok(opened))
        }
        Err((not_yet, position, besides)) => Ok(Err(not_reached(control, &wait, &not_yet, position, besides).await)),
    }
}

/// What was waited for last, the publisher's position then, and what is to be said besides.
type GivenUp = (NotYet, Lsn, Option<String>);

/// Patience: pauses between attempts, and the end of them.
struct Wait<'a, 'r> {
    request: &'a Request<'r>,
    begun: Instant,
    reported: Instant,
    pause: Duration,
}

impl<'a, 'r> Wait<'a, 'r> {
    fn new(request: &'a Request<'r>) -> Self {
        let begun = Instant::now();
        Self { request, begun, reported: begun, pause: POLL_INTERVAL }
    }

    fn deadline(&self) -> Instant {
        self.begun + self.request.timeout
    }

    /// Pauses before the next attempt. False if there is to be none.
    async fn again(&mut self, not_yet: &NotYet) -> Result<bool> {
        let waited = self.begun.elapsed();
        if waited >= self.request.timeout || matches!(not_yet, NotYet::ForeignPosition { .. }) {
            return Ok(false);
        }
        if self.reported.elapsed() >= REPORT_INTERVAL {
            self.reported = Instant::now();
            (self.request.waiting)(&not_yet.to_string(), waited);
        }
        tokio::select! {
            () = tokio::time::sleep(self.pause.min(self.request.timeout.saturating_sub(waited))) => {}
            () = self.request.stop.cancelled() => return Err(Error::new(ErrorKind::Interrupted, "interrupted while waiting for the sync point")),
        }
        self.pause = (self.pause * 2).min(POLL_INTERVAL_MAX);
        Ok(true)
    }
}

async fn not_reached(
    control: Sides<&Session>,
    wait: &Wait<'_, '_>,
    not_yet: &NotYet,
    position: Lsn,
    besides: Option<String>,
) -> NotReached {
    let waited = wait.begun.elapsed();
    let mut message = format!("waited {} s for {not_yet}", waited.as_secs());
    if let Some(besides) = besides {
        message.push_str("; ");
        message.push_str(&besides);
    }
    let Request { subscriptions, wal_segment_bytes, mode, .. } = *wait.request;
    let stop = mode == GateMode::Quiesced;
    let causes =
        stall::likely_causes(control.publisher, control.subscriber, subscriptions, wal_segment_bytes, stop).await;
    if !causes.is_empty() {
        message.push_str("; likely because ");
        message.push_str(&causes.join("; "));
    }
    let applied_lsn = match not_yet {
        NotYet::Behind { replayed, .. } => *replayed,
        _ => None,
    };
    NotReached { message, publisher_lsn: Some(position), applied_lsn, waited }
}

/// Why a temporary slot was refused, for people.
fn refusal(error: &Error) -> String {
    let remedy =
        if error.kind() == ErrorKind::Permission { "ALTER ROLE ... REPLICATION" } else { "max_replication_slots" };
    format!("{error} ({remedy} on the publisher)")
}

/// Whether a failure says something of the run as a whole, and not only of the slot.
fn is_fatal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Lost | ErrorKind::Connect | ErrorKind::Interrupted | ErrorKind::Corrupt)
}

async fn live(control: Sides<&Session>, keepers: &Keepers, wait: &mut Wait<'_, '_>) -> Result<Result<Opened, GivenUp>> {
    let request = wait.request;
    let mut windows = 0;
    loop {
        let target = observe::insert_position(control.publisher, request.wal_segment_bytes).await?;
        tracing::debug!(%target, windows, "approaching the sync point");
        while let Err(not_yet) = live::approach(control, request, target).await? {
            if !wait.again(&not_yet).await? {
                return Ok(Err((not_yet, target, None)));
            }
        }
        let slot = match live::slot(control, request).await {
            Ok(slot) => slot,
            Err(error) if is_fatal(&error) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "no temporary slot: what changes meanwhile is looked at again");
                return without_slot(control, keepers, wait, error).await;
            }
        };
        wait.pause = POLL_INTERVAL;
        loop {
            match live::attempt(control, keepers, &slot, request, wait.deadline()).await? {
                live::Attempt::Accepted(opened) => return Ok(Ok(*opened)),
                live::Attempt::NotYet(not_yet, position) => {
                    release(keepers).await?;
                    if !wait.again(&not_yet).await? {
                        return Ok(Err((not_yet, position, None)));
                    }
                }
                live::Attempt::Undecodable(error, position) => {
                    release(keepers).await?;
                    let not_yet = NotYet::Undecodable { error: error.to_string() };
                    // What the server will not decode now, it will not decode the next time, either.
                    let again =
                        matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Cancelled | ErrorKind::TimedOut);
                    windows += 1;
                    if windows >= WINDOWS_MAX || !again || !wait.again(&not_yet).await? {
                        return Ok(Err((not_yet, position, None)));
                    }
                    break;
                }
                // A matter of a moment: of how much the worker had received and not applied yet.
                live::Attempt::Undecided(position) => {
                    release(keepers).await?;
                    let not_yet = NotYet::Undecided;
                    if !wait.again(&not_yet).await? {
                        return Ok(Err((not_yet, position, None)));
                    }
                    break;
                }
            }
        }
    }
}

/// Two snapshots without a slot. Between them, rows may have changed, which are to be looked at again; where nobody writes,
/// none can have, which is tried once.
async fn without_slot(
    control: Sides<&Session>,
    keepers: &Keepers,
    wait: &mut Wait<'_, '_>,
    refused: Error,
) -> Result<Result<Opened, GivenUp>> {
    let request = wait.request;
    if request.subscriptions.is_empty() {
        return quiesced(control, keepers, wait, Some(refused)).await;
    }
    wait.pause = POLL_INTERVAL;
    if let Attempt::Accepted(mut point) = attempt(control, keepers, None, request).await? {
        point.raise = Some(refusal(&refused));
        return Ok(Ok(Opened { point: *point, window: None, since: None }));
    }
    release(keepers).await?;
    loop {
        match recheck::attempt(control, keepers, request, wait.deadline()).await? {
            Ok(mut opened) => {
                opened.point.raise = Some(refusal(&refused));
                return Ok(Ok(*opened));
            }
            Err((not_yet, position)) => {
                release(keepers).await?;
                if !wait.again(&not_yet).await? {
                    return Ok(Err((not_yet, position, None)));
                }
            }
        }
    }
}

async fn quiesced(
    control: Sides<&Session>,
    keepers: &Keepers,
    wait: &mut Wait<'_, '_>,
    mut refused: Option<Error>,
) -> Result<Result<Opened, GivenUp>> {
    let request = wait.request;
    let mut slot: Option<Session> = None;
    let mut moved = 0;
    loop {
        // What the role may not do, and what cannot be decoded, is not to be had the next time, either.
        if moved >= ATTEMPTS_BEFORE_DECODING && slot.is_none() && refused.is_none() {
            match copied_slot(request).await {
                Ok(session) => slot = session,
                Err(error) => {
                    tracing::debug!(%error, "no temporary slot");
                    refused = Some(error);
                }
            }
        }
        let (not_yet, position) = match attempt(control, keepers, slot.as_ref(), request).await? {
            Attempt::Accepted(mut point) => {
                point.raise = refused.as_ref().filter(|_| request.mode == GateMode::Live).map(refusal);
                return Ok(Ok(Opened { point: *point, window: None, since: None }));
            }
            Attempt::NotYet(not_yet, position) => (not_yet, position),
            Attempt::Undecodable(error) => {
                tracing::warn!(%error, "the publications cannot be decoded; going on without a temporary slot");
                (slot, refused) = (None, Some(error));
                release(keepers).await?;
                continue;
            }
        };
        release(keepers).await?;
        if matches!(not_yet, NotYet::Moved { .. }) {
            moved += 1;
        }
        if !wait.again(&not_yet).await? {
            let besides = match (&not_yet, &refused, request.mode) {
                (_, Some(error), GateMode::Live) => {
                    Some(format!("without a temporary slot only a moment without writes will do: {}", refusal(error)))
                }
                // Also where replay is what was waited for last: without them it would have been over before.
                (_, Some(error), _) if moved > 0 => Some(format!(
                    "{moved} times transactions committed while both snapshots were taken, and a temporary slot would \
                     show whether they changed a published table: {}",
                    refusal(error)
                )),
                _ => None,
            };
            return Ok(Err((not_yet, position, besides)));
        }
    }
}

enum Attempt {
    Accepted(Box<SyncPoint>),
    NotYet(NotYet, Lsn),
    /// The temporary slot is gone with the error.
    Undecodable(Error),
}

/// One attempt, in the order that the rules ask for. Whatever fails, the keepers' transactions are left to [`release`].
async fn attempt(
    control: Sides<&Session>,
    keepers: &Keepers,
    slot: Option<&Session>,
    request: &Request<'_>,
) -> Result<Attempt> {
    let segment = request.wal_segment_bytes;
    if let Some(slot) = slot {
        // Everything up to here is decoded and thrown away, so that what is decoded later came after.
        if let Err(error) = slot.value(&observe::count_changes_sql(&slot::name(slot), request.subscriptions)).await {
            return Ok(Attempt::Undecodable(error));
        }
    }
    // The position first: a transaction that has no identifier yet when the writers are looked at writes its commit record
    // behind it, even if that transaction then stays invisible for long.
    let before = observe::insert_position(control.publisher, segment).await?;
    let writers = observe::writers(control.publisher).await?;
    let opened = Instant::now();
    let (publisher, target) = export(keepers, Side::Publisher, Some(segment)).await?;
    let target = target.unwrap_or(before);
    let publisher_snapshot: SnapshotText =
        publisher.text.parse().map_err(|_| unexpected(control.publisher, "its snapshot"))?;
    let progress = observe::progress(control.publisher, control.subscriber, request.subscriptions, segment).await?;
    if let Err(not_yet) = accept_caught_up(&Caught { writers: &writers, target, progress: &progress }) {
        return Ok(Attempt::NotYet(not_yet, target));
    }
    let (subscriber, _) = export(keepers, Side::Subscriber, None).await?;
    let progress = observe::progress(control.publisher, control.subscriber, request.subscriptions, segment).await?;
    let writers_after = observe::writers(control.publisher).await?;
    let (snapshot_after, after) = observe::snapshot_and_position(control.publisher, segment).await?;
    let mut around = Around {
        before,
        snapshot: &publisher_snapshot,
        progress: &progress,
        writers_after: &writers_after,
        snapshot_after: &snapshot_after,
        after,
        decoded_changes: None,
    };
    let mut accepted = accept_still(&around);
    if matches!(accepted, Err(NotYet::Moved { .. }))
        && let Some(slot) = slot
    {
        let changes = match slot.value(&observe::count_changes_sql(&slot::name(slot), request.subscriptions)).await {
            Ok(changes) => changes,
            Err(error) => return Ok(Attempt::Undecodable(error)),
        };
        around.decoded_changes = changes.and_then(|text| text.parse().ok());
        accepted = accept_still(&around);
    }
    if let Some(late) = progress.iter().find(|progress| progress.tables_not_ready > 0) {
        accepted = Err(NotYet::NotReady { subscription: late.subscription.clone(), tables: late.tables_not_ready });
    }
    Ok(match accepted {
        Ok(stillness) => Attempt::Accepted(Box::new(SyncPoint {
            id: request.id,
            snapshots: Sides { publisher, subscriber },
            publisher_lsn: Some(target),
            applied_lsn: Some(target),
            lag_bytes: Some(0),
            proof: stillness.proof().to_owned(),
            raise: None,
            in_flight: (0, 0),
            decoded_bytes: None,
            waited: Duration::ZERO,
            opened,
        })),
        Err(not_yet) => Attempt::NotYet(not_yet, target),
    })
}

/// Two snapshots that nothing joins.
async fn unrelated(keepers: &Keepers, id: u32, begun: Instant) -> Result<Opened> {
    let opened = Instant::now();
    let (publisher, _) = export(keepers, Side::Publisher, None).await?;
    let (subscriber, _) = export(keepers, Side::Subscriber, None).await?;
    let point = SyncPoint {
        id,
        snapshots: Sides { publisher, subscriber },
        publisher_lsn: None,
        applied_lsn: None,
        lag_bytes: None,
        proof: "none: two unrelated snapshots".to_owned(),
        raise: None,
        in_flight: (0, 0),
        decoded_bytes: None,
        waited: begun.elapsed(),
        opened,
    };
    Ok(Opened { point, window: None, since: None })
}

/// Begins the keeper's transaction on a side and exports its snapshot. With a segment size, the insert position is read
/// in the statement that takes the snapshot: what is visible in it committed before.
pub(crate) async fn export(
    keepers: &Keepers,
    side: Side,
    wal_segment_bytes: Option<u64>,
) -> Result<(Snapshot, Option<Lsn>)> {
    let keeper = keepers.sessions.get(side);
    let position = if wal_segment_bytes.is_some() { "pg_catalog.pg_current_wal_insert_lsn()" } else { "NULL" };
    let batch = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT {}, pg_catalog.pg_export_snapshot(), {position}",
        keeper.current_snapshot_sql()
    );
    let answers = keeper.statements(&batch).await?;
    match answers.last().and_then(|rows| rows.first()).map(Vec::as_slice) {
        Some([Some(text), Some(exported), position]) => {
            let lsn = match wal_segment_bytes {
                Some(segment) => Some(observe::position(keeper, position.as_deref(), segment)?),
                None => None,
            };
            Ok((Snapshot { exported: exported.clone(), text: text.clone() }, lsn))
        }
        _ => Err(unexpected(keeper, "a snapshot")),
    }
}

/// Ends a keeper's transaction, and with it its snapshot.
pub(crate) async fn end(keepers: &Keepers, side: Side) -> Result<()> {
    keepers.sessions.get(side).batch("ROLLBACK").await
}

/// Ends the keepers' transactions, and with them the snapshots.
///
/// # Errors
/// Where a keeper's session is lost.
pub(crate) async fn release(keepers: &Keepers) -> Result<()> {
    let Sides { publisher, subscriber } = keepers.sessions.as_ref();
    let (publisher, subscriber) =
        futures::future::join(publisher.batch("ROLLBACK"), subscriber.batch("ROLLBACK")).await;
    publisher.and(subscriber)
}

impl Keepers {
    /// Closes the sync point: both snapshots are gone afterwards.
    ///
    /// # Errors
    /// Where a keeper's session is lost; its snapshot is gone then as well.
    pub async fn close(&self) -> Result<()> {
        release(self).await
    }

    /// Whether both snapshots are still there.
    ///
    /// # Errors
    /// [`ErrorKind::Lost`] where a keeper does not answer any more.
    pub async fn check(&self) -> Result<()> {
        for session in [&self.sessions.publisher, &self.sessions.subscriber] {
            match tokio::time::timeout(CHECK_TIMEOUT, session.value("SELECT 1")).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    return Err(Error::new(
                        ErrorKind::Lost,
                        format!("the snapshot of the {} is lost: {error}", session.side()),
                    ));
                }
                Err(_) => {
                    return Err(Error::new(
                        ErrorKind::Lost,
                        format!("the keeper of the {}'s snapshot does not answer", session.side()),
                    ));
                }
            }
        }
        Ok(())
    }
}

/// A temporary copy of the first subscription's slot, in a session of its own.
async fn copied_slot(request: &Request<'_>) -> Result<Option<Session>> {
    let Some(source) = request.subscriptions.first() else { return Ok(None) };
    let session = (request.slot_session)().await?;
    slot::copy(&session, source).await?;
    Ok(Some(session))
}
