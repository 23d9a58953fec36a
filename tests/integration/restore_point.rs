//! The restore point of a clone is checked before its subscription is enabled.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use triplecheck_testbed::{Installation, Pair, PairOptions, Server};

use crate::harness::{Ran, Verify, wait_for};
use crate::preflight::{defect, heal};
use crate::remedies;
use crate::roles::{self, Level};

/// Makes the subscriber's server a copy of the publisher's as a crash would leave it, as a snapshot of its disk does.
async fn clone(pair: &Pair) {
    tokio::try_join!(pair.publisher.crash(), pair.subscriber.stop()).unwrap();
    let (from, to) = (pair.publisher.data_dir(), pair.subscriber.data_dir());
    let script = "set -e; cd \"$2\"; find . -mindepth 1 -maxdepth 1 ! -name postgresql.conf -exec rm -rf {} +; cd \"$1\"; \
                  for part in *; do case $part in postgresql.conf|postmaster.pid|postmaster.opts) ;; *) cp -a \"$part\" \"$2\"/;; esac; done";
    let copied = tokio::process::Command::new("sh").args(["-c", script, "sh"]).arg(&from).arg(&to).status().await;
    assert!(copied.unwrap().success());
    tokio::try_join!(pair.publisher.start_again(), pair.subscriber.start_again()).unwrap();
}

/// The runbook's method: the log of the clone's first start.
fn restore_point(clone: &Server) -> String {
    let log = std::fs::read_to_string(clone.socket_dir().join("log")).unwrap();
    let restored =
        log.lines().rev().find_map(|line| line.split_once("invalid record length at ")).expect("in the log").1;
    restored.chars().take_while(|c| c.is_ascii_hexdigit() || *c == '/').collect()
}

/// The checks of the restore point that are not as they should be, what is to be fixed before what is unknown.
fn bad(ran: &Ran) -> Vec<String> {
    let bad = [ran.checks("fix"), ran.checks("unknown")].concat();
    bad.into_iter().filter(|check| check.starts_with("restore_")).collect()
}

/// Runs pg_upgrade on a server; to the same major, which treats WAL and identifiers as to any other.
async fn upgrade(server: &Server, bin: &Path) {
    let locale = "SELECT datcollate FROM pg_database WHERE datname = 'template0'";
    let locale = server.database("postgres").value(locale).await.unwrap();
    server.stop().await.unwrap();
    let data = server.data_dir();
    let owner = std::fs::metadata(&data).unwrap();
    let work = tempfile::tempdir().unwrap();
    chown(work.path(), Some(owner.uid()), Some(owner.gid())).unwrap();
    let old = data.with_file_name("old");
    std::fs::rename(&data, &old).unwrap();
    let script = "set -e; \"$1/initdb\" -U postgres -A trust -E UTF8 -N --locale=\"$4\" -D \"$3\"; \
                  \"$1/pg_upgrade\" -b \"$1\" -B \"$1\" -d \"$2\" -D \"$3\" -U postgres; \
                  cp \"$2/postgresql.conf\" \"$2/pg_hba.conf\" \"$3\"";
    // What the server's folder lies in is not its owner's.
    std::fs::create_dir(&data).unwrap();
    chown(&data, Some(owner.uid()), Some(owner.gid())).unwrap();
    let mut command = tokio::process::Command::new("sh");
    command.args(["-c", script, "sh"]).args([bin, &old, &data]).arg(locale).current_dir(work.path());
    let output = command.uid(owner.uid()).gid(owner.gid()).output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    std::fs::remove_dir_all(&old).unwrap();
    server.start_again().await.unwrap();
}

/// The upgrade moves the clone's WAL far beyond the restore point, and forgets what the clone wrote before it.
#[tokio::test]
async fn an_upgraded_clone() {
    // Of packages that hold nothing but a server, pg_upgrade is no part.
    let Some(bin) = Installation::find(15).ok().map(|found| found.bin().to_owned()) else { return };
    if !bin.join("pg_upgrade").exists() {
        return;
    }
    let pair = Pair::start(15, 15, PairOptions::default()).await.unwrap();
    let database = pair.database("upgraded").await.unwrap();
    let (publisher, clone_side) = (&database.publisher, &database.subscriber);
    let (slot, name) = (database.slot_name(), database.subscription_name());
    publisher.sql("CREATE TABLE orders (id bigint PRIMARY KEY, note text); CREATE TABLE other (id int)").await.unwrap();
    publisher.sql("CREATE PUBLICATION upgrade_pub FOR TABLE orders").await.unwrap();
    publisher.sql(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")).await.unwrap();
    publisher.sql("INSERT INTO orders SELECT g, 'queued' FROM generate_series(1, 100) g").await.unwrap();
    clone(&pair).await;
    let restored = restore_point(&pair.subscriber);
    clone_side.sql(&format!("SELECT pg_drop_replication_slot('{slot}')")).await.unwrap();
    // Somebody makes a table anew on the clone: one of two has another identifier then.
    clone_side.sql("DROP TABLE other; CREATE TABLE other (id int)").await.unwrap();
    let before = clone_side.value("SELECT pg_current_wal_lsn()").await.unwrap();
    upgrade(&pair.subscriber, &bin).await;
    let identity = "SELECT system_identifier FROM pg_control_system()";
    assert_ne!(publisher.value(identity).await.unwrap(), clone_side.value(identity).await.unwrap());
    let create = format!(
        "CREATE SUBSCRIPTION {name} CONNECTION '{}' PUBLICATION upgrade_pub \
         WITH (copy_data = false, create_slot = false, enabled = false, slot_name = {slot})",
        publisher.conninfo()
    );
    clone_side.sql(&create).await.unwrap();
    let origin = clone_side.value("SELECT 'pg_' || oid FROM pg_subscription").await.unwrap();
    let own = clone_side.value("SELECT pg_current_wal_lsn()").await.unwrap();
    // It was not read just now, either.
    clone_side.sql("INSERT INTO other VALUES (1); SELECT pg_switch_wal()").await.unwrap();
    // The publisher goes on, beyond where the clone's own WAL is: its position alone proves nothing.
    let passed = format!("SELECT pg_current_wal_lsn() > '{own}'");
    while publisher.value(&passed).await.unwrap() != "t" {
        publisher.sql("INSERT INTO other VALUES (1); SELECT pg_switch_wal()").await.unwrap();
    }
    let check = async |lsn: &str, status: &str| {
        clone_side.sql(&format!("SELECT pg_replication_origin_advance('{origin}', '{lsn}')")).await.unwrap();
        let run = Verify::new(&database).preflight().args("-t orders -t other --scope published --restore-lsn");
        let ran = run.arg(lsn).run().await;
        assert_eq!(bad(&ran), ["restore_own_wal -"], "{lsn}: {ran:#?}");
        assert_eq!(ran.check("restore_own_wal", "-")["status"], status, "{lsn}: {ran:#?}");
        assert_eq!(ran.check("restore_publisher", "-")["status"], "ok", "{lsn}: {ran:#?}");
    };
    // The right one, and what the clone wrote before it was upgraded: no server can tell the two apart.
    check(&restored, "unknown").await;
    check(&before, "unknown").await;
    check(&own, "fix").await;
    // Nor from what it wrote afterwards, once that is recycled.
    clone_side.sql("INSERT INTO other VALUES (2); CHECKPOINT").await.unwrap();
    check(&own, "unknown").await;
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn the_restore_point_is_checked_before_enable() {
    let pair = Pair::start(16, 16, PairOptions::default()).await.unwrap();
    let database = pair.database("restore").await.unwrap();
    let (publisher, clone_side) = (&database.publisher, &database.subscriber);
    let (slot, name) = (database.slot_name(), database.subscription_name());
    publisher.sql("CREATE TABLE orders (id bigint PRIMARY KEY, note text)").await.unwrap();
    publisher
        .sql("INSERT INTO orders SELECT g, 'before' FROM generate_series(1, 100) g; ANALYZE orders")
        .await
        .unwrap();
    let before = publisher.value("SELECT pg_current_wal_lsn()").await.unwrap();
    publisher.sql("CREATE PUBLICATION upgrade_pub FOR ALL TABLES").await.unwrap();
    publisher.sql(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")).await.unwrap();
    publisher
        .sql("INSERT INTO orders SELECT g, 'queued' FROM generate_series(101, 200) g; SELECT txid_current()")
        .await
        .unwrap();
    clone(&pair).await;
    let restored = restore_point(&pair.subscriber);
    clone_side.sql(&format!("SELECT pg_drop_replication_slot('{slot}')")).await.unwrap();
    publisher.sql("INSERT INTO orders SELECT g, 'after' FROM generate_series(201, 300) g").await.unwrap();
    // The publisher goes on, far beyond where the clone's own WAL is: its position alone proves nothing.
    publisher.sql("SELECT pg_switch_wal()").await.unwrap();
    publisher.sql("INSERT INTO orders SELECT g, 'later' FROM generate_series(301, 400) g").await.unwrap();

    let check = |lsn: &str| Verify::new(&database).preflight().args("--restore-lsn").arg(lsn);
    let none = check(&restored).run().await;
    assert_eq!(bad(&none), ["restore_subscription -", "restore_own_wal -"], "{none:#?}");
    let create = format!(
        "CREATE SUBSCRIPTION {name} CONNECTION '{}' PUBLICATION upgrade_pub \
         WITH (copy_data = false, create_slot = false, enabled = false, slot_name = {slot})",
        publisher.conninfo()
    );
    clone_side.sql(&create).await.unwrap();
    let origin = clone_side.value("SELECT 'pg_' || oid FROM pg_subscription").await.unwrap();
    let advance = format!("SELECT pg_replication_origin_advance('{origin}', '{restored}')");
    let preflight = || check(&restored);
    let healed = heal(preflight, &[defect("restore_origin", &origin, "fix", &advance, clone_side)]).await;
    // It is the right one, and no server can tell: what cannot be refuted is not proven.
    healed.assert_code(3);
    assert_eq!(bad(&healed), ["restore_own_wal -"], "{healed:#?}");
    assert_eq!(healed.check("restore_own_wal", "-")["status"], "unknown");

    // Read on the clone itself, after the restore: it lies between the slot and the publisher, and loses changes.
    clone_side.sql("CREATE TABLE own (id int); CHECKPOINT").await.unwrap();
    let own = clone_side.value("SELECT pg_current_wal_lsn()").await.unwrap();
    let rejected = check(&own).run().await;
    assert_eq!(bad(&rejected), ["restore_own_wal -".to_owned(), format!("restore_origin {origin}")], "{rejected:#?}");
    rejected.assert_code(1);
    assert_eq!(rejected.check("restore_publisher", "-")["status"], "ok");
    assert!(rejected.check("restore_own_wal", "-")["remedy"].as_str().unwrap().contains("invalid record length"));
    // After the next checkpoint the clone has forgotten that it wrote that itself: it looks as good as the right one.
    clone_side.sql("CHECKPOINT").await.unwrap();
    let forgotten = check(&own).run().await;
    assert_eq!(bad(&forgotten), [format!("restore_origin {origin}"), "restore_own_wal -".to_owned()]);
    assert_eq!(forgotten.check("restore_own_wal", "-")["status"], "unknown");
    let early = check(&before).run().await;
    let expected = [format!("restore_slot {slot}"), format!("restore_origin {origin}"), "restore_own_wal -".to_owned()];
    assert_eq!(bad(&early), expected, "{early:#?}");
    let own = clone_side.value("SELECT pg_current_wal_lsn()").await.unwrap();
    let future = check("FF/0").run().await;
    assert!(bad(&future).contains(&"restore_publisher -".to_owned()), "{future:#?}");

    // No superuser is needed for any of it.
    let role = roles::create(&database, Level::DecodedWindow).await;
    let (of_publisher, of_clone) = (publisher.conninfo_as(&role), clone_side.conninfo_as(&role));
    let as_role = |lsn: &str| Verify::between(&of_publisher, &of_clone).preflight().args("--restore-lsn").arg(lsn);
    as_role(&restored).run().await.assert_code(3);
    assert!(bad(&as_role(&own).run().await).contains(&"restore_own_wal -".to_owned()));

    // Aurora says itself how far the volume was restored.
    let aurora = |lsn: &str| {
        format!(
            "SET allow_system_table_mods = on; CREATE OR REPLACE FUNCTION pg_catalog.aurora_volume_logical_start_lsn() \
             RETURNS pg_lsn LANGUAGE sql AS $$ SELECT '{lsn}'::pg_lsn $$"
        )
    };
    clone_side.sql(&aurora(&before)).await.unwrap();
    let refuted = check(&restored).run().await;
    assert_eq!(bad(&refuted), ["restore_own_wal -"]);
    refuted.assert_code(1);
    clone_side.sql(&aurora(&restored)).await.unwrap();
    let proven = check(&restored).run().await;
    proven.assert_code(0);
    let evidence = proven.check("restore_own_wal", "-")["evidence"].as_str().unwrap();
    assert!(evidence.starts_with("proven: aurora_volume_logical_start_lsn() says"), "{evidence}");
    as_role(&restored).run().await.assert_code(0);

    clone_side.sql(&format!("ALTER SUBSCRIPTION {name} ENABLE")).await.unwrap();
    database.catch_up().await.unwrap();
    let enabled = check(&restored).run().await;
    assert!(bad(&enabled).contains(&format!("restore_subscription {name}")), "{enabled:#?}");
    remedies::apply(enabled.check("restore_subscription", &name), clone_side).await;
    wait_for(publisher, &format!("SELECT active FROM pg_replication_slots WHERE slot_name = '{slot}'"), "f").await;
    let disabled = check(&restored).run().await;
    assert_eq!(disabled.check("restore_subscription", &name)["status"], "ok", "{disabled:#?}");
    clone_side.sql(&format!("ALTER SUBSCRIPTION {name} ENABLE")).await.unwrap();
    database.catch_up().await.unwrap();
    // What was restored and what was queued make the whole.
    let ran = Verify::new(&database).run().await;
    assert_eq!(ran.tables(), ["public.orders match -"], "{ran:#?}");
    database.assert_nothing_left().await;
}
