//! The keywords of connection strings: all that libpq 18 knows, the variable that each defaults to, and what becomes of it.
//!
//! Source: PostgreSQL manual, "Parameter Key Words" and "Environment Variables" (libpq).

/// One keyword of a connection string.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Keyword {
    /// As it is written.
    pub(super) name: &'static str,
    /// The environment variable that it defaults to.
    pub(super) variable: Option<&'static str>,
    /// What we do with it.
    pub(super) treatment: Treatment,
}

/// What becomes of a keyword that is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Treatment {
    /// It is in force.
    Used,
    /// It changes nothing that matters here, or we set what it sets ourselves.
    Ignored,
    /// It asks for something that we cannot do and that must not be passed over; the text is the hint.
    Refused(&'static str),
    /// The same, unless TLS is switched off anyway.
    RefusedForTls(&'static str),
}

/// The keyword of this name.
pub(super) fn keyword(name: &str) -> Option<&'static Keyword> {
    KEYWORDS.iter().find(|keyword| keyword.name == name)
}

const fn of(name: &'static str, variable: Option<&'static str>, treatment: Treatment) -> Keyword {
    Keyword { name, variable, treatment }
}

use Treatment::{Ignored, Refused, RefusedForTls, Used};

const NO_AUTH: &str = "the way of authentication cannot be restricted";
const NO_SSLPASSWORD: &str = "encrypted keys are not read: store the key unencrypted, readable by its owner only";
const NO_CRL_FOLDER: &str = "put the revocation lists into one file, and name it with sslcrl";

/// All keywords.
pub(super) static KEYWORDS: &[Keyword] = &[
    of("host", Some("PGHOST"), Used),
    of("hostaddr", Some("PGHOSTADDR"), Used),
    of("port", Some("PGPORT"), Used),
    of("dbname", Some("PGDATABASE"), Used),
    of("user", Some("PGUSER"), Used),
    of("password", Some("PGPASSWORD"), Used),
    of("options", Some("PGOPTIONS"), Used),
    of("connect_timeout", Some("PGCONNECT_TIMEOUT"), Used),
    of("keepalives", None, Used),
    of("keepalives_idle", None, Used),
    of("keepalives_interval", None, Used),
    of("keepalives_count", None, Used),
    of("tcp_user_timeout", None, Used),
    of("target_session_attrs", Some("PGTARGETSESSIONATTRS"), Used),
    of("sslmode", Some("PGSSLMODE"), Used),
    of("gssencmode", Some("PGGSSENCMODE"), Used),
    of("channel_binding", Some("PGCHANNELBINDING"), Used),
    of("load_balance_hosts", Some("PGLOADBALANCEHOSTS"), Used),
    of("application_name", Some("PGAPPNAME"), Ignored),
    of("fallback_application_name", None, Ignored),
    of("client_encoding", Some("PGCLIENTENCODING"), Ignored),
    of("sslcompression", Some("PGSSLCOMPRESSION"), Ignored),
    of("sslsni", Some("PGSSLSNI"), Used),
    of("krbsrvname", Some("PGKRBSRVNAME"), Ignored),
    of("gsslib", Some("PGGSSLIB"), Ignored),
    of("gssdelegation", Some("PGGSSDELEGATION"), Ignored),
    of("min_protocol_version", Some("PGMINPROTOCOLVERSION"), Ignored),
    of("max_protocol_version", Some("PGMAXPROTOCOLVERSION"), Ignored),
    of("sslcert", Some("PGSSLCERT"), Used),
    of("sslkey", Some("PGSSLKEY"), Used),
    of("sslkeylogfile", None, RefusedForTls("keys of sessions are not logged")),
    of("sslpassword", None, RefusedForTls(NO_SSLPASSWORD)),
    of("sslcertmode", Some("PGSSLCERTMODE"), Used),
    of("sslrootcert", Some("PGSSLROOTCERT"), Used),
    of("sslcrl", Some("PGSSLCRL"), Used),
    of("sslcrldir", Some("PGSSLCRLDIR"), RefusedForTls(NO_CRL_FOLDER)),
    of("sslnegotiation", Some("PGSSLNEGOTIATION"), Used),
    of("ssl_min_protocol_version", Some("PGSSLMINPROTOCOLVERSION"), Used),
    of("ssl_max_protocol_version", Some("PGSSLMAXPROTOCOLVERSION"), Used),
    of("service", Some("PGSERVICE"), Used),
    of("servicefile", None, Used),
    of("passfile", Some("PGPASSFILE"), Used),
    of("require_auth", Some("PGREQUIREAUTH"), Refused(NO_AUTH)),
    of("requirepeer", Some("PGREQUIREPEER"), Used),
    of("replication", None, Refused("only ordinary connections can be used")),
    of("scram_client_key", None, Refused("use a password")),
    of("scram_server_key", None, Refused("use a password")),
    of("oauth_issuer", None, Refused("use a password")),
    of("oauth_client_id", None, Refused("use a password")),
    of("oauth_client_secret", None, Refused("use a password")),
    of("oauth_scope", None, Refused("use a password")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_variables_are_unique() {
        let mut names: Vec<_> = KEYWORDS.iter().map(|keyword| keyword.name).collect();
        let mut variables: Vec<_> = KEYWORDS.iter().filter_map(|keyword| keyword.variable).collect();
        for list in [&mut names, &mut variables] {
            let all = list.len();
            list.sort_unstable();
            list.dedup();
            assert_eq!(list.len(), all);
        }
    }
}
