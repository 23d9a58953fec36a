//! Opening a sync point: exported snapshots on both sides that any number of sessions import.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::catalog::{Subscription, TablePair};
use crate::config::GateMode;
use crate::connect::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::gate::keepers::{Keepers, Snapshot, export, release};
use crate::gate::live;
use crate::gate::observe;
use crate::gate::quiesced::{self, quiesced};
use crate::gate::recheck::{self, Since};
use crate::gate::rules::NotYet;
use crate::gate::slot::refusal;
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
/// How often what changed between the snapshots may fail to be decoded, in time or at all.
const WINDOWS_MAX: u32 = 3;

/// A pair of snapshots at which both sides can be compared.
#[derive(Debug, Clone)]
pub(crate) struct SyncPoint {
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
pub(crate) struct NotReached {
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
pub(crate) struct Request<'a> {
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
pub(crate) struct Opened {
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
pub(crate) async fn open(
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
pub(super) type GivenUp = (NotYet, Lsn, Option<String>);

/// Patience: pauses between attempts, and the end of them.
pub(super) struct Wait<'a, 'r> {
    pub(super) request: &'a Request<'r>,
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
    pub(super) async fn again(&mut self, not_yet: &NotYet) -> Result<bool> {
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

/// Whether a failure says something of the run as a whole, and not only of the slot.
fn is_fatal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Lost | ErrorKind::Connect | ErrorKind::Interrupted | ErrorKind::Corrupt)
}

async fn live(control: Sides<&Session>, keepers: &Keepers, wait: &mut Wait<'_, '_>) -> Result<Result<Opened, GivenUp>> {
    let request = wait.request;
    let mut windows = 0;
    let mut slots = 0_u32;
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
        slots += 1;
        if slots == 1 {
            // Later slots follow each other ever more slowly: each makes the publisher decode.
            wait.pause = POLL_INTERVAL;
        }
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
    if let quiesced::Attempt::Accepted(mut point) = quiesced::attempt(control, keepers, None, request).await? {
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
