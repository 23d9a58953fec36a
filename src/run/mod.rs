//! The engines.

mod event;
mod outcome;
mod plan_outcome;

pub use event::{Event, Events};
pub use outcome::*;
pub use plan_outcome::{PlanOutcome, PlannedTable};
