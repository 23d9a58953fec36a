//! All reading of user tables. One job reads one piece of one side in one session, in a transaction of its own that
//! imports the side's snapshot and ends with the job, so that its locks are let go.

mod digest;
mod entries;
mod execute;
mod figures;
mod filer;
mod job;
mod lookup;
mod rows;
mod sinks;
mod sketches;
mod starts;
mod versions;

pub(crate) use digest::{Digest, Hashing, hashing};
pub(crate) use entries::Entries;
pub(crate) use entries::{ENTRIES_MAX, Entry};
pub(crate) use execute::evaluate;
pub(crate) use execute::{Context, Done, execute};
pub(crate) use figures::{ColumnFigure, Figures, figure_statements};
pub(crate) use job::{DrillUnit, Job, Piece, SequenceColumn, TableContext, Work};
pub(crate) use lookup::{Found, look_up};
pub(crate) use rows::SampledRow;
pub(crate) use sinks::{ASIDE_BYTES_MAX, key_bytes, too_many};
pub(crate) use sketches::{LocatedKeys, Sketches, TableSketch};
pub(crate) use versions::{SeenRow, versions};
