//! What likely made two sides differ. A hint, never part of the verdict.

use crate::compare::drill::Found;
use crate::compare::{Cause, DifferenceKind, RowCounts, Sample};
use crate::scan::TableContext;

macro_rules! codes {
    ($($name:ident = $code:literal: $meaning:literal,)+) => {
        /// What likely happened. The codes are stable: scripts match on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Code {
            $($name,)+
        }

        impl Code {
            fn text(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }
        }

        /// Every code of a likely [`Cause`] of a table's differences, and what it means.
        pub const TABLE_CAUSES: &[(&str, &str)] = &[$(($code, $meaning),)+];
    };
}

codes! {
    NeverCopied = "never_copied": "The subscriber's table is empty: it was not copied, or was emptied there.",
    DuplicateKeys = "duplicate_keys":
        "Keys stand on both sides, but not equally often: changes were applied twice, or a unique index is missing or corrupt.",
    RepresentationOnly = "representation_only":
        "The listed changed values are equal to their types, and differ in form only (1.50 and 1.5).",
    SameColumnsChanged = "same_columns_changed":
        "All listed changed rows differ in the same columns: something wrote these on one side only.",
    RowsChanged = "rows_changed": "Updates were lost, or rows were written on the subscriber.",
    RowsMissing = "rows_missing": "Inserts were lost, or rows were deleted on the subscriber.",
    RowsExtra = "rows_extra": "Rows were written on the subscriber, or deletes were lost.",
}

/// What is known of a table's differences.
pub(super) struct Evidence<'a> {
    pub(super) table: &'a TableContext,
    pub(super) rows: Option<RowCounts>,
    pub(super) found: &'a Found,
}

/// Likely causes, the most telling first; none where nothing differs.
pub(super) fn likely(evidence: &Evidence<'_>) -> Vec<Cause> {
    let found = evidence.found;
    let mut causes = Vec::new();
    let mut add = |code: Code, message: &str, evidence: String| {
        causes.push(Cause { code: code.text().to_owned(), message: message.to_owned(), evidence });
    };
    if found.rows() == 0 {
        return causes;
    }
    if let Some(rows) = evidence.rows
        && rows.subscriber == 0
        && rows.publisher > 0
    {
        add(
            Code::NeverCopied,
            "the table was not copied (copy_data = false, or a restore without it), or was emptied on the subscriber",
            format!("{} rows on the publisher, none on the subscriber", rows.publisher),
        );
    }
    if found.duplicated > 0 {
        let index = if evidence.table.pair.relations.subscriber.key_index { "an" } else { "no reliable" };
        add(
            Code::DuplicateKeys,
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
                Code::RepresentationOnly,
                "the values are equal to their type and differ in form only (1.50 and 1.5): a load or an application wrote them differently",
                format!("all {} listed changed rows", changed.len()),
            );
        } else if changed.iter().all(|sample| sample.columns == first.columns) {
            add(
                Code::SameColumnsChanged,
                "a trigger, a default, a backfill or an application wrote these columns on one side only",
                format!("all {} listed changed rows differ in {}", changed.len(), first.columns.join(", ")),
            );
        } else {
            add(
                Code::RowsChanged,
                "updates were lost (ALTER SUBSCRIPTION ... SKIP, a wrong restore point), or rows were written on the subscriber",
                format!("rows that differ: {}", found.changed),
            );
        }
    }
    if found.missing > 0 && found.duplicated == 0 {
        add(
            Code::RowsMissing,
            "inserts were lost (a slot created after the copy, a skipped transaction), or rows were deleted on the subscriber",
            format!("rows on the publisher only: {}", found.missing),
        );
    }
    if found.extra > 0 && found.duplicated == 0 {
        add(
            Code::RowsExtra,
            "rows were written on the subscriber, or deletes were lost",
            format!("rows on the subscriber only: {}", found.extra),
        );
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_stable_and_explained() {
        let mut codes: Vec<_> = TABLE_CAUSES.iter().map(|(code, _)| *code).collect();
        assert!(codes.iter().all(|code| code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
        assert!(TABLE_CAUSES.iter().all(|(_, meaning)| meaning.ends_with('.')));
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), TABLE_CAUSES.len());
        assert!(codes.contains(&Code::RowsMissing.text()));
    }
}
