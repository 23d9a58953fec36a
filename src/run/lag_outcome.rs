//! The outcome of `lag`.

use serde::{Deserialize, Serialize};

use super::exit;
use super::outcome::{Server, Tool};
use crate::catalog::{Finding, Severity};
use crate::config::LagThresholds;
use crate::gate::causes::Cause;
use crate::lsn::Lsn;

/// One look of `lag`: `schema_version` 1, fields are added, never renamed or removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LagOutcome {
    /// [`SCHEMA_VERSION`](super::SCHEMA_VERSION) of the writer.
    pub schema_version: u32,
    /// Who wrote it.
    pub tool: Tool,
    /// The worst of all subscriptions.
    pub level: LagLevel,
    /// The exit code of the command, if it ended now.
    pub exit_code: u8,
    /// Whether it was interrupted.
    pub interrupted: bool,
    /// When the look was taken, RFC 3339 in UTC, by the clock of the machine that triplecheck runs on.
    pub at: String,
    /// The publisher.
    pub publisher: Server,
    /// The subscriber.
    pub subscriber: Server,
    /// What decides on the levels.
    pub thresholds: LagThresholds,
    /// Over how long rates were measured, milliseconds; 0 at the first look.
    pub measured_ms: u64,
    /// The publisher's normalised insert position.
    pub publisher_lsn: Lsn,
    /// WAL that the publisher writes, bytes a second; null at the first look.
    pub wal_bytes_per_second: Option<u64>,
    /// Where `--until-zero` waits.
    pub until_zero: Option<UntilZero>,
    /// The subscriptions, by name.
    pub subscriptions: Vec<SubscriptionLag>,
    /// What holds up all of them: transactions of the publisher.
    pub causes: Vec<Cause>,
    /// What a careful reader should know besides.
    pub findings: Vec<Finding>,
}

/// How far `--until-zero` has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UntilZero {
    /// How long it waits at most.
    pub timeout_ms: u64,
    /// How long it has waited.
    pub waited_ms: u64,
    /// Whether all subscriptions have been at zero at the same time.
    pub reached: bool,
}

/// How bad a lag is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LagLevel {
    /// Below the first threshold.
    Good,
    /// Between good and warning.
    Fair,
    /// Nothing is known.
    Unknown,
    /// At or beyond the warning threshold.
    Warning,
    /// At or beyond the critical threshold: it may not catch up.
    Critical,
}

impl LagLevel {
    /// The level of a lag in bytes.
    #[must_use]
    pub fn of(lag: Option<u64>, thresholds: &LagThresholds) -> Self {
        match lag {
            None => Self::Unknown,
            Some(lag) if lag >= thresholds.critical_bytes => Self::Critical,
            Some(lag) if lag >= thresholds.warning_bytes => Self::Warning,
            Some(lag) if lag >= thresholds.good_bytes => Self::Fair,
            Some(_) => Self::Good,
        }
    }

    /// The word that reports use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Fair => "fair",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// One subscription.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubscriptionLag {
    /// The subscription.
    pub subscription: String,
    /// The slot that is to feed it.
    pub slot: String,
    /// How bad its lag is.
    pub level: LagLevel,
    /// Whether it is enabled; null where it is not there any longer.
    pub enabled: Option<bool>,
    /// What its worker has received; null without a worker.
    pub received_lsn: Option<Lsn>,
    /// What the walsender has sent; null without one, or without `pg_monitor`.
    pub sent_lsn: Option<Lsn>,
    /// `confirmed_flush_lsn` of the slot, normalised.
    pub flushed_lsn: Option<Lsn>,
    /// Everything that committed before is applied: the further of `flushed_lsn` and `pg_stat_replication.replay_lsn`.
    pub applied_lsn: Option<Lsn>,
    /// What `applied_lsn` is short of the publisher's position; null without a slot.
    pub lag_bytes: Option<u64>,
    /// How long ago the publisher wrote what is applied next, milliseconds.
    pub behind_ms: Option<u64>,
    /// Whether `behind_ms` is a lower bound: nobody watched when that was written.
    pub behind_at_least: bool,
    /// How fast `flushed_lsn` moves, bytes a second; null at the first look.
    pub flushed_bytes_per_second: Option<u64>,
    /// Whether `flushed_lsn` has moved since the last look that found something to flush; null while there was none.
    pub flushed_moves: Option<bool>,
    /// What becomes of the lag.
    pub outlook: Outlook,
    /// WAL that the publisher keeps for the slot, bytes.
    pub retained_bytes: Option<u64>,
    /// Whether that is at or beyond its threshold.
    pub retained_alarm: bool,
    /// `wal_status` of the slot (13+).
    pub wal_status: Option<String>,
    /// WAL that can be written until the slot may be lost, bytes; null without a limit.
    pub safe_wal_bytes: Option<i64>,
    /// For how long the lag has been zero again and again.
    pub zero: ZeroLag,
    /// Likely causes, the most serious first.
    pub causes: Vec<Cause>,
}

/// What becomes of a lag if things go on as they were while they were watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Outlook {
    /// Nothing is known: the first look.
    Unknown,
    /// The lag is zero.
    CaughtUp,
    /// The lag is good, and the applied position moves.
    KeepingUp,
    /// The lag shrinks.
    CatchingUp {
        /// Until it is zero.
        seconds: u64,
    },
    /// The lag grows.
    FallingBehind {
        /// By so much.
        bytes_per_minute: u64,
    },
    /// The applied position does not move.
    StandingStill {
        /// What is written meanwhile.
        bytes_per_minute: u64,
    },
}

/// For how long the lag has been zero at least once within every interval, as far as it was watched or recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZeroLag {
    /// Whether it has been zero since the last look.
    pub reached: bool,
    /// When it was last seen at zero.
    pub last_at: Option<String>,
    /// Since when it has been zero within every interval; null where it has not been within the last one.
    pub since: Option<String>,
    /// From then until it was last seen at zero, milliseconds.
    pub held_ms: Option<u64>,
}

/// The exit code of a look.
pub(crate) fn exit_code(outcome: &LagOutcome) -> u8 {
    let beyond = |one: &SubscriptionLag| {
        one.level >= LagLevel::Warning
            || one.retained_alarm
            || one.causes.iter().any(|cause| cause.severity == Severity::Error)
    };
    let unknown = outcome.level == LagLevel::Unknown;
    if outcome.subscriptions.iter().any(beyond) {
        exit::DIFFERENT
    } else if unknown || outcome.until_zero.is_some_and(|until| !until.reached) {
        exit::UNPROVEN
    } else {
        exit::MATCH
    }
}
