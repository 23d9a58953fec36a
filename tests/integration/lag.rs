//! The lag: positions, rates, the record of zero, and the cause of what holds replication up.

use std::time::Duration;

use serde_json::{Value, json};
use triplecheck_testbed::{
    Lease, Load, LoadOptions, Pair, PairOptions, ReplicateOptions, Replicated, ServerOptions, shared_pair,
};

use crate::harness::{Ran, Verify, disable, wait_for};

/// A table of 20 orders, replicated.
async fn orders(lease: &Lease, label: &str) -> Replicated {
    let database = lease.database(label).await.unwrap();
    database.both("CREATE TABLE orders (id bigint PRIMARY KEY, note text)").await.unwrap();
    database.publisher.sql("INSERT INTO orders SELECT i, 'n' FROM generate_series(1, 20) i").await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    database
}

/// Looks twice within a second.
fn lag(database: &Replicated) -> Verify {
    Verify::new(database).lag().args("--interval 1s")
}

/// Applying a row takes this long.
async fn slow_apply(database: &Replicated, seconds: f64) {
    let trigger = format!(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END';
         CREATE TRIGGER dawdle BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION dawdle();
         ALTER TABLE orders ENABLE ALWAYS TRIGGER dawdle"
    );
    database.subscriber.sql(&trigger).await.unwrap();
}

/// The only subscription of the last look.
pub(crate) fn one(ran: &Ran) -> &Value {
    let all = ran.json["subscriptions"].as_array().unwrap_or_else(|| panic!("{ran:#?}"));
    assert_eq!(all.len(), 1, "{ran:#?}");
    &all[0]
}

/// Every cause as `severity code`.
pub(crate) fn causes(subscription: &Value) -> Vec<String> {
    let text = |cause: &Value| format!("{} {}", cause["severity"].as_str().unwrap(), cause["code"].as_str().unwrap());
    subscription["causes"].as_array().unwrap().iter().map(text).collect()
}

/// Watches for a while; every look was a line of JSON.
pub(crate) async fn watched(watch: Verify, while_watching: impl Future<Output = ()>) -> Vec<Value> {
    let running = watch.args("--watch").start();
    while_watching.await;
    running.signal("INT").await;
    let printed = running.printed().await;
    assert_eq!(printed.code, Some(130), "{printed:#?}");
    let looks: Vec<Value> = printed.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(looks.len() >= 3, "{printed:#?}");
    looks
}

/// The causes that every look named, without those looks that named the same as the one before.
pub(crate) fn causes_in_turn(looks: &[Value]) -> Vec<Vec<String>> {
    let mut all: Vec<_> = looks.iter().map(|look| causes(&look["subscriptions"][0])).collect();
    all.dedup();
    all
}

pub(crate) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field}: {value}"))
}

#[tokio::test]
async fn under_load() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = orders(&lease, "lag_load").await;
    let insert = "INSERT INTO orders SELECT (SELECT max(id) FROM orders) + 1, repeat('x', 500)".to_owned();
    let options = LoadOptions { clients: 1, rate_per_second: Some(100.0), statements: vec![insert] };
    let load = Load::start(&database.publisher, options).await.unwrap();
    let looks = watched(lag(&database), tokio::time::sleep(Duration::from_millis(5_500))).await;
    let report = load.stop().await.unwrap();
    assert!(report.transactions > 100, "{report:?}");
    // A line of JSON a second.
    assert!((4..=7).contains(&looks.len()), "{looks:#?}");
    let first = &looks[0];
    assert!(first["wal_bytes_per_second"].is_null() && first["measured_ms"] == 0, "{first}");
    let last = looks.last().unwrap();
    let subscription = &last["subscriptions"][0];
    assert_eq!((&last["level"], &last["exit_code"]), (&json!("good"), &json!(0)), "{last}");
    assert!(last["wal_bytes_per_second"].as_u64().unwrap() > 10_000, "{last}");
    assert!(subscription["flushed_bytes_per_second"].as_u64().unwrap() > 10_000, "{last}");
    assert_eq!(subscription["flushed_moves"], true, "{last}");
    assert!(["caught_up", "keeping_up"].contains(&text(&subscription["outlook"], "state")), "{last}");
    assert_eq!(causes(subscription), Vec::<String>::new(), "{last}");
    // Between two transactions it is zero, again and again.
    assert!(subscription["zero"]["held_ms"].as_u64().unwrap() > 1_500, "{last}");
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn a_subscription_that_is_disabled() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = orders(&lease, "lag_disabled").await;
    let ran = lag(&database).run().await;
    ran.assert_code(0);
    assert_eq!(one(&ran)["enabled"], true);
    let name = database.subscription_name();
    disable(&database, &name, &database.slot_name()).await;
    database.publisher.sql("UPDATE orders SET note = repeat('y', 10000)").await.unwrap();
    let ran = lag(&database).run().await;
    ran.assert_code(1);
    let subscription = one(&ran);
    assert_eq!(causes(subscription), ["error subscription_disabled", "info slot_inactive"]);
    let cause = &subscription["causes"][0];
    assert_eq!(text(cause, "evidence"), format!("subscription {name} is disabled"));
    assert_eq!(text(cause, "remedy"), format!("ALTER SUBSCRIPTION \"{name}\" ENABLE"));
    assert_eq!(subscription["outlook"]["state"], "standing_still");
    assert_eq!((&subscription["flushed_moves"], &subscription["enabled"]), (&json!(false), &json!(false)));
    assert!(subscription["lag_bytes"].as_u64().unwrap() > 1_000, "{subscription}");
    assert_eq!(subscription["behind_at_least"], true);
    assert_eq!((&subscription["zero"]["reached"], &subscription["zero"]["last_at"]), (&json!(false), &json!(null)));
    let printed = lag(&database).text().await;
    let last = printed.stdout.lines().last().unwrap();
    assert!(last.starts_with(&format!("LAG good: {name} is ")) && last.contains("STANDING STILL"), "{last}");
    assert!(last.contains(&format!("(subscription_disabled: subscription {name} is disabled)")), "{last}");

    // Whoever watches sees the same, until somebody does something about it.
    let looks = watched(lag(&database), async {
        tokio::time::sleep(Duration::from_millis(3_500)).await;
        database.subscriber.sql(text(cause, "remedy")).await.unwrap();
        database.catch_up().await.unwrap();
        tokio::time::sleep(Duration::from_millis(2_500)).await;
    })
    .await;
    let in_turn = causes_in_turn(&looks);
    assert_eq!(in_turn[0], ["error subscription_disabled", "info slot_inactive"], "{looks:#?}");
    assert_eq!((&looks[2]["exit_code"], &looks[2]["subscriptions"][0]["flushed_moves"]), (&json!(1), &json!(false)));
    assert_eq!(in_turn.last().unwrap(), &Vec::<String>::new(), "{in_turn:?}");
    disable(&database, &name, &database.slot_name()).await;
    database.publisher.sql("UPDATE orders SET note = repeat('z', 10000)").await.unwrap();

    // Waiting does not help, the remedy does.
    let ran = lag(&database).args("--until-zero 2s").run().await;
    ran.assert_code(1);
    assert_eq!(ran.json["until_zero"]["reached"], false);
    database.subscriber.sql(text(cause, "remedy")).await.unwrap();
    let ran = lag(&database).args("--until-zero 30s").run().await;
    ran.assert_code(0);
    assert_eq!((&ran.json["until_zero"]["reached"], &one(&ran)["zero"]["reached"]), (&json!(true), &json!(true)));
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn a_lock_on_the_subscriber() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = orders(&lease, "lag_blocked").await;
    let holder = database.subscriber.connect().await.unwrap();
    holder.batch_execute("BEGIN; LOCK TABLE orders IN SHARE MODE").await.unwrap();
    let pid = holder.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get::<_, i32>(0);
    database.publisher.sql("INSERT INTO orders VALUES (1000, 'waits')").await.unwrap();
    wait_for(
        &database.subscriber,
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'orders'::regclass",
        "1",
    )
    .await;
    let ran = lag(&database).run().await;
    ran.assert_code(1);
    assert_eq!(causes(one(&ran)), ["error apply_blocked"], "{ran:#?}");
    let cause = &one(&ran)["causes"][0];
    let evidence = text(cause, "evidence");
    let says = format!("waits for a lock on public.orders, held by process {pid} (testbed, idle in transaction, for ");
    assert!(evidence.contains(&says), "{evidence}");
    assert_eq!(
        text(cause, "remedy"),
        format!("end that transaction: SELECT pg_terminate_backend({pid}) on the subscriber")
    );
    assert_eq!(one(&ran)["outlook"]["state"], "standing_still");
    let looks = watched(lag(&database), tokio::time::sleep(Duration::from_millis(3_500))).await;
    // That nothing moves, the second look tells.
    assert_eq!(causes_in_turn(&looks[1..]), [["error apply_blocked"]], "{looks:#?}");
    assert_eq!(looks.last().unwrap()["exit_code"], 1);
    // Somebody waits for zero: it comes as soon as the lock is gone.
    let waiting = lag(&database).args("--until-zero 30s").start();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    let ran = waiting.finish().await;
    ran.assert_code(0);
    assert!(ran.json["until_zero"]["waited_ms"].as_u64().unwrap() >= 1_000, "{ran:#?}");
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn a_subscriber_that_falls_behind() {
    // What other databases write is behind, too.
    let lease = shared_pair(14, 16).exclusive().await.unwrap();
    let database = orders(&lease, "lag_behind").await;
    slow_apply(&database, 0.1).await;
    let insert = "INSERT INTO orders SELECT (SELECT max(id) FROM orders) + 1, repeat('x', 500)".to_owned();
    let options = LoadOptions { clients: 1, rate_per_second: Some(100.0), statements: vec![insert] };
    let load = Load::start(&database.publisher, options).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let ran = Verify::new(&database).lag().args("--interval 3s --good 1kB --warning 2kB").run().await;
    ran.assert_code(1);
    let subscription = one(&ran);
    assert_eq!(subscription["level"], "warning");
    assert_eq!(subscription["outlook"]["state"], "falling_behind", "{ran:#?}");
    assert!(subscription["outlook"]["bytes_per_minute"].as_u64().unwrap() > 100_000, "{ran:#?}");
    assert_eq!(subscription["flushed_moves"], true);
    assert_eq!(causes(subscription), ["warning falling_behind"]);
    let evidence = text(&subscription["causes"][0], "evidence");
    // What was sent stands in the buffers of the network, or is held up on its way into them.
    let slower =
        ["sent and not yet applied: the subscriber is the slower one", "waits for the network or the subscriber"];
    assert!(slower.iter().any(|slower| evidence.contains(slower)), "{evidence}");
    assert!(subscription["behind_ms"].as_u64().unwrap() > 500, "{subscription}");
    // The worker has its hands full, and confirms now and then: no look in between takes that for standing still.
    let watch = Verify::new(&database).lag().args("--interval 1s --good 1kB --warning 2kB");
    let looks = watched(watch, tokio::time::sleep(Duration::from_secs(9))).await;
    assert_eq!(causes_in_turn(&looks[1..]), [["warning falling_behind"]], "{looks:#?}");
    let (first, last) = (&looks[0]["subscriptions"][0], &looks.last().unwrap()["subscriptions"][0]);
    assert!(last["lag_bytes"].as_u64() > first["lag_bytes"].as_u64(), "{looks:#?}");
    assert_eq!(last["outlook"]["state"], "falling_behind", "{looks:#?}");
    load.stop().await.unwrap();
    // Nothing more is written: now it catches up. It may say so every ten seconds only (`wal_receiver_status_interval`).
    let ran = Verify::new(&database).lag().args("--interval 12s --good 1kB").run().await;
    ran.assert_code(0);
    assert_eq!(one(&ran)["outlook"]["state"], "catching_up", "{ran:#?}");
    database.subscriber.sql("ALTER TABLE orders DISABLE TRIGGER dawdle").await.unwrap();
    let ran = lag(&database).args("--until-zero 60s").run().await;
    ran.assert_code(0);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn one_large_transaction() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = orders(&lease, "lag_large").await;
    slow_apply(&database, 0.05).await;
    database.publisher.sql("INSERT INTO orders SELECT i, 'large' FROM generate_series(1001, 1200) i").await.unwrap();
    let applying = "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'logical replication%worker' \
                    AND datname = current_database() AND backend_xid IS NOT NULL";
    wait_for(&database.subscriber, applying, "1").await;
    let ran = Verify::new(&database).lag().args("--interval 2s").run().await;
    ran.assert_code(0);
    assert_eq!(causes(one(&ran)), ["warning large_transaction"], "{ran:#?}");
    let evidence = text(&one(&ran)["causes"][0], "evidence");
    assert!(evidence.contains("has been applying one transaction for "), "{evidence}");
    lag(&database).args("--until-zero 60s").run().await.assert_code(0);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn a_row_that_cannot_be_applied() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = orders(&lease, "lag_conflict").await;
    database.subscriber.sql("INSERT INTO orders VALUES (1000, 'in the way')").await.unwrap();
    database.publisher.sql("INSERT INTO orders VALUES (1000, 'cannot come')").await.unwrap();
    let counted = format!(
        "SELECT apply_error_count > 0 FROM pg_stat_subscription_stats WHERE subname = '{}'",
        database.subscription_name()
    );
    wait_for(&database.subscriber, &counted, "t").await;
    // Longer than the pause between two attempts (wal_retrieve_retry_interval).
    let ran = Verify::new(&database).lag().args("--interval 7s").run().await;
    ran.assert_code(1);
    let errors: Vec<_> = causes(one(&ran)).into_iter().filter(|cause| cause.starts_with("error")).collect();
    assert_eq!(errors, ["error apply_errors"], "{ran:#?}");
    database.subscriber.sql("DELETE FROM orders WHERE id = 1000").await.unwrap();
    let ran = lag(&database).args("--until-zero 60s").run().await;
    assert_eq!(ran.json["until_zero"]["reached"], true, "{ran:#?}");
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn slots_and_origins_that_are_not_right() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("lag_origin").await.unwrap();
    database.both("CREATE TABLE orders (id bigint PRIMARY KEY, note text)").await.unwrap();
    let (name, slot) = (database.subscription_name(), database.slot_name());
    // As on a clone: the slot first, then a subscription that copies nothing and is not enabled.
    let create = format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')");
    database.publisher.sql(&create).await.unwrap();
    let with = "copy_data = false, create_slot = false, enabled = false";
    let options = ReplicateOptions { subscription_with: with.to_owned(), wait: false, ..ReplicateOptions::default() };
    database.replicate(options).await.unwrap();
    database.publisher.sql("INSERT INTO orders VALUES (1, 'kept for it')").await.unwrap();
    let ran = lag(&database).run().await;
    ran.assert_code(1);
    assert_eq!(
        causes(one(&ran)),
        ["error subscription_disabled", "warning origin_not_advanced", "info slot_inactive"],
        "{ran:#?}"
    );
    let oid =
        database.subscriber.value(&format!("SELECT oid FROM pg_subscription WHERE subname = '{name}'")).await.unwrap();
    let remedy = text(&one(&ran)["causes"][1], "remedy");
    assert!(remedy.contains(&format!("pg_replication_origin_advance('pg_{oid}', ")), "{remedy}");
    // Once the origin is advanced, nothing is said of it.
    let here = database.publisher.value("SELECT pg_current_wal_lsn()").await.unwrap();
    database.subscriber.sql(&format!("SELECT pg_replication_origin_advance('pg_{oid}', '{here}')")).await.unwrap();
    assert_eq!(causes(one(&lag(&database).run().await)), ["error subscription_disabled", "info slot_inactive"]);

    // The wrong slot: the name is not one of this database, and the one that was made for it stands by.
    let wrong = format!("ALTER SUBSCRIPTION {name} SET (slot_name = 'no_such_slot')");
    database.subscriber.sql(&wrong).await.unwrap();
    let ran = lag(&database).run().await;
    ran.assert_code(1);
    assert_eq!(causes(one(&ran)), ["error subscription_disabled", "error wrong_slot"]);
    assert_eq!((&ran.json["level"], &one(&ran)["lag_bytes"]), (&json!("unknown"), &json!(null)));
    let cause = &one(&ran)["causes"][1];
    assert!(text(cause, "evidence").contains(&slot), "{cause}");
    let (_, remedy) = text(cause, "remedy").split_once(": ").unwrap();
    // As written, it helps.
    for statement in remedy.split("; ") {
        database.subscriber.sql(statement).await.unwrap();
    }
    lag(&database).args("--until-zero 30s").run().await.assert_code(0);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn no_worker_is_left() {
    let few = ServerOptions {
        settings: vec![("max_logical_replication_workers".to_owned(), "0".to_owned())],
        ..ServerOptions::default()
    };
    let pair = Pair::start(14, 16, PairOptions { subscriber: few, ..PairOptions::default() }).await.unwrap();
    let database = pair.database("lag_workers").await.unwrap();
    database.both("CREATE TABLE orders (id bigint PRIMARY KEY, note text)").await.unwrap();
    let options = ReplicateOptions {
        subscription_with: "copy_data = false".to_owned(),
        wait: false,
        ..ReplicateOptions::default()
    };
    database.replicate(options).await.unwrap();
    database.publisher.sql("INSERT INTO orders VALUES (1, 'waits')").await.unwrap();
    let ran = lag(&database).run().await;
    ran.assert_code(1);
    assert_eq!(causes(one(&ran)), ["error workers_exhausted", "info worker_absent", "info slot_inactive"], "{ran:#?}");
    assert!(text(&one(&ran)["causes"][0], "remedy").contains("max_logical_replication_workers"), "{ran:#?}");
    database.drop().await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_is_open_and_wal_that_is_kept() {
    let lease = shared_pair(14, 16).exclusive().await.unwrap();
    let database = orders(&lease, "lag_retained").await;
    database
        .publisher
        .sql("INSERT INTO orders SELECT i, repeat('z', 100) FROM generate_series(100, 2000) i")
        .await
        .unwrap();
    database.catch_up().await.unwrap();
    let ran = lag(&database).args("--retained 1kB").run().await;
    let kept = one(&ran)["retained_bytes"].as_u64().unwrap();
    if kept >= 1_000 {
        ran.assert_code(1);
        assert_eq!(one(&ran)["retained_alarm"], true);
    }
    let ran = lag(&database).run().await;
    ran.assert_code(0);
    assert_eq!((&one(&ran)["retained_alarm"], &one(&ran)["wal_status"]), (&json!(false), &json!("reserved")));
    // A transaction that stays open keeps the WAL from its beginning on.
    let open = database.publisher.connect().await.unwrap();
    open.batch_execute("BEGIN; INSERT INTO orders VALUES (5000, 'open')").await.unwrap();
    database
        .publisher
        .sql("INSERT INTO orders SELECT i, repeat('z', 1000) FROM generate_series(6000, 9000) i; CHECKPOINT")
        .await
        .unwrap();
    database.catch_up().await.unwrap();
    let ran = lag(&database).args("--retained 1MB").run().await;
    ran.assert_code(1);
    assert_eq!((&one(&ran)["retained_alarm"], &ran.json["level"]), (&json!(true), &json!("good")), "{ran:#?}");
    open.batch_execute("COMMIT").await.unwrap();
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn a_record_across_runs() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = orders(&lease, "lag_log").await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("lag.log");
    let log = log.to_str().unwrap();
    let logged = |more: &str| lag(&database).args(more).arg("--log").arg(log);
    let ran = logged("--until-zero 30s").run().await;
    ran.assert_code(0);
    let since = text(&one(&ran)["zero"], "since").to_owned();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let ran = logged("--until-zero 30s").run().await;
    let zero = &one(&ran)["zero"];
    assert_eq!(text(zero, "since"), since, "{zero}");
    assert!(zero["held_ms"].as_u64().unwrap() >= 1_000, "{zero}");
    // Without the log nothing is known of it; with too long a gap in it, it begins anew.
    let ran = lag(&database).args("--until-zero 30s").run().await;
    assert_ne!(text(&one(&ran)["zero"], "since"), since);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let ran = logged("--until-zero 30s --zero-within 2s").run().await;
    assert_ne!(text(&one(&ran)["zero"], "since"), since);
    let lines = std::fs::read_to_string(log).unwrap();
    assert!(lines.lines().count() >= 3 && lines.lines().all(|line| line.contains(&database.slot_name())), "{lines}");

    let notes = folder.path().join("notes");
    std::fs::write(&notes, "mine\n").unwrap();
    let ran = lag(&database).arg("--log").arg(notes.to_str().unwrap()).run().await;
    assert!(ran.refusal().1.contains("is not a log of triplecheck lag"), "{ran:#?}");
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn with_hardly_any_privilege_and_with_nothing_to_watch() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("lag_role").await.unwrap();
    let ran = lag(&database).run().await;
    let (code, message, _) = ran.refusal();
    assert!(code == "usage" && message.contains("has no subscription"), "{message}");
    let ran = lag(&database).args("--subscription no_such").run().await;
    assert!(ran.refusal().1.contains("no_such does not exist"), "{ran:#?}");
    let ran = lag(&database).args("--zero-within 500ms").run().await;
    assert!(ran.refusal().1.contains("--interval must not be longer"), "{ran:#?}");

    database.both("CREATE TABLE orders (id bigint PRIMARY KEY)").await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let role = format!("lag_{}", database.publisher.name());
    database.both(&format!("CREATE ROLE {role} LOGIN")).await.unwrap();
    let between = Verify::between(&database.publisher.conninfo_as(&role), &database.subscriber.conninfo_as(&role));
    let ran = between.lag().args("--interval 1s --until-zero 30s").run().await;
    ran.assert_code(0);
    assert!(one(&ran)["flushed_lsn"].is_string() && one(&ran)["sent_lsn"].is_null(), "{ran:#?}");
    database.assert_nothing_left().await;
    database.both(&format!("DROP ROLE {role}")).await.unwrap();
}

/// What reads the lines has seen enough: nothing goes on for ever behind its back.
#[tokio::test]
async fn a_reader_that_goes_away_ends_the_watch() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = orders(&lease, "lag_reader").await;
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_triplecheck"));
    let servers = ["--publisher", &database.publisher.conninfo(), "--subscriber", &database.subscriber.conninfo()];
    command.args(["lag", "--watch", "--interval", "1s"]).args(servers).kill_on_drop(true);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    let mut reader = tokio::io::BufReader::new(child.stdout.take().unwrap());
    tokio::io::AsyncBufReadExt::read_line(&mut reader, &mut first).await.unwrap();
    assert!(first.starts_with("{\"schema_version\":1,"), "{first}");
    drop(reader);
    let status = tokio::time::timeout(Duration::from_secs(20), child.wait()).await.expect("it ends").unwrap();
    assert_eq!(status.code(), Some(0));
    database.assert_nothing_left().await;
}
