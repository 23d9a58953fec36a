//! pgbench's TPC-B on a publisher: one row of `pgbench_branches` is in every transaction, `pgbench_history` has no key.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::database::Database;
use crate::error::{Error, Result};
use crate::installation::find_client;
use crate::launch;
use crate::replicated::Replicated;

/// Longer than any run: it is ended by [`Pgbench::stop`].
const SECONDS_MAX: &str = "86400";
/// How long its sessions may take to go once it is gone.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How much is written.
#[derive(Clone, Copy, Debug)]
pub struct PgbenchOptions {
    /// Connections that write at the same time.
    pub clients: usize,
    /// Transactions in a second, all clients together; as fast as it goes where it is None.
    pub rate_per_second: Option<f64>,
}

/// What pgbench said about one second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Second {
    /// When it said so.
    pub at: Instant,
    /// Transactions in that second.
    pub transactions: f64,
    /// Their mean latency in milliseconds, from when they began: what they were late by is the machine's, not the server's.
    pub latency_ms: f64,
}

/// A running pgbench. It ends when it is dropped.
#[derive(Debug)]
pub struct Pgbench {
    child: Child,
    database: Database,
    seconds: Arc<Mutex<Vec<Second>>>,
}

impl Pgbench {
    /// Creates its tables at scale 1 on both sides, with rows on the publisher, before replication begins.
    pub async fn create(database: &Replicated) -> Result<()> {
        for (side, steps) in [(&database.publisher, "dtgp"), (&database.subscriber, "dtp")] {
            let mut command = command(side)?;
            command.args(["-i", "-q", "-s", "1", "-I", steps, side.name()]);
            tokio::task::spawn_blocking(move || launch::run(&mut command))
                .await
                .map_err(|error| Error::Task(error.to_string()))??;
        }
        Ok(())
    }

    /// Starts writing.
    pub fn start(database: &Database, options: PgbenchOptions) -> Result<Self> {
        let mut command = command(database)?;
        command.args(["-n", "-P", "1", "-T", SECONDS_MAX, "-c", &options.clients.to_string()]);
        if let Some(rate) = options.rate_per_second {
            command.arg(format!("--rate={rate:.2}"));
        }
        command.arg(database.name()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(Error::io("start", "pgbench"))?;
        let seconds = Arc::<Mutex<Vec<Second>>>::default();
        if let Some(stderr) = child.stderr.take() {
            let seconds = seconds.clone();
            // Ends with the pipe.
            std::thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    if let Some((transactions, latency_ms)) = progress(&line) {
                        let second = Second { at: Instant::now(), transactions, latency_ms };
                        seconds.lock().unwrap_or_else(PoisonError::into_inner).push(second);
                    }
                }
            });
        }
        Ok(Self { child, database: database.clone(), seconds })
    }

    /// What it has said so far.
    pub fn seconds(&self) -> Vec<Second> {
        self.seconds.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it still writes: it ends by itself when all its clients have failed.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it and waits until the server has noticed; returns what it said.
    pub async fn stop(mut self) -> Result<Vec<Second>> {
        self.end();
        let deadline = Instant::now() + TIMEOUT;
        let left =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pgbench'";
        while self.database.value(left).await? != "0" {
            if Instant::now() > deadline {
                return Err(Error::Timeout {
                    waited_for: "pgbench's sessions to end".to_owned(),
                    after: TIMEOUT,
                    seen: "some are left".to_owned(),
                });
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(self.seconds())
    }

    fn end(&mut self) {
        // Fails only for a process that is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Pgbench {
    fn drop(&mut self) {
        self.end();
    }
}

/// The mean latency in milliseconds of all transactions between two moments; `None` where there were none.
pub fn latency_between(seconds: &[Second], from: Instant, to: Instant) -> Option<f64> {
    let within = seconds.iter().filter(|second| second.transactions > 0.0 && second.at > from && second.at <= to);
    let (sum, transactions) = within.fold((0.0, 0.0), |(sum, transactions), second| {
        (sum + second.latency_ms * second.transactions, transactions + second.transactions)
    });
    (transactions > 0.0).then(|| sum / transactions)
}

/// pgbench, told where the server is; the database's name has to come last.
fn command(database: &Database) -> Result<Command> {
    let program: PathBuf = find_client("pgbench").ok_or_else(|| Error::Command {
        command: "pgbench".to_owned(),
        output: "there is none: install the Debian package postgresql-contrib or put it into PATH".to_owned(),
    })?;
    let mut command = Command::new(program);
    launch::clean(&mut command);
    command.arg("-h").arg(database.socket_dir()).args(["-p", &database.port().to_string(), "-U", "postgres"]);
    Ok(command)
}

/// Transactions per second and latency in milliseconds, from a line like
/// `progress: 3.0 s, 512.0 tps, lat 15.6 ms stddev 3.1, 0 failed, lag 0.5 ms`.
fn progress(line: &str) -> Option<(f64, f64)> {
    let rest = line.strip_prefix("progress: ")?;
    let number = |after: &str, before: &str| -> Option<f64> {
        rest.split(", ").find_map(|part| part.strip_prefix(after)?.split(before).next()?.trim().parse().ok())
    };
    let rate = rest.split(", ").find_map(|part| part.strip_suffix(" tps")?.parse().ok())?;
    // With a rate, the latency counts from when a transaction was due.
    Some((rate, number("lat ", " ms")? - number("lag ", " ms").unwrap_or(0.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_lines_are_read() {
        let line = "progress: 3.0 s, 512.0 tps, lat 15.626 ms stddev 3.101, 0 failed, lag 0.5 ms";
        let (rate, latency) = progress(line).unwrap();
        assert!(rate == 512.0 && (latency - 15.126).abs() < 1e-9, "{rate} {latency}");
        assert_eq!(progress("progress: 3.0 s, 0.0 tps, lat -nan ms stddev -nan").map(|(rate, _)| rate), Some(0.0));
        assert_eq!(progress("pgbench (15.18)"), None);
    }

    #[test]
    fn latencies_are_weighed_by_transactions() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let second = |seconds: u64, transactions, latency_ms| Second { at: at(seconds), transactions, latency_ms };
        let seconds = [second(1, 100.0, 1.0), second(2, 300.0, 5.0), second(3, 100.0, 100.0)];
        assert_eq!(latency_between(&seconds, at(0), at(2)), Some(4.0));
        assert_eq!(latency_between(&seconds, at(3), at(4)), None);
    }
}
