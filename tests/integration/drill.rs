//! Drilling into chunks that hold many rows, in little memory.

use std::time::Duration;

use triplecheck_testbed::shared_pair;

use crate::harness::{Ran, Verify};
use crate::lines;

/// Between two looks at the memory of a run.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// What may be used, whatever the table.
const MEMORY_KIB_MAX: u64 = 64 * 1024;

/// Runs it, and looks at its memory meanwhile.
async fn in_little_memory(verify: Verify) -> Ran {
    let mut running = verify.start();
    let mut peak = 0;
    while running.is_running() {
        peak = running.memory_peak_kib().unwrap_or(peak);
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    let ran = running.finish().await;
    assert!(peak > 0 && peak < MEMORY_KIB_MAX, "{peak} KiB");
    ran
}

#[track_caller]
fn assert_rows(ran: &Ran, table: &str, missing_extra_changed: [u64; 3]) {
    let rows = &ran.table(table)["checks"]["rows"];
    assert_eq!(["missing", "extra", "changed"].map(|kind| lines::number(&rows[kind])), missing_extra_changed);
    ran.assert_code(1);
}

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

    let ran = in_little_memory(Verify::new(&database).args("--gate none --checks rows")).await;
    assert_eq!(lines::differences(&ran), ["events extra keyless", "events missing keyless"]);
    assert_rows(&ran, "events", [1, 1, 0]);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn one_chunk_of_many_different_rows() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("drill_different").await.unwrap();
    let create = "CREATE TABLE keyless (what text, amount integer);
        CREATE TABLE keyed (id integer PRIMARY KEY, what text);
        INSERT INTO keyless SELECT 'event ' || i, i FROM generate_series(1, 400000) i;
        INSERT INTO keyed SELECT i, 'event ' || i FROM generate_series(1, 400000) i;
        ANALYZE keyless, keyed";
    database.both(create).await.unwrap();
    let damage = "DELETE FROM keyless WHERE amount IN (7, 399999);
        INSERT INTO keyless VALUES ('new', 8), ('new', 8), ('new', 8);
        DELETE FROM keyed WHERE id IN (7, 399999);
        UPDATE keyed SET what = 'new' WHERE id % 100000 = 8";
    database.subscriber.sql(damage).await.unwrap();

    let ran = in_little_memory(Verify::new(&database).args("--gate none --checks rows --chunk-rows 10000000")).await;
    let missing = |table: &str, row: &str| format!("{table} missing {row}");
    let changed = |id: u32| format!("keyed changed id={id} [what]");
    let mut expected = vec![missing("keyed", "id=7"), missing("keyed", "id=399999")];
    expected.extend([8, 100_008, 200_008, 300_008].map(changed));
    expected.extend([missing("keyless", "keyless"), missing("keyless", "keyless")]);
    expected.extend(["keyless extra keyless"; 3].map(str::to_owned));
    expected.sort();
    assert_eq!(lines::differences(&ran), expected);
    assert_rows(&ran, "keyless", [2, 3, 0]);
    assert_rows(&ran, "keyed", [2, 0, 4]);
    database.assert_nothing_left().await;
}

/// What ANALYZE has seen were a few wide rows: many more keys come than a sample of them was to have.
#[tokio::test]
async fn keys_of_a_table_that_was_taken_for_a_small_one() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("drill_sampled").await.unwrap();
    let create = "CREATE TABLE grown (id bigint PRIMARY KEY, what text) WITH (autovacuum_enabled = false);
        ALTER TABLE grown ALTER COLUMN what SET STORAGE PLAIN;
        INSERT INTO grown SELECT -i, repeat('x', 6000) FROM generate_series(1, 100) i;
        ANALYZE grown;
        DELETE FROM grown;
        INSERT INTO grown SELECT i, 'x' FROM generate_series(1, 600000) i";
    database.both(create).await.unwrap();
    database.subscriber.sql("DELETE FROM grown WHERE id = 7").await.unwrap();

    let ran = in_little_memory(Verify::new(&database).args("--gate none --checks rows --chunk-rows 2")).await;
    assert_eq!(lines::differences(&ran), ["grown missing id=7"]);
    assert_rows(&ran, "grown", [1, 0, 0]);
    let chunks = lines::number(&ran.table("grown")["checks"]["rows"]["chunks"]);
    assert!((1000..=4096).contains(&chunks), "{chunks}");
    database.assert_nothing_left().await;
}
