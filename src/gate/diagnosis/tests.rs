//! What is found in states of replication that went wrong, and in those that did not.

use super::*;
use crate::catalog::Feed;
use crate::gate::health::{Worker, Workers};

/// Everything is in order, 100 bytes behind.
fn healthy() -> Health {
    let slot = SlotHealth {
        active: true,
        wal_status: Some("reserved".into()),
        confirmed: Some(Lsn(900)),
        replay: Some(Lsn(900)),
        sent: Some(Lsn(1000)),
        ..SlotHealth::default()
    };
    let worker = Worker { pid: 77, received: Some(Lsn(1000)), silent_ms: Some(10), transaction: None };
    let subscription = SubscriptionHealth {
        enabled: true,
        worker: Some(worker),
        copied: true,
        apply_errors: Some(0),
        ..SubscriptionHealth::default()
    };
    Health {
        insert: Lsn(1000),
        flushed: Lsn(1000),
        feeds: vec![FeedHealth {
            feed: Feed { oid: 16_385, name: "s".into(), slot: "s".into() },
            slot: Slot::There(slot),
            subscription: Some(subscription),
        }],
        writers: vec![],
        workers: Workers { in_use: 1, limit: 4, receiver_timeout_ms: Some(60_000) },
    }
}

fn still() -> Motion {
    Motion { watched: true, still: Some(Duration::from_secs(10)), ..Motion::default() }
}

fn slot(health: &mut Health) -> &mut SlotHealth {
    match &mut health.feeds[0].slot {
        Slot::There(slot) => slot,
        Slot::Missing { .. } => panic!("a slot"),
    }
}

fn subscription(health: &mut Health) -> &mut SubscriptionHealth {
    health.feeds[0].subscription.as_mut().unwrap()
}

fn found(health: &Health, motion: &Motion) -> Vec<String> {
    let causes = of_feed(health, &health.feeds[0], motion);
    causes.iter().map(|cause| format!("{:?} {}", cause.severity, cause.code)).collect()
}

fn with(change: impl FnOnce(&mut Health)) -> Health {
    let mut health = healthy();
    change(&mut health);
    health
}

#[test]
fn nothing_is_wrong() {
    assert!(found(&healthy(), &Motion::default()).is_empty());
    // Errors of long ago, and of somebody else, are not what holds it up now.
    let past = with(|health| subscription(health).apply_errors = Some(3));
    let moving = Motion { in_transaction: Some(Duration::from_secs(5)), ..Motion::default() };
    assert_eq!(found(&past, &moving), ["Info apply_errors"]);
    assert_eq!(found(&healthy(), &still()), ["Warning unexplained"]);
}

#[test]
fn what_follows_from_a_cause_is_information() {
    let disabled = with(|health| {
        slot(health).active = false;
        subscription(health).enabled = false;
        subscription(health).worker = None;
    });
    assert_eq!(found(&disabled, &still()), ["Error subscription_disabled", "Info slot_inactive"]);
    let absent = with(|health| {
        slot(health).active = false;
        subscription(health).worker = None;
    });
    assert_eq!(found(&absent, &still()), ["Error worker_absent", "Info slot_inactive"]);
    let failing = Motion { new_errors: true, ..still() };
    let errors = with(|health| {
        slot(health).active = false;
        subscription(health).worker = None;
        subscription(health).apply_errors = Some(7);
    });
    assert_eq!(found(&errors, &failing), ["Error apply_errors", "Info worker_absent", "Info slot_inactive"]);
    let exhausted = with(|health| {
        subscription(health).worker = None;
        health.workers.in_use = 4;
    });
    assert_eq!(found(&exhausted, &still()), ["Error workers_exhausted", "Info worker_absent"]);
}

#[test]
fn slots_that_are_not_the_right_ones() {
    let wrong = with(|health| {
        health.feeds[0].slot = Slot::Missing { instead: None, spare: vec!["upgrade slot".into()] };
        subscription(health).worker = None;
    });
    assert_eq!(found(&wrong, &Motion::default()), ["Error wrong_slot", "Info worker_absent"]);
    let causes = of_feed(&wrong, &wrong.feeds[0], &Motion::default());
    assert!(causes[0].remedy.contains(r#"ALTER SUBSCRIPTION "s" SET (slot_name = 'upgrade slot')"#), "{causes:?}");
    let lost = with(|health| slot(health).wal_status = Some("lost".into()));
    assert_eq!(found(&lost, &still()), ["Error slot_lost"]);
    let inactive = with(|health| slot(health).active = false);
    assert_eq!(found(&inactive, &still()), ["Error another_publisher", "Info slot_inactive"]);
    let beyond = with(|health| subscription(health).worker.as_mut().unwrap().received = Some(Lsn(1001)));
    assert_eq!(found(&beyond, &Motion::default()), ["Error another_publisher"]);
}

#[test]
fn an_origin_that_was_forgotten() {
    let forgotten = with(|health| {
        slot(health).active = false;
        let subscription = subscription(health);
        (subscription.enabled, subscription.worker, subscription.copied) = (false, None, false);
        subscription.origin = Origin::Unset;
    });
    assert_eq!(
        found(&forgotten, &Motion::default()),
        ["Error subscription_disabled", "Warning origin_not_advanced", "Info slot_inactive"]
    );
    let missing = with(|health| subscription(health).origin = Origin::Missing);
    assert_eq!(found(&missing, &Motion::default()), ["Error origin_missing"]);
}

#[test]
fn a_worker_that_waits_works_or_hears_nothing() {
    let wait = Wait {
        worker: 77,
        kind: "relation".into(),
        table: Some("public.t".into()),
        blocker: 99,
        application: Some("psql".into()),
        state: None,
        seconds: Some(12),
    };
    let blocked = with(|health| {
        subscription(health).waits = vec![wait];
        subscription(health).worker.as_mut().unwrap().silent_ms = Some(90_000);
    });
    assert_eq!(found(&blocked, &still()), ["Error apply_blocked"]);
    let causes = of_feed(&blocked, &blocked.feeds[0], &still());
    assert_eq!(
        causes[0].evidence,
        "worker 77 waits for a lock on public.t, held by process 99 (psql, for 12 s) of the subscriber"
    );
    let prepared = with(|health| {
        let wait = Wait { blocker: 0, ..blocked.feeds[0].subscription.as_ref().unwrap().waits[0].clone() };
        subscription(health).waits = vec![wait];
    });
    assert!(of_feed(&prepared, &prepared.feeds[0], &still())[0].remedy.contains("ROLLBACK PREPARED"));
    // It waits now and then while it moves: that is no cause.
    let moving = Motion { watched: true, ..Motion::default() };
    assert!(found(&blocked, &moving).is_empty());

    let silent = |ms| with(|health| subscription(health).worker.as_mut().unwrap().silent_ms = Some(ms));
    assert_eq!(found(&silent(45_001), &still()), ["Error network_silence"]);
    assert_eq!(found(&silent(45_000), &still()), ["Warning unexplained"]);
    // One that has no timeout waits longer.
    let mut patient = silent(60_000);
    patient.workers.receiver_timeout_ms = Some(0);
    assert_eq!(found(&patient, &still()), ["Warning unexplained"]);
    patient = silent(60_001);
    patient.workers.receiver_timeout_ms = Some(0);
    assert_eq!(found(&patient, &still()), ["Error network_silence"]);
    let connecting = with(|health| {
        slot(health).active = false;
        let worker = subscription(health).worker.as_mut().unwrap();
        (worker.received, worker.silent_ms) = (None, Some(2_000));
    });
    assert_eq!(found(&connecting, &still()), ["Error network_silence", "Info slot_inactive"]);
    assert_eq!(found(&connecting, &Motion::default()), ["Error slot_inactive"]);
    let busy = with(|health| {
        let worker = subscription(health).worker.as_mut().unwrap();
        (worker.silent_ms, worker.transaction) = (Some(90_000), Some("740".into()));
    });
    let applying = Motion { in_transaction: Some(Duration::from_secs(9)), ..still() };
    assert_eq!(found(&busy, &applying), ["Warning large_transaction"]);
    assert_eq!(found(&healthy(), &Motion { newly_spilled: 5, ..still() }), ["Warning large_transaction"]);
}

#[test]
fn who_is_the_slower_one() {
    let motion = Motion { falling_behind: Some((10, 5)), ..Motion::default() };
    let evidence = |health: &Health| of_feed(health, &health.feeds[0], &motion).remove(0).evidence;
    assert!(evidence(&healthy()).contains("100 bytes are sent and not yet applied"));
    let unsent = with(|health| {
        slot(health).sent = Some(Lsn(900));
        slot(health).sender_waits = Some("Client/WalSenderWriteData".into());
    });
    assert!(evidence(&unsent).contains("100 bytes are not yet sent, and the walsender waits"));
    assert_eq!(found(&healthy(), &motion), ["Warning falling_behind"]);
}

#[test]
fn transactions_of_the_publisher() {
    let session = |seconds| Writer::Session { pid: 5, state: Some("idle in transaction".into()), seconds };
    let writers = [session(Some(59)), session(Some(60)), session(None), Writer::Prepared { gid: "g".into() }];
    let codes = |for_long| of_writers(&writers, for_long).iter().map(|cause| cause.code.clone()).collect::<Vec<_>>();
    assert_eq!(codes(Some(Duration::from_secs(60))), ["long_transaction", "prepared_transaction"]);
    assert_eq!(codes(None).len(), 4);
}
