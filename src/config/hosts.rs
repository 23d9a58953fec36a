//! The parts of a connection string that say where servers are, and which of them will do.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

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
