//! The connection string over the `PG*` variables over the defaults, key by key.
//!
//! Fails closed: what asks for encryption, verification or a file that is not supported yet is refused, never passed over.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::conninfo::{Host, HostPort, Keepalives, TargetSessionAttrs};
use super::environment::Environment;
use super::keywords::{KEYWORDS, Treatment};
use super::syntax;
use crate::error::{Error, ErrorKind, Result};

/// The port of a server that none is named for.
const DEFAULT_PORT: u16 = 5432;
/// How long one address may take to let us in where `connect_timeout` is not set. libpq would wait for ever.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// libpq takes a timeout of one second for two, because it counts whole seconds.
const MIN_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest wait for an address; also what 0, libpq's "for ever", means: nothing here waits without end.
pub(super) const MAX_CONNECT_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// Silence before the first keepalive probe, so that a lost server is noticed within a minute.
const DEFAULT_KEEPALIVES_IDLE: Duration = Duration::from_secs(10);
/// Time between keepalive probes.
const DEFAULT_KEEPALIVES_INTERVAL: Duration = Duration::from_secs(10);
/// Unanswered probes until a connection counts as lost.
const DEFAULT_KEEPALIVES_COUNT: u32 = 3;
/// How long sent data may stay unacknowledged until a connection counts as lost.
const DEFAULT_TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);
const PLAIN_HINT: &str =
    "TLS is not supported yet: use sslmode=disable or prefer on a network that you trust, or a tunnel";

fn usage(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, message)
}

/// A setting and where it comes from.
struct Setting {
    value: String,
    variable: Option<&'static str>,
}

/// The connection string over the environment.
pub(super) struct Merged(BTreeMap<&'static str, Setting>);

impl Merged {
    pub(super) fn new(text: &str, environment: &Environment) -> Result<Self> {
        let mut settings = BTreeMap::new();
        for (keyword, value) in syntax::parse(text)? {
            settings.insert(keyword.name, Setting { value, variable: None });
        }
        for keyword in KEYWORDS {
            let Some(variable) = keyword.variable else { continue };
            if settings.contains_key(keyword.name) {
                continue;
            }
            if let Some(value) = environment.get(variable)? {
                settings.insert(keyword.name, Setting { value: value.to_owned(), variable: Some(variable) });
            }
        }
        // libpq still reads this one (fe-connect.c, conninfo_add_defaults).
        if !settings.contains_key("sslmode")
            && environment.get("PGREQUIRESSL")?.is_some_and(|value| value.starts_with('1'))
        {
            let require = Setting { value: "require".to_owned(), variable: Some("PGREQUIRESSL") };
            settings.insert("sslmode", require);
        }
        Ok(Self(settings))
    }

    /// The value of a key; `None` if it is not set or empty.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|setting| setting.value.as_str()).filter(|value| !value.is_empty())
    }

    /// How messages name a setting: its key, and the variable if it comes from there.
    fn name(&self, key: &str) -> String {
        match self.0.get(key).and_then(|setting| setting.variable) {
            Some(variable) => format!("{key} (from the environment variable {variable})"),
            None => key.to_owned(),
        }
    }

    pub(super) fn refuse_what_is_not_supported(&self) -> Result<()> {
        match self.text("sslmode").unwrap_or("prefer") {
            "disable" | "allow" | "prefer" => {}
            mode @ ("require" | "verify-ca" | "verify-full") => {
                let name = self.name("sslmode");
                return Err(usage(format!("{name}: {mode} is not supported yet")).with_hint(PLAIN_HINT));
            }
            _ => return Err(self.not_one_of("sslmode", "disable, allow, prefer, require, verify-ca, verify-full")),
        }
        for (key, harmless) in [
            ("gssencmode", &["disable", "prefer"][..]),
            ("channel_binding", &["disable", "prefer"]),
            ("load_balance_hosts", &["disable"]),
        ] {
            if self.text(key).is_some_and(|value| !harmless.contains(&value)) {
                let name = self.name(key);
                let only = harmless.join(" or ");
                return Err(usage(format!("{name}: only {only} is supported yet")));
            }
        }
        let plain = self.text("sslmode") == Some("disable");
        for keyword in KEYWORDS.iter().filter(|keyword| self.text(keyword.name).is_some()) {
            let written = self.0.get(keyword.name).is_some_and(|setting| setting.variable.is_none());
            let hint = match keyword.treatment {
                Treatment::Tls if !plain => PLAIN_HINT,
                Treatment::Refused(hint) => hint,
                Treatment::RefusedIfWritten(hint) if written => hint,
                _ => continue,
            };
            return Err(usage(format!("{} is not supported yet", self.name(keyword.name))).with_hint(hint));
        }
        Ok(())
    }

    fn not_one_of(&self, key: &str, values: &str) -> Error {
        usage(format!("invalid value of {}: expected one of {values}", self.name(key)))
    }

    /// A number as libpq reads it: decimal, 32 bits, spaces around it.
    fn integer(&self, key: &str) -> Result<Option<i32>> {
        let Some(text) = self.text(key) else { return Ok(None) };
        match text.trim().parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(usage(format!("invalid value of {}: expected a whole number", self.name(key)))),
        }
    }

    /// A number of seconds; 0 and less stand for the default.
    fn seconds(&self, key: &str, default: Duration) -> Result<Duration> {
        Ok(match self.integer(key)? {
            Some(seconds @ 1..) => Duration::from_secs(u64::from(seconds.unsigned_abs())),
            _ => default,
        })
    }

    pub(super) fn tcp_user_timeout(&self) -> Result<Duration> {
        Ok(match self.integer("tcp_user_timeout")? {
            Some(milliseconds @ 1..) => Duration::from_millis(u64::from(milliseconds.unsigned_abs())),
            _ => DEFAULT_TCP_USER_TIMEOUT,
        })
    }

    pub(super) fn connect_timeout(&self) -> Result<Duration> {
        Ok(match self.integer("connect_timeout")? {
            None => DEFAULT_CONNECT_TIMEOUT,
            Some(..=0) => MAX_CONNECT_TIMEOUT,
            Some(seconds) => {
                Duration::from_secs(u64::from(seconds.unsigned_abs())).clamp(MIN_CONNECT_TIMEOUT, MAX_CONNECT_TIMEOUT)
            }
        })
    }

    pub(super) fn keepalives(&self) -> Result<Option<Keepalives>> {
        let keepalives = Keepalives {
            idle: self.seconds("keepalives_idle", DEFAULT_KEEPALIVES_IDLE)?,
            interval: self.seconds("keepalives_interval", DEFAULT_KEEPALIVES_INTERVAL)?,
            count: match self.integer("keepalives_count")? {
                Some(count @ 1..) => count.unsigned_abs(),
                _ => DEFAULT_KEEPALIVES_COUNT,
            },
        };
        Ok((self.integer("keepalives")? != Some(0)).then_some(keepalives))
    }

    pub(super) fn target_session_attrs(&self) -> Result<TargetSessionAttrs> {
        Ok(match self.text("target_session_attrs") {
            None | Some("any") => TargetSessionAttrs::Any,
            Some("read-write") => TargetSessionAttrs::ReadWrite,
            Some("read-only") => TargetSessionAttrs::ReadOnly,
            Some("primary") => TargetSessionAttrs::Primary,
            Some("standby") => TargetSessionAttrs::Standby,
            Some("prefer-standby") => TargetSessionAttrs::PreferStandby,
            Some(_) => {
                let values = "any, read-write, read-only, primary, standby, prefer-standby";
                return Err(self.not_one_of("target_session_attrs", values));
            }
        })
    }

    /// The hosts, addresses and ports side by side (PostgreSQL manual, "Specifying Multiple Hosts").
    pub(super) fn hosts(&self) -> Result<Vec<HostPort>> {
        let list = |key| self.text(key).map(|text| text.split(',').map(str::trim).collect::<Vec<_>>());
        let (names, addresses) = (list("host"), list("hostaddr"));
        let count = addresses.as_ref().or(names.as_ref()).map_or(1, Vec::len);
        if let Some(names) = names.as_ref().filter(|names| names.len() != count) {
            let names = names.len();
            return Err(usage(format!("could not match {names} host names to {count} hostaddr values")));
        }
        let ports = list("port").unwrap_or_default();
        if ports.len() > 1 && ports.len() != count {
            return Err(usage(format!("could not match {} port numbers to {count} hosts", ports.len())));
        }
        let element = |list: &Option<Vec<&str>>, position: usize| {
            list.as_ref()
                .and_then(|list| list.get(position).copied())
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        (0..count)
            .map(|position| {
                let port = ports.get(position).or(ports.first()).copied().unwrap_or_default();
                let host = self.host(element(&names, position), element(&addresses, position))?;
                Ok(HostPort { host, port: self.port(port)? })
            })
            .collect()
    }

    fn host(&self, name: Option<String>, address: Option<String>) -> Result<Host> {
        // Not repeated: an unescaped "@" in a password ends up in the host.
        if name.as_ref().is_some_and(|name| name.contains('@') && !name.starts_with('/')) {
            return Err(usage(format!("{} must not contain \"@\"", self.name("host"))).with_hint(
                "in a URI write @ in a user name or a password as %40; abstract sockets are not supported",
            ));
        }
        if let Some(address) = address {
            return match address.parse() {
                Ok(address) => Ok(Host::Address(address, name)),
                Err(_) => Err(usage(format!("invalid value of {}: expected an IP address", self.name("hostaddr")))),
            };
        }
        Ok(match name {
            None => Host::Default,
            Some(name) if name.starts_with('/') => Host::Directory(PathBuf::from(name)),
            Some(name) => match name.parse() {
                Ok(address) => Host::Address(address, None),
                Err(_) => Host::Name(name),
            },
        })
    }

    fn port(&self, text: &str) -> Result<u16> {
        if text.is_empty() {
            return Ok(DEFAULT_PORT);
        }
        match text.parse() {
            Ok(port @ 1..) => Ok(port),
            _ => Err(usage(format!("invalid value of {}: expected a number from 1 to 65535", self.name("port")))
                .with_hint("in a URI write : in a user name as %3A and / in a password as %2F")),
        }
    }
}
