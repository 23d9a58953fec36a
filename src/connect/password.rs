//! The password of a session: written down, printed by a command, or found in the password file. Found anew for every
//! session, because tokens expire.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::address::{Address, DEFAULT_HOST, Endpoint, SOCKET_DIRECTORIES};
use super::passfile::{self, Wanted};
use crate::config::ConnectOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::side::Side;

/// How long the command may take: signing a token is instant, fetching credentials for it may take some requests.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest output of a command, in bytes: tokens have some thousand; the server takes no longer password
/// (PG_MAX_AUTH_TOKEN_LENGTH of libpq/auth.h).
const MAX_LENGTH: u64 = 65_535;
/// The variable that tells the command which side it is for; the others are those of libpq.
const SIDE_VARIABLE: &str = "TRIPLECHECK_SIDE";

/// A password and where it was found. Not to be shown: there is no `Debug`.
pub(super) struct Password {
    bytes: Vec<u8>,
    origin: Origin,
}

enum Origin {
    Settings,
    Command,
    File(PathBuf),
}

impl Password {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where to look if the server does not take it.
    pub(super) fn hint(&self) -> String {
        match &self.origin {
            Origin::Settings => "the password is that of the connection string or of PGPASSWORD".to_owned(),
            Origin::Command => "the password is that of --password-command".to_owned(),
            Origin::File(path) => format!("the password was retrieved from file \"{}\"", path.display()),
        }
    }
}

/// Finds the password for one address; `None` if there is none, which is well where the server asks for none.
pub(super) async fn find(side: Side, options: &ConnectOptions, endpoint: &Endpoint) -> Result<Option<Password>> {
    if let Some(password) = options.password() {
        return Ok(Some(Password { bytes: password.into(), origin: Origin::Settings }));
    }
    if let Some(command) = options.password_command() {
        let bytes = run(command, side, options, endpoint)
            .await
            .map_err(|error| error.context(format!("--password-command for the {side}")))?;
        return Ok(Some(Password { bytes, origin: Origin::Command }));
    }
    let Some(path) = options.password_file() else { return Ok(None) };
    let hosts: &[&str] = match &endpoint.address {
        // The usual directories stand for this machine; which of them does so depends on the build of libpq.
        Address::Directory(directory) if SOCKET_DIRECTORIES.iter().any(|usual| directory == Path::new(usual)) => {
            &[DEFAULT_HOST, &endpoint.host]
        }
        _ => &[&endpoint.host],
    };
    let wanted = Wanted { hosts, port: endpoint.port, dbname: options.dbname(), user: options.user() };
    let found = passfile::look_up(path, &wanted).filter(|password| !password.is_empty());
    Ok(found.map(|bytes| Password { bytes, origin: Origin::File(path.to_owned()) }))
}

/// Runs the command. Whatever it prints is nobody's business: neither output becomes part of an error.
async fn run(command: &str, side: Side, options: &ConnectOptions, endpoint: &Endpoint) -> Result<Vec<u8>> {
    let failed = |what: String| {
        Error::new(ErrorKind::Connect, what).with_hint(format!(
            "run it by hand with {SIDE_VARIABLE}={side} PGHOST={} PGPORT={} PGUSER={} PGDATABASE={}; it must print the password",
            endpoint.host,
            endpoint.port,
            options.user(),
            options.dbname()
        ))
    };
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .env(SIDE_VARIABLE, side.to_string())
        .env("PGHOST", &endpoint.host)
        .env("PGPORT", endpoint.port.to_string())
        .env("PGUSER", options.user())
        .env("PGDATABASE", options.dbname())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed("it cannot be started".to_owned()).with_source(error))?;
    let output = child.stdout.take();
    let finish = async {
        let mut bytes = Vec::new();
        if let Some(output) = output {
            // One byte and a line end more than allowed, to see that there is more.
            output.take(MAX_LENGTH + 3).read_to_end(&mut bytes).await?;
        }
        // What it prints beyond that is cut off with the pipe.
        Ok::<_, std::io::Error>((child.wait().await?, bytes))
    };
    let (status, bytes) = match tokio::time::timeout(COMMAND_TIMEOUT, finish).await {
        Ok(Ok(finished)) => finished,
        Ok(Err(error)) => return Err(failed("it cannot be waited for".to_owned()).with_source(error)),
        Err(_) => return Err(failed(format!("it did not end within {} s", COMMAND_TIMEOUT.as_secs()))),
    };
    if !status.success() {
        // "exit status: 3", or the signal.
        return Err(failed(format!("it failed with {status}")));
    }
    accepted(bytes).map_err(|what| failed(what.to_owned()))
}

/// What was printed, without the line end.
fn accepted(mut bytes: Vec<u8>) -> Result<Vec<u8>, &'static str> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    if bytes.is_empty() {
        return Err("it printed nothing");
    }
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_LENGTH) {
        return Err("it printed more than a password can hold");
    }
    if bytes.iter().any(|byte| matches!(byte, b'\n' | b'\0')) {
        return Err("it printed more than one line");
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_a_password() {
        let accepted = |text: &str| accepted(text.as_bytes().to_vec()).map(|bytes| String::from_utf8(bytes).unwrap());
        for text in ["a", "a\n", "a\r\n"] {
            assert_eq!(accepted(text).as_deref(), Ok("a"));
        }
        assert_eq!(accepted(" a b \n").as_deref(), Ok(" a b "));
        for text in ["", "\n", "a\n\n", "a\nb", "a\0b", &"x".repeat(70_000)] {
            assert!(accepted(text).is_err());
        }
    }
}
