//! Waiting until the subscriber has everything that the publisher had.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::quote::literal;
use crate::replicated::Replicated;

/// How long replication may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The end of what is written, in bytes. Right after a switch of page or segment the insert position is beyond the next header
/// (24 bytes, 40 for a segment), which nothing replicates before a record follows it.
const WRITTEN: &str = "SELECT (l - CASE WHEN l % 16777216 = 40 THEN 40 WHEN l % 8192 = 24 THEN 24 ELSE 0 END)::text \
     FROM (SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0') AS l) AS here";

/// The subscriptions of this database with a table that is not replicating yet.
const NOT_READY: &str = "SELECT r.srrelid::regclass::text || ' is in state ' || r.srsubstate::text FROM pg_subscription_rel r \
     JOIN pg_subscription s ON s.oid = r.srsubid \
     WHERE s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND r.srsubstate <> 'r' ORDER BY 1";

impl Replicated {
    /// Waits until every table is replicating and the subscriber has applied all that was written before this call.
    pub async fn catch_up(&self) -> Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        let publisher = self.publisher.connect().await?;
        let subscriber = self.subscriber.connect().await?;
        let written = self.publisher.value(WRITTEN).await?;
        let replayed = format!(
            "SELECT coalesce(replayed >= {written}, false), coalesce('byte ' || replayed::text || ' is replayed', 'the slot has no walsender') \
             FROM pg_replication_slots s LEFT JOIN pg_stat_replication w ON w.pid = s.active_pid \
             CROSS JOIN LATERAL (SELECT pg_wal_lsn_diff(w.replay_lsn, '0/0') AS replayed) AS position WHERE s.slot_name = {}",
            literal(&self.slot_name())
        );
        loop {
            let not_ready = self.subscriber.rows_on(&subscriber, NOT_READY).await?;
            let position = self.publisher.rows_on(&publisher, &replayed).await?;
            let applied = position.first().is_some_and(|row| row[0].as_deref() == Some("t"));
            if not_ready.is_empty() && applied {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(self.late(&written, &not_ready, position.first()));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    fn late(&self, written: &str, not_ready: &[Vec<Option<String>>], position: Option<&Vec<Option<String>>>) -> Error {
        let position = position.map_or("the slot does not exist", |row| row[1].as_deref().unwrap_or_default());
        let tables: Vec<&str> = not_ready.iter().filter_map(|row| row[0].as_deref()).collect();
        Error::Timeout {
            waited_for: format!("slot {} to replay up to byte {written} and all tables to be ready", self.slot_name()),
            after: TIMEOUT,
            seen: format!(
                "{position}; {tables:?}; the end of the subscriber's log:\n{}",
                self.pair.subscriber.log_tail()
            ),
        }
    }
}
