//! Settings as flags and files give them, and how they become a [`Config`].

use std::collections::BTreeMap;
use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use serde::Deserialize;

use super::conninfo::ConnectOptions;
use super::environment::Environment;
use super::mapping::{RawMapping, TableMapping};
use super::pattern::TablePattern;
use super::settings::{
    CheckSet, Config, DEFAULT_JOBS, DEFAULT_LAG_TIMEOUT, DEFAULT_SAMPLES, DEFAULT_SNAPSHOT_AGE_MAX, GateMode, MAX_JOBS,
    MAX_SAMPLES, ScanMode, Scope,
};
use crate::error::{Error, ErrorKind, Result};
use crate::side::{Side, Sides};

/// The variable that stands in for the publisher where neither a flag nor the file names it.
pub const PUBLISHER_VARIABLE: &str = "TRIPLECHECK_PUBLISHER";
/// The same for the subscriber.
pub const SUBSCRIBER_VARIABLE: &str = "TRIPLECHECK_SUBSCRIBER";
/// The longest wait for a sync point that makes sense: a run is not a daemon.
pub const MAX_LAG_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The oldest snapshot that anybody should hold on a production server: dead rows and WAL pile up behind it.
pub const MAX_SNAPSHOT_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Settings that nobody has checked yet. `None` is "not given"; the names are those of the flags.
///
/// Flags take precedence over the file ([`RawSettings::or`]), and that over the variables ([`RawSettings::validate`]).
///
/// [`fmt::Debug`] does not show the connection strings.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawSettings {
    /// Connection string of the publisher.
    pub publisher: Option<String>,
    /// Connection string of the subscriber.
    pub subscriber: Option<String>,
    /// Shell command that prints the password of a side.
    pub password_command: Option<String>,
    /// Names of subscriptions.
    pub subscription: Option<Vec<String>>,
    /// Patterns of tables.
    pub table: Option<Vec<String>>,
    /// Patterns of tables to be left out.
    pub exclude_table: Option<Vec<String>>,
    /// `database` or `published`.
    pub scope: Option<String>,
    /// Some of `count`, `max`, `sum`, `sequence`, `rows`.
    pub checks: Option<Vec<String>>,
    /// Scan sessions per side.
    pub jobs: Option<u64>,
    /// Target rows in a chunk.
    pub chunk_rows: Option<u64>,
    /// `rows`, `digest` or `digest64`.
    pub scan: Option<String>,
    /// `live`, `quiesced` or `none`.
    pub gate: Option<String>,
    /// A duration such as `5m`.
    pub lag_timeout: Option<String>,
    /// A duration such as `1h30m`.
    pub snapshot_age_max: Option<String>,
    /// Listed differing rows per table.
    pub samples: Option<u64>,
    /// Whether reports hold values of other columns than keys.
    pub show_values: Option<bool>,
    /// A duration such as `2s`, for `preflight`.
    pub wal_interval: Option<String>,
    /// A duration such as `5m`, for `preflight` and `lag`.
    pub long_transaction: Option<String>,
    /// A size such as `50GB`, for `preflight` and `lag`.
    pub retained: Option<String>,
    /// Tables that have another shape on the subscriber, by their name on the publisher; in the configuration file only.
    pub tables: Option<BTreeMap<String, RawMapping>>,
}

impl fmt::Debug for RawSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let redacted = |conninfo: &Option<String>| conninfo.as_ref().map(|_| "***");
        f.debug_struct("RawSettings")
            .field("publisher", &redacted(&self.publisher))
            .field("subscriber", &redacted(&self.subscriber))
            .field("password_command", &redacted(&self.password_command))
            .field("subscription", &self.subscription)
            .field("table", &self.table)
            .field("exclude_table", &self.exclude_table)
            .field("scope", &self.scope)
            .field("checks", &self.checks)
            .field("jobs", &self.jobs)
            .field("chunk_rows", &self.chunk_rows)
            .field("scan", &self.scan)
            .field("gate", &self.gate)
            .field("lag_timeout", &self.lag_timeout)
            .field("snapshot_age_max", &self.snapshot_age_max)
            .field("samples", &self.samples)
            .field("show_values", &self.show_values)
            .field("wal_interval", &self.wal_interval)
            .field("long_transaction", &self.long_transaction)
            .field("retained", &self.retained)
            .field("tables", &self.tables)
            .finish()
    }
}

impl RawSettings {
    /// These settings, and where one is not given the lower one. A list replaces the lower list, it does not extend it.
    #[must_use]
    pub fn or(self, lower: Self) -> Self {
        Self {
            publisher: self.publisher.or(lower.publisher),
            subscriber: self.subscriber.or(lower.subscriber),
            password_command: self.password_command.or(lower.password_command),
            subscription: self.subscription.or(lower.subscription),
            table: self.table.or(lower.table),
            exclude_table: self.exclude_table.or(lower.exclude_table),
            scope: self.scope.or(lower.scope),
            checks: self.checks.or(lower.checks),
            jobs: self.jobs.or(lower.jobs),
            chunk_rows: self.chunk_rows.or(lower.chunk_rows),
            scan: self.scan.or(lower.scan),
            gate: self.gate.or(lower.gate),
            lag_timeout: self.lag_timeout.or(lower.lag_timeout),
            snapshot_age_max: self.snapshot_age_max.or(lower.snapshot_age_max),
            samples: self.samples.or(lower.samples),
            show_values: self.show_values.or(lower.show_values),
            wal_interval: self.wal_interval.or(lower.wal_interval),
            long_transaction: self.long_transaction.or(lower.long_transaction),
            retained: self.retained.or(lower.retained),
            tables: self.tables.or(lower.tables),
        }
    }

    /// Checks everything and fills in the defaults.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`], naming the flag.
    pub fn validate(self, environment: &Environment) -> Result<Config> {
        let servers =
            Sides::new(self.server(Side::Publisher, environment)?, self.server(Side::Subscriber, environment)?);
        Ok(Config {
            servers,
            subscriptions: subscriptions(self.subscription.unwrap_or_default())?,
            tables: patterns("--table", &self.table.unwrap_or_default())?,
            exclude_tables: patterns("--exclude-table", &self.exclude_table.unwrap_or_default())?,
            scope: scope(self.scope.as_deref())?,
            checks: self.checks.as_deref().map_or(Ok(CheckSet::ALL), checks)?,
            jobs: jobs(self.jobs)?,
            chunk_rows: match self.chunk_rows {
                None => None,
                Some(rows) => {
                    Some(NonZeroU64::new(rows).ok_or_else(|| usage("--chunk-rows must be greater than zero"))?)
                }
            },
            scan: scan(self.scan.as_deref())?,
            gate: gate(self.gate.as_deref())?,
            lag_timeout: duration("--lag-timeout", self.lag_timeout, DEFAULT_LAG_TIMEOUT, MAX_LAG_TIMEOUT)?,
            snapshot_age_max: duration(
                "--snapshot-age-max",
                self.snapshot_age_max,
                DEFAULT_SNAPSHOT_AGE_MAX,
                MAX_SNAPSHOT_AGE,
            )?,
            samples: match self.samples {
                None => DEFAULT_SAMPLES,
                Some(samples) => usize::try_from(samples)
                    .ok()
                    .filter(|&samples| samples <= MAX_SAMPLES)
                    .ok_or_else(|| usage(format!("--samples must be at most {MAX_SAMPLES}")))?,
            },
            show_values: self.show_values.unwrap_or(false),
            ledger: false,
            mappings: mappings(self.tables.unwrap_or_default())?,
        })
    }

    pub(super) fn server(&self, side: Side, environment: &Environment) -> Result<ConnectOptions> {
        let missing = || {
            let variable = variable(side);
            usage(format!("no {side} is given"))
                .with_hint(format!("give --{side} CONNINFO, name it in the --config file, or set {variable}"))
        };
        self.server_if_given(side, environment)?.ok_or_else(missing)
    }

    /// As [`Self::server`] for a side that may be left out.
    pub(super) fn server_if_given(&self, side: Side, environment: &Environment) -> Result<Option<ConnectOptions>> {
        let conninfo = match side {
            Side::Publisher => self.publisher.as_deref(),
            Side::Subscriber => self.subscriber.as_deref(),
        };
        let variable = variable(side);
        let (text, origin) = match conninfo {
            Some(text) => (text, format!("--{side}")),
            None => match environment.get(variable)? {
                Some(text) => (text, variable.to_owned()),
                None => return Ok(None),
            },
        };
        let options = ConnectOptions::parse(text, environment).map_err(|error| error.context(origin))?;
        Ok(Some(match &self.password_command {
            Some(command) if command.trim().is_empty() || command.contains('\0') => {
                return Err(usage("--password-command: the command is empty or holds a NUL character"));
            }
            Some(command) => options.with_password_command(command),
            None => options,
        }))
    }
}

pub(super) fn usage(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, message)
}

pub(super) fn mappings(tables: BTreeMap<String, RawMapping>) -> Result<Vec<TableMapping>> {
    tables.into_iter().map(|(table, mapping)| mapping.validate(&table)).collect()
}

fn variable(side: Side) -> &'static str {
    match side {
        Side::Publisher => PUBLISHER_VARIABLE,
        Side::Subscriber => SUBSCRIBER_VARIABLE,
    }
}

pub(super) fn scope(name: Option<&str>) -> Result<Scope> {
    match name {
        None | Some("database") => Ok(Scope::Database),
        Some("published") => Ok(Scope::Published),
        Some(other) => Err(usage(format!("--scope: {other:?} is not one of database, published"))),
    }
}

pub(super) fn subscriptions(names: Vec<String>) -> Result<Vec<String>> {
    let mut distinct: Vec<String> = Vec::with_capacity(names.len());
    for name in names {
        if name.is_empty() || name.contains('\0') {
            return Err(usage(format!("--subscription: {name:?} is not a name")));
        }
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    }
    Ok(distinct)
}

pub(super) fn patterns(flag: &str, texts: &[String]) -> Result<Vec<TablePattern>> {
    texts.iter().map(|text| TablePattern::parse(text).map_err(|error| error.context(flag))).collect()
}

fn checks(names: &[String]) -> Result<CheckSet> {
    const NAMES: &str = "count, max, sum, sequence, rows";
    let mut set = CheckSet { count: false, max: false, sum: false, sequence: false, rows: false };
    for name in names {
        let check = match name.trim() {
            "count" => &mut set.count,
            "max" => &mut set.max,
            "sum" => &mut set.sum,
            "sequence" => &mut set.sequence,
            "rows" => &mut set.rows,
            other => return Err(usage(format!("--checks: {other:?} is not one of {NAMES}"))),
        };
        if std::mem::replace(check, true) {
            return Err(usage(format!("--checks: {:?} is given twice", name.trim())));
        }
    }
    if names.is_empty() {
        return Err(usage("--checks: nothing is selected").with_hint(format!("select some of {NAMES}")));
    }
    Ok(set)
}

fn jobs(jobs: Option<u64>) -> Result<NonZeroUsize> {
    let refuse = || usage(format!("--jobs must be from 1 to {MAX_JOBS}"));
    let jobs = match jobs {
        None => DEFAULT_JOBS,
        Some(jobs) => usize::try_from(jobs).map_err(|_| refuse())?,
    };
    NonZeroUsize::new(jobs).filter(|jobs| jobs.get() <= MAX_JOBS).ok_or_else(refuse)
}

fn gate(name: Option<&str>) -> Result<GateMode> {
    match name {
        None | Some("live") => Ok(GateMode::Live),
        Some("quiesced") => Ok(GateMode::Quiesced),
        Some("none") => Ok(GateMode::None),
        Some(other) => Err(usage(format!("--gate: {other:?} is not one of live, quiesced, none"))),
    }
}

fn scan(name: Option<&str>) -> Result<ScanMode> {
    match name {
        None | Some("rows") => Ok(ScanMode::Rows),
        Some("digest") => Ok(ScanMode::Digest),
        Some("digest64") => Ok(ScanMode::Digest64),
        Some(other) => Err(usage(format!("--scan: {other:?} is not one of rows, digest, digest64"))),
    }
}

pub(super) fn duration(flag: &str, text: Option<String>, default: Duration, max: Duration) -> Result<Duration> {
    let Some(text) = text else { return Ok(default) };
    let parsed = jiff::fmt::friendly::SpanParser::new().parse_duration(text.trim());
    let duration = parsed.ok().and_then(|duration| Duration::try_from(duration).ok()).ok_or_else(|| {
        usage(format!("{flag}: {text:?} is not a duration")).with_hint("write it like 30s, 5m or 1h30m")
    })?;
    if duration.is_zero() {
        return Err(usage(format!("{flag} must be greater than zero")));
    }
    if duration > max {
        let hours = max.as_secs() / 3600;
        return Err(usage(format!("{flag} must be at most {hours}h")));
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Environment::of([(PUBLISHER_VARIABLE, "host=old dbname=p"), (SUBSCRIBER_VARIABLE, "host=new")], Some("ann"))
    }

    fn list(items: &[&str]) -> Option<Vec<String>> {
        Some(items.iter().map(|&item| item.to_owned()).collect())
    }

    #[test]
    fn defaults() {
        let config = RawSettings::default().validate(&environment()).unwrap();
        assert_eq!(config.servers.publisher.to_string(), "old:5432/p as ann");
        assert_eq!(config.servers.subscriber.to_string(), "new:5432/ann as ann");
        assert!(config.subscriptions.is_empty() && config.tables.is_empty() && config.exclude_tables.is_empty());
        assert_eq!((config.scope, config.checks, config.gate), (Scope::Database, CheckSet::ALL, GateMode::Live));
        assert_eq!((config.jobs.get(), config.chunk_rows, config.samples), (DEFAULT_JOBS, None, DEFAULT_SAMPLES));
        assert_eq!(config.lag_timeout, DEFAULT_LAG_TIMEOUT);
        assert_eq!(config.snapshot_age_max, DEFAULT_SNAPSHOT_AGE_MAX);
        assert!(!config.show_values);
        assert_eq!(config.scan, ScanMode::Rows);
    }

    #[test]
    fn flags_outweigh_the_file_and_the_file_the_variables() {
        let flags = RawSettings { jobs: Some(2), table: list(&["a"]), ..RawSettings::default() };
        let file = RawSettings {
            publisher: Some("host=filehost".to_owned()),
            jobs: Some(3),
            samples: Some(0),
            table: list(&["b", "c"]),
            ..RawSettings::default()
        };
        let config = flags.or(file).validate(&environment()).unwrap();
        assert_eq!((config.jobs.get(), config.samples), (2, 0));
        assert_eq!(config.tables.iter().map(TablePattern::text).collect::<Vec<_>>(), ["a"]);
        assert_eq!(config.servers.publisher.to_string(), "filehost:5432/ann as ann");
        assert_eq!(config.servers.subscriber.to_string(), "new:5432/ann as ann");
    }

    #[test]
    fn values() {
        let config = RawSettings {
            subscription: list(&["s", "t", "s"]),
            exclude_table: list(&["x.*"]),
            scope: Some("published".to_owned()),
            checks: list(&["rows", " sum"]),
            chunk_rows: Some(1000),
            scan: Some("digest64".to_owned()),
            gate: Some("none".to_owned()),
            lag_timeout: Some("30s".to_owned()),
            snapshot_age_max: Some("1h30m".to_owned()),
            show_values: Some(true),
            ..RawSettings::default()
        }
        .validate(&environment())
        .unwrap();
        assert_eq!(config.subscriptions, ["s", "t"]);
        assert_eq!((config.scope, config.gate), (Scope::Published, GateMode::None));
        assert_eq!(config.checks, CheckSet { count: false, max: false, sum: true, sequence: false, rows: true });
        assert_eq!(config.chunk_rows.map(NonZeroU64::get), Some(1000));
        assert_eq!((config.lag_timeout.as_secs(), config.snapshot_age_max.as_secs()), (30, 5400));
        assert!(config.show_values);
        assert_eq!(config.scan, ScanMode::Digest64);
    }

    #[test]
    fn every_refusal_names_its_flag() {
        let raw = RawSettings::default;
        let text = |text: &str| Some(text.to_owned());
        let cases = [
            (RawSettings { publisher: text(""), ..raw() }, "--publisher: "),
            (RawSettings { subscriber: text("foo=1"), ..raw() }, "--subscriber: invalid connection option \"foo\""),
            (RawSettings { password_command: text(" "), ..raw() }, "--password-command"),
            (RawSettings { subscription: list(&[""]), ..raw() }, "--subscription"),
            (RawSettings { table: list(&["a.b.c"]), ..raw() }, "--table"),
            (RawSettings { exclude_table: list(&["\""]), ..raw() }, "--exclude-table"),
            (RawSettings { scope: text("all"), ..raw() }, "--scope"),
            (RawSettings { checks: list(&[]), ..raw() }, "--checks"),
            (RawSettings { checks: list(&["rows", ""]), ..raw() }, "--checks"),
            (RawSettings { checks: list(&["rows", "rows"]), ..raw() }, "--checks: \"rows\" is given twice"),
            (RawSettings { jobs: Some(0), ..raw() }, "--jobs"),
            (RawSettings { jobs: Some(65), ..raw() }, "--jobs"),
            (RawSettings { jobs: Some(u64::MAX), ..raw() }, "--jobs"),
            (RawSettings { chunk_rows: Some(0), ..raw() }, "--chunk-rows"),
            (RawSettings { scan: text("fast"), ..raw() }, "--scan"),
            (RawSettings { gate: text("open"), ..raw() }, "--gate"),
            (RawSettings { lag_timeout: text("0s"), ..raw() }, "--lag-timeout must be greater than zero"),
            (RawSettings { lag_timeout: text("-5m"), ..raw() }, "--lag-timeout"),
            (RawSettings { lag_timeout: text("5m ago"), ..raw() }, "--lag-timeout"),
            (RawSettings { lag_timeout: text("300"), ..raw() }, "--lag-timeout"),
            (RawSettings { lag_timeout: text("soon"), ..raw() }, "--lag-timeout"),
            (RawSettings { lag_timeout: text("169h"), ..raw() }, "--lag-timeout must be at most 168h"),
            (RawSettings { snapshot_age_max: text("25h"), ..raw() }, "--snapshot-age-max must be at most 24h"),
            (RawSettings { samples: Some(10_001), ..raw() }, "--samples"),
        ];
        for (settings, expected) in cases {
            let error = settings.clone().validate(&environment()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{settings:?}");
            assert!(error.message().starts_with(expected), "{settings:?}: {error}");
        }
        let error = RawSettings::default().validate(&Environment::default()).unwrap_err();
        assert_eq!(error.message(), "no publisher is given");
    }

    #[test]
    fn connection_strings_are_not_shown() {
        let settings = RawSettings { publisher: Some("password=sesame".to_owned()), ..RawSettings::default() };
        assert!(!format!("{settings:?}").contains("sesame"));
    }
}
