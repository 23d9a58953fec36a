//! What a sync point holds back is watched while it is open.

use std::time::Duration;

use triplecheck_testbed::{Pair, PairOptions};

use crate::harness::{Verify, disable, wait_for};
use crate::slow;

const WAITS_FOR_SMALL: &str = "SELECT count(*) > 0 FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
     WHERE NOT granted AND relation = 'small'::regclass AND application_name LIKE 'triplecheck/scan %'";

/// Transactions go on while a table is read, and the publisher comes to where it would remove WAL that the subscription needs.
#[tokio::test]
async fn a_slot_that_gets_into_danger_ends_the_sync_point_early() {
    let pair = Pair::start(14, 16, PairOptions::default()).await.unwrap();
    let database = pair.database("holding").await.unwrap();
    slow::create(&database, 2_000).await;
    database.publisher.sql("CREATE UNLOGGED TABLE noise (id int)").await.unwrap();
    let running = Verify::new(&database).args("-v --jobs 1 --lag-timeout 2s --scope published").start();
    slow::wait_until_scanning(&database.subscriber).await;
    // It waits for this one until it gives up, a few times.
    let holder = database.subscriber.connect().await.unwrap();
    holder.batch_execute("BEGIN; LOCK TABLE small IN ACCESS EXCLUSIVE MODE").await.unwrap();
    wait_for(&database.subscriber, WAITS_FOR_SMALL, "t").await;
    for id in 0..20 {
        database.publisher.sql(&format!("INSERT INTO noise VALUES ({id})")).await.unwrap();
    }
    disable(&database, &database.subscription_name(), &database.slot_name()).await;
    database.publisher.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'").await.unwrap();
    database.publisher.sql("SELECT pg_reload_conf()").await.unwrap();
    for id in 0..3 {
        database.publisher.sql(&format!("INSERT INTO noise VALUES ({id})")).await.unwrap();
        database.publisher.sql("SELECT pg_switch_wal()").await.unwrap();
    }
    let status = format!("SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{}'", database.slot_name());
    wait_for(&database.publisher, &status, "unreserved").await;
    let ran = running.finish().await;
    holder.batch_execute("COMMIT").await.unwrap();
    // The next sync point waits for the subscription, which is disabled.
    assert_eq!((ran.code, ran.tables()[1].as_str()), (3, "public.small unproven gate_not_reached"), "{ran:#?}");
    let point = &ran.json["sync_points"][0];
    let why = point["ended_early"].as_str().unwrap_or_else(|| panic!("{ran:#?}"));
    assert!(why.contains("wal_status unreserved"), "{why}");
    assert!(ran.stderr.contains("the sync point ends early"), "{}", ran.stderr);
    assert!(point["held_ms"].as_u64().unwrap() < Duration::from_secs(60).as_millis() as u64, "{point}");
    assert!(point["decoded_bytes"].is_u64(), "{point}");
    let held = &point["held"];
    assert_eq!(held["wal_status"], "unreserved", "{held}");
    assert!(held["retained_bytes"].as_u64().unwrap() > 16 << 20, "{held}");
    assert!(held["publisher_xids"].as_u64().unwrap() >= 20, "{held}");
    assert!(held["subscriber_xids"].is_u64(), "{held}");
    database.assert_nothing_left().await;
}
