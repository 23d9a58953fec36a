//! Subscriptions, their workers and counters.

use std::time::Duration;

use super::capacity::{raise_workers, workers_free};
use super::{Seen, limit, listed};
use crate::catalog::health::{SubscriberHealth, SubscriptionHealth};
use crate::gate::diagnosis::silence_max;
use crate::run::figures::{counted, duration};
use crate::run::preflight::code::Code;
use crate::run::preflight::outcome::{Check, Status};
use crate::side::Side;
use crate::sql;

pub(super) fn judge(seen: &Seen<'_>, health: &SubscriberHealth, checks: &mut Vec<Check>) {
    let fed: Vec<_> = seen.fed().collect();
    if fed.is_empty() {
        let others = health.subscriptions.len();
        let evidence = match others {
            0 => "the subscriber's database has none".to_owned(),
            _ => format!("none of {others} has its slot in the publisher's database"),
        };
        checks.push(
            Check::new(Code::Subscription, Status::Warn, Side::Subscriber, evidence)
                .threshold("one whose slot is on this publisher")
                .remedy("make one with CREATE SUBSCRIPTION on the subscriber; until then only verify --gate none can compare"),
        );
    } else {
        let names = listed(fed.iter().map(|subscription| &subscription.name));
        checks.push(Check::ok(Code::Subscription, Side::Subscriber, format!("fed by this publisher: {names}")));
    }
    for subscription in seen.subscriptions() {
        if seen.slot_of(subscription).is_none() {
            // Beside one that is fed, another may belong to another publisher.
            let wanted = fed.is_empty() || !seen.requested.is_empty();
            checks.extend(wanted.then(|| wrong_slot(seen, subscription)));
            continue;
        }
        if seen.restore_lsn.is_none() {
            checks.push(enabled(subscription));
        }
        // Workers run, and are counted, on the primary only.
        if !health.server.facts.in_recovery {
            if seen.restore_lsn.is_none() {
                checks.extend(worker(health, subscription));
            }
            checks.push(errors(health, subscription));
            checks.extend(conflicts(subscription));
        }
        checks.extend(skipped(subscription));
    }
}

/// What to do about a subscription whose slot is not in the publisher's database.
pub(super) fn wrong_slot(seen: &Seen<'_>, subscription: &SubscriptionHealth) -> Check {
    let slot = subscription.slot.as_deref().unwrap_or("NONE");
    let database = &seen.health.publisher.server.facts.database;
    let idle: Vec<_> = seen
        .slots()
        .iter()
        .filter(|slot| slot.logical && slot.own_database && !slot.active && slot.plugin.as_deref() == Some("pgoutput"))
        .collect();
    let evidence = format!("its slot {slot} is not in database {database} of the publisher");
    let name = sql::identifier(&subscription.name);
    let remedy = match idle.as_slice() {
        [only] => format!("ALTER SUBSCRIPTION {name} SET (slot_name = {})", sql::literal(&only.name)),
        [] => "is this the right publisher, and the right database? If so, its slot was dropped: start over".to_owned(),
        several => {
            let slots = listed(several.iter().map(|slot| &slot.name));
            format!(
                "give it one of the slots that nobody reads ({slots}): ALTER SUBSCRIPTION {name} SET (slot_name = ...)"
            )
        }
    };
    Check::new(Code::SubscriptionSlot, Status::Fix, Side::Subscriber, evidence)
        .about(&subscription.name)
        .threshold("a slot of this publisher")
        .remedy(remedy)
}

fn enabled(subscription: &SubscriptionHealth) -> Check {
    let code = Code::SubscriptionEnabled;
    if subscription.enabled {
        return Check::ok(code, Side::Subscriber, "enabled").about(&subscription.name);
    }
    let why = if subscription.disable_on_error {
        "disabled; disable_on_error is set, so an error may have done it: read the subscriber's log first"
    } else {
        "disabled"
    };
    Check::new(code, Status::Fix, Side::Subscriber, why)
        .about(&subscription.name)
        .threshold("enabled")
        .remedy(format!("ALTER SUBSCRIPTION {} ENABLE", sql::identifier(&subscription.name)))
}

fn worker(health: &SubscriberHealth, subscription: &SubscriptionHealth) -> Option<Check> {
    let code = Code::SubscriptionWorker;
    if !subscription.enabled {
        return None;
    }
    let Some(pid) = subscription.worker else {
        let mut evidence = "it has no apply worker".to_owned();
        let mut remedy = "read the subscriber's log (\"logical replication\"): connection string, privileges of its \
                          role, a conflict in a table"
            .to_owned();
        if let Some((used, max)) = workers_free(health) {
            evidence.push_str(&format!("; {used} of {max} workers are in use"));
            if used >= max {
                remedy = raise_workers(health, used + 1);
            }
        }
        let check = Check::new(code, Status::Fix, Side::Subscriber, evidence).about(&subscription.name);
        return Some(check.threshold("a worker").remedy(remedy));
    };
    let silent = subscription.silent_seconds.map(Duration::from_secs);
    let evidence = match silent {
        Some(silent) => format!("worker {pid}, last heard of the publisher {} ago", duration(silent)),
        None => format!("worker {pid}"),
    };
    let patience = limit(&health.server, "wal_receiver_timeout").map(Duration::from_millis);
    // One that never asks may well hear nothing from a publisher that has nothing to say.
    let asks = patience.is_none_or(|patience| !patience.is_zero());
    let longest = silence_max(patience);
    Some(if asks && silent.is_some_and(|silent| silent >= longest) {
        Check::new(code, Status::Fix, Side::Subscriber, evidence)
            .about(&subscription.name)
            .threshold(format!("something heard within {}", duration(longest)))
            .remedy(
                "look at the network between the two, firewalls and security groups included, unless triplecheck lag says \
                 that the worker waits for something else",
            )
    } else {
        Check::ok(code, Side::Subscriber, evidence).about(&subscription.name)
    })
}

fn errors(health: &SubscriberHealth, subscription: &SubscriptionHealth) -> Check {
    let code = Code::ApplyErrors;
    let Some((apply, copy)) = subscription.errors else {
        let version = &health.server.facts.version;
        return Check::new(code, Status::Warn, Side::Subscriber, format!("PostgreSQL {version} does not count them"))
            .about(&subscription.name)
            .threshold("none in the log")
            .remedy("look for \"logical replication\" in the subscriber's log");
    };
    if apply == 0 && copy == 0 {
        return Check::ok(code, Side::Subscriber, "none").about(&subscription.name);
    }
    let errors = |count| counted(count, "error", "errors");
    let evidence = format!("{} while applying, {} while copying tables", errors(apply), errors(copy));
    Check::new(code, Status::Fix, Side::Subscriber, evidence)
        .about(&subscription.name)
        .threshold("none")
        .remedy(sql::noted(&reset(subscription), "once what the subscriber's log names is mended"))
}

fn conflicts(subscription: &SubscriptionHealth) -> Option<Check> {
    let code = Code::Conflicts;
    let conflicts = subscription.conflicts.as_ref()?;
    if conflicts.is_empty() {
        return Some(Check::ok(code, Side::Subscriber, "none").about(&subscription.name));
    }
    let kinds: Vec<_> = conflicts.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    let check = Check::new(code, Status::Fix, Side::Subscriber, kinds.join(", ")).about(&subscription.name);
    Some(check.threshold("none").remedy(sql::noted(
        &reset(subscription),
        "once it is mended: rows differ or somebody else writes on the subscriber, and triplecheck verify names them",
    )))
}

fn reset(subscription: &SubscriptionHealth) -> String {
    format!("SELECT pg_stat_reset_subscription_stats({})", subscription.oid)
}

fn skipped(subscription: &SubscriptionHealth) -> Option<Check> {
    let lsn = subscription.skip_lsn?;
    let evidence = format!("it is told to skip the transaction that ends at {lsn}");
    let check =
        Check::new(Code::SkippedTransaction, Status::Warn, Side::Subscriber, evidence).about(&subscription.name);
    let undo = format!("ALTER SUBSCRIPTION {} SKIP (lsn = NONE)", sql::identifier(&subscription.name));
    Some(
        check
            .threshold("nothing is skipped")
            .remedy(sql::noted(&undo, "what was skipped is missing on the subscriber")),
    )
}
