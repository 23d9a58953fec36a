//! Why replication lags or stands still: causes from what was seen, without I/O.

use std::time::Duration;

use crate::catalog::Severity;
use crate::gate::causes::{Cause, Code, Coded, cause};
use crate::gate::health::{FeedHealth, Health, NAMED_AT_MOST, Origin, Slot, SlotHealth, SubscriptionHealth, Wait};
use crate::gate::rules::Writer;
use crate::lsn::Lsn;
use crate::sql;

/// Silence from which on a connection counts as dead where the worker has no timeout: the runbook's figure.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long a new worker may take to connect before that is a cause: an answer from another continent takes less.
const CONNECTS_WITHIN_MS: u64 = 2_000;

/// How a subscription moved between looks. The default is that of a single look: nothing is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Motion {
    /// Whether there was a look before this one.
    pub(crate) watched: bool,
    /// For how long the flushed position has not moved although there was something to flush; `None` where it moved, or
    /// nobody watched.
    pub(crate) still: Option<Duration>,
    /// For how long the worker has been in the same transaction.
    pub(crate) in_transaction: Option<Duration>,
    /// Whether errors were counted meanwhile.
    pub(crate) new_errors: bool,
    /// Bytes that decoding has put on disk meanwhile.
    pub(crate) newly_spilled: u64,
    /// Bytes a second: written by the publisher, and flushed on the subscriber; only where the latter is less.
    pub(crate) falling_behind: Option<(u64, u64)>,
}

/// The causes that speak of one subscription, the most telling first.
pub(crate) fn of_feed(health: &Health, feed: &FeedHealth, motion: &Motion) -> Vec<Cause> {
    let name = &feed.feed.name;
    let Some(subscription) = &feed.subscription else {
        let evidence = format!("subscription {name} cannot be seen any longer");
        return vec![cause(Code::SubscriptionGone, Severity::Error, evidence, "start again with what there is now").1];
    };
    let lags = lag(health, feed).is_none_or(|bytes| bytes > 0);
    let mut causes: Vec<Coded> = Vec::new();
    if !subscription.enabled {
        causes.push(cause(
            Code::SubscriptionDisabled,
            Severity::Error,
            format!("subscription {name} is disabled"),
            format!("ALTER SUBSCRIPTION {} ENABLE", sql::identifier(name)),
        ));
    }
    causes.extend(slot_causes(feed));
    causes.extend(another_publisher(health, feed, subscription, motion));
    causes.extend(worker_absent(health, feed, subscription));
    if let Some(errors) = subscription.apply_errors.filter(|&errors| errors > 0) {
        let severity = match (motion.new_errors, motion.still.is_some()) {
            (true, _) => Severity::Error,
            (false, true) => Severity::Warning,
            (false, false) => Severity::Info,
        };
        causes.push(cause(
            Code::ApplyErrors,
            severity,
            format!("subscription {name} has counted {errors} apply errors"),
            "look at the subscriber's log",
        ));
    }
    if lags && (motion.still.is_some() || !motion.watched) {
        causes.extend(blocked(subscription));
    }
    causes.extend(origin(feed, subscription));
    if lags {
        causes.extend(silence(health, feed, subscription, motion));
    }
    let root = causes.iter().any(|(code, cause)| cause.severity == Severity::Error && *code != Code::WorkerAbsent);
    let consequence = if root { Severity::Info } else { Severity::Error };
    for (_, cause) in causes.iter_mut().filter(|(code, _)| *code == Code::WorkerAbsent) {
        cause.severity = consequence;
    }
    if let Slot::There(SlotHealth { active: false, .. }) = &feed.slot {
        let severity = if causes.iter().any(|(_, cause)| cause.severity == Severity::Error) {
            Severity::Info
        } else {
            Severity::Error
        };
        let evidence = format!("slot {} is inactive: no walsender serves it", feed.feed.slot);
        causes.push(cause(Code::SlotInactive, severity, evidence, "look at the subscriber's log"));
    }
    for (table, state) in &subscription.not_ready {
        causes.push(cause(
            Code::TableNotReady,
            Severity::Warning,
            format!("table {table} of subscription {name} is not ready (state {state})"),
            "wait for the copy to end; where it does not, look at the subscriber's log",
        ));
    }
    if lags {
        causes.extend(large_transaction(feed, subscription, motion));
        causes.extend(falling_behind(health, feed, motion));
        let explained = causes.iter().any(|(_, cause)| cause.severity > Severity::Info);
        if let Some(still) = motion.still.filter(|_| !explained) {
            causes.push(cause(
                Code::Unexplained,
                Severity::Warning,
                format!("the flushed position of subscription {name} has not moved for {} s", still.as_secs()),
                "look at the logs of both servers",
            ));
        }
    }
    causes.sort_by_key(|(_, cause)| std::cmp::Reverse(cause.severity));
    causes.into_iter().map(|(_, cause)| cause).collect()
}

/// Transactions of the publisher that hold back what follows them: those that are open for so long, or all.
pub(crate) fn of_writers(writers: &[Writer], for_long: Option<Duration>) -> Vec<Cause> {
    let long = writers.iter().filter_map(|writer| match writer {
        Writer::Session { seconds, .. } => {
            let is_long = |longest: Duration| seconds.is_some_and(|seconds| Duration::from_secs(seconds) >= longest);
            for_long.is_none_or(is_long).then(|| {
                cause(
                    Code::LongTransaction,
                    Severity::Warning,
                    writer.to_string(),
                    "end it, or ask its application to commit in smaller pieces",
                )
            })
        }
        Writer::Prepared { .. } => Some(cause(
            Code::PreparedTransaction,
            Severity::Warning,
            writer.to_string(),
            "COMMIT PREPARED or ROLLBACK PREPARED it",
        )),
    });
    long.take(NAMED_AT_MOST).map(|(_, cause)| cause).collect()
}

/// What replay is short of the publisher's position; `None` where its slot is not there.
pub(crate) fn lag(health: &Health, feed: &FeedHealth) -> Option<u64> {
    match &feed.slot {
        Slot::There(slot) => slot.applied().map(|applied| health.insert.bytes_since(applied)),
        Slot::Missing { .. } => None,
    }
}

fn slot_causes(feed: &FeedHealth) -> Vec<Coded> {
    let (name, slot) = (&feed.feed.name, &feed.feed.slot);
    match &feed.slot {
        Slot::Missing { instead, spare } => {
            let mut evidence = format!(
                "slot {slot} does not exist on the publisher any longer, or never did: subscription {name} asks for it"
            );
            if let Some(instead) = instead {
                evidence.push_str(&format!("; the publisher has {instead} of that name"));
            }
            let remedy = match spare.first() {
                Some(first) => {
                    evidence.push_str(&format!("; slots of this database that nothing uses: {}", spare.join(", ")));
                    let quoted = sql::identifier(name);
                    format!(
                        "if {first} is the one that was made for it: ALTER SUBSCRIPTION {quoted} DISABLE; ALTER SUBSCRIPTION \
                         {quoted} SET (slot_name = {}); ALTER SUBSCRIPTION {quoted} ENABLE",
                        sql::literal(first).trim_start()
                    )
                }
                None => "check that --publisher and --subscriber are not swapped and that this is the right cluster and database; \
                     without its slot, changes are lost and the subscriber must be made anew"
                    .to_owned(),
            };
            vec![cause(Code::WrongSlot, Severity::Error, evidence, remedy)]
        }
        Slot::There(health) => match health.wal_status.as_deref() {
            Some("lost") => vec![cause(
                Code::SlotLost,
                Severity::Error,
                format!("slot {slot} has wal_status lost"),
                "WAL that it needs is gone: the subscriber must be made anew",
            )],
            Some("unreserved") => vec![cause(
                Code::SlotLost,
                Severity::Error,
                format!("slot {slot} has wal_status unreserved"),
                "raise max_slot_wal_keep_size on the publisher at once: WAL that the slot needs can go at the next checkpoint",
            )],
            _ => Vec::new(),
        },
    }
}

fn another_publisher(
    health: &Health,
    feed: &FeedHealth,
    subscription: &SubscriptionHealth,
    motion: &Motion,
) -> Option<Coded> {
    let (name, slot) = (&feed.feed.name, &feed.feed.slot);
    let worker = subscription.worker.as_ref()?;
    let received = worker.received?;
    let evidence = match &feed.slot {
        _ if received > health.insert => {
            format!(
                "the worker of subscription {name} has received up to {received}, beyond this publisher's end at {}",
                health.insert
            )
        }
        Slot::There(SlotHealth { active: false, .. })
            if motion.still.is_some() && !silent(health, worker.silent_ms) =>
        {
            format!(
                "the worker of subscription {name} (process {}) is connected to a publisher, but slot {slot} of this one is inactive",
                worker.pid
            )
        }
        _ => return None,
    };
    let remedy = "compare the connection string of the subscription (subconninfo) with --publisher";
    Some(cause(Code::AnotherPublisher, Severity::Error, evidence, remedy))
}

fn worker_absent(health: &Health, feed: &FeedHealth, subscription: &SubscriptionHealth) -> Vec<Coded> {
    let name = &feed.feed.name;
    if !subscription.enabled || subscription.worker.is_some() {
        return Vec::new();
    }
    let mut causes = Vec::new();
    let workers = health.workers;
    if workers.in_use >= workers.limit {
        causes.push(cause(
            Code::WorkersExhausted,
            Severity::Error,
            format!(
                "{} of max_logical_replication_workers = {} logical replication workers are in use on the subscriber, and none \
                 runs for subscription {name}",
                workers.in_use, workers.limit
            ),
            "raise max_logical_replication_workers (and max_worker_processes) on the subscriber and restart it",
        ));
    }
    let evidence = format!("subscription {name} has no apply worker");
    let remedy = "look at the subscriber's log: the connection string, the password or the REPLICATION privilege on the \
                  publisher may be wrong, or max_worker_processes used up";
    causes.push(cause(Code::WorkerAbsent, Severity::Error, evidence, remedy));
    causes
}

fn blocked(subscription: &SubscriptionHealth) -> Vec<Coded> {
    let of = |wait: &Wait| {
        let what = match (&wait.table, wait.kind.as_str()) {
            (Some(table), "tuple") => format!("a row of {table}"),
            (Some(table), _) => format!("a lock on {table}"),
            (None, "transactionid") => "a row that another transaction has changed".to_owned(),
            (None, kind) => format!("a lock ({kind})"),
        };
        let known =
            [wait.application.clone(), wait.state.clone(), wait.seconds.map(|seconds| format!("for {seconds} s"))];
        let known: Vec<_> = known.into_iter().flatten().collect();
        let known = if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) };
        // pg_blocking_pids() gives 0 for a prepared transaction (PostgreSQL manual, "Session Information Functions").
        let (holder, remedy) = match wait.blocker {
            0 => (
                "a prepared transaction".to_owned(),
                "COMMIT PREPARED or ROLLBACK PREPARED it on the subscriber (pg_prepared_xacts)".to_owned(),
            ),
            pid => (
                format!("process {pid}{known}"),
                format!("end that transaction: SELECT pg_terminate_backend({pid}) on the subscriber"),
            ),
        };
        let evidence = format!("worker {} waits for {what}, held by {holder} of the subscriber", wait.worker);
        cause(Code::ApplyBlocked, Severity::Error, evidence, remedy)
    };
    subscription.waits.iter().take(NAMED_AT_MOST).map(of).collect()
}

fn origin(feed: &FeedHealth, subscription: &SubscriptionHealth) -> Option<Coded> {
    let (name, oid) = (&feed.feed.name, feed.feed.oid);
    match subscription.origin {
        Origin::Missing => Some(cause(
            Code::OriginMissing,
            Severity::Error,
            format!("replication origin pg_{oid} of subscription {name} does not exist"),
            "the subscription was not created properly: drop it and create it again",
        )),
        // Once it is enabled, its changes move the origin, or its errors tell.
        Origin::Unset if !subscription.enabled && !subscription.copied => Some(cause(
            Code::OriginNotAdvanced,
            Severity::Warning,
            format!("origin pg_{oid} of subscription {name}, which did not copy its tables, was never advanced"),
            format!(
                "if the subscriber is a clone: SELECT pg_replication_origin_advance('pg_{oid}', '<LSN of the restore point>'), \
                 and only then ENABLE"
            ),
        )),
        Origin::Unknown | Origin::Unset | Origin::At(_) => None,
    }
}

/// Silence from which on a connection counts as dead, by the `wal_receiver_timeout` of its worker: after half of it the
/// worker asks for an answer, and after all of it, it is gone (`LogicalRepApplyLoop` in worker.c), so in between.
pub(crate) fn silence_max(wal_receiver_timeout: Option<Duration>) -> Duration {
    match wal_receiver_timeout {
        Some(timeout) if !timeout.is_zero() => timeout * 3 / 4,
        _ => SILENCE_MAX,
    }
}

fn silent(health: &Health, silent_ms: Option<u64>) -> bool {
    let timeout = health.workers.receiver_timeout_ms.map(Duration::from_millis);
    silent_ms.is_some_and(|silent| Duration::from_millis(silent) > silence_max(timeout))
}

fn silence(health: &Health, feed: &FeedHealth, subscription: &SubscriptionHealth, motion: &Motion) -> Option<Coded> {
    let worker = subscription.worker.as_ref()?;
    // One that waits or applies does not listen.
    if !subscription.waits.is_empty() || worker.transaction.is_some() {
        return None;
    }
    let inactive = matches!(feed.slot, Slot::There(SlotHealth { active: false, .. }));
    let pid = worker.pid;
    let evidence = match worker.silent_ms {
        // After a timeout the next worker connects, which can take minutes where nothing answers. Its silence counts from its
        // start ("Initialise stats" in worker.c).
        Some(ms) if inactive && motion.still.is_some() && worker.received.is_none() && ms >= CONNECTS_WITHIN_MS => {
            format!(
                "worker {pid} has not heard from the publisher since it started {} s ago, and slot {} is inactive",
                ms / 1000,
                feed.feed.slot
            )
        }
        Some(ms) if silent(health, worker.silent_ms) => {
            format!("worker {pid} has not heard from the publisher for {} s", ms / 1000)
        }
        _ => return None,
    };
    let remedy = "check the network between the two: security groups, the port, limits on its bandwidth";
    Some(cause(Code::NetworkSilence, Severity::Error, evidence, remedy))
}

fn large_transaction(feed: &FeedHealth, subscription: &SubscriptionHealth, motion: &Motion) -> Option<Coded> {
    motion.still?;
    let worker = subscription.worker.as_ref().filter(|_| subscription.waits.is_empty())?;
    let name = &feed.feed.name;
    let evidence = match (motion.in_transaction, motion.newly_spilled) {
        (Some(time), _) => format!(
            "the worker of subscription {name} (process {}) has been applying one transaction for {} s",
            worker.pid,
            time.as_secs()
        ),
        (None, bytes @ 1..) => {
            format!(
                "slot {} has put {bytes} bytes of large transactions on disk while they are decoded",
                feed.feed.slot
            )
        }
        (None, 0) => return None,
    };
    let remedy = "it ends by itself; ask application teams to commit in smaller pieces";
    Some(cause(Code::LargeTransaction, Severity::Warning, evidence, remedy))
}

fn falling_behind(health: &Health, feed: &FeedHealth, motion: &Motion) -> Option<Coded> {
    let (written, flushed) = motion.falling_behind?;
    let mut evidence =
        format!("{written} bytes of WAL are written each second, and {flushed} flushed on the subscriber");
    let mut remedy = "schedule what writes most for quieter hours, or give the subscriber more resources".to_owned();
    if let Slot::There(slot) = &feed.slot {
        let behind = |later: Lsn, earlier: Option<Lsn>| earlier.map(|earlier| later.bytes_since(earlier));
        match (behind(health.insert, slot.sent), slot.sent.and_then(|sent| behind(sent, slot.applied()))) {
            (Some(unsent), Some(unapplied)) if unapplied > unsent => {
                evidence.push_str(&format!(
                    "; {unapplied} bytes are sent and not yet applied: the subscriber is the slower one"
                ));
            }
            (Some(unsent), Some(_)) => {
                evidence.push_str(&format!("; {unsent} bytes are not yet sent"));
                match slot.sender_waits.as_deref() {
                    Some("Client/WalSenderWriteData") => {
                        evidence.push_str(", and the walsender waits for the network or the subscriber to take them");
                    }
                    _ => remedy.push_str("; several slots with a part of the tables each decode side by side"),
                }
            }
            _ => {}
        }
    }
    Some(cause(Code::FallingBehind, Severity::Warning, evidence, remedy))
}

#[cfg(test)]
mod tests;
