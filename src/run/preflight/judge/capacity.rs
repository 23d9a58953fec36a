//! Settings, and what they leave free.

use super::{Seen, limit, listed, set_and_restart};
use crate::catalog::health::{Probe, ServerHealth, SubscriberHealth};
use crate::run::figures::counted;
use crate::run::preflight::code::Code;
use crate::run::preflight::outcome::{Check, Status};
use crate::side::Side;
use crate::sql;

/// Slots that should be free: the runbook's figure for an upgrade.
const FREE_SLOTS_WANTED: u64 = 5;
/// Slots that `verify` takes: one, for as long as it runs.
const SLOTS_OF_VERIFY: u64 = 1;
/// Logical replication workers that a subscriber should have: the runbook's figure.
const WORKERS_WANTED: u64 = 4;
/// Processes for everything beside logical replication and autovacuum: the runbook's figure.
const OTHER_PROCESSES: u64 = 8;

pub(super) fn publisher(seen: &Seen<'_>, checks: &mut Vec<Check>) {
    let publisher = &seen.health.publisher;
    checks.push(logical_decoding(&publisher.server));
    slots(seen, checks);
    senders(seen, checks);
    let code = Code::ReplicationRole;
    checks.push(match &publisher.replication_roles {
        Probe::Refused(why) => Check::refused(code, Side::Publisher, why),
        Probe::Told(roles) if !roles.is_empty() => {
            Check::ok(code, Side::Publisher, format!("these roles can replicate: {}", listed(roles.iter())))
        }
        Probe::Told(_) => {
            let create = if publisher.server.managed() {
                "CREATE ROLE upgrade_replicator LOGIN; GRANT rds_replication TO upgrade_replicator"
            } else {
                "CREATE ROLE upgrade_replicator LOGIN REPLICATION"
            };
            Check::new(code, Status::Warn, Side::Publisher, "only superusers can replicate")
                .threshold("a role of its own for the subscription")
                .remedy(sql::noted(
                    create,
                    "with a password, and GRANT SELECT on the published tables for the initial copy",
                ))
        }
    });
}

fn logical_decoding(server: &ServerHealth) -> Check {
    let code = Code::LogicalDecoding;
    let value = |name: &str| server.settings.get(name).map(|setting| setting.value.as_str());
    let level = value("wal_level").unwrap_or("unknown");
    let mut evidence = format!("wal_level is {level}");
    let rds = value("rds.logical_replication");
    if let Some(rds) = rds {
        evidence.push_str(&format!(", rds.logical_replication is {rds}"));
    }
    if let Some(aurora) = &server.aurora {
        evidence.push_str(format!(", Aurora {aurora}").trim_end());
    }
    if level == "logical" {
        return Check::ok(code, Side::Publisher, evidence);
    }
    let pending = server.settings.get("wal_level").is_some_and(|setting| setting.pending_restart);
    let remedy = if server.managed() {
        if rds.is_some_and(|value| value == "on" || value == "1") {
            "reboot: rds.logical_replication is on, but not in force yet".to_owned()
        } else {
            "set rds.logical_replication = 1 in the cluster parameter group, then reboot".to_owned()
        }
    } else if pending {
        "restart the server: the new value waits for it".to_owned()
    } else {
        set_and_restart(server, "wal_level", "logical", "")
    };
    Check::new(code, Status::Fix, Side::Publisher, evidence).threshold("wal_level = logical").remedy(remedy)
}

fn slots(seen: &Seen<'_>, checks: &mut Vec<Check>) {
    let code = Code::SlotsCapacity;
    let publisher = &seen.health.publisher;
    let slots = match &publisher.slots {
        Probe::Refused(why) => return checks.push(Check::refused(code, Side::Publisher, why)),
        Probe::Told(slots) => slots,
    };
    let Some(max) = limit(&publisher.server, "max_replication_slots") else { return };
    let used = u64::try_from(slots.len()).unwrap_or(u64::MAX);
    let free = max.saturating_sub(used);
    // A subscription that there is not yet takes one, too.
    let needed = if seen.fed().next().is_some() { SLOTS_OF_VERIFY } else { SLOTS_OF_VERIFY + 1 };
    let evidence = format!("{used} of {max} in use");
    let status = match free {
        free if free < needed => Status::Fix,
        free if free < FREE_SLOTS_WANTED => Status::Warn,
        _ => return checks.push(Check::ok(code, Side::Publisher, evidence)),
    };
    let idle: Vec<_> = slots.iter().filter(|slot| !slot.active && !slot.temporary).map(|slot| &slot.name).collect();
    let or = if idle.is_empty() {
        String::new()
    } else {
        format!("; or drop slots that nobody needs (inactive: {})", listed(idle.iter()))
    };
    let remedy = set_and_restart(&publisher.server, "max_replication_slots", used + FREE_SLOTS_WANTED, &or);
    let threshold = format!("{FREE_SLOTS_WANTED} free, {needed} at the least");
    checks.push(Check::new(code, status, Side::Publisher, evidence).threshold(threshold).remedy(remedy));
}

fn senders(seen: &Seen<'_>, checks: &mut Vec<Check>) {
    let code = Code::SendersCapacity;
    let publisher = &seen.health.publisher;
    let used = match &publisher.senders {
        Probe::Refused(why) => return checks.push(Check::refused(code, Side::Publisher, why)),
        Probe::Told(used) => *used,
    };
    let Some(max) = limit(&publisher.server, "max_wal_senders") else { return };
    let evidence = format!("{used} of {max} in use");
    checks.push(if used < max {
        Check::ok(code, Side::Publisher, evidence)
    } else {
        Check::new(code, Status::Fix, Side::Publisher, evidence).threshold("1 free").remedy(set_and_restart(
            &publisher.server,
            "max_wal_senders",
            used + FREE_SLOTS_WANTED,
            "",
        ))
    });
}

pub(super) fn subscriber(health: &SubscriberHealth, checks: &mut Vec<Check>) {
    let server = &health.server;
    if server.facts.in_recovery {
        checks.push(
            Check::new(Code::SubscriberStandby, Status::Fix, Side::Subscriber, "the subscriber is a standby")
                .threshold("a primary")
                .remedy("name the primary as --subscriber, or promote this server"),
        );
        // Its settings, workers and origins are not those of the server that subscribes.
        return;
    }
    workers(health, checks);
    processes(server, checks);
    origins(health, checks);
}

/// Workers that are in use, of how many; `None` where either is unknown.
pub(super) fn workers_free(health: &SubscriberHealth) -> Option<(u64, u64)> {
    Some((*health.workers.told()?, limit(&health.server, "max_logical_replication_workers")?))
}

fn workers(health: &SubscriberHealth, checks: &mut Vec<Check>) {
    let code = Code::WorkersCapacity;
    if let Probe::Refused(why) = &health.workers {
        return checks.push(Check::refused(code, Side::Subscriber, why));
    }
    let Some((used, max)) = workers_free(health) else { return };
    let missing = health.subscriptions.iter().filter(|subscription| subscription.worker.is_none()).count();
    let missing = u64::try_from(missing).unwrap_or(u64::MAX);
    let free = max.saturating_sub(used);
    let evidence = format!("{used} of {max} in use");
    let status = if free < missing.max(u64::from(used == 0)) {
        Status::Fix
    } else if max < WORKERS_WANTED || free == 0 {
        Status::Warn
    } else {
        return checks.push(Check::ok(code, Side::Subscriber, evidence));
    };
    let waiting = counted(missing, "subscription has", "subscriptions have");
    checks.push(
        Check::new(code, status, Side::Subscriber, format!("{evidence}, {waiting} none"))
            .threshold(format!("{WORKERS_WANTED} in all, and one free for each subscription without"))
            .remedy(raise_workers(health, used + missing)),
    );
}

/// What gives the subscriber room for so many workers, and as many again.
pub(super) fn raise_workers(health: &SubscriberHealth, needed: u64) -> String {
    let workers = needed.max(WORKERS_WANTED).saturating_mul(2);
    set_and_restart(&health.server, "max_logical_replication_workers", workers, "")
}

fn processes(server: &ServerHealth, checks: &mut Vec<Check>) {
    let code = Code::WorkerProcesses;
    let (Some(max), Some(workers), Some(autovacuum)) = (
        limit(server, "max_worker_processes"),
        limit(server, "max_logical_replication_workers"),
        limit(server, "autovacuum_max_workers"),
    ) else {
        return;
    };
    let evidence = format!("max_worker_processes is {max}, max_logical_replication_workers {workers}");
    let wanted = workers.saturating_add(autovacuum).saturating_add(OTHER_PROCESSES);
    // The launcher of the workers is one itself.
    let status = match max {
        max if max <= workers => Status::Fix,
        max if max < wanted => Status::Warn,
        _ => return checks.push(Check::ok(code, Side::Subscriber, evidence)),
    };
    checks.push(
        Check::new(code, status, Side::Subscriber, evidence)
            .threshold(format!("{wanted}: workers, autovacuum_max_workers and {OTHER_PROCESSES} besides"))
            .remedy(set_and_restart(server, "max_worker_processes", wanted, "")),
    );
}

fn origins(health: &SubscriberHealth, checks: &mut Vec<Check>) {
    let code = Code::OriginsCapacity;
    let used = match &health.origins {
        Probe::Refused(why) => return checks.push(Check::refused(code, Side::Subscriber, why)),
        Probe::Told(used) => *used,
    };
    let names = ["max_active_replication_origins", "max_replication_slots"];
    let Some((name, max)) = names.into_iter().find_map(|name| Some((name, limit(&health.server, name)?))) else {
        return;
    };
    let evidence = format!("{used} of {max} in use ({name})");
    checks.push(if used < max {
        Check::ok(code, Side::Subscriber, evidence)
    } else {
        Check::new(code, Status::Fix, Side::Subscriber, evidence)
            .threshold("1 free, for tables that are copied or a subscription that is made")
            .remedy(set_and_restart(&health.server, name, used + FREE_SLOTS_WANTED, ""))
    });
}
