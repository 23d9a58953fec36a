//! What logical replication does not carry is counted and named, and what it carries only half.

use triplecheck_testbed::{ReplicateOptions, shared_pair};

use crate::harness::Verify;
use crate::lines;

#[tokio::test]
async fn everything_that_no_subscription_carries_is_named() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("left_behind").await.unwrap();
    database
        .both(
            "CREATE TABLE orders (id integer PRIMARY KEY, total numeric);
             CREATE MATERIALIZED VIEW totals AS SELECT sum(total) FROM orders; CREATE VIEW seen AS SELECT id FROM orders;
             CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER far FOREIGN DATA WRAPPER nowhere;
             CREATE FOREIGN TABLE elsewhere (id integer) SERVER far;
             CREATE UNLOGGED TABLE fast (id integer PRIMARY KEY); CREATE UNLOGGED TABLE fast_and_bare (id integer);
             CREATE TABLE unnamed (id integer PRIMARY KEY, v text); ALTER TABLE unnamed REPLICA IDENTITY NOTHING;
             CREATE SEQUENCE counter",
        )
        .await
        .unwrap();
    database
        .publisher
        .sql(
            "INSERT INTO orders SELECT i, i FROM generate_series(1, 50) i; REFRESH MATERIALIZED VIEW totals; INSERT INTO fast VALUES (1);
             INSERT INTO unnamed SELECT i, 'v' FROM generate_series(1, 30) i;
             SELECT lo_from_bytea(0, '\\x00'), lo_from_bytea(0, '\\x01'), lo_from_bytea(0, ''); SELECT nextval('counter')",
        )
        .await
        .unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    // Of these the subscription knows nothing, although all tables are published. A row of one that the subscriber does not
    // have would stop replication.
    database.both("CREATE TABLE later (id integer PRIMARY KEY)").await.unwrap();
    let later = "INSERT INTO later VALUES (1); CREATE TABLE later_here (id integer PRIMARY KEY)";
    database.publisher.sql(later).await.unwrap();
    let run = |args: &str| Verify::new(&database).args("--lag-timeout 60s").args(args).run();
    let ran = run("").await;
    ran.assert_code(3);
    assert_eq!(
        ran.tables(),
        [
            "pg_catalog.pg_largeobject unproven not_replicated",
            "public.fast unproven not_replicated",
            "public.later unproven table_not_ready",
            "public.later_here unproven not_read",
            "public.orders match -",
            "public.unnamed match -",
        ]
    );
    assert_eq!(
        ran.findings(),
        [
            "error no_replica_identity public.unnamed",
            "error table_missing public.later_here",
            "error table_not_ready public.later",
            "info foreign_table public.elsewhere",
            "warning large_objects pg_catalog.pg_largeobject",
            "warning materialized_view public.totals",
            "warning sequence_behind public.counter",
            "warning unlogged_table public.fast",
        ]
    );
    let objects = lines::text(&ran.table("pg_largeobject")["message"]);
    assert!(objects.starts_with("3 large objects"), "{objects}");
    assert_eq!(ran.sequences(), ["counter different 2 1"]);

    // A key is known although the WAL does not carry it.
    database.subscriber.sql("UPDATE unnamed SET v = 'w' WHERE id = 7; DELETE FROM unnamed WHERE id = 8").await.unwrap();
    let ran = run("-t unnamed -t orders").await;
    let figures = ["unnamed count", "unnamed sum(id)"];
    lines::assert_different(&ran, &["unnamed changed id=7 [v]", "unnamed missing id=8"], &figures);
    database.assert_nothing_left().await;
}
