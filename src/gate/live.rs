//! The sync point while writes continue: a publisher snapshot, a later subscriber snapshot, the position that it
//! corresponds to, and everything that changed in between.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::catalog::{ColumnPair, TablePair};
use crate::connect::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::gate::cut::{accept_publisher, accept_subscriber, bounds_of_origin, bounds_of_stream};
use crate::gate::keepers::{Keepers, Snapshot, export};
use crate::gate::observe::{self, Bracketed, unexpected};
use crate::gate::open::{Opened, Request, SyncPoint};
use crate::gate::rules::{Caught, NotYet, Progress, accept_caught_up};
use crate::gate::slot::{self, TempSlot};
use crate::gate::snapshot::SnapshotText;
use crate::gate::window::{Bounds, Watched, Window};
use crate::lsn::Lsn;
use crate::side::{Side, Sides};

/// Attempts to take a subscriber's snapshot whose position is known. Each takes about a millisecond, in which more changes.
const BRACKETS_MAX: u32 = 300;
/// Longest time for them.
const BRACKETS_TIME: Duration = Duration::from_secs(1);
/// Attempts where transactions are prepared on the subscriber: there they only narrow the bounds.
const BRACKETS_TWO_PHASE: u32 = 5;
/// How often the publisher's snapshot, or the subscriber's progress, is looked at again.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// How long decoding may go on when the time for the sync point is up: what is nearly there is not thrown away.
const DECODE_GRACE: Duration = Duration::from_secs(10);

/// Answers that the choice of a cut may take: about 30 MiB, and moments.
const UNDECIDED_MAX: usize = 100_000;

/// What a role needs to be told the position that the subscriber has applied.
const ORIGIN_GRANT: &str = "GRANT EXECUTE ON FUNCTION pg_catalog.pg_replication_origin_progress(text, boolean) on the \
    subscriber makes the position known exactly (exact: decoded window)";
/// Why the position of a subscription that prepares transactions stays one of a few.
const TWO_PHASE: &str = "a subscription commits in two phases, so that its exact position cannot be known";
/// What a role needs to follow the replay of a walsender.
const MONITOR_GRANT: &str = "GRANT pg_monitor on the publisher lets the replay of the walsender be followed; without it the \
    slot's confirmed position is waited for, which comes later";

/// How an attempt ended.
pub(crate) enum Attempt {
    Accepted(Box<Opened>),
    NotYet(NotYet, Lsn),
    /// The slot is spent.
    Undecodable(Error, Lsn),
    /// The slot is spent, and there are too many positions that the subscriber's snapshot may correspond to.
    Undecided(Lsn),
}

/// Waits, without any snapshot or slot, until the subscriber has applied what there was when the wait began: what is
/// behind by then makes the window.
pub(crate) async fn approach(
    control: Sides<&Session>,
    request: &Request<'_>,
    target: Lsn,
) -> Result<Result<(), NotYet>> {
    let progress =
        observe::progress(control.publisher, control.subscriber, request.subscriptions, request.wal_segment_bytes)
            .await?;
    Ok(accept_caught_up(&Caught { writers: &[], target, progress: &progress }))
}

/// One attempt with a slot. Unless it was accepted, and also where it failed, it is for the caller to end the keepers'
/// transactions.
pub(crate) async fn attempt(
    control: Sides<&Session>,
    keepers: &Keepers,
    slot: &TempSlot,
    request: &Request<'_>,
    deadline: Instant,
) -> Result<Attempt> {
    let segment = request.wal_segment_bytes;
    let suspects = observe::suspects(control.publisher, &slot.since).await?;
    let opened = Instant::now();
    let (publisher, target) = export(keepers, Side::Publisher, Some(segment)).await?;
    let target = target.ok_or_else(|| unexpected(control.publisher, "its position"))?;
    tracing::debug!(%target, "publisher's snapshot taken");
    let shown: SnapshotText = publisher.text.parse().map_err(|_| unexpected(control.publisher, "its snapshot"))?;
    // Who has got an identifier since the slot was made is no suspect.
    let suspects: Vec<_> = suspects.into_iter().filter(|suspect| slot.suspects.contains(&suspect.xid)).collect();
    if let Err(suspect) = accept_publisher(&suspects, &shown) {
        return Ok(Attempt::NotYet(NotYet::Committing { pid: suspect.pid }, target));
    }
    let before = match caught_up(control, request, target, deadline).await? {
        Ok(progress) => progress,
        Err(not_yet) => return Ok(Attempt::NotYet(not_yet, target)),
    };
    tracing::debug!("applied what it shows");
    let Taken { snapshot, bounds, exact, raise } = match subscriber(control, keepers, request, &before).await? {
        Ok(taken) => taken,
        Err(not_yet) => return Ok(Attempt::NotYet(not_yet, target)),
    };
    let upto = bounds.iter().map(|bounds| bounds.upto).max().unwrap_or(target);
    tracing::debug!(exact, ?bounds, "subscriber's snapshot taken");
    let mut window = Window::new(shown, watched(request.tables), bounds);
    let decoded = if upto == Lsn::default() {
        // Nothing was ever applied. To the server this position means no end, and it would go on for as long as others write.
        Ok(())
    } else {
        let decode = observe::decode(&slot.session, &slot.name, request.subscriptions, upto, &mut window);
        match tokio::time::timeout_at((deadline + DECODE_GRACE).into(), decode).await {
            Ok(decoded) => decoded,
            Err(_) => Err(Error::new(ErrorKind::TimedOut, "decoding them takes too long: raise --lag-timeout")),
        }
    };
    match decoded {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::Lost => return Err(error),
        Err(error) => return Ok(Attempt::Undecodable(error, target)),
    }
    tracing::debug!(transactions = window.transactions(), "window decoded");
    if window.undecided() > UNDECIDED_MAX {
        return Ok(Attempt::Undecided(target));
    }
    Ok(Attempt::Accepted(Box::new(Opened {
        point: SyncPoint {
            id: request.id,
            snapshots: Sides { publisher, subscriber: snapshot },
            publisher_lsn: Some(target),
            applied_lsn: window.bounds().iter().map(|bounds| bounds.certain).min(),
            lag_bytes: Some(0),
            proof: if exact { "exact: decoded window" } else { "exact: candidate cut" }.to_owned(),
            raise,
            in_flight: (window.transactions(), 0),
            decoded_bytes: Some(slot.behind),
            waited: Duration::ZERO,
            opened,
        },
        window: Some(window),
        since: None,
    })))
}

fn watched(tables: &[TablePair]) -> HashMap<u32, Watched> {
    let watched = tables.iter().filter_map(|pair| {
        let carried = |column: &ColumnPair| column.computed.is_none().then(|| column.name.clone());
        let columns = pair.columns.iter().map(carried).collect();
        let unsent_identity = pair.unsent_identity.clone();
        let watched = Watched { subscription: pair.subscription?, columns, unsent_identity };
        Some((pair.relations.publisher.oid, watched))
    });
    watched.collect()
}

/// Waits until everything that the publisher's snapshot shows is applied and visible on the subscriber.
pub(crate) async fn caught_up(
    control: Sides<&Session>,
    request: &Request<'_>,
    target: Lsn,
    deadline: Instant,
) -> Result<Result<Vec<Progress>, NotYet>> {
    loop {
        let progress =
            observe::progress(control.publisher, control.subscriber, request.subscriptions, request.wal_segment_bytes)
                .await?;
        match accept_caught_up(&Caught { writers: &[], target, progress: &progress }) {
            Ok(()) => return Ok(Ok(progress)),
            Err(not_yet) if Instant::now() >= deadline => return Ok(Err(not_yet)),
            Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(POLL_INTERVAL) => {}
            () = request.stop.cancelled() => return Err(Error::new(ErrorKind::Interrupted, "interrupted while waiting for the sync point")),
        }
    }
}

struct Taken {
    snapshot: Snapshot,
    bounds: Vec<Bounds>,
    /// Whether the position of every subscription is known.
    exact: bool,
    /// What would make more known.
    raise: Option<String>,
}

/// The subscriber's snapshot, and what is known of its position.
async fn subscriber(
    control: Sides<&Session>,
    keepers: &Keepers,
    request: &Request<'_>,
    before: &[Progress],
) -> Result<Result<Taken, NotYet>> {
    let taken = match bracketed(keepers, request).await {
        Ok(taken) => taken,
        Err(error) if error.kind() == ErrorKind::Permission => {
            tracing::debug!(%error, "the position of the replication origin may not be asked for");
            keepers.sessions.subscriber.batch("ROLLBACK").await?;
            let (snapshot, _) = export(keepers, Side::Subscriber, None).await?;
            let raise = Some(ORIGIN_GRANT.to_owned());
            Taken { snapshot, bounds: Vec::new(), exact: false, raise }
        }
        Err(error) => return Err(error),
    };
    let after = match followed(control, request).await? {
        Ok(progress) => progress,
        Err(not_yet) => return Ok(Err(not_yet)),
    };
    let mut taken = taken;
    if after.iter().any(|progress| progress.replay_hidden) {
        let others = taken.raise.take().map(|others| format!("; {others}")).unwrap_or_default();
        taken.raise = Some(format!("{MONITOR_GRANT}{others}"));
    }
    if !taken.bounds.is_empty() {
        return Ok(Ok(taken));
    }
    let bounds = before.iter().zip(&after).map(|(before, after)| {
        bounds_of_stream(before.replayed.unwrap_or_default(), after.received.unwrap_or_default())
    });
    Ok(Ok(Taken { bounds: bounds.collect(), ..taken }))
}

/// Whether all subscriptions still follow this publisher, after the subscriber's snapshot.
pub(crate) async fn followed(control: Sides<&Session>, request: &Request<'_>) -> Result<Result<Vec<Progress>, NotYet>> {
    let segment = request.wal_segment_bytes;
    let after = observe::progress(control.publisher, control.subscriber, request.subscriptions, segment).await?;
    let end = observe::insert_position(control.publisher, segment).await?;
    for progress in &after {
        let subscription = progress.subscription.clone();
        if progress.tables_not_ready > 0 {
            return Ok(Err(NotYet::NotReady { subscription, tables: progress.tables_not_ready }));
        }
        match progress.received {
            Some(received) if received > end => {
                return Ok(Err(NotYet::ForeignPosition { subscription, received, publisher: end }));
            }
            Some(_) => {}
            // Without its worker nothing says how far it had received.
            None => return Ok(Err(NotYet::Behind { subscription, target: end, replayed: None })),
        }
    }
    Ok(Ok(after))
}

/// Takes snapshots until one is accepted, or time is up: then the last one, with the bounds of its position.
async fn bracketed(keepers: &Keepers, request: &Request<'_>) -> Result<Taken> {
    let session = &keepers.sessions.subscriber;
    let two_phase = request.subscriptions.iter().any(|subscription| subscription.two_phase);
    let most = if two_phase { BRACKETS_TWO_PHASE } else { BRACKETS_MAX };
    let begun = Instant::now();
    for attempt in 1.. {
        let Bracketed { snapshot, exported, brackets } = observe::bracket(session, request.subscriptions).await?;
        // COMMIT PREPARED runs without an identifier of the worker's own, so that nothing shows whether it has ended.
        let exact: Option<Vec<Lsn>> =
            brackets.iter().map(|bracket| accept_subscriber(bracket, &snapshot).filter(|_| !two_phase)).collect();
        let taken = |bounds, exact| {
            let snapshot = Snapshot { exported: exported.clone(), text: snapshot.to_string() };
            Taken { snapshot, bounds, exact, raise: two_phase.then(|| TWO_PHASE.to_owned()) }
        };
        if let Some(cuts) = exact {
            return Ok(taken(cuts.into_iter().map(Bounds::exact).collect(), true));
        }
        if attempt >= most || begun.elapsed() >= BRACKETS_TIME || request.stop.is_cancelled() {
            return Ok(taken(brackets.iter().map(bounds_of_origin).collect(), false));
        }
        session.batch("ROLLBACK").await?;
    }
    Err(unexpected(session, "a snapshot"))
}

/// Makes the temporary slot that the window is decoded from.
pub(crate) async fn slot(control: Sides<&Session>, request: &Request<'_>) -> Result<TempSlot> {
    slot::make(control.publisher, slot::source(request.subscriptions)?, request).await
}
