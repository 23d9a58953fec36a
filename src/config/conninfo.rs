//! How to reach a server: a connection string as psql takes it, over the service file, over the `PG*` variables, over what
//! libpq takes otherwise.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::environment::Environment;
pub use super::hosts::{Host, HostPort, Keepalives, TargetSessionAttrs};
use super::merged::Merged;
use super::tls::{SslMode, TlsOptions};
use crate::error::{Error, ErrorKind, Result};

/// The user's password file, in the home directory.
const PASSWORD_FILE: &str = ".pgpass";

/// How to reach one server. Every field is settled: nothing is read from the environment any more. The password file and
/// the files of TLS are named here, and read anew by every session, as libpq does.
///
/// [`fmt::Debug`] and [`fmt::Display`] do not show the password or `options`.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectOptions {
    hosts: Vec<HostPort>,
    dbname: String,
    user: String,
    password: Option<String>,
    /// Whether the password comes from the connection string or its service.
    password_written: bool,
    password_command: Option<String>,
    password_file: Option<PathBuf>,
    options: Option<String>,
    tls: TlsOptions,
    require_peer: Option<String>,
    load_balance_hosts: bool,
    connect_timeout: Duration,
    keepalives: Option<Keepalives>,
    tcp_user_timeout: Duration,
    target_session_attrs: TargetSessionAttrs,
}

impl ConnectOptions {
    /// Reads a connection string: a URI, keywords and values, or the bare name of a database.
    ///
    /// What it leaves open comes from its service, then from the `PG*` variables, then from libpq's defaults, except for
    /// timeouts and keepalives, whose defaults are ours. A key that is set to nothing gets the default, not the variable, as
    /// in libpq.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`], naming the key, the variable or the service file, never a value that may be secret.
    pub fn parse(text: &str, environment: &Environment) -> Result<Self> {
        let settings = Merged::new(text, environment)?;
        settings.refuse_what_is_not_supported()?;
        let user = match settings.text("user") {
            Some(user) => user.to_owned(),
            None => environment.user().map(str::to_owned).ok_or_else(|| {
                Error::new(ErrorKind::Usage, "no user is given, and the operating system's user has no name")
                    .with_hint("put user=NAME into the connection string, or set PGUSER")
            })?,
        };
        let text = |key| settings.text(key).map(str::to_owned);
        let tls = TlsOptions::new(&settings, environment)?;
        let hosts = settings.hosts()?;
        if tls.mode() == SslMode::VerifyFull
            && hosts.iter().any(|HostPort { host, .. }| matches!(host, Host::Address(_, None)))
        {
            return Err(Error::new(ErrorKind::Usage, "host name must be specified for a verified SSL connection")
                .with_hint("sslmode=verify-full needs host besides hostaddr"));
        }
        let default_file = || environment.home().map(|home| home.join(PASSWORD_FILE));
        Ok(Self {
            hosts,
            dbname: settings.text("dbname").unwrap_or(&user).to_owned(),
            user,
            password: text("password"),
            password_written: settings.is_written("password"),
            password_command: None,
            password_file: text("passfile").map(PathBuf::from).or_else(default_file),
            options: text("options"),
            tls,
            require_peer: text("requirepeer"),
            load_balance_hosts: settings.load_balance_hosts()?,
            connect_timeout: settings.connect_timeout()?,
            keepalives: settings.keepalives()?,
            tcp_user_timeout: settings.tcp_user_timeout()?,
            target_session_attrs: settings.target_session_attrs()?,
        })
    }

    /// The same with a command that prints the password: it takes precedence over `PGPASSWORD` and the password file, but not
    /// over a password that the connection string or its service holds.
    #[must_use]
    pub fn with_password_command(self, command: &str) -> Self {
        if self.password_written {
            return self;
        }
        Self { password: None, password_command: Some(command.to_owned()), ..self }
    }

    /// The hosts, in the order in which they are written; at least one.
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

    pub(crate) fn password_command(&self) -> Option<&str> {
        self.password_command.as_deref()
    }

    /// The file that passwords are looked up in.
    #[must_use]
    pub fn password_file(&self) -> Option<&Path> {
        self.password_file.as_deref()
    }

    /// What is asked of TLS.
    #[must_use]
    pub fn tls(&self) -> &TlsOptions {
        &self.tls
    }

    /// The operating system's user who must run a server behind a Unix-domain socket.
    #[must_use]
    pub fn require_peer(&self) -> Option<&str> {
        self.require_peer.as_deref()
    }

    /// Whether hosts and their addresses are tried in random order.
    #[must_use]
    pub fn load_balance_hosts(&self) -> bool {
        self.load_balance_hosts
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
            .field("password_command", &redacted(&self.password_command))
            .field("password_file", &self.password_file)
            .field("options", &redacted(&self.options))
            .field("tls", &self.tls)
            .field("require_peer", &self.require_peer)
            .field("load_balance_hosts", &self.load_balance_hosts)
            .field("connect_timeout", &self.connect_timeout)
            .field("keepalives", &self.keepalives)
            .field("tcp_user_timeout", &self.tcp_user_timeout)
            .field("target_session_attrs", &self.target_session_attrs)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::merged::MAX_CONNECT_TIMEOUT;

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
        assert_eq!(
            parse("host=::1").unwrap().hosts()[0].host,
            Host::Address("::1".parse().unwrap(), Some("::1".to_owned()))
        );
        assert_eq!(parse("hostaddr=::1").unwrap().hosts()[0].host, Host::Address("::1".parse().unwrap(), None));
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
        assert!(!empty.load_balance_hosts() && empty.require_peer().is_none());
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
            ("sslmode=maybe", "invalid value of sslmode"),
            ("sslmode=", "invalid value of sslmode"),
            ("sslmode=require sslrootcert=system", "weak sslmode \"require\" may not be used with sslrootcert=system"),
            ("sslnegotiation=direct", "weak sslmode \"prefer\" may not be used with sslnegotiation=direct"),
            ("sslnegotiation=now", "invalid value of sslnegotiation"),
            ("sslmode=verify-full hostaddr=10.0.0.1", "host name must be specified"),
            ("sslmode=verify-full host=h, hostaddr=,10.0.0.1", "host name must be specified"),
            ("sslpassword=x", "sslpassword is not supported"),
            ("sslcrldir=x", "sslcrldir is not supported"),
            ("sslcertmode=require", "sslcertmode: require is not supported"),
            ("ssl_min_protocol_version=1.2", "invalid value of ssl_min_protocol_version"),
            ("ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=tlsv1.2", "invalid SSL protocol version range"),
            ("ssl_max_protocol_version=TLSv1.1", "ssl_max_protocol_version is not supported below TLSv1.2"),
            ("gssencmode=require", "gssencmode: require is not supported"),
            ("channel_binding=always", "invalid value of channel_binding"),
            ("load_balance_hosts=yes", "invalid value of load_balance_hosts"),
            ("service=shop", "definition of service \"shop\" not found"),
            ("require_auth=scram-sha-256", "require_auth is not supported"),
            ("replication=database", "replication is not supported"),
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
        for text in [
            "sslmode=disable sslpassword=x",
            "gssencmode=prefer",
            "passfile=",
            "sslrootcert=system",
            "sslmode=verify-full host=h hostaddr=10.0.0.1",
            "sslmode=verify-full host=10.0.0.1",
            "sslmode=verify-full host=/run",
            "ssl_min_protocol_version=TLSv1 ssl_max_protocol_version=TLSV1.2",
        ] {
            parse(text).unwrap();
        }
        for (variable, value) in
            [("PGSSLMODE", ""), ("PGSERVICE", "s"), ("PGREQUIREAUTH", "md5"), ("PGSSLMODE", "on"), ("PGPORT", "x")]
        {
            let error = ConnectOptions::parse("d", &environment(&[(variable, value)])).unwrap_err();
            assert!(error.message().contains(variable) || variable == "PGSERVICE", "{error}");
        }
        let error = ConnectOptions::parse("d", &Environment::default()).unwrap_err();
        assert!(error.message().contains("no user is given"), "{error}");
    }

    #[test]
    fn modes_of_tls() {
        let mode = |text: &str, variables: &[(&str, &str)]| {
            ConnectOptions::parse(text, &environment(variables)).unwrap().tls().mode()
        };
        assert_eq!(mode("d", &[]), SslMode::Prefer);
        assert_eq!(mode("d", &[("PGREQUIRESSL", "1")]), SslMode::Require);
        assert_eq!(mode("d", &[("PGREQUIRESSL", "0")]), SslMode::Prefer);
        assert_eq!(mode("d", &[("PGREQUIRESSL", "1"), ("PGSSLMODE", "allow")]), SslMode::Allow);
        assert_eq!(mode("sslrootcert=system", &[]), SslMode::VerifyFull);
        assert_eq!(mode("d", &[("PGSSLROOTCERT", "system")]), SslMode::VerifyFull);
        assert_eq!(mode("postgres://h/d?ssl=true", &[]), SslMode::Require);
        assert_eq!(mode("sslmode=require sslnegotiation=direct", &[]), SslMode::Require);
        assert!(parse("sslmode=require sslnegotiation=direct").unwrap().tls().direct());
    }

    #[test]
    fn passwords_by_where_they_come_from() {
        let variables = [("PGPASSWORD", "env"), ("PGPASSFILE", "/pass")];
        let options = |text: &str| ConnectOptions::parse(text, &environment(&variables)).unwrap();
        let with_command = |text: &str| options(text).with_password_command("token");
        assert_eq!((options("d").password(), options("d").password_command()), (Some("env"), None));
        assert_eq!((with_command("d").password(), with_command("d").password_command()), (None, Some("token")));
        let written = with_command("password=p");
        assert_eq!((written.password(), written.password_command()), (Some("p"), None));
        assert_eq!(with_command("password=").password_command(), Some("token"));
        assert_eq!(options("d").password_file(), Some(Path::new("/pass")));
        assert_eq!(options("passfile=/other").password_file(), Some(Path::new("/other")));
        assert_eq!(parse("d").unwrap().password_file(), None);
        let home = environment(&[]).with_home("/home/ann");
        let options = ConnectOptions::parse("d", &home).unwrap();
        assert_eq!(options.password_file(), Some(Path::new("/home/ann/.pgpass")));
        assert!(!format!("{:?}", with_command("d")).contains("token"));
    }

    #[test]
    fn a_service_goes_between_the_text_and_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("services");
        std::fs::write(&file, "[shop]\nhost=db1\nport=6000\nuser=serviced\npassword=sesame\n").unwrap();
        let environment = environment(&[
            ("PGSERVICEFILE", file.to_str().unwrap()),
            ("PGHOST", "envhost"),
            ("PGDATABASE", "envdb"),
            ("PGPORT", "7000"),
        ]);
        let shown = |text: &str| ConnectOptions::parse(text, &environment).unwrap().to_string();
        assert_eq!(shown("service=shop"), "db1:6000/envdb as serviced");
        assert_eq!(shown("postgres:///d?service=shop&port=1"), "db1:1/d as serviced");
        assert_eq!(shown("user=u"), "envhost:7000/envdb as u");
        let options = ConnectOptions::parse("service=shop", &environment).unwrap();
        assert_eq!(options.password(), Some("sesame"));
        assert_eq!(options.with_password_command("token").password_command(), None);
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
