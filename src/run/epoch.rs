//! One sync point: every idle session of a side takes the next job of that side, and what a job brings back may bring
//! new jobs. The two sides advance independently.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::catalog::Subscription;
use crate::compare::{After, Case, Finished, Suspecting};
use crate::connect::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::gate::window::{Problem, Touched};
use crate::gate::{Keepers, SyncPoint};
use crate::run::event::{Event, Events};
use crate::run::holding::{HOLDING_INTERVAL, Holding};
use crate::run::monitor::{LOOK_INTERVAL, Monitor, Running, give_way};
use crate::run::outcome::Held;
use crate::run::queue::Queue;
use crate::run::servers::Servers;
use crate::run::supply::{Next, Refused, Supply};
use crate::scan::{Context, Done, Job, Sketches, execute};
use crate::side::{Side, Sides};

/// How long jobs that run when the snapshots have reached their age may go on.
const CLOSING_GRACE: Duration = Duration::from_secs(60);
/// Jobs waiting per session below which the next table is begun: begun tables take memory.
const QUEUED_PER_SESSION: usize = 4;
/// Pause before a session is opened again where there is none.
const OPEN_PAUSE: Duration = Duration::from_secs(1);

/// What the window did to each table that it touched.
pub(crate) type TouchedTables = BTreeMap<u32, Result<Arc<Touched>, Problem>>;

/// A table on its way, or at its end.
pub(crate) enum Progress {
    Open(Box<Case>),
    Done(Box<Finished>),
}

impl Progress {
    /// Takes the outcome of a table that is settled.
    pub(crate) fn settle(&mut self, events: &Events) {
        let Self::Open(case) = self else { return };
        if !case.is_settled() {
            return;
        }
        let finished = case.finish();
        events(Event::TableDone {
            table: case.table().pair.name.to_string(),
            verdict: finished.outcome.verdict,
            summary: finished.outcome.summary(),
        });
        *self = Self::Done(Box::new(finished));
    }
}

/// How a sync point was used.
#[derive(Debug, Clone, Default)]
pub(crate) struct Closed {
    /// How long its snapshots were held.
    pub(crate) after: Duration,
    /// What they held back.
    pub(crate) held: Held,
    /// Why it ended before its time.
    pub(crate) early: Option<String>,
    /// Sessions that a side did not give while others read.
    pub(crate) refused: Sides<Option<Refused>>,
}

enum Ended {
    Opened(Side, Box<Result<Session>>),
    Job(Box<Done>),
}

/// Scan sessions that outlive a sync point.
#[derive(Default)]
pub(crate) struct Idle {
    pub(crate) sessions: Sides<Vec<Session>>,
    opened: Sides<usize>,
    supply: Sides<Supply>,
}

pub(crate) struct Epoch<'a> {
    pub(crate) servers: &'a Servers,
    pub(crate) point: &'a SyncPoint,
    /// What changed between the snapshots, by object identifier on the publisher.
    pub(crate) touched: &'a TouchedTables,
    /// What makes rows suspect, where nothing tells what changed.
    pub(crate) suspecting: Option<Suspecting>,
    /// The sessions on which the snapshots of the sync point depend.
    pub(crate) keepers: &'a Keepers,
    pub(crate) jobs: usize,
    pub(crate) age_max: Duration,
    pub(crate) subscriptions: &'a [Subscription],
    pub(crate) events: &'a Events,
    /// Counts the bytes received by COPY.
    pub(crate) bytes: &'a Arc<AtomicU64>,
    pub(crate) stop: &'a CancellationToken,
}

struct State<'a> {
    tables: &'a mut [Progress],
    pending: VecDeque<usize>,
    queue: Queue,
    tasks: JoinSet<Ended>,
    running: HashMap<Id, Running>,
    idle: &'a mut Idle,
}

impl Epoch<'_> {
    /// Reads until every table is settled, waits for another sync point, or the snapshots have reached their age.
    ///
    /// # Errors
    /// Where the run was interrupted, or no session can be had any more. Tables that are not settled stay open.
    pub(crate) async fn run(&self, tables: &mut [Progress], idle: &mut Idle, ended: &mut Closed) -> Result<()> {
        let mut pending: Vec<usize> = (0..tables.len()).filter(|&at| matches!(tables[at], Progress::Open(_))).collect();
        let bytes = |at: &usize| match &tables[*at] {
            Progress::Open(case) => case.table().pair.relations.publisher.bytes,
            Progress::Done(_) => 0,
        };
        pending.sort_by_key(|at| std::cmp::Reverse(bytes(at)));
        let (events, total) = (Arc::clone(self.events), Arc::clone(self.bytes));
        let context = Arc::new(Context {
            snapshots: self.point.snapshots.clone(),
            progress: Box::new(move |side, rows, bytes| {
                total.fetch_add(bytes, Ordering::Relaxed);
                events(Event::Read { side, rows, bytes });
            }),
            sketches: Sketches::default(),
        });
        for side in Side::BOTH {
            let there = idle.sessions.get(side).len();
            idle.supply.get_mut(side).begin(there);
        }
        let mut state = State {
            tables,
            pending: pending.into(),
            queue: Queue::default(),
            tasks: JoinSet::new(),
            running: HashMap::new(),
            idle,
        };
        let version_num = self.servers.facts.publisher.version_num;
        let mut holding = Holding::new(self.keepers, self.subscriptions, version_num);
        let result = self.turn(&mut state, &context, &mut holding, &mut ended.early).await;
        ended.held = holding.held;
        for running in state.running.values() {
            running.give_way.cancel();
        }
        while let Some(ended) = state.tasks.join_next().await {
            match ended {
                Ok(Ended::Job(done)) => state.idle.sessions.get_mut(done.job.side).extend(done.session),
                Ok(Ended::Opened(side, session)) => state.idle.sessions.get_mut(side).extend(*session),
                Err(_) => {}
            }
        }
        for table in state.tables.iter_mut() {
            if let Progress::Open(case) = table {
                case.close(self.point.id, result.as_ref().err());
            }
        }
        for side in Side::BOTH {
            let refused = state.idle.supply.get(side).refused().cloned();
            if refused.is_some() {
                // The next snapshot, its slot and what is looked at again need sessions as well.
                let sessions = std::mem::take(state.idle.sessions.get_mut(side));
                futures::future::join_all(sessions.into_iter().map(Session::close)).await;
            }
            *ended.refused.get_mut(side) = refused;
        }
        result
    }

    async fn turn(
        &self,
        state: &mut State<'_>,
        context: &Arc<Context>,
        holding: &mut Holding,
        early: &mut Option<String>,
    ) -> Result<()> {
        let mut monitor = Monitor::default();
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut holding_look = tokio::time::interval(HOLDING_INTERVAL);
        holding_look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut deadline = self.point.opened + self.age_max;
        let mut told_to_end = false;
        loop {
            let closing = Instant::now() >= deadline;
            if !closing {
                self.begin_tables(state);
                self.dispatch(state, context);
            }
            let nothing_left = state.queue.is_empty() && state.pending.is_empty();
            if state.running.is_empty() && (closing || nothing_left) {
                return Ok(());
            }
            let next_deadline = if closing { deadline + CLOSING_GRACE } else { deadline };
            tokio::select! {
                Some(ended) = state.tasks.join_next_with_id() => match ended {
                    Ok((id, Ended::Job(done))) => {
                        state.running.remove(&id);
                        if done.result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Lost) {
                            // What looks like the loss of a scan session may be the loss of the snapshot.
                            self.keepers.check().await?;
                        }
                        self.ended(state, *done);
                    }
                    Ok((_, Ended::Opened(side, opened))) => self.opened(state, side, *opened)?,
                    Err(panic) => return Err(Error::new(ErrorKind::Server, format!("a task of triplecheck ended abnormally: {panic}"))),
                },
                _ = look.tick() => {
                    for side in Side::BOTH {
                        monitor.look(self.servers.control.get(side), side, state.running.values());
                    }
                }
                (side, answer) = monitor.answer() => {
                    for what in give_way(&mut state.running, side, &answer?) {
                        tracing::info!(%side, %what, "giving way to a session that waits for us");
                        (self.events)(Event::GaveWay { side, what });
                    }
                }
                _ = holding_look.tick() => {
                    for side in Side::BOTH {
                        holding.look(self.servers.control.get(side), side);
                    }
                }
                answer = holding.answer() => {
                    if let Some(why) = answer?.filter(|_| early.is_none() && !closing) {
                        tracing::warn!(%why, "the sync point ends early");
                        deadline = Instant::now();
                        *early = Some(why);
                    }
                }
                () = tokio::time::sleep_until(next_deadline.into()), if !told_to_end => {
                    if closing {
                        told_to_end = true;
                        state.running.values().for_each(|running| running.give_way.cancel());
                    }
                }
                () = self.stop.cancelled() => return Err(Error::new(ErrorKind::Interrupted, "interrupted")),
            }
        }
    }

    /// Begins tables while there is little to do.
    fn begin_tables(&self, state: &mut State<'_>) {
        let wanted = QUEUED_PER_SESSION * self.jobs;
        while Side::BOTH.iter().any(|&side| state.queue.len(side) < wanted) {
            let Some(at) = state.pending.pop_front() else { return };
            if let Progress::Open(case) = &mut state.tables[at] {
                let touched = self.touched.get(&case.table().pair.relations.publisher.oid);
                case.suspecting(self.suspecting.as_ref());
                for job in case.open(self.point.id, touched) {
                    state.queue.push(job);
                }
            }
            self.settle(state, at);
        }
    }

    fn dispatch(&self, state: &mut State<'_>, context: &Arc<Context>) {
        for side in Side::BOTH {
            while let Some(session) = state.idle.sessions.get_mut(side).pop() {
                let Some(job) = state.queue.pop(side) else {
                    state.idle.sessions.get_mut(side).push(session);
                    break;
                };
                if let Some(Progress::Open(case)) = state.tables.get_mut(job.table.index) {
                    case.sent(&job);
                }
                let what = format!("{} of {}", job.work.what(), job.table.pair.name);
                let running = Running::new(side, session.backend_pid(), what);
                let (context, token) = (Arc::clone(context), running.give_way.clone());
                let handle =
                    state.tasks.spawn(async move { Ended::Job(Box::new(execute(session, job, context, token).await)) });
                state.running.insert(handle.id(), running);
            }
            // One more session for each job that waits, up to the limit.
            let waiting = state.queue.len(side).saturating_sub(state.idle.sessions.get(side).len());
            for _ in 0..state.idle.supply.get(side).wanted(self.jobs, waiting, Instant::now()) {
                self.open_session(state, side, Duration::ZERO);
            }
        }
    }

    fn open_session(&self, state: &mut State<'_>, side: Side, pause: Duration) {
        state.idle.supply.get_mut(side).asked();
        let number = state.idle.opened.get_mut(side);
        *number += 1;
        let session = self.servers.scan(side, *number);
        state.tasks.spawn(async move {
            tokio::time::sleep(pause).await;
            Ended::Opened(side, Box::new(session.await))
        });
    }

    fn opened(&self, state: &mut State<'_>, side: Side, opened: Result<Session>) -> Result<()> {
        let supply = state.idle.supply.get_mut(side);
        let error = match opened {
            Ok(session) => {
                supply.came();
                state.idle.sessions.get_mut(side).push(session);
                return Ok(());
            }
            Err(error) => error,
        };
        if supply.is_careful() {
            tracing::debug!(%side, %error, "another scan session could not be opened");
        } else {
            tracing::warn!(%side, %error, "a scan session could not be opened");
        }
        match supply.failed(&error, Instant::now()) {
            Next::WorkOn => {}
            Next::TryAgain => self.open_session(state, side, OPEN_PAUSE),
            Next::GiveUp => return Err(error.context(format!("no session can be had on the {side}"))),
        }
        Ok(())
    }

    fn ended(&self, state: &mut State<'_>, done: Done) {
        let Done { session, job, result } = done;
        match session {
            Some(session) => state.idle.sessions.get_mut(job.side).push(session),
            None => state.idle.supply.get_mut(job.side).lost(),
        }
        let at = job.table.index;
        let Progress::Open(case) = &mut state.tables[at] else { return };
        let jobs: Vec<Job> = match result {
            Ok(piece) => case.absorb(&job, piece),
            Err(error) => {
                tracing::debug!(table = %job.table.pair.name, side = %job.side, %error, "a job failed");
                match case.failed(job, &error) {
                    After::Retry(job) => vec![*job],
                    After::Instead(jobs) => jobs,
                    After::Dropped => Vec::new(),
                }
            }
        };
        let over = case.is_settled() || case.waits_for_next();
        let drilling = case.is_drilling();
        if over {
            state.queue.forget(at);
        } else if !drilling {
            state.queue.drilled(at);
        }
        jobs.into_iter().for_each(|job| state.queue.push(job));
        self.settle(state, at);
    }

    /// Takes the outcome of a table that is settled.
    fn settle(&self, state: &mut State<'_>, at: usize) {
        state.tables[at].settle(self.events);
    }
}
