//! The raw socket below everything else: TCP or Unix-domain, opened and set up as the connection string says.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::address::{Address, Endpoint};
use crate::config::{ConnectOptions, user_name};

/// An open socket.
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The socket of a Unix-domain server in this directory (PostgreSQL manual, `unix_socket_directories`).
pub(super) fn socket_file(directory: &std::path::Path, port: u16) -> PathBuf {
    directory.join(format!(".s.PGSQL.{port}"))
}

impl Socket {
    /// Connects to the one address. The caller limits the time.
    pub(super) async fn open(endpoint: &Endpoint, options: &ConnectOptions) -> io::Result<Self> {
        match &endpoint.address {
            Address::Directory(directory) => {
                UnixStream::connect(socket_file(directory, endpoint.port)).await.map(Self::Unix)
            }
            Address::Ip(ip) => {
                let stream = TcpStream::connect((*ip, endpoint.port)).await?;
                stream.set_nodelay(true)?;
                let socket = SockRef::from(&stream);
                #[cfg(any(target_os = "linux", target_os = "android"))]
                socket.set_tcp_user_timeout(Some(options.tcp_user_timeout()))?;
                if let Some(keepalives) = options.keepalives() {
                    socket.set_tcp_keepalive(
                        &TcpKeepalive::new()
                            .with_time(keepalives.idle)
                            .with_interval(keepalives.interval)
                            .with_retries(keepalives.count),
                    )?;
                }
                Ok(Self::Tcp(stream))
            }
        }
    }

    /// Checks that the process behind a Unix-domain socket is run by this user (`requirepeer` of libpq).
    pub(super) fn check_peer(&self, wanted: &str) -> Result<(), String> {
        let Self::Unix(stream) = self else { return Ok(()) };
        let peer = stream.peer_cred().map_err(|error| format!("could not get peer credentials: {error}"))?;
        match user_name(peer.uid()) {
            Some(name) if name == wanted => Ok(()),
            Some(name) => Err(format!("requirepeer specifies \"{wanted}\", but actual peer user name is \"{name}\"")),
            None => Err(format!("local user with ID {} does not exist", peer.uid())),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
