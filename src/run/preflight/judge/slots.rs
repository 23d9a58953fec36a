//! Slots, the WAL that they keep, and how fast it grows.

use std::time::Duration;

use super::{Seen, set_and_reload};
use crate::catalog::health::{Probe, Slot};
use crate::run::figures::{bytes, duration};
use crate::run::preflight::code::Code;
use crate::run::preflight::outcome::{Check, Status};
use crate::side::Side;
use crate::sql;

/// How long the WAL that a slot may still lose must last at the measured rate: time to be woken up and to react.
const HEADROOM: Duration = Duration::from_secs(60 * 60);

pub(super) fn judge(seen: &Seen<'_>, checks: &mut Vec<Check>) {
    match &seen.health.publisher.slots {
        // The refusal itself is told where the capacity is.
        Probe::Refused(_) => {}
        Probe::Told(slots) => {
            for slot in slots.iter().filter(|slot| !slot.temporary) {
                checks.push(health(seen, slot));
                checks.push(retained(seen, slot));
                checks.extend(unused(seen, slot));
            }
        }
    }
    checks.push(rate(seen));
}

fn health(seen: &Seen<'_>, slot: &Slot) -> Check {
    let code = Code::SlotHealth;
    let drop = format!("SELECT pg_drop_replication_slot({})", sql::literal(&slot.name));
    let threshold = format!("all WAL that it needs, and room for {} more", duration(HEADROOM));
    let bad = |status, evidence: String| {
        Check::new(code, status, Side::Publisher, evidence).about(&slot.name).threshold(threshold.clone())
    };
    let server = &seen.health.publisher.server;
    let keep = |then| set_and_reload(server, "max_slot_wal_keep_size", -1, then);
    let lost = slot.wal_status.as_deref() == Some("lost");
    if let Some(why) = slot.invalidated.as_deref().or_else(|| lost.then_some("the WAL that it needs is gone")) {
        let over = "what it had to send is lost: start over with a new slot and a new copy";
        return bad(Status::Fix, format!("lost: {why}")).remedy(sql::noted(&drop, over));
    }
    let status = slot.wal_status.as_deref().unwrap_or("not told before 13");
    let evidence = format!("wal_status is {status}");
    if status == "unreserved" {
        return bad(Status::Fix, format!("{evidence}: the next checkpoint may remove what it needs"))
            .remedy(keep("and let its subscriber catch up at once"));
    }
    let Some(safe) = slot.safe_wal_bytes else {
        return Check::ok(code, Side::Publisher, format!("{evidence}; no limit to what it keeps")).about(&slot.name);
    };
    let safe = u64::try_from(safe).unwrap_or(0);
    let evidence = format!("{evidence}; {} may be written until it is lost", bytes(safe));
    if safe <= seen.wal.bytes_in(HEADROOM) {
        let written = bytes(seen.wal.bytes_in(HEADROOM));
        return bad(Status::Fix, format!("{evidence}, and {written} are written in {}", duration(HEADROOM)))
            .remedy(keep("or let its subscriber catch up"));
    }
    Check::ok(code, Side::Publisher, evidence).about(&slot.name)
}

fn retained(seen: &Seen<'_>, slot: &Slot) -> Check {
    let code = Code::RetainedWal;
    let Some(retained) = slot.retained_bytes else {
        return Check::ok(code, Side::Publisher, "keeps no WAL").about(&slot.name);
    };
    let evidence = format!("keeps {} of WAL", bytes(retained));
    if retained < seen.retained_bytes {
        return Check::ok(code, Side::Publisher, evidence).about(&slot.name);
    }
    Check::new(code, Status::Fix, Side::Publisher, evidence)
        .about(&slot.name)
        .threshold(format!("less than {}", bytes(seen.retained_bytes)))
        .remedy("let its subscriber catch up, give the disk more room, or take the copy sooner")
}

fn unused(seen: &Seen<'_>, slot: &Slot) -> Option<Check> {
    let fed = seen.fed().any(|subscription| subscription.slot.as_ref() == Some(&slot.name));
    if slot.active || fed || !slot.logical || !slot.own_database {
        return None;
    }
    let kept = bytes(slot.retained_bytes.unwrap_or(0));
    let evidence = format!("nobody reads it, and it keeps {kept} of WAL");
    let drop = format!("SELECT pg_drop_replication_slot({})", sql::literal(&slot.name));
    let check = Check::new(Code::SlotUnused, Status::Warn, Side::Publisher, evidence).about(&slot.name);
    Some(check.threshold("a subscription that uses it").remedy(sql::noted(&drop, "unless a subscription is to use it")))
}

fn rate(seen: &Seen<'_>) -> Check {
    let wal = seen.wal;
    let in_time = |seconds| bytes(wal.bytes_in(Duration::from_secs(seconds)));
    let mut evidence = format!(
        "{} in {}: {} a minute, {} an hour",
        bytes(wal.bytes),
        duration(Duration::from_millis(wal.interval_ms)),
        in_time(60),
        in_time(3600)
    );
    if let Some(size) = seen.health.publisher.database_bytes.told() {
        evidence.push_str(&format!("; the database has {}", bytes(*size)));
    }
    Check::ok(Code::WalRate, Side::Publisher, evidence)
}
