//! A healthy pair is left in peace; every defect is seen, and no other.

use super::fixtures::{NOW, OWN_BEGIN, OWN_NOW, RESTORED, SLOT, World};
use crate::catalog::health::*;
use crate::catalog::{Finding, Severity};
use crate::lsn::Lsn;
use crate::run::preflight::outcome::{ProofLevel, Status};
use crate::sql::QualifiedName;

/// What a change to the healthy pair leads to.
fn after(change: impl FnOnce(&mut World)) -> Vec<String> {
    let mut world = World::healthy();
    change(&mut world);
    world.troubles()
}

fn remedy(code: &str, change: impl FnOnce(&mut World)) -> String {
    let mut world = World::healthy();
    change(&mut world);
    world.check(code).remedy.unwrap()
}

#[test]
fn a_healthy_pair_is_left_in_peace() {
    assert_eq!(World::healthy().troubles(), [] as [String; 0]);
    assert_eq!(World::healthy().judged().1.level, ProofLevel::DecodedWindow);
    let mut alone = World::healthy();
    (alone.health.subscriber, alone.schema) = (None, None);
    // Nobody uses the slot yet, as far as can be seen; it is active here.
    assert_eq!(alone.troubles(), [] as [String; 0]);
    assert_eq!(World::restored(RESTORED).troubles(), [] as [String; 0]);
}

#[test]
fn the_remedy_fits_the_kind_of_server() {
    assert_eq!(after(|world| world.set("wal_level", "replica")), ["fix logical_decoding"]);
    assert!(
        remedy("logical_decoding", |world| world.set("wal_level", "replica")).starts_with("ALTER SYSTEM SET wal_level")
    );
    let rds = |value: &'static str| {
        remedy("logical_decoding", move |world| {
            world.set("wal_level", "replica");
            world.set("rds.logical_replication", value);
        })
    };
    assert!(rds("off").contains("rds.logical_replication = 1 in the cluster parameter group"));
    assert!(rds("on").starts_with("reboot"));
    let pending = remedy("logical_decoding", |world| {
        world.set("wal_level", "replica");
        world.health.publisher.server.settings.get_mut("wal_level").unwrap().pending_restart = true;
    });
    assert!(pending.starts_with("restart"));
    let aurora = remedy("slots_capacity", |world| {
        world.health.publisher.server.aurora = Some("14.9".to_owned());
        world.set("max_replication_slots", "1");
    });
    assert!(aurora.contains("parameter group") && !aurora.contains("ALTER SYSTEM"), "{aurora}");
}

#[test]
fn capacity_is_held_against_what_is_needed() {
    let slots = |max: &'static str| after(move |world| world.set("max_replication_slots", max));
    assert_eq!(slots("1"), ["fix slots_capacity"]);
    assert_eq!(slots("2"), ["warn slots_capacity"]);
    assert_eq!(slots("5"), ["warn slots_capacity"]);
    assert_eq!(slots("6"), [] as [String; 0]);
    assert_eq!(after(|world| world.set("max_wal_senders", "1")), ["fix senders_capacity"]);
    let workers = |max: &'static str, used: u64| {
        after(move |world| {
            let health = world.subscriber();
            health.server.settings.get_mut("max_logical_replication_workers").unwrap().value = max.to_owned();
            health.workers = Probe::Told(used);
        })
    };
    assert_eq!(workers("4", 4), ["warn workers_capacity"]);
    assert_eq!(workers("3", 1), ["warn workers_capacity"]);
    assert_eq!(workers("0", 0), ["fix workers_capacity"]);
    assert_eq!(after(|world| world.subscriber().origins = Probe::Told(20)), ["fix origins_capacity"]);
}

#[test]
fn slots_that_are_lost_or_will_be_are_seen() {
    let status = |status: &'static str| after(move |world| world.slot().wal_status = Some(status.to_owned()));
    assert_eq!(status("extended"), [] as [String; 0]);
    assert_eq!(status("unreserved"), ["fix slot_health"]);
    assert_eq!(status("lost"), ["fix slot_health"]);
    assert_eq!(after(|world| world.slot().invalidated = Some("wal_removed".to_owned())), ["fix slot_health"]);
    // A megabyte a second is 3.6 GB an hour.
    let safe = |bytes: i64| after(move |world| world.slot().safe_wal_bytes = Some(bytes));
    assert_eq!(safe(3_600_000_000), ["fix slot_health"]);
    assert_eq!(safe(3_600_000_001), [] as [String; 0]);
    assert_eq!(safe(-5), ["fix slot_health"]);
    let retained = |bytes: u64| after(move |world| world.slot().retained_bytes = Some(bytes));
    assert_eq!(retained(49_999_999_999), [] as [String; 0]);
    assert_eq!(retained(50_000_000_000), ["fix retained_wal"]);
}

#[test]
fn subscriptions_are_seen_through() {
    assert_eq!(after(|world| world.subscription().enabled = false), ["fix subscription_enabled"]);
    assert_eq!(after(|world| world.subscription().worker = None), ["fix subscription_worker"]);
    assert_eq!(after(|world| world.subscription().silent_seconds = Some(44)), [] as [String; 0]);
    assert_eq!(after(|world| world.subscription().silent_seconds = Some(45)), ["fix subscription_worker"]);
    // Without a timeout, nobody asks a publisher that has nothing to say.
    let patient = after(|world| {
        world.subscription().silent_seconds = Some(4000);
        let settings = &mut world.subscriber().server.settings;
        settings.get_mut("wal_receiver_timeout").unwrap().value = "0".to_owned();
    });
    assert_eq!(patient, [] as [String; 0]);
    // A standby has no workers, and counts nothing: what it says of both is nothing about the subscription.
    let standby = after(|world| {
        world.subscriber().server.facts.in_recovery = true;
        (world.subscription().worker, world.subscription().silent_seconds) = (None, None);
    });
    assert_eq!(standby, ["fix subscriber_standby"]);
    assert_eq!(after(|world| world.subscription().errors = Some((1, 0))), ["fix apply_errors"]);
    assert_eq!(after(|world| world.subscription().errors = Some((0, 1))), ["fix apply_errors"]);
    assert_eq!(after(|world| world.subscription().errors = None), ["warn apply_errors"]);
    assert_eq!(after(|world| world.subscription().conflicts = Some(Vec::new())), [] as [String; 0]);
    let conflict = || Some(vec![("update_missing".to_owned(), 3)]);
    assert_eq!(after(|world| world.subscription().conflicts = conflict()), ["fix conflicts"]);
    assert_eq!(after(|world| world.subscription().skip_lsn = Some(NOW)), ["warn skipped_transaction"]);
    let wrong = after(|world| world.subscription().slot = Some("other".to_owned()));
    assert_eq!(wrong, ["warn subscription", "fix subscription_slot", "warn proof_level"]);
    let exhausted = remedy("subscription_worker", |world| {
        world.subscription().worker = None;
        world.subscriber().workers = Probe::Told(4);
    });
    assert!(exhausted.contains("max_logical_replication_workers"), "{exhausted}");
}

#[test]
fn versions_of_extensions_and_collations_are_compared() {
    let extensions =
        |name: &str, version: &str| Probe::Told(vec![Extension { name: name.to_owned(), version: version.to_owned() }]);
    let missing = after(|world| world.subscriber().server.extensions = Probe::Told(Vec::new()));
    assert_eq!(missing, ["fix extension"]);
    assert_eq!(after(|world| world.subscriber().server.extensions = extensions("hstore", "1.7")), ["warn extension"]);
    // What the newer major brings is as it should be.
    let newer = after(|world| world.health.publisher.server.extensions = extensions("hstore", "1.6"));
    assert_eq!(newer, [] as [String; 0]);
    let collation = |recorded: Option<&str>, actual: Option<&str>| {
        Probe::Told(DatabaseCollation {
            provider: "libc".to_owned(),
            locale: "en_US.UTF-8".to_owned(),
            recorded: recorded.map(str::to_owned),
            actual: actual.map(str::to_owned),
        })
    };
    let subscriber = |collation| after(|world| world.subscriber().server.database_collation = collation);
    assert_eq!(subscriber(collation(Some("2.31"), Some("2.36"))), ["fix collation_version"]);
    assert_eq!(subscriber(collation(Some("2.31"), None)), ["fix collation_version"]);
    assert_eq!(subscriber(collation(None, Some("2.36"))), [] as [String; 0]);
    let rebuild = remedy("collation_version", |world| {
        let indexes = ["a", "b\"b"].map(|name| QualifiedName::new("public", name)).into();
        let name = QualifiedName::new("pg_catalog", "en-x-icu");
        let stale = StaleCollation { name, recorded: "1".to_owned(), actual: Some("2".to_owned()), indexes };
        world.health.publisher.server.stale_collations = Probe::Told(vec![stale]);
    });
    let expected = "REINDEX INDEX \"public\".\"a\"; REINDEX INDEX \"public\".\"b\"\"b\"; ALTER COLLATION \
                    \"pg_catalog\".\"en-x-icu\" REFRESH VERSION";
    assert_eq!(rebuild, expected);
    assert_eq!(subscriber(Probe::Refused("no".to_owned())), ["unknown collation_version"]);
    let encoding = after(|world| world.subscriber().server.facts.encoding = "LATIN1".to_owned());
    assert_eq!(encoding, ["warn database_encoding"]);
}

#[test]
fn what_a_server_refuses_is_unknown_and_not_ok() {
    let no = || "permission denied".to_owned();
    assert_eq!(
        after(|world| world.health.publisher.large_objects = Some(Probe::Refused(no()))),
        ["unknown large_objects"]
    );
    assert_eq!(after(|world| world.schema = Some(Probe::Refused(no()))), ["unknown schema"]);
    let hidden = after(|world| world.subscriber().server.role.sees_sessions = false);
    assert_eq!(hidden, ["unknown long_transaction", "warn privilege_monitor", "warn proof_level"]);
    assert_eq!(
        after(|world| world.slot = Some(Probe::Refused(no()))),
        ["unknown privilege_replication", "warn proof_level"]
    );
}

#[test]
fn findings_of_the_schemas_are_told_once() {
    let finding = |code: &str, severity, object: &str| Finding {
        code: code.to_owned(),
        severity,
        object: object.to_owned(),
        message: "message".to_owned(),
        hint: "hint".to_owned(),
    };
    let troubles = after(|world| {
        let orders = "public.orders.added";
        world.schema = Some(Probe::Told(vec![
            finding("column_missing", Severity::Error, orders),
            finding("trigger_fires_on_apply", Severity::Warning, "public.orders"),
            finding("extra_table", Severity::Info, "public.more"),
            finding("unlogged_table", Severity::Warning, "public.scratch"),
        ]));
        let name = QualifiedName::new("public", "scratch");
        world.health.publisher.tables.unlogged = vec![SizedTable { name, bytes: 8192 }];
    });
    assert_eq!(troubles, ["fix unlogged_table", "fix column_missing", "warn trigger_fires_on_apply"]);
}

#[test]
fn each_level_of_proof_has_its_price() {
    let level = |change: fn(&mut World)| {
        let mut world = World::healthy();
        change(&mut world);
        world.judged().1.level
    };
    assert_eq!(level(|world| world.subscriber().server.role.origin_progress = false), ProofLevel::CandidateCut);
    assert_eq!(level(|world| world.subscription().two_phase = true), ProofLevel::CandidateCut);
    let refused = |world: &mut World| world.subscription().origin = Probe::Refused("no".to_owned());
    assert_eq!(level(refused), ProofLevel::CandidateCut);
    assert_eq!(level(|world| world.slot = Some(Probe::Refused("all in use".to_owned()))), ProofLevel::SettledByRecheck);
    assert_eq!(level(|world| world.slot = None), ProofLevel::SettledByRecheck);
    assert_eq!(level(|world| world.health.publisher.server.role.sees_sessions = false), ProofLevel::Quiesced);
    assert_eq!(level(|world| world.subscriber().server.role.sees_sessions = false), ProofLevel::Quiesced);
    let mut rds = World::healthy();
    let role = &mut rds.health.publisher.server.role;
    (role.replication, role.rds) = (false, true);
    rds.slot = None;
    assert_eq!(rds.check("privilege_replication").remedy.unwrap(), "GRANT rds_replication TO \"checker\"");
}

/// What is wrong with a restore point.
fn restored(lsn: Lsn, change: impl FnOnce(&mut World)) -> Vec<String> {
    let mut world = World::restored(lsn);
    change(&mut world);
    world.troubles()
}

#[test]
fn a_restore_point_lies_between_slot_and_publisher() {
    assert_eq!(restored(SLOT, |_| ()), [] as [String; 0]);
    assert_eq!(restored(Lsn(SLOT.0 - 1), |_| ()), ["fix restore_slot"]);
    assert_eq!(restored(Lsn(NOW.0 + 1), |_| ()), ["fix restore_publisher"]);
    // Beyond the publisher it is beyond everything, the clone's own WAL included.
    assert_eq!(elsewhere(Lsn(NOW.0 + 1), |_| ()), ["fix restore_publisher", "fix restore_own_wal"]);
    let origin = |at: Option<Lsn>| restored(RESTORED, move |world| world.subscription().origin = Probe::Told(at));
    assert_eq!(origin(None), ["fix restore_origin"]);
    assert_eq!(origin(Some(SLOT)), ["fix restore_origin"]);
    let mut world = World::restored(RESTORED);
    world.subscription().origin = Probe::Told(None);
    let remedy = world.check("restore_origin").remedy.unwrap();
    assert_eq!(remedy, "SELECT pg_replication_origin_advance('pg_16393', '10/1000000')");
    let refused = restored(RESTORED, |world| world.subscription().origin = Probe::Refused("no".to_owned()));
    assert_eq!(refused, ["unknown restore_origin", "unknown privilege_origin", "warn proof_level"]);
}

/// What is wrong with a restore point where no Aurora tells it.
fn elsewhere(lsn: Lsn, change: impl FnOnce(&mut World)) -> Vec<String> {
    restored(lsn, |world| {
        world.own_wal().aurora_start = None;
        change(world);
    })
}

/// A copy that was not upgraded.
fn copy(world: &mut World) {
    let identity = world.health.publisher.server.facts.system_identifier.clone();
    let facts = &mut world.subscriber().server.facts;
    (facts.system_identifier, facts.version_num) = (identity, 140_001);
}

const REJECTED: [&str; 1] = ["fix restore_own_wal"];
const NOT_PROVEN: [&str; 1] = ["unknown restore_own_wal"];

#[test]
fn a_position_of_the_clones_own_wal_is_no_restore_point() {
    // Read on the upgraded clone: the publisher has long passed it, so only its own WAL tells.
    for lsn in [OWN_BEGIN, Lsn(OWN_BEGIN.0 + 0x100), OWN_NOW, Lsn(OWN_NOW.0 + 0x100_0000)] {
        assert_eq!(elsewhere(lsn, |_| ()), REJECTED, "{lsn}");
    }
    // Without the list of segments, the last checkpoint must do.
    assert_eq!(elsewhere(OWN_NOW, |world| world.own_wal().oldest_segment = None), REJECTED);
    // A plain copy goes on in the very segment in which the publisher's WAL was cut off, after a checkpoint.
    assert_eq!(elsewhere(Lsn(OWN_BEGIN.0 + 0x40_0008), copy), REJECTED);
    // Some tables were rewritten since: it is a copy all the same.
    let same = |same_oid, count| {
        elsewhere(OWN_BEGIN, move |world| world.subscriber().namesakes = Namesakes { count, same_oid })
    };
    assert_eq!(same(2, 3), REJECTED);
    assert_eq!(same(5, 10), REJECTED);
    assert_eq!(same(4, 10), NOT_PROVEN);
    assert_eq!(same(0, 0), NOT_PROVEN);
    // Filled in another way: positions have nothing to do with each other, unless it was read there just now.
    let filled = |lsn| elsewhere(lsn, |world| world.subscriber().namesakes.same_oid = 0);
    assert_eq!(filled(OWN_NOW), REJECTED);
}

#[test]
fn what_is_only_not_refuted_is_not_proven() {
    // The true one, what the clone wrote before it was upgraded, what it wrote and has recycled since: all look alike.
    for lsn in [RESTORED, Lsn(RESTORED.0 + 8), Lsn(OWN_BEGIN.0 - 8)] {
        assert_eq!(elsewhere(lsn, |_| ()), NOT_PROVEN, "{lsn}");
        assert_eq!(elsewhere(lsn, |world| world.own_wal().oldest_segment = None), NOT_PROVEN, "{lsn}");
        assert_eq!(elsewhere(lsn, |world| world.subscriber().namesakes.same_oid = 0), NOT_PROVEN, "{lsn}");
    }
    // Of a plain copy, the last checkpoint may be any: its redo point, and all before it, may be the clone's own.
    for lsn in [RESTORED, OWN_BEGIN, Lsn(OWN_BEGIN.0 + 0x40_0000)] {
        assert_eq!(elsewhere(lsn, copy), NOT_PROVEN, "{lsn}");
    }
    let refused = elsewhere(RESTORED, |world| world.subscriber().own_wal = Probe::Refused("no".to_owned()));
    assert_eq!(refused, NOT_PROVEN);
    let mut world = World::restored(RESTORED);
    world.own_wal().aurora_start = None;
    let remedy = world.check("restore_own_wal").remedy.unwrap();
    assert!(remedy.contains(&format!("invalid record length at {RESTORED}")), "{remedy}");
}

#[test]
fn aurora_knows_its_restore_point() {
    let told = |start: Probe<Lsn>, lsn| restored(lsn, |world| world.own_wal().aurora_start = Some(start));
    assert_eq!(told(Probe::Told(RESTORED), RESTORED), [] as [String; 0]);
    assert_eq!(told(Probe::Told(RESTORED), Lsn(RESTORED.0 + 8)), REJECTED);
    assert_eq!(told(Probe::Refused("no".to_owned()), RESTORED), NOT_PROVEN);
    assert_eq!(told(Probe::Refused("no".to_owned()), OWN_NOW), REJECTED);
    let evidence = World::restored(RESTORED).check("restore_own_wal").evidence;
    assert!(evidence.starts_with("proven: aurora_volume_logical_start_lsn() says"), "{evidence}");
}

#[test]
fn a_subscription_that_is_about_to_be_enabled_is_disabled_and_on_its_slot() {
    assert_eq!(restored(RESTORED, |world| world.subscription().enabled = true), ["fix restore_subscription"]);
    assert_eq!(restored(RESTORED, |world| world.slot().active = true), ["fix restore_subscription"]);
    let plugin = restored(RESTORED, |world| world.slot().plugin = Some("test_decoding".to_owned()));
    assert_eq!(plugin, ["fix restore_subscription"]);
    let mut world = World::restored(RESTORED);
    world.subscription().slot = Some("other".to_owned());
    let check = world.check("restore_subscription");
    assert_eq!(check.status, Status::Fix);
    assert_eq!(check.remedy.unwrap(), "ALTER SUBSCRIPTION \"upgrade_sub\" SET (slot_name = 'upgrade_slot')");
    let none = restored(RESTORED, |world| world.subscriber().subscriptions.clear());
    assert!(none.contains(&"fix restore_subscription".to_owned()), "{none:?}");
}
