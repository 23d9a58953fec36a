//! Addresses: where the hosts of a connection string are, and the one that answered.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::socket::socket_file;
use crate::config::conninfo::{ConnectOptions, Host, HostPort};
use crate::error::{Error, ErrorKind, Result};

/// Where servers put their sockets: Debian's and Red Hat's directory, then the one of PostgreSQL's own builds.
pub(super) const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];
/// The host where there is no socket, as in libpq.
pub(super) const DEFAULT_HOST: &str = "localhost";

/// The server that answered: one address, not a name that may lead elsewhere the next time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// Its port; also the number in the name of a Unix-domain socket.
    pub port: u16,
    /// The name that the user gave it, else the address or directory; for reports.
    pub host: String,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// TCP.
    Ip(IpAddr),
    /// A Unix-domain socket in this directory.
    Directory(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.host)?;
        match &self.address {
            Address::Ip(ip) if ip.to_string() != self.host => write!(f, " ({ip})")?,
            Address::Ip(_) | Address::Directory(_) => {}
        }
        write!(f, ":{}", self.port)
    }
}

/// The addresses of a host, in the order in which they are tried; at least one.
pub(super) async fn resolve(host: &HostPort, options: &ConnectOptions) -> Result<Vec<Endpoint>> {
    let port = host.port;
    let directory = |directory: &Path| Endpoint {
        address: Address::Directory(directory.to_owned()),
        port,
        host: directory.display().to_string(),
    };
    let name = match &host.host {
        Host::Directory(path) => return Ok(vec![directory(path)]),
        Host::Address(ip, name) => {
            let host = name.clone().unwrap_or_else(|| ip.to_string());
            return Ok(vec![Endpoint { address: Address::Ip(*ip), port, host }]);
        }
        Host::Default => match SOCKET_DIRECTORIES.iter().map(Path::new).find(|path| has_socket(path, port)) {
            Some(path) => return Ok(vec![directory(path)]),
            None => DEFAULT_HOST,
        },
        Host::Name(name) => name,
    };
    let failed = |why: String| Error::new(ErrorKind::Connect, format!("cannot resolve the host name {name}: {why}"));
    let addresses = tokio::time::timeout(options.connect_timeout(), tokio::net::lookup_host((name, port)))
        .await
        .map_err(|_| failed(no_answer(options)))?
        .map_err(|error| failed(error.to_string()))?;
    let endpoints: Vec<_> =
        addresses.map(|address| Endpoint { address: Address::Ip(address.ip()), port, host: name.to_owned() }).collect();
    if endpoints.is_empty() { Err(failed("it has no address".to_owned())) } else { Ok(endpoints) }
}

fn has_socket(directory: &Path, port: u16) -> bool {
    socket_file(directory, port).exists()
}

/// What is told of a host that keeps silent.
pub(super) fn no_answer(options: &ConnectOptions) -> String {
    format!("no answer within {} s", options.connect_timeout().as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_for_people() {
        let endpoint = |address, host: &str| Endpoint { address, port: 5432, host: host.to_owned() };
        let ip = || Address::Ip("10.0.0.1".parse().unwrap());
        assert_eq!(endpoint(ip(), "db1").to_string(), "db1 (10.0.0.1):5432");
        assert_eq!(endpoint(ip(), "10.0.0.1").to_string(), "10.0.0.1:5432");
        assert_eq!(endpoint(Address::Directory("/tmp".into()), "/tmp").to_string(), "/tmp:5432");
    }
}
