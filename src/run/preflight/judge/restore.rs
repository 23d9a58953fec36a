//! The deadliest step of the runbook, before ENABLE: `pg_replication_origin_advance` to the restore point. Too far, and
//! every change in between is lost without a word; not far enough, and changes are applied twice.

use super::subscriptions::wrong_slot;
use super::{Seen, listed};
use crate::catalog::health::{OwnWal, Probe, Slot, SubscriberHealth, SubscriptionHealth};
use crate::lsn::Lsn;
use crate::run::preflight::code::Code;
use crate::run::preflight::outcome::{Check, Status};
use crate::side::Side;
use crate::sql;

/// Where the restore point can be had.
const SOURCES: &str = "take it from aurora_volume_logical_start_lsn(), or from the clone's log of its first start after the \
                       restore, before the upgrade: \"invalid record length at ...\"";
/// A position so close to where the subscriber's own WAL stands was read there a moment ago: what a server writes while
/// somebody follows the runbook with nothing else going on. Larger, and servers whose positions have nothing to do with
/// each other would be taken for one.
const JUST_READ_BYTES: u64 = 64 * 1024;

pub(super) fn judge(seen: &Seen<'_>, subscriber: &SubscriberHealth, lsn: Lsn, checks: &mut Vec<Check>) {
    checks.push(publisher(seen, lsn));
    let candidates: Vec<_> = seen.subscriptions().collect();
    let fed: Vec<_> = candidates.iter().copied().filter(|one| seen.slot_of(one).is_some()).collect();
    let subscription = match (candidates.as_slice(), fed.as_slice()) {
        ([only], _) | (_, [only]) => *only,
        _ => {
            checks.push(own_wal(seen, subscriber, None, lsn));
            return checks.push(no_single_subscription(&candidates));
        }
    };
    let slot = seen.slot_of(subscription);
    checks.push(own_wal(seen, subscriber, slot, lsn));
    checks.push(disabled(seen, subscription, slot));
    checks.extend(slot.map(|slot| slot_position(slot, lsn)));
    checks.push(origin(subscriber, subscription, lsn));
}

fn no_single_subscription(candidates: &[&SubscriptionHealth]) -> Check {
    let (evidence, remedy) = if candidates.is_empty() {
        let create = "make it: CREATE SUBSCRIPTION ... WITH (enabled = false, create_slot = false, copy_data = false, \
                      slot_name = ...)";
        ("the clone's database has no subscription".to_owned(), create.to_owned())
    } else {
        let names = listed(candidates.iter().map(|one| &one.name));
        (format!("which subscription is it about? There are {names}"), "name one: --subscription NAME".to_owned())
    };
    Check::new(Code::RestoreSubscription, Status::Fix, Side::Subscriber, evidence)
        .threshold("one subscription, disabled, on the slot that was made before the copy")
        .remedy(remedy)
}

fn disabled(seen: &Seen<'_>, subscription: &SubscriptionHealth, slot: Option<&Slot>) -> Check {
    let code = Code::RestoreSubscription;
    let threshold = "disabled, on a slot of the publisher that nobody reads";
    let Some(slot) = slot else {
        let wrong = wrong_slot(seen, subscription);
        return Check { code: code.text().to_owned(), ..wrong };
    };
    let name = sql::identifier(&subscription.name);
    let bad = |evidence: String, remedy: String| {
        Check::new(code, Status::Fix, Side::Subscriber, evidence)
            .about(&subscription.name)
            .threshold(threshold)
            .remedy(remedy)
    };
    if subscription.enabled {
        let disable = format!("ALTER SUBSCRIPTION {name} DISABLE");
        let remedy = sql::noted(&disable, "if it has applied anything, start over with a new clone");
        return bad("it is enabled already".to_owned(), remedy);
    }
    if slot.active {
        let evidence = format!("its slot {} is being read by somebody else", slot.name);
        return bad(evidence, "find out who reads it: another subscription would take its changes".to_owned());
    }
    if slot.plugin.as_deref() != Some("pgoutput") {
        let plugin = slot.plugin.as_deref().unwrap_or("none");
        let evidence = format!("its slot {} has the output plugin {plugin}", slot.name);
        return bad(evidence, "make the slot with pgoutput, before the copy is taken".to_owned());
    }
    Check::ok(code, Side::Subscriber, format!("disabled, on slot {}", slot.name)).about(&subscription.name)
}

fn slot_position(slot: &Slot, lsn: Lsn) -> Check {
    let code = Code::RestoreSlot;
    let threshold = format!("at or before {lsn}");
    let Some(begin) = slot.confirmed_flush_lsn else {
        return Check::refused(code, Side::Publisher, "the slot does not tell where it begins").about(&slot.name);
    };
    let evidence = format!("slot {} begins at {begin}", slot.name);
    if begin <= lsn {
        return Check::ok(code, Side::Publisher, evidence).about(&slot.name).threshold(threshold);
    }
    let lost = begin.bytes_since(lsn);
    Check::new(code, Status::Fix, Side::Publisher, format!("{evidence}: {lost} bytes of WAL before it are lost"))
        .about(&slot.name)
        .threshold(threshold)
        .remedy("take a new copy: the slot must be there before the copy is taken, and nobody may read it")
}

fn publisher(seen: &Seen<'_>, lsn: Lsn) -> Check {
    let code = Code::RestorePublisher;
    let current = seen.wal.to;
    let evidence = format!("the publisher stands at {current}");
    if lsn <= current {
        return Check::ok(code, Side::Publisher, evidence).threshold(format!("at or after {lsn}"));
    }
    Check::new(code, Status::Fix, Side::Publisher, format!("{evidence}: {lsn} is no position that it has been at"))
        .threshold(format!("at or after {lsn}"))
        .remedy(SOURCES)
}

/// How the subscriber came about, as far as it matters for its own WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Descent {
    /// A physical copy with the publisher's identity: its WAL goes on where the publisher's was cut off.
    Copy,
    /// A physical copy that was upgraded: pg_upgrade puts the WAL of the new cluster at the start of the segment after the
    /// last one of the old (`copy_xact_xlog_xid` in pg_upgrade.c), and keeps the object identifiers of tables.
    UpgradedCopy,
    /// Filled in another way, as far as can be seen: positions of the two have nothing to do with each other.
    Unrelated,
}

fn descent(seen: &Seen<'_>, subscriber: &SubscriberHealth, slot: Option<&Slot>, begin_of_own: Lsn) -> Descent {
    let (one, other) = (&seen.health.publisher.server.facts, &subscriber.server.facts);
    let same_identity = one.system_identifier.is_some() && one.system_identifier == other.system_identifier;
    if same_identity {
        return if one.major() == other.major() { Descent::Copy } else { Descent::UpgradedCopy };
    }
    // Not all of them: a table that was rewritten by hand since, on either side, has a new identifier there. Of databases
    // that were filled in another way, hardly any are the same.
    let namesakes = subscriber.namesakes;
    let same_tables = namesakes.same_oid > 0 && namesakes.same_oid.saturating_mul(2) >= namesakes.count;
    // Of a copy that is younger than the slot, all WAL is, too.
    let too_old = slot.and_then(|slot| slot.confirmed_flush_lsn).is_some_and(|begin| begin_of_own <= begin);
    if same_tables && !too_old { Descent::UpgradedCopy } else { Descent::Unrelated }
}

/// Holds a restore point against what the clone itself has written.
///
/// Only Aurora knows its restore point, and only that proves one. Elsewhere a position can be refuted and never proven:
/// between the restore and what is left of the clone's WAL, the clone has written more - until it was upgraded, and until
/// that was recycled - and no server can tell a position in there from the restore point.
fn own_wal(seen: &Seen<'_>, subscriber: &SubscriberHealth, slot: Option<&Slot>, lsn: Lsn) -> Check {
    let code = Code::RestoreOwnWal;
    let wal = match &subscriber.own_wal {
        Probe::Refused(why) => return Check::refused(code, Side::Subscriber, why).remedy(by_hand(lsn)),
        Probe::Told(wal) => wal,
    };
    let OwnWal { current, redo, oldest_segment, aurora_start } = wal;
    let bad = |evidence: String, threshold: String| {
        Check::new(code, Status::Fix, Side::Subscriber, evidence).threshold(threshold).remedy(SOURCES)
    };
    match aurora_start {
        Some(Probe::Told(start)) if *start == lsn => {
            let evidence =
                format!("proven: aurora_volume_logical_start_lsn() says that the volume was restored to {start}");
            return Check::ok(code, Side::Subscriber, evidence).threshold(format!("{lsn}"));
        }
        Some(Probe::Told(start)) => {
            let evidence = format!("Aurora says that the volume was restored to {start}, not to {lsn}");
            return bad(evidence, start.to_string());
        }
        Some(Probe::Refused(_)) | None => {}
    }
    let oldest = oldest_segment.map_or(*redo, |oldest| oldest.min(*redo));
    let descent = descent(seen, subscriber, slot, oldest);
    // What is known to be the clone's own, and whether the position lies there.
    let (own, inside) = match descent {
        // The restore point can be the redo point of the checkpoint that ended recovery, and shares its segment.
        Descent::Copy => (*redo, lsn > *redo),
        Descent::UpgradedCopy => (oldest, lsn >= oldest),
        Descent::Unrelated => {
            let near = lsn <= *current && current.bytes_since(lsn) <= JUST_READ_BYTES;
            (Lsn(current.0.saturating_sub(JUST_READ_BYTES)), near)
        }
    };
    let threshold = format!("before {own}, where WAL of its own begins at the latest");
    let evidence = format!("the subscriber's own WAL stands at {current}, and covers everything from {own}");
    if inside {
        let rejected = format!("{evidence}: {lsn} was read on the clone itself, after the restore");
        return bad(rejected, threshold);
    }
    let unproven = match descent {
        Descent::Copy | Descent::UpgradedCopy => "the clone may have written that, too, in WAL that is gone by now",
        Descent::Unrelated => {
            "the two servers do not look like a server and its clone, so that positions cannot be compared"
        }
    };
    Check::new(code, Status::Unknown, Side::Subscriber, format!("{evidence}; {lsn} is not part of it, but {unproven}"))
        .threshold(threshold)
        .remedy(by_hand(lsn))
}

/// What a person can see that no server tells.
fn by_hand(lsn: Lsn) -> String {
    format!(
        "check by hand: the log of the clone's very first start after the restore, before the upgrade, must say \"invalid \
         record length at {lsn}\"; pg_current_wal_lsn() of the clone is not the restore point"
    )
}

fn origin(subscriber: &SubscriberHealth, subscription: &SubscriptionHealth, lsn: Lsn) -> Check {
    let code = Code::RestoreOrigin;
    let name = format!("pg_{}", subscription.oid);
    let advance = format!("SELECT pg_replication_origin_advance({}, '{lsn}')", sql::literal(&name));
    let bad = |evidence: String| {
        Check::new(code, Status::Fix, Side::Subscriber, evidence)
            .about(&name)
            .threshold(lsn.to_string())
            .remedy(&*advance)
    };
    match &subscription.origin {
        Probe::Refused(why) => {
            let role = sql::identifier(&subscriber.server.role.name);
            Check::refused(code, Side::Subscriber, why)
                .about(&name)
                .threshold(lsn.to_string())
                .remedy(format!("GRANT EXECUTE ON FUNCTION pg_replication_origin_progress(text, boolean) TO {role}"))
        }
        Probe::Told(None) => {
            bad(format!("origin {name} has not been advanced: everything in the slot would be applied"))
        }
        Probe::Told(Some(at)) if *at == lsn => {
            Check::ok(code, Side::Subscriber, format!("origin {name} stands at {at}")).about(&name)
        }
        Probe::Told(Some(at)) => bad(format!("origin {name} stands at {at}")),
    }
}
