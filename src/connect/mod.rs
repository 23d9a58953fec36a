//! Sessions.

use crate::error::{Error, ErrorKind, Result};

/// A session on one server.
pub struct Session {
    /// The client.
    pub client: tokio_postgres::Client,
    version_num: u32,
}

impl Session {
    /// A session over a client whose settings are pinned already.
    pub fn new(client: tokio_postgres::Client, version_num: u32) -> Self {
        Self { client, version_num }
    }

    /// `server_version_num` of the server.
    pub fn version_num(&self) -> u32 {
        self.version_num
    }

    /// Rows of a simple query, values as text.
    pub async fn rows_simple(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let messages = self.client.simple_query(sql).await.map_err(|error| {
            let kind = match error.code().map(tokio_postgres::error::SqlState::code) {
                Some("42501") => ErrorKind::Permission,
                Some("55P03") => ErrorKind::TimedOut,
                _ => ErrorKind::Server,
            };
            let message = error.as_db_error().map_or_else(|| error.to_string(), |db| db.message().to_owned());
            Error::new(kind, message)
        })?;
        let mut rows = Vec::new();
        for message in messages {
            if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
                rows.push((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect());
            }
        }
        Ok(rows)
    }
}
