//! What a connection string asks of TLS, settled: files are named, but not read yet.
//!
//! Source: PostgreSQL manual, "SSL Support" (libpq); `pqConnectOptions2` of src/interfaces/libpq/fe-connect.c and
//! `initialize_SSL` of fe-secure-openssl.c.

use std::path::PathBuf;

use super::environment::Environment;
use super::merged::Merged;
use crate::error::{Error, ErrorKind, Result};

/// Where the user's certificates are, below the home directory.
const USER_FOLDER: &str = ".postgresql";
const ROOT_CERTIFICATES: &str = "root.crt";
const REVOCATIONS: &str = "root.crl";
const CERTIFICATE: &str = "postgresql.crt";
const KEY: &str = "postgresql.key";
/// The value of `sslrootcert` that stands for the authorities that the operating system trusts.
const SYSTEM: &str = "system";
/// Protocol versions as libpq names them, oldest first.
const VERSIONS: [&str; 4] = ["tlsv1", "tlsv1.1", "tlsv1.2", "tlsv1.3"];
/// Where in [`VERSIONS`] those begin that can be spoken.
const OLDEST_SPOKEN: usize = 2;
const TOO_OLD_HINT: &str = "TLS before 1.2 is not spoken: leave ssl_max_protocol_version out";

/// Whether and how a session is encrypted (`sslmode` of libpq), weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS if the server insists on it.
    Allow,
    /// TLS if the server has it.
    Prefer,
    /// TLS; the server's certificate is verified as by `verify-ca` if there are root certificates to do it with.
    Require,
    /// TLS, with a certificate that a trusted authority signed.
    VerifyCa,
    /// TLS, with a certificate that a trusted authority signed for this host.
    VerifyFull,
}

/// Which authorities are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Roots {
    /// Those of a file; `None` where not even the home directory of the default file is known.
    File(Option<NamedFile>),
    /// Those of the operating system.
    System,
}

/// A file, and whether it was asked for; otherwise it is looked for at its usual place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedFile {
    pub(crate) path: PathBuf,
    pub(crate) asked_for: bool,
}

/// The protocol versions that may be spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) tls12: bool,
    pub(crate) tls13: bool,
}

/// The settings of TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsOptions {
    mode: SslMode,
    direct: bool,
    roots: Roots,
    revocations: Option<NamedFile>,
    certificate: Option<NamedFile>,
    key: Option<PathBuf>,
    server_name: bool,
    versions: Versions,
    channel_binding: tokio_postgres::config::ChannelBinding,
}

fn usage(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, message)
}

impl TlsOptions {
    pub(super) fn new(settings: &Merged, environment: &Environment) -> Result<Self> {
        let roots = roots(settings, environment);
        let mode = mode(settings, &roots)?;
        let direct = match settings.choice("sslnegotiation", &["postgres", "direct"])? {
            Some("direct") if mode < SslMode::Require => {
                let name = settings.text("sslmode").unwrap_or("prefer");
                let message = format!("weak sslmode \"{name}\" may not be used with sslnegotiation=direct");
                return Err(usage(message).with_hint("use require, verify-ca or verify-full"));
            }
            choice => choice == Some("direct"),
        };
        let file = |key: &str, name: &str| file(settings, environment, key, name);
        // `require` of sslcertmode is refused with the other keywords.
        let send = settings.choice("sslcertmode", &["disable", "allow", "require"])? != Some("disable");
        Ok(Self {
            mode,
            direct,
            roots,
            revocations: file("sslcrl", REVOCATIONS),
            certificate: file("sslcert", CERTIFICATE).filter(|_| send),
            key: file("sslkey", KEY).map(|file| file.path),
            server_name: settings.text("sslsni").is_none_or(|value| value.starts_with('1')),
            versions: versions(settings)?,
            channel_binding: match settings.choice("channel_binding", &["disable", "prefer", "require"])? {
                Some("disable") => tokio_postgres::config::ChannelBinding::Disable,
                Some("require") => tokio_postgres::config::ChannelBinding::Require,
                _ => tokio_postgres::config::ChannelBinding::Prefer,
            },
        })
    }

    /// Whether and how a session is encrypted.
    #[must_use]
    pub fn mode(&self) -> SslMode {
        self.mode
    }

    /// Whether TLS begins at once, without asking for it.
    pub(crate) fn direct(&self) -> bool {
        self.direct
    }

    pub(crate) fn roots(&self) -> &Roots {
        &self.roots
    }

    pub(crate) fn revocations(&self) -> Option<&NamedFile> {
        self.revocations.as_ref()
    }

    /// The client's certificate, to be sent if the file exists.
    pub(crate) fn certificate(&self) -> Option<&NamedFile> {
        self.certificate.as_ref()
    }

    pub(crate) fn key(&self) -> Option<&PathBuf> {
        self.key.as_ref()
    }

    /// Whether the host's name is announced (SNI).
    pub(crate) fn server_name(&self) -> bool {
        self.server_name
    }

    pub(crate) fn versions(&self) -> Versions {
        self.versions
    }

    pub(crate) fn channel_binding(&self) -> tokio_postgres::config::ChannelBinding {
        self.channel_binding
    }
}

fn file(settings: &Merged, environment: &Environment, key: &str, name: &str) -> Option<NamedFile> {
    match settings.text(key) {
        Some(path) => Some(NamedFile { path: PathBuf::from(path), asked_for: true }),
        None => {
            let path = environment.home()?.join(USER_FOLDER).join(name);
            Some(NamedFile { path, asked_for: false })
        }
    }
}

fn roots(settings: &Merged, environment: &Environment) -> Roots {
    match settings.text("sslrootcert") {
        Some(SYSTEM) => Roots::System,
        _ => Roots::File(file(settings, environment, "sslrootcert", ROOT_CERTIFICATES)),
    }
}

fn mode(settings: &Merged, roots: &Roots) -> Result<SslMode> {
    let names = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
    let mode = match settings.choice("sslmode", &names)? {
        Some("disable") => SslMode::Disable,
        Some("allow") => SslMode::Allow,
        Some("require") => SslMode::Require,
        Some("verify-ca") => SslMode::VerifyCa,
        Some("verify-full") => SslMode::VerifyFull,
        Some(_) => SslMode::Prefer,
        None if *roots == Roots::System => SslMode::VerifyFull,
        None => SslMode::Prefer,
    };
    if *roots == Roots::System && mode != SslMode::VerifyFull {
        let name = settings.text("sslmode").unwrap_or_default();
        let message = format!("weak sslmode \"{name}\" may not be used with sslrootcert=system");
        return Err(usage(message).with_hint("use verify-full"));
    }
    Ok(mode)
}

fn versions(settings: &Merged) -> Result<Versions> {
    let position = |key| match settings.text(key) {
        None => Ok(None),
        Some(text) => match VERSIONS.iter().position(|name| text.eq_ignore_ascii_case(name)) {
            Some(position) => Ok(Some(position)),
            None => Err(settings.not_one_of(key, "TLSv1, TLSv1.1, TLSv1.2, TLSv1.3")),
        },
    };
    let least = position("ssl_min_protocol_version")?;
    let most = position("ssl_max_protocol_version")?;
    if let (Some(least), Some(most)) = (least, most)
        && least > most
    {
        return Err(usage("invalid SSL protocol version range"));
    }
    if most.is_some_and(|most| most < OLDEST_SPOKEN) {
        return Err(usage("ssl_max_protocol_version is not supported below TLSv1.2").with_hint(TOO_OLD_HINT));
    }
    let spoken = |name| {
        let position = VERSIONS.iter().position(|version| *version == name);
        position >= least && (most.is_none() || position <= most)
    };
    Ok(Versions { tls12: spoken("tlsv1.2"), tls13: spoken("tlsv1.3") })
}
