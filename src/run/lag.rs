//! `lag`: where both sides stand, how fast they move, and why not faster.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::assemble;
use super::exit;
use super::lag_outcome::{self, LagLevel, LagOutcome, UntilZero};
use super::lag_record::{LagHistory, LagRecord, RecordKey};
use super::lag_track::{Moment, Track, milliseconds, written};
use super::outcome::{SCHEMA_VERSION, Server};
use super::prepare::{interruptible, refuse_standby};
use super::servers::Servers;
use crate::catalog::{Feed, Finding, read_feeds};
use crate::config::LagConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::gate::{diagnosis, health};
use crate::side::Sides;

/// Time between two looks at the positions alone: a lag that is zero now and then is seen at zero.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);

/// Hears of every look, with the records to be kept of it.
pub type LagEvents<'a> = &'a mut (dyn FnMut(&LagOutcome, &[LagRecord]) -> Result<()> + Send);

/// Watches the lag: for one interval; until it is zero; or, with `watch`, until `stop` is cancelled.
///
/// `history` is what a log has told of former runs. The last look is returned, and `seen` has heard of it as well.
///
/// # Errors
/// Settings that make no sense for these servers, a server that cannot be reached, an error of `seen`. A session that is
/// lost later is opened again, except where nothing is waited for.
pub async fn lag(
    config: LagConfig,
    history: LagHistory,
    seen: LagEvents<'_>,
    stop: CancellationToken,
) -> Result<LagOutcome> {
    let mut watch = interruptible(&stop, Box::pin(Watch::begin(config, history))).await?;
    watch.run(seen, &stop).await
}

struct Watch {
    config: LagConfig,
    servers: Servers,
    names: Sides<Server>,
    feeds: Vec<Feed>,
    keys: Vec<RecordKey>,
    tracks: Vec<Track>,
    findings: Vec<Finding>,
    begun: Instant,
    reached: bool,
}

impl Watch {
    async fn begin(config: LagConfig, mut history: LagHistory) -> Result<Self> {
        let servers = Servers::connect(Arc::new(config.shared.clone())).await?;
        refuse_standby(&servers)?;
        let control = &servers.control;
        let requested = &config.shared.subscriptions;
        let (feeds, findings) = read_feeds(&control.publisher, &control.subscriber, requested).await?;
        let names = Sides::from_fn(|side| assemble::server_of(servers.facts.get(side), servers.endpoints().get(side)));
        let publisher = &names.publisher;
        let identity = publisher.system_identifier.clone();
        let identity = identity.unwrap_or_else(|| format!("{}:{}", publisher.host, publisher.port));
        let key = |feed: &Feed| RecordKey {
            publisher: identity.clone(),
            database: publisher.database.clone(),
            slot: feed.slot.clone(),
            subscription: feed.name.clone(),
        };
        let keys: Vec<_> = feeds.iter().map(key).collect();
        let track = |key| {
            let (zero, marks) = history.take(key);
            Track::new(zero, marks)
        };
        let tracks = keys.iter().map(track).collect();
        Ok(Self { config, servers, names, feeds, keys, tracks, findings, begun: Instant::now(), reached: false })
    }

    async fn run(&mut self, seen: LagEvents<'_>, stop: &CancellationToken) -> Result<LagOutcome> {
        let mut last: Option<LagOutcome> = None;
        for number in 1_u64.. {
            let until = Instant::now() + self.config.interval;
            match interruptible(stop, self.look()).await {
                Ok((outcome, records)) => {
                    seen(&outcome, &records)?;
                    last = Some(outcome);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => break,
                Err(error) if self.goes_on(&error) => self.reconnect(&error, stop).await,
                Err(error) => return Err(error),
            }
            let done = match self.config.until_zero {
                Some(timeout) => self.reached || self.begun.elapsed() >= timeout,
                None => !self.config.watch && number > 1,
            };
            if done {
                break;
            }
            match interruptible(stop, self.between(until)).await {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => break,
                Err(error) if self.goes_on(&error) => self.reconnect(&error, stop).await,
                Err(error) => return Err(error),
            }
        }
        let interrupted = stop.is_cancelled();
        match last {
            Some(outcome) => Ok(LagOutcome { interrupted, ..outcome }),
            None if interrupted => Err(Error::new(ErrorKind::Interrupted, "interrupted before anything was seen")),
            None => Err(Error::new(ErrorKind::Lost, "both servers were never seen at the same time")),
        }
    }

    /// Whether somebody waits for what comes, and it may still come.
    fn goes_on(&self, error: &Error) -> bool {
        let lost = matches!(error.kind(), ErrorKind::Lost | ErrorKind::Connect | ErrorKind::TimedOut);
        lost && (self.config.watch || self.config.until_zero.is_some())
    }

    /// Opens the sessions again; where that fails as well, the next look tells.
    async fn reconnect(&mut self, error: &Error, stop: &CancellationToken) {
        tracing::warn!(%error, "a session was lost; going on with new ones");
        let interval = self.config.interval;
        let again = async {
            tokio::time::sleep(interval).await;
            self.servers.reconnect().await
        };
        if let Err(error) = interruptible(stop, again).await {
            tracing::debug!(%error, "the servers cannot be reached yet");
        }
    }

    /// Looks at the positions alone until the next look is due, or all that is waited for is reached.
    async fn between(&mut self, until: Instant) -> Result<()> {
        let segment = self.servers.facts.publisher.wal_segment_bytes;
        let end = match self.config.until_zero {
            Some(timeout) => until.min(self.begun + timeout),
            None => until,
        };
        while Instant::now() < end && !self.reached {
            tokio::time::sleep(PROBE_INTERVAL.min(end.saturating_duration_since(Instant::now()))).await;
            let (insert, applied) = health::probe(&self.servers.control.publisher, &self.feeds, segment).await?;
            let at = Moment::now();
            let mut all = true;
            for (track, applied) in self.tracks.iter_mut().zip(applied) {
                all &= track.probe(at, insert, applied, self.config.zero_within);
            }
            self.reached = all && self.config.until_zero.is_some();
        }
        Ok(())
    }

    async fn look(&mut self) -> Result<(LagOutcome, Vec<LagRecord>)> {
        let control = &self.servers.control;
        let segment = self.servers.facts.publisher.wal_segment_bytes;
        let health = health::look(&control.publisher, &control.subscriber, &self.feeds, segment).await?;
        let at = Moment::now();
        let thresholds = self.config.thresholds;
        let tracks = self.tracks.iter_mut().zip(&health.feeds);
        let subscriptions: Vec<_> = tracks.map(|(track, feed)| track.look(at, &health, feed, &thresholds)).collect();
        let (wal_bytes_per_second, measured) = written(&self.tracks);
        self.reached |= self.config.until_zero.is_some() && subscriptions.iter().all(|one| one.lag_bytes == Some(0));
        let record = |(key, lag): (&RecordKey, &lag_outcome::SubscriptionLag)| LagRecord {
            schema_version: SCHEMA_VERSION,
            at: at.clock,
            about: key.clone(),
            publisher_lsn: health.insert,
            applied_lsn: lag.applied_lsn,
            lag_bytes: lag.lag_bytes,
            zero: lag.zero.reached,
        };
        let records = self.keys.iter().zip(&subscriptions).map(record).collect();
        let mut outcome = LagOutcome {
            schema_version: SCHEMA_VERSION,
            tool: assemble::tool(),
            level: subscriptions.iter().map(|one| one.level).max().unwrap_or(LagLevel::Unknown),
            exit_code: exit::UNPROVEN,
            interrupted: false,
            at: at.clock.to_string(),
            publisher: self.names.publisher.clone(),
            subscriber: self.names.subscriber.clone(),
            thresholds,
            measured_ms: milliseconds(measured),
            publisher_lsn: health.insert,
            wal_bytes_per_second,
            until_zero: self.config.until_zero.map(|timeout| UntilZero {
                timeout_ms: milliseconds(timeout),
                waited_ms: milliseconds(self.begun.elapsed()),
                reached: self.reached,
            }),
            subscriptions,
            causes: diagnosis::of_writers(&health.writers, Some(self.config.long_transaction)),
            findings: self.findings.clone(),
        };
        outcome.exit_code = lag_outcome::exit_code(&outcome);
        Ok((outcome, records))
    }
}
