//! From a wire to a client: with or without TLS as `sslmode` says, and the one place where a stream is handed to the protocol.

use std::sync::{Arc, OnceLock};

use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::config::{SslMode as Negotiated, SslNegotiation};

use super::address::{Address, Endpoint};
use super::failure::{connect_error, has_io_cause, sqlstate, translate, wire_error};
use super::handshake;
use super::open::Request;
use super::password::Password;
use super::tap::{Tap, tap};
use super::wire::{Encryption, NoWire, Route, Settled, Wire};
use crate::config::SslMode;
use crate::error::{Error, ErrorKind};

/// A connection that is driven by a task of its own.
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) task: ConnectionTask,
    /// Why the connection ended, once it has; requests only learn that it is closed.
    pub(super) fate: Arc<OnceLock<Error>>,
    /// How it got there, for requests to cancel.
    pub(super) route: Arc<Route>,
    /// Takes the rows of a COPY from below the protocol.
    pub(super) tap: Tap<Wire>,
}

/// The task that drives a connection; ends with its owner.
pub(super) struct ConnectionTask(pub(super) JoinHandle<()>);

impl Drop for ConnectionTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why an address did not do.
pub(super) enum Failure {
    /// The next one may.
    TryNext(Error),
    /// The server said no: asking others would only hide that (as in libpq, where authentication fails).
    Final(Error),
}

/// Why there is no link, and whether it might be there with other encryption.
struct NoLink {
    failure: Failure,
    other_encryption: bool,
}

/// One way to encrypt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Plain,
    TlsIfOffered,
    Tls,
}

/// What is tried in turn (PostgreSQL manual, "SSL Mode Descriptions"). A Unix-domain socket needs no encryption, whatever
/// is asked for.
fn steps(mode: SslMode, address: &Address) -> &'static [Step] {
    match (mode, address) {
        (_, Address::Directory(_)) | (SslMode::Disable, _) => &[Step::Plain],
        (SslMode::Allow, _) => &[Step::Plain, Step::Tls],
        (SslMode::Prefer, _) => &[Step::TlsIfOffered, Step::Plain],
        (SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull, _) => &[Step::Tls],
    }
}

/// Connects to one address. The caller limits the time.
pub(super) async fn link(
    request: &Request<'_>,
    endpoint: &Endpoint,
    password: Option<&Password>,
) -> Result<Link, Failure> {
    let mut before: Option<Error> = None;
    for &step in steps(request.options.tls().mode(), &endpoint.address) {
        let NoLink { failure, other_encryption } = match attempt(request, endpoint, password, step).await {
            Ok(link) => return Ok(link),
            Err(no_link) => no_link,
        };
        let (error, next): (Error, fn(Error) -> Failure) = match failure {
            Failure::TryNext(error) => (error, Failure::TryNext),
            Failure::Final(error) => (error, Failure::Final),
        };
        let error = match before.take() {
            Some(before) => both(&before, &error),
            None => error,
        };
        if !other_encryption {
            return Err(next(error));
        }
        before = Some(error);
    }
    Err(Failure::Final(before.unwrap_or_else(|| Error::new(ErrorKind::Connect, "no way to connect"))))
}

/// What the first and the second attempt at one server came to.
fn both(first: &Error, second: &Error) -> Error {
    let error = Error::new(ErrorKind::Connect, format!("{}; then: {}", first.message(), second.message()));
    match second.hint().or(first.hint()) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

async fn attempt(
    request: &Request<'_>,
    endpoint: &Endpoint,
    password: Option<&Password>,
    step: Step,
) -> Result<Link, NoLink> {
    let handshake = || handshake::prepare(request.options, endpoint);
    let unprepared = |error| NoLink { failure: Failure::Final(error), other_encryption: step == Step::TlsIfOffered };
    let encryption = match step {
        Step::Plain => Encryption::Off,
        Step::TlsIfOffered => Encryption::IfOffered(handshake().map_err(unprepared)?),
        Step::Tls => Encryption::Required(handshake().map_err(unprepared)?),
    };
    let options = Arc::clone(request.options);
    let mut route = Route { endpoint: endpoint.clone(), options, encryption };
    let wire = route.open().await.map_err(|no_wire| {
        let other_encryption = step == Step::TlsIfOffered && matches!(no_wire, NoWire::Handshake(_));
        let failure = match no_wire {
            NoWire::Socket(_) => Failure::TryNext(wire_error(no_wire)),
            NoWire::WrongPeer(_) | NoWire::NotOffered | NoWire::Handshake(_) => Failure::Final(wire_error(no_wire)),
        };
        NoLink { failure, other_encryption }
    })?;
    let encrypted = wire.is_encrypted();
    route.encryption = route.encryption.settled(encrypted);
    hand_over(wire, request, password, Arc::new(route)).await.map_err(|error| {
        let code = sqlstate(&error);
        // invalid_authorization_specification and its kin: pg_hba.conf may rule otherwise for the other way.
        let denied = code.is_some_and(|code| code.starts_with("28"));
        let other_encryption = denied
            && match step {
                Step::Plain => request.options.tls().mode() == SslMode::Allow,
                Step::TlsIfOffered => encrypted,
                Step::Tls => false,
            };
        // cannot_connect_now: it starts or stops, and another may serve; so may one where this one went silent.
        let next = code == Some("57P03") || (code.is_none() && (error.is_closed() || has_io_cause(&error)));
        let mut translated = connect_error(&error);
        // invalid_password.
        if let Some(password) = password.filter(|_| code == Some("28P01")) {
            translated = translated.with_hint(password.hint());
        }
        let failure = if next { Failure::TryNext(translated) } else { Failure::Final(translated) };
        NoLink { failure, other_encryption }
    })
}

/// Hands a wire, encrypted or not, over to the protocol: logs in, and drives the connection from then on.
async fn hand_over(
    wire: Wire,
    request: &Request<'_>,
    password: Option<&Password>,
    route: Arc<Route>,
) -> Result<Link, tokio_postgres::Error> {
    let options = request.options;
    let mut config = tokio_postgres::Config::new();
    config
        .user(options.user())
        .dbname(options.dbname())
        .application_name(request.application_name)
        // Not what is asked for, but what makes the library take the wire as it is: see `Settled`.
        .ssl_mode(Negotiated::Require)
        .ssl_negotiation(SslNegotiation::Direct)
        .channel_binding(options.tls().channel_binding());
    if let Some(password) = password {
        config.password(password.bytes());
    }
    if let Some(options) = options.options() {
        config.options(options);
    }
    let (stream, tap) = tap(wire);
    let (client, connection) = config.connect_raw(stream, Settled).await?;
    let fate = Arc::new(OnceLock::new());
    let told = Arc::clone(&fate);
    let task = tokio::spawn(async move {
        // By reference: the fate must be known before the connection is dropped and its requests learn of the end.
        let mut connection = std::pin::pin!(connection);
        if let Err(error) = connection.as_mut().await {
            told.get_or_init(|| translate(&error));
        }
    });
    Ok(Link { client, task: ConnectionTask(task), fate, route, tap })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_tries_what_libpq_tries() {
        use Step::{Plain, Tls, TlsIfOffered};
        let tcp = Address::Ip("10.0.0.1".parse().unwrap());
        let cases = [
            (SslMode::Disable, &[Plain][..]),
            (SslMode::Allow, &[Plain, Tls]),
            (SslMode::Prefer, &[TlsIfOffered, Plain]),
            (SslMode::Require, &[Tls]),
            (SslMode::VerifyCa, &[Tls]),
            (SslMode::VerifyFull, &[Tls]),
        ];
        for (mode, expected) in cases {
            assert_eq!(steps(mode, &tcp), expected, "{mode:?}");
            assert_eq!(steps(mode, &Address::Directory("/tmp".into())), [Plain], "{mode:?}");
        }
    }
}
