//! Drilling into chunks that hold many rows, in little memory.

use std::time::Duration;

use triplecheck_testbed::shared_pair;

use crate::harness::Verify;
use crate::lines;

/// Two looks at the memory of a run.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// What the README promises.
const MEMORY_KIB_MAX: u64 = 64 * 1024;

#[tokio::test]
async fn many_equal_rows_without_a_key() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("drill_equal").await.unwrap();
    let create = "CREATE TABLE events (what text, amount integer);
        INSERT INTO events SELECT 'the same', 7 FROM generate_series(1, 600000);
        INSERT INTO events SELECT 'event ' || i, i FROM generate_series(1, 5) i;
        ANALYZE events";
    database.both(create).await.unwrap();
    let damage = "DELETE FROM events WHERE ctid = (SELECT min(ctid) FROM events WHERE amount = 7);
        INSERT INTO events VALUES ('new', 8)";
    database.subscriber.sql(damage).await.unwrap();

    let mut running = Verify::new(&database).args("--gate none --checks rows").start();
    let mut memory = 0;
    while running.is_running() {
        memory = running.memory_peak_kib().unwrap_or(memory);
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    let ran = running.finish().await;
    assert_eq!(lines::differences(&ran), ["events extra keyless", "events missing keyless"]);
    let rows = &ran.table("events")["checks"]["rows"];
    assert_eq!([&rows["missing"], &rows["extra"], &rows["changed"]], [1, 1, 0]);
    ran.assert_code(1);
    assert!(memory > 0 && memory < MEMORY_KIB_MAX, "{memory} KiB");
    database.assert_nothing_left().await;
}
