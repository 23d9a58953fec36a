//! How replication is doing, as both servers tell it at one moment: the slot and its walsender, the subscription and its
//! worker, and what holds them up. Everybody may ask for most of this; what a role may not see is `None`.

use crate::catalog::Feed;
use crate::connect::{Rows, Session};
use crate::error::{ErrorKind, Result};
use crate::gate::observe::{self, position, unexpected};
use crate::gate::rules::Writer;
use crate::lsn::Lsn;
use crate::sql;

/// First version with `pg_replication_slots.wal_status` and `.safe_wal_size` (release notes of 13).
const WAL_STATUS_SINCE: u32 = 130_000;
/// First version with `pg_stat_replication_slots` (release notes of 14).
const SLOT_STATS_SINCE: u32 = 140_000;
/// First version with `pg_stat_subscription_stats` (release notes of 15).
const SUBSCRIPTION_STATS_SINCE: u32 = 150_000;
/// First version with parallel apply workers, and `pg_stat_subscription.leader_pid` (release notes of 16).
const PARALLEL_APPLY_SINCE: u32 = 160_000;
/// Names listed of one kind; more would bury the message.
pub(crate) const NAMED_AT_MOST: usize = 5;

/// One look at both servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Health {
    /// The publisher's normalised insert position, read before everything else.
    pub(crate) insert: Lsn,
    /// How far its WAL is flushed, and so can be sent: what is not waits for the next commit or checkpoint.
    pub(crate) flushed: Lsn,
    /// The subscriptions, in the order that was asked for.
    pub(crate) feeds: Vec<FeedHealth>,
    /// Transactions of the publisher's database that may have written.
    pub(crate) writers: Vec<Writer>,
    /// Logical replication workers of the whole subscriber, and how many it may have.
    pub(crate) workers: Workers,
}

/// Logical replication workers of a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Workers {
    pub(crate) in_use: u64,
    /// `max_logical_replication_workers`.
    pub(crate) limit: u64,
    /// `wal_receiver_timeout`, milliseconds: how long a worker waits for a word of its publisher; 0 for ever.
    pub(crate) receiver_timeout_ms: Option<u64>,
}

/// One subscription and its slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FeedHealth {
    pub(crate) feed: Feed,
    pub(crate) slot: Slot,
    /// `None` where the subscription is not there any longer.
    pub(crate) subscription: Option<SubscriptionHealth>,
}

/// The slot that a subscription names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Slot {
    /// The publisher's database has no logical slot of that name.
    Missing {
        /// What has the name instead: a slot of another database, or a physical one.
        instead: Option<String>,
        /// Slots of the database that nothing uses.
        spare: Vec<String>,
    },
    There(SlotHealth),
}

/// What `pg_replication_slots`, and the process that serves it, say of a slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SlotHealth {
    pub(crate) active: bool,
    pub(crate) wal_status: Option<String>,
    /// Bytes that can be written until the slot may be lost; `None` without a limit.
    pub(crate) safe_wal_bytes: Option<i64>,
    /// WAL from here on is kept.
    pub(crate) restart: Option<Lsn>,
    /// `confirmed_flush_lsn`, normalised.
    pub(crate) confirmed: Option<Lsn>,
    /// `pg_stat_replication.replay_lsn`, normalised.
    pub(crate) replay: Option<Lsn>,
    /// `pg_stat_replication.sent_lsn`.
    pub(crate) sent: Option<Lsn>,
    /// What the walsender waits for (`pg_stat_activity`).
    pub(crate) sender_waits: Option<String>,
    /// Bytes of large transactions that decoding has put on disk since the statistics were reset.
    pub(crate) spilled_bytes: Option<u64>,
}

impl SlotHealth {
    /// Everything that committed before is applied.
    pub(crate) fn applied(&self) -> Option<Lsn> {
        self.replay.max(self.confirmed)
    }
}

/// A subscription on the subscriber.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SubscriptionHealth {
    pub(crate) enabled: bool,
    /// The leading apply worker.
    pub(crate) worker: Option<Worker>,
    /// What its workers wait for.
    pub(crate) waits: Vec<Wait>,
    /// Errors since the statistics were reset (15+).
    pub(crate) apply_errors: Option<u64>,
    pub(crate) tables_not_ready: u64,
    /// Some of them with their state.
    pub(crate) not_ready: Vec<(String, String)>,
    /// Whether the subscription copied any of its tables itself: not so where it was made on a clone.
    pub(crate) copied: bool,
    pub(crate) origin: Origin,
}

/// The replication origin of a subscription.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The role may not ask where it stands.
    #[default]
    Unknown,
    Missing,
    /// Nothing was applied and it was not set.
    Unset,
    At(Lsn),
}

/// An apply worker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Worker {
    pub(crate) pid: i32,
    pub(crate) received: Option<Lsn>,
    /// Since it last heard from the publisher, milliseconds.
    pub(crate) silent_ms: Option<u64>,
    /// Its transaction, while it has one that has written.
    pub(crate) transaction: Option<String>,
}

/// A lock that a worker waits for, and one who holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) worker: i32,
    /// `relation`, `transactionid`, ...
    pub(crate) kind: String,
    pub(crate) table: Option<String>,
    pub(crate) blocker: i32,
    /// What the role may see of the blocker: application, state, seconds in its transaction.
    pub(crate) application: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) seconds: Option<u64>,
}

/// Position, then slots: what was applied is never read before what was written.
pub(crate) fn publisher_sql(version_num: u32, feeds: &[Feed]) -> String {
    let wal = if version_num >= WAL_STATUS_SINCE { "s.wal_status, s.safe_wal_size" } else { "NULL, NULL" };
    let (spilled, stats) = if version_num >= SLOT_STATS_SINCE {
        ("t.spill_bytes", "LEFT JOIN pg_catalog.pg_stat_replication_slots t ON t.slot_name = s.slot_name")
    } else {
        ("NULL", "")
    };
    format!(
        "SELECT pg_catalog.pg_current_wal_insert_lsn(), pg_catalog.pg_current_wal_flush_lsn(); \
         SELECT s.slot_name, s.database, s.database = current_database(), s.active, {wal}, s.restart_lsn, \
         s.confirmed_flush_lsn, r.replay_lsn, r.sent_lsn, a.wait_event_type || '/' || a.wait_event, {spilled} \
         FROM pg_catalog.pg_replication_slots s LEFT JOIN pg_catalog.pg_stat_replication r ON r.pid = s.active_pid \
         LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid {stats} \
         WHERE s.slot_name = ANY ({}) \
         OR s.database = current_database() AND NOT s.active AND NOT s.temporary ORDER BY s.slot_name",
        sql::text_array(feeds.iter().map(|feed| &feed.slot))
    )
}

/// Subscriptions, leading workers, locks that workers wait for, tables that are not ready, workers in use.
///
/// Until a worker has set its clock, it has heard nothing since `-infinity` (`logicalrep_worker_launch` in launcher.c), from
/// which nothing can be subtracted before 17.
pub(crate) fn subscriber_sql(version_num: u32, feeds: &[Feed]) -> String {
    let oids: Vec<_> = feeds.iter().map(|feed| feed.oid.to_string()).collect();
    let oids = oids.join(", ");
    let (errors, stats) = if version_num >= SUBSCRIPTION_STATS_SINCE {
        ("e.apply_error_count", "LEFT JOIN pg_catalog.pg_stat_subscription_stats e ON e.subid = s.oid")
    } else {
        ("NULL", "")
    };
    let leading = if version_num >= PARALLEL_APPLY_SINCE { " AND st.leader_pid IS NULL" } else { "" };
    format!(
        "SELECT s.oid, s.subenabled, {errors}, \
         (SELECT count(*) FROM pg_catalog.pg_subscription_rel r WHERE r.srsubid = s.oid AND r.srsubstate <> 'r'), \
         EXISTS (SELECT FROM pg_catalog.pg_subscription_rel r WHERE r.srsubid = s.oid AND r.srsublsn IS NOT NULL), \
         EXISTS (SELECT FROM pg_catalog.pg_replication_origin o WHERE o.roname = 'pg_' || s.oid) \
         FROM pg_catalog.pg_subscription s {stats} WHERE s.oid IN ({oids}); \
         SELECT st.subid, st.pid, st.received_lsn, \
         GREATEST(0, extract(epoch FROM clock_timestamp() - nullif(st.last_msg_receipt_time, '-infinity')) * 1000)::bigint, \
         (SELECT min(l.transactionid::text) FROM pg_catalog.pg_locks l WHERE l.pid = st.pid \
         AND l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted) \
         FROM pg_catalog.pg_stat_subscription st \
         WHERE st.relid IS NULL AND st.pid IS NOT NULL{leading} AND st.subid IN ({oids}); \
         SELECT st.subid, w.pid, w.locktype, w.relation::regclass::text, b.pid, a.application_name, a.state, \
         GREATEST(0, extract(epoch FROM clock_timestamp() - a.xact_start))::bigint \
         FROM pg_catalog.pg_stat_subscription st \
         JOIN (SELECT DISTINCT l.pid, l.locktype, l.relation FROM pg_catalog.pg_locks l \
         WHERE NOT l.granted AND l.locktype <> 'applytransaction') w ON w.pid = st.pid \
         CROSS JOIN LATERAL unnest(pg_catalog.pg_blocking_pids(w.pid)) b (pid) \
         LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid WHERE st.subid IN ({oids}) ORDER BY 2, 5; \
         SELECT r.srsubid, r.srrelid::regclass::text, r.srsubstate FROM pg_catalog.pg_subscription_rel r \
         WHERE r.srsubstate <> 'r' AND r.srsubid IN ({oids}) ORDER BY 1, 2; \
         SELECT (SELECT count(st.pid) FROM pg_catalog.pg_stat_subscription st), \
         current_setting('max_logical_replication_workers'), \
         (SELECT g.setting FROM pg_catalog.pg_settings g WHERE g.name = 'wal_receiver_timeout')"
    )
}

/// The position of a subscription's origin. Whether it exists must be known.
fn origin_sql(feed: &Feed) -> String {
    format!("SELECT pg_catalog.pg_replication_origin_progress('pg_{}', false)", feed.oid)
}

/// Looks at both servers, at the subscriber first: what its worker holds and waits for is then never newer than the
/// positions.
///
/// # Errors
/// Whatever a session reports. That a role may not ask something is none.
pub(crate) async fn look(
    publisher: &Session,
    subscriber: &Session,
    feeds: &[Feed],
    wal_segment_bytes: u64,
) -> Result<Health> {
    let on_subscriber = subscriber.statements(&subscriber_sql(subscriber.version_num(), feeds)).await?;
    let mut origins = Vec::with_capacity(feeds.len());
    for feed in feeds {
        origins.push(match subscriber.value(&origin_sql(feed)).await {
            Ok(Some(text)) => match text.parse() {
                Ok(Lsn(0)) => Origin::Unset,
                Ok(lsn) => Origin::At(lsn),
                Err(_) => return Err(unexpected(subscriber, "the position of a replication origin")),
            },
            Ok(None) => Origin::Unset,
            Err(error) if error.kind() == ErrorKind::Lost => return Err(error),
            Err(_) => Origin::Unknown,
        });
    }
    let writers = observe::writers(publisher).await?;
    let on_publisher = publisher.statements(&publisher_sql(publisher.version_num(), feeds)).await?;
    let parsed = Answers { feeds, origins: &origins, wal_segment_bytes };
    let here = on_publisher.first().and_then(|rows| rows.first()).map(Vec::as_slice).unwrap_or_default();
    let insert = position(publisher, text(here, 0), wal_segment_bytes)?;
    let flushed = position(publisher, text(here, 1), wal_segment_bytes)?;
    let subscriptions =
        parsed.subscriptions(&on_subscriber).ok_or_else(|| unexpected(subscriber, "its subscriptions"))?;
    let slots = on_publisher.get(1).and_then(|rows| parsed.slots(rows));
    let slots = slots.ok_or_else(|| unexpected(publisher, "its replication slots"))?;
    let workers = on_subscriber.get(4).and_then(workers);
    let workers = workers.ok_or_else(|| unexpected(subscriber, "its replication workers"))?;
    let both = slots.into_iter().zip(subscriptions);
    let feeds = feeds.iter().cloned().zip(both);
    let feeds = feeds.map(|(feed, (slot, subscription))| FeedHealth { feed, slot, subscription }).collect();
    Ok(Health { insert, flushed, feeds, writers, workers })
}

/// Position and applied positions only: cheap enough to be asked several times a second.
///
/// # Errors
/// Whatever the session reports.
pub(crate) async fn probe(
    publisher: &Session,
    feeds: &[Feed],
    wal_segment_bytes: u64,
) -> Result<(Lsn, Vec<Option<Lsn>>)> {
    let query = format!(
        "SELECT pg_catalog.pg_current_wal_insert_lsn(); \
         SELECT s.slot_name, GREATEST(r.replay_lsn, s.confirmed_flush_lsn) FROM pg_catalog.pg_replication_slots s \
         LEFT JOIN pg_catalog.pg_stat_replication r ON r.pid = s.active_pid \
         WHERE s.database = current_database() AND s.slot_name = ANY ({})",
        sql::text_array(feeds.iter().map(|feed| &feed.slot))
    );
    let answers = publisher.statements(&query).await?;
    let insert = answers.first().and_then(|rows| rows.first()?.first()?.as_deref());
    let insert = position(publisher, insert, wal_segment_bytes)?;
    let slots = answers.get(1).map(Vec::as_slice).unwrap_or_default();
    let applied = |feed: &Feed| {
        let row = slots.iter().find(|row| text(row, 0) == Some(&feed.slot))?;
        Some(text(row, 1)?.parse::<Lsn>().ok()?.normalized(wal_segment_bytes))
    };
    Ok((insert, feeds.iter().map(applied).collect()))
}

fn text(row: &[Option<String>], column: usize) -> Option<&str> {
    row.get(column)?.as_deref()
}

/// An optional value; `None` outside for a text that does not parse.
#[expect(clippy::option_option, reason = "the two say different things: not understood, and NULL")]
fn parsed<T: std::str::FromStr>(row: &[Option<String>], column: usize) -> Option<Option<T>> {
    match row.get(column)? {
        None => Some(None),
        Some(text) => text.parse().ok().map(Some),
    }
}

fn workers(rows: &Rows) -> Option<Workers> {
    let row = rows.first()?;
    Some(Workers { in_use: parsed(row, 0)??, limit: parsed(row, 1)??, receiver_timeout_ms: parsed(row, 2)? })
}

/// Reads the answers; `None` for one that is not understood.
struct Answers<'a> {
    feeds: &'a [Feed],
    origins: &'a [Origin],
    wal_segment_bytes: u64,
}

impl Answers<'_> {
    fn slots(&self, rows: &Rows) -> Option<Vec<Slot>> {
        let ours = |row: &&Vec<Option<String>>| text(row, 2) == Some("t");
        let spare = rows.iter().filter(ours).filter(|row| text(row, 3) == Some("f")).filter_map(|row| text(row, 0));
        let spare = spare.filter(|name| !self.feeds.iter().any(|feed| &feed.slot == name));
        let spare: Vec<_> = spare.take(NAMED_AT_MOST).map(str::to_owned).collect();
        let slot = |feed: &Feed| {
            let named = |row: &&Vec<Option<String>>| text(row, 0) == Some(&feed.slot);
            match rows.iter().find(named) {
                Some(row) if ours(&row) => self.slot(row).map(Slot::There),
                other => {
                    let instead = other.map(|row| match text(row, 1) {
                        Some(database) => format!("a slot of database {database}"),
                        None => "a physical slot".to_owned(),
                    });
                    Some(Slot::Missing { instead, spare: spare.clone() })
                }
            }
        };
        self.feeds.iter().map(slot).collect()
    }

    fn slot(&self, row: &[Option<String>]) -> Option<SlotHealth> {
        let lsn = |column| parsed::<Lsn>(row, column);
        let normal = |lsn: Option<Lsn>| lsn.map(|lsn| lsn.normalized(self.wal_segment_bytes));
        Some(SlotHealth {
            active: text(row, 3)? == "t",
            wal_status: row.get(4)?.clone(),
            safe_wal_bytes: parsed(row, 5)?,
            restart: lsn(6)?,
            confirmed: normal(lsn(7)?),
            replay: normal(lsn(8)?),
            sent: lsn(9)?,
            sender_waits: row.get(10)?.clone(),
            spilled_bytes: parsed(row, 11)?,
        })
    }

    fn subscriptions(&self, answers: &[Rows]) -> Option<Vec<Option<SubscriptionHealth>>> {
        let [described, workers, waits, not_ready, ..] = answers else { return None };
        let of = |(feed, origin): (&Feed, &Origin)| {
            let oid = feed.oid.to_string();
            let own = |row: &&Vec<Option<String>>| text(row, 0) == Some(&oid);
            let Some(row) = described.iter().find(own) else { return Some(None) };
            let worker = match workers.iter().find(own) {
                None => None,
                Some(row) => Some(Worker {
                    pid: parsed(row, 1)??,
                    received: parsed::<Lsn>(row, 2)?.map(|lsn| lsn.normalized(self.wal_segment_bytes)),
                    silent_ms: parsed(row, 3)?,
                    transaction: row.get(4)?.clone(),
                }),
            };
            let not_ready = not_ready.iter().filter(own).take(NAMED_AT_MOST);
            Some(Some(SubscriptionHealth {
                enabled: text(row, 1)? == "t",
                worker,
                waits: waits.iter().filter(own).map(|row| wait(row)).collect::<Option<_>>()?,
                apply_errors: parsed(row, 2)?,
                tables_not_ready: parsed(row, 3)??,
                not_ready: not_ready
                    .map(|row| Some((text(row, 1)?.to_owned(), text(row, 2)?.to_owned())))
                    .collect::<Option<_>>()?,
                copied: text(row, 4)? == "t",
                origin: if text(row, 5)? == "t" { *origin } else { Origin::Missing },
            }))
        };
        self.feeds.iter().zip(self.origins).map(of).collect()
    }
}

fn wait(row: &[Option<String>]) -> Option<Wait> {
    Some(Wait {
        worker: parsed(row, 1)??,
        kind: text(row, 2)?.to_owned(),
        table: row.get(3)?.clone(),
        blocker: parsed(row, 4)??,
        application: row.get(5)?.clone().filter(|name| !name.is_empty()),
        state: row.get(6)?.clone(),
        seconds: parsed(row, 7)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(slot: &str) -> Feed {
        Feed { oid: 16_385, name: "s".into(), slot: slot.into() }
    }

    fn rows(texts: &[&[&str]]) -> Rows {
        let value = |text: &&str| (!text.is_empty()).then(|| (*text).to_owned());
        texts.iter().map(|row| row.iter().map(value).collect()).collect()
    }

    #[test]
    fn what_a_version_lacks_is_not_asked_for() {
        let feeds = [feed("it's")];
        for (version, wal, slot_stats, errors, leader) in [
            (120_000, false, false, false, false),
            (130_000, true, false, false, false),
            (140_000, true, true, false, false),
            (150_000, true, true, true, false),
            (180_000, true, true, true, true),
        ] {
            let (publisher, subscriber) = (publisher_sql(version, &feeds), subscriber_sql(version, &feeds));
            assert_eq!(publisher.contains("wal_status"), wal);
            assert_eq!(publisher.contains("pg_stat_replication_slots"), slot_stats);
            assert_eq!(subscriber.contains("pg_stat_subscription_stats"), errors);
            assert_eq!(subscriber.contains("leader_pid"), leader);
            assert!(publisher.contains("ARRAY['it''s']") && publisher.starts_with("SELECT pg_catalog.pg_current_wal"));
            assert!(!subscriber.contains("subconninfo") && !subscriber.contains(".query"));
        }
    }

    #[test]
    fn slots_that_are_there_elsewhere_or_spare() {
        let feeds = [feed("mine"), feed("other"), feed("physical"), feed("none")];
        let answers = Answers { feeds: &feeds, origins: &[], wal_segment_bytes: 16 << 20 };
        let position = ["0/1000018", "0/2000028", "", "0/30", "", "7"];
        let of =
            |name, database, ours, active| [&[name, database, ours, active, "reserved", ""][..], &position].concat();
        let table = [
            of("mine", "shop", "t", "t"),
            of("other", "x", "f", "f"),
            of("physical", "", "", "f"),
            of("spare", "shop", "t", "f"),
        ];
        let slots = answers.slots(&rows(&table.iter().map(Vec::as_slice).collect::<Vec<_>>())).unwrap();
        let Slot::There(mine) = &slots[0] else { panic!("{slots:?}") };
        assert_eq!((mine.active, mine.confirmed, mine.applied()), (true, Some(Lsn(0x200_0000)), Some(Lsn(0x200_0000))));
        assert_eq!((mine.restart, mine.spilled_bytes, mine.sent), (Some(Lsn(0x100_0018)), Some(7), Some(Lsn(0x30))));
        let spare = vec!["spare".to_owned()];
        let missing =
            |instead: Option<&str>| Slot::Missing { instead: instead.map(str::to_owned), spare: spare.clone() };
        assert_eq!(
            slots[1..],
            [missing(Some("a slot of database x")), missing(Some("a physical slot")), missing(None)]
        );
        assert_eq!(answers.slots(&rows(&[&["mine", "shop", "t", "t", "", "", "x/y"]])), None);
    }

    #[test]
    fn a_subscription_with_all_that_is_known_of_it() {
        let feeds = [feed("mine")];
        let answers = Answers { feeds: &feeds, origins: &[Origin::Unset], wal_segment_bytes: 16 << 20 };
        let all = [
            rows(&[&["16385", "t", "3", "2", "f", "t"]]),
            rows(&[&["16385", "77", "0/50", "1500", "740"]]),
            rows(&[&["16385", "77", "relation", "public.t", "99", "psql", "idle in transaction", "12"]]),
            rows(&[&["16385", "public.t", "d"], &["16385", "public.u", "s"]]),
            rows(&[&["1", "4", "60000"]]),
        ];
        let found = answers.subscriptions(&all).unwrap().remove(0).unwrap();
        assert_eq!((found.enabled, found.apply_errors, found.tables_not_ready), (true, Some(3), 2));
        assert_eq!((found.copied, found.origin, found.not_ready.len()), (false, Origin::Unset, 2));
        assert_eq!(found.worker.unwrap().transaction.as_deref(), Some("740"));
        assert_eq!((found.waits[0].blocker, found.waits[0].seconds), (99, Some(12)));
        let gone = [rows(&[]), rows(&[]), rows(&[]), rows(&[])];
        assert_eq!(answers.subscriptions(&gone), Some(vec![None]));
        assert_eq!(answers.subscriptions(&[]), None);
        assert_eq!(workers(&all[4]), Some(Workers { in_use: 1, limit: 4, receiver_timeout_ms: Some(60_000) }));
        assert_eq!(workers(&rows(&[&["1", "many", "0"]])), None);
    }
}
