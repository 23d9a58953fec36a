//! A session and what can be asked of it.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use tokio_postgres::{Client, SimpleQueryMessage};

use super::address::Endpoint;
use super::copy::CopyStream;
use super::failure::{POOLER_HINT, connect_error, sqlstate, translate, wire_error};
use super::link::{ConnectionTask, Link};
use super::nonce::nonce;
use super::open::{self, Opened};
use super::pinned::{HEARTBEAT, NONCE_SETTING, SessionSettings};
use super::tap::Tap;
use super::wire::{Route, Settled, Wire};
use crate::config::conninfo::ConnectOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::side::Side;
use crate::sql;

/// How long a request to cancel may take: it is a courtesy, the session is given up anyway.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an idle session may take to say goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The rows of a statement, values as texts, `None` for NULL.
pub type Rows = Vec<Vec<Option<String>>>;

/// A connection to one server with all settings pinned.
///
/// Dropping it ends the connection at once, whatever it is doing. A session whose COPY was cancelled or not read to its
/// end must be dropped: the rest of the stream would still come.
pub struct Session {
    client: Arc<Client>,
    heartbeat: ConnectionTask,
    task: ConnectionTask,
    fate: Arc<OnceLock<Error>>,
    tap: Tap<Wire>,
    route: Arc<Route>,
    side: Side,
    role: String,
    endpoint: Endpoint,
    version_num: u32,
    backend_pid: i32,
    nonce: String,
}

/// What a session knows after it has imported a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The process that answered: the session's own.
    pub pid: i32,
    /// The current snapshot as text; must equal that of the exporter.
    pub snapshot: String,
}

impl Session {
    /// Opens a session. `role` is what it is for, such as `scan 3`; servers show it as `triplecheck/scan 3`.
    ///
    /// Without `pin`, the hosts are tried in order; all further sessions of the side should be pinned to the
    /// [`Session::endpoint`] that answered.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Connect`], naming what was tried; [`ErrorKind::Unsupported`] for a server that is too old, or a pooler
    /// that hands out another server session for every transaction.
    pub async fn open(
        options: &ConnectOptions,
        side: Side,
        role: &str,
        settings: &SessionSettings,
        pin: Option<&Endpoint>,
    ) -> Result<Self> {
        let application_name = format!("triplecheck/{role}");
        let nonce = nonce().to_string();
        let options = &Arc::new(options.clone());
        let request = open::Request { side, options, settings, application_name: &application_name, nonce: &nonce };
        let opened = open::open(&request, pin).await.map_err(|error| error.context(side))?;
        let Opened { link: Link { client, task, fate, route, tap }, endpoint, version_num, backend_pid } = opened;
        let client = Arc::new(client);
        let heartbeat = ConnectionTask(tokio::spawn(beat(Arc::downgrade(&client))));
        Ok(Self {
            client,
            heartbeat,
            task,
            fate,
            tap,
            route,
            side,
            role: role.to_owned(),
            endpoint,
            version_num,
            backend_pid,
            nonce,
        })
    }

    /// The side that it belongs to.
    #[must_use]
    pub fn side(&self) -> Side {
        self.side
    }

    /// The server that answered.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// `server_version_num`, for instance 140023.
    #[must_use]
    pub fn version_num(&self) -> u32 {
        self.version_num
    }

    /// The major version of the server: 14 of 14.23.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.version_num / 10_000
    }

    /// The process of the server that serves it.
    #[must_use]
    pub fn backend_pid(&self) -> i32 {
        self.backend_pid
    }

    /// Whether the connection has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Sends statements and waits for their end.
    ///
    /// # Errors
    ///
    /// See [`Session::error`].
    pub async fn batch(&self, sql: &str) -> Result<()> {
        self.client.batch_execute(sql).await.map_err(|error| self.error(&error))
    }

    /// Sends statements, and returns the rows of each; a statement without rows has none.
    ///
    /// Everything that comes back is held in memory: not for user tables without a LIMIT.
    ///
    /// # Errors
    ///
    /// See [`Session::error`]; [`ErrorKind::Unsupported`] for a text that is not UTF-8.
    pub async fn statements(&self, sql: &str) -> Result<Vec<Rows>> {
        let messages = self.client.simple_query(sql).await.map_err(|error| self.error(&error))?;
        let mut statements = Vec::new();
        let mut rows = Rows::new();
        for message in messages {
            match message {
                SimpleQueryMessage::Row(row) => rows.push(
                    (0..row.len())
                        .map(|column| match row.try_get(column) {
                            Ok(value) => Ok(value.map(str::to_owned)),
                            Err(_) => {
                                let message = format!("{}: a text is not valid UTF-8", self.side);
                                Err(Error::new(ErrorKind::Unsupported, message))
                            }
                        })
                        .collect::<Result<_>>()?,
                ),
                SimpleQueryMessage::CommandComplete(_) => statements.push(std::mem::take(&mut rows)),
                _ => {}
            }
        }
        Ok(statements)
    }

    /// The rows of one statement.
    ///
    /// # Errors
    ///
    /// As [`Session::statements`]; [`ErrorKind::Corrupt`] if `sql` is not exactly one statement.
    pub async fn rows_simple(&self, sql: &str) -> Result<Rows> {
        let mut statements = self.statements(sql).await?;
        match (statements.pop(), statements.pop()) {
            (Some(rows), None) => Ok(rows),
            _ => Err(self.unexpected("one statement")),
        }
    }

    /// The row of a statement that returns one.
    ///
    /// # Errors
    ///
    /// As [`Session::rows_simple`]; [`ErrorKind::Corrupt`] if there is not exactly one row.
    pub async fn row(&self, sql: &str) -> Result<Vec<Option<String>>> {
        let mut rows = self.rows_simple(sql).await?;
        match (rows.pop(), rows.pop()) {
            (Some(row), None) => Ok(row),
            _ => Err(self.unexpected("one row")),
        }
    }

    /// The value of a statement that returns one row of one column.
    ///
    /// # Errors
    ///
    /// As [`Session::row`]; [`ErrorKind::Corrupt`] if there is not exactly one column.
    pub async fn value(&self, sql: &str) -> Result<Option<String>> {
        let mut row = self.row(sql).await?;
        match (row.pop(), row.pop()) {
            (Some(value), None) => Ok(value),
            _ => Err(self.unexpected("one value")),
        }
    }

    fn unexpected(&self, expected: &str) -> Error {
        Error::new(ErrorKind::Corrupt, format!("{}: expected {expected} in an answer of the server", self.side))
    }

    /// Starts a COPY TO STDOUT. One at a time.
    ///
    /// # Errors
    ///
    /// See [`Session::error`].
    pub async fn copy_out(&self, sql: &str) -> Result<CopyStream<'_>> {
        let responses = self.client.copy_out(sql).await.map_err(|error| self.error(&error))?;
        CopyStream::begin(self, &self.tap, responses)
    }

    /// Translates an error of this session, without any row value, with the side in front and, where the connection has ended,
    /// what ended it.
    #[must_use]
    pub fn error(&self, error: &tokio_postgres::Error) -> Error {
        let translated = match self.fate.get() {
            Some(fate) if error.is_closed() => {
                let ended = Error::new(ErrorKind::Lost, fate.message());
                match fate.hint() {
                    Some(hint) => ended.with_hint(hint),
                    None => ended,
                }
            }
            _ => translate(error),
        };
        translated.context(self.side)
    }

    /// Asks the server to cancel what the session is doing, see [`CancelToken::cancel`].
    ///
    /// # Errors
    ///
    /// As [`CancelToken::cancel`].
    pub async fn cancel(&self) -> Result<()> {
        self.cancel_token().cancel().await
    }

    /// A handle that can cancel what the session is doing while another task owns the session.
    #[must_use]
    pub fn cancel_token(&self) -> CancelToken {
        CancelToken { token: self.client.cancel_token(), route: Arc::clone(&self.route), side: self.side }
    }

    /// Ends an idle session politely; one that does not end within two seconds is cut off.
    pub async fn close(self) {
        let Self { client, heartbeat, mut task, .. } = self;
        drop((heartbeat, client));
        // Either way the task ends here: by itself, or with its owner.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, &mut task.0).await;
    }

    /// The expression for the current snapshot as text on this server.
    #[must_use]
    pub fn current_snapshot_sql(&self) -> &'static str {
        current_snapshot_sql(self.major())
    }

    /// Begins a read-only repeatable-read transaction on an exported snapshot, in one round trip, and proves that it is
    /// this very server session that did so. Whether [`Imported::snapshot`] is the exporter's is for the caller to see.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Lost`] if the snapshot is there no longer; [`ErrorKind::Unsupported`] if another server session
    /// answered; else see [`Session::error`]. No transaction is open then.
    pub async fn begin_imported(&self, snapshot_id: &str) -> Result<Imported> {
        let imported = self.import(snapshot_id).await;
        if imported.is_err() {
            // If this fails, the connection has ended, and with it the transaction.
            let _ = self.client.batch_execute("ROLLBACK").await;
        }
        imported
    }

    async fn import(&self, snapshot_id: &str) -> Result<Imported> {
        let sql = import_sql(snapshot_id, self.major());
        let messages = self.client.simple_query(&sql).await.map_err(|error| {
            match sqlstate(&error) {
                // invalid_parameter_value, undefined_object (17+), object_not_in_prerequisite_state: the ways of
                // ImportSnapshot (snapmgr.c) to say that the exporting transaction has ended.
                Some("22023" | "42704" | "55000") => {
                    let message = format!("{}: the exported snapshot {snapshot_id} is gone", self.side);
                    Error::new(ErrorKind::Lost, message)
                }
                _ => self.error(&error),
            }
        })?;
        let row = messages.into_iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let text = |column| row.as_ref().and_then(|row| row.try_get(column).ok().flatten());
        let (Some(pid), Some(snapshot)) = (text(0).and_then(|pid| pid.parse::<i32>().ok()), text(1)) else {
            return Err(self.unexpected("a process and a snapshot"));
        };
        if pid != self.backend_pid || text(2) != Some(self.nonce.as_str()) {
            let message = format!("{}: a transaction was answered by another server session than ours", self.side);
            return Err(Error::new(ErrorKind::Unsupported, message).with_hint(POOLER_HINT));
        }
        Ok(Imported { pid, snapshot: snapshot.to_owned() })
    }
}

fn current_snapshot_sql(major: u32) -> &'static str {
    if major >= 13 {
        "pg_catalog.pg_current_snapshot()::pg_catalog.text"
    } else {
        "pg_catalog.txid_current_snapshot()::pg_catalog.text"
    }
}

fn import_sql(snapshot_id: &str, major: u32) -> String {
    format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}; \
         SELECT pg_catalog.pg_backend_pid(), {}, pg_catalog.current_setting({}, true)",
        sql::literal(snapshot_id),
        current_snapshot_sql(major),
        sql::literal(NONCE_SETTING),
    )
}

/// Tells the server now and then that the session is wanted, until it is not. Behind a statement that runs this waits like
/// any other.
async fn beat(client: Weak<Client>) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        let Some(client) = client.upgrade().filter(|client| !client.is_closed()) else { return };
        // In a transaction that failed it is refused, which says as much.
        let _ = client.simple_query("SELECT 1").await;
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("side", &self.side)
            .field("role", &self.role)
            .field("endpoint", &self.endpoint)
            .field("version_num", &self.version_num)
            .field("backend_pid", &self.backend_pid)
            .finish_non_exhaustive()
    }
}

/// Cancels what a session is doing, from anywhere.
#[derive(Clone)]
pub struct CancelToken {
    token: tokio_postgres::CancelToken,
    route: Arc<Route>,
    side: Side,
}

impl CancelToken {
    /// Asks the server to cancel the running statement.
    ///
    /// The server does not say whether it did, and a late request may hit the next statement: give the session up.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TimedOut`] if the request could not be handed over within two seconds, [`ErrorKind::Connect`] if
    /// the server could not be reached.
    pub async fn cancel(&self) -> Result<()> {
        let what = format!("{}: cancelling a statement", self.side);
        match tokio::time::timeout(CANCEL_TIMEOUT, self.request()).await {
            Ok(requested) => requested.map_err(|error| error.context(what)),
            Err(_) => {
                let seconds = CANCEL_TIMEOUT.as_secs();
                Err(Error::new(ErrorKind::TimedOut, format!("no answer within {seconds} s")).context(what))
            }
        }
    }

    /// The request goes the way of the session: to the same address, encrypted if it is.
    async fn request(&self) -> Result<()> {
        let wire = self.route.open().await.map_err(wire_error)?;
        self.token.cancel_query_raw(wire, Settled).await.map_err(|error| connect_error(&error))
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken").field("side", &self.side).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_import_is_one_batch() {
        assert_eq!(
            import_sql("00000003-0000001B-1", 13),
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '00000003-0000001B-1'; \
             SELECT pg_catalog.pg_backend_pid(), pg_catalog.pg_current_snapshot()::pg_catalog.text, \
             pg_catalog.current_setting('triplecheck.session', true)"
        );
        assert!(import_sql("a'; DROP", 12).contains("SNAPSHOT 'a''; DROP';"));
        assert!(import_sql("a", 12).contains("pg_catalog.txid_current_snapshot()"));
    }

    #[test]
    fn sessions_go_from_task_to_task() {
        fn movable<T: Send + Sync>() {}
        movable::<Session>();
        movable::<CancelToken>();
    }
}
