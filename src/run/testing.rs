//! What several tests of the engines need.

use crate::catalog::{SequenceFacts, SequencePair};
use crate::side::Sides;
use crate::sql::QualifiedName;

/// A sequence from -100 to 100 that is the same on both sides and that nothing draws from.
pub(super) fn sequence_pair(increment: i64, cycle: bool) -> SequencePair {
    let facts = SequenceFacts { oid: 1, increment, min: -100, max: 100, start: 1, cache: 1, cycle, readable: true };
    SequencePair {
        name: QualifiedName::new("public", "s"),
        definitions: Sides::new(Some(facts.clone()), Some(facts)),
        columns: Vec::new(),
    }
}
