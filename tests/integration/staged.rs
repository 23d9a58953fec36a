//! The seven corrections of the live recipe: each naive rule, written here, errs on real servers where `verify --gate live`
//! does not.
//!
//! A commit that waits for a standby which does not exist (SyncRep) is written, decodable and applied, but not visible:
//! that holds open what is otherwise a matter of microseconds.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_postgres::{Client, SimpleQueryMessage};
use triplecheck_testbed::{Database, Pair, PairOptions, ReplicateOptions, Replicated, Server};

use crate::harness::{Ran, Running, Verify, wait_for};
use crate::proxy::Proxy;
use crate::slow;

/// Longer than any of these verifies has to wait for.
const PATIENT: &str = "--gate live --scope published --jobs 2 --lag-timeout 60s";
/// How long a naive rule is watched as it waits for nothing.
const WATCHED: Duration = Duration::from_secs(2);
/// For the gate to come to where it waits next, after it was seen where it was before.
const A_MOMENT: Duration = Duration::from_millis(800);
const WAL_SEGMENT_BYTES: u64 = 16 << 20;

/// Servers of the test's own: a test that fails while commits are stalled must not stall others.
pub(crate) async fn servers() -> Pair {
    Pair::start(14, 16, PairOptions::default()).await.unwrap()
}

/// 200 orders and an empty table for those that are to be held up, replicated.
pub(crate) async fn orders(pair: &Pair, label: &str, subscription_with: &str) -> Replicated {
    let database = pair.database(label).await.unwrap();
    let schema = "CREATE TABLE orders (id int PRIMARY KEY, note text); CREATE TABLE held (id int PRIMARY KEY); \
                  CREATE TABLE held_too (id int PRIMARY KEY)";
    database.both(schema).await.unwrap();
    let fill =
        "INSERT INTO orders SELECT i, 'order ' || i FROM generate_series(1, 200) i; CREATE TABLE unpublished (id int)";
    database.publisher.sql(fill).await.unwrap();
    let options = ReplicateOptions {
        publish: "FOR TABLE orders, held, held_too".to_owned(),
        subscription_with: subscription_with.to_owned(),
        ..ReplicateOptions::default()
    };
    database.replicate(options).await.unwrap();
    database
}

/// Whether commits of this server wait for a standby that never comes.
pub(crate) async fn stall_commits(server: &Server, stalled: bool) {
    let postgres = server.database("postgres");
    let setting = if stalled { "SET synchronous_standby_names = 'nobody'" } else { "RESET synchronous_standby_names" };
    // ALTER SYSTEM commits nothing itself.
    postgres.sql(&format!("ALTER SYSTEM {setting}")).await.unwrap();
    postgres.sql("SELECT pg_reload_conf()").await.unwrap();
    wait_for(&postgres, "SELECT current_setting('synchronous_standby_names')", if stalled { "nobody" } else { "" })
        .await;
    // The checkpointer tells everybody else, in its own time.
    tokio::time::sleep(A_MOMENT).await;
}

const STALLED: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND datname = current_database()";

/// The process of a session whose commit is stalled, and the task that waits for it.
pub(crate) type Stalled = (i32, JoinHandle<()>);

/// A statement in a session of its own, which will be stalled in its commit. Returns the session's pid.
pub(crate) async fn stalled(database: &Database, sql: &str, others: u32) -> Stalled {
    let sql = sql.to_owned();
    let client = database.connect().await.unwrap();
    let pid = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let task = tokio::spawn(async move { client.batch_execute(&sql).await.unwrap() });
    wait_for(database, STALLED, &(others + 1).to_string()).await;
    (pid, task)
}

/// Ends the wait of a stalled commit, which is visible from then on.
pub(crate) async fn unstall(database: &Database, (pid, task): Stalled) {
    database.sql(&format!("SELECT pg_cancel_backend({pid})")).await.unwrap();
    task.await.unwrap();
}

/// The rows of all statements of a batch.
async fn ask(client: &Client, sql: &str) -> Vec<Vec<Option<String>>> {
    let messages = client.simple_query(sql).await.unwrap();
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|n| row.get(n).map(str::to_owned)).collect()),
        _ => None,
    });
    rows.collect()
}

fn text(row: &[Option<String>], column: usize) -> &str {
    row[column].as_deref().unwrap()
}

fn position(lsn: &str) -> u64 {
    let (high, low) = lsn.split_once('/').unwrap();
    let half = |text| u64::from_str_radix(text, 16).unwrap();
    half(high) << 32 | half(low)
}

async fn written(database: &Database) -> u64 {
    position(&database.value("SELECT pg_current_wal_insert_lsn()").await.unwrap())
}

/// Waits until the gate of a verify has kept its snapshot on the publisher for a while: it waits for replay.
async fn wait_for_snapshot(database: &Replicated) {
    let kept = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction' \
                AND application_name = 'triplecheck/snapshot' AND xact_start < clock_timestamp() - interval '0.7 s'";
    wait_for(&database.publisher, kept, "1").await;
}

async fn wait_for_slot(database: &Replicated) {
    let slot = "SELECT count(*) > 0 FROM pg_replication_slots WHERE temporary AND database = current_database() \
                AND slot_name LIKE 'triplecheck%'";
    wait_for(&database.publisher, slot, "t").await;
    tokio::time::sleep(A_MOMENT).await;
}

/// Everything is equal, proven exactly.
#[track_caller]
fn assert_match(ran: &Ran, proof: &str) {
    ran.assert_code(0);
    assert!(ran.json["sync_points"][0]["proof"].as_str().unwrap().starts_with(proof), "{ran:#?}");
    assert!(ran.tables().iter().all(|table| table.ends_with(" match -")), "{ran:#?}");
}

/// A lock on the subscriber that lets reads pass, and holds up what replication writes to the table.
async fn hold_up(database: &Replicated, table: &str) -> Client {
    let client = database.subscriber.connect().await.unwrap();
    client.batch_execute(&format!("BEGIN; LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")).await.unwrap();
    client
}

const HELD_UP: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";

/// A verify that is held up where its slot is there, but its snapshot is not.
///
/// The gate lets replication catch up before it makes the slot, so that it has to be held up later: by a transaction that
/// is stalled in its commit on the publisher since before, and that P has to show.
pub(crate) struct BeforeSnapshot {
    pub(crate) running: Running,
    pub(crate) stalled: Stalled,
}

/// Starts a verify that waits between slot and snapshot. A row comes into the table.
pub(crate) async fn before_snapshot(pair: &Pair, database: &Replicated, table: &str, verify: Verify) -> BeforeSnapshot {
    stall_commits(&pair.publisher, true).await;
    let stalled = stalled(
        &database.publisher,
        &format!("INSERT INTO {table} (id) SELECT coalesce(max(id), 0) + 1 FROM {table}"),
        0,
    )
    .await;
    let running = verify.start();
    wait_for_slot(database).await;
    BeforeSnapshot { running, stalled }
}

impl BeforeSnapshot {
    /// Lets it go on.
    pub(crate) async fn release(self, pair: &Pair, database: &Replicated) -> Running {
        unstall(&database.publisher, self.stalled).await;
        stall_commits(&pair.publisher, false).await;
        self.running
    }
}

/// Starts a verify whose gate holds P and waits for replay, because replication waits for a lock on the table. Another row
/// comes into the table.
pub(crate) async fn before_replay(
    pair: &Pair,
    database: &Replicated,
    table: &str,
    verify: Verify,
) -> (Running, Client) {
    let before = before_snapshot(pair, database, table, verify).await;
    let holder = hold_up(database, table).await;
    // This one does not wait for any standby, so that P shows it.
    let insert = format!(
        "SET synchronous_commit = local; INSERT INTO {table} (id) SELECT coalesce(max(id), 0) + 2 FROM {table}"
    );
    database.publisher.sql(&insert).await.unwrap();
    wait_for(&database.subscriber, HELD_UP, "1").await;
    let running = before.release(pair, database).await;
    wait_for_snapshot(database).await;
    (running, holder)
}

/// A verify whose gate holds P and is cut off from the subscriber once that has replayed up to L: what is done until
/// the proxy is released happens between P and S.
pub(crate) async fn between_snapshots(pair: &Pair, database: &Replicated, proxy: &Proxy, users: [&str; 2]) -> Running {
    let publisher = database.publisher.conninfo_as(users[0]);
    let verify = Verify::between(&publisher, &proxy.conninfo(&database.subscriber, users[1])).args(PATIENT);
    let (running, holder) = before_replay(pair, database, "held", verify).await;
    proxy.hold();
    holder.batch_execute("COMMIT").await.unwrap();
    database.catch_up().await.unwrap();
    running
}

/// Corrections 1 and 2: `remote_lsn` advances before the transaction is visible, and an empty list of running transactions
/// in a snapshot does not mean that none is running.
#[tokio::test]
async fn an_applied_transaction_that_is_not_visible_yet() {
    let pair = servers().await;
    let database = orders(&pair, "not_visible_yet", "synchronous_commit = on").await;
    let proxy = Proxy::before(&database.subscriber);
    let running = between_snapshots(&pair, &database, &proxy, ["postgres"; 2]).await;
    stall_commits(&pair.subscriber, true).await;
    let before = written(&database.publisher).await;
    database.publisher.sql("INSERT INTO orders VALUES (1000, 'stalled on the subscriber')").await.unwrap();
    wait_for(&database.subscriber, STALLED, "1").await;

    // The naive bracket: the same position before and after the snapshot. It is beyond the insert, which S does not show.
    let progress = "SELECT pg_replication_origin_progress('pg_' || oid, false) FROM pg_subscription \
                    WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let client = database.subscriber.connect().await.unwrap();
    let first = ask(&client, progress).await;
    let snapshot = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_current_snapshot(), count(*) FILTER (WHERE id = 1000) FROM orders; COMMIT";
    let shown = ask(&client, snapshot).await;
    let second = ask(&client, progress).await;
    let (first, second) = (text(&first[0], 0), text(&second[0], 0));
    assert_eq!(first, second);
    assert!(position(first) > before, "{first} {before}");
    assert_eq!(text(&shown[0], 1), "0", "the row that R implies is not in S: a false difference");
    // The stricter one: nothing is running, says the snapshot. It is wrong just the same.
    assert!(text(&shown[0], 0).ends_with(':'), "{shown:?}");

    // Ours: S cannot be told from the position alone, and one of the possible cuts explains it.
    proxy.release();
    let ran = running.finish().await;
    stall_commits(&pair.subscriber, false).await;
    assert_match(&ran, "exact: candidate cut");
    assert_eq!(ran.table("orders")["rows"]["publisher"], 200);
    assert!(position(ran.json["sync_points"][0]["applied_lsn"].as_str().unwrap()) < position(first), "{ran:#?}");

    // Where replay itself waits for such a commit, L is not reached, and nothing is called different.
    stall_commits(&pair.subscriber, true).await;
    database.publisher.sql("INSERT INTO orders VALUES (1001, 'stalled as well')").await.unwrap();
    wait_for(&database.subscriber, STALLED, "1").await;
    let ran = Verify::new(&database).args("--gate live --scope published --lag-timeout 2s").run().await;
    stall_commits(&pair.subscriber, false).await;
    ran.assert_code(3);
    assert!(ran.tables().iter().all(|table| table.ends_with(" unproven gate_not_reached")), "{ran:#?}");
    assert_match(&Verify::new(&database).args(PATIENT).run().await, "exact: ");
    database.assert_nothing_left().await;
}

/// Correction 3: what a decoded transaction has to do with P is told by its identifier, never by its position.
#[tokio::test]
async fn a_transaction_before_l_that_p_does_not_show() {
    let pair = servers().await;
    let database = orders(&pair, "not_in_p", "").await;
    let naive = database.publisher.connect().await.unwrap();
    let copy = format!("SELECT pg_copy_logical_replication_slot('{}', 'naive', true)", database.slot_name());
    ask(&naive, &copy).await;
    stall_commits(&pair.publisher, true).await;
    // The gate may not take P before this one is through, so that the next one begins after the slot and ends before P.
    let first = stalled(&database.publisher, "INSERT INTO orders VALUES (1000, 'before the slot')", 0).await;
    let running = Verify::new(&database).args(PATIENT).start();
    wait_for_slot(&database).await;
    let second = stalled(&database.publisher, "INSERT INTO orders VALUES (1001, 'after the slot')", 1).await;
    unstall(&database.publisher, first).await;
    let ran = running.finish().await;

    // The naive rule: L is beyond its end, so P shows it. It does not, the subscriber does: a false difference.
    let rows = ask(
        &naive,
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_current_wal_insert_lsn(), count(*) FILTER (WHERE id = 1001) FROM orders; COMMIT; \
         SELECT max(lsn) FROM pg_logical_slot_peek_binary_changes('naive', NULL, NULL, 'proto_version', '1', 'publication_names', 'pub') WHERE get_byte(data, 0) = ascii('C')"
            .replace("'pub'", &format!("'{}'", database.publication_name()))
            .as_str(),
    )
    .await;
    assert!(position(text(&rows[1], 0)) <= position(text(&rows[0], 0)), "{rows:?}");
    assert_eq!(text(&rows[0], 1), "0");
    wait_for(&database.subscriber, "SELECT count(*) FROM orders WHERE id = 1001", "1").await;

    unstall(&database.publisher, second).await;
    stall_commits(&pair.publisher, false).await;
    assert_match(&ran, "exact: ");
    assert_eq!(ran.table("orders")["rows"]["publisher"], 202);
    assert_eq!(ran.table("orders")["rows"]["subscriber"], 202);
    assert_eq!(ran.json["gate"]["in_flight"]["keys"], 1, "{ran:#?}");
    drop(naive);
    database.assert_nothing_left().await;
}

/// Correction 4: a transaction that ended before the slot starts can still be invisible in P.
#[tokio::test]
async fn a_transaction_before_the_slot_that_p_does_not_show() {
    let pair = servers().await;
    let database = orders(&pair, "hole", "").await;
    stall_commits(&pair.publisher, true).await;
    let hole = stalled(&database.publisher, "INSERT INTO orders VALUES (1000, 'in the hole')", 0).await;
    wait_for(&database.subscriber, "SELECT count(*) FROM orders WHERE id = 1000", "1").await;
    // Flushed on the subscriber as well, so that the copy of its slot starts behind it.
    let confirmed = format!(
        "SELECT confirmed_flush_lsn >= pg_current_wal_lsn() FROM pg_replication_slots WHERE slot_name = '{}'",
        database.slot_name()
    );
    wait_for(&database.publisher, &confirmed, "t").await;

    // The naive order: a slot, then P, then what the slot decodes. Nothing shows the row, but the subscriber has it.
    let naive = database.publisher.connect().await.unwrap();
    let copy = format!("SELECT pg_copy_logical_replication_slot('{}', 'naive', true)", database.slot_name());
    let p = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM orders WHERE id = 1000; COMMIT";
    let decode = format!(
        "SELECT count(*) FROM pg_logical_slot_peek_binary_changes('naive', NULL, NULL, 'proto_version', '1', 'publication_names', '{}')",
        database.publication_name()
    );
    ask(&naive, &copy).await;
    assert_eq!(text(&ask(&naive, p).await[0], 0), "0");
    assert_eq!(text(&ask(&naive, &decode).await[0], 0), "0");
    drop(naive);

    // Ours waits for it, and says so in time; or goes on as soon as it is through.
    let ran = Verify::new(&database).args("--gate live --scope published --lag-timeout 2s").run().await;
    ran.assert_code(3);
    assert!(ran.tables().iter().all(|table| table.ends_with(" unproven gate_not_reached")), "{ran:#?}");
    let message = ran.json["gate"]["message"].as_str().unwrap();
    assert!(message.contains(&hole.0.to_string()), "it names process {}: {message}", hole.0);
    let running = Verify::new(&database).args(PATIENT).start();
    wait_for_slot(&database).await;
    unstall(&database.publisher, hole).await;
    let ran = running.finish().await;
    stall_commits(&pair.publisher, false).await;
    assert_match(&ran, "exact: ");
    assert_eq!(ran.table("orders")["rows"]["publisher"], 201);
    database.assert_nothing_left().await;
}

/// Correction 5: `remote_lsn` never moves for what is not published, or has no effect.
#[tokio::test]
async fn writes_that_never_reach_the_origin() {
    let pair = servers().await;
    let database = orders(&pair, "unpublished", "").await;
    // The origin has a position, and from now on it stays there.
    database.publisher.sql("UPDATE orders SET note = 'new' WHERE id = 1").await.unwrap();
    database.catch_up().await.unwrap();
    database.publisher.sql("INSERT INTO unpublished VALUES (1)").await.unwrap();
    let target = written(&database.publisher).await;
    let progress = "SELECT pg_replication_origin_progress('pg_' || oid, false) FROM pg_subscription \
                    WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())";
    database.catch_up().await.unwrap();
    let begun = Instant::now();
    while begun.elapsed() < WATCHED {
        let applied = position(&database.subscriber.value(progress).await.unwrap());
        assert!(applied < target, "{applied} {target}: not staged");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let ran = Verify::new(&database).args("--gate live --scope published --lag-timeout 5s").run().await;
    assert_match(&ran, "exact: ");
    assert!(position(ran.json["gate"]["publisher_lsn"].as_str().unwrap()) >= target, "{ran:#?}");
    database.assert_nothing_left().await;
}

/// Correction 6: the insert position can stand behind a header that nothing follows yet.
#[tokio::test]
async fn a_position_that_is_ahead_of_anything_real() {
    let pair = servers().await;
    let database = orders(&pair, "switched", "").await;
    let replayed = format!(
        "SELECT replay_lsn FROM pg_stat_replication r JOIN pg_replication_slots s ON s.active_pid = r.pid WHERE s.slot_name = '{}'",
        database.slot_name()
    );
    // A running checkpoint or the like may write something right behind the switch: then once more.
    let mut staged = false;
    for _ in 0..5 {
        database.publisher.sql("INSERT INTO unpublished VALUES (1)").await.unwrap();
        database.publisher.value("SELECT pg_switch_wal()").await.unwrap();
        let ahead = written(&database.publisher).await;
        let ran = Verify::new(&database).args("--gate live --scope published --lag-timeout 5s").run().await;
        assert_match(&ran, "exact: ");
        // The naive rule waits for a position that nobody ever confirms.
        let begun = Instant::now();
        while begun.elapsed() < WATCHED && written(&database.publisher).await == ahead {
            let position = position(&database.publisher.value(&replayed).await.unwrap());
            assert!(position < ahead, "{position} {ahead}: {ran:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let ours = position(ran.json["gate"]["publisher_lsn"].as_str().unwrap());
        if begun.elapsed() >= WATCHED && ahead % WAL_SEGMENT_BYTES == 40 && ours == ahead - 40 {
            staged = true;
            break;
        }
    }
    assert!(staged, "something else wrote behind the switch every time");
    database.assert_nothing_left().await;
}

/// Correction 7, first half: any error in the session drops its temporary slot, and what it was to decode is lost.
#[tokio::test]
async fn an_error_in_the_session_of_the_slot() {
    let pair = servers().await;
    let database = orders(&pair, "slot_error", "").await;
    let naive = database.publisher.connect().await.unwrap();
    let copy = format!("SELECT pg_copy_logical_replication_slot('{}', 'naive', true)", database.slot_name());
    let left = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'naive'";
    ask(&naive, &copy).await;
    assert_eq!(text(&ask(&naive, left).await[0], 0), "1");
    assert!(naive.batch_execute("SELECT 1 / 0").await.is_err());
    assert_eq!(text(&ask(&naive, left).await[0], 0), "0");
    drop(naive);

    // Between P and S the session of the slot fails; then again in the middle of decoding a large window.
    let proxy = Proxy::before(&database.subscriber);
    let running = between_snapshots(&pair, &database, &proxy, ["postgres"; 2]).await;
    database.publisher.sql("INSERT INTO orders SELECT i, 'new' FROM generate_series(10001, 150000) i").await.unwrap();
    database.catch_up().await.unwrap();
    proxy.release();
    let decoding = "SELECT count(pg_cancel_backend(pid)) > 0 FROM pg_stat_activity WHERE datname = current_database() \
                    AND application_name = 'triplecheck/slot' AND state = 'active' AND query LIKE '%pg_logical_slot_get%'";
    wait_for(&database.publisher, decoding, "t").await;
    assert_match(&running.finish().await, "exact: ");

    let running = between_snapshots(&pair, &database, &proxy, ["postgres"; 2]).await;
    database.publisher.sql("DELETE FROM orders WHERE id > 10000").await.unwrap();
    database.catch_up().await.unwrap();
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() \
               AND application_name = 'triplecheck/slot'";
    assert_eq!(database.publisher.value(end).await.unwrap(), "1");
    proxy.release();
    assert_never_different(&running.finish().await);
    let ran = Verify::new(&database).args(PATIENT).run().await;
    assert_match(&ran, "exact: ");
    assert_eq!(ran.table("orders")["rows"]["publisher"], 200);
    database.assert_nothing_left().await;
}

/// What the slot was to tell is lost: everything is proven at a newer sync point, or nothing is said.
#[track_caller]
fn assert_never_different(ran: &Ran) {
    if ran.code == 0 {
        return assert_match(ran, "exact: ");
    }
    ran.assert_code(3);
    assert!(ran.tables().iter().all(|table| table.contains(" unproven ")), "{ran:#?}");
}

/// Correction 7, second half: TRUNCATE empties a table for snapshots that are older, too.
#[tokio::test]
async fn a_table_that_is_truncated_between_snapshot_and_scan() {
    let pair = servers().await;
    let database = pair.database("truncated").await.unwrap();
    slow::create(&database, 25_000).await;
    let naive = database.publisher.connect().await.unwrap();
    ask(&naive, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_current_snapshot()").await;
    let running = Verify::new(&database).args("--gate live --jobs 1 --lag-timeout 60s").start();
    slow::wait_until_scanning(&database.publisher).await;
    let refill =
        "BEGIN; TRUNCATE small; INSERT INTO small SELECT i, 'again ' || i FROM generate_series(1, 300) i; COMMIT";
    database.publisher.sql(refill).await.unwrap();
    assert_eq!(text(&ask(&naive, "SELECT count(*) FROM small; COMMIT").await[0], 0), "0", "P had 500 rows");
    database.publisher.sql("UPDATE small SET note = 'later' WHERE id < 10").await.unwrap();
    let ran = running.finish().await;
    assert_match(&ran, "exact: ");
    let rows = &ran.table("small")["rows"];
    assert!(rows["publisher"] == 500 || rows["publisher"] == 300, "{rows}");
    assert_eq!(rows["publisher"], rows["subscriber"]);
    database.assert_nothing_left().await;
}

/// One cut for everything: a skipped update of a row is a difference although the subscriber is right at an earlier cut as
/// far as that row goes, because another row proves the later one. A cut per row would miss it.
#[tokio::test]
async fn a_skipped_update_whose_transaction_another_row_proves() {
    let pair = servers().await;
    let database = orders(&pair, "one_cut", "").await;
    let role = format!("one_cut_{}", database.publisher.name());
    database
        .both(&format!("CREATE ROLE {role} LOGIN REPLICATION; GRANT pg_monitor, pg_read_all_data TO {role}"))
        .await
        .unwrap();
    let skip = "CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
                CREATE TRIGGER skip BEFORE UPDATE ON orders FOR EACH ROW WHEN (OLD.id = 7) EXECUTE FUNCTION skip(); \
                ALTER TABLE orders ENABLE REPLICA TRIGGER skip";
    database.subscriber.sql(skip).await.unwrap();
    let proxy = Proxy::before(&database.subscriber);
    let running = between_snapshots(&pair, &database, &proxy, [role.as_str(); 2]).await;
    // Three transactions reach the subscriber while it waits in the first of them, so that it confirms none of them before
    // it comes to the third, where it waits again: which of them S contains, only rows can tell.
    let first = hold_up(&database, "held").await;
    let third = hold_up(&database, "held_too").await;
    database.publisher.sql("INSERT INTO held VALUES (1000)").await.unwrap();
    wait_for(&database.subscriber, HELD_UP, "1").await;
    let skipped =
        "BEGIN; UPDATE orders SET note = 'skipped' WHERE id = 7; UPDATE orders SET note = 'proof' WHERE id = 8; COMMIT";
    database.publisher.sql(skipped).await.unwrap();
    database.publisher.sql("INSERT INTO held_too VALUES (1)").await.unwrap();
    tokio::time::sleep(A_MOMENT).await;
    first.batch_execute("COMMIT").await.unwrap();
    wait_for(&database.subscriber, "SELECT note FROM orders WHERE id = 8", "proof").await;
    wait_for(&database.subscriber, HELD_UP, "1").await;
    proxy.release();
    let ran = running.finish().await;
    third.batch_execute("COMMIT").await.unwrap();
    ran.assert_code(1);
    assert_eq!(ran.tables(), ["public.held match -", "public.held_too match -", "public.orders different -"]);
    let rows = &ran.table("orders")["checks"]["rows"];
    assert_eq!((&rows["missing"], &rows["extra"], &rows["changed"]), (&0.into(), &0.into(), &1.into()), "{rows}");
    assert_eq!(rows["samples"][0]["key"]["id"], "7");
    assert!(ran.json["sync_points"][0]["proof"].as_str().unwrap().starts_with("exact: candidate cut"), "{ran:#?}");
    assert_eq!(ran.table("held_too")["rows"]["publisher"], 0);
    database.assert_nothing_left().await;
    database.both(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}
