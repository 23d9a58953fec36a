//! How our sessions behave on the servers, and what a role's settings can do to them.

use std::time::Duration;

use serde_json::json;
use triplecheck_testbed::{Database, ReplicateOptions, shared_pair};

use crate::harness::Verify;
use crate::slow::{self, SCANNING, wait_until_scanning};

/// Our sessions; the server's own workers that help one of them with a statement are none.
const OURS: &str = "SELECT application_name FROM pg_stat_activity WHERE datname = current_database() \
     AND application_name LIKE 'triplecheck%' AND backend_type = 'client backend' ORDER BY 1";

/// Locks on user tables of the sessions that stay in a transaction and must not have any.
const LOCKS: &str = "SELECT a.application_name, l.relation::regclass::text, l.mode FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
     WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.relation >= 16384 \
     AND a.application_name IN ('triplecheck/snapshot', 'triplecheck/slot')";

/// Locks of ours that are in the way of more than ACCESS EXCLUSIVE.
const WRONG_LOCKS: &str = "SELECT a.application_name, l.mode FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
     WHERE l.relation >= 16384 AND a.application_name LIKE 'triplecheck%' AND a.datname = current_database() AND l.mode <> 'AccessShareLock'";

async fn none(side: &Database, query: &str) {
    let rows = side.rows(query).await.unwrap();
    assert!(rows.is_empty(), "{rows:?}");
}

#[tokio::test]
async fn there_are_few_and_only_scans_touch_tables() {
    const JOBS: usize = 2;
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("manners").await.unwrap();
    slow::create(&database, 25_000).await;
    let mut running = Verify::new(&database).args(&format!("--jobs {JOBS}")).start();
    let mut most = [0, 0];
    let mut roles = std::collections::BTreeSet::new();
    while running.is_running() {
        for (side, most) in [&database.publisher, &database.subscriber].into_iter().zip(&mut most) {
            let sessions = side.rows(OURS).await.unwrap();
            *most = sessions.len().max(*most);
            assert!(sessions.len() <= JOBS + 3, "{sessions:?}");
            roles.extend(sessions.into_iter().flatten().flatten());
            none(side, LOCKS).await;
            none(side, WRONG_LOCKS).await;
        }
    }
    running.finish().await.assert_code(0);
    assert!(most.iter().all(|&most| most > 2), "we hardly looked: {most:?}");
    let known = |role: &String| {
        ["control", "snapshot", "slot"].iter().any(|known| *role == format!("triplecheck/{known}"))
            || role.strip_prefix("triplecheck/scan ").is_some_and(|number| number.parse::<u32>().is_ok())
    };
    assert!(roles.iter().all(known), "{roles:?}");
    assert!(
        ["control", "snapshot", "scan 1"].iter().all(|role| roles.contains(&format!("triplecheck/{role}"))),
        "{roles:?}"
    );
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn only_temporary_slots_are_made_and_nothing_is_written() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("read_only").await.unwrap();
    slow::create(&database, 5_000).await;
    let running = Verify::new(&database).args("--jobs 2").start();
    wait_until_scanning(&database.publisher).await;
    let xids = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'triplecheck%' AND datname = current_database() AND backend_xid IS NOT NULL";
    for side in [&database.publisher, &database.subscriber] {
        assert_eq!(side.value(xids).await.unwrap(), "0");
    }
    let slots = "SELECT slot_name FROM pg_replication_slots WHERE database = current_database() AND NOT temporary";
    assert_eq!(database.publisher.rows(slots).await.unwrap(), [[Some(database.slot_name())]]);
    running.finish().await.assert_code(0);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn a_role_with_hostile_defaults_changes_nothing() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("hostile").await.unwrap();
    let role = format!("hostile_{}", database.publisher.name());
    database
        .both(
            "CREATE TABLE figures (id int PRIMARY KEY, d date, t timestamptz, f float8, n numeric, b bytea, i interval, s text);
             CREATE TABLE keyless (f float4, t timestamp);
             CREATE SCHEMA evil;
             CREATE FUNCTION evil.boom(int, int) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $$boom$$; END';
             CREATE FUNCTION evil.boom(text, text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $$boom$$; END';
             CREATE OPERATOR evil.= (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.boom);
             CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.boom);
             CREATE FUNCTION evil.lied() RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint';
             CREATE AGGREGATE evil.count(*) (SFUNC = int8inc, STYPE = int8, INITCOND = '1000');
             CREATE AGGREGATE evil.sum(int8) (SFUNC = int8larger, STYPE = int8);
             CREATE AGGREGATE evil.max(date) (SFUNC = date_smaller, STYPE = date);
             CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE sql AS 'SELECT $$lied$$';
             CREATE VIEW evil.pg_class AS SELECT * FROM pg_catalog.pg_class WHERE false;
             CREATE TABLE evil.figures (LIKE figures INCLUDING ALL);
             CREATE DOMAIN evil.text AS pg_catalog.text CHECK (VALUE = 'never');",
        )
        .await
        .unwrap();
    let fill = "INSERT INTO figures SELECT i, '2024-01-01'::date + i, '2024-01-01 UTC'::timestamptz + i * interval '1.000001 s', i / 3.0, i / 7.0, \
                decode(md5(i::text), 'hex'), i * interval '1 day 1.5 s', 'é' || i FROM generate_series(1, 3000) i; \
                INSERT INTO keyless SELECT f, t FROM figures LIMIT 50";
    database.publisher.sql(fill).await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    for side in [&database.publisher, &database.subscriber] {
        let settings = [
            "statement_timeout = '100ms'",
            "idle_in_transaction_session_timeout = '100ms'",
            "idle_session_timeout = '100ms'",
            "lock_timeout = 1",
            "search_path = evil, public, pg_catalog",
            "DateStyle = 'German, DMY'",
            "IntervalStyle = 'sql_standard'",
            "TimeZone = 'Asia/Kathmandu'",
            "bytea_output = 'escape'",
            "row_security = on",
            "default_transaction_read_only = off",
            "default_transaction_isolation = 'serializable'",
            "default_transaction_deferrable = on",
            "extra_float_digits = 0",
            "client_encoding = 'LATIN1'",
            "enable_tidscan = off",
            "enable_seqscan = off",
            "quote_all_identifiers = on",
            "standard_conforming_strings = off",
            "transform_null_equals = on",
        ];
        side.sql(&format!("CREATE ROLE {role} LOGIN")).await.unwrap();
        for setting in settings {
            side.sql(&format!("ALTER ROLE {role} SET {setting}")).await.unwrap();
        }
        let grants = format!(
            "GRANT USAGE ON SCHEMA evil TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA public, evil TO {role}"
        );
        side.sql(&grants).await.unwrap();
    }
    let (publisher, subscriber) = (database.publisher.conninfo_as(&role), database.subscriber.conninfo_as(&role));
    let verify = || Verify::between(&publisher, &subscriber).args("-T evil.*");
    let ran = verify().args("--lag-timeout 30s").run().await;
    ran.assert_code(0);
    assert_eq!(ran.tables(), ["public.figures match -", "public.keyless match -"]);
    assert_eq!(ran.table("figures")["rows"]["publisher"], 3000);
    assert_eq!(ran.table("figures")["checks"]["count"]["publisher"], "3000");
    let max = &ran.table("figures")["checks"]["max"][0];
    assert_eq!((&max["column"], &max["publisher"]), (&"d".into(), &"2032-03-19".into()), "{max}");

    // And it sees what the role's settings would hide: the last bit of a float, a microsecond, the hour of a zone.
    database.subscriber.sql("UPDATE figures SET f = 1 / 3::float8 + 1e-16 WHERE id = 1").await.unwrap();
    database.subscriber.sql("UPDATE figures SET t = t + interval '1 us' WHERE id = 2").await.unwrap();
    let ran = verify().args("--lag-timeout 30s").run().await;
    ran.assert_code(1);
    assert_eq!(ran.tables(), ["public.figures different -", "public.keyless match -"]);
    let rows = &ran.table("figures")["checks"]["rows"];
    let mut samples: Vec<_> =
        rows["samples"].as_array().unwrap().iter().map(|s| (s["key"]["id"].clone(), s["columns"].clone())).collect();
    samples.sort_by_key(|(key, _)| key.to_string());
    assert_eq!(samples, [(json!("1"), json!(["f"])), (json!("2"), json!(["t"]))]);
    database.assert_nothing_left().await;
    for side in [&database.publisher, &database.subscriber] {
        side.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
    }
}

#[tokio::test]
async fn a_look_does_not_disturb_scans_that_nobody_waits_for() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("undisturbed").await.unwrap();
    slow::create(&database, 25_000).await;
    let running = Verify::new(&database).args("-v --jobs 1").start();
    wait_until_scanning(&database.publisher).await;
    let begun = format!("SELECT min(query_start)::text FROM {SCANNING}");
    let first = database.publisher.value(&begun).await.unwrap();
    // Somebody waits for somebody else.
    database.publisher.sql("CREATE TABLE other (id int)").await.unwrap();
    let holder = database.publisher.connect().await.unwrap();
    holder.batch_execute("BEGIN; LOCK TABLE other").await.unwrap();
    let waiter = database.publisher.connect().await.unwrap();
    let (waited, ()) = tokio::join!(waiter.batch_execute("BEGIN; LOCK TABLE other; COMMIT"), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        if let Ok(now) = database.publisher.value(&begun).await {
            assert_eq!(now, first, "the scan was begun anew");
        }
        holder.batch_execute("COMMIT").await.unwrap();
    });
    waited.unwrap();
    let ran = running.finish().await;
    assert!(!ran.stderr.contains("giving way"), "{}", ran.stderr);
    ran.assert_code(0);
    database.assert_nothing_left().await;
}
