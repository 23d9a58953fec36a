//! The engines.

mod assemble;
mod cuts;
mod epoch;
mod event;
pub(crate) mod exit;
pub(crate) mod figures;
mod holding;
mod lag;
mod lag_outcome;
mod lag_record;
mod lag_track;
mod monitor;
mod outcome;
mod plan;
mod plan_outcome;
mod preflight;
mod prepare;
mod queue;
mod recheck;
mod sequence_check;
mod sequence_ends;
mod sequence_script;
mod sequences;
mod sequences_outcome;
mod servers;
mod supply;
#[cfg(test)]
mod testing;
mod verify;

pub use crate::compare::causes::TABLE_CAUSES;
pub use crate::compare::{
    Cause, Checks, ChunkRecord, ColumnCheck, DifferenceKind, DigestCheck, FigureCheck, RowCounts, RowsCheck, RowsProof,
    Sample, TableOutcome, Unsettled,
};
pub use crate::gate::causes::{CAUSES, Cause as LagCause};
pub use crate::plan::{ChunkRange, KeyText};
pub use event::{Event, Events};
pub use lag::{LagEvents, lag};
pub use lag_outcome::{LagLevel, LagOutcome, Outlook, SubscriptionLag, UntilZero, ZeroLag};
pub use lag_record::{LagHistory, LagRecord, RecordKey};
pub use outcome::*;
pub use plan::plan;
pub use plan_outcome::{PlanOutcome, PlannedTable};
pub use preflight::{
    CHECKS, Check, PreflightOutcome, Proof, ProofGap, ProofLevel, PublicationReport, Status, WalRate, preflight,
};
pub use sequence_check::sequences;
pub use sequences_outcome::{SequenceCheck, SequenceColumnCheck, SequencesOutcome, SetTo};
pub use verify::{Verified, verify};
