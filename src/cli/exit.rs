//! Exit codes. Users' scripts rely on them.

use crate::error::ErrorKind;
use crate::run::Outcome;
pub use crate::run::exit::{DIFFERENT, MATCH, UNPROVEN};
use crate::verdict::Verdict;

/// Usage or configuration error, cannot connect, nothing selected: no verdict was begun.
pub const TROUBLE: u8 = 2;
/// Interrupted by SIGINT (128 + 2); a partial report was written.
pub const INTERRUPTED: u8 = 130;
/// Interrupted by SIGTERM (128 + 15); a partial report was written.
pub const TERMINATED: u8 = 143;

/// The codes as `--help` explains them.
pub(crate) const HELP: &str = "\
Exit codes:
    0  complete, and everything matches (plan: the plan was made; lag: within the thresholds)
    1  at least one proven difference (lag: beyond a threshold), also when other things are unproven
    2  usage or configuration error, cannot connect, nothing selected: no verdict was begun
    3  no difference seen, but something is unproven (lag: unknown, or --until-zero not reached), a connection was lost for
       good, or a report could not be written; also whenever the result could not be written to stdout
  130  interrupted by Ctrl-C, 143 by SIGTERM: verify and lag still wrote what they knew
Treat any other code as a failure.";

/// The codes of `preflight`.
pub(crate) const PREFLIGHT_HELP: &str = "\
Exit codes:
    0  nothing to fix; there may be warnings
    1  something to fix, also when a question was not answered
    2  usage or configuration error, cannot connect: nothing was judged
    3  nothing to fix as far as could be seen, but a question was not answered: a server refused a probe, a connection was
       lost for good, a restore point cannot be proven; or the result could not be written
  130  interrupted by Ctrl-C, 143 by SIGTERM
Treat any other code as a failure.";

/// A request to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT, Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl Signal {
    /// The exit code of a run that it interrupted.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Interrupt => INTERRUPTED,
            Self::Terminate => TERMINATED,
        }
    }
}

/// The exit code of a run without a result: whatever was lost after a session had been opened was lost at work.
#[must_use]
pub fn failure(kind: ErrorKind, signal: Option<Signal>) -> u8 {
    match (kind, signal) {
        (ErrorKind::Interrupted, Some(signal)) => signal.code(),
        (ErrorKind::Lost, _) => UNPROVEN,
        _ => TROUBLE,
    }
}

/// The exit code of a result that could not be written to stdout.
#[must_use]
pub fn unseen(code: u8) -> u8 {
    match code {
        MATCH | DIFFERENT => UNPROVEN,
        other => other,
    }
}

/// The exit code of a run, before stdout is written.
///
/// A signal that came too late to interrupt anything changes nothing. An interrupted run is never a match.
#[must_use]
pub fn code(outcome: &Outcome, signal: Option<Signal>, delivered: bool) -> u8 {
    match (outcome.interrupted, signal, outcome.verdict) {
        (true, Some(signal), _) => signal.code(),
        (_, _, Verdict::Different) => DIFFERENT,
        (false, _, Verdict::Match) if delivered => MATCH,
        (_, _, Verdict::Match | Verdict::Unproven) => UNPROVEN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures;

    #[test]
    fn without_a_result_and_with_one_that_nobody_sees() {
        let int = Some(Signal::Interrupt);
        assert_eq!(failure(ErrorKind::Usage, None), 2);
        assert_eq!(failure(ErrorKind::Connect, int), 2);
        assert_eq!(failure(ErrorKind::Lost, None), 3);
        assert_eq!(failure(ErrorKind::Interrupted, int), 130);
        assert_eq!([0, 1, 2, 3, 130, 143].map(unseen), [3, 3, 2, 3, 130, 143]);
    }

    #[test]
    fn every_combination() {
        use Verdict::{Different, Match, Unproven};
        let of = |verdict, interrupted, signal, delivered| {
            code(&Outcome { verdict, interrupted, ..fixtures::matching() }, signal, delivered)
        };
        let term = Some(Signal::Terminate);
        assert_eq!(of(Match, false, None, true), 0);
        assert_eq!(of(Match, false, None, false), 3);
        assert_eq!(of(Match, false, term, true), 0);
        assert_eq!(of(Match, true, None, true), 3);
        assert_eq!(of(Match, true, term, true), 143);
        assert_eq!(of(Different, false, None, true), 1);
        assert_eq!(of(Different, false, None, false), 1);
        assert_eq!(of(Different, true, Some(Signal::Interrupt), false), 130);
        assert_eq!(of(Different, true, None, true), 1);
        assert_eq!(of(Unproven, false, None, true), 3);
        assert_eq!(of(Unproven, true, Some(Signal::Interrupt), true), 130);
    }
}
