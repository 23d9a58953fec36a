//! What happens on the servers while a verify runs: nobody waits for it, it survives what can be survived, and whatever
//! happens its verdict is never wrong.

use std::time::{Duration, Instant};

use triplecheck_testbed::{Database, ReplicateOptions, Replicated, shared_pair};

use crate::harness::{Verify, disable, wait_for};
use crate::slow::{self, SCANNING, wait_until_scanning};

/// How long anybody may wait for us.
const NOBODY_WAITS: Duration = Duration::from_secs(5);
/// Rows of `slow` that keep its witnesses busy for far longer than [`NOBODY_WAITS`].
const LONG: u32 = 40_000;
/// Rows of `slow` that keep its witnesses busy for long enough to get hold of them.
const SHORT: u32 = 15_000;

/// Runs a statement in a session of its own, and returns how long it took.
async fn timed(database: &Database, sql: &str) -> Duration {
    let client = database.connect().await.unwrap();
    let begun = Instant::now();
    client.batch_execute(sql).await.unwrap();
    begun.elapsed()
}

/// Runs a statement as [`timed`] does once somebody waits for a lock on `slow`, so that it queues up behind.
async fn timed_behind(database: &Database, sql: &str) -> Duration {
    wait_for(database, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = 'slow'::regclass", "t")
        .await;
    timed(database, sql).await
}

#[track_caller]
fn assert_soon(what: &str, took: Duration) {
    assert!(took < NOBODY_WAITS, "{what} took {took:?}");
}

#[tokio::test]
async fn alter_table_gets_through_and_nobody_waits_behind_it() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("alter").await.unwrap();
    slow::create(&database, LONG).await;
    let running = Verify::new(&database).args("-v --jobs 2").start();
    wait_until_scanning(&database.publisher).await;
    let (alter, select) = tokio::join!(
        timed(&database.publisher, "ALTER TABLE slow ADD COLUMN added int"),
        timed_behind(&database.publisher, "SELECT FROM slow LIMIT 1"),
    );
    assert_soon("ALTER TABLE", alter);
    assert_soon("SELECT", select);
    let ran = running.finish().await;
    assert!(ran.stderr.contains("giving way to a session that waits for us"), "it was in nobody's way: {}", ran.stderr);
    // The column is later than the sync point: what was compared there is still the same.
    ran.assert_code(0);
    assert_eq!(ran.tables(), ["public.slow match -", "public.small match -"]);
    assert_eq!(ran.table("slow")["rows"]["publisher"], LONG);
    // The next verify sees it.
    let ran = Verify::new(&database).args("--checks rows").run().await;
    ran.assert_code(3);
    assert_eq!(ran.tables(), ["public.slow unproven column_not_comparable", "public.small match -"]);
    assert!(ran.table("slow")["message"].as_str().unwrap().contains("column added of public.slow"));
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn a_replicated_truncate_gets_through_on_both_sides() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("truncate").await.unwrap();
    slow::create(&database, LONG).await;
    let running = Verify::new(&database).args("-v --jobs 2 --lag-timeout 60s").start();
    tokio::join!(wait_until_scanning(&database.publisher), wait_until_scanning(&database.subscriber));
    let begun = Instant::now();
    let (truncate, insert) = tokio::join!(
        timed(&database.publisher, "TRUNCATE slow"),
        timed_behind(&database.publisher, "INSERT INTO slow (id) VALUES (7)"),
    );
    assert_soon("TRUNCATE", truncate);
    assert_soon("INSERT", insert);
    // The apply worker is somebody as well.
    wait_for(&database.subscriber, "SELECT count(*) FROM slow", "1").await;
    assert_soon("applying TRUNCATE and INSERT", begun.elapsed().saturating_sub(truncate.max(insert)));
    let ran = running.finish().await;
    assert!(ran.stderr.contains("giving way to a session that waits for us"), "it was in nobody's way: {}", ran.stderr);
    // What was begun was thrown away and redone at a later sync point.
    ran.assert_code(0);
    assert_eq!(ran.tables(), ["public.slow match -", "public.small match -"]);
    assert_eq!(ran.table("slow")["rows"], serde_json::json!({"publisher": 1, "subscriber": 1}));
    assert!(ran.json["sync_points"].as_array().unwrap().len() > 1, "{:#}", ran.json["sync_points"]);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn a_table_that_changes_its_shape_before_it_is_read_is_begun_anew() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("reshaped").await.unwrap();
    slow::create(&database, SHORT).await;
    let begun_anew = async |change: &str, sides: &[&Database]| {
        let running = Verify::new(&database).args("--jobs 1 --lag-timeout 60s").start();
        wait_until_scanning(&database.publisher).await;
        wait_until_scanning(&database.subscriber).await;
        for side in sides {
            side.sql(change).await.unwrap();
        }
        running.finish().await
    };
    let (publisher, subscriber) = (&database.publisher, &database.subscriber);
    // To an older snapshot, a table that was rewritten looks empty, on both sides alike.
    for change in
        ["ALTER TABLE small ALTER COLUMN id TYPE bigint", "ALTER TABLE small DROP COLUMN note", "VACUUM FULL small"]
    {
        let ran = begun_anew(change, &[subscriber, publisher]).await;
        ran.assert_code(0);
        assert_eq!(ran.tables(), ["public.slow match -", "public.small match -"], "{change}");
        let small = ran.table("small");
        assert_eq!(small["rows"], serde_json::json!({"publisher": 500, "subscriber": 500}), "{change}");
        assert_eq!(small["sync_points"].as_array().unwrap().last().unwrap(), 2, "{change}: {small}");
    }
    let ran = begun_anew("DROP TABLE small", &[subscriber, publisher]).await;
    ran.assert_code(3);
    assert_eq!(ran.tables(), ["public.slow match -", "public.small unproven changed_meanwhile"]);
    assert!(ran.table("small")["message"].as_str().unwrap().contains("not there"), "{ran:#?}");
    database.assert_nothing_left().await;
}

/// Takes a lock on `small` on the subscriber while `slow` is being read, so that it is in the way later.
async fn lock_small(database: &Replicated) -> tokio_postgres::Client {
    wait_until_scanning(&database.subscriber).await;
    let holder = database.subscriber.connect().await.unwrap();
    holder.batch_execute("BEGIN; LOCK TABLE small IN ACCESS EXCLUSIVE MODE").await.unwrap();
    holder
}

const WAITS_FOR_SMALL: &str = "SELECT count(*) > 0 FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
     WHERE NOT granted AND relation = 'small'::regclass AND application_name LIKE 'triplecheck/scan %'";

#[tokio::test]
async fn a_table_that_is_locked_for_a_while() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("locked_a_while").await.unwrap();
    slow::create(&database, SHORT).await;
    let running = Verify::new(&database).args("--jobs 1").start();
    let holder = lock_small(&database).await;
    wait_for(&database.subscriber, WAITS_FOR_SMALL, "t").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    holder.batch_execute("COMMIT").await.unwrap();
    let ran = running.finish().await;
    ran.assert_code(0);
    assert_eq!(ran.tables(), ["public.slow match -", "public.small match -"]);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn a_table_that_stays_locked() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("locked_for_good").await.unwrap();
    slow::create(&database, SHORT).await;
    let running = Verify::new(&database).args("--jobs 1").start();
    let holder = lock_small(&database).await;
    let ran = running.finish().await;
    ran.assert_code(3);
    assert_eq!(ran.tables(), ["public.slow match -", "public.small unproven kept_blocking"]);
    let message = ran.table("small")["message"].as_str().unwrap();
    assert!(message.contains("public.small on the subscriber") && message.contains("lock timeout"), "{message}");
    holder.batch_execute("COMMIT").await.unwrap();
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn interrupted_it_reports_what_it_knows_and_leaves_nothing() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("interrupted").await.unwrap();
    slow::create(&database, SHORT).await;
    let folder = tempfile::tempdir().unwrap();
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let report = folder.path().join(signal);
        let running = Verify::new(&database).args("--jobs 1 --report-json").arg(report.to_str().unwrap()).start();
        wait_until_scanning(&database.publisher).await;
        let begun = Instant::now();
        running.signal(signal).await;
        let ran = running.finish().await;
        assert_soon("ending", begun.elapsed());
        ran.assert_code(code);
        assert_eq!(ran.json["interrupted"], true);
        assert_eq!(ran.json["verdict"], "unproven");
        assert_eq!(ran.tables()[0], "public.slow unproven interrupted");
        let small = &ran.tables()[1];
        assert!(["public.small unproven interrupted", "public.small match -"].contains(&small.as_str()), "{small}");
        let written = std::fs::read_to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), ran.json);
        database.assert_nothing_left().await;
    }
}

#[tokio::test]
async fn interrupted_while_it_waits_for_the_gate() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("interrupted_early").await.unwrap();
    database.both("CREATE TABLE small (id int PRIMARY KEY)").await.unwrap();
    database.publisher.sql("INSERT INTO small VALUES (1)").await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    disable(&database, &database.subscription_name(), &database.slot_name()).await;
    let running = Verify::new(&database).start();
    let keeper = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'triplecheck/snapshot'";
    wait_for(&database.publisher, keeper, "1").await;
    running.signal("INT").await;
    let ran = running.finish().await;
    ran.assert_code(130);
    assert_eq!(ran.tables(), ["public.small unproven interrupted"]);
    assert_eq!(ran.json["gate"]["reached"], false);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn killed_it_leaves_nothing_either() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("killed").await.unwrap();
    slow::create(&database, SHORT).await;
    let running = Verify::new(&database).args("--jobs 2").start();
    tokio::join!(wait_until_scanning(&database.publisher), wait_until_scanning(&database.subscriber));
    running.signal("KILL").await;
    let begun = Instant::now();
    assert_eq!(running.printed().await.code, None);
    while !database.leftovers().await.unwrap().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", database.leftovers().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn terminate(side: &Database, which: &str) {
    let ended = side.value(&format!("SELECT count(pg_terminate_backend(pid)) FROM {which}")).await.unwrap();
    assert_ne!(ended, "0", "there was nothing to terminate: {which}");
}

#[tokio::test]
async fn a_lost_scan_session_is_replaced() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("lost_scan").await.unwrap();
    slow::create(&database, SHORT).await;
    let running = Verify::new(&database).args("--jobs 1").start();
    for side in [&database.publisher, &database.subscriber] {
        wait_until_scanning(side).await;
        terminate(side, SCANNING).await;
    }
    let ran = running.finish().await;
    ran.assert_code(0);
    assert_eq!(ran.tables(), ["public.slow match -", "public.small match -"]);
    assert_eq!(ran.table("slow")["rows"]["subscriber"], SHORT);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn a_scan_session_that_is_lost_again_and_again_is_given_up() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("lost_scans").await.unwrap();
    slow::create(&database, SHORT).await;
    let mut running = Verify::new(&database).args("--jobs 1").start();
    while running.is_running() {
        let which = format!("SELECT count(pg_terminate_backend(pid)) FROM {SCANNING}");
        database.publisher.value(&which).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let ran = running.finish().await;
    ran.assert_code(3);
    assert_eq!(ran.tables(), ["public.slow unproven connection_lost", "public.small match -"]);
    let message = ran.table("slow")["message"].as_str().unwrap();
    assert!(message.contains("public.slow on the publisher"), "{message}");
    database.assert_nothing_left().await;
}

/// Ends a kind of session while `slow` is being read: the run goes on at another sync point, and comes to the right end.
async fn survives(label: &str, side: fn(&Replicated) -> &Database, role: &str) {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database(label).await.unwrap();
    slow::create(&database, SHORT).await;
    let running = Verify::new(&database).args("--jobs 1 --lag-timeout 30s").start();
    wait_until_scanning(&database.publisher).await;
    let which =
        format!("pg_stat_activity WHERE datname = current_database() AND application_name = 'triplecheck/{role}'");
    terminate(side(&database), &which).await;
    let begun = Instant::now();
    let ran = running.finish().await;
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    ran.assert_code(0);
    assert_eq!(ran.tables(), ["public.slow match -", "public.small match -"]);
    assert_eq!(ran.table("slow")["rows"], serde_json::json!({"publisher": SHORT, "subscriber": SHORT}));
    assert_eq!(ran.json["sync_points"].as_array().unwrap().len(), 2, "{:#}", ran.json["sync_points"]);
    assert!(ran.stderr.contains("lost"), "{}", ran.stderr);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn a_lost_keeper_of_the_publishers_snapshot() {
    survives("lost_keeper_p", |database| &database.publisher, "snapshot").await;
}

#[tokio::test]
async fn a_lost_keeper_of_the_subscribers_snapshot() {
    survives("lost_keeper_s", |database| &database.subscriber, "snapshot").await;
}

#[tokio::test]
async fn a_lost_control_session() {
    survives("lost_control", |database| &database.publisher, "control").await;
}

/// Asserts that the ledger tiles the table, and that each chunk names a sync point of the table; returns how many it names.
fn check_ledger(ledger: &std::path::Path, big: &serde_json::Value, rows: u64) -> usize {
    let mut csv = csv::Reader::from_path(ledger).unwrap();
    let header = csv.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|column| column == name).unwrap();
    let [chunk, point, publisher_rows, verdict] = ["chunk", "sync_point", "publisher_rows", "verdict"].map(column);
    let records: Vec<_> = csv.records().map(Result::unwrap).collect();
    let number = |record: &csv::StringRecord, column: usize| record[column].parse::<u64>().unwrap();
    let chunks: Vec<u64> = records.iter().map(|record| number(record, chunk)).collect();
    assert_eq!(chunks, (0..big["checks"]["rows"]["chunks"].as_u64().unwrap()).collect::<Vec<_>>());
    assert!(records.iter().all(|record| &record[verdict] == "match"));
    assert_eq!(records.iter().map(|record| number(record, publisher_rows)).sum::<u64>(), rows);
    let mut used: Vec<u64> = records.iter().map(|record| number(record, point)).collect();
    used.sort_unstable();
    used.dedup();
    let points = big["sync_points"].as_array().unwrap();
    assert!(used.iter().all(|&id| points.contains(&id.into())), "{used:?} of {points:?}");
    used.len()
}

#[tokio::test]
async fn a_table_that_outlasts_the_snapshots_goes_on_at_the_next_sync_point() {
    const ROWS: u64 = 400_000;
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("age").await.unwrap();
    database.both("CREATE TABLE big (id int PRIMARY KEY, note text)").await.unwrap();
    let fill = format!("INSERT INTO big SELECT i, repeat('x' || i, 15) FROM generate_series(1, {ROWS}) i; ANALYZE big");
    database.publisher.sql(&fill).await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("chunks.csv");
    let mut spread = 0;
    // How much is read in how long depends on the machine: one of these ages makes several sync points of it.
    for age in ["200ms", "400ms", "800ms", "1600ms"] {
        let verify =
            Verify::new(&database).args("--jobs 1 --chunk-rows 4000 --checks count,rows --snapshot-age-max").arg(age);
        let ran = verify.arg("--report-chunks").arg(ledger.to_str().unwrap()).run().await;
        let big = ran.table("big");
        if ran.code == 3 {
            assert_eq!(ran.tables(), ["public.big unproven snapshot_age"]);
            assert!(big["message"].as_str().unwrap().contains("--snapshot-age-max"), "{ran:#?}");
            continue;
        }
        ran.assert_code(0);
        assert_eq!(ran.tables(), ["public.big match -"]);
        assert_eq!(big["rows"], serde_json::json!({"publisher": ROWS, "subscriber": ROWS}));
        let points = ran.json["sync_points"].as_array().unwrap();
        let ids: Vec<_> = points.iter().map(|point| point["id"].clone()).collect();
        // One that took its time to open may be over before anything is read at it.
        assert!(big["sync_points"].as_array().unwrap().iter().all(|id| ids.contains(id)), "{ids:?}");
        spread = spread.max(check_ledger(&ledger, big, ROWS));
    }
    assert!(spread > 1, "no run went over several sync points");

    // A difference at either end is found, whichever sync point reads it.
    database
        .subscriber
        .sql(&format!("DELETE FROM big WHERE id IN (1, {ROWS}); UPDATE big SET note = '' WHERE id = 200000"))
        .await
        .unwrap();
    let ran = Verify::new(&database)
        .args("--jobs 1 --chunk-rows 4000 --checks count,rows --snapshot-age-max 400ms")
        .run()
        .await;
    assert!(matches!(ran.code, 1 | 3), "{ran:#?}");
    if ran.code == 1 {
        let rows = &ran.table("big")["checks"]["rows"];
        assert!(
            rows["missing"].as_u64().unwrap() <= 2 && rows["changed"].as_u64().unwrap() <= 1 && rows["extra"] == 0,
            "{rows}"
        );
    }
    database.assert_nothing_left().await;
}
