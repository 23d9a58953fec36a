//! A write load in the background, on a thread and a runtime of its own, so that it runs on whatever the test awaits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::time::MissedTickBehavior;
use tokio_postgres::Client;

use crate::database::Database;
use crate::error::{Error, Result};

/// Before a client tries again after an error, so that a stopped server is not hammered.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

/// What to write, and how fast.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Connections that write at the same time.
    pub clients: usize,
    /// Transactions in a second, all clients together; as fast as it goes where it is None.
    pub rate_per_second: Option<f64>,
    /// Scripts of one or more statements; each run of one is a transaction, unless the script says otherwise. They are picked at random.
    pub statements: Vec<String>,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadReport {
    /// Scripts that ran to their end.
    pub transactions: u64,
    /// Scripts that failed.
    pub errors: u64,
    /// How long the load ran.
    pub seconds: f64,
    /// The first failure's message.
    pub first_error: Option<String>,
}

/// A running load. It ends when it is dropped; [`Load::stop`] waits for the end.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<LoadReport>>,
}

impl Load {
    /// Starts writing. An error if nothing is to be written or there is no connection.
    pub async fn start(database: &Database, options: LoadOptions) -> Result<Self> {
        if options.statements.is_empty() || options.clients == 0 {
            return Err(Error::Task("a load needs at least one client and one statement".to_owned()));
        }
        drop(database.connect().await?);
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (database, stop) = (database.clone(), stop.clone());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| Error::Task(error.to_string()))?;
            std::thread::spawn(move || runtime.block_on(write(&database, &options, &stop)))
        };
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Ends the load after the transactions that are under way.
    pub async fn stop(mut self) -> Result<LoadReport> {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return Ok(LoadReport::default()) };
        let joined =
            tokio::task::spawn_blocking(move || thread.join()).await.map_err(|error| Error::Task(error.to_string()))?;
        joined.map_err(|_| Error::Task("the load panicked".to_owned()))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

async fn write(database: &Database, options: &LoadOptions, stop: &AtomicBool) -> LoadReport {
    let begin = Instant::now();
    let reports = join_all((0..options.clients).map(|number| client(database, options, stop, number))).await;
    let mut sum = LoadReport { seconds: begin.elapsed().as_secs_f64(), ..LoadReport::default() };
    for report in reports {
        sum.transactions += report.transactions;
        sum.errors += report.errors;
        sum.first_error = sum.first_error.or(report.first_error);
    }
    sum
}

/// One client's loop. After an error it starts over with a new connection.
async fn client(database: &Database, options: &LoadOptions, stop: &AtomicBool, number: usize) -> LoadReport {
    let mut report = LoadReport::default();
    let mut picks = Picks::new(number, options.statements.len());
    let mut ticks = options.rate_per_second.map(|rate| ticks(rate, options.clients));
    let mut connection: Option<Client> = None;
    while !stop.load(Ordering::Relaxed) {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        match one(database, &mut connection, &options.statements[picks.next()]).await {
            Ok(()) => report.transactions += 1,
            Err(error) => {
                connection = None;
                report.errors += 1;
                report.first_error.get_or_insert_with(|| error.to_string());
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
    report
}

async fn one(database: &Database, connection: &mut Option<Client>, script: &str) -> Result<()> {
    let client = match connection.take() {
        Some(client) => connection.insert(client),
        None => connection.insert(database.connect().await?),
    };
    client.batch_execute(script).await.map_err(|error| Error::sql(database.name(), script, &error))
}

/// The beat of one client. Late beats are made up for, so that the rate holds on average.
fn ticks(rate_per_second: f64, clients: usize) -> tokio::time::Interval {
    let clients = u32::try_from(clients).map_or(f64::from(u32::MAX), f64::from);
    let period = Duration::try_from_secs_f64(clients / rate_per_second).unwrap_or(Duration::from_secs(1));
    let mut interval = tokio::time::interval(period.max(Duration::from_micros(1)));
    interval.set_missed_tick_behavior(MissedTickBehavior::Burst);
    interval
}

/// Random picks that are the same in every run: xorshift64.
struct Picks {
    state: u64,
    of: u64,
}

impl Picks {
    fn new(seed: usize, of: usize) -> Self {
        Self { state: 0x9E37_79B9_7F4A_7C15 ^ ((seed as u64 + 1) << 20), of: of as u64 }
    }

    fn next(&mut self) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from((self.state >> 11) % self.of).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_reach_everything() {
        for seed in 0..8 {
            let mut picks = Picks::new(seed, 5);
            let mut seen = [0; 5];
            for _ in 0..1000 {
                seen[picks.next()] += 1;
            }
            assert!(seen.iter().all(|count| *count > 100), "{seen:?}");
        }
    }
}
