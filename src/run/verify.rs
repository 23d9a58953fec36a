//! `verify`: from two connection strings to an outcome.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::catalog::{Catalog, SequencePair, TablePair};
use crate::compare::{Case, ChunkRecord, Settings, Suspecting};
use crate::config::{Config, GateMode};
use crate::error::{ErrorKind, Result};
use crate::gate::window::{Touched, Window};
use crate::gate::{self, Keepers, NotReached, Opened, SyncPoint};
use crate::run::assemble::{self, Settled};
use crate::run::cuts;
use crate::run::epoch::{Closed, Epoch, Idle, Progress, TouchedTables};
use crate::run::event::{Event, Events};
use crate::run::outcome::Outcome;
use crate::run::prepare::{Basis, contexts, interruptible, limits, read_catalog, refuse_standby};
use crate::run::recheck;
use crate::run::sequences;
use crate::run::servers::Servers;
use crate::side::{Side, Sides};
use crate::sql::QualifiedName;
use crate::verdict::Reason;

/// Sync points of a run at most: a run that makes no headway must end. With the default age they span weeks.
const SYNC_POINTS_MAX: u32 = 4096;
/// How often a run goes on after all its sessions of a side were lost.
const RECOVERIES_MAX: u32 = 3;
/// How often the catalog may change while the first sync point is waited for.
const CATALOG_CHANGES_MAX: u32 = 10;
/// Pause before sessions are opened anew after they were lost: a restart of a server takes a moment.
const RECOVERY_PAUSE: Duration = Duration::from_secs(5);

/// An outcome and the ledger of chunks that belongs to it.
#[derive(Debug, Clone)]
pub struct Verified {
    /// What was found.
    pub outcome: Outcome,
    /// Every chunk that was compared, where [`Config::ledger`] asks for them; else empty.
    pub chunks: Vec<ChunkRecord>,
}

/// Compares a publisher and a subscriber.
///
/// Cancelling `stop` ends the run soon, with the verdict so far and [`Outcome::interrupted`] set.
///
/// # Errors
/// Where no verdict was begun: settings that make no sense for these servers, a server that cannot be reached, nothing
/// selected. Everything that goes wrong later is in the outcome.
pub async fn verify(config: Config, events: Events, stop: CancellationToken) -> Result<Verified> {
    let started = (jiff::Timestamp::now(), Instant::now());
    let config = Arc::new(config);
    let servers = interruptible(&stop, Servers::connect(Arc::clone(&config))).await?;
    let name = |side: Side| {
        let (endpoint, facts) = (servers.endpoints().get(side), servers.facts.get(side));
        format!("{endpoint}/{} (PostgreSQL {})", facts.database, facts.version)
    };
    let settings = Settings {
        samples: config.samples,
        show_values: config.show_values,
        ledger: config.ledger,
        limits: limits(&config),
    };
    events(Event::Connected { publisher: name(Side::Publisher), subscriber: name(Side::Subscriber) });
    if config.gate != GateMode::None {
        refuse_standby(&servers)?;
    }
    let catalog = interruptible(&stop, read_catalog(&servers, &config)).await?;
    events(Event::Catalogued { tables: catalog.tables.len(), findings: catalog.findings.clone() });
    let cases = contexts(&catalog, &config, servers.hashing.as_ref())
        .map(|table| Progress::Open(Box::new(Case::new(table, settings))));
    let mut run = Run {
        tables: cases.collect(),
        points: Vec::new(),
        not_reached: None,
        sequences: None,
        config,
        catalog,
        servers,
        events,
        bytes: Arc::default(),
        aside: Arc::default(),
        stop,
        settings,
        confirmed: false,
        catalog_changes: 0,
    };
    let interrupted = run.all_sync_points().await;
    Ok(run.finish(started, interrupted))
}

struct Run {
    config: Arc<Config>,
    servers: Servers,
    catalog: Catalog,
    tables: Vec<Progress>,
    points: Vec<(SyncPoint, Closed)>,
    not_reached: Option<NotReached>,
    /// The sequences, and their states once they were read.
    sequences: Option<(Vec<SequencePair>, Sides<Vec<sequences::State>>)>,
    events: Events,
    /// Bytes received by COPY so far.
    bytes: Arc<AtomicU64>,
    /// Bytes of the keys that tables have set aside.
    aside: Arc<AtomicUsize>,
    stop: CancellationToken,
    settings: Settings,
    /// The catalog was the same before the snapshots of a sync point were taken and after.
    confirmed: bool,
    catalog_changes: u32,
}

impl Run {
    /// Sync points in turn until every table is settled. True if the run was interrupted.
    async fn all_sync_points(&mut self) -> bool {
        let mut idle = Idle::default();
        let mut recoveries = 0;
        for id in 1..=SYNC_POINTS_MAX {
            match self.sync_point(id, &mut idle).await {
                Ok(true) => return false,
                Ok(false) => recoveries = 0,
                Err(error) if error.kind() == ErrorKind::Interrupted || self.stop.is_cancelled() => {
                    self.give_up(Reason::Interrupted, "the run was interrupted before this was settled");
                    return true;
                }
                Err(error) if recoveries < RECOVERIES_MAX && recoverable(error.kind()) => {
                    tracing::warn!(%error, "sessions were lost; going on with new ones");
                    recoveries += 1;
                    idle = Idle::default();
                    let reconnected = async {
                        tokio::time::sleep(RECOVERY_PAUSE).await;
                        self.servers.reconnect().await
                    };
                    match interruptible(&self.stop, reconnected).await {
                        Ok(()) => {}
                        Err(error) => tracing::warn!(%error, "the servers cannot be reached yet"),
                    }
                }
                Err(error) => {
                    let reason = if recoverable(error.kind()) { Reason::ConnectionLost } else { Reason::ServerError };
                    self.give_up(reason, &error.to_string());
                    return false;
                }
            }
        }
        self.give_up(Reason::SnapshotAge, "more sync points were needed than a run may take");
        false
    }

    fn give_up(&mut self, reason: Reason, message: &str) {
        for table in &mut self.tables {
            if let Progress::Open(case) = table {
                case.give_up(reason, message);
            }
        }
    }

    fn all_settled(&self) -> bool {
        self.tables.iter().all(|table| matches!(table, Progress::Done(_)))
    }

    /// One sync point from its opening to its closing. True if nothing is left to do.
    async fn sync_point(&mut self, id: u32, idle: &mut Idle) -> Result<bool> {
        if self.confirmed && self.config.gate == GateMode::Live {
            // The window is decoded for the tables as they are; that they still are is seen afterwards.
            match interruptible(&self.stop, read_catalog(&self.servers, &self.config)).await {
                Ok(now) if now.same_shape(&self.catalog) => {}
                Ok(now) => self.adopt(now),
                Err(error) if error.kind() == ErrorKind::Changed => {}
                Err(error) => return Err(error),
            }
        }
        let mut keepers = interruptible(&self.stop, self.servers.keepers()).await?;
        let opened = interruptible(&self.stop, self.open(id, &mut keepers)).await?;
        let Opened { mut point, window, since } = match opened {
            Ok(opened) => opened,
            Err(not_reached) => {
                self.give_up(Reason::GateNotReached, &not_reached.message);
                self.not_reached = Some(not_reached);
                return Ok(true);
            }
        };
        if !self.confirm_catalog().await? {
            keepers.close().await?;
            return Ok(self.all_settled());
        }
        let touched = match window {
            Some(window) => self.settle(&mut point, &window).await?,
            None => TouchedTables::new(),
        };
        (self.events)(Event::SyncPoint { id, publisher_lsn: point.publisher_lsn, proof: point.proof.clone() });
        if self.config.checks.sequence && self.sequences.is_none() {
            self.sequences = Some((self.catalog.sequences.clone(), self.read_sequences().await));
        }
        if id > 1 {
            self.renew().await?;
        }
        (self.events)(self.planned());
        let epoch = Epoch {
            servers: &self.servers,
            point: &point,
            touched: &touched,
            suspecting: since.map(|since| Suspecting { since, held: Arc::clone(&self.aside) }),
            keepers: &keepers,
            jobs: self.config.jobs.get(),
            age_max: self.config.snapshot_age_max,
            subscriptions: &self.catalog.subscriptions,
            events: &self.events,
            bytes: &self.bytes,
            stop: &self.stop,
        };
        let mut ended = Closed::default();
        let result = epoch.run(&mut self.tables, idle, &mut ended).await;
        ended.after = point.opened.elapsed();
        let closed = keepers.close().await;
        self.points.push((point, ended));
        result?;
        let settled = self.all_settled();
        match closed {
            // Everything was read: whether the snapshots were still there afterwards makes no difference.
            Err(error) if settled => tracing::debug!(%error, "a snapshot's keeper was lost at the end"),
            closed => closed?,
        }
        self.recheck().await?;
        Ok(self.all_settled())
    }

    /// What is left to be read.
    fn planned(&self) -> Event {
        let (mut tables, mut rows, mut bytes) = (0, 0, 0);
        for table in &self.tables {
            let Progress::Open(case) = table else { continue };
            tables += 1;
            for side in Side::BOTH {
                let relation = case.table().pair.relations.get(side);
                rows += relation.rows_estimate;
                bytes += relation.bytes;
            }
        }
        Event::Planned { tables, rows, bytes }
    }

    /// Settles what tables have set aside. No snapshot is held meanwhile.
    async fn recheck(&mut self) -> Result<()> {
        let mut cases: Vec<&mut Case> = Vec::new();
        for table in &mut self.tables {
            if let Progress::Open(case) = table {
                cases.push(case);
            }
        }
        if !cases.iter().any(|case| case.awaits_recheck()) {
            return Ok(());
        }
        recheck::settle(&self.servers, &self.catalog, &self.config, &self.stop, &mut cases).await?;
        for table in &mut self.tables {
            table.settle(&self.events);
        }
        Ok(())
    }

    /// Takes over what the catalog says now: what is settled stays, and the rest is compared in the shape that it has now.
    fn adopt(&mut self, now: Catalog) {
        let hashing = self.servers.hashing.as_ref();
        if self.confirmed {
            // Some tables are settled. The others are compared in the shape that they have now.
            let basis = Basis::new(&now, &now.sequences, &self.config, hashing);
            renew_open(&mut self.tables, &now.tables, &basis, |_| true);
            let known: HashSet<_> = self.catalog.tables.iter().map(|pair| &pair.name).collect();
            for pair in now.tables.iter().filter(|pair| !known.contains(&pair.name)) {
                let table = basis.context(self.tables.len(), pair);
                self.tables.push(Progress::Open(Box::new(Case::new(table, self.settings))));
            }
        } else {
            let cases = contexts(&now, &self.config, hashing)
                .map(|table| Progress::Open(Box::new(Case::new(table, self.settings))));
            self.tables = cases.collect();
        }
        self.catalog = now;
    }

    /// Reads the catalog again now that there are snapshots: tables and columns may have come or changed while the sync point
    /// was waited for, and what the snapshots show of them would fall outside unseen. False if so: what there is now is to be
    /// compared at another sync point.
    ///
    /// Writers may change tables at any time, so that with the gate `live` every sync point needs this.
    async fn confirm_catalog(&mut self) -> Result<bool> {
        if self.confirmed && self.config.gate != GateMode::Live {
            return Ok(true);
        }
        let now = match read_catalog(&self.servers, &self.config).await {
            Ok(now) => Some(now),
            Err(error) if error.kind() == ErrorKind::Changed => None,
            Err(error) => return Err(error),
        };
        if now.as_ref().is_some_and(|now| now.same_shape(&self.catalog)) {
            self.confirmed = true;
            return Ok(true);
        }
        self.catalog_changes += 1;
        if self.catalog_changes > CATALOG_CHANGES_MAX {
            self.give_up(Reason::ChangedMeanwhile, "tables kept changing while a sync point was waited for");
            return Ok(true);
        }
        tracing::info!("tables changed while the sync point was waited for; starting with what there is now");
        if let Some(now) = now {
            self.adopt(now);
        }
        Ok(false)
    }

    /// Chooses the position of the subscriber's snapshot where there is a choice, and tells what changed up to it.
    async fn settle(&self, point: &mut SyncPoint, window: &Window) -> Result<TouchedTables> {
        let tables: Vec<&TablePair> = self.catalog.tables.iter().collect();
        let chosen = cuts::settle(&self.servers, point, window, &tables).await?;
        let mut touched = window.at(&chosen.cuts);
        touched.extend(chosen.problems.into_iter().map(|(table, problem)| (table, Err(problem))));
        point.applied_lsn = chosen.cuts.iter().min().copied();
        point.in_flight.1 = touched.values().flatten().map(Touched::keys).sum();
        Ok(touched.into_iter().map(|(table, touched)| (table, touched.map(Arc::new))).collect())
    }

    async fn open(&self, id: u32, keepers: &mut Keepers) -> Result<Result<Opened, NotReached>> {
        let events = &self.events;
        let waiting = |message: &str, waited: Duration| {
            events(Event::Waiting { message: message.to_owned(), seconds: waited.as_secs() });
        };
        let slot_session = || self.servers.slot_session();
        let request = gate::Request {
            id,
            mode: self.config.gate,
            subscriptions: &self.catalog.subscriptions,
            tables: &self.catalog.tables,
            wal_segment_bytes: self.catalog.servers.publisher.wal_segment_bytes,
            timeout: self.config.lag_timeout,
            stop: &self.stop,
            waiting: &waiting,
            slot_session: &slot_session,
        };
        let control = self.servers.control.as_ref().map(AsRef::as_ref);
        gate::open(control, keepers, &request).await
    }

    /// Reads the subscriber first: the publisher only moves on meanwhile, so that what is behind shows.
    async fn read_sequences(&self) -> Sides<Vec<sequences::State>> {
        let pairs = &self.catalog.sequences;
        let subscriber = sequences::read(&self.servers.control.subscriber, Side::Subscriber, pairs).await;
        let publisher = sequences::read(&self.servers.control.publisher, Side::Publisher, pairs).await;
        Sides { publisher, subscriber }
    }

    /// Reads the catalog again for the tables that are begun anew: their shape may have been the reason.
    async fn renew(&mut self) -> Result<()> {
        let waits = |table: &Progress| matches!(table, Progress::Open(case) if case.waits_for_next());
        if !self.tables.iter().any(waits) {
            return Ok(());
        }
        // With writes going on, this is what was confirmed a moment ago, and what the window was decoded for.
        let read;
        let catalog = if self.config.gate == GateMode::Live {
            &self.catalog
        } else {
            read = read_catalog(&self.servers, &self.config).await?;
            &read
        };
        // What sequences feed stays what was confirmed.
        let basis = Basis::new(catalog, &self.catalog.sequences, &self.config, self.servers.hashing.as_ref());
        renew_open(&mut self.tables, &catalog.tables, &basis, Case::waits_for_next);
        Ok(())
    }

    fn finish(self, started: (jiff::Timestamp, Instant), interrupted: bool) -> Verified {
        let mut chunks = Vec::new();
        let mut tables = Vec::new();
        let mut ends = sequences::Ends::new();
        for table in self.tables {
            let mut finished = match table {
                Progress::Done(finished) => *finished,
                Progress::Open(case) => case.finish(),
            };
            chunks.append(&mut finished.chunks);
            for (column, end) in finished.sequence_ends {
                let table = QualifiedName::new(&finished.outcome.schema, &finished.outcome.name);
                let end =
                    end.map(|end| end.map_or(sequences::End::NotRead, |end| sequences::End::from_text(end.as_deref())));
                ends.insert((table, column), end);
            }
            tables.push(finished.outcome);
        }
        let sequences = match &self.sequences {
            _ if !self.config.checks.sequence => Vec::new(),
            Some((pairs, states)) => sequences::judge_all(pairs, states, &ends),
            None => sequences::unread(&self.catalog.sequences),
        };
        let outcome = assemble::outcome(Settled {
            config: &self.config,
            catalog: &self.catalog,
            endpoints: self.servers.endpoints(),
            tables,
            sequences,
            sync_points: &self.points,
            not_reached: self.not_reached.as_ref(),
            started,
            bytes: self.bytes.load(Ordering::Relaxed),
            interrupted,
        });
        Verified { outcome, chunks }
    }
}

/// Gives the open tables that are meant what the catalog says of them now, or gives them up where it says nothing.
fn renew_open(tables: &mut [Progress], now: &[TablePair], basis: &Basis<'_>, meant: impl Fn(&Case) -> bool) {
    let now: HashMap<_, _> = now.iter().map(|pair| (&pair.name, pair)).collect();
    for (index, table) in tables.iter_mut().enumerate() {
        let Progress::Open(case) = table else { continue };
        if !meant(case) {
            continue;
        }
        match now.get(&case.table().pair.name) {
            Some(pair) => case.renew(basis.context(index, pair)),
            None => case.give_up(Reason::ChangedMeanwhile, "the table is not there, or not selected, any longer"),
        }
    }
}

fn recoverable(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Lost | ErrorKind::Connect | ErrorKind::TimedOut)
}
