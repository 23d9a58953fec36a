//! The engines.

mod event;
mod outcome;
mod plan_outcome;

use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};

/// Temporary: what `verify` gives.
#[derive(Debug)]
pub struct Verified {
    /// The outcome.
    pub outcome: Outcome,
    /// The ledger.
    pub chunks: Vec<ChunkRecord>,
}

/// Temporary: stands in for the engine.
#[expect(clippy::unused_async)]
pub async fn verify(_config: Config, _events: Events, _stop: CancellationToken) -> Result<Verified> {
    Err(Error::new(ErrorKind::Unsupported, "run/ is not merged yet"))
}

/// Temporary: stands in for the engine.
#[expect(clippy::unused_async)]
pub async fn plan(_config: Config, _stop: CancellationToken) -> Result<PlanOutcome> {
    Err(Error::new(ErrorKind::Unsupported, "run/ is not merged yet"))
}

pub use event::{Event, Events};
pub use outcome::*;
pub use plan_outcome::{PlanOutcome, PlannedTable};
