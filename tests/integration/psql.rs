//! psql beside us: what it makes of a connection string, in words that fit both.

use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::OnceLock;

use tokio::process::Command;
use triplecheck_testbed::find_client;

/// What a session says of itself: role, database, port of the server, whether it is encrypted.
pub(crate) const WHO: &str = "SELECT session_user || ' ' || current_database() || ' ' || current_setting('port') || \
                   CASE WHEN ssl THEN ' encrypted' ELSE '' END FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

/// A command in an environment that holds nothing of libpq's but these variables and this home directory.
pub(crate) fn clean(program: impl AsRef<std::ffi::OsStr>, home: &Path, variables: &[(String, String)]) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("PG") || text.starts_with("TRIPLECHECK_") || text.starts_with("SSL_CERT_") {
            command.env_remove(&name);
        }
    }
    // Not the system's service file.
    command.env("HOME", home).env("PGSYSCONFDIR", home).env("LC_ALL", "C").stdin(Stdio::null()).kill_on_drop(true);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    command
}

/// The major version of the machine's psql; `None` if there is none to compare with.
pub(crate) fn major() -> Option<u16> {
    static MAJOR: OnceLock<Option<u16>> = OnceLock::new();
    *MAJOR.get_or_init(|| {
        let output = std::process::Command::new(find_client("psql")?).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.split_whitespace().nth(2)?.split('.').next()?.parse().ok()
    })
}

/// What psql finds: who it is where, or the class of the error.
pub(crate) async fn outcome(conninfo: &str, home: &Path, variables: &[(String, String)]) -> String {
    let output = run(conninfo, home, variables).await;
    if output.status.success() {
        return String::from_utf8_lossy(&output.stdout).trim().to_owned();
    }
    class(&String::from_utf8_lossy(&output.stderr))
}

async fn run(conninfo: &str, home: &Path, variables: &[(String, String)]) -> Output {
    let mut command = clean(find_client("psql").expect("asked for by those who know it is there"), home, variables);
    command.args(["-X", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1", "-c", WHO, "-d", conninfo]);
    command.output().await.expect("psql runs")
}

/// The class of an error, from what either program says; the text itself where it fits none.
pub(crate) fn class(text: &str) -> String {
    let classes: [(&str, &[&str]); 17] = [
        ("wrong password", &["password authentication failed"]),
        ("no password", &["no password supplied", "password missing"]),
        ("certificate wanted", &["requires a valid client certificate"]),
        ("not trusted", &["certificate verify failed", "invalid peer certificate", "does not match host name"]),
        ("no TLS", &["server does not support SSL"]),
        ("no root certificate", &["root certificate file", "root certificates"]),
        ("channel binding", &["channel binding required", "did not use channel binding"]),
        ("key", &["private key file", "certificate present, but not private key"]),
        ("no entry", &["no pg_hba.conf entry"]),
        ("no such database", &["database \"none\" does not exist"]),
        ("bad option", &["unrecognized configuration parameter"]),
        ("wrong kind of server", &["session is not read-only", "server is not in hot standby mode"]),
        ("service", &["definition of service", "service file"]),
        ("peer", &["requirepeer specifies"]),
        ("silent", &["timeout expired", "no answer within"]),
        ("unreachable", &["Connection refused", "No such file or directory"]),
        (
            "malformed",
            &[
                "invalid connection option",
                "invalid URI query parameter",
                "invalid value of",
                "invalid integer value",
                "invalid port number",
                "invalid sslmode value",
                "invalid target_session_attrs value",
                "invalid channel_binding value",
                "invalid ssl_min_protocol_version value",
                "invalid SSL protocol version range",
                "invalid percent-encod",
                "forbidden value %00",
                "could not match",
                "could not parse network address",
                "missing \"",
                "missing key/value separator",
                "extra key/value separator",
                "a second \"=\"",
                "unterminated quoted string",
                "when looking for matching \"]\"",
                "IPv6",
                "expected \":\" or \"/\"",
                "weak sslmode",
            ],
        ),
    ];
    let found = classes.iter().find(|(_, signs)| signs.iter().any(|sign| text.contains(sign)));
    found.map_or_else(|| text.trim().to_owned(), |(class, _)| (*class).to_owned())
}
