//! What every session pins: one table, and the statement made from it.
//!
//! A role, a database, a connection string's `options` and `postgresql.conf` may all set other values; a SET in the
//! session outranks them.

use std::time::Duration;

use crate::sql;

/// How long a session waits for a lock. Nobody may queue behind a waiting session of ours for longer.
pub(crate) const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a statement of a session may take that reads catalogs and states, but no user table.
pub(crate) const CONTROL_STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the server keeps data that we do not acknowledge, before it gives the session up. It overrides the keepalives
/// (tcp(7)), and what is noticed comes one of their intervals later: together less than a minute.
const SERVER_TCP_USER_TIMEOUT: Duration = Duration::from_secs(40);
/// How long a session may be idle, in a transaction or not. Sessions say something every [`HEARTBEAT`]; where nothing comes
/// any more, we stand still or the network is cut, also where something in between still answers for us.
const IDLE_LIMIT: Duration = Duration::from_secs(45);
/// How often an idle session says that it is still wanted.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(10);
/// The largest value of a timeout setting in milliseconds (guc_tables.c: INT_MAX).
const MAX_TIMEOUT_MS: u128 = i32::MAX as u128;
/// `server_version_num` of a major version.
const fn major(version: u32) -> u32 {
    version * 10_000
}

/// The setting in which a session keeps its own secret, to recognise itself behind a pooler. Settings with a dot are
/// free for applications (PostgreSQL manual, "Customized Options").
pub(super) const NONCE_SETTING: &str = "triplecheck.session";

/// The encoding in which a server sends texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientEncoding {
    /// UTF-8: the server converts.
    #[default]
    Utf8,
    /// As stored, byte for byte: for both sides where either server's encoding is SQL_ASCII.
    SqlAscii,
}

/// What differs from one session to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionSettings {
    /// The encoding of texts.
    pub encoding: ClientEncoding,
    /// How long a statement may take.
    pub statement_timeout: Duration,
    /// How long a transaction may stay open: the server's own guard against a client that never ends it while its snapshot
    /// holds back vacuum.
    pub transaction_limit: Duration,
    /// Whether a statement may take the server's parallel workers.
    pub workers: bool,
}

impl SessionSettings {
    /// For a session that reads catalogs and states, or keeps a snapshot for others.
    #[must_use]
    pub fn control(transaction_limit: Duration) -> Self {
        Self {
            encoding: ClientEncoding::Utf8,
            statement_timeout: CONTROL_STATEMENT_TIMEOUT,
            transaction_limit,
            workers: false,
        }
    }

    /// For a session that reads user tables.
    #[must_use]
    pub fn scan(statement_timeout: Duration, transaction_limit: Duration) -> Self {
        Self { encoding: ClientEncoding::Utf8, statement_timeout, transaction_limit, workers: true }
    }

    /// The same with another encoding.
    #[must_use]
    pub fn encoding(self, encoding: ClientEncoding) -> Self {
        Self { encoding, ..self }
    }
}

/// Where the value of a setting comes from.
#[derive(Clone, Copy)]
enum Value {
    Fixed(&'static str),
    Time(Duration),
    Encoding,
    ApplicationName,
    StatementTimeout,
    TransactionLimit,
    NoWorkers,
}

struct Pin {
    setting: &'static str,
    value: Value,
    /// `server_version_num` from which on it exists.
    since: u32,
    /// Whether a server may refuse it.
    optional: bool,
}

const fn pin(setting: &'static str, value: Value) -> Pin {
    Pin { setting, value, since: 0, optional: false }
}

use Value::{ApplicationName, Encoding, Fixed, NoWorkers, StatementTimeout, Time, TransactionLimit};

static PINS: &[Pin] = &[
    // Names mean what they mean to the system, whatever a user has put in front.
    pin("search_path", Fixed("pg_catalog")),
    // We only read. A temporary replication slot is still allowed.
    pin("default_transaction_read_only", Fixed("on")),
    // Statements outside of a transaction block of ours: neither serializable bookkeeping nor waiting for a safe snapshot.
    pin("default_transaction_isolation", Fixed("read committed")),
    pin("default_transaction_deferrable", Fixed("off")),
    // Rows hidden by a policy become an error.
    pin("row_security", Fixed("off")),
    // One text for one value.
    pin("client_encoding", Encoding),
    pin("TimeZone", Fixed("UTC")),
    pin("DateStyle", Fixed("ISO, MDY")),
    pin("IntervalStyle", Fixed("postgres")),
    pin("extra_float_digits", Fixed("3")),
    pin("bytea_output", Fixed("hex")),
    pin("lc_monetary", Fixed("C")),
    // Names of relations, functions and types in values of reg* types.
    pin("quote_all_identifiers", Fixed("off")),
    // One value for one text: NULL in an array is NULL, and xml need not be a document.
    pin("array_nulls", Fixed("on")),
    pin("xmloption", Fixed("content")),
    // Deadlines of ours, so that a role's defaults cannot end a session that keeps a snapshot, and so that nothing of
    // ours lasts if we stand still.
    pin("lock_timeout", Time(LOCK_TIMEOUT)),
    pin("statement_timeout", StatementTimeout),
    pin("idle_in_transaction_session_timeout", Time(IDLE_LIMIT)),
    Pin { since: major(14), ..pin("idle_session_timeout", Time(IDLE_LIMIT)) },
    Pin { since: major(17), ..pin("transaction_timeout", TransactionLimit) },
    // A client that vanished is noticed within a minute. Not every operating system can tell (WaitEventSetCanReportClosed).
    Pin { since: major(14), optional: true, ..pin("client_connection_check_interval", Fixed("10s")) },
    pin("tcp_keepalives_idle", Fixed("10")),
    pin("tcp_keepalives_interval", Fixed("10")),
    pin("tcp_keepalives_count", Fixed("3")),
    pin("tcp_user_timeout", Time(SERVER_TCP_USER_TIMEOUT)),
    // Compiling costs more than it saves on what we send.
    pin("jit", Fixed("off")),
    // Every scan of a table starts at its first block, so that two reads come in one order.
    pin("synchronize_seqscans", Fixed("off")),
    // Questions to a catalog are small, whatever a server is made to think: workers for them cost more than they bring.
    pin("max_parallel_workers_per_gather", NoWorkers),
    // Again after the startup packet, which a pooler may answer for.
    pin("application_name", ApplicationName),
];

/// The statements that pin everything for a server of this version; one batch, one round trip.
///
/// `nonce` is kept in the session under [`NONCE_SETTING`]. `optional` is whether to ask for what a server may refuse.
pub(super) fn pin_sql(
    settings: &SessionSettings,
    application_name: &str,
    nonce: &str,
    version_num: u32,
    optional: bool,
) -> String {
    let mut statements = String::new();
    for pin in PINS.iter().filter(|pin| pin.since <= version_num && (optional || !pin.optional)) {
        let value = match pin.value {
            Fixed(value) => value.to_owned(),
            Time(duration) => milliseconds(duration),
            Encoding => match settings.encoding {
                ClientEncoding::Utf8 => "UTF8".to_owned(),
                ClientEncoding::SqlAscii => "SQL_ASCII".to_owned(),
            },
            ApplicationName => application_name.to_owned(),
            StatementTimeout => milliseconds(settings.statement_timeout),
            TransactionLimit => milliseconds(settings.transaction_limit),
            NoWorkers if settings.workers => continue,
            NoWorkers => "0".to_owned(),
        };
        statements.push_str(&format!("SET {} = {};\n", pin.setting, sql::literal(&value)));
    }
    statements.push_str(&format!("SET {NONCE_SETTING} = {};\n", sql::literal(nonce)));
    statements
}

/// A timeout for the server; never 0, which would be "for ever".
fn milliseconds(duration: Duration) -> String {
    format!("{}ms", duration.as_millis().clamp(1, MAX_TIMEOUT_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn for_major(version: u32) -> String {
        let settings = SessionSettings::control(Duration::from_secs(3600));
        pin_sql(&settings, "triplecheck/it's", "7", major(version), true)
    }

    const ALWAYS: &str = "\
SET search_path = 'pg_catalog';
SET default_transaction_read_only = 'on';
SET default_transaction_isolation = 'read committed';
SET default_transaction_deferrable = 'off';
SET row_security = 'off';
SET client_encoding = 'UTF8';
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET IntervalStyle = 'postgres';
SET extra_float_digits = '3';
SET bytea_output = 'hex';
SET lc_monetary = 'C';
SET quote_all_identifiers = 'off';
SET array_nulls = 'on';
SET xmloption = 'content';
SET lock_timeout = '10000ms';
SET statement_timeout = '60000ms';
SET idle_in_transaction_session_timeout = '45000ms';
SET tcp_keepalives_idle = '10';
SET tcp_keepalives_interval = '10';
SET tcp_keepalives_count = '3';
SET tcp_user_timeout = '40000ms';
SET jit = 'off';
SET synchronize_seqscans = 'off';
SET max_parallel_workers_per_gather = '0';
SET application_name = 'triplecheck/it''s';
SET triplecheck.session = '7';
";
    const SINCE_14: [&str; 2] =
        ["SET idle_session_timeout = '45000ms';", "SET client_connection_check_interval = '10s';"];
    const SINCE_17: [&str; 1] = ["SET transaction_timeout = '3600000ms';"];

    #[test]
    fn every_major_gets_what_it_knows() {
        for version in 12..=18 {
            let sent = for_major(version);
            let mut newer: Vec<&str> =
                sent.lines().filter(|line| !ALWAYS.lines().any(|always| always == *line)).collect();
            newer.sort_unstable();
            let mut expected = Vec::new();
            if version >= 14 {
                expected.extend(SINCE_14);
            }
            if version >= 17 {
                expected.extend(SINCE_17);
            }
            expected.sort_unstable();
            assert_eq!(newer, expected, "PostgreSQL {version}");
            let rest: String =
                sent.lines().filter(|line| !newer.contains(line)).map(|line| format!("{line}\n")).collect();
            assert_eq!(rest, ALWAYS, "PostgreSQL {version}");
        }
    }

    #[test]
    fn what_may_be_refused_can_be_left_out() {
        let settings = SessionSettings::scan(Duration::ZERO, Duration::MAX).encoding(ClientEncoding::SqlAscii);
        let sent = pin_sql(&settings, "a", "1", major(17), false);
        assert!(!sent.contains("client_connection_check_interval"));
        assert!(sent.contains("SET client_encoding = 'SQL_ASCII';"));
        assert!(!sent.contains("max_parallel_workers_per_gather"));
        assert!(sent.contains("SET statement_timeout = '1ms';"), "0 would be no limit at all");
        assert!(sent.contains("SET transaction_timeout = '2147483647ms';"));
    }
}
