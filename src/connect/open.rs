//! Opening a session: from a list of hosts to the one address that every session of a side is pinned to.

use std::sync::Arc;

use tokio_postgres::SimpleQueryMessage;

use super::address::{Endpoint, no_answer, resolve};
use super::failure::{POOLER_HINT, connect_error, sqlstate};
use super::link::{Failure, Link, link};
use super::nonce::nonce;
use super::password::{self, Password};
use super::pinned::{SessionSettings, pin_sql};
use crate::config::conninfo::{ConnectOptions, TargetSessionAttrs};
use crate::error::{Error, ErrorKind, Result};
use crate::side::Side;

/// The oldest server whose settings and functions we know, as `server_version_num`.
const MIN_VERSION_NUM: u32 = 120_000;

/// What an opened session is.
pub(super) struct Opened {
    pub(super) link: Link,
    pub(super) endpoint: Endpoint,
    pub(super) version_num: u32,
    pub(super) backend_pid: i32,
}

/// What a session needs to be opened.
pub(super) struct Request<'a> {
    pub(super) side: Side,
    pub(super) options: &'a Arc<ConnectOptions>,
    pub(super) settings: &'a SessionSettings,
    pub(super) application_name: &'a str,
    pub(super) nonce: &'a str,
}

/// Tries the hosts in order until one answers and will do; or just the pinned one.
pub(super) async fn open(request: &Request<'_>, pin: Option<&Endpoint>) -> Result<Opened> {
    if let Some(endpoint) = pin {
        return match attempt(request, endpoint, TargetSessionAttrs::Any).await {
            Ok(opened) => Ok(opened),
            Err(Failure::TryNext(error) | Failure::Final(error)) => Err(error),
        };
    }
    let rounds: &[TargetSessionAttrs] = match request.options.target_session_attrs() {
        TargetSessionAttrs::PreferStandby => &[TargetSessionAttrs::Standby, TargetSessionAttrs::Any],
        TargetSessionAttrs::Any => &[TargetSessionAttrs::Any],
        TargetSessionAttrs::ReadWrite => &[TargetSessionAttrs::ReadWrite],
        TargetSessionAttrs::ReadOnly => &[TargetSessionAttrs::ReadOnly],
        TargetSessionAttrs::Primary => &[TargetSessionAttrs::Primary],
        TargetSessionAttrs::Standby => &[TargetSessionAttrs::Standby],
    };
    let mut failures = Vec::new();
    for &wanted in rounds {
        // Of two rounds, the second says all that the first did.
        failures.clear();
        let mut hosts: Vec<_> = request.options.hosts().iter().collect();
        let shuffled = request.options.load_balance_hosts();
        if shuffled {
            hosts.sort_by_cached_key(|_| nonce());
        }
        for host in hosts {
            let mut endpoints = match resolve(host, request.options).await {
                Ok(endpoints) => endpoints,
                Err(error) => {
                    failures.push(error);
                    continue;
                }
            };
            if shuffled {
                endpoints.sort_by_cached_key(|_| nonce());
            }
            for endpoint in endpoints {
                match attempt(request, &endpoint, wanted).await {
                    Ok(opened) => return Ok(opened),
                    Err(Failure::TryNext(error)) => failures.push(error),
                    Err(Failure::Final(error)) => return Err(error),
                }
            }
        }
    }
    Err(none_of(&failures))
}

/// One error for all addresses that did not do.
fn none_of(failures: &[Error]) -> Error {
    let messages: Vec<_> = failures.iter().map(Error::message).collect();
    let error = Error::new(ErrorKind::Connect, messages.join("; "));
    match failures.iter().find_map(Error::hint) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

async fn attempt(request: &Request<'_>, endpoint: &Endpoint, wanted: TargetSessionAttrs) -> Result<Opened, Failure> {
    let place = format!("cannot connect to {endpoint}");
    let password = match password::find(request.side, request.options, endpoint).await {
        Ok(password) => password,
        Err(error) => return Err(Failure::Final(error.context(place))),
    };
    let established = establish(request, endpoint, password.as_ref(), wanted);
    match tokio::time::timeout(request.options.connect_timeout(), established).await {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(Failure::TryNext(error))) => Err(Failure::TryNext(error.context(place))),
        Ok(Err(Failure::Final(error))) => Err(Failure::Final(error.context(place))),
        Err(_) => Err(Failure::TryNext(Error::new(ErrorKind::Connect, no_answer(request.options)).context(place))),
    }
}

async fn establish(
    request: &Request<'_>,
    endpoint: &Endpoint,
    password: Option<&Password>,
    wanted: TargetSessionAttrs,
) -> Result<Opened, Failure> {
    let link = link(request, endpoint, password).await?;
    let probe = probe(&link).await.map_err(Failure::TryNext)?;
    if probe.version_num < MIN_VERSION_NUM {
        let version = probe.version_num;
        let message =
            format!("its server_version_num is {version}: servers before {MIN_VERSION_NUM} are not supported");
        return Err(Failure::Final(Error::new(ErrorKind::Unsupported, message)));
    }
    probe.check(wanted).map_err(Failure::TryNext)?;
    let pid = pin(&link, request, probe.version_num).await.map_err(Failure::Final)?;
    if pid != probe.backend_pid {
        let message = "two statements of one session were answered by two server processes";
        return Err(Failure::Final(Error::new(ErrorKind::Unsupported, message).with_hint(POOLER_HINT)));
    }
    Ok(Opened { link, endpoint: endpoint.clone(), version_num: probe.version_num, backend_pid: pid })
}

/// What a session says about itself before anything is pinned.
#[derive(Debug, Clone, Copy)]
struct Probe {
    version_num: u32,
    backend_pid: i32,
    in_recovery: bool,
    read_only: bool,
}

const PROBE: &str = "SELECT pg_catalog.current_setting('server_version_num'), pg_catalog.pg_backend_pid(), \
    pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('default_transaction_read_only')";

async fn probe(link: &Link) -> Result<Probe> {
    let row = single_row(link, PROBE).await.map_err(|error| connect_error(&error))?;
    let texts: Vec<Option<&str>> = row.iter().map(Option::as_deref).collect();
    let probe = match texts.as_slice() {
        [Some(version_num), Some(backend_pid), Some(in_recovery), Some(read_only)] => {
            version_num.parse().ok().zip(backend_pid.parse().ok()).map(|(version_num, backend_pid)| Probe {
                version_num,
                backend_pid,
                in_recovery: *in_recovery != "f",
                read_only: *read_only != "off",
            })
        }
        _ => None,
    };
    probe.ok_or_else(|| Error::new(ErrorKind::Corrupt, "the server does not tell its version and process"))
}

impl Probe {
    fn check(self, wanted: TargetSessionAttrs) -> Result<()> {
        let read_only = self.in_recovery || self.read_only;
        let refusal = match wanted {
            TargetSessionAttrs::ReadWrite if read_only => "session is read-only",
            TargetSessionAttrs::ReadOnly if !read_only => "session is not read-only",
            TargetSessionAttrs::Primary if self.in_recovery => "server is in hot standby mode",
            TargetSessionAttrs::Standby if !self.in_recovery => "server is not in hot standby mode",
            _ => return Ok(()),
        };
        Err(Error::new(ErrorKind::Connect, format!("{refusal}, which target_session_attrs excludes")))
    }
}

/// Pins the settings, and returns the process that did so.
async fn pin(link: &Link, request: &Request<'_>, version_num: u32) -> Result<i32> {
    let sql = |optional| {
        let mut sql = pin_sql(request.settings, request.application_name, request.nonce, version_num, optional);
        sql.push_str("SELECT pg_catalog.pg_backend_pid()");
        sql
    };
    let row = match single_row(link, &sql(true)).await {
        // invalid_parameter_value: the server's operating system cannot do what an optional setting asks for.
        Err(error) if sqlstate(&error) == Some("22023") => single_row(link, &sql(false)).await,
        other => other,
    }
    .map_err(|error| connect_error(&error).context("pinning the settings of the session"))?;
    row.first()
        .and_then(Option::as_deref)
        .and_then(|pid| pid.parse().ok())
        .ok_or_else(|| Error::new(ErrorKind::Corrupt, "the server does not tell its process"))
}

/// The last row that the statements return; empty if there is none.
async fn single_row(link: &Link, sql: &str) -> Result<Vec<Option<String>>, tokio_postgres::Error> {
    let mut last = Vec::new();
    for message in link.client.simple_query(sql).await? {
        if let SimpleQueryMessage::Row(row) = message {
            last =
                (0..row.len()).map(|column| Ok(row.try_get(column)?.map(str::to_owned))).collect::<Result<_, _>>()?;
        }
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_will_do() {
        use TargetSessionAttrs::{Any, PreferStandby, Primary, ReadOnly, ReadWrite, Standby};
        let cases = [
            (false, false, &[Any, ReadWrite, Primary, PreferStandby][..]),
            (false, true, &[Any, ReadOnly, Primary, PreferStandby]),
            (true, false, &[Any, ReadOnly, Standby, PreferStandby]),
            (true, true, &[Any, ReadOnly, Standby, PreferStandby]),
        ];
        for (in_recovery, read_only, good) in cases {
            let probe = Probe { version_num: 150_000, backend_pid: 1, in_recovery, read_only };
            for wanted in [Any, ReadWrite, ReadOnly, Primary, Standby, PreferStandby] {
                assert_eq!(probe.check(wanted).is_ok(), good.contains(&wanted), "{probe:?} {wanted:?}");
            }
        }
    }

    #[test]
    fn all_failures_are_told() {
        let failures = [
            Error::new(ErrorKind::Connect, "cannot connect to a:1: refused"),
            Error::new(ErrorKind::Connect, "cannot connect to b:1: standby").with_hint("promote it"),
        ];
        let error = none_of(&failures);
        assert_eq!(error.message(), "cannot connect to a:1: refused; cannot connect to b:1: standby");
        assert_eq!(error.hint(), Some("promote it"));
    }
}
