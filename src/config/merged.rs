//! The connection string over the service file over the `PG*` variables over the defaults, key by key.
//!
//! Fails closed: what asks for something that is not supported is refused, never passed over.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::conninfo::{Host, HostPort, Keepalives, TargetSessionAttrs};
use super::environment::Environment;
use super::keywords::{KEYWORDS, Treatment};
use super::{service, syntax};
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

fn usage(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, message)
}

/// Where a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The connection string.
    Text,
    /// The service file.
    Service,
    /// An environment variable.
    Variable(&'static str),
}

struct Setting {
    value: String,
    origin: Origin,
}

/// The connection string over the service over the environment.
pub(super) struct Merged(BTreeMap<&'static str, Setting>);

impl Merged {
    pub(super) fn new(text: &str, environment: &Environment) -> Result<Self> {
        let mut settings = BTreeMap::new();
        for (keyword, value) in syntax::parse(text)? {
            settings.insert(keyword.name, Setting { value, origin: Origin::Text });
        }
        let written = |key| settings.get(key).map(|setting: &Setting| setting.value.as_str());
        if let Some(name) = written("service").or(environment.set("PGSERVICE")?) {
            let file = written("servicefile").filter(|file| !file.is_empty());
            for (keyword, value) in service::look_up(name, file, environment)? {
                settings.entry(keyword.name).or_insert(Setting { value, origin: Origin::Service });
            }
        }
        for keyword in KEYWORDS {
            let Some(variable) = keyword.variable else { continue };
            if settings.contains_key(keyword.name) {
                continue;
            }
            if let Some(value) = environment.set(variable)? {
                let setting = Setting { value: value.to_owned(), origin: Origin::Variable(variable) };
                settings.insert(keyword.name, setting);
            }
        }
        // libpq still reads this one (fe-connect.c, conninfo_add_defaults).
        if !settings.contains_key("sslmode")
            && environment.set("PGREQUIRESSL")?.is_some_and(|value| value.starts_with('1'))
        {
            let require = Setting { value: "require".to_owned(), origin: Origin::Variable("PGREQUIRESSL") };
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
        match self.0.get(key).map(|setting| setting.origin) {
            Some(Origin::Variable(variable)) => format!("{key} (from the environment variable {variable})"),
            Some(Origin::Service) => format!("{key} (from the service file)"),
            Some(Origin::Text) | None => key.to_owned(),
        }
    }

    /// Whether a key is set to something by the connection string or its service, not only by a variable.
    pub(super) fn is_written(&self, key: &str) -> bool {
        self.text(key).is_some()
            && self.0.get(key).is_some_and(|setting| matches!(setting.origin, Origin::Text | Origin::Service))
    }

    pub(super) fn refuse_what_is_not_supported(&self) -> Result<()> {
        for keyword in KEYWORDS.iter().filter(|keyword| self.text(keyword.name).is_some()) {
            let (hint, only_for_tls) = match keyword.treatment {
                Treatment::Refused(hint) => (hint, false),
                Treatment::RefusedForTls(hint) => (hint, true),
                Treatment::Used | Treatment::Ignored => continue,
            };
            if !(only_for_tls && self.text("sslmode") == Some("disable")) {
                return Err(usage(format!("{} is not supported", self.name(keyword.name))).with_hint(hint));
            }
        }
        for (key, refused, hint) in [
            ("gssencmode", "require", "GSSAPI encryption is not spoken: use TLS"),
            ("sslcertmode", "require", "whether the server asked for a certificate is not checked: use allow"),
        ] {
            if self.text(key) == Some(refused) {
                return Err(usage(format!("{}: {refused} is not supported", self.name(key))).with_hint(hint));
            }
        }
        self.choice("gssencmode", &["disable", "prefer"]).map(drop)
    }

    /// One of several words; `None` if the key is not set. Empty is no word, as in libpq.
    pub(super) fn choice(&self, key: &str, words: &[&str]) -> Result<Option<&str>> {
        match self.0.get(key).map(|setting| setting.value.as_str()) {
            None => Ok(None),
            Some(word) if words.contains(&word) => Ok(Some(word)),
            Some(_) => Err(self.not_one_of(key, &words.join(", "))),
        }
    }

    pub(super) fn not_one_of(&self, key: &str, values: &str) -> Error {
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
        let words = ["any", "read-write", "read-only", "primary", "standby", "prefer-standby"];
        Ok(match self.choice("target_session_attrs", &words)? {
            Some("read-write") => TargetSessionAttrs::ReadWrite,
            Some("read-only") => TargetSessionAttrs::ReadOnly,
            Some("primary") => TargetSessionAttrs::Primary,
            Some("standby") => TargetSessionAttrs::Standby,
            Some("prefer-standby") => TargetSessionAttrs::PreferStandby,
            Some(_) | None => TargetSessionAttrs::Any,
        })
    }

    /// Whether the hosts are tried in random order.
    pub(super) fn load_balance_hosts(&self) -> Result<bool> {
        Ok(self.choice("load_balance_hosts", &["disable", "random"])? == Some("random"))
    }

    /// The hosts, addresses and ports side by side (PostgreSQL manual, "Specifying Multiple Hosts").
    pub(super) fn hosts(&self) -> Result<Vec<HostPort>> {
        let list = |key| self.text(key).map(|text| text.split(',').collect::<Vec<_>>());
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
                Ok(address) => Host::Address(address, Some(name)),
                Err(_) => Host::Name(name),
            },
        })
    }

    fn port(&self, text: &str) -> Result<u16> {
        if text.is_empty() {
            return Ok(DEFAULT_PORT);
        }
        match text.trim().parse() {
            Ok(port @ 1..) => Ok(port),
            _ => Err(usage(format!("invalid value of {}: expected a number from 1 to 65535", self.name("port")))
                .with_hint("in a URI write : in a user name as %3A and / in a password as %2F")),
        }
    }
}
