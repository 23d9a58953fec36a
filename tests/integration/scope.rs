//! What is compared, what is not, and that nothing falls outside unseen.

use serde_json::json;
use triplecheck_testbed::{Database, ReplicateOptions, Replicated, shared_pair};

use crate::harness::{Ran, Verify, disable, wait_for};

/// Publishes these only.
pub(crate) fn only(tables: &str) -> ReplicateOptions {
    ReplicateOptions { publish: format!("FOR TABLE {tables}"), ..ReplicateOptions::default() }
}

/// Makes tables `(id int PRIMARY KEY, note text)` with 100 rows on the publisher.
pub(crate) async fn tables(database: &Replicated, names: &[&str]) {
    for name in names {
        database.both(&format!("CREATE TABLE {name} (id int PRIMARY KEY, note text)")).await.unwrap();
        database
            .publisher
            .sql(&format!("INSERT INTO {name} SELECT i, 'n' || i FROM generate_series(1, 100) i"))
            .await
            .unwrap();
    }
}

/// A second subscription to this publication.
async fn subscribe_also(database: &Replicated, publication: &str, with: &str) -> String {
    let name = format!("also_{}", database.subscription_name());
    let sql = format!(
        "CREATE SUBSCRIPTION {name} CONNECTION '{}' PUBLICATION {publication} WITH (slot_name = {name}{with})",
        database.publisher.conninfo().replace('\'', "''")
    );
    database.subscriber.sql(&sql).await.unwrap();
    let ready = "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'";
    wait_for(&database.subscriber, ready, "0").await;
    name
}

/// The closing sentence, and the exit code.
pub(crate) async fn closing(verify: Verify) -> (Option<i32>, String) {
    let text = verify.text().await;
    (text.code, text.stdout.lines().last().unwrap_or_default().to_owned())
}

pub(crate) fn message<'a>(ran: &'a Ran, table: &str) -> &'a str {
    ran.table(table)["message"].as_str().unwrap_or_else(|| panic!("no message: {ran:#?}"))
}

#[tokio::test]
async fn what_replication_does_not_carry_is_unproven_until_it_is_excluded() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("uncarried").await.unwrap();
    tables(&database, &["carried", "loose", "bare"]).await;
    database.publisher.sql("TRUNCATE bare").await.unwrap();
    database
        .publisher
        .sql("CREATE UNLOGGED TABLE fast (id int PRIMARY KEY); INSERT INTO fast VALUES (1)")
        .await
        .unwrap();
    database.publisher.sql("SELECT lo_from_bytea(0, '\\xdeadbeef')").await.unwrap();
    database.replicate(only("carried")).await.unwrap();

    let ran = Verify::new(&database).run().await;
    ran.assert_code(3);
    assert_eq!(
        ran.tables(),
        [
            "pg_catalog.pg_largeobject unproven not_replicated",
            "public.carried match -",
            "public.fast unproven not_replicated",
            "public.loose unproven not_replicated",
        ]
    );
    assert_eq!(
        ran.findings(),
        [
            "warning large_objects pg_catalog.pg_largeobject",
            "warning table_not_replicated public.loose",
            "warning unlogged_table public.fast",
        ]
    );
    assert!(message(&ran, "fast").contains("public.fast is unlogged"), "{ran:#?}");
    assert!(message(&ran, "loose").contains("--exclude-table"), "{ran:#?}");
    assert!(message(&ran, "pg_largeobject").contains("1 large objects"), "{ran:#?}");

    // One after the other.
    let mut verify = String::new();
    for (table, left) in [("loose", 3), ("fast", 3), ("pg_largeobject", 0)] {
        verify.push_str(&format!("-T {table} "));
        let ran = Verify::new(&database).args(&verify).run().await;
        ran.assert_code(left);
        assert!(!ran.tables().iter().any(|line| line.contains(table)), "{ran:#?}");
    }
    let ran = Verify::new(&database).args(&verify).run().await;
    assert_eq!(ran.tables(), ["public.carried match -"]);
    assert_eq!(ran.json["excluded"], json!(["pg_catalog.pg_largeobject", "public.fast", "public.loose"]));
    let (code, last) = closing(Verify::new(&database).args(&verify)).await;
    assert!(code == Some(0) && last.starts_with("MATCH: ") && last.ends_with("; 3 objects excluded."), "{last}");

    let ran = Verify::new(&database).args("--scope published").run().await;
    ran.assert_code(0);
    assert_eq!(ran.tables(), ["public.carried match -"]);
    let (code, last) = closing(Verify::new(&database).args("--scope published")).await;
    assert!(code == Some(0) && last.starts_with("MATCH: "), "{last}");
    // The empty one is not carried, either, and may be counted.
    assert!(last.ends_with("; 4 objects excluded.") && ran.json["excluded"].as_array().unwrap().len() == 4, "{ran:#?}");
    assert!(ran.findings().iter().all(|finding| finding.starts_with("info ")), "{ran:#?}");

    // A difference is not hidden by what is unproven.
    database.subscriber.sql("DELETE FROM carried WHERE id = 5").await.unwrap();
    let ran = Verify::new(&database).run().await;
    ran.assert_code(1);
    let (_, last) = closing(Verify::new(&database)).await;
    assert!(
        last.contains("public.carried: 1 missing") && last.contains("besides, 3 of 4 selected tables are unproven"),
        "{last}"
    );
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn tables_on_one_side_only() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("one_sided").await.unwrap();
    tables(&database, &["kept", "gone", "gone_bare"]).await;
    database.publisher.sql("TRUNCATE gone_bare").await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    database
        .subscriber
        .sql("DROP TABLE gone, gone_bare; CREATE TABLE extra (id int); INSERT INTO extra VALUES (1)")
        .await
        .unwrap();

    let ran = Verify::new(&database).run().await;
    ran.assert_code(1);
    assert_eq!(ran.tables(), ["public.gone different -", "public.gone_bare unproven not_read", "public.kept match -"]);
    assert!(message(&ran, "gone").contains("public.gone does not exist on the subscriber"), "{ran:#?}");
    assert!(message(&ran, "gone_bare").contains("is empty on the publisher"), "{ran:#?}");
    assert_eq!(
        ran.findings(),
        ["error table_missing public.gone", "error table_missing public.gone_bare", "info extra_table public.extra"]
    );
    let ran = Verify::new(&database).args("-T gone").run().await;
    ran.assert_code(3);
    let ran = Verify::new(&database).args("-T gone -T gone_bare").run().await;
    ran.assert_code(0);
    assert_eq!(ran.tables(), ["public.kept match -"]);
    assert_eq!(ran.findings(), ["info extra_table public.extra"]);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn patterns_are_those_of_pg_dump() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("patterns").await.unwrap();
    database.both("CREATE SCHEMA audit; CREATE SCHEMA \"We.ird\"").await.unwrap();
    let names = [
        "orders",
        "orders_old",
        "\"Orders\"",
        "\"Order \"\"Items\"\"\"",
        "\"a.b\"",
        "audit.log",
        "audit.orders",
        "\"We.ird\".t",
    ];
    tables(&database, &names).await;
    database.replicate(ReplicateOptions::default()).await.unwrap();

    let select = async |flags: &[&str]| {
        let mut verify = Verify::new(&database);
        for flag in flags {
            verify = verify.arg(flag);
        }
        let ran = verify.run().await;
        ran.assert_code(0);
        let names = ran.tables().iter().map(|line| line.trim_end_matches(" match -").to_owned()).collect::<Vec<_>>();
        names.join(", ")
    };
    assert_eq!(select(&["-t", "orders"]).await, "public.orders");
    assert_eq!(select(&["-t", "ORDERS"]).await, "public.orders");
    assert_eq!(select(&["--table", "\"Orders\""]).await, "public.Orders");
    assert_eq!(select(&["-t", "orders*"]).await, "public.orders, public.orders_old");
    assert_eq!(select(&["-t", "*.orders"]).await, "audit.orders, public.orders");
    assert_eq!(select(&["-t", "audit.*", "-T", "audit.log"]).await, "audit.orders");
    assert_eq!(select(&["-t", "order?"]).await, "public.orders");
    assert_eq!(select(&["-t", "\"Order \"\"Items\"\"\""]).await, "public.Order \"Items\"");
    assert_eq!(select(&["-t", "\"a.b\""]).await, "public.a.b");
    assert_eq!(select(&["-t", "\"We.ird\".*"]).await, "We.ird.t");
    assert_eq!(select(&["-t", "orders_(old|new)"]).await, "public.orders_old");
    assert_eq!(select(&["-t", "audit.log", "-t", "orders"]).await, "audit.log, public.orders");
    assert_eq!(
        select(&["-T", "public.*", "--exclude-table", "audit.orders"]).await,
        "We.ird.t, audit.log",
        "excluded from everything"
    );

    for (flag, pattern) in [
        ("-t", "no_such"),
        ("-T", "no_such"),
        ("-t", "a.b"),
        ("-t", "log"),
        ("-t", "\"ORDERS\""),
        ("-t", "audit.nothing*"),
    ] {
        let ran = Verify::new(&database).arg(flag).arg(pattern).run().await;
        let (code, message, hint) = ran.refusal();
        assert_eq!(code, "usage");
        assert!(message.contains(pattern) && message.contains("matches nothing"), "{message}");
        assert!(hint.contains("pg_dump"), "{hint}");
    }
    let ran = Verify::new(&database).args("-t orders -T orders").run().await;
    let (_, message, _) = ran.refusal();
    assert!(message.contains("nothing selected"), "{message}");
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn a_leaf_of_a_table_that_is_published_through_its_root() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("leaf").await.unwrap();
    let schema = "CREATE TABLE measures (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
                  CREATE TABLE measures_1 PARTITION OF measures FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
                  CREATE TABLE measures_2 PARTITION OF measures FOR VALUES FROM ('2024-02-01') TO ('2024-03-01')";
    database.both(schema).await.unwrap();
    tables(&database, &["other"]).await;
    database
        .publisher
        .sql("INSERT INTO measures SELECT i, '2024-01-01'::date + i % 60 FROM generate_series(1, 300) i")
        .await
        .unwrap();
    let root = ReplicateOptions {
        publication_with: "publish_via_partition_root = true".into(),
        ..ReplicateOptions::default()
    };
    database.replicate(root).await.unwrap();
    for flag in ["--table", "--exclude-table"] {
        let ran = Verify::new(&database).arg(flag).arg("measures_1").run().await;
        let (code, message, hint) = ran.refusal();
        assert_eq!(code, "usage");
        assert!(message.contains("measures_1") && message.contains("partition of public.measures"), "{message}");
        assert!(hint.contains(&format!("{flag} public.measures")), "{hint}");
    }
    let ran = Verify::new(&database).args("-t measures").run().await;
    ran.assert_code(0);
    assert_eq!(ran.tables(), ["public.measures match -"]);
    assert_eq!(ran.table("measures")["rows"]["publisher"], 300);
    let ran = Verify::new(&database).args("-T measures").run().await;
    ran.assert_code(0);
    assert_eq!(ran.tables(), ["public.other match -"]);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn leaves_that_are_published_one_by_one_can_be_selected() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("leaves").await.unwrap();
    let schema = "CREATE TABLE measures (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
                  CREATE TABLE measures_1 PARTITION OF measures FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
                  CREATE TABLE measures_2 PARTITION OF measures FOR VALUES FROM ('2024-02-01') TO ('2024-03-01')";
    database.both(schema).await.unwrap();
    database
        .publisher
        .sql("INSERT INTO measures SELECT i, '2024-01-01'::date + i % 60 FROM generate_series(1, 300) i")
        .await
        .unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let ran = Verify::new(&database).run().await;
    ran.assert_code(0);
    assert_eq!(ran.tables(), ["public.measures_1 match -", "public.measures_2 match -"]);
    database.subscriber.sql("DELETE FROM measures WHERE day = '2024-02-05'").await.unwrap();
    let ran = Verify::new(&database).args("-t measures_1").run().await;
    ran.assert_code(0);
    assert_eq!(ran.tables(), ["public.measures_1 match -"]);
    let ran = Verify::new(&database).args("-t measures").run().await;
    ran.assert_code(1);
    assert_eq!(ran.tables(), ["public.measures_1 match -", "public.measures_2 different -"]);
    assert_eq!(ran.table("measures_2")["checks"]["rows"]["missing"], 5);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn without_the_check_of_rows_nothing_is_proven() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("checks").await.unwrap();
    tables(&database, &["orders"]).await;
    database.replicate(ReplicateOptions::default()).await.unwrap();
    for checks in ["count", "count,max,sum,sequence", "sum", "max"] {
        let ran = Verify::new(&database).args("--checks").arg(checks).run().await;
        ran.assert_code(3);
        assert_eq!(ran.tables(), ["public.orders unproven rows_not_checked"]);
        assert!(ran.table("orders")["checks"]["rows"].is_null());
        assert_eq!(ran.table("orders")["checks"]["count"].is_null(), !checks.contains("count"));
    }
    let ran = Verify::new(&database).args("--checks rows").run().await;
    ran.assert_code(0);
    assert!(["count", "max", "sum"].iter().all(|check| ran.table("orders")["checks"][check].is_null()), "{ran:#?}");
    for checks in ["rows,colour", "Rows", ""] {
        let ran = Verify::new(&database).args("--checks").arg(checks).run().await;
        let (code, message, _) = ran.refusal();
        assert!(code == "usage" && message.contains("--checks"), "{message}");
    }
    // What a figure alone proves different is different; an equal count hides a changed row.
    database.subscriber.sql("DELETE FROM orders WHERE id = 100").await.unwrap();
    let ran = Verify::new(&database).args("--checks sum").run().await;
    ran.assert_code(1);
    let sum = &ran.table("orders")["checks"]["sum"][0];
    assert_eq!((&sum["publisher"], &sum["subscriber"]), (&json!("5050"), &json!("4950")));
    let ran = Verify::new(&database).args("--checks max").run().await;
    ran.assert_code(3);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn several_subscriptions_from_one_publisher() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("several").await.unwrap();
    tables(&database, &["one", "other"]).await;
    database.replicate(only("one")).await.unwrap();
    database.publisher.sql("CREATE PUBLICATION also FOR TABLE other").await.unwrap();
    let also = subscribe_also(&database, "also", "").await;
    database.catch_up().await.unwrap();

    let ran = Verify::new(&database).args("--lag-timeout 30s").run().await;
    ran.assert_code(0);
    assert_eq!(ran.tables(), ["public.one match -", "public.other match -"]);
    let ran = Verify::new(&database).args("--lag-timeout 30s --scope published --subscription").arg(&also).run().await;
    ran.assert_code(0);
    assert_eq!(ran.tables(), ["public.other match -"]);

    // One of the two stands still: the gate says which.
    disable(&database, &also, &also).await;
    database.publisher.sql("DELETE FROM other WHERE id = 1").await.unwrap();
    let ran = Verify::new(&database).args("--lag-timeout 1s").run().await;
    ran.assert_code(3);
    let message = ran.json["gate"]["message"].as_str().unwrap();
    assert!(message.contains(&format!("subscription {also} is disabled")), "{message}");
    assert!(!message.contains(&format!("subscription {} is disabled", database.subscription_name())), "{message}");
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn a_table_in_two_subscriptions() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("twice").await.unwrap();
    tables(&database, &["one", "shared"]).await;
    database.replicate(only("one, shared")).await.unwrap();
    database.publisher.sql("CREATE PUBLICATION also FOR TABLE shared").await.unwrap();
    let also = subscribe_also(&database, "also", ", copy_data = false").await;
    let ran = Verify::new(&database).args("--lag-timeout 30s").run().await;
    ran.assert_code(3);
    assert_eq!(ran.tables(), ["public.one match -", "public.shared unproven several_subscriptions"]);
    let message = message(&ran, "shared");
    assert!(message.contains(&also) && message.contains(&database.subscription_name()), "{message}");
    // Asking for one of them does not make the other one go away.
    let name = database.subscription_name();
    let ran = Verify::new(&database).args("--lag-timeout 30s --subscription").arg(&name).run().await;
    ran.assert_code(3);
    assert_eq!(ran.tables(), ["public.one match -", "public.shared unproven several_subscriptions"]);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn sequences() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("sequences").await.unwrap();
    tables(&database, &["orders"]).await;
    database
        .both(
            "CREATE SEQUENCE behind INCREMENT 5; CREATE SEQUENCE ahead; CREATE SEQUENCE equal; CREATE SEQUENCE fresh START 7;
             CREATE SEQUENCE down INCREMENT -2 MAXVALUE 100 START 100; CREATE SEQUENCE down_ahead INCREMENT -1; CREATE SEQUENCE huge;
             CREATE SEQUENCE \"Un \"\"called\"\"\"; CREATE SEQUENCE gone",
        )
        .await
        .unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let (publisher, subscriber) = (&database.publisher, &database.subscriber);
    publisher
        .sql(
            "SELECT setval('behind', 101), setval('ahead', 10), setval('equal', 33), setval('down', 50), setval('down_ahead', -7),
             setval('huge', 9223372036854775807), setval('gone', 3), setval('\"Un \"\"called\"\"\"', 5)",
        )
        .await
        .unwrap();
    subscriber
        .sql(
            "SELECT setval('behind', 96), setval('ahead', 11), setval('equal', 34, false), setval('down', 52), setval('down_ahead', -9),
             setval('huge', 9223372036854775806), setval('\"Un \"\"called\"\"\"', 5, false); DROP SEQUENCE gone",
        )
        .await
        .unwrap();
    let ran = Verify::new(&database).args("--gate quiesced --lag-timeout 30s").run().await;
    ran.assert_code(1);
    assert_eq!(ran.tables(), ["public.orders match -"]);
    assert_eq!(
        ran.sequences(),
        [
            "Un \"called\" different 6 5",
            "ahead match 11 12",
            "behind different 106 101",
            "down different 48 50",
            "down_ahead match -8 -10",
            "equal match 34 34",
            "fresh match 7 7",
            "gone different 4 -",
            "huge different 9223372036854775808 9223372036854775807",
        ]
    );
    assert_eq!(ran.findings(), ["warning sequence_missing public.gone"]);
    let behind =
        ran.json["sequences"].as_array().unwrap().iter().find(|sequence| sequence["name"] == "behind").unwrap();
    assert!(behind["message"].as_str().unwrap().contains("public.behind is 5 behind"), "{behind}");

    // They are a check like the others: they can be left out, or be all there is.
    let ran = Verify::new(&database).args("--lag-timeout 30s --checks count,rows").run().await;
    ran.assert_code(0);
    assert!(ran.sequences().is_empty());
    let ran = Verify::new(&database).args("--gate quiesced --lag-timeout 30s -t ahead -t behind").run().await;
    ran.assert_code(1);
    assert_eq!(ran.sequences(), ["ahead match 11 12", "behind different 106 101"]);

    // While replication is live they are behind on every healthy subscriber: said, and no difference. One that is not there
    // cannot be set.
    let live = |args: &'static str| Verify::new(&database).args("--gate live --lag-timeout 30s").args(args);
    let ran = live("").run().await;
    ran.assert_code(1);
    assert_eq!(ran.sequences().len(), 9);
    let behind = [
        "warning sequence_behind public.\"Un \"\"called\"\"\"",
        "warning sequence_behind public.behind",
        "warning sequence_behind public.down",
        "warning sequence_behind public.huge",
    ];
    assert_eq!(ran.findings(), [behind.as_slice(), &["warning sequence_missing public.gone"]].concat());
    let ran = live("-T gone").run().await;
    ran.assert_code(0);
    assert_eq!(ran.findings(), behind);
    let (_, last) = closing(live("-T gone")).await;
    assert!(last.starts_with("MATCH: ") && last.contains(" and 4 sequences hold the same data"), "{last}");
    assert!(last.contains("; 4 sequences are to be set at cutover;"), "{last}");
    // Nothing else is looked at.
    live("-t behind").run().await.assert_code(3);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn a_sequence_that_is_behind_its_column() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("sequence_column").await.unwrap();
    database.both("CREATE TABLE orders (id bigserial PRIMARY KEY, note text)").await.unwrap();
    database.publisher.sql("INSERT INTO orders (note) SELECT 'n' || i FROM generate_series(1, 100) i").await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let quiesced = || Verify::new(&database).args("--gate quiesced");
    let ran = quiesced().run().await;
    ran.assert_code(1);
    assert_eq!(
        (ran.tables(), ran.sequences()),
        (vec!["public.orders match -".to_owned()], vec!["orders_id_seq different 101 1".to_owned()])
    );
    let (_, last) = closing(quiesced()).await;
    assert!(last.contains("1 sequence is behind"), "{last}");
    // A table that is not selected takes its sequence with it.
    tables(&database, &["other"]).await;
    let ran = Verify::new(&database).args("-T orders -T other").run().await;
    let (_, message, _) = ran.refusal();
    assert!(message.contains("nothing selected"), "{message}");

    database.subscriber.sql("SELECT setval('orders_id_seq', 100)").await.unwrap();
    quiesced().args("-t orders").run().await.assert_code(0);
    // Not behind, but the subscriber's column holds more than the sequence knows of.
    database.subscriber.sql("INSERT INTO orders VALUES (200, 'n')").await.unwrap();
    let ran = quiesced().args("-t orders").run().await;
    ran.assert_code(1);
    assert_eq!(ran.sequences(), ["orders_id_seq different 101 101"]);
    database.assert_nothing_left().await;
}

/// How often tables were read, by a statement of anybody.
async fn reads(side: &Database) -> String {
    side.value("SELECT sum(seq_scan + coalesce(idx_scan, 0))::text FROM pg_stat_user_tables WHERE relname = 'orders'")
        .await
        .unwrap()
}

#[tokio::test]
async fn a_plan_shows_its_statements_and_reads_no_table() {
    let lease = shared_pair(16, 16).shared().await.unwrap();
    let database = lease.database("plan").await.unwrap();
    tables(&database, &["orders"]).await;
    let loose = "CREATE TABLE loose (id int); INSERT INTO loose SELECT generate_series(1, 1000)";
    database.publisher.sql(loose).await.unwrap();
    database.replicate(only("orders")).await.unwrap();
    let before = (reads(&database.publisher).await, reads(&database.subscriber).await);
    let ran = Verify::new(&database).plan().run().await;
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(ran.json["tables"].as_array().unwrap().len(), 1, "{ran:#?}");
    let orders = &ran.json["tables"][0];
    assert_eq!(
        (&orders["name"], &orders["scan"], &orders["key"]),
        (&json!("orders"), &json!("heap scan"), &json!(["id"]))
    );
    for side in ["publisher", "subscriber"] {
        let statements = orders["statements"][side].as_array().unwrap();
        let texts: Vec<_> = statements.iter().map(|statement| statement.as_str().unwrap()).collect();
        assert!(
            texts.iter().any(|text| text.starts_with("SELECT count(*), sum(") && text.contains("orders")),
            "{texts:#?}"
        );
        assert!(texts.contains(&r#"COPY "public"."orders" ("id", "note") TO STDOUT (FORMAT binary)"#), "{texts:#?}");
    }
    let text = Verify::new(&database).plan().text().await;
    assert_eq!(text.code, Some(0));
    assert!(text.stdout.contains("COPY \"public\".\"orders\" (") && text.stdout.contains("loose"), "{}", text.stdout);
    assert_eq!((reads(&database.publisher).await, reads(&database.subscriber).await), before);
    // Of what replication does not carry, whether there is a row: once by each plan.
    let looked =
        "SELECT seq_scan || ' scans, ' || seq_tup_read || ' rows' FROM pg_stat_user_tables WHERE relname = 'loose'";
    wait_for(&database.publisher, looked, "2 scans, 2 rows").await;

    // Verify does read them, so the count would have shown it.
    Verify::new(&database).args("-t orders").run().await.assert_code(0);
    assert_ne!(reads(&database.publisher).await, before.0);
    let ran = Verify::new(&database).args("-t no_such").plan().run().await;
    ran.refusal();
    database.assert_nothing_left().await;
}
