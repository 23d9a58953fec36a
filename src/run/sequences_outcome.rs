//! The outcome of `sequences`.

use serde::{Deserialize, Serialize};

use super::outcome::{SequenceOutcome, Server, Tool};
use crate::catalog::Finding;
use crate::side::Sides;
use crate::verdict::Verdict;

/// The outcome of `sequences`: `schema_version` 1, fields are added, never renamed or removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SequencesOutcome {
    /// [`SCHEMA_VERSION`](super::SCHEMA_VERSION) of the writer.
    pub schema_version: u32,
    /// Who wrote it.
    pub tool: Tool,
    /// The worst of all sequences.
    pub verdict: Verdict,
    /// The exit code of the command.
    pub exit_code: u8,
    /// When the reading began, RFC 3339 in UTC.
    pub started_at: String,
    /// When it ended.
    pub finished_at: String,
    /// The publisher.
    pub publisher: Server,
    /// The subscriber.
    pub subscriber: Server,
    /// How many values [`SequenceCheck::set_to`] leaves free.
    pub margin: u64,
    /// Whether [`SequenceCheck::set_to`] sets back what is ahead of the publisher.
    pub backward: bool,
    /// The sequences, by schema and name.
    pub sequences: Vec<SequenceCheck>,
    /// What was left out on purpose, by name.
    pub excluded: Vec<String>,
    /// What a careful reader should know besides.
    pub findings: Vec<Finding>,
}

/// One sequence on both sides. Values are decimal texts: the value behind the last one of a sequence does not fit 64 bits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceCheck {
    /// Whether the subscriber's next value is safe, as `verify` reports it.
    #[serde(flatten)]
    pub outcome: SequenceOutcome,
    /// How far the subscriber's next value is behind the publisher's, in the direction that the sequence counts; negative
    /// where it is ahead.
    pub gap: Option<String>,
    /// The step on each side; null where the sequence is not there.
    pub increment: Sides<Option<String>>,
    /// Values that a session takes at once on each side. What is taken counts as handed out.
    pub cache: Sides<Option<String>>,
    /// Whether it starts over at its end, on either side.
    pub cycle: bool,
    /// The columns that own it or draw from it on either side, the publisher's owner first.
    pub columns: Vec<SequenceColumnCheck>,
    /// What the script for the subscriber sets; null where it leaves the sequence alone.
    pub set_to: Option<SetTo>,
    /// Why the script leaves the sequence alone; null where it sets it.
    pub left_alone: Option<String>,
}

/// A column that a sequence feeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceColumnCheck {
    /// Schema of the table.
    pub schema: String,
    /// Name of the table.
    pub table: String,
    /// The column.
    pub column: String,
    /// The largest value on each side, or the smallest for a sequence that counts down; null where there is none.
    pub last: Sides<Option<String>>,
    /// Why a last value is not known, for people.
    pub note: Option<String>,
}

/// The arguments of `setval()`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetTo {
    /// The value.
    pub value: String,
    /// Whether it counts as handed out already: so for a sequence that is at its end, else false.
    pub is_called: bool,
    /// What the sequence hands out next after that; the script does not run where it is there or beyond already, unless
    /// it sets back.
    pub next: String,
    /// Whether that is behind what the subscriber would hand out next.
    pub backward: bool,
}
