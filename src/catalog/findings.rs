//! The catalogue of findings: their codes are stable, scripts match on them.

use super::model::{Finding, Severity};
use crate::side::Side;
use crate::sql::QualifiedName;

macro_rules! findings {
    ($($name:ident = $code:literal: $meaning:literal,)+) => {
        /// The codes that reading the catalogs can give.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Code {
            $($name,)+
        }

        impl Code {
            fn text(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }
        }

        /// Every code of a finding that reading the catalogs can give, and what it means.
        pub const FINDINGS: &[(&str, &str)] = &[$(($code, $meaning),)+];
    };
}

findings! {
    SubscriptionOfAnotherPublisher = "subscription_of_another_publisher":
        "A subscription of the subscriber's database has no slot on this publisher; what it feeds is not looked at.",
    PublicationMissing = "publication_missing":
        "A subscription names a publication that the publisher does not have, so its tables cannot be known.",
    TableMissing = "table_missing": "A selected table of the publisher does not exist on the subscriber.",
    ExtraTable = "extra_table": "A table exists on the subscriber only.",
    TableNotReady = "table_not_ready": "The subscription has not finished copying the table, or does not know it yet.",
    NotCopied = "not_copied":
        "The subscription did not copy the rows that were there before it (copy_data = false).",
    SeveralSubscriptions = "several_subscriptions": "A table is fed by more than one subscription.",
    TableNotReplicated = "table_not_replicated": "A table of the publisher is not carried by replication.",
    UnloggedTable = "unlogged_table": "A table is unlogged; replication never carries it.",
    ForeignTable = "foreign_table": "A foreign table holds no data of this server and is not compared.",
    MaterializedView = "materialized_view": "A materialized view is derived data: refresh it on the subscriber.",
    ExtensionTable = "extension_table": "A table belongs to an extension and is not carried by replication.",
    LargeObjects = "large_objects": "The publisher holds large objects; replication never carries them.",
    RowFilter = "row_filter": "A publication carries only those rows of a table that pass its filter.",
    ColumnNotReplicated = "column_not_replicated": "A column of the publisher is not carried by replication.",
    ColumnListsDiffer = "column_lists_differ":
        "Publications of one subscription carry different columns of a table; replication of it fails.",
    ColumnMissing = "column_missing": "A published column does not exist on the subscriber; replication of it fails.",
    ExtraColumn = "extra_column": "A column exists on the subscriber only; it is not compared.",
    GenerationUnknown = "generation_unknown": "How a stored generated column is computed is not known, or not the same in all partitions: rows that are written meanwhile cannot be compared.",
    VirtualColumn = "virtual_column": "A virtual generated column is computed when read and is not compared.",
    GeneratedOnSubscriber = "generated_on_subscriber":
        "A published column is generated on the subscriber, so replication cannot write it.",
    ColumnType = "column_type": "A column has different types on the two sides.",
    ColumnModifier = "column_modifier": "A column's type has different modifiers on the two sides, or only one is a domain.",
    NoKey = "no_key": "No key identifies the rows of a table; it is compared as a multiset.",
    NoReplicaIdentity = "no_replica_identity":
        "A table has no replica identity: updates and deletes of it fail on the publisher or are not replicated.",
    PublishesSome = "publishes_some_actions": "Publications do not publish every kind of change of a table.",
    TriggerFiresOnApply = "trigger_fires_on_apply":
        "A trigger on the subscriber fires when replication writes, and may change what it writes.",
    DefaultMissing = "default_missing": "A column has a default on the publisher and none on the subscriber.",
    DefaultDiffers = "default_differs": "A column has different defaults on the two sides, or one that is written otherwise.",
    NotNullMissing = "not_null_missing": "A column that is NOT NULL on the publisher may be NULL on the subscriber.",
    ConstraintMissing = "constraint_missing": "A constraint of the publisher does not exist on the subscriber.",
    ConstraintNotValid = "constraint_not_valid": "A constraint was never validated on the subscriber (NOT VALID).",
    ConstraintDiffers = "constraint_differs": "A constraint is another one on the subscriber, or is written otherwise.",
    IndexMissing = "index_missing": "An index of the publisher does not exist on the subscriber.",
    IndexInvalid = "index_invalid": "An index cannot be used on the subscriber: building it failed or has not ended.",
    IndexDiffers = "index_differs": "An index is another one on the subscriber, or is written otherwise.",
    RowSecurityDiffers = "row_security_differs": "Row-level security of a table is enabled on one side only.",
    CollationChanged = "collation_changed":
        "A library sorts texts otherwise than when indexes were built, or may do so: they may be corrupt, and are not relied on.",
    NotDescribed = "not_described": "The definitions of a table could not be read because another session has locked it.",
    SettingDiffers = "setting_differs": "A setting that changes what values mean differs between the two sides.",
    ExtensionDiffers = "extension_differs": "An extension is missing on the subscriber, or has another version there.",
    TableMapped = "table_mapped": "The configuration maps a table or its columns to other names, or leaves columns out.",
    SequenceMissing = "sequence_missing": "A sequence of the publisher does not exist on the subscriber.",
    ExtraSequence = "extra_sequence": "A sequence exists on the subscriber only.",
    SequenceBehind = "sequence_behind": "A sequence of the subscriber is not safe to use yet, which is no difference while replication is live.",
    SequenceDefinition = "sequence_definition": "A sequence is defined differently on the two sides.",
    PermissionDenied = "permission_denied": "The role may not read something that was selected.",
    NotATable = "not_a_table": "What has the name of a selected table on the subscriber is not a table.",
    SessionsRefused = "sessions_refused":
        "A server gave fewer sessions than `--jobs` asks for: reading took longer, and nothing is less proven.",
}

/// A side that gave fewer sessions than were asked for, and what its server said.
pub(crate) fn sessions_refused(side: Side, got: usize, asked: usize, why: &str) -> Finding {
    let message = format!("the {side} gave no more than {got} of the {asked} sessions that --jobs asks for: {why}");
    let hint = "raise the role's CONNECTION LIMIT or the server's max_connections, or use fewer --jobs";
    Code::SessionsRefused.finding(Severity::Warning, &side, message, hint)
}

/// A sequence that is not safe to use while replication is live, and why.
pub(crate) fn sequence_behind(name: &QualifiedName, why: impl Into<String>) -> Finding {
    let hint = "set it at cutover, when writes have stopped: triplecheck sequences --emit-sql FILE";
    Code::SequenceBehind.finding(Severity::Warning, name, why, hint)
}

/// Whether a finding is about sequences, or about what joins the two sides.
pub(crate) fn concerns_sequences(finding: &Finding) -> bool {
    let codes =
        [Code::SequenceMissing, Code::ExtraSequence, Code::SequenceDefinition, Code::SubscriptionOfAnotherPublisher];
    codes.iter().any(|code| code.text() == finding.code)
}

impl Code {
    /// A finding with this code.
    pub(super) fn finding(
        self,
        severity: Severity,
        object: &(impl ToString + ?Sized),
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Finding {
        Finding {
            code: self.text().to_owned(),
            severity,
            object: object.to_string(),
            message: message.into(),
            hint: hint.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_stable_and_explained() {
        let mut codes: Vec<_> = FINDINGS.iter().map(|(code, _)| *code).collect();
        assert!(codes.iter().all(|code| code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
        assert!(FINDINGS.iter().all(|(_, meaning)| meaning.ends_with('.')));
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), FINDINGS.len());
        let finding = Code::NoKey.finding(Severity::Warning, "public.t", "message", "hint");
        assert!(codes.contains(&finding.code.as_str()));
    }
}
