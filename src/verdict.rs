//! The three answers, and why an answer may be missing.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is known about a table, a check or a whole run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything was read on both sides and agreed.
    Match,
    /// Something was not read, not supported or not understood, and nothing that was read differed.
    Unproven,
    /// A difference was seen.
    Different,
}

impl Verdict {
    /// The worse of two: a proven difference outweighs what is unproven, which outweighs a match.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        let weight = |verdict| match verdict {
            Self::Match => 0,
            Self::Unproven => 1,
            Self::Different => 2,
        };
        if weight(other) > weight(self) { other } else { self }
    }

    /// The worst of many. Of nothing, nothing is known: the answer is [`Verdict::Unproven`].
    pub fn worst_of(verdicts: impl IntoIterator<Item = Self>) -> Self {
        verdicts.into_iter().reduce(Self::worst).unwrap_or(Self::Unproven)
    }

    /// The word that reports use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::Unproven => "unproven",
            Self::Different => "different",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal,)+) => {
        /// Why a verdict is [`Verdict::Unproven`]. The codes are stable: scripts match on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[doc = $doc])+ #[serde(rename = $code)] $name,)+
        }

        impl Reason {
            /// Every reason there is, in the order of the catalogue in the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The stable identifier.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// What it means, in one or two sentences.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii_start(),)+ }
            }
        }
    };
}

reasons! {
    /// Nothing of the table has been read.
    NotRead = "not_read",
    /// The row check was not selected, so rows were not compared.
    RowsNotChecked = "rows_not_checked",
    /// The publisher holds data that replication does not carry.
    NotReplicated = "not_replicated",
    /// The sync point was not reached within the time allowed.
    GateNotReached = "gate_not_reached",
    /// The subscription has not finished copying the table, or replicates it no longer.
    TableNotReady = "table_not_ready",
    /// The table is fed by more than one subscription, so no single position describes it.
    SeveralSubscriptions = "several_subscriptions",
    /// What is published does not imply equality, and the two sides do differ.
    EqualityNotImplied = "equality_not_implied",
    /// A column is missing, of another type or computed otherwise on the subscriber, so it cannot be compared soundly.
    ColumnNotComparable = "column_not_comparable",
    /// The role may not read it.
    PermissionDenied = "permission_denied",
    /// The table changed its shape or was truncated while it was read, more often than we try again.
    ChangedMeanwhile = "changed_meanwhile",
    /// More of it changed between the two snapshots than memory may hold, more often than we try again.
    ChangedTooMuch = "changed_too_much",
    /// Reading had to give way to blocked sessions more often than we try again.
    KeptBlocking = "kept_blocking",
    /// A session was lost more often than we try again.
    ConnectionLost = "connection_lost",
    /// The table could not be read within the age limit of a snapshot.
    SnapshotAge = "snapshot_age",
    /// Not as many rows were read as `count(*)` counts in the same snapshot: a defect of ours or corruption.
    RowsMiscounted = "rows_miscounted",
    /// A row came back outside of the key range that it was read for: a corrupt index or a wrong collation.
    RowOutsideChunk = "row_outside_chunk",
    /// Reading the same rows again in the same snapshot gave something else: a corrupt index or a defect of ours.
    RereadDiffers = "reread_differs",
    /// Independent checks contradict each other: a defect of ours or corruption.
    ChecksDisagree = "checks_disagree",
    /// The server or the data do not support a check that was selected.
    Unsupported = "unsupported",
    /// A server reported an error that we do not know how to go on from.
    ServerError = "server_error",
    /// Rows that changed while both sides were read never held still long enough to be settled by looking at them again.
    NeverHeldStill = "never_held_still",
    /// The run was interrupted before this was settled.
    Interrupted = "interrupted",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_outweighs_everything_and_nothing_is_unproven() {
        use Verdict::{Different, Match, Unproven};
        assert_eq!(Verdict::worst_of([Match, Unproven, Different, Match]), Different);
        assert_eq!(Verdict::worst_of([Match, Unproven]), Unproven);
        assert_eq!(Verdict::worst_of([Match, Match]), Match);
        assert_eq!(Verdict::worst_of([]), Unproven);
    }

    #[test]
    fn codes_are_unique_and_explained() {
        let mut codes: Vec<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Reason::ALL.len());
        assert!(Reason::ALL.iter().all(|reason| reason.meaning().ends_with('.')));
    }
}
