//! A database of the same name on both sides, and the subscription between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::database::Database;
use crate::error::Result;
use crate::pair::Pair;
use crate::quote::{identifier, literal};
use crate::shared::Guards;
use crate::teardown;

/// How much of a label goes into names, in bytes: slot names have at most 63, and we add to it.
const LABEL_BYTES_MAX: usize = 40;

/// How a database is replicated.
#[derive(Clone, Debug)]
pub struct ReplicateOptions {
    /// What is published: what follows the name in CREATE PUBLICATION.
    pub publish: String,
    /// More options for the publication: what goes into its WITH (...).
    pub publication_with: String,
    /// More options for the subscription: what goes into its WITH (...), besides the slot's name.
    pub subscription_with: String,
    /// Whether to wait until every table is copied and everything applied.
    pub wait: bool,
}

impl Default for ReplicateOptions {
    fn default() -> Self {
        Self {
            publish: "FOR ALL TABLES".to_owned(),
            publication_with: String::new(),
            subscription_with: String::new(),
            wait: true,
        }
    }
}

/// A database on both sides. Dropped in the background when this is dropped; [`Replicated::drop`] waits for it.
#[derive(Debug)]
pub struct Replicated {
    /// The publisher's database.
    pub publisher: Database,
    /// The subscriber's database.
    pub subscriber: Database,
    pub(crate) pair: Pair,
    name: String,
    /// Taken by the one who drops the databases.
    pub(crate) guards: Option<Arc<Guards>>,
    pub(crate) dropped: bool,
}

impl Replicated {
    pub(crate) async fn create(
        pair: &Pair,
        guards: Option<Arc<Guards>>,
        label: &str,
        publisher_sql: &str,
        subscriber_sql: &str,
    ) -> Result<Self> {
        let name = unique_name(label);
        let (publisher, subscriber) = tokio::try_join!(
            pair.publisher.create_database(&name, publisher_sql),
            pair.subscriber.create_database(&name, subscriber_sql)
        )?;
        Ok(Self { publisher, subscriber, pair: pair.clone(), name, guards, dropped: false })
    }

    /// The name of the subscription that [`Replicated::replicate`] makes.
    pub fn subscription_name(&self) -> String {
        format!("sub_{}", self.name)
    }

    /// The name of its slot, unique among all databases of the publisher's server.
    pub fn slot_name(&self) -> String {
        format!("slot_{}", self.name)
    }

    /// The name of its publication.
    pub fn publication_name(&self) -> String {
        format!("pub_{}", self.name)
    }

    /// Runs the same on both sides, the schema for instance.
    pub async fn both(&self, sql: &str) -> Result<()> {
        tokio::try_join!(self.publisher.sql(sql), self.subscriber.sql(sql)).map(drop)
    }

    /// Makes publication and subscription and, unless told otherwise, waits until all tables are copied and all writes applied.
    ///
    /// Creating the slot waits for the end of every transaction that is writing anywhere on the publisher's server.
    pub async fn replicate(&self, options: ReplicateOptions) -> Result<()> {
        let with = |with: &str| if with.is_empty() { String::new() } else { format!(" WITH ({with})") };
        let publication = identifier(&self.publication_name());
        let publish =
            format!("CREATE PUBLICATION {publication} {}{}", options.publish, with(&options.publication_with));
        self.publisher.sql(&publish).await?;
        let mut settings = format!("slot_name = {}", self.slot_name());
        if !options.subscription_with.is_empty() {
            settings = format!("{settings}, {}", options.subscription_with);
        }
        let subscribe = format!(
            "CREATE SUBSCRIPTION {} CONNECTION {} PUBLICATION {publication}{}",
            identifier(&self.subscription_name()),
            literal(&self.publisher.conninfo()),
            with(&settings)
        );
        self.subscriber.sql(&subscribe).await?;
        if options.wait { self.catch_up().await } else { Ok(()) }
    }

    /// Drops subscriptions, slots and both databases, and waits for it.
    pub async fn drop(mut self) -> Result<()> {
        self.dropped = true;
        teardown::remove(&self.pair, &self.name).await
    }
}

impl Drop for Replicated {
    fn drop(&mut self) {
        if !self.dropped {
            teardown::remove_in_background(self.pair.clone(), self.name.clone(), self.guards.take());
        }
    }
}

/// A name that no other database of this process has, fit for slots, too. Servers belong to one process.
fn unique_name(label: &str) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(1);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let clean: String = label
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
        .take(LABEL_BYTES_MAX)
        .collect();
    format!("{clean}_{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_slots() {
        let name = unique_name("Größe \"x\" and a label that is much longer than any slot name could ever be");
        assert!(name.starts_with("gr__e__x__and"), "{name}");
        assert!(name.len() <= LABEL_BYTES_MAX + 11, "{name}");
        assert_ne!(unique_name("a"), unique_name("a"));
    }
}
