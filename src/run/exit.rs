//! The exit codes that results stand for. Users' scripts rely on them; the command line adds those of runs without a result.

use crate::verdict::Verdict;

/// Complete, and everything matches; for `plan`: the plan was made; for `lag`: within the thresholds; for `preflight`: nothing
/// to fix.
pub const MATCH: u8 = 0;
/// At least one proven difference, also when other things are unproven; for `lag`: beyond a threshold; for `preflight`:
/// something to fix.
pub const DIFFERENT: u8 = 1;
/// No difference seen, but something is unproven, a connection was lost for good, or a result could not be delivered where
/// it was asked for. A result that nobody could read on stdout is neither a match nor a difference. For `preflight`: nothing
/// to fix as far as could be seen, but a question was not answered.
pub const UNPROVEN: u8 = 3;

/// The exit code that a verdict stands for.
pub(crate) fn code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Match => MATCH,
        Verdict::Different => DIFFERENT,
        Verdict::Unproven => UNPROVEN,
    }
}
