//! From a socket to what the protocol runs over: as it is, or through TLS. Sessions and requests to cancel go this one way.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::Endpoint;
use super::handshake::prepare;
use super::socket::Socket;
use crate::config::ConnectOptions;
use crate::error::Error;

/// The message `SSLRequest` (PostgreSQL manual, "Message Formats"): its length, 1234, 5679.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

type Encrypted = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// A connection that is ready for the startup message.
pub(super) enum Wire {
    Plain(Socket),
    Encrypted(Box<Encrypted>),
}

/// How to get to a server, and once more the very way a session got there.
pub(super) struct Route {
    endpoint: Endpoint,
    options: Arc<ConnectOptions>,
    encryption: Encryption,
    /// Prepared once the server is willing, as in libpq: what is wrong with files does not matter before.
    handshake: OnceLock<Handshake>,
}

/// What stands between socket and protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encryption {
    /// Nothing.
    Off,
    /// TLS if the server has it.
    IfOffered,
    /// TLS or nothing.
    Required,
}

/// Everything that a TLS handshake needs.
#[derive(Clone)]
pub(super) struct Handshake {
    pub(super) connector: MakeRustlsConnect,
    /// The name or address that the certificate is checked against, if it is, and that is announced.
    pub(super) server_name: String,
}

/// Why there is no wire.
#[derive(Debug)]
pub(super) enum NoWire {
    /// Nobody answers there.
    Socket(io::Error),
    /// The server behind a Unix-domain socket is run by somebody else than `requirepeer` says.
    WrongPeer(String),
    /// The server does not do TLS, which is required.
    NotOffered,
    /// The files of TLS cannot be used.
    Unprepared(Error),
    /// What answered the request for TLS was no answer to it.
    NoAnswer(io::Error),
    /// The handshake failed.
    Handshake(io::Error),
}

impl Route {
    pub(super) fn new(endpoint: Endpoint, options: Arc<ConnectOptions>, encryption: Encryption) -> Self {
        Self { endpoint, options, encryption, handshake: OnceLock::new() }
    }

    /// The same for a server that has shown what it does: no less, whatever somebody on the way says.
    pub(super) fn settled(self, encrypted: bool) -> Self {
        Self { encryption: if encrypted { Encryption::Required } else { Encryption::Off }, ..self }
    }

    /// Opens a wire. The caller limits the time.
    pub(super) async fn open(&self) -> Result<Wire, NoWire> {
        let mut socket = Socket::open(&self.endpoint, &self.options).await.map_err(NoWire::Socket)?;
        if let Some(wanted) = self.options.require_peer() {
            socket.check_peer(wanted).map_err(NoWire::WrongPeer)?;
        }
        if self.encryption == Encryption::Off {
            return Ok(Wire::Plain(socket));
        }
        if !self.options.tls().direct() && !offered(&mut socket).await.map_err(NoWire::NoAnswer)? {
            let required = self.encryption == Encryption::Required;
            return if required { Err(NoWire::NotOffered) } else { Ok(Wire::Plain(socket)) };
        }
        let handshake = match self.handshake.get() {
            Some(handshake) => handshake,
            None => {
                let prepared = prepare(&self.options, &self.endpoint).map_err(NoWire::Unprepared)?;
                self.handshake.get_or_init(|| prepared)
            }
        };
        let mut connector = handshake.connector.clone();
        let Ok(connect) = MakeTlsConnect::<Socket>::make_tls_connect(&mut connector, &handshake.server_name);
        let encrypted = connect.connect(socket).await.map_err(NoWire::Handshake)?;
        Ok(Wire::Encrypted(Box::new(encrypted)))
    }
}

/// Asks the server for TLS. Exactly one byte is read: what an attacker puts behind it becomes a broken handshake.
///
/// Only `N` lets `sslmode=prefer` go on without TLS. Anything else - an error, garbage, an end - is the end of the attempt
/// in every mode, as in libpq (`PQconnectPoll`, state `CONNECTION_SSL_STARTUP`, in fe-connect.c of 12 to 17: `error_return`,
/// while only a failed handshake leads to a second attempt). The text of an error is not read: whoever sent it is not
/// authenticated (CVE-2024-10977, fixed in 17.1, 16.5 and before in the same way).
async fn offered(socket: &mut Socket) -> io::Result<bool> {
    socket.write_all(&SSL_REQUEST).await?;
    match socket.read_u8().await? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        b'E' => Err(io::Error::other("server sent an error response during SSL exchange")),
        _ => {
            Err(io::Error::other("received invalid response to SSL negotiation: what answers is no PostgreSQL server"))
        }
    }
}

impl Wire {
    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Encrypted(_))
    }
}

/// Tells tokio-postgres, which wants to do it itself, that TLS is settled already.
///
/// To be used with `SslMode::Require` and `SslNegotiation::Direct`: then it calls the connector at once, which is how it
/// comes to ask the wire for its channel binding.
pub(super) struct Settled;

impl<S: TlsStream + Unpin> TlsConnect<S> for Settled {
    type Stream = S;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<S, Self::Error>>;

    fn connect(self, stream: S) -> Self::Future {
        std::future::ready(Ok(stream))
    }
}

impl TlsStream for Wire {
    fn channel_binding(&self) -> ChannelBinding {
        match self {
            Self::Plain(_) => ChannelBinding::none(),
            Self::Encrypted(stream) => stream.channel_binding(),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Encrypted(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Encrypted(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Encrypted(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Encrypted(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}
