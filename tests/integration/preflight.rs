//! Every defect of the runbook is reported, with a remedy that clears it.

use std::time::Duration;

use serde_json::Value;
use triplecheck_testbed::{Database, Pair, PairOptions, ReplicateOptions, Replicated, ServerOptions, shared_pair};

use crate::harness::{Ran, Verify, disable, wait_for};
use crate::remedies;
use crate::roles::{self, Level};

/// A defect that the test has made.
pub(crate) struct Defect<'a> {
    /// Code and object of the check.
    check: (&'a str, String),
    status: &'a str,
    /// What the remedy must say, and what is done.
    remedy: String,
    on: &'a Database,
}

pub(crate) fn defect<'a>(code: &'a str, object: &str, status: &'a str, remedy: &str, on: &'a Database) -> Defect<'a> {
    Defect { check: (code, object.to_owned()), status, remedy: remedy.to_owned(), on }
}

/// The check is there with this status, and its remedy says this.
#[track_caller]
fn assert_reported(ran: &Ran, Defect { check: (code, object), status, remedy, .. }: &Defect<'_>) {
    let check = ran.check(code, object);
    assert_eq!(check["status"], *status, "{check:#}");
    assert!(check["remedy"].as_str().unwrap().contains(remedy), "not {remedy}: {check:#}");
    assert!(!check["evidence"].as_str().unwrap().is_empty(), "{check:#}");
}

/// All of them are reported; after each remedy was applied, as it is printed or as its words say, none is.
pub(crate) async fn heal(preflight: impl Fn() -> Verify, defects: &[Defect<'_>]) -> Ran {
    let broken = preflight().run().await;
    broken.assert_code(i32::from(defects.iter().any(|defect| defect.status == "fix")));
    defects.iter().for_each(|defect| assert_reported(&broken, defect));
    for defect in defects {
        let printed = broken.check(defect.check.0, &defect.check.1);
        if remedies::is_sql(printed) {
            remedies::apply(printed, defect.on).await;
        } else {
            defect.on.sql(&defect.remedy).await.unwrap();
        }
    }
    let healed = preflight().run().await;
    assert_cleared(&healed, defects);
    healed
}

#[track_caller]
fn assert_cleared(healed: &Ran, defects: &[Defect<'_>]) {
    for Defect { check: (code, object), status, .. } in defects {
        assert!(!healed.checks(status).contains(&format!("{code} {object}")), "{code} {object} is left: {healed:#?}");
    }
}

/// A table that is analyzed on the subscriber: what has never been is a defect of its own.
async fn orders(database: &Replicated, options: ReplicateOptions) {
    database.both("CREATE TABLE IF NOT EXISTS orders (id bigint PRIMARY KEY, note text)").await.unwrap();
    database.publisher.sql("INSERT INTO orders SELECT g, g FROM generate_series(1, 100) g").await.unwrap();
    database.replicate(options).await.unwrap();
    database.subscriber.sql("ANALYZE orders").await.unwrap();
}

#[tokio::test]
async fn defects_of_tables_and_their_surroundings() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("preflight_data").await.unwrap();
    let (publisher, subscriber) = (&database.publisher, &database.subscriber);
    let tables = "CREATE TABLE log (id bigint NOT NULL, note text); CREATE TABLE missed (id bigint PRIMARY KEY); \
                  CREATE TABLE bulk (id bigint PRIMARY KEY) WITH (autovacuum_enabled = false); \
                  CREATE TABLE names (id bigint PRIMARY KEY, name text COLLATE \"en-x-icu\")";
    database.both(tables).await.unwrap();
    // The largest comes first, whatever its name.
    let keyless =
        "CREATE TABLE keyless (note text); INSERT INTO keyless SELECT repeat('x', 100) FROM generate_series(1, 500)";
    publisher.sql(keyless).await.unwrap();
    publisher.sql("CREATE UNLOGGED TABLE scratch (id bigint PRIMARY KEY); CREATE SEQUENCE numbers").await.unwrap();
    publisher.sql("CREATE EXTENSION citext; CREATE EXTENSION hstore; SELECT lo_create(0)").await.unwrap();
    subscriber.sql("CREATE EXTENSION hstore VERSION '1.7'; CREATE SEQUENCE numbers").await.unwrap();
    subscriber.sql("CREATE TABLE keyless (note text)").await.unwrap();
    orders(
        &database,
        ReplicateOptions {
            publish: "FOR TABLE log, names, bulk, keyless".to_owned(),
            publication_with: "publish = 'insert, update, delete'".to_owned(),
            ..ReplicateOptions::default()
        },
    )
    .await;
    let publication = database.publication_name();
    publisher.sql(&format!("ALTER PUBLICATION {publication} ADD TABLE orders")).await.unwrap();
    let refresh = format!("ALTER SUBSCRIPTION {} REFRESH PUBLICATION", database.subscription_name());
    subscriber.sql(&refresh).await.unwrap();
    publisher.sql("INSERT INTO bulk SELECT generate_series(1, 1000)").await.unwrap();
    database.catch_up().await.unwrap();
    subscriber.sql("ANALYZE orders, keyless").await.unwrap();
    publisher.sql("ALTER TABLE orders ADD COLUMN added text").await.unwrap();
    subscriber.sql("UPDATE pg_collation SET collversion = 'old' WHERE collname = 'en-x-icu'").await.unwrap();

    let add = format!("ALTER PUBLICATION \"{publication}\" ADD TABLE \"public\".\"missed\"");
    let publish = format!("ALTER PUBLICATION \"{publication}\" SET (publish = 'insert, update, delete, truncate')");
    let full = "ALTER TABLE \"public\".\"log\" REPLICA IDENTITY FULL";
    let refresh_collation = "ALTER COLLATION \"pg_catalog\".\"en-x-icu\" REFRESH VERSION";
    let defects = [
        defect("replica_identity", "public.log", "fix", full, publisher),
        defect("unlogged_table", "public.scratch", "fix", "ALTER TABLE \"public\".\"scratch\" SET LOGGED", publisher),
        defect("table_not_published", "public.missed", "fix", &add, publisher),
        defect("publication", &publication, "warn", &publish, publisher),
        defect("extension", "citext", "fix", "CREATE EXTENSION \"citext\"", subscriber),
        defect("extension", "hstore", "warn", "ALTER EXTENSION \"hstore\" UPDATE", subscriber),
        defect("collation_version", "pg_catalog.\"en-x-icu\"", "fix", refresh_collation, subscriber),
        defect("statistics", "public.bulk", "fix", "ANALYZE \"public\".\"bulk\"", subscriber),
    ];
    let preflight = || Verify::new(&database).preflight();
    let broken = preflight().run().await;
    let keyless: Vec<_> =
        broken.checks("fix").into_iter().filter(|check| check.starts_with("replica_identity")).collect();
    assert_eq!(keyless, ["replica_identity public.keyless", "replica_identity public.log"]);
    assert_eq!(broken.check("column_missing", "public.orders.added")["status"], "fix");
    assert_eq!(broken.check("large_objects", "-")["status"], "fix");
    assert!(broken.check("large_objects", "-")["remedy"].as_str().unwrap().contains("--exclude-table pg_largeobject"));
    assert_eq!(broken.check("sequences", "-")["status"], "warn");
    let covered = &broken.json["publications"][0];
    assert_eq!(covered["name"], publication);
    let published = ["public.bulk", "public.keyless", "public.log", "public.names", "public.orders"];
    assert_eq!(covered["tables"], serde_json::json!(published));

    let healed = heal(preflight, &defects).await;
    // What has FULL in place of a key works, and slowly: a warning is left, with a remedy of its own.
    let slow =
        defect("replica_identity", "public.log", "warn", "ALTER TABLE \"public\".\"log\" ADD PRIMARY KEY", publisher);
    assert_reported(&healed, &slow);
    publisher.sql("ALTER TABLE log ADD PRIMARY KEY (id)").await.unwrap();
    publisher.sql("ALTER TABLE keyless ADD COLUMN id bigserial PRIMARY KEY").await.unwrap();
    subscriber.sql("ALTER TABLE keyless ADD COLUMN id bigserial PRIMARY KEY").await.unwrap();
    subscriber.sql("ALTER TABLE orders ADD COLUMN added text; ALTER TABLE log ADD PRIMARY KEY (id)").await.unwrap();
    // Logged, scratch is like any other table: it can be left out by name.
    subscriber.sql(&refresh).await.unwrap();
    database.catch_up().await.unwrap();
    let healed = preflight().args("--exclude-table pg_largeobject --exclude-table scratch").run().await;
    assert_eq!(healed.checks("fix"), [] as [String; 0], "{healed:#?}");
    healed.assert_code(0);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn defects_of_subscriptions() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("preflight_sub").await.unwrap();
    orders(&database, ReplicateOptions::default()).await;
    let (publisher, subscriber) = (&database.publisher, &database.subscriber);
    let (name, slot) = (database.subscription_name(), database.slot_name());
    let preflight = || Verify::new(&database).preflight();
    preflight().run().await.assert_code(0);

    disable(&database, &name, &slot).await;
    let enable = format!("ALTER SUBSCRIPTION \"{name}\" ENABLE");
    let skip = format!("ALTER SUBSCRIPTION \"{name}\" SKIP (lsn = NONE)");
    subscriber.sql(&format!("ALTER SUBSCRIPTION {name} SKIP (lsn = 'FFFF/0')")).await.unwrap();
    let disabled = defect("subscription_enabled", &name, "fix", &enable, subscriber);
    let skipped = defect("skipped_transaction", &name, "warn", &skip, subscriber);

    // On the wrong slot; the right one is then the only one that nobody reads.
    subscriber.sql(&format!("ALTER SUBSCRIPTION {name} SET (slot_name = elsewhere)")).await.unwrap();
    let set = format!("ALTER SUBSCRIPTION \"{name}\" SET (slot_name = '{slot}')");
    let wrong = defect("subscription_slot", &name, "fix", &set, subscriber);
    let unused = preflight().run().await;
    assert_eq!(unused.check("slot_unused", &slot)["status"], "warn");
    assert_eq!(unused.check("subscription", "-")["status"], "warn");
    assert_eq!(unused.json["proof"]["level"], "quiesced");
    heal(preflight, &[wrong]).await;
    heal(preflight, &[disabled, skipped]).await;

    // A way to the publisher that leads nowhere: no worker stays.
    let way = format!("SELECT subconninfo FROM pg_subscription WHERE subname = '{name}'");
    let way = subscriber.value(&way).await.unwrap();
    let connection = |way: &str| format!("ALTER SUBSCRIPTION {name} CONNECTION '{}'", way.replace('\'', "''"));
    subscriber.sql(&connection("host=127.0.0.1 port=1 dbname=nowhere")).await.unwrap();
    let active = format!("SELECT active FROM pg_replication_slots WHERE slot_name = '{slot}'");
    wait_for(publisher, &active, "f").await;
    let absent = defect("subscription_worker", &name, "fix", "connection string", subscriber);
    assert_reported(&preflight().run().await, &absent);
    subscriber.sql(&connection(&way)).await.unwrap();
    wait_for(publisher, &active, "t").await;
    let oid = subscriber.value(&format!("SELECT oid FROM pg_subscription WHERE subname = '{name}'")).await.unwrap();
    let reset = format!("SELECT pg_stat_reset_subscription_stats({oid})");
    subscriber.sql(&reset).await.unwrap();
    let healed = preflight().run().await;
    assert_cleared(&healed, &[absent]);
    healed.assert_code(0);

    // A row that is there already: the worker fails, and comes back, and fails.
    subscriber.sql("INSERT INTO orders VALUES (1000)").await.unwrap();
    publisher.sql("INSERT INTO orders VALUES (1000)").await.unwrap();
    let errors = "SELECT apply_error_count > 0 FROM pg_stat_subscription_stats s JOIN pg_subscription USING (subname) \
                  JOIN pg_database d ON d.oid = subdbid AND d.datname = current_database()";
    wait_for(subscriber, errors, "t").await;
    let counted = defect("apply_errors", &name, "fix", &reset, subscriber);
    let broken = preflight().run().await;
    assert_reported(&broken, &counted);
    subscriber.sql("DELETE FROM orders WHERE id = 1000").await.unwrap();
    database.catch_up().await.unwrap();
    remedies::apply(broken.check(counted.check.0, &counted.check.1), subscriber).await;
    assert_cleared(&preflight().run().await, &[counted]);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn conflicts_are_counted_since_18() {
    let lease = shared_pair(16, 18).shared().await.unwrap();
    let database = lease.database("preflight_conflicts").await.unwrap();
    orders(&database, ReplicateOptions::default()).await;
    let name = database.subscription_name();
    let preflight = || Verify::new(&database).preflight();
    let healthy = preflight().run().await;
    assert_eq!(healthy.check("conflicts", &name)["status"], "ok", "{healthy:#?}");
    database.subscriber.sql("DELETE FROM orders WHERE id = 7").await.unwrap();
    database.publisher.sql("UPDATE orders SET note = 'x' WHERE id = 7").await.unwrap();
    let counted = format!("SELECT confl_update_missing FROM pg_stat_subscription_stats WHERE subname = '{name}'");
    wait_for(&database.subscriber, &counted, "1").await;
    let oid = "SELECT subid FROM pg_stat_subscription_stats WHERE subname = ";
    let oid = database.subscriber.value(&format!("{oid}'{name}'")).await.unwrap();
    let reset = format!("SELECT pg_stat_reset_subscription_stats({oid})");
    let conflict = defect("conflicts", &name, "fix", &reset, &database.subscriber);
    let broken = preflight().run().await;
    assert_eq!(broken.check("conflicts", &name)["evidence"], "update_missing 1");
    heal(preflight, &[conflict]).await;
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn every_major_answers() {
    for (publisher, subscriber) in [(12, 14), (13, 15), (15, 17)] {
        let lease = shared_pair(publisher, subscriber).shared().await.unwrap();
        let database = lease.database("preflight_major").await.unwrap();
        orders(&database, ReplicateOptions::default()).await;
        let found = Verify::new(&database).preflight().run().await;
        assert_eq!(found.checks("unknown"), [] as [String; 0], "{found:#?}");
        found.assert_code(0);
        // Errors of workers are counted since 15.
        let errors = found.check("apply_errors", &database.subscription_name());
        assert_eq!(errors["status"], if subscriber == 14 { "warn" } else { "ok" }, "{errors:#}");
        database.assert_nothing_left().await;
    }
}

fn settings(settings: &[(&str, &str)]) -> ServerOptions {
    let settings = settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    ServerOptions { settings, ..ServerOptions::default() }
}

#[tokio::test]
async fn defects_of_servers() {
    let options = PairOptions {
        publisher: settings(&[("wal_level", "replica"), ("max_replication_slots", "1"), ("max_wal_senders", "1")]),
        subscriber: settings(&[
            ("max_logical_replication_workers", "0"),
            ("max_worker_processes", "1"),
            ("max_replication_slots", "0"),
        ]),
    };
    let pair = Pair::start(14, 16, options).await.unwrap();
    let database = pair.database("servers").await.unwrap();
    let (publisher, subscriber) = (&database.publisher, &database.subscriber);
    database.both("CREATE TABLE orders (id bigint PRIMARY KEY, note text)").await.unwrap();
    let preflight = || Verify::new(&database).preflight();
    let broken = preflight().run().await;
    broken.assert_code(1);
    let servers = ["logical_decoding -", "slots_capacity -", "workers_capacity -", "origins_capacity -"];
    assert_eq!(broken.checks("fix"), servers, "{broken:#?}");
    let waiting = ["replication_role -", "publication -", "worker_processes -", "subscription -", "superuser -"];
    let waiting = waiting.iter().copied().chain(["superuser -", "proof_level -"]);
    assert_eq!(broken.checks("warn"), waiting.collect::<Vec<_>>(), "{broken:#?}");
    for (code, on) in [
        ("logical_decoding", publisher),
        ("slots_capacity", publisher),
        ("workers_capacity", subscriber),
        ("worker_processes", subscriber),
        ("origins_capacity", subscriber),
    ] {
        remedies::apply(broken.check(code, "-"), on).await;
    }
    remedies::apply(broken.check("replication_role", "-"), publisher).await;
    publisher.sql("SELECT pg_reload_conf()").await.unwrap();
    wait_for(publisher, "SELECT pending_restart FROM pg_settings WHERE name = 'wal_level'", "t").await;
    let pending = preflight().run().await;
    assert!(pending.check("logical_decoding", "-")["remedy"].as_str().unwrap().starts_with("restart the server"));
    tokio::try_join!(pair.publisher.restart(), pair.subscriber.restart()).unwrap();
    let healed = preflight().run().await;
    assert_eq!(healed.checks("fix"), [] as [String; 0], "{healed:#?}");
    assert_eq!(healed.check("replication_role", "-")["status"], "ok");

    // More workers want more processes.
    remedies::apply(healed.check("worker_processes", "-"), subscriber).await;
    pair.subscriber.restart().await.unwrap();
    lost_slot(&database).await;

    // The only walsender there is.
    let no_copy = ReplicateOptions { subscription_with: "copy_data = false".to_owned(), ..ReplicateOptions::default() };
    orders(&database, no_copy).await;
    let full = preflight().run().await;
    assert_eq!(full.checks("fix"), ["senders_capacity -"], "{full:#?}");
    remedies::apply(full.check("senders_capacity", "-"), publisher).await;
    pair.publisher.restart().await.unwrap();
    database.catch_up().await.unwrap();
    // The worker lost its publisher meanwhile, which counts as an error.
    subscriber.sql("SELECT pg_stat_reset_subscription_stats(oid) FROM pg_subscription").await.unwrap();
    let healed = preflight().run().await;
    healed.assert_code(0);
    insta::assert_snapshot!("preflight_of_a_healthy_pair", redacted(healed.json));

    old_transactions(&database).await;
    managed(&pair, &database).await;
    database.assert_nothing_left().await;
}

/// The document without what differs from run to run: digits become #, positions and places their kind.
fn redacted(mut document: Value) -> String {
    fn digits(value: &mut Value) {
        match value {
            Value::String(text) => {
                let mut out = String::new();
                for character in text.chars() {
                    let character = if character.is_ascii_digit() { '#' } else { character };
                    if character != '#' || !out.ends_with('#') {
                        out.push(character);
                    }
                }
                // The locale is what the machine has; how long and how much differ by more than their digits.
                out = out.replace("C.UTF-#", "C");
                for unit in ["#.# s", "# ms", "#.# kB", "#.# MB", "#.# GB", "# bytes", "# byte"] {
                    out = out.replace(unit, "#");
                }
                *text = out;
            }
            Value::Array(items) => items.iter_mut().for_each(digits),
            Value::Object(fields) => fields.values_mut().for_each(digits),
            _ => {}
        }
    }
    digits(&mut document);
    for side in ["publisher", "subscriber"] {
        document[side]["host"] = "HOST".into();
        document[side]["port"] = "PORT".into();
    }
    for field in ["from", "to", "bytes", "interval_ms"] {
        document["wal"][field] = field.to_uppercase().into();
    }
    document["tool"]["version"] = "VERSION".into();
    serde_json::to_string_pretty(&document).unwrap()
}

/// The process that serves a connection.
async fn pid_of(client: &tokio_postgres::Client) -> String {
    let messages = client.simple_query("SELECT pg_backend_pid()").await.unwrap();
    let pid = messages.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    pid.expect("every session has one").to_owned()
}

/// Open and prepared for longer than allowed; ended by the remedy.
async fn old_transactions(database: &Replicated) {
    let publisher = &database.publisher;
    let preflight = || Verify::new(database).preflight().args("--long-transaction 1s");
    let writer = publisher.connect().await.unwrap();
    writer.batch_execute("BEGIN; INSERT INTO orders VALUES (2000)").await.unwrap();
    let reader = database.subscriber.connect().await.unwrap();
    reader.batch_execute("BEGIN; SELECT 1").await.unwrap();
    publisher.sql("BEGIN; INSERT INTO orders VALUES (2001); PREPARE TRANSACTION 'it''s old'").await.unwrap();
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let (writing, reading) = (pid_of(&writer).await, pid_of(&reader).await);
    // A pair with the default patience is not bothered.
    Verify::new(database).preflight().run().await.assert_code(0);
    let kill = |pid: &str| format!("SELECT pg_terminate_backend({pid})");
    let defects = [
        defect("long_transaction", &format!("pid {writing}"), "fix", &kill(&writing), publisher),
        defect("long_transaction", &format!("pid {reading}"), "warn", &kill(&reading), &database.subscriber),
        defect("prepared_transaction", "it's old", "fix", "ROLLBACK PREPARED 'it''s old'", publisher),
    ];
    heal(preflight, &defects).await.assert_code(0);
}

/// A slot that is not read loses its WAL.
async fn lost_slot(database: &Replicated) {
    let publisher = &database.publisher;
    let preflight = || Verify::new(database).preflight();
    publisher.sql("SELECT pg_create_logical_replication_slot('doomed', 'pgoutput')").await.unwrap();
    let drop = "SELECT pg_drop_replication_slot('doomed')";
    let unused = preflight().run().await;
    assert_reported(&unused, &defect("slot_unused", "doomed", "warn", drop, publisher));
    unused.assert_code(0);
    publisher.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'").await.unwrap();
    publisher.sql("SELECT pg_reload_conf()").await.unwrap();
    for _ in 0..3 {
        publisher.sql("CREATE TABLE filler (id int); DROP TABLE filler").await.unwrap();
        publisher.sql("SELECT pg_switch_wal()").await.unwrap();
    }
    publisher.sql("CHECKPOINT").await.unwrap();
    heal(preflight, &[defect("slot_health", "doomed", "fix", drop, publisher)]).await;
    publisher.sql("ALTER SYSTEM RESET max_slot_wal_keep_size").await.unwrap();
    publisher.sql("SELECT pg_reload_conf()").await.unwrap();
}

/// RDS and Aurora, as far as grants, settings and functions can play them.
async fn managed(pair: &Pair, database: &Replicated) {
    let publisher = &database.publisher;
    // Their administrators are no superusers, but may do most of what matters.
    publisher.sql("CREATE ROLE rds_replication; CREATE ROLE admin LOGIN CREATEROLE CREATEDB").await.unwrap();
    publisher.sql("GRANT pg_monitor, pg_signal_backend, pg_read_all_data TO admin").await.unwrap();
    let version = "SET allow_system_table_mods = on; CREATE FUNCTION pg_catalog.aurora_version() RETURNS text \
                   LANGUAGE sql AS $$ SELECT '14.9.2' $$";
    publisher.sql(version).await.unwrap();
    publisher.sql("ALTER SYSTEM SET wal_level = 'replica'").await.unwrap();
    publisher.sql("ALTER ROLE admin SET \"rds.logical_replication\" = 'off'").await.unwrap();
    let administrator = publisher.conninfo_as("admin");
    let found = Verify::week_ahead(&administrator).run().await;
    let check = found.check("logical_decoding", "-");
    let evidence = check["evidence"].as_str().unwrap();
    assert_eq!(evidence, "wal_level is logical, rds.logical_replication is off, Aurora 14.9.2");
    let grant = defect("privilege_replication", "-", "warn", "GRANT rds_replication TO \"admin\"", publisher);
    assert_reported(&found, &grant);
    publisher.sql(&grant.remedy).await.unwrap();
    // Here, the server itself does not know what the role stands for.
    let refused = Verify::week_ahead(&administrator).run().await;
    refused.assert_code(3);
    assert_eq!(refused.checks("unknown"), ["privilege_replication -"], "{refused:#?}");
    assert_eq!(refused.json["proof"]["level"], "settled by recheck");
    disable(database, &database.subscription_name(), &database.slot_name()).await;
    database
        .subscriber
        .sql(&format!("ALTER SUBSCRIPTION {} SET (slot_name = NONE)", database.subscription_name()))
        .await
        .unwrap();
    publisher.sql(&format!("SELECT pg_drop_replication_slot('{}')", database.slot_name())).await.unwrap();
    pair.publisher.restart().await.unwrap();
    let off = Verify::week_ahead(&administrator).run().await;
    off.assert_code(1);
    let remedy = off.check("logical_decoding", "-")["remedy"].as_str().unwrap().to_owned();
    assert_eq!(remedy, "set rds.logical_replication = 1 in the cluster parameter group, then reboot");
    publisher.sql("ALTER SYSTEM SET wal_level = 'logical'").await.unwrap();
    publisher.sql("ALTER ROLE admin SET \"rds.logical_replication\" = 'on'").await.unwrap();
    pair.publisher.restart().await.unwrap();
    let on = Verify::week_ahead(&administrator).run().await;
    assert_eq!(on.check("logical_decoding", "-")["status"], "ok", "{on:#?}");
}

#[tokio::test]
async fn a_week_ahead_there_is_no_subscriber() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("preflight_alone").await.unwrap();
    database.publisher.sql("CREATE TABLE orders (id bigint PRIMARY KEY); CREATE TABLE log (note text)").await.unwrap();
    let preflight = || Verify::week_ahead(&database.publisher.conninfo());
    let found = preflight().run().await;
    found.assert_code(1);
    assert_eq!(found.json["subscriber"], Value::Null);
    assert_eq!(found.checks("fix"), ["replica_identity public.log"]);
    let publish = "CREATE PUBLICATION upgrade_pub FOR ALL TABLES";
    assert_reported(&found, &defect("publication", "-", "warn", publish, &database.publisher));
    let text = preflight().args("--exclude-table log").text().await;
    assert_eq!(text.code, Some(0), "{text:#?}");
    let last = text.stdout.lines().last().unwrap();
    assert!(last.starts_with("PREFLIGHT: nothing to fix, ") && last.contains("no subscriber"), "{last}");
    // The clone's restore point is nothing that a publisher alone could tell about.
    let refused = preflight().args("--restore-lsn 0/1").run().await;
    let (code, message, hint) = refused.refusal();
    assert_eq!((code, hint), ("usage", "give the clone as --subscriber"));
    assert!(message.contains("--restore-lsn"), "{message}");
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn each_role_of_the_readme_reaches_its_level() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    for level in Level::ALL {
        let database = lease.database("preflight_role").await.unwrap();
        database.both("CREATE SEQUENCE numbers").await.unwrap();
        orders(&database, ReplicateOptions::default()).await;
        let role = roles::create(&database, level).await;
        let (publisher, subscriber) = (&database.publisher, &database.subscriber);
        let preflight = || Verify::between(&publisher.conninfo_as(&role), &subscriber.conninfo_as(&role)).preflight();
        let found = preflight().run().await;
        assert_eq!(found.json["proof"]["level"], level.name(), "{found:#?}");
        assert!(!found.checks("warn").contains(&"superuser -".to_owned()), "{found:#?}");
        // Without pg_monitor, other sessions cannot be seen; all else can be.
        let hidden = ["long_transaction -", "long_transaction -"];
        assert_eq!(found.checks("unknown"), if level == Level::Quiesced { &hidden[..] } else { &[] });
        found.assert_code(if level == Level::Quiesced { 3 } else { 0 });
        // The statements that close the gaps lead to the best level, one after the other.
        for gap in found.json["proof"]["gaps"].as_array().unwrap() {
            let side = if gap["side"] == "publisher" { publisher } else { subscriber };
            side.sql(gap["remedy"].as_str().unwrap()).await.unwrap();
        }
        let best = preflight().run().await;
        assert_eq!(best.json["proof"], serde_json::json!({"level": "exact: decoded window", "gaps": []}));
        best.assert_code(0);

        for (side, sql) in [
            (publisher, format!("REVOKE SELECT ON orders FROM {role}")),
            (subscriber, format!("REVOKE SELECT ON orders FROM {role}")),
        ] {
            side.sql(&sql).await.unwrap();
            let grant = format!("GRANT SELECT ON \"public\".\"orders\" TO \"{role}\"");
            let unreadable = defect("privilege_select", "public.orders", "fix", &grant, side);
            heal(preflight, &[unreadable]).await.assert_code(0);
            side.sql(&format!("REVOKE SELECT ON SEQUENCE numbers FROM {role}")).await.unwrap();
            let grant = format!("GRANT SELECT ON SEQUENCE \"public\".\"numbers\" TO \"{role}\"");
            let unreadable = defect("privilege_sequences", "public.numbers", "fix", &grant, side);
            heal(preflight, &[unreadable]).await.assert_code(0);
        }
        database.assert_nothing_left().await;
        roles::drop(&database, &role).await;
    }
}
