//! Settles the rows that were set aside, by looking at them on the publisher, on the subscriber, and on the publisher again
//! ([`crate::gate::recheck`]), until they have held still for once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::catalog::Catalog;
use crate::compare::{Case, Pending, Proven};
use crate::config::Config;
use crate::connect::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::gate;
use crate::gate::recheck::{Seen, Version, enclose, pass};
use crate::gate::window::Values;
use crate::run::servers::Servers;
use crate::scan::{SampledRow, SeenRow, evaluate, versions};
use crate::side::{Side, Sides};

/// How often a key is looked at. One that is rewritten every 10 ms holds still for a round of 5 ms in some of them.
const ROUNDS_MAX: u32 = 60;
/// Longest time for all rounds together, besides `--lag-timeout`.
const TIME_MAX: Duration = Duration::from_secs(60);
/// Pauses between rounds double from here to there: what did not hold still just now will rather do so later.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Keys in one statement.
const KEYS_PER_STATEMENT: usize = 1000;
/// Keys of a table that are looked at in one round: what is seen of them is kept in memory until its end.
const KEYS_PER_ROUND: usize = 20_000;
/// Longest time for a question to a server: no monitor looks whether anybody waits behind it.
const QUESTION_TIMEOUT_MS: u32 = 2000;

/// What a look at a side saw of each table: the versions of each key, or why it saw nothing.
type Look = Vec<Result<Vec<Vec<Version>>>>;

/// Settles what the cases have set aside. What is not settled in the end never held still.
pub(crate) async fn settle(
    servers: &Servers,
    catalog: &Catalog,
    config: &Config,
    stop: &CancellationToken,
    cases: &mut [&mut Case],
) -> Result<()> {
    let request = gate::Request {
        id: 0,
        mode: config.gate,
        subscriptions: &catalog.subscriptions,
        tables: &catalog.tables,
        wal_segment_bytes: catalog.servers.publisher.wal_segment_bytes,
        timeout: config.lag_timeout,
        stop,
        waiting: &|_, _| {},
        slot_session: &|| servers.slot_session(),
    };
    let deadline = Instant::now() + config.lag_timeout.min(TIME_MAX);
    let (publisher, subscriber) =
        futures::future::try_join(servers.scan(Side::Publisher, 0), servers.scan(Side::Subscriber, 0)).await?;
    let sessions = Sides::new(publisher, subscriber);
    let mut pending: Vec<(usize, Pending)> =
        (0..).zip(cases.iter()).filter_map(|(at, case)| Some((at, case.pending()?))).collect();
    let mut wait = PAUSE_MIN;
    for _ in 0..ROUNDS_MAX {
        let open: Vec<&mut Pending> =
            pending.iter_mut().map(|(_, pending)| pending).filter(|pending| !pending.keys().is_empty()).collect();
        if open.is_empty() || Instant::now() >= deadline || !round(servers, &sessions, &request, open, deadline).await?
        {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return Err(Error::new(ErrorKind::Interrupted, "interrupted while changed rows were looked at again")),
        }
        wait = (wait * 2).min(PAUSE_MAX);
    }
    for (at, pending) in pending {
        if let Some(case) = cases.get_mut(at) {
            case.rechecked(pending.finish());
        }
    }
    Ok(())
}

/// One sandwich around the keys that are open. False if there is no time for it.
async fn round(
    servers: &Servers,
    sessions: &Sides<Session>,
    request: &gate::Request<'_>,
    open: Vec<&mut Pending>,
    deadline: Instant,
) -> Result<bool> {
    let control = servers.control.as_ref().map(AsRef::as_ref);
    let before = look(&sessions.publisher, &open).await?;
    if !pass(control, request, deadline).await? {
        return Ok(false);
    }
    let subscriber = look(&sessions.subscriber, &open).await?;
    if !enclose(control, request, deadline).await? {
        return Ok(false);
    }
    let after = look(&sessions.publisher, &open).await?;
    for (pending, ((before, subscriber), after)) in open.into_iter().zip(before.into_iter().zip(subscriber).zip(after))
    {
        let (before, subscriber, after) = match (before, subscriber, after) {
            (Ok(before), Ok(subscriber), Ok(after)) => (before, subscriber, after),
            (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => {
                tracing::debug!(table = %pending.table.pair.name, %error, "changed rows could not be looked at");
                continue;
            }
        };
        let seen = before.into_iter().zip(subscriber).zip(after);
        let seen = seen.map(|((before, subscriber), after)| Seen { before, subscriber, after }).collect();
        let mut proven = pending.absorb(seen);
        while !proven.is_empty() {
            let rest = proven.split_off(proven.len().min(pending.batch_size()));
            name(sessions, pending, proven).await?;
            proven = rest;
        }
    }
    Ok(true)
}

/// Looks at the open keys of all tables on one side, table by table, so that no lock is held for long.
async fn look(session: &Session, open: &[&mut Pending]) -> Result<Look> {
    let mut seen = Vec::with_capacity(open.len());
    for pending in open {
        let keys = pending.keys();
        let keys = keys.get(..keys.len().min(KEYS_PER_ROUND)).unwrap_or_default();
        seen.push(match look_at(session, pending, keys).await {
            Err(error) if matches!(error.kind(), ErrorKind::Lost | ErrorKind::Connect | ErrorKind::Corrupt) => {
                return Err(error);
            }
            seen => seen,
        });
    }
    Ok(seen)
}

async fn look_at(session: &Session, pending: &Pending, keys: &[&Values]) -> Result<Vec<Vec<Version>>> {
    let mut all = Vec::with_capacity(keys.len());
    for keys in keys.chunks(KEYS_PER_STATEMENT) {
        let mut seen = vec![Vec::new(); keys.len()];
        let rows = versions(session, &pending.table, &pending.identity, keys, false, QUESTION_TIMEOUT_MS).await?;
        for SeenRow { number, version, .. } in rows {
            let of_key = seen
                .get_mut(number)
                .ok_or_else(|| Error::new(ErrorKind::Corrupt, "a lookup has an answer to no question"))?;
            of_key.push(version);
        }
        seen.iter_mut().for_each(|versions| versions.sort_unstable());
        all.append(&mut seen);
    }
    Ok(all)
}

/// Reads differing rows once more, for their texts and their differing columns.
async fn name(sessions: &Sides<Session>, pending: &mut Pending, proven: Vec<Proven>) -> Result<()> {
    let keys: HashMap<&Values, ()> = proven.iter().map(|proven| (&proven.key, ())).collect();
    let keys: Vec<&Values> = keys.into_keys().collect();
    let mut rows = Sides::<Vec<(Version, SampledRow)>>::default();
    for side in Side::BOTH {
        match versions(sessions.get(side), &pending.table, &pending.identity, &keys, true, QUESTION_TIMEOUT_MS).await {
            Ok(seen) => {
                let seen = seen.into_iter().filter_map(|seen| Some((seen.version, seen.row?)));
                rows.get_mut(side).extend(seen);
            }
            Err(error) if matches!(error.kind(), ErrorKind::Lost | ErrorKind::Connect) => return Err(error),
            Err(error) => tracing::debug!(table = %pending.table.pair.name, %error, "differing rows could not be read"),
        }
    }
    if let Some((naming, questions)) = pending.describe(proven, rows) {
        let answers = evaluate(&sessions.publisher, &questions).await?;
        pending.named(naming, &answers);
    }
    Ok(())
}
