//! The engines.

mod assemble;
mod cuts;
mod epoch;
mod event;
pub(crate) mod figures;
mod monitor;
mod outcome;
mod plan;
mod plan_outcome;
mod preflight;
mod queue;
mod sequences;
mod servers;
mod verify;

pub use crate::compare::{
    Cause, Checks, ChunkRecord, ColumnCheck, DifferenceKind, FigureCheck, RowCounts, RowsCheck, Sample, TableOutcome,
};
pub use crate::plan::{ChunkRange, KeyText};
pub use event::{Event, Events};
pub use outcome::*;
pub use plan::plan;
pub use plan_outcome::{PlanOutcome, PlannedTable};
pub use preflight::{
    CHECKS, Check, PreflightOutcome, Proof, ProofGap, ProofLevel, PublicationReport, Status, WalRate, preflight,
};
pub use verify::{Verified, verify};
