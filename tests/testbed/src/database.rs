//! SQL on one database. Plain data: every call connects anew, so that a handle works in any runtime.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use crate::error::{Error, Result, beginning, server_message};
use crate::quote::{conninfo_value, uri_segment};

/// The name of this crate's own sessions, which are never taken for leftovers.
pub(crate) const APPLICATION_NAME: &str = "testbed";
/// How long a connection may take to come about on a busy machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// A handle to a database on one server.
#[derive(Clone, Debug)]
pub struct Database {
    socket_dir: PathBuf,
    port: u16,
    name: String,
    user: String,
}

impl Database {
    pub(crate) fn new(socket_dir: PathBuf, port: u16, name: &str) -> Self {
        Self { socket_dir, port, name: name.to_owned(), user: "postgres".to_owned() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port of its server.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its server's unix socket.
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// The same database, as another user.
    #[must_use]
    pub fn as_user(&self, user: &str) -> Self {
        Self { user: user.to_owned(), ..self.clone() }
    }

    /// A libpq keyword/value string over the unix socket.
    pub fn conninfo(&self) -> String {
        self.conninfo_as(&self.user)
    }

    /// The same for another user.
    pub fn conninfo_as(&self, user: &str) -> String {
        let host = self.socket_dir.to_string_lossy();
        format!(
            "host={} port={} user={} dbname={}",
            conninfo_value(&host),
            self.port,
            conninfo_value(user),
            conninfo_value(&self.name)
        )
    }

    /// A URI over TCP.
    pub fn uri(&self) -> String {
        format!("postgresql://{}@127.0.0.1:{}/{}", uri_segment(&self.user), self.port, uri_segment(&self.name))
    }

    /// A new connection, driven by a task of the current runtime. It ends when the client is dropped.
    pub async fn connect(&self) -> Result<Client> {
        let failed = |message| Error::Connect { conninfo: self.conninfo(), message };
        let mut config = Config::new();
        config
            .host_path(&self.socket_dir)
            .port(self.port)
            .user(&self.user)
            .dbname(&self.name)
            .application_name(APPLICATION_NAME);
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, config.connect(NoTls));
        let connected =
            connecting.await.map_err(|_| failed(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs())))?;
        let (client, connection) = connected.map_err(|error| failed(server_message(&error)))?;
        tokio::spawn(async move {
            // What goes wrong on it, the client's calls report.
            let _ = connection.await;
        });
        Ok(client)
    }

    /// Runs one or more statements. Several in one call are one transaction, unless they say otherwise.
    pub async fn sql(&self, batch: &str) -> Result<()> {
        let client = self.connect().await?;
        client.batch_execute(batch).await.map_err(|error| Error::sql(&self.name, batch, &error))
    }

    /// Runs a query and returns its rows as the server's text; None is NULL.
    pub async fn rows(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let client = self.connect().await?;
        self.rows_on(&client, sql).await
    }

    /// The first column of the first row. None to be had, or NULL, is an error.
    pub async fn value(&self, sql: &str) -> Result<String> {
        let no_value = |returned| Error::NoValue { sql: beginning(sql), returned };
        let row = self.rows(sql).await?.into_iter().next().ok_or_else(|| no_value("no row"))?;
        row.into_iter().next().flatten().ok_or_else(|| no_value("NULL"))
    }

    /// [`Database::rows`] on a connection that is already there.
    pub(crate) async fn rows_on(&self, client: &Client, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let messages = client.simple_query(sql).await.map_err(|error| Error::sql(&self.name, sql, &error))?;
        let texts = |message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
            }
            _ => None,
        };
        Ok(messages.into_iter().filter_map(texts).collect())
    }
}
