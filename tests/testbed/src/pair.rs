//! A publisher and a subscriber.

use crate::error::Result;
use crate::replicated::Replicated;
use crate::server::{Server, ServerOptions};

/// What is special about the two servers of a pair.
#[derive(Clone, Debug, Default)]
pub struct PairOptions {
    /// The publisher's options.
    pub publisher: ServerOptions,
    /// The subscriber's options.
    pub subscriber: ServerOptions,
}

/// Two servers. What replicates between them is made per database: [`Pair::database`].
#[derive(Clone, Debug)]
pub struct Pair {
    /// Where the data comes from.
    pub publisher: Server,
    /// Where it goes to.
    pub subscriber: Server,
}

impl Pair {
    /// Starts two new servers, for the caller alone.
    pub async fn start(publisher_major: u16, subscriber_major: u16, options: PairOptions) -> Result<Self> {
        let (publisher, subscriber) = tokio::try_join!(
            Server::start(publisher_major, options.publisher),
            Server::start(subscriber_major, options.subscriber)
        )?;
        Ok(Self { publisher, subscriber })
    }

    /// Creates a database of the same, unique name on both sides.
    pub async fn database(&self, label: &str) -> Result<Replicated> {
        Replicated::create(self, None, label, "", "").await
    }

    /// The same with more for each side's CREATE DATABASE (`TEMPLATE template0 LC_COLLATE 'C'`).
    pub async fn database_with(&self, label: &str, publisher_sql: &str, subscriber_sql: &str) -> Result<Replicated> {
        Replicated::create(self, None, label, publisher_sql, subscriber_sql).await
    }
}
