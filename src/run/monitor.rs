//! Finds sessions that wait for ours.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::connect::Session;
use crate::error::Result;
use crate::side::Side;

/// Time between two looks.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How long somebody may wait for us once we have seen it; with [`LOOK_INTERVAL`] before it that makes two seconds.
const PATIENCE: Duration = Duration::from_millis(1500);

/// A job under way.
pub(crate) struct Running {
    pub(crate) side: Side,
    pub(crate) pid: i32,
    pub(crate) what: String,
    pub(crate) give_way: CancellationToken,
    blocking_since: Option<Instant>,
}

impl Running {
    pub(crate) fn new(side: Side, pid: i32, what: String) -> Self {
        Self { side, pid, what, give_way: CancellationToken::new(), blocking_since: None }
    }
}

/// Which of these processes somebody waits for, directly or in a queue of locks.
///
/// Only processes that wait for a lock are asked about: `pg_blocking_pids()` takes the lock manager's locks for a moment
/// (PostgreSQL manual, "Session Information Functions").
fn blocking_sql(pids: &[i32]) -> String {
    let pids: Vec<_> = pids.iter().map(i32::to_string).collect();
    format!(
        "SELECT DISTINCT blocker FROM (SELECT DISTINCT pid FROM pg_catalog.pg_locks WHERE NOT granted) w, \
         unnest(pg_catalog.pg_blocking_pids(w.pid)) blocker WHERE blocker IN ({}) AND NOT w.pid IN ({})",
        pids.join(", "),
        pids.join(", ")
    )
}

/// Looks at both servers, one question under way per side.
#[derive(Default)]
pub(crate) struct Monitor {
    looks: JoinSet<(Side, Result<Vec<i32>>)>,
    asked: Vec<Side>,
}

impl Monitor {
    /// Asks a side about the jobs under way there, unless the last question is still open.
    pub(crate) fn look<'a>(&mut self, session: &Arc<Session>, side: Side, running: impl Iterator<Item = &'a Running>) {
        let pids: Vec<_> = running.filter(|running| running.side == side).map(|running| running.pid).collect();
        if pids.is_empty() || self.asked.contains(&side) {
            return;
        }
        self.asked.push(side);
        let session = Arc::clone(session);
        self.looks.spawn(async move {
            let rows = session.rows_simple(&blocking_sql(&pids)).await;
            let parse = |rows: Vec<Vec<Option<String>>>| {
                rows.into_iter().flatten().flatten().filter_map(|pid| pid.parse().ok()).collect()
            };
            (side, rows.map(parse))
        });
    }

    /// The answer of a side; waits for ever while nothing is asked.
    pub(crate) async fn answer(&mut self) -> (Side, Result<Vec<i32>>) {
        loop {
            match self.looks.join_next().await {
                Some(Ok((side, answer))) => {
                    self.asked.retain(|&asked| asked != side);
                    return (side, answer);
                }
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }
}

/// Tells those that have blocked somebody for too long to give way, and returns what they were doing.
pub(crate) fn give_way<K>(running: &mut HashMap<K, Running>, side: Side, blocking: &[i32]) -> Vec<String> {
    let mut told = Vec::new();
    for running in running.values_mut().filter(|running| running.side == side) {
        if !blocking.contains(&running.pid) {
            running.blocking_since = None;
        } else if running.blocking_since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE
            && !running.give_way.is_cancelled()
        {
            running.give_way.cancel();
            told.push(running.what.clone());
        }
    }
    told
}
