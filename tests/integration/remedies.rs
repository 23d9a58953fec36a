//! What `preflight` prints as a remedy runs in psql as it is printed, or is in words; either clears its check.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use triplecheck_testbed::{
    Database, Load, LoadOptions, Pair, PairOptions, ReplicateOptions, Replicated, Server, ServerOptions, find_client,
    shared_pair,
};

use crate::harness::{Ran, Verify, disable, wait_for};

/// Whether a remedy is to be run: words begin with a small letter.
pub(crate) fn is_sql(check: &Value) -> bool {
    check["remedy"].as_str().unwrap_or_else(|| panic!("no remedy: {check:#}")).starts_with(char::is_uppercase)
}

/// Pastes a remedy into psql, comments and all.
pub(crate) async fn apply(check: &Value, on: &Database) {
    assert!(is_sql(check), "in words: {check:#}");
    let psql = find_client("psql").expect("psql comes with the servers");
    let mut command = Command::new(psql);
    command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &on.conninfo(), "-f", "-"]).kill_on_drop(true);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(check["remedy"].as_str().unwrap().as_bytes()).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{check:#}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Whether a check is there with this status.
fn has(ran: &Ran, status: &str, code: &str, object: &str) -> bool {
    ran.checks(status).contains(&format!("{code} {object}"))
}

/// The check has this status and a remedy to be run, and once that was run, has it no longer.
async fn cleared(preflight: &impl Fn() -> Verify, (status, code, object): (&str, &str, &str), on: &Database) -> Ran {
    let broken = preflight().run().await;
    let check = broken.check(code, object);
    assert_eq!(check["status"], status, "{check:#}");
    apply(check, on).await;
    let healed = preflight().run().await;
    assert!(!has(&healed, status, code, object), "{healed:#?}");
    healed
}

/// The same of a remedy in words: it says this, and doing it is the caller's.
#[track_caller]
fn said(broken: &Ran, (status, code, object): (&str, &str, &str), words: &str) {
    let check = broken.check(code, object);
    assert_eq!(check["status"], status, "{check:#}");
    assert!(!is_sql(check) && check["remedy"].as_str().unwrap().contains(words), "{check:#}");
}

#[tokio::test]
async fn of_tables_publications_and_subscriptions() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("remedies").await.unwrap();
    let (publisher, subscriber) = (&database.publisher, &database.subscriber);
    let (name, slot) = (database.subscription_name(), database.slot_name());
    let preflight = || Verify::new(&database).preflight();
    let tables = "CREATE TABLE nothing (id bigint PRIMARY KEY); CREATE TABLE nothing_keyless (id bigint NOT NULL);
        CREATE TABLE lost (id bigint PRIMARY KEY, other bigint NOT NULL CONSTRAINT lost_other UNIQUE);
        CREATE TABLE lost_keyless (id bigint NOT NULL CONSTRAINT keyless_id UNIQUE);
        CREATE TABLE names (id bigint PRIMARY KEY, name text COLLATE \"sv-x-icu\", other text);
        CREATE INDEX by_name ON names (name); CREATE INDEX \"By \"\"other\" ON names ((other COLLATE \"sv-x-icu\"))";
    database.both(tables).await.unwrap();
    publisher
        .sql(
            "ALTER TABLE nothing REPLICA IDENTITY NOTHING; ALTER TABLE nothing_keyless REPLICA IDENTITY NOTHING;
             ALTER TABLE lost REPLICA IDENTITY USING INDEX lost_other; ALTER TABLE lost DROP CONSTRAINT lost_other;
             ALTER TABLE lost_keyless REPLICA IDENTITY USING INDEX keyless_id;
             ALTER TABLE lost_keyless DROP CONSTRAINT keyless_id",
        )
        .await
        .unwrap();
    cleared(&preflight, ("warn", "publication", "-"), publisher).await;
    for table in ["nothing", "lost", "nothing_keyless", "lost_keyless"] {
        cleared(&preflight, ("fix", "replica_identity", &format!("public.{table}")), publisher).await;
    }
    // By its key, it need not be said how.
    let left = preflight().run().await;
    for table in ["public.nothing_keyless", "public.lost_keyless"] {
        said(&left, ("warn", "replica_identity", table), "give it a primary key: ALTER TABLE");
    }
    database
        .both("ALTER TABLE nothing_keyless ADD PRIMARY KEY (id); ALTER TABLE lost_keyless ADD PRIMARY KEY (id)")
        .await
        .unwrap();
    let left = preflight().run().await;
    assert!(!has(&left, "warn", "replica_identity", "public.lost_keyless"), "{left:#?}");

    said(&left, ("warn", "subscription", "-"), "CREATE SUBSCRIPTION on the subscriber");
    let create = format!(
        "CREATE SUBSCRIPTION {name} CONNECTION '{}' PUBLICATION upgrade_pub WITH (slot_name = {slot})",
        publisher.conninfo()
    );
    subscriber.sql(&create).await.unwrap();
    database.catch_up().await.unwrap();
    preflight().run().await.assert_code(0);

    subscriber.sql("UPDATE pg_collation SET collversion = 'old' WHERE collname = 'sv-x-icu'").await.unwrap();
    let stale = ("fix", "collation_version", "pg_catalog.\"sv-x-icu\"");
    let broken = preflight().run().await;
    let remedy = broken.check(stale.1, stale.2)["remedy"].as_str().unwrap();
    let expected = "REINDEX INDEX \"public\".\"By \"\"other\"; REINDEX INDEX \"public\".\"by_name\"; \
                    ALTER COLLATION \"pg_catalog\".\"sv-x-icu\" REFRESH VERSION";
    assert_eq!(remedy, expected);
    cleared(&preflight, stale, subscriber).await;

    // Nobody can install what is not there; the next best is not to have it on the publisher, either.
    let extension = "SET allow_system_table_mods = on; INSERT INTO pg_extension (oid, extname, extowner, extnamespace, \
                     extrelocatable, extversion) VALUES (99999, 'nowhere', 10, 11, false, '1.0')";
    publisher.sql(extension).await.unwrap();
    let words = "install its files on the subscriber's server, then CREATE EXTENSION \"nowhere\"";
    said(&preflight().run().await, ("fix", "extension", "nowhere"), words);
    publisher.sql("DELETE FROM pg_extension WHERE extname = 'nowhere'").await.unwrap();
    preflight().run().await.assert_code(0);

    // Which of several slots it is, nobody but its owner knows.
    disable(&database, &name, &slot).await;
    subscriber.sql(&format!("ALTER SUBSCRIPTION {name} SET (slot_name = elsewhere)")).await.unwrap();
    let other = format!("other_{slot}");
    publisher.sql(&format!("SELECT pg_create_logical_replication_slot('{other}', 'pgoutput')")).await.unwrap();
    let words = format!("({other}, {slot}): ALTER SUBSCRIPTION \"{name}\" SET (slot_name = ...)");
    let wrong = ("fix", "subscription_slot", &*name);
    said(&preflight().run().await, wrong, &words);
    subscriber.sql(&format!("ALTER SUBSCRIPTION {name} SET (slot_name = {slot})")).await.unwrap();
    let right = preflight().run().await;
    assert!(!has(&right, "fix", wrong.1, wrong.2), "{right:#?}");
    cleared(&preflight, ("warn", "slot_unused", &other), publisher).await;
    cleared(&preflight, ("fix", "subscription_enabled", &name), subscriber).await.assert_code(0);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn of_databases() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let ascii = "TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'";
    let database = lease.database_with("remedies_encoding", "", ascii).await.unwrap();
    let (name, subscriber) = (database.publisher.name(), &database.subscriber);
    database.both("CREATE TABLE words (word text PRIMARY KEY)").await.unwrap();
    let preflight = || Verify::new(&database).preflight();
    let broken = preflight().run().await;
    said(&broken, ("warn", "database_encoding", "-"), "make the subscriber's database with the same encoding");
    assert_eq!(
        broken.check("database_encoding", "-")["evidence"],
        "UTF8 on the publisher, SQL_ASCII on the subscriber"
    );
    lease.subscriber.database("postgres").sql(&format!("DROP DATABASE \"{name}\"")).await.unwrap();
    let unicode =
        "TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.utf8' LOCALE_PROVIDER icu ICU_LOCALE 'de'";
    lease.subscriber.create_database(name, unicode).await.unwrap();
    subscriber.sql("CREATE TABLE words (word text PRIMARY KEY)").await.unwrap();
    let healed = preflight().run().await;
    assert!(has(&healed, "ok", "database_encoding", "-"), "{healed:#?}");

    let old = "UPDATE pg_database SET datcollversion = '0.6' WHERE datname = current_database()";
    subscriber.sql(old).await.unwrap();
    cleared(&preflight, ("fix", "collation_version", name), subscriber).await;
    database.assert_nothing_left().await;
}

/// What the schemas of both sides say has the codes of findings.
#[tokio::test]
async fn of_schemas() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("remedies_schema").await.unwrap();
    let (publisher, subscriber) = (&database.publisher, &database.subscriber);
    publisher
        .sql(
            "CREATE TABLE \"T's\" (id bigint PRIMARY KEY, a int NOT NULL DEFAULT 7, b int, c int, more text);
             ALTER TABLE \"T's\" ADD CONSTRAINT \"b > 0\" CHECK (b > 0); ALTER TABLE \"T's\" ADD CONSTRAINT c_0 CHECK (c > 0);
             CREATE INDEX \"By b\" ON \"T's\" (b); CREATE INDEX by_c ON \"T's\" (c); CREATE TABLE absent (id bigint PRIMARY KEY);
             INSERT INTO \"T's\" SELECT i, i, i, i FROM generate_series(1, 10) i",
        )
        .await
        .unwrap();
    subscriber
        .sql(
            "CREATE TABLE \"T's\" (id bigint PRIMARY KEY, a int, b int, c int, more text);
             ALTER TABLE \"T's\" ADD CONSTRAINT \"b > 0\" CHECK (b > 0) NOT VALID; CREATE INDEX \"By b\" ON \"T's\" (b);
             CREATE TABLE absent (id bigint PRIMARY KEY)",
        )
        .await
        .unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    subscriber
        .sql(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '\"By b\"'::regclass;
             ALTER TABLE \"T's\" DROP COLUMN more; DROP TABLE absent; ANALYZE \"T's\"",
        )
        .await
        .unwrap();
    let preflight = || Verify::new(&database).preflight();
    let of = |name: &str| format!("public.\"T's\".{name}");
    for (code, name) in [("not_null_missing", "a"), ("constraint_not_valid", "b > 0"), ("index_invalid", "By b")] {
        cleared(&preflight, ("warn", code, &of(name)), subscriber).await;
    }
    let broken = preflight().run().await;
    said(&broken, ("warn", "default_missing", &of("a")), "create it before the application writes there");
    said(&broken, ("warn", "constraint_missing", &of("c_0")), "create it before the application writes there");
    said(&broken, ("warn", "index_missing", &of("by_c")), "create it before the application writes there");
    said(&broken, ("fix", "column_missing", &of("more")), "add it there");
    said(&broken, ("fix", "table_missing", "public.absent"), "create it there and refresh the subscription");
    subscriber
        .sql(
            "ALTER TABLE \"T's\" ALTER COLUMN a SET DEFAULT 7, ADD CONSTRAINT c_0 CHECK (c > 0), ADD COLUMN more text;
             CREATE INDEX by_c ON \"T's\" (c); CREATE TABLE absent (id bigint PRIMARY KEY)",
        )
        .await
        .unwrap();
    subscriber.sql(&format!("ALTER SUBSCRIPTION {} REFRESH PUBLICATION", database.subscription_name())).await.unwrap();
    database.catch_up().await.unwrap();
    let healed = preflight().run().await;
    healed.assert_code(0);
    let drift = healed.checks("warn").into_iter().filter(|check| check.contains("public."));
    assert_eq!(drift.collect::<Vec<_>>(), [] as [String; 0], "{healed:#?}");
    database.assert_nothing_left().await;
}

async fn orders(database: &Replicated) {
    database.both("CREATE TABLE orders (id bigint PRIMARY KEY, note text)").await.unwrap();
    database.publisher.sql("INSERT INTO orders SELECT g, g FROM generate_series(1, 100) g").await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    database.subscriber.sql("ANALYZE orders").await.unwrap();
}

/// Some servers for all that takes other settings, restarts, and WAL.
#[tokio::test]
async fn of_servers() {
    let pair = Pair::start(14, 16, PairOptions::default()).await.unwrap();
    let database = pair.database("remedies_servers").await.unwrap();
    orders(&database).await;
    Verify::new(&database).preflight().run().await.assert_code(0);
    slots_in_danger(&database).await;
    everything_in_use(&pair, &database).await;
    a_standby_of_the_subscriber(&pair, &database).await;
    database.assert_nothing_left().await;
}

/// A statement that runs alone, and the configuration read again.
async fn set(on: &Database, statement: &str) {
    on.sql(statement).await.unwrap();
    on.sql("SELECT pg_reload_conf()").await.unwrap();
}

/// Goes some segments further in the WAL.
async fn some_segments(publisher: &Database) {
    for _ in 0..3 {
        publisher.sql("CREATE TABLE filler (id int); DROP TABLE filler").await.unwrap();
        publisher.sql("SELECT pg_switch_wal()").await.unwrap();
    }
}

/// What a slot keeps, and what it may lose.
async fn slots_in_danger(database: &Replicated) {
    let (publisher, subscriber) = (&database.publisher, &database.subscriber);
    let (name, slot) = (database.subscription_name(), database.slot_name());
    let enable = format!("ALTER SUBSCRIPTION {name} ENABLE");
    let preflight = || Verify::new(database).preflight().args("--retained 16MB");
    disable(database, &name, &slot).await;
    some_segments(publisher).await;
    let broken = preflight().run().await;
    said(&broken, ("fix", "retained_wal", &slot), "let its subscriber catch up");
    assert_eq!(broken.check("retained_wal", &slot)["threshold"], "less than 16.0 MB");
    subscriber.sql(&enable).await.unwrap();
    // A slot lets go of WAL once running transactions are logged again, and confirmed.
    let kept = format!(
        "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) < 16000000 FROM pg_replication_slots \
         WHERE slot_name = '{slot}'"
    );
    for _ in 0..100 {
        publisher.sql("CHECKPOINT").await.unwrap();
        database.catch_up().await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        if publisher.value(&kept).await.unwrap() == "t" {
            break;
        }
    }
    let healed = preflight().run().await;
    assert!(has(&healed, "ok", "retained_wal", &slot), "{healed:#?}");
    healed.assert_code(0);

    // The next checkpoint would take it.
    let preflight = || Verify::new(database).preflight();
    disable(database, &name, &slot).await;
    publisher.sql("INSERT INTO orders VALUES (1000, 'kept')").await.unwrap();
    set(publisher, "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'").await;
    some_segments(publisher).await;
    wait_for(
        publisher,
        &format!("SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{slot}'"),
        "unreserved",
    )
    .await;
    let healed = cleared(&preflight, ("fix", "slot_health", &slot), publisher).await;
    assert!(has(&healed, "ok", "slot_health", &slot), "{healed:#?}");
    publisher.sql("CHECKPOINT").await.unwrap();
    subscriber.sql(&enable).await.unwrap();
    database.catch_up().await.unwrap();
    assert_eq!(subscriber.value("SELECT note FROM orders WHERE id = 1000").await.unwrap(), "kept");

    // What may still be written is written within an hour.
    set(publisher, "ALTER SYSTEM SET max_slot_wal_keep_size = '128MB'").await;
    let statements = vec!["SELECT pg_logical_emit_message(true, 'load', repeat('x', 100000))".to_owned()];
    let options = LoadOptions { clients: 1, rate_per_second: Some(20.0), statements };
    let load = Load::start(publisher, options).await.unwrap();
    let measured = || Verify::new(database).preflight_for("1s");
    let broken = measured().run().await;
    let evidence = broken.check("slot_health", &slot)["evidence"].as_str().unwrap();
    assert!(
        evidence.contains(" may be written until it is lost, and ") && evidence.contains(" are written in 1 h"),
        "{evidence}"
    );
    cleared(&measured, ("fix", "slot_health", &slot), publisher).await;
    load.stop().await.unwrap();
    database.catch_up().await.unwrap();
}

/// No worker, and no slot, is left.
async fn everything_in_use(pair: &Pair, database: &Replicated) {
    let (publisher, subscriber) = (&database.publisher, &database.subscriber);
    let preflight = || Verify::new(database).preflight();
    let create = format!(
        "CREATE SUBSCRIPTION second CONNECTION '{}' PUBLICATION {} WITH (copy_data = false)",
        publisher.conninfo(),
        database.publication_name()
    );
    // Both of them apply the same, so that nothing may be written meanwhile.
    subscriber.sql(&create).await.unwrap();
    publisher.sql("ALTER SYSTEM SET max_replication_slots = 2").await.unwrap();
    subscriber.sql("ALTER SYSTEM SET max_logical_replication_workers = 1").await.unwrap();
    tokio::try_join!(pair.publisher.restart(), pair.subscriber.restart()).unwrap();
    wait_for(publisher, "SELECT count(*) FROM pg_replication_slots WHERE active", "1").await;
    let broken = preflight().run().await;
    let starved = broken.checks("fix").into_iter().find_map(|check| {
        let name = check.strip_prefix("subscription_worker ")?;
        Some(name.to_owned())
    });
    let starved = starved.unwrap_or_else(|| panic!("{broken:#?}"));
    assert!(has(&broken, "fix", "workers_capacity", "-"), "{broken:#?}");
    let evidence = broken.check("subscription_worker", &starved)["evidence"].as_str().unwrap();
    assert_eq!(evidence, "it has no apply worker; 1 of 1 workers are in use");
    assert!(has(&broken, "fix", "slots_capacity", "-"), "{broken:#?}");
    said(&broken, ("unknown", "privilege_replication", "-"), "a free slot");
    apply(broken.check("subscription_worker", &starved), subscriber).await;
    apply(broken.check("slots_capacity", "-"), publisher).await;
    tokio::try_join!(pair.publisher.restart(), pair.subscriber.restart()).unwrap();
    wait_for(publisher, "SELECT count(*) FROM pg_replication_slots WHERE active", "2").await;
    // A worker that lost its publisher has counted that.
    subscriber.sql("SELECT pg_stat_reset_subscription_stats(oid) FROM pg_subscription").await.unwrap();
    let healed = preflight().run().await;
    let left: Vec<_> = healed.checks("fix").into_iter().filter(|check| !check.starts_with("several_")).collect();
    assert_eq!(left, [] as [String; 0], "{healed:#?}");
    assert_eq!(healed.checks("unknown"), [] as [String; 0], "{healed:#?}");
    subscriber.sql("DROP SUBSCRIPTION second").await.unwrap();
    preflight().run().await.assert_code(0);
}

/// A second server that replays what the subscriber writes.
async fn standby_of(server: &Server) -> Server {
    let standby = Server::start(server.major(), ServerOptions::default()).await.unwrap();
    tokio::try_join!(standby.stop(), server.stop()).unwrap();
    let (from, to) = (server.data_dir(), standby.data_dir());
    let script = "set -e; cd \"$2\"; find . -mindepth 1 -maxdepth 1 ! -name postgresql.conf -exec rm -rf {} +; cd \"$1\"; \
                  for part in *; do case $part in postgresql.conf|postgresql.auto.conf|postmaster.*) ;; \
                  *) cp -a \"$part\" \"$2\"/;; esac; done; touch \"$2/standby.signal\"; \
                  printf \"primary_conninfo = '%s'\\n\" \"$3\" >>\"$2/postgresql.conf\"";
    let primary = format!("host=127.0.0.1 port={} user=postgres", server.port());
    let copied =
        tokio::process::Command::new("sh").args(["-c", script, "sh"]).arg(&from).arg(&to).arg(primary).status().await;
    assert!(copied.unwrap().success());
    server.start_again().await.unwrap();
    standby.start_again().await.unwrap();
    standby
}

/// It has the subscription in its catalogs, and cannot run it.
async fn a_standby_of_the_subscriber(pair: &Pair, database: &Replicated) {
    let standby = standby_of(&pair.subscriber).await;
    let on_standby = standby.database(database.subscriber.name());
    let preflight = || Verify::between(&database.publisher.conninfo(), &on_standby.conninfo()).preflight();
    let broken = preflight().run().await;
    broken.assert_code(1);
    assert_eq!(broken.checks("fix"), ["subscriber_standby -"], "{broken:#?}");
    assert_eq!(broken.checks("unknown"), [] as [String; 0], "{broken:#?}");
    said(&broken, ("fix", "subscriber_standby", "-"), "name the primary as --subscriber, or promote this server");
    database.catch_up().await.unwrap();
    database.subscriber.sql("SELECT pg_stat_reset_subscription_stats(oid) FROM pg_subscription").await.unwrap();
    Verify::new(database).preflight().run().await.assert_code(0);

    // The primary is lost, and the standby takes its place.
    pair.subscriber.stop().await.unwrap();
    on_standby.sql("SELECT pg_promote()").await.unwrap();
    let active = format!("SELECT active FROM pg_replication_slots WHERE slot_name = '{}'", database.slot_name());
    wait_for(&database.publisher, &active, "t").await;
    database.publisher.sql("INSERT INTO orders VALUES (0, 'after the failover')").await.unwrap();
    wait_for(&on_standby, "SELECT count(*) FROM orders WHERE id = 0", "1").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    preflight().run().await.assert_code(0);
    on_standby.sql(&format!("ALTER SUBSCRIPTION {} DISABLE", database.subscription_name())).await.unwrap();
    wait_for(&database.publisher, &active, "f").await;
    drop(standby);
    pair.subscriber.start_again().await.unwrap();
    wait_for(&database.publisher, &active, "t").await;
}
