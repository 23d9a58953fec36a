//! Errors of servers and connections become ours: a kind that says what can be done, and a message without row values.

use tokio_postgres::error::DbError;

use super::trust::is;
use super::wire::NoWire;
use crate::error::{Error, ErrorKind};

/// What to do about a connection pooler that gives every transaction another server session.
pub(super) const POOLER_HINT: &str =
    "connect directly to the server, or through a pooler in session mode: a transaction pooler cannot be used";
const NO_ENTRY_HINT: &str =
    "the server's pg_hba.conf must have a line for this client address, user and database, and for this sslmode";
const NO_PASSWORD_HINT: &str =
    "give the password in a password file (~/.pgpass), in PGPASSWORD, or by --password-command";

/// Translates an error of an attempt to open a session: whatever a server says then, there is no session.
pub(super) fn connect_error(error: &tokio_postgres::Error) -> Error {
    let Some(reported) = error.as_db_error() else {
        // What the library says before an I/O error is what the caller says as well: that there is no connection.
        let text = match std::error::Error::source(error) {
            Some(cause) if cause.is::<std::io::Error>() => cause.to_string(),
            _ => chain(error),
        };
        let no_password = text.contains("password missing");
        let translated = Error::new(ErrorKind::Connect, text);
        return if no_password { translated.with_hint(NO_PASSWORD_HINT) } else { translated };
    };
    let code = reported.code().code();
    let translated = Error::new(ErrorKind::Connect, text_of(reported));
    match code {
        // The file's name is the same in every language.
        "28000" if reported.message().contains("pg_hba.conf") => translated.with_hint(NO_ENTRY_HINT),
        "53300" => translated.with_hint("the server has no connection left: use fewer --jobs, or raise its limit"),
        _ => match pooler(code).or(reported.hint()) {
            Some(hint) => translated.with_hint(hint),
            None => translated,
        },
    }
}

/// Translates why there is not even a wire.
pub(super) fn wire_error(no_wire: NoWire) -> Error {
    match no_wire {
        NoWire::Socket(error) => Error::new(ErrorKind::Connect, error.to_string()),
        NoWire::Unprepared(error) => error,
        NoWire::WrongPeer(message) => Error::new(ErrorKind::Connect, message),
        NoWire::NotOffered => Error::new(ErrorKind::Connect, "server does not support SSL, but SSL was required")
            .with_hint("switch TLS on in the server, or use sslmode=prefer on a network that you trust"),
        NoWire::NoAnswer(error) => Error::new(ErrorKind::Connect, error.to_string())
            .with_hint("check host and port; the server's log says what it could not do"),
        NoWire::Handshake(error) => {
            let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
            let translated = Error::new(ErrorKind::Connect, format!("SSL error: {error}"));
            match cause.and_then(tls_hint) {
                Some(hint) => translated.with_hint(hint),
                None => translated,
            }
        }
    }
}

/// What can be done about a failed handshake.
fn tls_hint(error: &rustls::Error) -> Option<&'static str> {
    use rustls::CertificateError as Bad;
    Some(match error {
        rustls::Error::InvalidCertificate(Bad::UnknownIssuer) => {
            "sslrootcert must hold the certificate of the authority that signed the server's"
        }
        rustls::Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            "use the host name that the certificate has, with hostaddr for the way there if need be, or sslmode=verify-ca"
        }
        rustls::Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            "the server needs a new certificate"
        }
        rustls::Error::InvalidCertificate(Bad::UnknownRevocationStatus) => {
            "sslcrl must hold a list of every authority of the server's chain"
        }
        error if is(error, &webpki::Error::CaUsedAsEndEntity) => {
            "with revocation lists (sslcrl, ~/.postgresql/root.crl), the server needs a certificate that an authority signed \
             and not one that signed itself: whether that is revoked cannot be verified"
        }
        error if is(error, &webpki::Error::UnsupportedCertVersion) => {
            "certificates before X.509 version 3 cannot be verified: give the server a new one, or use sslmode=require \
             without root certificates and TLS 1.3"
        }
        rustls::Error::PeerIncompatible(_) => "TLS 1.2 or 1.3 is spoken: see ssl_min_protocol_version on the server",
        _ => return None,
    })
}

/// Translates an error of an open session.
///
/// DETAIL and CONTEXT are never taken over: they hold row values. Neither is a message that may hold some; its SQLSTATE
/// and condition name are what remains then. For the same reason the original error does not become the cause.
pub(super) fn translate(error: &tokio_postgres::Error) -> Error {
    let Some(reported) = error.as_db_error() else {
        let lost = error.is_closed() || has_io_cause(error);
        return Error::new(if lost { ErrorKind::Lost } else { ErrorKind::Corrupt }, chain(error));
    };
    let code = reported.code().code();
    let translated = Error::new(kind(code, reported.message()), text_of(reported));
    match pooler(code).or_else(|| reported.hint().filter(|_| may_be_repeated(reported))) {
        Some(hint) => translated.with_hint(hint),
        None => translated,
    }
}

/// SQLSTATE of an error, for the few places that treat one specially.
pub(super) fn sqlstate(error: &tokio_postgres::Error) -> Option<&str> {
    error.code().map(tokio_postgres::error::SqlState::code)
}

/// An error and its causes in one line. Only for errors that no server sent: those hold no data.
fn chain(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

pub(super) fn has_io_cause(error: &tokio_postgres::Error) -> bool {
    // The library's name for what failed on the socket; a message that it could not parse has an I/O cause as well.
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
        && !error.to_string().contains("parsing")
}

fn pooler(code: &str) -> Option<&'static str> {
    // invalid_sql_statement_name, duplicate_prepared_statement: another session answered than the one that prepared.
    matches!(code, "26000" | "42P05").then_some(POOLER_HINT)
}

/// What can be done about a SQLSTATE (PostgreSQL manual, appendix "PostgreSQL Error Codes").
fn kind(code: &str, message: &str) -> ErrorKind {
    match code {
        // query_canceled; only the message tells who did it, and not in every language.
        "57014" if message.contains("statement timeout") => ErrorKind::TimedOut,
        "57014" => ErrorKind::Cancelled,
        // serialization_failure: a standby cancels queries that are in the way of replay; deadlock_detected.
        "40001" | "40P01" => ErrorKind::Cancelled,
        // lock_not_available: lock_timeout passed.
        "55P03" => ErrorKind::TimedOut,
        "42501" => ErrorKind::Permission,
        // undefined_table, undefined_column, invalid_schema_name.
        "42P01" | "42703" | "3F000" => ErrorKind::Changed,
        // Internal errors of a relation or type that was dropped meanwhile (relation_open, lookups in the syscache).
        "XX000" if message.contains("could not open relation") || message.contains("cache lookup failed") => {
            ErrorKind::Changed
        }
        // admin_shutdown, crash_shutdown, cannot_connect_now, database_dropped, idle_session_timeout,
        // idle_in_transaction_session_timeout, transaction_timeout: the server ended the session.
        "57P01" | "57P02" | "57P03" | "57P04" | "57P05" | "25P03" | "25P04" => ErrorKind::Lost,
        "26000" | "42P05" => ErrorKind::Unsupported,
        // data_corrupted, index_corrupted.
        "XX001" | "XX002" => ErrorKind::Corrupt,
        _ if code.starts_with("08") => ErrorKind::Lost,
        _ if code.starts_with("0A") => ErrorKind::Unsupported,
        _ => ErrorKind::Server,
    }
}

/// The classes whose messages name objects, limits and states, but no row values.
const CLASSES_WITHOUT_VALUES: [&str; 17] =
    ["08", "0A", "0L", "0P", "25", "26", "28", "3D", "3F", "40", "42", "53", "54", "55", "57", "58", "XX"];

fn may_be_repeated(reported: &DbError) -> bool {
    let class = reported.code().code().get(..2).unwrap_or_default();
    // RAISE in a function of the user's: any code, any text.
    CLASSES_WITHOUT_VALUES.contains(&class) && reported.routine() != Some("exec_stmt_raise")
}

fn text_of(reported: &DbError) -> String {
    let code = reported.code().code();
    if may_be_repeated(reported) {
        format!("{} (SQLSTATE {code})", reported.message())
    } else {
        match condition(code) {
            Some(name) => format!("the server reports {name} (SQLSTATE {code})"),
            None => format!("the server reports SQLSTATE {code}"),
        }
    }
}

/// Names of the conditions that reading rows may well meet and whose messages hold values.
fn condition(code: &str) -> Option<&'static str> {
    Some(match code {
        "22000" => "data_exception",
        "22001" => "string_data_right_truncation",
        "22003" => "numeric_value_out_of_range",
        "22004" => "null_value_not_allowed",
        "22007" => "invalid_datetime_format",
        "22008" => "datetime_field_overflow",
        "2200F" => "zero_length_character_string",
        "22011" => "substring_error",
        "22012" => "division_by_zero",
        "2201B" => "invalid_regular_expression",
        "22021" => "character_not_in_repertoire",
        "22023" => "invalid_parameter_value",
        "2202E" => "array_subscript_error",
        "22P01" => "floating_point_exception",
        "22P02" => "invalid_text_representation",
        "22P03" => "invalid_binary_representation",
        "22P05" => "untranslatable_character",
        "23000" => "integrity_constraint_violation",
        "23502" => "not_null_violation",
        "23505" => "unique_violation",
        "23514" => "check_violation",
        "2F000" => "sql_routine_exception",
        "38000" => "external_routine_exception",
        "HV000" => "fdw_error",
        "P0001" => "raise_exception",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_by_code() {
        let cases = [
            ("57014", "canceling statement due to statement timeout", ErrorKind::TimedOut),
            ("57014", "canceling statement due to user request", ErrorKind::Cancelled),
            ("40001", "canceling statement due to conflict with recovery", ErrorKind::Cancelled),
            ("55P03", "canceling statement due to lock timeout", ErrorKind::TimedOut),
            ("42501", "permission denied for table t", ErrorKind::Permission),
            ("42P01", "relation \"t\" does not exist", ErrorKind::Changed),
            ("42703", "column \"c\" does not exist", ErrorKind::Changed),
            ("3F000", "schema \"s\" does not exist", ErrorKind::Changed),
            ("XX000", "could not open relation with OID 16385", ErrorKind::Changed),
            ("XX000", "cache lookup failed for type 16385", ErrorKind::Changed),
            ("XX000", "unexpected chunk number 3", ErrorKind::Server),
            ("XX001", "invalid page in block 7", ErrorKind::Corrupt),
            ("08006", "", ErrorKind::Lost),
            ("57P01", "", ErrorKind::Lost),
            ("57P03", "", ErrorKind::Lost),
            ("25P03", "", ErrorKind::Lost),
            ("25P04", "", ErrorKind::Lost),
            ("0A000", "", ErrorKind::Unsupported),
            ("26000", "", ErrorKind::Unsupported),
            ("42P05", "", ErrorKind::Unsupported),
            ("22P02", "", ErrorKind::Server),
            ("", "", ErrorKind::Server),
        ];
        for (code, message, expected) in cases {
            assert_eq!(kind(code, message), expected, "{code} {message}");
        }
    }

    #[test]
    fn poolers_are_named_for_lost_statements_only() {
        assert_eq!(pooler("26000"), Some(POOLER_HINT));
        assert_eq!(pooler("42P05"), Some(POOLER_HINT));
        assert_eq!(pooler("42P01"), None);
    }

    #[test]
    fn classes_with_values_are_not_repeated() {
        for class in ["22", "23", "38", "39", "44", "HV", "P0", "2F", "ZZ"] {
            assert!(!CLASSES_WITHOUT_VALUES.contains(&class), "{class}");
        }
    }
}
