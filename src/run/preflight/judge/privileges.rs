//! What the role may do, and the level of proof that this allows.

use super::Seen;
use crate::catalog::health::{Probe, RoleFacts, SequenceAccess, SubscriptionHealth};
use crate::run::preflight::code::Code;
use crate::run::preflight::outcome::{Check, Proof, ProofGap, ProofLevel, Status};
use crate::side::Side;
use crate::sql;

pub(super) fn judge(seen: &Seen<'_>, checks: &mut Vec<Check>) {
    select(seen, checks);
    sequences(seen, checks);
    for (side, server) in seen.servers() {
        let role = &server.role;
        if role.superuser {
            checks.push(
                Check::new(Code::Superuser, Status::Warn, side, format!("role {} is a superuser", role.name))
                    .threshold("the privileges that are needed, and no others")
                    .remedy("connect as a role of its own: the README has the scripts"),
            );
        }
        checks.push(if role.sees_sessions {
            Check::ok(Code::PrivilegeMonitor, side, format!("role {} has pg_read_all_stats", role.name))
        } else {
            Check::new(Code::PrivilegeMonitor, Status::Warn, side, format!("role {} lacks it", role.name))
                .threshold("pg_monitor")
                .remedy(monitor(role))
        });
    }
    replication(seen, checks);
    origin(seen, checks);
}

/// On the publisher every table that was asked for; what is compared on both sides is told by the schemas.
fn select(seen: &Seen<'_>, checks: &mut Vec<Check>) {
    let code = Code::PrivilegeSelect;
    for gap in &seen.health.publisher.tables.unreadable {
        let known = |check: &Check| check.code == code.text() && check.remedy.as_ref() == Some(&gap.grant);
        if !checks.iter().any(known) {
            checks.push(
                Check::new(code, Status::Fix, Side::Publisher, &*gap.message)
                    .about(&gap.name)
                    .threshold("SELECT on every table that is compared")
                    .remedy(&*gap.grant),
            );
        }
    }
    if !checks.iter().any(|check| check.code == code.text()) {
        checks.push(Check::ok(code, seen.everywhere(), "every table can be read"));
    }
}

fn sequences(seen: &Seen<'_>, checks: &mut Vec<Check>) {
    let code = Code::PrivilegeSequences;
    let publisher = &seen.health.publisher;
    let named = |access: &&SequenceAccess| publisher.sequences.iter().any(|known| known.name == access.name);
    let subscriber = seen.health.subscriber.as_ref();
    let on_subscriber = subscriber.map(|health| health.sequences.iter().filter(named).collect::<Vec<_>>());
    let sides = [
        (Side::Publisher, &publisher.server.role, publisher.sequences.iter().collect::<Vec<_>>()),
        (
            Side::Subscriber,
            subscriber.map_or(&publisher.server.role, |health| &health.server.role),
            on_subscriber.unwrap_or_default(),
        ),
    ];
    let before = checks.len();
    for (side, role, sequences) in sides {
        let role = sql::identifier(&role.name);
        for sequence in sequences.into_iter().filter(|sequence| !sequence.readable) {
            let schema = sql::identifier(&sequence.name.schema);
            let grant = format!("GRANT SELECT ON SEQUENCE {} TO {role}", sequence.name.to_sql());
            checks.push(
                Check::new(code, Status::Fix, side, format!("role {role} may not read it"))
                    .about(&sequence.name)
                    .threshold("SELECT on every sequence that is compared")
                    .remedy(format!("{grant}; GRANT USAGE ON SCHEMA {schema} TO {role}")),
            );
        }
    }
    if checks.len() == before {
        checks.push(Check::ok(code, seen.everywhere(), "every sequence can be read"));
    }
}

fn monitor(role: &RoleFacts) -> String {
    format!("GRANT pg_monitor TO {}", sql::identifier(&role.name))
}

fn may_replicate(role: &RoleFacts) -> bool {
    role.superuser || role.replication || role.rds_replication
}

fn replicate(role: &RoleFacts) -> String {
    let name = sql::identifier(&role.name);
    if role.rds { format!("GRANT rds_replication TO {name}") } else { format!("ALTER ROLE {name} REPLICATION") }
}

fn replication(seen: &Seen<'_>, checks: &mut Vec<Check>) {
    let code = Code::PrivilegeReplication;
    let role = &seen.health.publisher.server.role;
    checks.push(match seen.slot {
        Some(Probe::Told(())) => Check::ok(code, Side::Publisher, "a temporary slot was had, and dropped again"),
        Some(Probe::Refused(why)) => Check::refused(code, Side::Publisher, why)
            .threshold("a temporary slot")
            .remedy("see what the server says: a free slot, wal_level, or the privilege"),
        None if may_replicate(role) => {
            let evidence = format!("role {} may replicate; nothing to try before wal_level is logical", role.name);
            Check::ok(code, Side::Publisher, evidence)
        }
        None => Check::new(code, Status::Warn, Side::Publisher, format!("role {} may not replicate", role.name))
            .threshold("REPLICATION, or membership in rds_replication")
            .remedy(replicate(role)),
    });
}

fn origin(seen: &Seen<'_>, checks: &mut Vec<Check>) {
    let code = Code::PrivilegeOrigin;
    let Some(subscriber) = &seen.health.subscriber else { return };
    let role = &subscriber.server.role;
    if !role.origin_progress {
        let evidence = format!("role {} may not call pg_replication_origin_progress", role.name);
        checks.push(
            Check::new(code, Status::Warn, Side::Subscriber, evidence)
                .threshold("EXECUTE on it, in this database")
                .remedy(execute(role)),
        );
        return;
    }
    let refused = seen.subscriptions().find_map(|subscription| match &subscription.origin {
        Probe::Refused(why) => Some((&subscription.name, why)),
        Probe::Told(_) => None,
    });
    checks.push(match refused {
        Some((name, why)) => Check::refused(code, Side::Subscriber, why)
            .about(name)
            .threshold("the position of every subscription")
            .remedy("some managed services refuse it to everybody: exact: candidate cut does without"),
        None => Check::ok(code, Side::Subscriber, format!("role {} may ask for it", role.name)),
    });
}

fn execute(role: &RoleFacts) -> String {
    let name = sql::identifier(&role.name);
    format!("GRANT EXECUTE ON FUNCTION pg_replication_origin_progress(text, boolean) TO {name}")
}

/// The best level of proof within reach, and what the better ones lack.
pub(super) fn proof(seen: &Seen<'_>) -> Proof {
    let mut gaps = Vec::new();
    let mut gap = |level, side, lacks: &str, remedy: String| {
        gaps.push(ProofGap { level, side, lacks: lacks.to_owned(), remedy });
    };
    if seen.health.subscriber.is_some() && seen.fed().next().is_none() {
        let remedy = "make a subscription on the subscriber, or verify --gate none".to_owned();
        gap(ProofLevel::SettledByRecheck, Side::Subscriber, "a subscription that joins the two sides", remedy);
    }
    for (side, server) in seen.servers().filter(|(_, server)| !server.role.sees_sessions) {
        gap(ProofLevel::SettledByRecheck, side, "pg_monitor", monitor(&server.role));
    }
    let publisher = &seen.health.publisher.server;
    match seen.slot {
        Some(Probe::Told(())) => {}
        Some(Probe::Refused(why)) => {
            gap(ProofLevel::CandidateCut, Side::Publisher, "a temporary slot", format!("the server says: {why}"));
        }
        None if may_replicate(&publisher.role) => {
            let remedy = "set wal_level = logical (rds.logical_replication), then restart the server".to_owned();
            gap(ProofLevel::CandidateCut, Side::Publisher, "logical decoding", remedy);
        }
        None => gap(ProofLevel::CandidateCut, Side::Publisher, "REPLICATION", replicate(&publisher.role)),
    }
    if let Some(subscriber) = &seen.health.subscriber {
        if !subscriber.server.role.origin_progress {
            let remedy = execute(&subscriber.server.role);
            gap(ProofLevel::DecodedWindow, Side::Subscriber, "EXECUTE on pg_replication_origin_progress", remedy);
        } else if seen.fed().any(|fed| matches!(fed.origin, Probe::Refused(_))) {
            let remedy = "ask the administrator of the subscriber".to_owned();
            gap(ProofLevel::DecodedWindow, Side::Subscriber, "the position of a replication origin", remedy);
        }
        let two_phase: Vec<&SubscriptionHealth> = seen.fed().filter(|fed| fed.two_phase).collect();
        for subscription in two_phase {
            // What prepared transactions do to the origin's position leaves more than one candidate.
            let lacks = format!("a single position: subscription {} has two_phase", subscription.name);
            let remedy = "nothing to do, unless two_phase is not needed".to_owned();
            gap(ProofLevel::DecodedWindow, Side::Subscriber, &lacks, remedy);
        }
    }
    let reached = [ProofLevel::SettledByRecheck, ProofLevel::CandidateCut, ProofLevel::DecodedWindow]
        .into_iter()
        .take_while(|level| gaps.iter().all(|gap| gap.level != *level))
        .last();
    Proof { level: reached.unwrap_or(ProofLevel::Quiesced), gaps }
}

/// The level as a check.
pub(super) fn level(proof: &Proof) -> Check {
    let code = Code::ProofLevel;
    let reached = format!("verify can reach {}", proof.level.name());
    let Some(first) = proof.gaps.first() else { return Check::ok(code, None, reached) };
    let lacks: Vec<_> =
        proof.gaps.iter().map(|gap| format!("{} needs {} on the {}", gap.level.name(), gap.lacks, gap.side)).collect();
    Check::new(code, Status::Warn, None, format!("{reached}; {}", lacks.join("; ")))
        .threshold(ProofLevel::DecodedWindow.name())
        .remedy(&*first.remedy)
}
