//! When both sides may be compared: what stands in the way is waited for, then named, and nothing is compared without.

use std::time::{Duration, Instant};

use triplecheck_testbed::{Lease, Load, LoadOptions, ReplicateOptions, Replicated, Server, ServerOptions, shared_pair};

use crate::harness::{Ran, Verify, disable, wait_for};

/// Far more than a gate with `--lag-timeout 2s` needs to end, connecting and explaining included.
const ENDS_WITHIN: Duration = Duration::from_secs(20);
const ROWS: &str = "INSERT INTO orders SELECT i, 'order ' || i FROM generate_series(1, 200) i";

/// A table of 200 orders, replicated.
async fn orders(lease: &Lease, label: &str) -> Replicated {
    let database = lease.database(label).await.unwrap();
    database.both("CREATE TABLE orders (id bigint PRIMARY KEY, note text)").await.unwrap();
    database.publisher.sql(ROWS).await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    database
}

/// A verify while nobody writes, and nobody may.
fn quiesced(database: &Replicated) -> Verify {
    Verify::new(database).args("--gate quiesced")
}

/// Verifies with a short patience, asserts that the gate was not reached and nothing was compared, and returns why.
async fn not_reached(database: &Replicated) -> (Ran, String) {
    let begun = Instant::now();
    let ran = quiesced(database).args("--lag-timeout 2s").run().await;
    assert!(begun.elapsed() < ENDS_WITHIN, "{:?}", begun.elapsed());
    ran.assert_code(3);
    assert_eq!(ran.tables(), ["public.orders unproven gate_not_reached"]);
    assert_eq!(ran.json["verdict"], "unproven");
    assert_eq!(ran.json["interrupted"], false);
    let gate = &ran.json["gate"];
    assert_eq!((&gate["mode"], &gate["reached"]), (&"quiesced".into(), &false.into()), "{ran:#?}");
    assert!(gate["waited_ms"].as_u64().unwrap() >= 2000, "{gate}");
    assert!(gate["publisher_lsn"].is_string(), "{gate}");
    assert_eq!(ran.json["sync_points"], serde_json::json!([]));
    assert!(ran.table("orders")["rows"].is_null() && ran.table("orders")["sync_points"] == serde_json::json!([]));
    let message = gate["message"].as_str().unwrap().to_owned();
    assert_eq!(ran.table("orders")["message"], message.as_str());
    database.assert_nothing_left().await;
    (ran, message)
}

#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[tokio::test]
async fn a_subscription_that_is_disabled() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = orders(&lease, "disabled").await;
    let name = database.subscription_name();
    disable(&database, &name, &database.slot_name()).await;
    database.publisher.sql("DELETE FROM orders WHERE id = 7").await.unwrap();
    let (_, message) = not_reached(&database).await;
    let disabled = format!("subscription {name} is disabled (ALTER SUBSCRIPTION \"{name}\" ENABLE)");
    let slot = format!("slot {} is inactive", database.slot_name());
    assert_says(&message, &[&format!("subscription {name} to reach "), &disabled, &slot]);
    assert!(!message.contains("not ready") && !message.contains("apply errors"), "{message}");

    // For people, the last line says it as well, and what can be done is not lost.
    let text = quiesced(&database).args("--lag-timeout 1s").text().await;
    let last = text.stdout.lines().last().unwrap();
    assert_says(
        last,
        &["UNPROVEN: no difference seen, but the sync point was not reached in", "is disabled (ALTER SUBSCRIPTION"],
    );

    database.subscriber.sql(&format!("ALTER SUBSCRIPTION {name} ENABLE")).await.unwrap();
    let ran = quiesced(&database).args("--lag-timeout 30s").run().await;
    ran.assert_code(0);
    assert_eq!(ran.table("orders")["rows"]["subscriber"], 199);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn a_subscription_without_a_worker() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = orders(&lease, "workerless").await;
    let name = database.subscription_name();
    // Enabled, but whoever listens on port 1 is not its publisher: its worker dies again and again.
    let nowhere = format!("ALTER SUBSCRIPTION {name} CONNECTION 'host=127.0.0.1 port=1 user=postgres dbname=x'");
    database.subscriber.sql(&nowhere).await.unwrap();
    let slot = database.slot_name();
    let inactive = format!("SELECT active FROM pg_replication_slots WHERE slot_name = '{slot}'");
    wait_for(&database.publisher, &inactive, "f").await;
    let (_, message) = not_reached(&database).await;
    assert_says(&message, &[&format!("subscription {name} has no apply worker"), &format!("slot {slot} is inactive")]);
    assert!(!message.contains("disabled"), "{message}");
}

#[tokio::test]
async fn a_table_that_is_still_being_copied() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("copying").await.unwrap();
    database.both("CREATE TABLE orders (id bigint PRIMARY KEY, note text)").await.unwrap();
    database.publisher.sql(ROWS).await.unwrap();
    // The copy fails on a row that is there already, and is tried again for ever.
    database.subscriber.sql("INSERT INTO orders VALUES (1, 'in the way')").await.unwrap();
    database.replicate(ReplicateOptions { wait: false, ..ReplicateOptions::default() }).await.unwrap();
    let worker = "SELECT count(*) FROM pg_stat_subscription WHERE relid IS NULL AND received_lsn IS NOT NULL \
                  AND subname = (SELECT subname FROM pg_subscription WHERE subdbid = \
                  (SELECT oid FROM pg_database WHERE datname = current_database()))";
    wait_for(&database.subscriber, worker, "1").await;
    let (ran, message) = not_reached(&database).await;
    let name = database.subscription_name();
    assert_says(
        &message,
        &[
            &format!("subscription {name} to finish copying: 1 of its tables are not ready"),
            &format!("table public.orders of subscription {name} is not ready (state d)"),
        ],
    );
    assert_eq!(ran.findings(), ["error table_not_ready public.orders"]);

    database.subscriber.sql("DELETE FROM orders").await.unwrap();
    let ran = quiesced(&database).args("--lag-timeout 60s").run().await;
    // The catalog was read while the table was not ready, or a moment later: proven or not, it is never called different.
    assert!(matches!(ran.code, 0 | 3), "{ran:#?}");
    database.catch_up().await.unwrap();
    quiesced(&database).run().await.assert_code(0);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn lag_that_does_not_reach_zero() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = orders(&lease, "lagging").await;
    let holder = database.subscriber.connect().await.unwrap();
    holder.batch_execute("BEGIN; LOCK TABLE orders IN SHARE MODE").await.unwrap();
    database.publisher.sql("UPDATE orders SET note = 'late' WHERE id < 100").await.unwrap();
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'orders'::regclass \
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    wait_for(&database.subscriber, waits, "1").await;
    let (ran, message) = not_reached(&database).await;
    let name = database.subscription_name();
    assert_says(
        &message,
        &[&format!("waited 2 s for subscription {name} to reach "), "it has applied up to ", " bytes short"],
    );
    assert_says(
        &message,
        &["likely because worker ", " waits for a lock on public.orders, held by process ", "(testbed, "],
    );
    let gate = &ran.json["gate"];
    assert!(gate["lag_bytes"].as_u64().unwrap() > 0 && gate["applied_lsn"].is_string(), "{gate}");

    holder.batch_execute("COMMIT").await.unwrap();
    let ran = quiesced(&database).args("--lag-timeout 30s").run().await;
    ran.assert_code(0);
    assert_eq!(ran.json["gate"]["lag_bytes"], 0);
    assert_eq!(ran.json["gate"]["publisher_lsn"], ran.json["gate"]["applied_lsn"]);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn an_apply_error() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = orders(&lease, "conflict").await;
    let name = database.subscription_name();
    database.subscriber.sql("INSERT INTO orders VALUES (1000, 'in the way')").await.unwrap();
    database.publisher.sql("INSERT INTO orders VALUES (1000, 'refused')").await.unwrap();
    let errors = format!("SELECT apply_error_count > 1 FROM pg_stat_subscription_stats WHERE subname = '{name}'");
    wait_for(&database.subscriber, &errors, "t").await;
    let (_, message) = not_reached(&database).await;
    assert_says(
        &message,
        &[&format!("subscription {name} has counted "), " apply errors (look at the subscriber's log)"],
    );
    // What was refused is not compared, and not told.
    assert!(!message.contains("in the way") && !message.contains("refused"), "{message}");
}

#[tokio::test]
async fn an_insert_left_open() {
    let lease = shared_pair(14, 16).exclusive().await.unwrap();
    let database = orders(&lease, "open_insert").await;
    let other = lease.database("open_insert_elsewhere").await.unwrap();
    other.publisher.sql("CREATE TABLE notes (id int)").await.unwrap();

    // A writer in another database of the cluster is in nobody's way.
    let elsewhere = other.publisher.connect().await.unwrap();
    elsewhere.batch_execute("BEGIN; INSERT INTO notes VALUES (1)").await.unwrap();
    let ran = quiesced(&database).args("--lag-timeout 20s").run().await;
    ran.assert_code(0);
    assert_eq!(ran.tables(), ["public.orders match -"]);

    let writer = database.publisher.connect().await.unwrap();
    writer.batch_execute("BEGIN; INSERT INTO orders VALUES (1000, 'open')").await.unwrap();
    let pid = writer.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get::<_, i32>(0);
    let (_, message) = not_reached(&database).await;
    let named = format!("a transaction that may have written is open in process {pid} (idle in transaction for ");
    assert_says(&message, &["writes on the publisher to stop: ", &named]);
    let of_elsewhere = elsewhere.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get::<_, i32>(0);
    assert!(!message.contains(&format!("process {of_elsewhere} ")), "{message}");

    // One that only reads is in nobody's way, however long it is open.
    writer.batch_execute("ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM orders").await.unwrap();
    quiesced(&database).args("--lag-timeout 20s").run().await.assert_code(0);
    // Committed meanwhile, it is waited for and compared.
    writer.batch_execute("COMMIT; BEGIN; INSERT INTO orders VALUES (1000, 'open')").await.unwrap();
    let running = quiesced(&database).args("--lag-timeout 60s").start();
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'triplecheck/snapshot' AND datname = current_database()";
    wait_for(&database.publisher, waits, "1").await;
    writer.batch_execute("COMMIT").await.unwrap();
    let ran = running.finish().await;
    ran.assert_code(0);
    assert_eq!(ran.table("orders")["rows"]["publisher"], 201);
    database.assert_nothing_left().await;
    elsewhere.batch_execute("ROLLBACK").await.unwrap();
    other.assert_nothing_left().await;
}

#[tokio::test]
async fn a_prepared_transaction_left_open() {
    let lease = shared_pair(14, 16).exclusive().await.unwrap();
    let database = orders(&lease, "prepared").await;
    let other = lease.database("prepared_elsewhere").await.unwrap();
    let elsewhere = "CREATE TABLE notes (id int); BEGIN; INSERT INTO notes VALUES (1); PREPARE TRANSACTION 'elsewhere'";
    other.publisher.sql(elsewhere).await.unwrap();
    quiesced(&database).args("--lag-timeout 20s").run().await.assert_code(0);

    let prepare = "BEGIN; INSERT INTO orders VALUES (1000, 'open'); PREPARE TRANSACTION 'left \"open\"'";
    database.publisher.sql(prepare).await.unwrap();
    let (_, message) = not_reached(&database).await;
    let named = "the prepared transaction \"left \\\"open\\\"\" is neither committed nor rolled back";
    assert_says(&message, &["writes on the publisher to stop: ", named]);
    assert!(!message.contains("elsewhere"), "{message}");
    // While nobody commits it, what others write can be told apart from it.
    let ran = Verify::new(&database).args("--gate live --scope published --lag-timeout 20s").run().await;
    ran.assert_code(0);
    assert_eq!(ran.table("orders")["rows"]["subscriber"], 200);
    database.publisher.sql("COMMIT PREPARED 'left \"open\"'").await.unwrap();
    let ran = quiesced(&database).args("--lag-timeout 20s").run().await;
    ran.assert_code(0);
    assert_eq!(ran.table("orders")["rows"]["subscriber"], 201);
    other.publisher.sql("ROLLBACK PREPARED 'elsewhere'").await.unwrap();
    database.assert_nothing_left().await;
}

fn load(rate: Option<f64>) -> LoadOptions {
    let statements = [
        "UPDATE orders SET note = clock_timestamp()::text WHERE id = 1 + floor(random() * 200)::int",
        "INSERT INTO orders VALUES (1000 + floor(random() * 1e12)::bigint, 'new')",
        "DELETE FROM orders WHERE id = (SELECT max(id) FROM orders)",
    ];
    LoadOptions { clients: 2, rate_per_second: rate, statements: statements.map(str::to_owned).to_vec() }
}

#[tokio::test]
async fn writes_in_another_database_do_not_keep_the_gate_closed() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = orders(&lease, "quiet").await;
    let other = lease.database("busy").await.unwrap();
    other.publisher.sql("CREATE TABLE orders (id bigint PRIMARY KEY, note text)").await.unwrap();
    other.publisher.sql(ROWS).await.unwrap();
    let writes = Load::start(&other.publisher, load(None)).await.unwrap();
    for _ in 0..3 {
        let ran = quiesced(&database).args("--lag-timeout 30s").run().await;
        ran.assert_code(0);
        assert_eq!(ran.tables(), ["public.orders match -"]);
        let proof = ran.json["sync_points"][0]["proof"].as_str().unwrap();
        assert!(proof.starts_with("quiesced: "), "{proof}");
        database.assert_nothing_left().await;
    }
    let report = writes.stop().await.unwrap();
    assert!(report.transactions > 100 && report.errors == 0, "{report:?}");
}

#[tokio::test]
async fn a_role_that_may_not_have_a_slot_is_told_what_it_would_be_good_for() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = orders(&lease, "slotless").await;
    let role = format!("slotless_{}", database.publisher.name());
    database.both(&format!("CREATE ROLE {role} LOGIN; GRANT SELECT ON orders TO {role}")).await.unwrap();
    let other = lease.database("busy_beside_slotless").await.unwrap();
    other.publisher.sql("CREATE TABLE orders (id bigint PRIMARY KEY, note text)").await.unwrap();
    other.publisher.sql(ROWS).await.unwrap();
    let writes = Load::start(&other.publisher, load(None)).await.unwrap();
    let verify = || {
        Verify::between(&database.publisher.conninfo_as(&role), &database.subscriber.conninfo_as(&role))
            .args("--gate quiesced --lag-timeout 15s")
    };
    let ran = verify().run().await;
    ran.assert_code(3);
    assert_eq!(ran.tables(), ["public.orders unproven gate_not_reached"]);
    let message = ran.json["gate"]["message"].as_str().unwrap();
    let parts =
        ["transactions committed while both snapshots were taken", "a temporary slot would show", "REPLICATION"];
    assert_says(message, &parts);
    database.publisher.sql(&format!("ALTER ROLE {role} REPLICATION")).await.unwrap();
    verify().args("-j 2").run().await.assert_code(0);
    writes.stop().await.unwrap();
    database.assert_nothing_left().await;
    database.both(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}

#[tokio::test]
async fn killed_or_interrupted_while_it_holds_a_slot() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = orders(&lease, "slot_holder").await;
    let writes = Load::start(&database.publisher, load(None)).await.unwrap();
    let slot = "SELECT count(*) > 0 FROM pg_replication_slots WHERE temporary AND database = current_database() \
                AND slot_name LIKE 'triplecheck%'";
    for (signal, code) in [("INT", Some(130)), ("KILL", None)] {
        let running = quiesced(&database).start();
        wait_for(&database.publisher, slot, "t").await;
        running.signal(signal).await;
        assert_eq!(running.printed().await.code, code);
        database.assert_nothing_left().await;
    }
    writes.stop().await.unwrap();
}

#[tokio::test]
async fn a_write_load_keeps_the_gate_closed_and_is_never_called_a_difference() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = orders(&lease, "writes").await;
    let writes = Load::start(&database.publisher, load(None)).await.unwrap();
    for _ in 0..2 {
        let (_, message) = not_reached(&database).await;
        let waiting = ["writes on the publisher to stop", "to reach "].iter().any(|part| message.contains(part));
        assert!(waiting, "{message}");
    }
    // As soon as the writes stop, it is verified.
    let running = quiesced(&database).args("--lag-timeout 60s").start();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let report = writes.stop().await.unwrap();
    assert!(report.transactions > 100 && report.errors == 0, "{report:?}");
    let ran = running.finish().await;
    ran.assert_code(0);
    assert_eq!(ran.tables(), ["public.orders match -"]);
    let waited = ran.json["gate"]["waited_ms"].as_u64().unwrap();
    assert!(waited > 500, "the writes were waited for: {waited} ms");
    let rows = database.publisher.value("SELECT count(*) FROM orders").await.unwrap();
    assert_eq!(ran.table("orders")["rows"]["publisher"].to_string(), rows);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn a_slow_trickle_of_writes_is_never_called_a_difference() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = orders(&lease, "trickle").await;
    let writes = Load::start(&database.publisher, load(Some(40.0))).await.unwrap();
    for _ in 0..8 {
        let ran = quiesced(&database).args("--lag-timeout 1s").run().await;
        assert!(matches!(ran.code, 0 | 3), "a false difference: {ran:#?}");
    }
    writes.stop().await.unwrap();
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn without_a_gate_the_first_line_says_so() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("gateless").await.unwrap();
    database.both("CREATE TABLE orders (id bigint PRIMARY KEY, note text)").await.unwrap();
    database.both(ROWS).await.unwrap();

    // Nothing joins the two: refused, with the way out.
    for gate in ["", "--gate quiesced"] {
        let ran = Verify::new(&database).args(gate).run().await;
        let (code, message, hint) = ran.refusal();
        assert_eq!(code, "usage");
        assert_says(message, &["has no subscription"]);
        assert_says(hint, &["--gate none"]);
    }
    let text = Verify::new(&database).text().await;
    assert_eq!(text.code, Some(2));
    assert!(text.stdout.is_empty() && text.stderr.contains("--gate none"), "{text:?}");

    let ran = Verify::new(&database).args("--gate none").run().await;
    ran.assert_code(0);
    assert_eq!(ran.tables(), ["public.orders match -"]);
    assert_eq!(ran.json["gate"]["mode"], "none");
    assert!(ran.json["gate"]["publisher_lsn"].is_null() && ran.json["gate"]["lag_bytes"].is_null());
    let text = Verify::new(&database).args("--gate none").text().await;
    assert_eq!(text.code, Some(0));
    let first = text.stdout.lines().next().unwrap();
    assert_says(first, &["Nothing joins the two snapshots (gate none)"]);
    assert_says(text.stdout.lines().last().unwrap(), &["MATCH: ", "in two unrelated snapshots"]);

    database.subscriber.sql("UPDATE orders SET note = NULL WHERE id = 42").await.unwrap();
    let text = Verify::new(&database).args("--gate none").text().await;
    assert_eq!(text.code, Some(1));
    assert_eq!(text.stdout.lines().next(), Some(first));
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn without_a_gate_an_open_writer_is_no_hindrance() {
    let lease = shared_pair(14, 16).exclusive().await.unwrap();
    let database = orders(&lease, "gateless_writer").await;
    let writer = database.publisher.connect().await.unwrap();
    writer.batch_execute("BEGIN; INSERT INTO orders VALUES (1000, 'open')").await.unwrap();
    let ran = Verify::new(&database).args("--gate none").run().await;
    ran.assert_code(0);
    writer.batch_execute("ROLLBACK").await.unwrap();
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn a_publisher_that_does_not_feed_the_subscription() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = orders(&lease, "feeder").await;
    let (publisher, subscriber) = (database.publisher.conninfo(), database.subscriber.conninfo());
    let (name, slot) = (database.subscription_name(), database.slot_name());

    // Sides swapped: the old publisher has no subscription.
    let ran = Verify::between(&subscriber, &publisher).run().await;
    let (code, message, hint) = ran.refusal();
    assert_eq!(code, "usage");
    assert_says(message, &["has no subscription"]);
    assert_says(hint, &["swapped", "--gate none"]);

    // Another database of the publisher's server.
    let other = lease.database("not_the_feeder").await.unwrap();
    other.publisher.sql("CREATE TABLE orders (id bigint PRIMARY KEY, note text)").await.unwrap();
    let ran = Verify::between(&other.publisher.conninfo(), &subscriber).run().await;
    let (code, message, _) = ran.refusal();
    assert_eq!(code, "usage");
    assert_says(message, &[&name, &slot, other.publisher.name()]);

    // Another server with a database of the same name.
    let clone = Server::start(14, ServerOptions::default()).await.unwrap();
    let same_name = clone.create_database(database.publisher.name(), "").await.unwrap();
    same_name.sql("CREATE TABLE orders (id bigint PRIMARY KEY, note text)").await.unwrap();
    for selection in [String::new(), format!("--subscription {name}")] {
        let ran = Verify::between(&same_name.conninfo(), &subscriber).args(&selection).run().await;
        let (code, message, hint) = ran.refusal();
        assert_eq!(code, "usage");
        assert_says(message, &[&name, &slot, same_name.name()]);
        assert_says(hint, &["swapped"]);
    }

    let ran = Verify::new(&database).args("--subscription no_such").run().await;
    let (_, message, hint) = ran.refusal();
    assert_says(message, &["subscription no_such does not exist"]);
    assert_says(hint, &[&name]);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn the_same_database_on_both_sides() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = orders(&lease, "same").await;
    for (one, other) in [
        (database.publisher.conninfo(), database.publisher.conninfo()),
        (database.publisher.conninfo(), database.publisher.uri()),
        (database.subscriber.uri(), database.subscriber.conninfo()),
    ] {
        for gate in ["none", "quiesced"] {
            let ran = Verify::between(&one, &other).args("--gate").arg(gate).run().await;
            let (code, message, hint) = ran.refusal();
            assert_eq!(code, "usage");
            assert_says(message, &["the publisher and the subscriber are the same database"]);
            assert_says(hint, &["--publisher", "--subscriber"]);
        }
    }
    // Another database of the same server is another database.
    let other = lease.database("same_server").await.unwrap();
    let table = "CREATE TABLE orders (id bigint PRIMARY KEY, note text);";
    other.publisher.sql(&format!("{table} {ROWS}")).await.unwrap();
    let between = Verify::between(&database.publisher.conninfo(), &other.publisher.conninfo());
    between.args("--gate none").run().await.assert_code(0);
    database.assert_nothing_left().await;
}
