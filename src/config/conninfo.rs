//! How to reach a server: a connection string as psql takes it, over the `PG*` variables, over what libpq takes otherwise.
//!
//! Fails closed: what asks for encryption, verification or a file that is not supported yet is refused, never passed over.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

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
const MAX_CONNECT_TIMEOUT: Duration = Duration::from_secs(60 * 60);
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

/// How to reach one server. Every field is settled: nothing is read from the environment any more.
///
/// [`fmt::Debug`] and [`fmt::Display`] do not show the password or `options`.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectOptions {
    hosts: Vec<HostPort>,
    dbname: String,
    user: String,
    password: Option<String>,
    options: Option<String>,
    connect_timeout: Duration,
    keepalives: Option<Keepalives>,
    tcp_user_timeout: Duration,
    target_session_attrs: TargetSessionAttrs,
}

/// One host of a connection string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Where the server is.
    pub host: Host,
    /// Its port; also the number in the name of a Unix-domain socket.
    pub port: u16,
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// Nowhere in particular: the first usual directory that holds a socket of the port, else `localhost`.
    Default,
    /// The directory of a Unix-domain socket.
    Directory(PathBuf),
    /// A name, to be resolved.
    Name(String),
    /// An address, with the name that was given for it if any.
    Address(IpAddr, Option<String>),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("local"),
            Self::Directory(directory) => directory.display().fmt(f),
            Self::Name(name) | Self::Address(_, Some(name)) => f.write_str(name),
            Self::Address(address, None) => address.fmt(f),
        }
    }
}

/// When the other end of a silent TCP connection counts as lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalives {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Unanswered probes.
    pub count: u32,
}

/// Which servers of a list will do (`target_session_attrs` of libpq).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetSessionAttrs {
    /// All.
    Any,
    /// Sessions that may write by default.
    ReadWrite,
    /// Sessions that may not write by default.
    ReadOnly,
    /// Not in recovery.
    Primary,
    /// In recovery.
    Standby,
    /// In recovery if there is one in the list, else all.
    PreferStandby,
}

impl ConnectOptions {
    /// Reads a connection string: a URI, keywords and values, or the bare name of a database.
    ///
    /// What it leaves open comes from the `PG*` variables, then from libpq's defaults, except for timeouts and
    /// keepalives, whose defaults are ours. A key that is set to nothing gets the default, not the variable, as in libpq.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`], naming the key or the variable, never a value that may be secret.
    pub fn parse(text: &str, environment: &Environment) -> Result<Self> {
        let settings = Settings::merge(text, environment)?;
        settings.refuse_what_is_not_supported()?;
        let user = match settings.text("user") {
            Some(user) => user.to_owned(),
            None => environment.user().map(str::to_owned).ok_or_else(|| {
                usage("no user is given, and the operating system's user has no name")
                    .with_hint("put user=NAME into the connection string, or set PGUSER")
            })?,
        };
        Ok(Self {
            hosts: settings.hosts()?,
            dbname: settings.text("dbname").unwrap_or(&user).to_owned(),
            user,
            password: settings.text("password").map(str::to_owned),
            options: settings.text("options").map(str::to_owned),
            connect_timeout: settings.connect_timeout()?,
            keepalives: settings.keepalives()?,
            tcp_user_timeout: match settings.integer("tcp_user_timeout")? {
                Some(milliseconds @ 1..) => Duration::from_millis(u64::from(milliseconds.unsigned_abs())),
                _ => DEFAULT_TCP_USER_TIMEOUT,
            },
            target_session_attrs: settings.target_session_attrs()?,
        })
    }

    /// The hosts, in the order in which they are tried; at least one.
    #[must_use]
    pub fn hosts(&self) -> &[HostPort] {
        &self.hosts
    }

    /// The database.
    #[must_use]
    pub fn dbname(&self) -> &str {
        &self.dbname
    }

    /// The role.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    pub(crate) fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    pub(crate) fn options(&self) -> Option<&str> {
        self.options.as_deref()
    }

    /// How long one address may take until the session is there.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// When a silent server counts as lost; `None` if it is not asked.
    #[must_use]
    pub fn keepalives(&self) -> Option<Keepalives> {
        self.keepalives
    }

    /// How long sent data may stay unacknowledged.
    #[must_use]
    pub fn tcp_user_timeout(&self) -> Duration {
        self.tcp_user_timeout
    }

    /// Which servers of the list will do.
    #[must_use]
    pub fn target_session_attrs(&self) -> TargetSessionAttrs {
        self.target_session_attrs
    }
}

impl fmt::Display for ConnectOptions {
    /// `host:port,host:port/database as user`, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, HostPort { host, port }) in self.hosts.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(f, "{comma}{host}:{port}")?;
        }
        write!(f, "/{} as {}", self.dbname, self.user)
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let redacted = |secret: &Option<String>| secret.as_ref().map(|_| "***");
        f.debug_struct("ConnectOptions")
            .field("hosts", &self.hosts)
            .field("dbname", &self.dbname)
            .field("user", &self.user)
            .field("password", &redacted(&self.password))
            .field("options", &redacted(&self.options))
            .field("connect_timeout", &self.connect_timeout)
            .field("keepalives", &self.keepalives)
            .field("tcp_user_timeout", &self.tcp_user_timeout)
            .field("target_session_attrs", &self.target_session_attrs)
            .finish()
    }
}

fn usage(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, message)
}

/// A setting and where it comes from.
struct Setting {
    value: String,
    variable: Option<&'static str>,
}

/// The connection string over the environment.
struct Settings(BTreeMap<&'static str, Setting>);

impl Settings {
    fn merge(text: &str, environment: &Environment) -> Result<Self> {
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
    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|setting| setting.value.as_str()).filter(|value| !value.is_empty())
    }

    /// How messages name a setting: its key, and the variable if it comes from there.
    fn name(&self, key: &str) -> String {
        match self.0.get(key).and_then(|setting| setting.variable) {
            Some(variable) => format!("{key} (from the environment variable {variable})"),
            None => key.to_owned(),
        }
    }

    fn refuse_what_is_not_supported(&self) -> Result<()> {
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

    fn connect_timeout(&self) -> Result<Duration> {
        Ok(match self.integer("connect_timeout")? {
            None => DEFAULT_CONNECT_TIMEOUT,
            Some(..=0) => MAX_CONNECT_TIMEOUT,
            Some(seconds) => {
                Duration::from_secs(u64::from(seconds.unsigned_abs())).clamp(MIN_CONNECT_TIMEOUT, MAX_CONNECT_TIMEOUT)
            }
        })
    }

    fn keepalives(&self) -> Result<Option<Keepalives>> {
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

    fn target_session_attrs(&self) -> Result<TargetSessionAttrs> {
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
    fn hosts(&self) -> Result<Vec<HostPort>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::of(variables.iter().copied(), Some("ann"))
    }

    fn parse(text: &str) -> Result<ConnectOptions> {
        ConnectOptions::parse(text, &environment(&[]))
    }

    #[test]
    fn display_of_hosts_database_and_user() {
        let cases = [
            ("shop", "local:5432/shop as ann"),
            ("user=bob", "local:5432/bob as bob"),
            ("dbname='' user=''", "local:5432/ann as ann"),
            ("host=db1 dbname=shop", "db1:5432/shop as ann"),
            ("host=db1,db2 port=5433 dbname=d", "db1:5433,db2:5433/d as ann"),
            ("host=db1,,/tmp port=5433,,5434 dbname=d", "db1:5433,local:5432,/tmp:5434/d as ann"),
            ("host=db1 hostaddr=10.0.0.1 dbname=d", "db1:5432/d as ann"),
            ("hostaddr=10.0.0.1,::1 dbname=d", "10.0.0.1:5432,::1:5432/d as ann"),
            ("postgres://u:p@h1,h2:5433/d", "h1:5432,h2:5433/d as u"),
            ("postgres://%2Ftmp:5433/d", "/tmp:5433/d as ann"),
            ("postgres://", "local:5432/ann as ann"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).unwrap().to_string(), expected, "{text}");
        }
        assert_eq!(
            parse("host=db1 hostaddr=10.0.0.1").unwrap().hosts()[0].host,
            Host::Address("10.0.0.1".parse().unwrap(), Some("db1".to_owned()))
        );
        assert_eq!(parse("host=/run/pg").unwrap().hosts()[0].host, Host::Directory(PathBuf::from("/run/pg")));
        assert_eq!(parse("host=::1").unwrap().hosts()[0].host, Host::Address("::1".parse().unwrap(), None));
    }

    #[test]
    fn the_text_outweighs_the_environment_which_outweighs_the_defaults() {
        let environment = environment(&[
            ("PGHOST", "envhost"),
            ("PGPORT", "6000"),
            ("PGDATABASE", "envdb"),
            ("PGUSER", "envuser"),
            ("PGPASSWORD", "envpassword"),
            ("PGOPTIONS", "-c geqo=off"),
            ("PGCONNECT_TIMEOUT", "7"),
            ("PGTARGETSESSIONATTRS", "primary"),
            ("PGPASSFILE", "/home/ann/.pgpass"),
            ("PGAPPNAME", "x"),
        ]);
        let options = ConnectOptions::parse("postgresql://", &environment).unwrap();
        assert_eq!(options.to_string(), "envhost:6000/envdb as envuser");
        assert_eq!(options.password(), Some("envpassword"));
        assert_eq!(options.options(), Some("-c geqo=off"));
        assert_eq!(options.connect_timeout(), Duration::from_secs(7));
        assert_eq!(options.target_session_attrs(), TargetSessionAttrs::Primary);

        let text =
            "host=h port=1 dbname=d user=u password=p options=-cjit=on connect_timeout=20 target_session_attrs=any";
        let options = ConnectOptions::parse(text, &environment).unwrap();
        assert_eq!(options.to_string(), "h:1/d as u");
        assert_eq!((options.password(), options.options()), (Some("p"), Some("-cjit=on")));
        assert_eq!(options.connect_timeout(), Duration::from_secs(20));
        assert_eq!(options.target_session_attrs(), TargetSessionAttrs::Any);

        let empty = ConnectOptions::parse("host='' dbname='' password='' user=bob", &environment).unwrap();
        assert_eq!(empty.to_string(), "local:6000/bob as bob");
        assert_eq!(empty.password(), None);
    }

    #[test]
    fn timeouts_and_keepalives() {
        let keepalives = |text: &str| parse(text).unwrap().keepalives();
        let seconds = Duration::from_secs;
        assert_eq!(keepalives("d"), Some(Keepalives { idle: seconds(10), interval: seconds(10), count: 3 }));
        assert_eq!(keepalives("keepalives=0"), None);
        assert_eq!(
            keepalives("keepalives=1 keepalives_idle=60 keepalives_interval=5 keepalives_count=6"),
            Some(Keepalives { idle: seconds(60), interval: seconds(5), count: 6 })
        );
        assert_eq!(keepalives("keepalives_idle=0 keepalives_count=-1"), keepalives("d"));
        assert_eq!(parse("d").unwrap().tcp_user_timeout(), seconds(30));
        assert_eq!(parse("tcp_user_timeout=1500").unwrap().tcp_user_timeout(), Duration::from_millis(1500));
        for (text, expected) in [("d", 10), ("connect_timeout=1", 2), ("connect_timeout=' 30 '", 30)] {
            assert_eq!(parse(text).unwrap().connect_timeout(), seconds(expected), "{text}");
        }
        for text in ["connect_timeout=0", "connect_timeout=-1", "connect_timeout=2000000000"] {
            assert_eq!(parse(text).unwrap().connect_timeout(), MAX_CONNECT_TIMEOUT, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        let cases = [
            ("sslmode=require", "sslmode: require is not supported yet"),
            ("sslmode=verify-ca", "sslmode: verify-ca is not supported yet"),
            ("postgres://h/d?sslmode=verify-full", "sslmode: verify-full is not supported yet"),
            ("postgres://h/d?ssl=true", "sslmode: require is not supported yet"),
            ("sslmode=maybe", "invalid value of sslmode"),
            ("sslrootcert=system", "sslrootcert is not supported yet"),
            ("sslnegotiation=direct", "sslnegotiation is not supported yet"),
            ("gssencmode=require", "gssencmode: only disable or prefer is supported yet"),
            ("channel_binding=require", "channel_binding: only disable or prefer is supported yet"),
            ("load_balance_hosts=random", "load_balance_hosts: only disable is supported yet"),
            ("service=shop", "service is not supported yet"),
            ("passfile=/x", "passfile is not supported yet"),
            ("require_auth=scram-sha-256", "require_auth is not supported yet"),
            ("replication=database", "replication is not supported yet"),
            ("target_session_attrs=master", "invalid value of target_session_attrs"),
            ("port=0", "invalid value of port"),
            ("port=65536", "invalid value of port"),
            ("port=54x", "invalid value of port"),
            ("postgres://u:sesame/x", "invalid value of port"),
            ("postgres://u:a@sesame@h/x", "host must not contain \"@\""),
            ("hostaddr=localhost", "invalid value of hostaddr"),
            ("host=a,b hostaddr=10.0.0.1", "could not match 2 host names to 1 hostaddr values"),
            ("host=a,b port=1,2,3", "could not match 3 port numbers to 2 hosts"),
            ("connect_timeout=soon", "invalid value of connect_timeout"),
            ("keepalives=yes", "invalid value of keepalives"),
            ("tcp_user_timeout=30s", "invalid value of tcp_user_timeout"),
        ];
        for (text, expected) in cases {
            let error = parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.message().contains(expected), "{text}: {error}");
            assert!(!format!("{error:?}").contains("sesame"), "{text}: {error:?}");
        }
        for text in
            ["sslmode=disable sslrootcert=x", "sslmode=prefer", "sslmode=allow", "gssencmode=prefer", "passfile="]
        {
            parse(text).unwrap();
        }
        for (variable, value) in
            [("PGSSLMODE", "require"), ("PGREQUIRESSL", "1"), ("PGSERVICE", "s"), ("PGSSLCERT", "c")]
        {
            let error = ConnectOptions::parse("d", &environment(&[(variable, value)])).unwrap_err();
            assert!(error.message().contains(variable), "{error}");
        }
        let error = ConnectOptions::parse("d", &Environment::default()).unwrap_err();
        assert!(error.message().contains("no user is given"), "{error}");
    }

    #[test]
    fn secrets_are_not_shown() {
        let options = parse("postgres://u:sesame@h/d?options=-c%20a.key%3Dsesame").unwrap();
        assert_eq!(options.password(), Some("sesame"));
        assert!(!format!("{options:?} {options}").contains("sesame"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in ".*") {
            let _ = parse(&text);
            let _ = parse(&format!("postgresql://{text}"));
            let _ = parse(&format!("host={text} hostaddr={text} port={text}"));
        }
    }
}
