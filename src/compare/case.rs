//! The state of one table from `NotRead` to its outcome.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::compare::aside::Aside;
use crate::compare::digesting::Digesting;
use crate::compare::drill::{Drill, Found};
use crate::compare::figures::FigurePair;
use crate::compare::peel::Peels;
use crate::compare::reading::Chunk;
use crate::error::{Error, ErrorKind};
use crate::gate::window::{Problem, Touched};
use crate::plan::{Advance, Chunking, Limits, Position, ScanKind, TablePlan};
use crate::scan::{Job, Piece, TableContext, Work};
use crate::side::{Side, Sides};
use crate::verdict::Reason;

/// How often a job is tried again after its session was lost or it timed out.
const FAILURES_MAX: u32 = 3;
/// How often a job gives way before its table is left alone.
const GIVE_WAYS_MAX: u32 = 20;
/// At how many sync points a table is begun anew because it changed or outlasted the snapshots.
const ATTEMPTS_MAX: u32 = 3;

/// What a case needs of the run's settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// Listed differing rows.
    pub samples: usize,
    /// Whether samples hold values.
    pub show_values: bool,
    /// Whether the ledger of chunks is wanted.
    pub ledger: bool,
    /// What bounds the cutting.
    pub limits: Limits,
}

/// What becomes of a job that failed.
#[derive(Debug)]
pub(crate) enum After {
    /// It is tried again.
    Retry(Box<Job>),
    /// These are done in its place.
    Instead(Vec<Job>),
    /// The table waits for the next sync point, or is settled.
    Dropped,
}

/// One table on its way to an outcome. Starts as [`Reason::NotRead`].
#[derive(Debug)]
pub(crate) struct Case {
    pub(super) table: Arc<TableContext>,
    pub(super) settings: Settings,
    pub(super) sync_point: u32,
    pub(super) sync_points: BTreeSet<u32>,
    pub(super) generation: u32,
    attempts: u32,
    /// A heap scan was cut off by the age of the snapshots.
    pub(super) unfinished: bool,
    waits_for_next: bool,
    /// A job that reads it was sent off at this sync point.
    reading: bool,
    /// Jobs that prepare that, which were sent off and brought nothing back yet.
    preparing: u32,
    /// What makes the cut of the publisher's snapshot, or sets rows aside on both sides; `None` where there is neither.
    pub(super) advance: Sides<Option<Arc<Advance>>>,
    /// What is set aside, where nothing tells what changed between the snapshots.
    pub(super) aside: Option<Aside>,
    pub(super) plan: Option<TablePlan>,
    pub(super) chunking: Arc<Chunking>,
    pub(super) chunks: Vec<Chunk>,
    pub(super) open_slices: Sides<usize>,
    pub(super) peels: Peels,
    /// The rows that the publisher's snapshot does not hold are still to be read.
    pub(super) images_open: bool,
    pub(super) figures: FigurePair,
    /// What the servers' digests have said, where they are asked for.
    pub(super) digesting: Digesting,
    pub(super) divergent: Vec<(u32, u64)>,
    pub(super) drill: Drill,
    /// What was found in units that are complete.
    pub(super) found: Found,
    /// What was found in the unit in hand.
    pub(super) found_in_unit: Found,
    pub(super) failure: Option<(Reason, String)>,
}

impl Case {
    /// A table of which nothing was read.
    #[must_use]
    pub(crate) fn new(table: Arc<TableContext>, settings: Settings) -> Self {
        Self {
            table,
            settings,
            sync_point: 0,
            sync_points: BTreeSet::new(),
            generation: 0,
            attempts: 0,
            unfinished: false,
            waits_for_next: false,
            reading: false,
            preparing: 0,
            advance: Sides::default(),
            aside: None,
            plan: None,
            chunking: Arc::new(Chunking::Ranges(Vec::new())),
            chunks: Vec::new(),
            open_slices: Sides::default(),
            peels: Peels::default(),
            images_open: false,
            figures: FigurePair::default(),
            digesting: Digesting::default(),
            divergent: Vec::new(),
            drill: Drill::Idle,
            found: Found::default(),
            found_in_unit: Found::default(),
            failure: None,
        }
    }

    /// The table.
    #[must_use]
    pub(crate) fn table(&self) -> &Arc<TableContext> {
        &self.table
    }

    /// Begins, or goes on with, the table at a sync point. `touched` is what changed between its snapshots.
    pub(crate) fn open(&mut self, sync_point: u32, touched: Option<&Result<Arc<Touched>, Problem>>) -> Vec<Job> {
        if self.awaits_recheck() {
            return Vec::new();
        }
        self.generation += 1;
        self.sync_point = sync_point;
        self.waits_for_next = false;
        self.reading = false;
        self.preparing = 0;
        if let Some(reservation) = self.table.pair.reservations.iter().find(|reservation| !reservation.readable) {
            self.failure = Some((reservation.reason, reservation.message.clone()));
        }
        if self.is_settled() {
            return Vec::new();
        }
        let name = &self.table.pair.name;
        let touched = match touched {
            Some(Err(Problem::Changed(what))) => {
                let message = format!("{name} {what} between the two snapshots");
                self.next_attempt(Reason::ChangedMeanwhile, message);
                return Vec::new();
            }
            // It was not begun, so that what was read of it at earlier sync points stays.
            Some(Err(Problem::TooLarge(what))) => {
                let message = format!("{name} {what}");
                self.attempts += 1;
                self.waits_for_next = self.attempts < ATTEMPTS_MAX;
                return if self.waits_for_next { Vec::new() } else { self.fail(Reason::ChangedTooMuch, message) };
            }
            Some(Err(Problem::Unsupported(what))) => {
                let message = format!("{name} {what}");
                return self.fail(Reason::Unsupported, message);
            }
            Some(Ok(touched)) => Some(Arc::clone(touched)),
            None => None,
        };
        self.sync_points.insert(sync_point);
        self.advance = Sides::default();
        match touched {
            None if self.aside.is_some() => self.suspect(),
            Some(touched) if touched.lookups.is_empty() => self.advance_by(touched, Vec::new()),
            Some(touched) => vec![self.job(Side::Publisher, Work::LookUp(touched))],
            None => self.begin(),
        }
    }

    /// Takes what the lookups found: from now on the publisher is read as it stood at the cut.
    fn advance_by(&mut self, touched: Arc<Touched>, found: Vec<(usize, Position)>) -> Vec<Job> {
        match Advance::new(touched, found) {
            Ok(advance) => {
                self.advance.publisher = Some(Arc::new(advance));
                self.begin()
            }
            Err(contradiction) => {
                let message = format!("{}: {contradiction}", self.table.pair.name);
                self.fail(Reason::ChecksDisagree, message)
            }
        }
    }

    pub(super) fn begin(&mut self) -> Vec<Job> {
        if let Some(jobs) = self.begin_with_digests() {
            return jobs;
        }
        // With rows set aside, those that are to be are all known only when the others are read.
        let mut jobs = if self.aside.is_some() || self.keeps_figures() { Vec::new() } else { self.ask_figures() };
        if self.table.checks.rows {
            jobs.append(&mut match &self.plan {
                Some(_) => self.read_again(),
                None => self.cut(),
            });
        }
        if jobs.is_empty() {
            // Every chunk was settled at an earlier sync point.
            return self.all_drilled();
        }
        jobs
    }

    pub(super) fn forget_differences(&mut self) {
        self.divergent.clear();
        self.drill = Drill::Idle;
        self.found = Found::default();
        self.found_in_unit = Found::default();
    }

    pub(super) fn job(&self, side: Side, work: Work) -> Job {
        Job {
            table: Arc::clone(&self.table),
            side,
            work,
            advance: self.advance.get(side).clone(),
            generation: self.generation,
            failures: 0,
            gave_way: 0,
        }
    }

    pub(super) fn fail(&mut self, reason: Reason, message: impl Into<String>) -> Vec<Job> {
        self.failure = Some((reason, message.into()));
        self.generation += 1;
        Vec::new()
    }

    /// A job is sent off.
    pub(crate) fn sent(&mut self, job: &Job) {
        if job.generation != self.generation {
            return;
        }
        if job.work.reads() {
            self.reading = true;
        } else {
            self.preparing += 1;
        }
    }

    /// Takes in what a job brought back.
    pub(crate) fn absorb(&mut self, job: &Job, piece: Piece) -> Vec<Job> {
        if job.generation != self.generation {
            return Vec::new();
        }
        if !job.work.reads() {
            self.preparing = self.preparing.saturating_sub(1);
        }
        match (piece, &job.work) {
            (Piece::Figures(figures), work) => {
                *self.figures.values.get_mut(job.side) = Some(figures);
                if matches!(work, Work::FiguresAndDigest) { self.take_digests() } else { self.ask_deltas() }
            }
            (Piece::Places(places), Work::LookUp(_)) if self.aside.is_some() => self.take_places(job.side, places),
            (Piece::Keys(keys), Work::Keys(_, of)) => self.take_keys(keys, of),
            (Piece::Places(places), Work::LookUp(touched)) => self.advance_by(Arc::clone(touched), places),
            (Piece::Cut(chunking), Work::Sample(_)) => self.plan_with(chunking),
            (Piece::Tallies(tallies, sketch), Work::Tally(_, slice)) => {
                self.peels.take(job.side, slice, sketch);
                self.take_tallies(job.side, &tallies, slice)
            }
            (Piece::Digests(entries, tallies), Work::Locate(wanted)) => {
                self.take_located(job.side, wanted, entries, tallies)
            }
            (Piece::Digests(entries, tallies), _) => {
                let Drill::Listing(listing) = &mut self.drill else { return Vec::new() };
                if listing.take(job.side, entries, tallies) { self.list_complete() } else { Vec::new() }
            }
            (Piece::Rows(rows), _) => {
                let Drill::Naming { naming, .. } = &mut self.drill else { return Vec::new() };
                if naming.take(job.side, rows) { self.describe() } else { Vec::new() }
            }
            (Piece::Evaluated(values), _) => self.answers(job.side, values),
            _ => self.fail(Reason::ServerError, "a job brought back something else than it was sent for"),
        }
    }

    /// Deltas are computed by the subscriber and equality by the publisher, which tells the answers apart.
    fn answers(&mut self, side: Side, values: Vec<Option<String>>) -> Vec<Job> {
        if side == Side::Subscriber {
            self.figures.take_deltas(values);
            return Vec::new();
        }
        match std::mem::replace(&mut self.drill, Drill::Idle) {
            Drill::Asking { unit, naming, waiting } => self.named(unit, naming, waiting, &values),
            other => {
                self.drill = other;
                Vec::new()
            }
        }
    }

    /// Decides what becomes of a job that failed.
    pub(crate) fn failed(&mut self, mut job: Job, error: &Error) -> After {
        if job.generation != self.generation {
            return After::Dropped;
        }
        let name = &self.table.pair.name;
        let text = format!("{} of {name} on the {}: {error}", job.work.what(), job.side);
        match error.kind() {
            ErrorKind::Cancelled if job.gave_way < GIVE_WAYS_MAX => {
                job.gave_way += 1;
                return After::Retry(Box::new(job));
            }
            ErrorKind::Cancelled => drop(self.fail(
                Reason::KeptBlocking,
                format!("{text} {GIVE_WAYS_MAX} times: other sessions kept waiting for it"),
            )),
            ErrorKind::Lost | ErrorKind::TimedOut | ErrorKind::Connect if job.failures < FAILURES_MAX => {
                job.failures += 1;
                return After::Retry(Box::new(job));
            }
            // Looking rows up saves time. Without it, they are found among the rows of their chunks.
            ErrorKind::Server | ErrorKind::Unsupported | ErrorKind::TimedOut
                if let Work::Locate(wanted) = &job.work =>
            {
                tracing::debug!(%error, "rows cannot be looked up by their keys");
                return After::Instead(self.give_up_locating(wanted));
            }
            ErrorKind::TimedOut => drop(self.fail(Reason::KeptBlocking, text)),
            ErrorKind::Lost | ErrorKind::Connect => drop(self.fail(Reason::ConnectionLost, text)),
            // Also where functions that hash may not be used: whoever may not read the table is told so once more.
            ErrorKind::Server | ErrorKind::Unsupported | ErrorKind::Permission
                if matches!(job.work, Work::FiguresAndDigest) && self.give_up_digests(text.as_str()) =>
            {
                self.next_attempt(Reason::ServerError, text);
            }
            ErrorKind::Changed => self.next_attempt(Reason::ChangedMeanwhile, text),
            ErrorKind::Permission => drop(self.fail(Reason::PermissionDenied, text)),
            ErrorKind::Unsupported => drop(self.fail(Reason::Unsupported, text)),
            ErrorKind::OutsideChunk => drop(self.fail(Reason::RowOutsideChunk, text)),
            ErrorKind::Miscounted => drop(self.fail(Reason::RowsMiscounted, text)),
            _ => drop(self.fail(Reason::ServerError, text)),
        }
        After::Dropped
    }

    /// Begins the whole table anew at the next sync point, or gives up.
    fn next_attempt(&mut self, reason: Reason, message: String) {
        self.attempts += 1;
        if self.attempts >= ATTEMPTS_MAX {
            self.fail(reason, message);
            return;
        }
        self.generation += 1;
        self.waits_for_next = true;
        self.anew();
    }

    /// Forgets whatever was read.
    pub(super) fn anew(&mut self) {
        self.plan = None;
        self.chunks.clear();
        self.aside = None;
        self.forget_equal_digests();
        self.forget_differences();
    }

    /// A sync point closes: what is settled stays, the rest goes on at the next one. `lost` says that it closes because
    /// sessions were lost, and not because of its age.
    pub(crate) fn close(&mut self, sync_point: u32, lost: Option<&Error>) {
        if self.is_settled() || self.waits_for_next || self.awaits_recheck() {
            return;
        }
        self.waits_for_next = true;
        if self.sync_point != sync_point {
            // Its turn did not come: it has lost nothing, and has had no attempt.
            return;
        }
        self.generation += 1;
        let by_key = self.plan.as_ref().is_some_and(|plan| plan.scan == ScanKind::KeyRange);
        let tried = self.reading || self.preparing > 0;
        if !tried && !by_key {
            // It was only prepared, while others were read.
            return self.anew();
        }
        let (reason, message) = match lost {
            Some(error) => (Reason::ConnectionLost, error.to_string()),
            None => (Reason::SnapshotAge, age_message(&self.table)),
        };
        let settled_here = self.chunks.iter().any(|chunk| chunk.settled == Some(self.sync_point));
        if by_key {
            // Positions mean nothing in another snapshot: the unit in hand is begun anew with its chunks.
            self.divergent.clear();
            self.drill = Drill::Idle;
            self.attempts = if settled_here { 0 } else { self.attempts + u32::from(tried) };
            if self.attempts >= ATTEMPTS_MAX {
                self.fail(reason, message);
            }
            return;
        }
        // A statement over the whole table that does not end in time would not end in time again.
        let digesting = lost.is_none() && self.give_up_digests("its digest took longer than --snapshot-age-max");
        self.unfinished |= lost.is_none() && !digesting;
        self.next_attempt(reason, message);
    }

    /// Ends the table for a reason that lies outside of it.
    pub(crate) fn give_up(&mut self, reason: Reason, message: &str) {
        if !self.is_settled() {
            self.fail(reason, message);
        }
    }

    /// Takes over what the catalog says now, before the table is begun anew.
    pub(crate) fn renew(&mut self, table: Arc<TableContext>) {
        if table.pair.without_sizes() != self.table.pair.without_sizes() {
            // Chunks of another shape say nothing of this one.
            self.anew();
        }
        self.table = table;
    }

    /// Whether it was begun and waits for the next sync point.
    #[must_use]
    pub(crate) fn waits_for_next(&self) -> bool {
        self.waits_for_next
    }

    /// Whether rows of divergent chunks are held in memory or about to be.
    #[must_use]
    pub(crate) fn is_drilling(&self) -> bool {
        !matches!(self.drill, Drill::Idle)
    }

    /// Whether everything that was asked for is known, or never will be.
    #[must_use]
    pub(crate) fn is_settled(&self) -> bool {
        let open = self.aside.as_ref().is_some_and(Aside::is_open);
        self.failure.is_some() || self.is_read() && !open
    }

    /// Whether everything is read that is not set aside.
    pub(super) fn is_read(&self) -> bool {
        let rows = !self.table.checks.rows
            || self.is_digested()
            || (self.plan.is_some() && self.chunks.iter().all(|chunk| chunk.settled.is_some()));
        let figures = self.generation > 0 && (self.figures.is_known() || self.needs_no_figures());
        rows && figures
    }
}

fn age_message(table: &TableContext) -> String {
    format!(
        "{} could not be read within the age limit of a snapshot: raise --snapshot-age-max or --jobs, or lower --chunk-rows",
        table.pair.name
    )
}
