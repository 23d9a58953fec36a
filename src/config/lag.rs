//! The settings of `lag`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::environment::Environment;
use super::preflight::MAX_LONG_TRANSACTION;
use super::raw::{RawSettings, duration};
use super::settings::Config;
use crate::error::{Error, ErrorKind, Result};

/// Time between two looks.
pub const DEFAULT_LAG_INTERVAL: Duration = Duration::from_secs(5);
/// The longest time between two looks that still is watching.
const MAX_LAG_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Within every such interval the lag must have been zero once to count as zero all the time: under load it is some bytes for
/// a moment again and again.
pub const DEFAULT_ZERO_WITHIN: Duration = Duration::from_secs(60);
/// The longest such interval.
const MAX_ZERO_WITHIN: Duration = Duration::from_secs(24 * 60 * 60);
/// From when on an open transaction of the publisher is named: it keeps WAL, and its commit brings all that it did.
pub const DEFAULT_LAG_LONG_TRANSACTION: Duration = Duration::from_secs(60);
/// The longest wait for zero: a migration catches up for days.
const MAX_UNTIL_ZERO: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// From here on, up to which a lag is good (the runbook's figure).
pub const DEFAULT_GOOD_BYTES: u64 = 10_000_000;
/// From here on, a lag is a warning (the runbook's figure).
pub const DEFAULT_WARNING_BYTES: u64 = 100_000_000;
/// From here on, a lag may never be caught up (the runbook's figure).
pub const DEFAULT_CRITICAL_BYTES: u64 = 1_000_000_000;
/// From here on, WAL that is kept for a slot endangers the publisher's disk (the runbook's figure).
pub const DEFAULT_RETAINED_BYTES: u64 = 50_000_000_000;

/// Settings of `lag` that nobody has checked yet; the names are those of the flags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawLag {
    /// What it shares with the other commands.
    pub shared: RawSettings,
    /// A duration such as `5s`.
    pub interval: Option<String>,
    /// A duration.
    pub zero_within: Option<String>,
    /// A duration.
    pub until_zero: Option<String>,
    /// Whether to go on until told to stop.
    pub watch: bool,
    /// A size such as `10MB`.
    pub good: Option<String>,
    /// A size.
    pub warning: Option<String>,
    /// A size.
    pub critical: Option<String>,
}

/// What decides on the level of a lag. A lag below the first is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LagThresholds {
    /// A lag below is good.
    pub good_bytes: u64,
    /// From here on it is a warning.
    pub warning_bytes: u64,
    /// From here on it is critical.
    pub critical_bytes: u64,
    /// From here on, WAL that is kept for a slot raises an alarm.
    pub retained_bytes: u64,
    /// Within every such interval the lag must have been zero to count as zero all the time.
    pub zero_within_ms: u64,
}

/// Everything that `lag` needs to know, immutable.
#[derive(Debug, Clone)]
pub struct LagConfig {
    /// Servers and subscriptions.
    pub shared: Config,
    /// Time between two looks.
    pub interval: Duration,
    /// Within every such interval the lag must have been zero to count as zero all the time.
    pub zero_within: Duration,
    /// How long to wait for zero; `None` not to.
    pub until_zero: Option<Duration>,
    /// Whether to go on until told to stop.
    pub watch: bool,
    /// What decides on the levels.
    pub thresholds: LagThresholds,
    /// From when on an open transaction of the publisher is named.
    pub long_transaction: Duration,
}

impl RawLag {
    /// Checks everything and fills in the defaults.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`], naming the flag.
    pub fn validate(self, environment: &Environment) -> Result<LagConfig> {
        let interval = duration("--interval", self.interval, DEFAULT_LAG_INTERVAL, MAX_LAG_INTERVAL)?;
        let zero_within = duration("--zero-within", self.zero_within, DEFAULT_ZERO_WITHIN, MAX_ZERO_WITHIN)?;
        if interval > zero_within {
            return Err(usage("--interval must not be longer than --zero-within: zero would not be seen in time"));
        }
        let until_zero = match self.until_zero {
            None => None,
            given => Some(duration("--until-zero", given, MAX_UNTIL_ZERO, MAX_UNTIL_ZERO)?),
        };
        let thresholds = LagThresholds {
            good_bytes: size("--good", self.good.as_deref(), DEFAULT_GOOD_BYTES)?,
            warning_bytes: size("--warning", self.warning.as_deref(), DEFAULT_WARNING_BYTES)?,
            critical_bytes: size("--critical", self.critical.as_deref(), DEFAULT_CRITICAL_BYTES)?,
            retained_bytes: size("--retained", self.shared.retained.as_deref(), DEFAULT_RETAINED_BYTES)?,
            zero_within_ms: u64::try_from(zero_within.as_millis()).unwrap_or(u64::MAX),
        };
        if thresholds.good_bytes > thresholds.warning_bytes || thresholds.warning_bytes > thresholds.critical_bytes {
            return Err(usage("--good, --warning and --critical must not fall in this order"));
        }
        let long_transaction = duration(
            "--long-transaction",
            self.shared.long_transaction.clone(),
            DEFAULT_LAG_LONG_TRANSACTION,
            MAX_LONG_TRANSACTION,
        )?;
        let shared = self.shared.validate(environment)?;
        Ok(LagConfig { shared, interval, zero_within, until_zero, watch: self.watch, thresholds, long_transaction })
    }
}

fn usage(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, message)
}

/// A size: a whole number and a unit, decimal (`10MB`) or binary (`10MiB`); bytes without one.
pub(super) fn size(flag: &str, text: Option<&str>, default: u64) -> Result<u64> {
    const UNITS: [(&str, u64); 9] = [
        ("", 1),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("tb", 1_000_000_000_000),
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("tib", 1 << 40),
    ];
    let Some(text) = text else { return Ok(default) };
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let unit = unit.trim_start().to_ascii_lowercase();
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let bytes = number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    bytes.ok_or_else(|| usage(format!("{flag}: {text:?} is not a size")).with_hint("write it like 500kB, 10MB or 1GiB"))
}

#[cfg(test)]
mod tests {
    use super::super::raw::{PUBLISHER_VARIABLE, SUBSCRIBER_VARIABLE};
    use super::*;

    fn validate(raw: RawLag) -> Result<LagConfig> {
        raw.validate(&Environment::of([(PUBLISHER_VARIABLE, "host=a"), (SUBSCRIBER_VARIABLE, "host=b")], Some("ann")))
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn defaults_are_those_of_the_runbook() {
        let config = validate(RawLag::default()).unwrap();
        let LagThresholds { good_bytes, warning_bytes, critical_bytes, retained_bytes, zero_within_ms } =
            config.thresholds;
        assert_eq!((good_bytes, warning_bytes, critical_bytes), (10_000_000, 100_000_000, 1_000_000_000));
        assert_eq!((retained_bytes, zero_within_ms, config.until_zero), (50_000_000_000, 60_000, None));
        assert_eq!((config.interval.as_secs(), config.watch, config.long_transaction.as_secs()), (5, false, 60));
    }

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("0", 0), ("12", 12), ("10MB", 10_000_000), (" 1 GiB ", 1 << 30), ("3tb", 3_000_000_000_000)]
        {
            assert_eq!(size("--good", Some(text), 7).unwrap(), bytes, "{text:?}");
        }
        assert_eq!(size("--good", None, 7).unwrap(), 7);
        for text in ["", "MB", "-1", "1.5GB", "10 m", "99999999999TB", "1 000", "0x10"] {
            let error = size("--good", Some(text), 7).unwrap_err();
            assert!(error.message().starts_with("--good: "), "{text:?}: {error}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let raw = RawLag::default;
        let of = |shared| RawLag { shared, ..raw() };
        for (raw, flag) in [
            (RawLag { interval: text("2m"), ..raw() }, "--interval must not be longer than --zero-within"),
            (RawLag { interval: text("0s"), ..raw() }, "--interval must be greater"),
            (RawLag { zero_within: text("soon"), ..raw() }, "--zero-within"),
            (RawLag { until_zero: text("999h"), ..raw() }, "--until-zero must be at most"),
            (RawLag { good: text("1GB"), ..raw() }, "--good, --warning and --critical"),
            (of(RawSettings { retained: text("much"), ..RawSettings::default() }), "--retained"),
            (of(RawSettings { long_transaction: text("long"), ..RawSettings::default() }), "--long-transaction"),
        ] {
            let error = validate(raw).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.message().contains(flag), "{error}");
        }
    }
}
