//! The restore point of a clone is checked before its subscription is enabled.

use triplecheck_testbed::{Pair, PairOptions};

use crate::harness::{Ran, Verify};
use crate::preflight::{defect, heal};
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
    // The runbook's method: the log of the clone's first start.
    let log = std::fs::read_to_string(pair.subscriber.socket_dir().join("log")).unwrap();
    let restored =
        log.lines().rev().find_map(|line| line.split_once("invalid record length at ")).expect("in the log").1;
    let restored: String = restored.chars().take_while(|c| c.is_ascii_hexdigit() || *c == '/').collect();
    clone_side.sql(&format!("SELECT pg_drop_replication_slot('{slot}')")).await.unwrap();
    publisher.sql("INSERT INTO orders SELECT g, 'after' FROM generate_series(201, 300) g").await.unwrap();
    // The publisher goes on, far beyond where the clone's own WAL is: its position alone proves nothing.
    publisher.sql("SELECT pg_switch_wal()").await.unwrap();
    publisher.sql("INSERT INTO orders SELECT g, 'later' FROM generate_series(301, 400) g").await.unwrap();

    let check = |lsn: &str| Verify::new(&database).preflight().args("--restore-lsn").arg(lsn);
    let restore = |ran: &Ran| {
        let bad = [ran.checks("fix"), ran.checks("unknown")].concat();
        bad.into_iter().filter(|check| check.starts_with("restore_")).collect::<Vec<_>>()
    };
    let none = check(&restored).run().await;
    assert_eq!(restore(&none), ["restore_subscription -", "restore_own_wal -"], "{none:#?}");
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
    assert_eq!(restore(&healed), ["restore_own_wal -"], "{healed:#?}");
    assert_eq!(healed.check("restore_own_wal", "-")["status"], "unknown");

    // Read on the clone itself, after the restore: it lies between the slot and the publisher, and loses changes.
    clone_side.sql("CREATE TABLE own (id int); CHECKPOINT").await.unwrap();
    let own = clone_side.value("SELECT pg_current_wal_lsn()").await.unwrap();
    let rejected = check(&own).run().await;
    assert_eq!(
        restore(&rejected),
        ["restore_own_wal -".to_owned(), format!("restore_origin {origin}")],
        "{rejected:#?}"
    );
    rejected.assert_code(1);
    assert_eq!(rejected.check("restore_publisher", "-")["status"], "ok");
    assert!(rejected.check("restore_own_wal", "-")["remedy"].as_str().unwrap().contains("invalid record length"));
    // After the next checkpoint the clone has forgotten that it wrote that itself: it looks as good as the right one.
    clone_side.sql("CHECKPOINT").await.unwrap();
    let forgotten = check(&own).run().await;
    assert_eq!(restore(&forgotten), [format!("restore_origin {origin}"), "restore_own_wal -".to_owned()]);
    assert_eq!(forgotten.check("restore_own_wal", "-")["status"], "unknown");
    let early = check(&before).run().await;
    let expected = [format!("restore_slot {slot}"), format!("restore_origin {origin}"), "restore_own_wal -".to_owned()];
    assert_eq!(restore(&early), expected, "{early:#?}");
    let own = clone_side.value("SELECT pg_current_wal_lsn()").await.unwrap();
    let future = check("FF/0").run().await;
    assert!(restore(&future).contains(&"restore_publisher -".to_owned()), "{future:#?}");

    // No superuser is needed for any of it.
    let role = roles::create(&database, Level::DecodedWindow).await;
    let (of_publisher, of_clone) = (publisher.conninfo_as(&role), clone_side.conninfo_as(&role));
    let as_role = |lsn: &str| Verify::between(&of_publisher, &of_clone).preflight().args("--restore-lsn").arg(lsn);
    as_role(&restored).run().await.assert_code(3);
    assert!(restore(&as_role(&own).run().await).contains(&"restore_own_wal -".to_owned()));

    // Aurora says itself how far the volume was restored.
    let aurora = |lsn: &str| {
        format!(
            "SET allow_system_table_mods = on; CREATE OR REPLACE FUNCTION pg_catalog.aurora_volume_logical_start_lsn() \
             RETURNS pg_lsn LANGUAGE sql AS $$ SELECT '{lsn}'::pg_lsn $$"
        )
    };
    clone_side.sql(&aurora(&before)).await.unwrap();
    let refuted = check(&restored).run().await;
    assert_eq!(restore(&refuted), ["restore_own_wal -"]);
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
    assert!(restore(&enabled).contains(&format!("restore_subscription {name}")), "{enabled:#?}");
    // What was restored and what was queued make the whole.
    let ran = Verify::new(&database).run().await;
    assert_eq!(ran.tables(), ["public.orders match -"], "{ran:#?}");
    database.assert_nothing_left().await;
}
