//! The sync point where writes have stopped: two snapshots, and the proof that nothing happened between them.

use std::time::{Duration, Instant};

use crate::config::GateMode;
use crate::connect::Session;
use crate::error::{Error, Result};
use crate::gate::keepers::{Keepers, export, release};
use crate::gate::observe::{self, unexpected};
use crate::gate::open::{GivenUp, Opened, Request, SyncPoint, Wait};
use crate::gate::rules::{Around, Caught, NotYet, accept_caught_up, accept_still};
use crate::gate::slot::{self, refusal};
use crate::gate::snapshot::SnapshotText;
use crate::lsn::Lsn;
use crate::side::{Side, Sides};

/// Attempts that found other transactions ending in between before a slot is used to see what they changed.
const ATTEMPTS_BEFORE_DECODING: u32 = 3;

/// Tries until nothing happens between two snapshots. `refused` says why no slot is to be had, where that is known.
pub(super) async fn quiesced(
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

/// How an attempt ended.
pub(super) enum Attempt {
    Accepted(Box<SyncPoint>),
    NotYet(NotYet, Lsn),
    /// The temporary slot is gone with the error.
    Undecodable(Error),
}

/// One attempt, in the order that the rules ask for. Whatever fails, the keepers' transactions are left to [`release`].
pub(super) async fn attempt(
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

/// A temporary copy of a subscription's slot, in a session of its own.
async fn copied_slot(request: &Request<'_>) -> Result<Option<Session>> {
    if request.subscriptions.is_empty() {
        return Ok(None);
    }
    let source = slot::source(request.subscriptions)?;
    let session = (request.slot_session)().await?;
    slot::copy(&session, source).await?;
    Ok(Some(session))
}
