//! What must be equal comes from the publications: filters, column lists, actions, schemas, partitions, generated columns.

use serde_json::json;
use triplecheck_testbed::{ReplicateOptions, shared_pair};

use crate::harness::{Ran, Verify, wait_for};
use crate::scope::{closing, message, only, tables};

#[tokio::test]
async fn row_filters_and_column_lists() {
    let lease = shared_pair(15, 17).shared().await.unwrap();
    let database = lease.database("filtered").await.unwrap();
    tables(&database, &["filtered", "listed"]).await;
    database.replicate(only("filtered WHERE (id > 40), listed (id)")).await.unwrap();
    assert_eq!(database.subscriber.value("SELECT count(*) FROM filtered").await.unwrap(), "60");

    let ran = Verify::new(&database).run().await;
    ran.assert_code(3);
    assert_eq!(ran.tables(), ["public.filtered unproven not_replicated", "public.listed unproven not_replicated"]);
    assert!(message(&ran, "filtered").contains("(id > 40)"), "{ran:#?}");
    assert!(message(&ran, "listed").contains("column note of public.listed"), "{ran:#?}");
    assert_eq!(
        ran.findings(),
        ["warning column_not_replicated public.listed.note", "warning row_filter public.filtered"]
    );

    let ran = Verify::new(&database).args("--scope published").run().await;
    ran.assert_code(0);
    assert_eq!(ran.table("filtered")["rows"], json!({"publisher": 60, "subscriber": 60}));
    assert_eq!(ran.table("listed")["rows"], json!({"publisher": 100, "subscriber": 100}));
    let (_, last) = closing(Verify::new(&database).args("--scope published")).await;
    assert!(last.starts_with("MATCH: ") && last.ends_with("; 2 objects excluded."), "{last}");

    // Inside of the filter and the list, differences are seen in either scope.
    database
        .subscriber
        .sql("UPDATE filtered SET note = 'x' WHERE id = 77; DELETE FROM listed WHERE id = 3")
        .await
        .unwrap();
    for scope in ["database", "published"] {
        let ran = Verify::new(&database).arg("--scope").arg(scope).run().await;
        ran.assert_code(1);
        assert_eq!(ran.tables(), ["public.filtered different -", "public.listed different -"]);
        assert_eq!(ran.table("filtered")["checks"]["rows"]["samples"][0]["key"], json!({"id": "77"}));
        assert_eq!(ran.table("filtered")["checks"]["rows"]["samples"][0]["columns"], json!(["note"]));
        assert_eq!(ran.table("listed")["checks"]["rows"]["missing"], 1);
    }
    database.assert_nothing_left().await;
}

/// Filters of several publications let a row through that one of them lets through; one without a filter, all rows.
#[tokio::test]
async fn filters_of_several_publications() {
    let lease = shared_pair(15, 17).shared().await.unwrap();
    let database = lease.database("ored").await.unwrap();
    tables(&database, &["narrow", "open"]).await;
    database
        .publisher
        .sql(
            "CREATE PUBLICATION low FOR TABLE narrow WHERE (id <= 10), open WHERE (id <= 10);
             CREATE PUBLICATION named FOR TABLE narrow WHERE (note LIKE 'n9%' OR id = 50 AND id > 0), open",
        )
        .await
        .unwrap();
    database.publisher.sql("ALTER TABLE narrow REPLICA IDENTITY FULL").await.unwrap();
    let name = database.subscription_name();
    let subscribe = format!(
        "CREATE SUBSCRIPTION {name} CONNECTION '{}' PUBLICATION low, named WITH (slot_name = {})",
        database.publisher.conninfo().replace('\'', "''"),
        database.slot_name()
    );
    database.subscriber.sql(&subscribe).await.unwrap();
    database.catch_up().await.unwrap();
    let run = || Verify::new(&database).args("--scope published --lag-timeout 30s").run();
    let ran = run().await;
    ran.assert_code(0);
    // 1 to 10, 50, and 9, 90 to 99.
    assert_eq!(ran.table("narrow")["rows"], json!({"publisher": 21, "subscriber": 21}));
    assert_eq!(ran.table("open")["rows"], json!({"publisher": 100, "subscriber": 100}));
    // Into the filter and out of it, by updates.
    database
        .publisher
        .sql("UPDATE narrow SET note = 'n9 new' WHERE id = 60; UPDATE narrow SET note = 'gone' WHERE id = 95")
        .await
        .unwrap();
    let ran = run().await;
    ran.assert_code(0);
    assert_eq!(ran.table("narrow")["rows"], json!({"publisher": 21, "subscriber": 21}));
    database.subscriber.sql("DELETE FROM narrow WHERE id = 60; INSERT INTO narrow VALUES (95, 'gone')").await.unwrap();
    let ran = run().await;
    ran.assert_code(1);
    let rows = &ran.table("narrow")["checks"]["rows"];
    assert_eq!((&rows["missing"], &rows["extra"], &rows["changed"]), (&json!(1), &json!(1), &json!(0)));
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn a_publication_that_leaves_deletes_out() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("no_deletes").await.unwrap();
    tables(&database, &["orders"]).await;
    let some =
        ReplicateOptions { publication_with: "publish = 'insert, update'".into(), ..ReplicateOptions::default() };
    database.replicate(some).await.unwrap();
    let ran = Verify::new(&database).run().await;
    ran.assert_code(0);
    assert_eq!(ran.findings(), ["warning publishes_some_actions public.orders"]);

    database.publisher.sql("DELETE FROM orders WHERE id = 5").await.unwrap();
    let ran = Verify::new(&database).args("--lag-timeout 30s").run().await;
    ran.assert_code(3);
    assert_eq!(ran.tables(), ["public.orders unproven equality_not_implied"]);
    assert!(message(&ran, "orders").contains("does not publish deletes, truncates"), "{ran:#?}");
    assert_eq!(ran.table("orders")["checks"]["rows"]["extra"], 1);

    // What is published is still promised.
    database.subscriber.sql("UPDATE orders SET note = 'x' WHERE id = 7").await.unwrap();
    let ran = Verify::new(&database).run().await;
    ran.assert_code(1);
    assert_eq!(ran.tables(), ["public.orders different equality_not_implied"]);
    assert!(message(&ran, "orders").ends_with("only some of the differences prove anything"), "{ran:#?}");
    database.subscriber.sql("DELETE FROM orders WHERE id = 5").await.unwrap();
    let ran = Verify::new(&database).run().await;
    assert_eq!(ran.tables(), ["public.orders different -"]);
    database.assert_nothing_left().await;
}

/// Without updates nothing follows from a difference; without inserts, what the subscriber has must be the publisher's.
#[tokio::test]
async fn what_follows_from_the_actions_that_are_published() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    for (publish, lacking, damage, reported) in [
        ("insert, delete, truncate", "updates", "DELETE FROM orders WHERE id = 9", "unproven equality_not_implied"),
        (
            "insert, delete, truncate",
            "updates",
            "UPDATE orders SET note = 'x' WHERE id = 9",
            "unproven equality_not_implied",
        ),
        ("update, delete, truncate", "inserts", "DELETE FROM orders WHERE id = 9", "unproven equality_not_implied"),
        ("update, delete, truncate", "inserts", "UPDATE orders SET note = 'x' WHERE id = 9", "different -"),
        ("update, delete, truncate", "inserts", "INSERT INTO orders VALUES (1000, 'x')", "different -"),
        (
            "insert, update, delete",
            "truncates",
            "INSERT INTO orders VALUES (1000, 'x')",
            "unproven equality_not_implied",
        ),
        ("insert, update, delete", "truncates", "DELETE FROM orders WHERE id = 9", "different -"),
    ] {
        let database = lease.database("actions").await.unwrap();
        tables(&database, &["orders"]).await;
        let with =
            ReplicateOptions { publication_with: format!("publish = '{publish}'"), ..ReplicateOptions::default() };
        database.replicate(with).await.unwrap();
        let run = || Verify::new(&database).args("--checks count,rows --lag-timeout 30s").run();
        assert_eq!(run().await.tables(), ["public.orders match -"], "{publish}");
        database.subscriber.sql(damage).await.unwrap();
        let ran = run().await;
        assert_eq!(ran.tables(), [format!("public.orders {reported}")], "{publish}: {damage}");
        assert_eq!(ran.findings(), ["warning publishes_some_actions public.orders"]);
        if reported.starts_with("unproven") {
            assert!(message(&ran, "orders").contains(&format!("does not publish {lacking}")), "{ran:#?}");
        }
        database.assert_nothing_left().await;
        database.drop().await.unwrap();
    }
}

/// A schema is published with whatever is in it, also with what comes later.
#[tokio::test]
async fn tables_in_a_schema() {
    let lease = shared_pair(15, 18).shared().await.unwrap();
    let database = lease.database("schemas").await.unwrap();
    database.both(r#"CREATE SCHEMA "My Shop"; CREATE SCHEMA other"#).await.unwrap();
    tables(&database, &[r#""My Shop".orders"#, "other.left_out"]).await;
    let all =
        ReplicateOptions { publish: r#"FOR TABLES IN SCHEMA "My Shop""#.to_owned(), ..ReplicateOptions::default() };
    database.replicate(all).await.unwrap();
    let ran = Verify::new(&database).run().await;
    ran.assert_code(3);
    assert_eq!(ran.tables(), ["My Shop.orders match -", "other.left_out unproven not_replicated"]);
    tables(&database, &[r#""My Shop".later"#]).await;
    let ran = Verify::new(&database).args("--scope published").run().await;
    assert_eq!(ran.tables(), ["My Shop.later unproven table_not_ready", "My Shop.orders match -"]);
    let refresh = format!("ALTER SUBSCRIPTION {} REFRESH PUBLICATION", database.subscription_name());
    database.subscriber.sql(&refresh).await.unwrap();
    database.catch_up().await.unwrap();
    let ran = Verify::new(&database).args("--scope published").run().await;
    ran.assert_code(0);
    assert_eq!(ran.tables(), ["My Shop.later match -", "My Shop.orders match -"]);
    database.assert_nothing_left().await;
}

/// Since 18 generated columns can be published: then an ordinary column of the subscriber gets them.
#[tokio::test]
async fn generated_columns_of_18() {
    let lease = shared_pair(18, 18).shared().await.unwrap();
    let database = lease.database("generated").await.unwrap();
    let ordinary = "CREATE TABLE t (id int PRIMARY KEY, v int, twice int, now int)";
    let generated = "CREATE TABLE t (id int PRIMARY KEY, v int, twice int GENERATED ALWAYS AS (v * 2) STORED, now int GENERATED ALWAYS AS (v + 1) VIRTUAL);
                     INSERT INTO t (id, v) SELECT i, i FROM generate_series(1, 50) i";
    database.publisher.sql(generated).await.unwrap();
    database.subscriber.sql(ordinary).await.unwrap();
    let stored = ReplicateOptions {
        publication_with: "publish_generated_columns = stored".to_owned(),
        ..ReplicateOptions::default()
    };
    database.replicate(stored).await.unwrap();
    let ran = Verify::new(&database).run().await;
    assert_eq!(ran.tables(), ["public.t unproven not_replicated"]);
    assert!(message(&ran, "t").contains("column now"), "{ran:#?}");
    let ran = Verify::new(&database).args("--scope published").run().await;
    ran.assert_code(0);
    database.subscriber.sql("UPDATE t SET twice = 0 WHERE id = 7").await.unwrap();
    let ran = Verify::new(&database).args("--scope published").run().await;
    ran.assert_code(1);
    assert_eq!(ran.table("t")["checks"]["rows"]["samples"][0]["columns"], json!(["twice"]));
    database.assert_nothing_left().await;
}

/// What both sides compute when it is read is not compared, and rests on the expressions.
#[tokio::test]
async fn virtual_columns_that_are_computed_otherwise() {
    let lease = shared_pair(18, 18).shared().await.unwrap();
    let database = lease.database("virtual").await.unwrap();
    let tables = [
        ("alike", ["(a * 2) VIRTUAL", "(a * 2) VIRTUAL"]),
        ("kept", ["(a * 2) VIRTUAL", "(a * 2) STORED"]),
        ("otherwise", ["(a * 2) VIRTUAL", "(a * 3) VIRTUAL"]),
        ("kept_otherwise", ["(a * 2) VIRTUAL", "(a * 3) STORED"]),
        ("no_longer_kept", ["(a * 2) STORED", "(a * 3) VIRTUAL"]),
    ];
    for (at, side) in [&database.publisher, &database.subscriber].into_iter().enumerate() {
        for (table, generated) in tables {
            let create = format!(
                "CREATE TABLE {table} (id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS {})",
                generated[at]
            );
            side.sql(&create).await.unwrap();
        }
    }
    for (table, _) in tables {
        let rows = format!("INSERT INTO {table} SELECT i, i FROM generate_series(1, 50) i");
        database.publisher.sql(&rows).await.unwrap();
    }
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let run = || Verify::new(&database).args("--lag-timeout 30s").run();
    let ran = run().await;
    ran.assert_code(3);
    assert_eq!(
        ran.tables(),
        [
            "public.alike match -",
            "public.kept match -",
            "public.kept_otherwise unproven column_not_comparable",
            "public.no_longer_kept unproven column_not_comparable",
            "public.otherwise unproven column_not_comparable",
        ]
    );
    for table in ["kept_otherwise", "no_longer_kept", "otherwise"] {
        let expected = format!(
            "column g of public.{table} is computed when it is read, as (a * 2) on the publisher, as (a * 3) on the subscriber: "
        );
        assert!(message(&ran, table).starts_with(&expected), "{}", message(&ran, table));
    }
    assert_eq!(
        ran.findings(),
        [
            "info virtual_column public.alike.g",
            "info virtual_column public.kept.g",
            "warning virtual_column public.kept_otherwise.g",
            "warning virtual_column public.no_longer_kept.g",
            "warning virtual_column public.otherwise.g",
        ]
    );
    database.subscriber.sql("UPDATE otherwise SET a = 0 WHERE id = 7").await.unwrap();
    let ran = run().await;
    ran.assert_code(1);
    assert_eq!(ran.table("otherwise")["checks"]["rows"]["samples"][0]["columns"], json!(["a"]));
    database.assert_nothing_left().await;
}

/// Rows that were there before a subscription without a copy are missing, which is a difference like any other; the finding
/// says why.
#[tokio::test]
async fn a_subscription_that_did_not_copy() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("no_copy").await.unwrap();
    tables(&database, &["orders"]).await;
    let without = ReplicateOptions { subscription_with: "copy_data = false".to_owned(), ..ReplicateOptions::default() };
    database.replicate(without).await.unwrap();
    database.publisher.sql("INSERT INTO orders VALUES (1000, 'new')").await.unwrap();
    wait_for(&database.subscriber, "SELECT count(*) FROM orders", "1").await;
    let run = || Verify::new(&database).args("--lag-timeout 30s").run();
    let findings = |ran: &Ran| ran.findings();
    let ran = run().await;
    ran.assert_code(1);
    assert_eq!(ran.table("orders")["checks"]["rows"]["missing"], 100);
    assert_eq!(findings(&ran), ["info not_copied public.orders"]);
    // As after a dump and restore.
    database.subscriber.sql("INSERT INTO orders SELECT i, 'n' || i FROM generate_series(1, 100) i").await.unwrap();
    let ran = run().await;
    ran.assert_code(0);
    assert_eq!(findings(&ran), ["info not_copied public.orders"]);
    database.assert_nothing_left().await;
}

/// The two sides cut a table into other partitions: through the root it is one table.
#[tokio::test]
async fn partitions_that_are_cut_otherwise() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("repartitioned").await.unwrap();
    database
        .publisher
        .sql(
            "CREATE TABLE events (id int, at date, note text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
             CREATE TABLE events_23 PARTITION OF events FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
             CREATE TABLE events_24 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
             CREATE TABLE flat (id int PRIMARY KEY, note text) PARTITION BY HASH (id);
             CREATE TABLE flat_0 PARTITION OF flat FOR VALUES WITH (modulus 2, remainder 0);
             CREATE TABLE flat_1 PARTITION OF flat FOR VALUES WITH (modulus 2, remainder 1);
             CREATE TABLE plain (id int PRIMARY KEY, note text);
             INSERT INTO events SELECT i, '2023-01-01'::date + i, 'n' || i FROM generate_series(1, 600) i;
             INSERT INTO flat SELECT i, 'n' || i FROM generate_series(1, 100) i;
             INSERT INTO plain SELECT i, 'n' || i FROM generate_series(1, 100) i",
        )
        .await
        .unwrap();
    database
        .subscriber
        .sql(
            "CREATE TABLE events (id int, at date, note text, PRIMARY KEY (id, at)) PARTITION BY HASH (id);
             CREATE TABLE events_a PARTITION OF events FOR VALUES WITH (modulus 3, remainder 0);
             CREATE TABLE events_b PARTITION OF events FOR VALUES WITH (modulus 3, remainder 1) PARTITION BY LIST (at);
             CREATE TABLE events_b_all PARTITION OF events_b DEFAULT;
             CREATE TABLE events_c PARTITION OF events FOR VALUES WITH (modulus 3, remainder 2);
             CREATE TABLE flat (id int PRIMARY KEY, note text);
             CREATE TABLE plain (id int PRIMARY KEY, note text) PARTITION BY RANGE (id);
             CREATE TABLE plain_all PARTITION OF plain DEFAULT",
        )
        .await
        .unwrap();
    let root = ReplicateOptions {
        publication_with: "publish_via_partition_root = true".to_owned(),
        ..ReplicateOptions::default()
    };
    database.replicate(root).await.unwrap();
    let run = || Verify::new(&database).args("--lag-timeout 30s --chunk-rows 50").run();
    let ran = run().await;
    ran.assert_code(0);
    assert_eq!(ran.tables(), ["public.events match -", "public.flat match -", "public.plain match -"]);
    database
        .subscriber
        .sql("UPDATE events SET note = 'x' WHERE id = 300; DELETE FROM flat WHERE id = 3; UPDATE plain SET note = 'x' WHERE id = 4")
        .await
        .unwrap();
    let ran = run().await;
    ran.assert_code(1);
    assert_eq!(ran.table("events")["checks"]["rows"]["samples"][0]["key"], json!({"id": "300", "at": "2023-10-28"}));
    assert_eq!(ran.table("flat")["checks"]["rows"]["missing"], 1);
    assert_eq!(ran.table("plain")["checks"]["rows"]["changed"], 1);
    database.assert_nothing_left().await;
}
