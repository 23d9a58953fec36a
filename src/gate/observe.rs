//! The statements by which the gate observes both servers.

use crate::catalog::Subscription;
use crate::connect::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::gate::rules::{Progress, SnapshotText, Writer};
use crate::lsn::Lsn;
use crate::sql;

/// Transactions of this database that hold a transaction identifier, prepared ones included.
///
/// `pg_locks` rather than `pg_stat_activity.backend_xid`: the former is readable by everybody, the latter is NULL (as if
/// idle) without `pg_read_all_stats`. A session that `pg_stat_activity` does not know counts.
pub(crate) const WRITERS_SQL: &str = "\
SELECT l.pid, a.state, GREATEST(0, extract(epoch FROM clock_timestamp() - a.xact_start))::bigint, NULL::text \
FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted AND l.pid IS NOT NULL \
AND (a.datid IS NULL OR a.datid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())) \
UNION ALL \
SELECT NULL, NULL, NULL, gid FROM pg_catalog.pg_prepared_xacts WHERE database = current_database() ORDER BY 1";

/// What the subscriber says of its subscriptions: leader's received position, tables not ready.
pub(crate) fn subscriber_progress_sql(subscriptions: &[Subscription]) -> String {
    let oids: Vec<_> = subscriptions.iter().map(|subscription| subscription.oid.to_string()).collect();
    format!(
        "SELECT s.oid, (SELECT max(st.received_lsn) FROM pg_catalog.pg_stat_subscription st WHERE st.subid = s.oid AND st.relid IS NULL), \
         (SELECT count(*) FROM pg_catalog.pg_subscription_rel r WHERE r.srsubid = s.oid AND r.srsubstate <> 'r') \
         FROM pg_catalog.pg_subscription s WHERE s.oid IN ({})",
        oids.join(", ")
    )
}

/// How far each slot's receiver has confirmed.
pub(crate) fn publisher_progress_sql(subscriptions: &[Subscription]) -> String {
    format!(
        "SELECT s.slot_name, GREATEST(r.replay_lsn, s.confirmed_flush_lsn) \
         FROM pg_catalog.pg_replication_slots s LEFT JOIN pg_catalog.pg_stat_replication r ON r.pid = s.active_pid \
         WHERE s.slot_name = ANY ({}) AND s.database = current_database()",
        sql::text_array(subscriptions.iter().map(|subscription| &subscription.slot))
    )
}

/// Counts the row changes that a slot decodes up to the end of the flushed WAL, and consumes them.
///
/// The first byte of a pgoutput message is its kind: I, U, D and T change rows (PostgreSQL manual, "Logical Replication
/// Message Formats").
pub(crate) fn decode_sql(slot: &str, subscriptions: &[Subscription]) -> String {
    let mut publications: Vec<_> = subscriptions
        .iter()
        .flat_map(|subscription| &subscription.publications)
        .map(|name| sql::identifier(name))
        .collect();
    publications.sort_unstable();
    publications.dedup();
    format!(
        "SELECT count(*) FILTER (WHERE pg_catalog.get_byte(data, 0) IN (73, 85, 68, 84)) \
         FROM pg_catalog.pg_logical_slot_get_binary_changes({}, NULL, NULL, 'proto_version', '1', 'publication_names', {})",
        sql::literal(slot),
        sql::literal(&publications.join(","))
    )
}

/// An answer that does not have the shape it must have.
pub(crate) fn unexpected(session: &Session, what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the {} gave an unexpected answer when asked for {what}", session.side()))
}

pub(crate) async fn writers(publisher: &Session) -> Result<Vec<Writer>> {
    let own = publisher.backend_pid();
    let rows = publisher.rows_simple(WRITERS_SQL).await?;
    rows.into_iter()
        .map(|row| match row.as_slice() {
            [_, _, _, Some(gid)] => Ok(Writer::Prepared { gid: gid.clone() }),
            [Some(pid), state, seconds, None] => {
                let pid = pid.parse().map_err(|_| unexpected(publisher, "open transactions"))?;
                let seconds = seconds.as_deref().and_then(|text| text.parse().ok());
                Ok(Writer::Session { pid, state: state.clone(), seconds })
            }
            _ => Err(unexpected(publisher, "open transactions")),
        })
        .filter(|writer| !matches!(writer, Ok(Writer::Session { pid, .. }) if *pid == own))
        .collect()
}

pub(crate) async fn insert_position(publisher: &Session, wal_segment_bytes: u64) -> Result<Lsn> {
    let text = publisher.value("SELECT pg_catalog.pg_current_wal_insert_lsn()").await?;
    position(publisher, text.as_deref(), wal_segment_bytes)
}

pub(crate) fn position(session: &Session, text: Option<&str>, wal_segment_bytes: u64) -> Result<Lsn> {
    let lsn: Lsn = text.and_then(|text| text.parse().ok()).ok_or_else(|| unexpected(session, "its WAL position"))?;
    Ok(lsn.normalized(wal_segment_bytes))
}

/// The publisher's current snapshot and, in the same statement, its normalised insert position.
pub(crate) async fn snapshot_and_position(publisher: &Session, wal_segment_bytes: u64) -> Result<(SnapshotText, Lsn)> {
    let query = format!("SELECT {}, pg_catalog.pg_current_wal_insert_lsn()", publisher.current_snapshot_sql());
    let rows = publisher.rows_simple(&query).await?;
    match rows.as_slice() {
        [row] => match row.as_slice() {
            [Some(snapshot), lsn] => {
                let snapshot = snapshot.parse().map_err(|_| unexpected(publisher, "its snapshot"))?;
                Ok((snapshot, position(publisher, lsn.as_deref(), wal_segment_bytes)?))
            }
            _ => Err(unexpected(publisher, "its snapshot")),
        },
        _ => Err(unexpected(publisher, "its snapshot")),
    }
}

pub(crate) async fn progress(
    publisher: &Session,
    subscriber: &Session,
    subscriptions: &[Subscription],
    wal_segment_bytes: u64,
) -> Result<Vec<Progress>> {
    if subscriptions.is_empty() {
        return Ok(Vec::new());
    }
    let slots = publisher.rows_simple(&publisher_progress_sql(subscriptions)).await?;
    let states = subscriber.rows_simple(&subscriber_progress_sql(subscriptions)).await?;
    let lsn_of = |text: Option<&String>| {
        text.and_then(|text| text.parse::<Lsn>().ok()).map(|lsn| lsn.normalized(wal_segment_bytes))
    };
    subscriptions
        .iter()
        .map(|subscription| {
            let oid = subscription.oid.to_string();
            let state =
                states.iter().find(|row| row.first().and_then(Option::as_ref) == Some(&oid)).ok_or_else(|| {
                    Error::new(
                        ErrorKind::Changed,
                        format!("subscription {} is not there any longer", subscription.name),
                    )
                })?;
            let slot = slots.iter().find(|row| row.first().and_then(Option::as_ref) == Some(&subscription.slot));
            let tables_not_ready = state
                .get(2)
                .and_then(Option::as_ref)
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| unexpected(subscriber, "the state of its tables"))?;
            Ok(Progress {
                subscription: subscription.name.clone(),
                replayed: slot.and_then(|row| lsn_of(row.get(1).and_then(Option::as_ref))),
                received: lsn_of(state.get(1).and_then(Option::as_ref)),
                tables_not_ready,
            })
        })
        .collect()
}
