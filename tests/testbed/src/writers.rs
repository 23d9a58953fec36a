//! pgbench and the mixed load side by side, at a share of what the subscriber can apply.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::load::{Load, LoadOptions, LoadReport};
use crate::pgbench::{Pgbench, PgbenchOptions, Second};
use crate::replicated::Replicated;
use crate::{mixed, quote};

/// Clients of pgbench: all of them want the one row of `pgbench_branches`.
const PGBENCH_CLIENTS: usize = 8;
/// Clients of the mixed load.
const MIXED_CLIENTS: usize = 4;
/// Between two looks at how far replay is.
const POLL_INTERVAL: Duration = Duration::from_millis(2);
/// How long replay may take to come to where the publisher is.
const LAG_TIMEOUT: Duration = Duration::from_secs(300);

/// Transactions in a second; `None` is as fast as it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Of pgbench.
    pub pgbench: Option<f64>,
    /// Of the mixed load.
    pub mixed: Option<f64>,
}

/// What both sides can do at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Capacity {
    /// Transactions in a second that pgbench wrote at full speed.
    pub pgbench: f64,
    /// The same of the mixed load.
    pub mixed: f64,
    /// The share of it that was applied meanwhile, at most 1.
    pub applied: f64,
}

impl Capacity {
    /// The rates that make this share of what can be applied.
    pub fn share(&self, share: f64) -> Rates {
        let rate = |written: f64| Some((written * self.applied * share).max(1.0));
        Rates { pgbench: rate(self.pgbench), mixed: rate(self.mixed) }
    }
}

/// A running write load. It ends when it is dropped.
#[derive(Debug)]
pub struct Writers {
    pgbench: Pgbench,
    mixed: Load,
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// pgbench's seconds.
    pub pgbench: Vec<Second>,
    /// The mixed load's report.
    pub mixed: LoadReport,
}

impl Writers {
    /// Makes what they write to, and replicates nothing yet.
    pub async fn create(database: &Replicated) -> Result<()> {
        Pgbench::create(database).await?;
        mixed::create(database).await
    }

    /// Starts both.
    pub async fn start(database: &Replicated, rates: Rates) -> Result<Self> {
        let options =
            LoadOptions { clients: MIXED_CLIENTS, rate_per_second: rates.mixed, statements: mixed::write_load() };
        let mixed = Load::start(&database.publisher, options).await?;
        let options = PgbenchOptions { clients: PGBENCH_CLIENTS, rate_per_second: rates.pgbench };
        Ok(Self { pgbench: Pgbench::start(&database.publisher, options)?, mixed })
    }

    /// What pgbench has said so far.
    pub fn seconds(&self) -> Vec<Second> {
        self.pgbench.seconds()
    }

    /// An error if pgbench has given up.
    pub fn check(&mut self) -> Result<()> {
        let gave_up = || Error::Task("pgbench ended by itself: all its clients failed".to_owned());
        if self.pgbench.is_running() { Ok(()) } else { Err(gave_up()) }
    }

    /// Ends both after what is under way.
    pub async fn stop(self) -> Result<Written> {
        let pgbench = self.pgbench.stop().await?;
        Ok(Written { pgbench, mixed: self.mixed.stop().await? })
    }
}

/// Writes at full speed for a while and looks how much of it is applied meanwhile. Returns when all of it is.
pub async fn measure_capacity(database: &Replicated, time: Duration) -> Result<Capacity> {
    database.catch_up().await?;
    let before = positions(database).await?;
    let begun = Instant::now();
    let writers = Writers::start(database, Rates::default()).await?;
    tokio::time::sleep(time).await;
    let after = positions(database).await?;
    let written = writers.stop().await?;
    let seconds = begun.elapsed().as_secs_f64();
    let bytes = |from: f64, to: f64| (to - from).max(1.0);
    let applied = bytes(before.replayed, after.replayed) / bytes(before.written, after.written);
    lag(database).await?;
    Ok(Capacity {
        pgbench: written.pgbench.iter().map(|second| second.transactions).sum::<f64>() / seconds,
        mixed: written.mixed.transactions as f64 / seconds,
        applied: applied.min(1.0),
    })
}

/// How long it takes until what is written at this moment is replayed.
pub async fn lag(database: &Replicated) -> Result<Duration> {
    let begun = Instant::now();
    let written = positions(database).await?.written;
    let client = database.publisher.connect().await?;
    let sql = positions_sql(database);
    loop {
        let rows = database.publisher.rows_on(&client, &sql).await?;
        if read(&rows).is_some_and(|positions| positions.replayed >= written) {
            return Ok(begun.elapsed());
        }
        if begun.elapsed() > LAG_TIMEOUT {
            return Err(Error::Timeout {
                waited_for: format!("slot {} to replay byte {written}", database.slot_name()),
                after: LAG_TIMEOUT,
                seen: format!("{rows:?}"),
            });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

struct Positions {
    written: f64,
    replayed: f64,
}

/// Both positions in bytes; 40 bytes of a segment's header are never replayed alone, 24 of a page's neither.
fn positions_sql(database: &Replicated) -> String {
    format!(
        "SELECT (w - CASE WHEN w % 16777216 = 40 THEN 40 WHEN w % 8192 = 24 THEN 24 ELSE 0 END)::text, pg_wal_lsn_diff(r.replay_lsn, '0/0')::text \
         FROM (SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0') AS w) AS here, \
         pg_replication_slots s JOIN pg_stat_replication r ON r.pid = s.active_pid WHERE s.slot_name = {}",
        quote::literal(&database.slot_name())
    )
}

fn read(rows: &[Vec<Option<String>>]) -> Option<Positions> {
    let number = |column: usize| rows.first()?.get(column)?.as_deref()?.parse::<f64>().ok();
    Some(Positions { written: number(0)?, replayed: number(1)? })
}

async fn positions(database: &Replicated) -> Result<Positions> {
    let sql = positions_sql(database);
    let rows = database.publisher.rows(&sql).await?;
    read(&rows).ok_or_else(|| Error::Task(format!("slot {} has no walsender", database.slot_name())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_of_what_is_applied() {
        let capacity = Capacity { pgbench: 1000.0, mixed: 200.0, applied: 0.5 };
        assert_eq!(capacity.share(0.8), Rates { pgbench: Some(400.0), mixed: Some(80.0) });
    }
}
