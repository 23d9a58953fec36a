//! What likely made two sides differ. A hint, never part of the verdict.

use crate::compare::drill::Found;
use crate::compare::{Cause, DifferenceKind, RowCounts, Sample};
use crate::scan::TableContext;

/// What is known of a table's differences.
pub(crate) struct Evidence<'a> {
    pub(crate) table: &'a TableContext,
    pub(crate) rows: Option<RowCounts>,
    pub(crate) found: &'a Found,
}

/// Likely causes, the most telling first; none where nothing differs.
pub(crate) fn likely(evidence: &Evidence<'_>) -> Vec<Cause> {
    let found = evidence.found;
    let mut causes = Vec::new();
    let mut add = |code: &str, message: &str, evidence: String| {
        causes.push(Cause { code: code.to_owned(), message: message.to_owned(), evidence });
    };
    if found.rows() == 0 {
        return causes;
    }
    if let Some(rows) = evidence.rows
        && rows.subscriber == 0
        && rows.publisher > 0
    {
        add(
            "never_copied",
            "the table was not copied (copy_data = false, or a restore without it), or was emptied on the subscriber",
            format!("{} rows on the publisher, none on the subscriber", rows.publisher),
        );
    }
    if found.duplicated > 0 {
        let index = if evidence.table.pair.relations.subscriber.key_index { "an" } else { "no reliable" };
        add(
            "duplicate_keys",
            "changes were applied twice, or the unique index of the key is missing or corrupt on a side",
            format!(
                "{} differing rows have a key that stands on both sides, but not equally often; the subscriber has {index} index on the key",
                found.duplicated
            ),
        );
    }
    let changed: Vec<&Sample> = found.samples.iter().filter(|sample| sample.kind == DifferenceKind::Changed).collect();
    if let Some(first) = changed.first() {
        if changed.iter().all(|sample| sample.representation_only) {
            add(
                "representation_only",
                "the values are equal to their type and differ in form only (1.50 and 1.5): a load or an application wrote them differently",
                format!("all {} listed changed rows", changed.len()),
            );
        } else if changed.iter().all(|sample| sample.columns == first.columns) {
            add(
                "same_columns_changed",
                "a trigger, a default, a backfill or an application wrote these columns on one side only",
                format!("all {} listed changed rows differ in {}", changed.len(), first.columns.join(", ")),
            );
        } else {
            add(
                "rows_changed",
                "updates were lost (ALTER SUBSCRIPTION ... SKIP, a wrong restore point), or rows were written on the subscriber",
                format!("{} rows differ", found.changed),
            );
        }
    }
    if found.missing > 0 && found.duplicated == 0 {
        add(
            "rows_missing",
            "inserts were lost (a slot created after the copy, a skipped transaction), or rows were deleted on the subscriber",
            format!("{} rows are on the publisher only", found.missing),
        );
    }
    if found.extra > 0 && found.duplicated == 0 {
        add(
            "rows_extra",
            "rows were written on the subscriber, or deletes were lost",
            format!("{} rows are on the subscriber only", found.extra),
        );
    }
    causes
}
