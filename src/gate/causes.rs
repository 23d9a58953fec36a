//! The catalogue of causes of a lag.

use serde::{Deserialize, Serialize};

use crate::catalog::Severity;

macro_rules! codes {
    ($($name:ident = $code:literal: $meaning:literal,)+) => {
        /// Why replication lags or stands still. The codes are stable: scripts match on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Code {
            $($name,)+
        }

        impl Code {
            pub(super) fn text(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }
        }

        /// Every code of a [`Cause`], and what it means.
        pub const CAUSES: &[(&str, &str)] = &[$(($code, $meaning),)+];
    };
}

codes! {
    SubscriptionGone = "subscription_gone": "The subscription was dropped while it was watched.",
    SubscriptionDisabled = "subscription_disabled": "The subscription is disabled, so nothing is applied.",
    WrongSlot = "wrong_slot": "The subscription names a slot that the publisher's database does not have.",
    SlotLost = "slot_lost": "The publisher has removed WAL that the slot needs, or is about to.",
    AnotherPublisher = "another_publisher": "The worker is fed by another server than this publisher.",
    WorkersExhausted = "workers_exhausted": "The subscriber has no worker left for the subscription.",
    WorkerAbsent = "worker_absent": "The subscription is enabled, but no worker runs for it.",
    ApplyErrors = "apply_errors": "Applying failed; it is tried again for ever.",
    ApplyBlocked = "apply_blocked": "The worker waits for a lock that somebody on the subscriber holds.",
    OriginMissing = "origin_missing": "The subscription has no replication origin, so it was not created properly.",
    OriginNotAdvanced = "origin_not_advanced":
        "The subscription was made without copying its tables, and its origin was not advanced to the restore point.",
    SlotInactive = "slot_inactive": "No walsender serves the slot.",
    TableNotReady = "table_not_ready": "Tables are still being copied.",
    NetworkSilence = "network_silence": "The worker has not heard from the publisher for long.",
    LargeTransaction = "large_transaction": "One large transaction is being decoded or applied.",
    LongTransaction = "long_transaction": "A transaction has been open on the publisher for long.",
    PreparedTransaction = "prepared_transaction": "A prepared transaction is neither committed nor rolled back.",
    FallingBehind = "falling_behind": "More WAL is written than the subscriber applies.",
    Unexplained = "unexplained": "The flushed position does not move, and nothing that was seen explains it.",
}

/// A likely cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// A stable identifier, one of [`CAUSES`].
    pub code: String,
    /// `error` where replication cannot go on by itself, `info` for what follows from another cause.
    pub severity: Severity,
    /// What was seen.
    pub evidence: String,
    /// What to do about it.
    pub remedy: String,
}

/// A cause while it is weighed against others, which is by its code.
pub(super) type Coded = (Code, Cause);

/// A cause with this code.
pub(super) fn cause(code: Code, severity: Severity, evidence: impl Into<String>, remedy: impl Into<String>) -> Coded {
    (code, Cause { code: code.text().to_owned(), severity, evidence: evidence.into(), remedy: remedy.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_explained() {
        let mut codes: Vec<_> = CAUSES.iter().map(|(code, _)| *code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), CAUSES.len());
        assert!(CAUSES.iter().all(|(_, meaning)| meaning.ends_with('.')));
    }
}
