//! Events on stderr: bars on a terminal, plain lines elsewhere. Never on stdout.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::pace::Pace;
use crate::report::escape::{sentence, shown};
use crate::report::figures::{bytes, count, counted, len};
use crate::run::{Event, Events};
use crate::verdict::Verdict;

/// Plain lines about the same come at most this often: they end up in logs that somebody keeps.
const PLAIN_EVERY: Duration = Duration::from_secs(10);
/// The figures beside a bar change at most this often: faster cannot be read.
const BAR_EVERY: Duration = Duration::from_millis(200);

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ProgressMode {
    /// Bars on a terminal, plain lines elsewhere
    Auto,
    /// Bars; plain lines where stderr is no terminal
    Bar,
    /// A line for each phase, and one every 10 seconds
    Plain,
    /// Nothing
    None,
}

/// Shows the progress of a run until it is finished.
#[derive(Clone)]
pub(crate) struct Progress(Arc<Sink>);

enum Sink {
    Silent,
    Plain(Mutex<Plain>),
    Bars(Bars),
}

impl Progress {
    /// Progress on stderr.
    pub(crate) fn on_stderr(mode: ProgressMode) -> Self {
        let terminal = std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self(Arc::new(match mode {
            ProgressMode::None => Sink::Silent,
            ProgressMode::Auto | ProgressMode::Bar if terminal => Sink::Bars(Bars::new()),
            _ => Sink::Plain(Mutex::new(Plain::new(Box::new(std::io::stderr())))),
        }))
    }

    /// What the library tells its events to.
    pub(crate) fn events(&self) -> Events {
        let sink = Arc::clone(&self.0);
        Arc::new(move |event| match &*sink {
            Sink::Silent => {}
            Sink::Plain(plain) => {
                if let Ok(mut plain) = plain.lock() {
                    plain.take(&event, Instant::now());
                }
            }
            Sink::Bars(bars) => bars.take(&event, Instant::now()),
        })
    }

    /// Takes the bars away, so that the result stands alone.
    pub(crate) fn finish(&self) {
        if let Sink::Bars(bars) = &*self.0 {
            bars.finish();
        }
    }

    /// Writes text to stderr without tearing the bars. A stderr that is gone is nobody's concern.
    pub(crate) fn say(&self, text: &[u8]) {
        let write = || {
            let _ = std::io::stderr().lock().write_all(text);
        };
        match &*self.0 {
            Sink::Bars(bars) => bars.all.suspend(write),
            Sink::Silent | Sink::Plain(_) => write(),
        }
    }
}

/// Log lines go the same way.
impl Write for Progress {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.say(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What an event is worth saying on a line of its own; `None` for those that only move figures.
fn line(event: &Event) -> Option<String> {
    Some(match event {
        Event::Connected { publisher, subscriber } => {
            format!("connected: publisher {}, subscriber {}", shown(publisher), shown(subscriber))
        }
        Event::Catalogued { tables, findings } => {
            let tables = counted(u64::try_from(*tables).unwrap_or(u64::MAX), "table", "tables");
            format!("catalogs read: {tables} to compare, {}", counted(len(findings), "finding", "findings"))
        }
        Event::Waiting { message, seconds } => format!("waiting for {} s: {}", count(*seconds), sentence(message)),
        Event::SyncPoint { id, publisher_lsn, proof } => {
            let lsn = publisher_lsn.map(|lsn| format!(" at publisher LSN {lsn}")).unwrap_or_default();
            format!("sync point {id}{lsn}: {}", sentence(proof))
        }
        Event::TableDone { verdict: Verdict::Match, .. } => return None,
        Event::TableDone { table, verdict, summary } => {
            format!("{}: {verdict}: {}", shown(table), sentence(summary))
        }
        Event::GaveWay { side, what } => {
            format!("gave way to a session of the {side} that waited for us: {} will be read again", shown(what))
        }
        Event::Planned { tables, rows, bytes: size } => {
            let tables = counted(u64::try_from(*tables).unwrap_or(u64::MAX), "table", "tables");
            format!("reading {tables}: about {} rows of both sides together, {} on disk", count(*rows), bytes(*size))
        }
        Event::Read { .. } => return None,
    })
}

/// Lines for a log.
struct Plain {
    out: Box<dyn Write + Send>,
    pace: Pace,
    figures_at: Option<Instant>,
    waiting_at: Option<Instant>,
}

impl Plain {
    fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out, pace: Pace::default(), figures_at: None, waiting_at: None }
    }

    fn take(&mut self, event: &Event, now: Instant) {
        self.pace.absorb(event, now);
        let due = |last: Option<Instant>| last.is_none_or(|last| now.saturating_duration_since(last) >= PLAIN_EVERY);
        match event {
            Event::Waiting { .. } if !due(self.waiting_at) => return,
            Event::Waiting { .. } => self.waiting_at = Some(now),
            Event::SyncPoint { .. } => self.waiting_at = None,
            Event::Planned { .. } => self.figures_at = Some(now),
            _ => {}
        }
        if let Some(line) = line(event) {
            let _ = writeln!(self.out, "{line}");
        }
        if self.pace.reading() && due(self.figures_at) {
            self.figures_at = Some(now);
            let _ = writeln!(self.out, "{}", self.pace.line(now));
        }
    }
}

/// A line that says what is going on, and a bar of rows.
struct Bars {
    all: MultiProgress,
    phase: ProgressBar,
    rows: ProgressBar,
    state: Mutex<BarState>,
}

#[derive(Default)]
struct BarState {
    pace: Pace,
    shown_at: Option<Instant>,
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let phase = all.add(ProgressBar::new_spinner().with_message("connecting"));
        phase.enable_steady_tick(BAR_EVERY);
        // Drawn once there is something to draw.
        let rows = ProgressBar::hidden();
        if let Ok(style) = ProgressStyle::with_template("  {bar:30} {msg}") {
            rows.set_style(style);
        }
        Self { all, phase, rows, state: Mutex::default() }
    }

    fn take(&self, event: &Event, now: Instant) {
        let Ok(mut state) = self.state.lock() else { return };
        let before = state.pace.reading();
        state.pace.absorb(event, now);
        match (event, line(event)) {
            // What is worth keeping scrolls up; the rest is a phase.
            (Event::TableDone { .. } | Event::GaveWay { .. }, Some(line)) => drop(self.all.println(line)),
            (_, Some(line)) => self.phase.set_message(line),
            (_, None) => {}
        }
        if !state.pace.reading() {
            return;
        }
        if !before {
            self.all.add(self.rows.clone());
        }
        if state.shown_at.is_none_or(|last| now.saturating_duration_since(last) >= BAR_EVERY) {
            state.shown_at = Some(now);
            let (rows, expected) = state.pace.position();
            self.rows.set_length(expected);
            self.rows.set_position(rows);
            self.rows.set_message(state.pace.line(now));
        }
    }

    fn finish(&self) {
        self.phase.finish_and_clear();
        self.rows.finish_and_clear();
        let _ = self.all.clear();
        // Nothing is drawn from here on, whatever events still come.
        self.all.set_draw_target(ProgressDrawTarget::hidden());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsn::Lsn;
    use crate::side::Side;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(text)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn plain_lines_are_few_and_clean() {
        let out = Shared::default();
        let mut plain = Plain::new(Box::new(out.clone()));
        let start = Instant::now();
        let mut tell = |seconds: u64, event: Event| plain.take(&event, start + Duration::from_secs(seconds));
        let server = |host: &str| format!("{host}:5432/shop (PostgreSQL 16.4)");
        tell(0, Event::Connected { publisher: server("db1"), subscriber: server("db2") });
        tell(0, Event::Catalogued { tables: 2, findings: vec![] });
        for seconds in 0..15 {
            tell(seconds, Event::Waiting { message: "replay is 512 bytes behind.".into(), seconds });
        }
        tell(15, Event::SyncPoint { id: 1, publisher_lsn: Some(Lsn(0x10)), proof: "exact: quiet".into() });
        tell(15, Event::Planned { tables: 2, rows: 40_000, bytes: 4_000_000 });
        for second in 16..40 {
            tell(second, Event::Read { side: Side::Publisher, rows: 1_000, bytes: 100_000 });
        }
        let done = |verdict| Event::TableDone { table: "a\x1b[2J".into(), verdict, summary: "1 missing".into() };
        tell(40, done(Verdict::Match));
        tell(40, done(Verdict::Different));
        tell(40, Event::GaveWay { side: Side::Subscriber, what: "public.orders".into() });
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        insta::assert_snapshot!(text, @r"
        connected: publisher db1:5432/shop (PostgreSQL 16.4), subscriber db2:5432/shop (PostgreSQL 16.4)
        catalogs read: 2 tables to compare, 0 findings
        waiting for 0 s: replay is 512 bytes behind
        waiting for 10 s: replay is 512 bytes behind
        sync point 1 at publisher LSN 0/10: exact: quiet
        reading 2 tables: about 40,000 rows of both sides together, 4.0 MB on disk
        25 %, 10,000 of about 40,000 rows, 1,000 rows/s, 100.0 kB/s, about 30.0 s left, 0 of 2 tables done
        50 %, 20,000 of about 40,000 rows, 1,000 rows/s, 100.0 kB/s, about 20.0 s left, 0 of 2 tables done
        a\u{1b}[2J: different: 1 missing
        gave way to a session of the subscriber that waited for us: public.orders will be read again
        ");
    }
}
