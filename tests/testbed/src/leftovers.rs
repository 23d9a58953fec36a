//! What a program left behind in a replicated database.

use std::time::{Duration, Instant};

use crate::database::Database;
use crate::error::Result;
use crate::quote::literal;
use crate::replicated::Replicated;

/// How long sessions may take to go after their client has gone.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Sessions of the program under test, by the name it gives them.
const SESSIONS: &str = "SELECT 'session ' || pid || ' (' || application_name || ', ' || coalesce(state, '-') || '): ' || left(query, 80) \
     FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'triplecheck%' ORDER BY pid";

impl Replicated {
    /// What is there and should not be: slots of this database that none of its subscriptions uses (those of workers that copy tables aside), temporary or
    /// not, and sessions called `triplecheck...` on either side.
    pub async fn leftovers(&self) -> Result<Vec<String>> {
        let subscribed = "SELECT subslotname FROM pg_subscription WHERE subslotname IS NOT NULL \
             AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())";
        let mut expected = vec![self.slot_name()];
        expected.extend(texts(&self.subscriber, subscribed).await?);
        let expected: Vec<String> = expected.iter().map(|slot| literal(slot)).collect();
        let slots = format!(
            "SELECT CASE WHEN temporary THEN 'temporary ' ELSE '' END || 'slot ' || slot_name || coalesce(' of session ' || active_pid, '') \
             FROM pg_replication_slots WHERE database = current_database() AND slot_name NOT IN ({}) \
             AND slot_name NOT LIKE 'pg\\_%\\_sync\\_%' ORDER BY slot_name",
            expected.join(", ")
        );
        let mut found = Vec::new();
        for (side, database, sql) in [
            ("publisher", &self.publisher, slots.as_str()),
            ("publisher", &self.publisher, SESSIONS),
            ("subscriber", &self.subscriber, SESSIONS),
        ] {
            found.extend(texts(database, sql).await?.into_iter().map(|text| format!("{side}: {text}")));
        }
        Ok(found)
    }

    /// Panics if anything is still there after 10 s.
    pub async fn assert_nothing_left(&self) {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let left = self.leftovers().await;
            match &left {
                Ok(left) if left.is_empty() => return,
                _ => assert!(Instant::now() < deadline, "left behind in {}: {left:#?}", self.publisher.name()),
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

async fn texts(database: &Database, sql: &str) -> Result<Vec<String>> {
    Ok(database.rows(sql).await?.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
}
