//! What the pieces mean: the state machine of a table, from "nothing was read" to its outcome. No I/O, no async.
//!
//! Pieces go in, jobs or an outcome come out. [`agree`] is the only function of the crate that answers
//! [`Verdict::Match`]; everything starts as [`Verdict::Unproven`] and only an agreement of two values that were both
//! really read changes that.

mod aside;
mod case;
pub(crate) mod causes;
mod digesting;
mod drill;
mod figures;
mod join;
mod judge;
mod outcome;
mod peel;
mod reading;
mod recheck;
mod representation;
mod sample;
#[cfg(test)]
mod scenarios;
mod units;

pub(crate) use aside::Suspecting;
pub(crate) use case::{After, Case, Settings};
pub(crate) use join::{Difference, join};
pub(crate) use judge::Finished;
pub use outcome::*;
pub(crate) use recheck::{Pending, Proven};

use crate::verdict::Verdict;

/// Whether both sides hold the same. What was not read on either side is no agreement.
///
/// This is the one place where a match comes from; a test holds the crate to it.
#[must_use]
pub(crate) fn agree<T: PartialEq + ?Sized>(publisher: Option<&T>, subscriber: Option<&T>) -> Verdict {
    match (publisher, subscriber) {
        (Some(publisher), Some(subscriber)) if publisher == subscriber => Verdict::Match,
        (Some(_), Some(_)) => Verdict::Different,
        _ => Verdict::Unproven,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_read_is_no_agreement() {
        assert_eq!(agree::<u8>(None, None), Verdict::Unproven);
        assert_eq!(agree(Some(&1), None), Verdict::Unproven);
        assert_eq!(agree(Some(&1), Some(&2)), Verdict::Different);
        assert_eq!(agree(Some(&1), Some(&1)), Verdict::Match);
    }
}
