//! `triplecheck lag`.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;

use super::args::{Common, Format, given};
use super::exit::Signal;
use super::lag_log::LagLog;
use super::progress::Progress;
use super::{complain, exit, shown_on_stdout, tell};
use crate::config::{Environment, LagConfig, RawLag, RawSettings};
use crate::error::{Error, ErrorKind, Result};
use crate::report::json;
use crate::report::lag::render;
use crate::run::{LagHistory, LagOutcome, LagRecord};
use tokio_util::sync::CancellationToken;

/// Looks that a sparkline shows: they fit beside their label on the narrowest of terminals.
const SPARKLINE_LOOKS: usize = 60;
/// To the upper left corner.
const HOME: &str = "\x1b[H";
/// What is right of the cursor is cleared.
const CLEAR_LINE: &str = "\x1b[K";
/// What is below the cursor is cleared.
const CLEAR_BELOW: &str = "\x1b[J";

#[derive(Args)]
pub(crate) struct Lag {
    #[command(flatten)]
    pub(crate) common: Common,

    /// Only this subscription; repeatable [default: all that the publisher feeds]
    #[arg(long, value_name = "NAME", help_heading = "Selection")]
    subscription: Vec<String>,

    /// Go on until interrupted; redraws on a terminal, and writes a line of JSON for every look elsewhere
    #[arg(long, help_heading = "Watching")]
    watch: bool,

    /// Go on until the lag of all subscriptions is zero at the same time, for at most DURATION
    #[arg(long, value_name = "DURATION", help_heading = "Watching")]
    until_zero: Option<String>,

    /// Time between two looks, and without --watch over which rates are measured [default: 5s]
    #[arg(long, value_name = "DURATION", help_heading = "Watching")]
    interval: Option<String>,

    /// Keep a record of all looks in FILE across runs, to show for how long the lag has been zero
    #[arg(long, value_name = "FILE", help_heading = "Watching")]
    log: Option<PathBuf>,

    /// The lag counts as zero all the time where it was zero within every DURATION [default: 60s]
    #[arg(long, value_name = "DURATION", help_heading = "Thresholds")]
    zero_within: Option<String>,

    /// Below SIZE a lag is good [default: 10MB]
    #[arg(long, value_name = "SIZE", help_heading = "Thresholds")]
    good: Option<String>,

    /// From SIZE on a lag is a warning [default: 100MB]
    #[arg(long, value_name = "SIZE", help_heading = "Thresholds")]
    warning: Option<String>,

    /// From SIZE on a lag is critical [default: 1GB]
    #[arg(long, value_name = "SIZE", help_heading = "Thresholds")]
    critical: Option<String>,

    /// From when on an open transaction of the publisher is named [default: 1m]
    #[arg(long, value_name = "DURATION", help_heading = "Thresholds")]
    long_transaction: Option<String>,

    /// From SIZE on, WAL that is kept for a slot raises an alarm [default: 50GB]
    #[arg(long, value_name = "SIZE", help_heading = "Thresholds")]
    retained: Option<String>,
}

/// What is to be done, and what is known from before.
pub(super) struct Work {
    pub(super) config: LagConfig,
    pub(super) history: LagHistory,
    pub(super) view: View,
}

/// Shows looks, and keeps the log.
pub(super) struct View {
    mode: Mode,
    log: Option<LagLog>,
    /// The last lags of each subscription.
    recent: Vec<VecDeque<u64>>,
    /// Cancelled when nobody reads stdout any longer.
    stop: CancellationToken,
    /// What was looked at could not be written, to stdout or to the log.
    undelivered: bool,
}

/// What stdout gets while it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Nothing: the last look is shown at the end.
    Last(Format),
    /// A line of JSON for every look.
    Lines,
    /// The screen is drawn anew for every look.
    Screen,
}

impl Lag {
    pub(super) fn settings(&self) -> RawSettings {
        RawSettings {
            subscription: given(&self.subscription),
            long_transaction: self.long_transaction.clone(),
            retained: self.retained.clone(),
            ..self.common.settings()
        }
    }

    /// Checks the settings and opens the log.
    pub(super) fn prepare(
        &self,
        shared: RawSettings,
        environment: &Environment,
        progress: &Progress,
        stop: CancellationToken,
    ) -> Result<Work> {
        let raw = RawLag {
            shared,
            interval: self.interval.clone(),
            zero_within: self.zero_within.clone(),
            until_zero: self.until_zero.clone(),
            watch: self.watch,
            good: self.good.clone(),
            warning: self.warning.clone(),
            critical: self.critical.clone(),
        };
        let config = raw.validate(environment)?;
        let (mut log, mut history) = (None, LagHistory::default());
        if let Some(path) = &self.log {
            let read = LagLog::open(path, config.zero_within)?;
            if read.skipped > 0 {
                let text = format!("warning: {} lines of {} were not understood\n", read.skipped, path.display());
                progress.say(text.as_bytes());
            }
            (log, history) = (Some(read.log), read.history);
        }
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let terminal = std::io::stdout().is_terminal() && !dumb;
        let mode = match (self.watch, self.common.format, terminal) {
            (false, format, _) => Mode::Last(format),
            (true, Format::Text, true) => Mode::Screen,
            (true, ..) => Mode::Lines,
        };
        Ok(Work { config, history, view: View { mode, log, recent: Vec::new(), stop, undelivered: false } })
    }
}

impl View {
    /// Takes in a look. What cannot be written ends the watch: nobody would know what it saw.
    pub(super) fn look(&mut self, outcome: &LagOutcome, records: &[LagRecord]) -> Result<()> {
        let delivered = self.deliver(outcome, records);
        self.undelivered |= delivered.is_err();
        delivered
    }

    fn deliver(&mut self, outcome: &LagOutcome, records: &[LagRecord]) -> Result<()> {
        if let Some(log) = &mut self.log {
            log.append(records)?;
        }
        self.recent.resize_with(outcome.subscriptions.len(), VecDeque::new);
        for (recent, lag) in self.recent.iter_mut().zip(&outcome.subscriptions) {
            recent.extend(lag.lag_bytes);
            if recent.len() > SPARKLINE_LOOKS {
                recent.pop_front();
            }
        }
        let text = match self.mode {
            Mode::Last(_) => return Ok(()),
            Mode::Lines => line(outcome)?,
            Mode::Screen => screen(&render(outcome, &self.recent())),
        };
        if !shown_on_stdout(text.as_bytes())? {
            self.stop.cancel();
        }
        Ok(())
    }

    fn recent(&self) -> Vec<Vec<u64>> {
        self.recent.iter().map(|recent| recent.iter().copied().collect()).collect()
    }

    /// Shows how it ended, and answers with the exit code.
    pub(super) fn end(&self, mut outcome: LagOutcome, signal: Option<Signal>, progress: &Progress) -> Result<u8> {
        if let Some(signal) = signal.filter(|_| outcome.interrupted) {
            outcome.exit_code = signal.code();
        }
        Ok(match self.mode {
            Mode::Last(Format::Text) => tell(render(&outcome, &[]).as_bytes(), outcome.exit_code, progress),
            Mode::Last(Format::Json) => tell(&json::render(&outcome)?, outcome.exit_code, progress),
            // The last look is there already; that it was interrupted, the exit code tells.
            Mode::Lines | Mode::Screen => outcome.exit_code,
        })
    }

    /// What is left when it ended with an error: the exit code, where looks were there and could not be written.
    pub(super) fn give_up(&self, error: Error, progress: &Progress) -> Result<u8> {
        if !self.undelivered {
            return Err(error);
        }
        complain(progress, &error);
        Ok(exit::UNPROVEN)
    }
}

/// One line of JSON.
fn line(outcome: &LagOutcome) -> Result<String> {
    let line = serde_json::to_string(outcome)
        .map_err(|error| Error::new(ErrorKind::Io, "cannot write the JSON document").with_source(error))?;
    Ok(line + "\n")
}

/// Draws over what was there, so that nothing flickers.
fn screen(text: &str) -> String {
    let lines: String = text.lines().map(|line| format!("{line}{CLEAR_LINE}\n")).collect();
    format!("{HOME}{lines}{CLEAR_BELOW}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures_ops as fixtures;

    #[test]
    fn every_look_is_one_line_and_fits_the_screen() {
        let outcome = fixtures::lag();
        let text = line(&outcome).unwrap();
        assert_eq!((text.matches('\n').count(), text.ends_with("}\n")), (1, true));
        assert_eq!(serde_json::from_str::<LagOutcome>(&text).unwrap(), outcome);
        assert_eq!(screen("a\nb\n"), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
    }

    #[test]
    fn the_last_lags_are_kept() {
        let mut view = View {
            mode: Mode::Last(Format::Json),
            log: None,
            recent: Vec::new(),
            stop: CancellationToken::new(),
            undelivered: false,
        };
        let mut outcome = fixtures::lag();
        for lag in 0..100 {
            outcome.subscriptions[0].lag_bytes = Some(lag);
            view.look(&outcome, &[]).unwrap();
        }
        assert_eq!(view.recent(), [(40..100).collect::<Vec<_>>()]);
    }
}
