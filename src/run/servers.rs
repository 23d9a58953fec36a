//! Sessions of a run: all of a side on the same server.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::catalog;
use crate::config::{Config, ScanMode};
use crate::connect::{ClientEncoding, Endpoint, Session, SessionSettings, same_database};
use crate::error::{Error, ErrorKind, Result};
use crate::gate::Keepers;
use crate::scan::{self, Hashing};
use crate::side::{Side, Sides};

/// Longest time one statement of a scan session may take: a count of a table of terabytes ends within it.
const SCAN_STATEMENT_TIMEOUT: Duration = Duration::from_secs(6 * 3600);
/// How much longer than the snapshot age a transaction may stay open before the server ends it: pieces that run when the
/// age is reached are allowed to finish.
const TRANSACTION_GRACE: Duration = Duration::from_secs(15 * 60);

/// How to open sessions on both sides, pinned to the servers that answered first.
pub(crate) struct Servers {
    config: Arc<Config>,
    endpoints: Sides<Endpoint>,
    encoding: ClientEncoding,
    /// For questions outside of any transaction; shared with the monitor.
    pub(crate) control: Sides<Arc<Session>>,
    pub(crate) facts: Sides<catalog::ServerFacts>,
    /// How they hash, where they are to digest tables.
    pub(crate) hashing: Option<Hashing>,
}

fn transaction_limit(config: &Config) -> Duration {
    config.snapshot_age_max + config.lag_timeout + TRANSACTION_GRACE
}

/// Refuses to compare a database with itself.
pub(crate) async fn refuse_same(publisher: &Session, subscriber: &Session) -> Result<()> {
    if same_database(publisher, subscriber).await? {
        return Err(Error::new(
            ErrorKind::Usage,
            "the publisher and the subscriber are the same database, which always matches itself",
        )
        .with_hint(
            "check --publisher and --subscriber (and PGHOST, PGPORT, PGDATABASE, which fill what they leave open)",
        ));
    }
    Ok(())
}

impl Servers {
    /// Opens a session on each side, and proves that they are two databases.
    pub(crate) async fn connect(config: Arc<Config>) -> Result<Self> {
        let settings = SessionSettings::control(transaction_limit(&config));
        let open = |side: Side| {
            let options = config.servers.get(side).clone();
            async move { Session::open(&options, side, "control", &settings, None).await }
        };
        let (publisher, subscriber) = futures::future::join(open(Side::Publisher), open(Side::Subscriber)).await;
        let control = Sides::new(publisher?, subscriber?);
        refuse_same(&control.publisher, &control.subscriber).await?;
        let facts = Sides::new(
            catalog::read_server(&control.publisher).await?,
            catalog::read_server(&control.subscriber).await?,
        );
        let endpoints = control.as_ref().map(|session| session.endpoint().clone());
        // Where a server does not know its encoding, texts are compared as the bytes they are, on both sides.
        let ascii = facts.publisher.encoding == "SQL_ASCII" || facts.subscriber.encoding == "SQL_ASCII";
        let encoding = if ascii { ClientEncoding::SqlAscii } else { ClientEncoding::Utf8 };
        let hashing = match config.scan {
            ScanMode::Rows => None,
            ScanMode::Digest | ScanMode::Digest64 => Some(scan::hashing(control.as_ref(), &facts).await?),
        };
        Ok(Self { config, endpoints, encoding, control: control.map(Arc::new), facts, hashing })
    }

    /// Opens the control sessions anew, after sessions were lost.
    pub(crate) async fn reconnect(&mut self) -> Result<()> {
        let settings = SessionSettings::control(transaction_limit(&self.config));
        let open = |side| self.open(side, "control".to_owned(), settings);
        let (publisher, subscriber) = futures::future::join(open(Side::Publisher), open(Side::Subscriber)).await;
        self.control = Sides::new(Arc::new(publisher?), Arc::new(subscriber?));
        Ok(())
    }

    pub(crate) fn endpoints(&self) -> &Sides<Endpoint> {
        &self.endpoints
    }

    /// Opens a session that reads user tables.
    pub(crate) fn scan(&self, side: Side, number: usize) -> BoxFuture<'static, Result<Session>> {
        let settings =
            SessionSettings::scan(SCAN_STATEMENT_TIMEOUT, transaction_limit(&self.config)).encoding(self.encoding);
        self.open(side, format!("scan {number}"), settings)
    }

    fn open(&self, side: Side, role: String, settings: SessionSettings) -> BoxFuture<'static, Result<Session>> {
        let config = Arc::clone(&self.config);
        let endpoint = self.endpoints.get(side).clone();
        async move { Session::open(config.servers.get(side), side, &role, &settings, Some(&endpoint)).await }.boxed()
    }

    /// Opens the sessions that hold snapshots.
    pub(crate) async fn keepers(&self) -> Result<Keepers> {
        let settings = SessionSettings::control(transaction_limit(&self.config));
        let open = |side| self.open(side, "snapshot".to_owned(), settings);
        let (publisher, subscriber) = futures::future::join(open(Side::Publisher), open(Side::Subscriber)).await;
        Ok(Keepers { sessions: Sides::new(publisher?, subscriber?) })
    }

    /// Opens the session for a temporary slot.
    pub(crate) fn slot_session(&self) -> BoxFuture<'static, Result<Session>> {
        // Decoding may take longer than other questions to a server, and its texts go back into statements of scans.
        let settings = SessionSettings::scan(self.config.lag_timeout, transaction_limit(&self.config));
        self.open(Side::Publisher, "slot".to_owned(), settings.encoding(self.encoding))
    }
}
