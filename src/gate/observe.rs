//! The statements by which the gate observes both servers.

use crate::catalog::Subscription;
use crate::connect::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::gate::cut::{Bracket, Suspect};
use crate::gate::rules::{Progress, Writer};
use crate::gate::snapshot::SnapshotText;
use crate::gate::window::Window;
use crate::lsn::Lsn;
use crate::row::{CopyReader, Fields};
use crate::sql;

/// Changes that a server decodes in one statement, at least: what they take is kept by the server until they are sent. It
/// stops at the end of the transaction that goes beyond.
const DECODE_CHANGES: u32 = 10_000;

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
        "SELECT s.slot_name, GREATEST(r.replay_lsn, s.confirmed_flush_lsn), r.pid IS NOT NULL AND r.replay_lsn IS NULL \
         FROM pg_catalog.pg_replication_slots s LEFT JOIN pg_catalog.pg_stat_replication r ON r.pid = s.active_pid \
         WHERE s.slot_name = ANY ({}) AND s.database = current_database()",
        sql::text_array(subscriptions.iter().map(|subscription| &subscription.slot))
    )
}

/// What decodes the changes of a slot for the subscriptions' publications up to a position, or to the end of the WAL, and
/// consumes them. `limit` bounds how many; no bound where it is `None`.
///
/// pgoutput applies row filters, column lists and actions of the publications, so that what comes is what the subscriptions
/// got. Protocol version 1 sends values as texts and transactions when they commit.
fn changes_sql(slot: &str, subscriptions: &[Subscription], upto: Option<Lsn>, limit: Option<u32>) -> String {
    let mut publications: Vec<_> = subscriptions
        .iter()
        .flat_map(|subscription| &subscription.publications)
        .map(|name| sql::identifier(name))
        .collect();
    publications.sort_unstable();
    publications.dedup();
    let upto = upto.map_or_else(|| "NULL".to_owned(), |lsn| format!("'{lsn}'::pg_catalog.pg_lsn"));
    let limit = limit.map_or_else(|| "NULL".to_owned(), |limit| limit.to_string());
    // Without the option the default is any, and servers before 16 do not know it.
    let origin = match subscriptions.first().and_then(|subscription| subscription.origin.as_deref()) {
        Some(origin) => format!(", 'origin', {}", sql::literal(origin)),
        None => String::new(),
    };
    format!(
        "pg_catalog.pg_logical_slot_get_binary_changes({}, {upto}, {limit}, 'proto_version', '1', 'publication_names', {}{origin})",
        sql::literal(slot),
        sql::literal(&publications.join(","))
    )
}

/// Counts the row changes that a slot decodes up to the end of the flushed WAL, and consumes them.
///
/// The first byte of a pgoutput message is its kind: I, U, D and T change rows (PostgreSQL manual, "Logical Replication
/// Message Formats").
pub(crate) fn count_changes_sql(slot: &str, subscriptions: &[Subscription]) -> String {
    format!(
        "SELECT count(*) FILTER (WHERE pg_catalog.get_byte(data, 0) IN (73, 85, 68, 84)) FROM {}",
        changes_sql(slot, subscriptions, None, None)
    )
}

/// Decodes a slot up to a position into a window, in statements of bounded size.
///
/// # Errors
/// Whatever the server, or [`Window::feed`], says. The slot is of no use afterwards.
pub(crate) async fn decode(
    session: &Session,
    slot: &str,
    subscriptions: &[Subscription],
    upto: Lsn,
    window: &mut Window,
) -> Result<()> {
    let changes = changes_sql(slot, subscriptions, Some(upto), Some(DECODE_CHANGES));
    let query = format!("COPY (SELECT data FROM {changes}) TO STDOUT (FORMAT binary)");
    loop {
        let mut stream = session.copy_out(&query).await?;
        let mut reader = CopyReader::new(1);
        let mut messages = 0_u64;
        let mut feed = |piece: &[u8]| {
            reader.feed(piece, |tuple| {
                messages += 1;
                match Fields::new(tuple).next() {
                    Some(Ok(Some(message))) => window.feed(message),
                    _ => Err(unexpected(session, "decoded changes")),
                }
            })
        };
        while stream.next(&mut feed).await?.is_some() {}
        reader.finish()?;
        // A statement ends at the position, or with as many changes as it may bring, or more. Another one would decode all of it
        // again, from where the slot stands, to bring nothing.
        if messages < u64::from(DECODE_CHANGES) {
            return Ok(());
        }
    }
}

/// Transactions of this database that hold an identifier, and whether each was seen, since a moment, where it cannot have
/// written its commit record before. `since` is a timestamp of the publisher's clock.
///
/// A prepared transaction has no process; that a COMMIT PREPARED is under way shows in that statement only, whoever runs
/// it. A walsender that streams has run one statement since ever, which is not that; and a worker that applies what it gets from
/// elsewhere does not say when it commits a prepared transaction (`apply_handle_commit_prepared`, worker.c). What the role may
/// not see counts as running since ever.
pub(crate) fn suspects_sql(since: &str) -> String {
    let since = format!("{}::pg_catalog.timestamptz", sql::literal(since));
    format!(
        "SELECT l.transactionid, l.pid, CASE WHEN l.pid IS NULL THEN NOT EXISTS (\
           SELECT FROM pg_catalog.pg_stat_activity o WHERE o.pid <> pg_catalog.pg_backend_pid() \
           AND o.datid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database()) \
           AND o.pid NOT IN (SELECT r.pid FROM pg_catalog.pg_stat_replication r WHERE r.state IN ('catchup', 'streaming')) \
           AND (o.state IS NULL OR o.backend_type LIKE 'logical replication%' \
             OR o.state IN ('active', 'disabled') AND (o.query_start IS NULL OR o.query_start <= {since}))) \
         ELSE COALESCE(a.state LIKE 'idle in transaction%' OR a.query_start > {since}, false) END \
         FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
         LEFT JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = l.transactionid AND l.pid IS NULL \
         WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted \
         AND (a.datid IS NULL OR a.datid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())) \
         AND (p.database IS NULL OR p.database = current_database())"
    )
}

pub(crate) async fn suspects(publisher: &Session, since: &str) -> Result<Vec<Suspect>> {
    let rows = publisher.rows_simple(&suspects_sql(since)).await?;
    rows.into_iter()
        .map(|row| match row.as_slice() {
            [Some(xid), pid, Some(cleared)] => xid.parse().ok().map(|xid| Suspect {
                xid,
                pid: pid.as_deref().and_then(|pid| pid.parse().ok()),
                cleared: cleared == "t",
            }),
            _ => None,
        })
        .collect::<Option<_>>()
        .ok_or_else(|| unexpected(publisher, "open transactions"))
}

/// The subscriber's snapshot with what tells its position, for each subscription.
#[derive(Debug)]
pub(crate) struct Bracketed {
    pub(crate) snapshot: SnapshotText,
    pub(crate) exported: String,
    pub(crate) brackets: Vec<Bracket>,
}

/// One message for the server, so that little happens in between. Two transactions: `pg_stat_subscription` shows one state
/// for the length of a transaction, and a repeatable-read one takes its snapshot with its first statement.
pub(crate) fn bracket_sql(current_snapshot: &str, subscriptions: &[Subscription]) -> String {
    let oids: Vec<_> = subscriptions.iter().map(|subscription| subscription.oid.to_string()).collect();
    let positions: Vec<_> =
        oids.iter().map(|oid| format!("pg_catalog.pg_replication_origin_progress('pg_{oid}', false)")).collect();
    let positions = positions.join(", ");
    format!(
        "BEGIN READ ONLY; SELECT {positions}; \
         SELECT s.subid, l.transactionid FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_subscription s ON s.pid = l.pid \
         WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted AND s.subid IN ({}); COMMIT; \
         BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
         SELECT {current_snapshot}, pg_catalog.pg_export_snapshot(), {positions}",
        oids.join(", ")
    )
}

/// Begins the keeper's transaction on the subscriber, and tells what was observed around its snapshot.
///
/// # Errors
/// [`ErrorKind::Permission`] where the role may not ask for the position of a replication origin.
pub(crate) async fn bracket(subscriber: &Session, subscriptions: &[Subscription]) -> Result<Bracketed> {
    let sql = bracket_sql(subscriber.current_snapshot_sql(), subscriptions);
    let answers = subscriber.statements(&sql).await?;
    let corrupt = || unexpected(subscriber, "its position");
    let (before, workers, last) = match answers.as_slice() {
        [_, before, workers, _, _, last] => (before.first(), workers, last.first()),
        _ => return Err(corrupt()),
    };
    let (before, last) = before.zip(last).ok_or_else(corrupt)?;
    let Some(([Some(snapshot), Some(exported)], after)) = last.split_first_chunk() else { return Err(corrupt()) };
    // NULL where the subscription has not applied anything yet.
    let lsn = |text: Option<&Option<String>>| match text {
        Some(Some(text)) => text.parse().map_err(|_| corrupt()),
        Some(None) => Ok(Lsn(0)),
        None => Err(corrupt()),
    };
    let brackets = subscriptions
        .iter()
        .enumerate()
        .map(|(at, subscription)| {
            let oid = subscription.oid.to_string();
            let own = workers.iter().filter(|row| row.first().and_then(Option::as_ref) == Some(&oid));
            let xid = |row: &Vec<Option<String>>| row.get(1)?.as_ref()?.parse().ok();
            Ok(Bracket {
                before: lsn(before.get(at))?,
                workers: own.map(xid).collect::<Option<_>>().ok_or_else(corrupt)?,
                after: lsn(after.get(at))?,
            })
        })
        .collect::<Result<_>>()?;
    let snapshot = snapshot.parse().map_err(|_| corrupt())?;
    Ok(Bracketed { snapshot, exported: exported.clone(), brackets })
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
                replay_hidden: slot.and_then(|row| row.get(2)).is_some_and(|hidden| hidden.as_deref() == Some("t")),
                replayed: slot.and_then(|row| lsn_of(row.get(1).and_then(Option::as_ref))),
                received: lsn_of(state.get(1).and_then(Option::as_ref)),
                tables_not_ready,
            })
        })
        .collect()
}
