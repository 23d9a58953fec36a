//! Differences that lie where a shortcut does not look: each was once called a match, or could not be named.

use triplecheck_testbed::{Pair, PairOptions, ReplicateOptions, shared_pair};

use crate::harness::{Verify, disable};
use crate::lines;
use crate::proxy::Proxy;
use crate::staged::{before_replay, orders};

/// The hash of a record is a sum of those of its columns, times powers of 31. Values that change places as the Thue-Morse
/// sequence says cancel in it, from 256 columns on whatever the values and the seed: the product of 1 - 31^(2^j) for j from 0
/// to 7 is a multiple of 2^64.
#[tokio::test]
async fn values_that_change_places_in_a_wide_row() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("blind_wide").await.unwrap();
    let columns: Vec<_> = (0..1024).map(|at| format!("c{at} boolean")).collect();
    let table = format!("CREATE TABLE wide (id integer PRIMARY KEY, {})", columns.join(", "));
    database.both(&table).await.unwrap();
    let values = |odd: bool, block: u32| -> String {
        let value = |at: u32| if ((at / block).count_ones() % 2 == 1) == odd { "true" } else { "false" };
        (0..1024).map(value).collect::<Vec<_>>().join(", ")
    };
    // Neighbouring columns, and groups of them.
    let blocks = [1, 2, 4];
    for (id, block) in (1..).zip(blocks) {
        database.publisher.sql(&format!("INSERT INTO wide VALUES ({id}, {})", values(true, block))).await.unwrap();
    }
    database.replicate(ReplicateOptions::default()).await.unwrap();
    for how in ["digest", "digest64"] {
        for (id, block) in (1..).zip(blocks) {
            let set = |odd| {
                let names: Vec<_> = (0..1024).map(|at| format!("c{at}")).collect();
                format!("UPDATE wide SET ({}) = ROW({}) WHERE id = {id}", names.join(", "), values(odd, block))
            };
            database.subscriber.sql(&set(false)).await.unwrap();
            let ran = Verify::new(&database).args("--checks rows --scan").arg(how).run().await;
            assert_eq!((ran.code, ran.tables()), (1, vec!["public.wide different -".to_owned()]), "{how} {block}");
            assert_eq!(lines::number(&ran.table("wide")["checks"]["rows"]["changed"]), 1);
            database.subscriber.sql(&set(true)).await.unwrap();
        }
        let ran = Verify::new(&database).args("--checks rows --scan").arg(how).run().await;
        lines::assert_match(&ran);
        assert_eq!(ran.table("wide")["scan"], "digest");
    }
    database.assert_nothing_left().await;
}

/// The subscriber's database cannot hold a text that the key of a missing row has: nothing can be looked up there by it.
#[tokio::test]
async fn a_missing_row_whose_key_the_subscriber_cannot_even_write() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let with = |encoding: &str| format!("TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'");
    let database = lease.database_with("blind_keys", &with("UTF8"), &with("LATIN1")).await.unwrap();
    database.both("CREATE TABLE t (k text PRIMARY KEY, v text)").await.unwrap();
    let rows = "INSERT INTO t SELECT 'ä' || i, 'v' FROM generate_series(1, 300) i";
    database.publisher.sql(rows).await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    disable(&database, &database.subscription_name(), &database.slot_name()).await;
    database.publisher.sql("INSERT INTO t VALUES ('日本', 'v')").await.unwrap();
    database.subscriber.sql("UPDATE t SET v = 'w' WHERE k = 'ä7'").await.unwrap();
    database.both("ANALYZE t").await.unwrap();
    let ran = Verify::new(&database).args("--gate none --checks count,rows --chunk-rows 50").run().await;
    assert_eq!((ran.code, ran.tables()), (1, vec!["public.t different -".to_owned()]), "{ran:#?}");
    assert_eq!(lines::differences(&ran), ["t changed k=ä7 [v]", "t missing k=日本"]);
    database.assert_nothing_left().await;
}

/// A role that may hash records but not what they come to.
#[tokio::test]
async fn a_role_that_may_not_use_every_function_of_a_digest_has_rows_read() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("blind_role").await.unwrap();
    database.both("CREATE TABLE t (id integer PRIMARY KEY, v numeric)").await.unwrap();
    database.publisher.sql("INSERT INTO t SELECT i, i FROM generate_series(1, 100) i").await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let role = format!("reads_{}", database.publisher.name());
    database.both(&format!("CREATE ROLE {role} LOGIN; GRANT pg_monitor, pg_read_all_data TO {role}")).await.unwrap();
    for function in ["hashfloat8extended(double precision, bigint)", "numeric_send(numeric)"] {
        let privilege = |what: &str| format!("{what} EXECUTE ON FUNCTION pg_catalog.{function}");
        database.subscriber.sql(&format!("{} FROM PUBLIC", privilege("REVOKE"))).await.unwrap();
        let verify = Verify::between(&database.publisher.conninfo_as(&role), &database.subscriber.conninfo_as(&role));
        let ran = verify.args("--gate none --scope published --checks count,rows --scan digest").run().await;
        assert_eq!((ran.code, ran.tables()), (0, vec!["public.t match -".to_owned()]), "{function}: {ran:#?}");
        assert_eq!(ran.table("t")["scan"], "heap scan", "{function}");
        database.subscriber.sql(&format!("{} TO PUBLIC", privilege("GRANT"))).await.unwrap();
    }
    database.assert_nothing_left().await;
    database.both(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}

/// What settings of a role make of texts: names in quotes; and, where rows are made of what was decoded, NULL as a word, and xml
/// that is not one document as none at all.
#[tokio::test]
async fn settings_that_change_what_texts_are() {
    let pair = Pair::start(14, 16, PairOptions::default()).await.unwrap();
    let database = orders(&pair, "blind_settings", "").await;
    database.both("ALTER TABLE orders ADD c regclass, ADD t regtype, ADD a text[], ADD x xml").await.unwrap();
    let values = "UPDATE orders SET c = 'pg_class', t = 'name', a = '{NULL,a}', x = '<a/><b/>'";
    database.publisher.sql(values).await.unwrap();
    database.catch_up().await.unwrap();
    for (side, setting) in [
        (&database.publisher, "array_nulls = off"),
        (&database.publisher, "xmloption = document"),
        (&database.subscriber, "quote_all_identifiers = on"),
    ] {
        side.sql(&format!("ALTER ROLE postgres IN DATABASE {} SET {setting}", side.name())).await.unwrap();
    }
    for how in ["rows", "digest"] {
        let proxy = Proxy::before(&database.subscriber);
        let subscriber = proxy.conninfo(&database.subscriber, "postgres");
        let args = "--gate live --scope published --jobs 2 --lag-timeout 60s --scan";
        let verify = Verify::between(&database.publisher.conninfo(), &subscriber).args(args).arg(how);
        let (running, holder) = before_replay(&pair, &database, "held", verify).await;
        proxy.hold();
        holder.batch_execute("COMMIT").await.unwrap();
        database.publisher.sql("UPDATE orders SET note = note || ' in the window' WHERE id < 20").await.unwrap();
        database.catch_up().await.unwrap();
        proxy.release();
        let ran = running.finish().await;
        assert_eq!(ran.table("orders")["verdict"], "match", "{how}: {ran:#?}");
        ran.assert_code(0);
        assert!(ran.json["gate"]["in_flight"]["keys"].as_u64().unwrap() >= 19, "{ran:#?}");
    }
    database.assert_nothing_left().await;
}

/// An index that holds all columns of a table, and not all of its rows: where a server reads it in place of the table, what it
/// does not hold does not exist.
#[tokio::test]
async fn a_row_that_the_index_of_a_narrow_table_has_lost() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("blind_index").await.unwrap();
    database.both("CREATE TABLE link (a integer, b integer, PRIMARY KEY (a, b))").await.unwrap();
    database.publisher.sql("INSERT INTO link SELECT i, i FROM generate_series(1, 5000) i").await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let subscriber = &database.subscriber;
    subscriber.sql("VACUUM ANALYZE link").await.unwrap();
    for setting in ["random_page_cost = 0.001", "seq_page_cost = 10"] {
        subscriber.sql(&format!("ALTER DATABASE {} SET {setting}", subscriber.name())).await.unwrap();
    }
    let plan = subscriber.value("EXPLAIN SELECT a, b FROM link").await.unwrap();
    assert!(plan.contains("Index Only Scan"), "{plan}");
    let ready = |ready| format!("UPDATE pg_index SET indisready = {ready} WHERE indexrelid = 'link_pkey'::regclass");
    subscriber.sql(&ready(false)).await.unwrap();
    subscriber.sql("INSERT INTO link VALUES (0, 7)").await.unwrap();
    subscriber.sql(&ready(true)).await.unwrap();
    for scan in ["digest64", "digest", "rows"] {
        let ran = Verify::new(&database).args("--checks rows --scan").arg(scan).run().await;
        lines::assert_different(&ran, &["link extra a=0,b=7"], &[]);
    }
    // Where rows are read through that very index, their count shows the corruption.
    database.publisher.sql("INSERT INTO link SELECT i, i FROM generate_series(5001, 700000) i").await.unwrap();
    database.catch_up().await.unwrap();
    database.both("VACUUM ANALYZE link").await.unwrap();
    let by_key = "--checks count,sum,rows --snapshot-age-max 1s --chunk-rows 20000";
    let ran = Verify::new(&database).args(by_key).run().await;
    assert_eq!(ran.table("link")["scan"], "key-range scan", "{ran:#?}");
    // At one sync point it is miscounted; at several, figures contradict rows that are equal.
    let reasons = ["rows_miscounted", "checks_disagree"].map(|reason| vec![format!("public.link unproven {reason}")]);
    assert!(ran.code == 3 && reasons.contains(&ran.tables()), "{ran:#?}");
    database.assert_nothing_left().await;
}
