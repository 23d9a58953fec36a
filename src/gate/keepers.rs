//! The sessions that export a sync point's snapshots: taking one, keeping both, letting go of them.

use std::time::Duration;

use crate::connect::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::gate::observe::{self, unexpected};
use crate::lsn::Lsn;
use crate::side::{Side, Sides};

/// Longest time a keeper may take to say that it is alive.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// A snapshot that other sessions can import while its keeper lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// What `SET TRANSACTION SNAPSHOT` takes.
    pub exported: String,
    /// What `pg_current_snapshot()` says in it; sessions that import it must see the same.
    pub text: String,
}

/// The sessions that export snapshots. They touch no user table, so they hold no lock that anybody could wait for.
#[derive(Debug)]
pub(crate) struct Keepers {
    /// One on each side.
    pub sessions: Sides<Session>,
}

/// Begins the keeper's transaction on a side and exports its snapshot. With a segment size, the insert position is read
/// in the statement that takes the snapshot: what is visible in it committed before.
pub(crate) async fn export(
    keepers: &Keepers,
    side: Side,
    wal_segment_bytes: Option<u64>,
) -> Result<(Snapshot, Option<Lsn>)> {
    let keeper = keepers.sessions.get(side);
    let position = if wal_segment_bytes.is_some() { "pg_catalog.pg_current_wal_insert_lsn()" } else { "NULL" };
    let batch = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT {}, pg_catalog.pg_export_snapshot(), {position}",
        keeper.current_snapshot_sql()
    );
    let answers = keeper.statements(&batch).await?;
    match answers.last().and_then(|rows| rows.first()).map(Vec::as_slice) {
        Some([Some(text), Some(exported), position]) => {
            let lsn = match wal_segment_bytes {
                Some(segment) => Some(observe::position(keeper, position.as_deref(), segment)?),
                None => None,
            };
            Ok((Snapshot { exported: exported.clone(), text: text.clone() }, lsn))
        }
        _ => Err(unexpected(keeper, "a snapshot")),
    }
}

/// Ends a keeper's transaction, and with it its snapshot.
pub(crate) async fn end(keepers: &Keepers, side: Side) -> Result<()> {
    keepers.sessions.get(side).batch("ROLLBACK").await
}

/// Ends the keepers' transactions, and with them the snapshots.
///
/// # Errors
/// Where a keeper's session is lost.
pub(crate) async fn release(keepers: &Keepers) -> Result<()> {
    let Sides { publisher, subscriber } = keepers.sessions.as_ref();
    let (publisher, subscriber) =
        futures::future::join(publisher.batch("ROLLBACK"), subscriber.batch("ROLLBACK")).await;
    publisher.and(subscriber)
}

impl Keepers {
    /// Closes the sync point: both snapshots are gone afterwards.
    ///
    /// # Errors
    /// Where a keeper's session is lost; its snapshot is gone then as well.
    pub(crate) async fn close(&self) -> Result<()> {
        release(self).await
    }

    /// Whether both snapshots are still there.
    ///
    /// # Errors
    /// [`ErrorKind::Lost`] where a keeper does not answer any more.
    pub(crate) async fn check(&self) -> Result<()> {
        for session in [&self.sessions.publisher, &self.sessions.subscriber] {
            match tokio::time::timeout(CHECK_TIMEOUT, session.value("SELECT 1")).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    return Err(Error::new(
                        ErrorKind::Lost,
                        format!("the snapshot of the {} is lost: {error}", session.side()),
                    ));
                }
                Err(_) => {
                    return Err(Error::new(
                        ErrorKind::Lost,
                        format!("the keeper of the {}'s snapshot does not answer", session.side()),
                    ));
                }
            }
        }
        Ok(())
    }
}
