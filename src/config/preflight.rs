//! The validated settings of `preflight`.

use std::time::Duration;

use super::conninfo::ConnectOptions;
use super::environment::Environment;
use super::lag::{DEFAULT_RETAINED_BYTES, size};
use super::mapping::TableMapping;
use super::pattern::TablePattern;
use super::raw::{self, RawSettings, usage};
use super::settings::Scope;
use crate::error::Result;
use crate::lsn::Lsn;
use crate::side::Side;

/// How long WAL is measured: short enough to wait for, long enough to see a server that writes.
pub const DEFAULT_WAL_INTERVAL: Duration = Duration::from_secs(2);
/// The longest measurement that makes sense: averages over more belong to a monitoring system.
pub const MAX_WAL_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// From when on a transaction is a long one: slots are created, and gates pass, only after those that write have ended.
pub const DEFAULT_LONG_TRANSACTION: Duration = Duration::from_secs(5 * 60);
/// The longest age that still makes sense as a threshold.
pub const MAX_LONG_TRANSACTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Everything that `preflight` needs to know, immutable.
#[derive(Debug, Clone)]
pub struct PreflightConfig {
    /// How to reach the publisher.
    pub publisher: ConnectOptions,
    /// How to reach the subscriber; a week ahead there is none.
    pub subscriber: Option<ConnectOptions>,
    /// Names of subscriptions; empty for all that the publisher feeds.
    pub subscriptions: Vec<String>,
    /// Which tables; empty for all.
    pub tables: Vec<TablePattern>,
    /// Which tables not.
    pub exclude_tables: Vec<TablePattern>,
    /// Tables that have another shape on the subscriber.
    pub mappings: Vec<TableMapping>,
    /// What must be accounted for.
    pub scope: Scope,
    /// How long WAL is measured.
    pub wal_interval: Duration,
    /// From when on a transaction is a long one.
    pub long_transaction: Duration,
    /// From so many bytes on, WAL that is kept for a slot raises an alarm.
    pub retained_bytes: u64,
    /// The position up to which a restored clone has the publisher's data, before its subscription is enabled.
    pub restore_lsn: Option<Lsn>,
}

impl RawSettings {
    /// Checks what `preflight` uses of the settings and fills in the defaults; `restore_lsn` is the flag's value.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`](crate::error::ErrorKind::Usage), naming the flag.
    pub fn validate_preflight(self, restore_lsn: Option<&str>, environment: &Environment) -> Result<PreflightConfig> {
        let subscriber = self.server_if_given(Side::Subscriber, environment)?;
        let restore_lsn = restore_lsn.map(position).transpose()?;
        if restore_lsn.is_some() && subscriber.is_none() {
            return Err(usage("--restore-lsn is checked on the restored clone, and no subscriber is given")
                .with_hint("give the clone as --subscriber"));
        }
        Ok(PreflightConfig {
            publisher: self.server(Side::Publisher, environment)?,
            subscriber,
            subscriptions: raw::subscriptions(self.subscription.unwrap_or_default())?,
            tables: raw::patterns("--table", &self.table.unwrap_or_default())?,
            exclude_tables: raw::patterns("--exclude-table", &self.exclude_table.unwrap_or_default())?,
            scope: raw::scope(self.scope.as_deref())?,
            wal_interval: raw::duration("--wal-interval", self.wal_interval, DEFAULT_WAL_INTERVAL, MAX_WAL_INTERVAL)?,
            long_transaction: raw::duration(
                "--long-transaction",
                self.long_transaction,
                DEFAULT_LONG_TRANSACTION,
                MAX_LONG_TRANSACTION,
            )?,
            retained_bytes: size("--retained", self.retained.as_deref(), DEFAULT_RETAINED_BYTES)?,
            restore_lsn,
            mappings: raw::mappings(self.tables.unwrap_or_default())?,
        })
    }
}

fn position(text: &str) -> Result<Lsn> {
    let lsn: Option<Lsn> = text.trim().parse().ok();
    lsn.filter(|lsn| lsn.0 > 0).ok_or_else(|| {
        usage(format!("--restore-lsn: {text:?} is not a WAL position")).with_hint("write it like 16/B374D848")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw() -> RawSettings {
        RawSettings { publisher: Some("host=old".to_owned()), ..RawSettings::default() }
    }

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::of(variables.iter().copied(), Some("ann"))
    }

    #[test]
    fn the_subscriber_may_be_left_out() {
        let config = raw().validate_preflight(None, &environment(&[])).unwrap();
        assert!(config.subscriber.is_none() && config.restore_lsn.is_none());
        assert_eq!((config.wal_interval, config.long_transaction), (DEFAULT_WAL_INTERVAL, DEFAULT_LONG_TRANSACTION));
        let named = environment(&[(raw::SUBSCRIBER_VARIABLE, "host=new")]);
        let config = raw().validate_preflight(Some("C4A1/7C021F48"), &named).unwrap();
        assert!(config.subscriber.is_some());
        assert_eq!(config.restore_lsn.unwrap().to_string(), "C4A1/7C021F48");
    }

    #[test]
    fn what_makes_no_sense_names_the_flag() {
        let refusal = |settings: RawSettings, lsn: Option<&str>, given: &[(&str, &str)]| {
            settings.validate_preflight(lsn, &environment(given)).unwrap_err().message().to_owned()
        };
        let new = [(raw::SUBSCRIBER_VARIABLE, "host=new")];
        assert!(refusal(RawSettings::default(), None, &[]).contains("no publisher"));
        assert!(refusal(raw(), Some("0/16B3748"), &[]).contains("--restore-lsn"));
        for odd in ["0/0", "16B3748", "now", ""] {
            assert!(refusal(raw(), Some(odd), &new).contains("--restore-lsn"), "{odd}");
        }
        let interval = RawSettings { wal_interval: Some("0s".to_owned()), ..raw() };
        assert!(refusal(interval, None, &[]).contains("--wal-interval"));
        let long = RawSettings { long_transaction: Some("soon".to_owned()), ..raw() };
        assert!(refusal(long, None, &[]).contains("--long-transaction"));
        let much = RawSettings { retained: Some("much".to_owned()), ..raw() };
        assert!(refusal(much, None, &[]).contains("--retained"));
    }
}
