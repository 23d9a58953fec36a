//! A library that sorts texts otherwise than when indexes were built: what they find is not relied on, and it is said.

use triplecheck_testbed::{ReplicateOptions, shared_pair};

use crate::harness::{Ran, Verify};
use crate::lines;

/// What a finding about a collation says.
fn messages(ran: &Ran) -> Vec<String> {
    let findings = lines::array(&ran.json["findings"]).iter().filter(|finding| finding["code"] == "collation_changed");
    findings
        .map(|finding| format!("{} | {}", lines::text(&finding["message"]), lines::text(&finding["hint"])))
        .collect()
}

/// Each side for itself, only what compared columns use, and the database's own where the server notes its version (15+).
#[tokio::test]
async fn it_is_said_which_indexes_may_be_corrupt() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease
        .database_with(
            "stale",
            "TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'",
            "TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.utf8' LOCALE_PROVIDER icu ICU_LOCALE 'de'",
        )
        .await
        .unwrap();
    database
        .both(
            r#"CREATE TABLE t (id integer PRIMARY KEY, a text COLLATE "de-x-icu", b text COLLATE "sv-x-icu", c text);
               CREATE TABLE words (word text PRIMARY KEY, n integer)"#,
        )
        .await
        .unwrap();
    let rows = "INSERT INTO t SELECT i, 'a' || i, 'b', 'c' FROM generate_series(1, 100) i; INSERT INTO words SELECT 'w' || i, i FROM generate_series(1, 100) i";
    database.publisher.sql(rows).await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let run = || Verify::new(&database).args("--lag-timeout 60s").run();
    let ran = run().await;
    lines::assert_match(&ran);
    assert_eq!(ran.findings(), Vec::<String>::new());

    let stale = |name: &str| format!("UPDATE pg_collation SET collversion = '0.5' WHERE collname = '{name}'");
    database.publisher.sql(&stale("sv-x-icu")).await.unwrap();
    database.subscriber.sql(&format!("{}; {}", stale("de-x-icu"), stale("fr-x-icu"))).await.unwrap();
    let own = "UPDATE pg_database SET datcollversion = '0.6' WHERE datname = current_database()";
    database.subscriber.sql(own).await.unwrap();
    let ran = run().await;
    lines::assert_match(&ran);
    let of_the_database = format!("warning collation_changed {}", database.subscriber.name());
    assert_eq!(
        ran.findings(),
        [
            r#"warning collation_changed pg_catalog."de-x-icu""#,
            r#"warning collation_changed pg_catalog."sv-x-icu""#,
            &of_the_database,
        ]
    );
    let messages = messages(&ran);
    let [publisher, of_database, of_a] = &messages[..] else { panic!("{messages:#?}") };
    for (message, parts) in [
        (publisher, ["publisher", "0.5", "public.t.b", r#"ALTER COLLATION pg_catalog."sv-x-icu" REFRESH VERSION"#]),
        (of_a, ["subscriber", "0.5", "public.t.a", r#"ALTER COLLATION pg_catalog."de-x-icu" REFRESH VERSION"#]),
        (of_database, ["subscriber", "0.6", "public.t.c, public.words.word", "REFRESH COLLATION VERSION"]),
    ] {
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        assert!(message.contains("bt_index_check") && message.contains("REINDEX"), "{message}");
    }
    // A collation that no compared column uses is nobody's concern.
    let ran = Verify::new(&database).args("--table words --lag-timeout 60s").run().await;
    assert_eq!(ran.findings(), [of_the_database]);
    database.assert_nothing_left().await;
}

/// Chunks are not read through an index whose order may not be that of today.
#[tokio::test]
async fn a_key_whose_order_may_have_changed_is_not_read_through_its_index() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("stale_ranges").await.unwrap();
    // Each row has a page for itself, so that the file is large.
    let create = r#"CREATE TABLE t (code text COLLATE "C" PRIMARY KEY, v text) WITH (fillfactor = 10);
        INSERT INTO t SELECT 'c' || i, repeat('x', 700) FROM generate_series(1, 7000) i; ANALYZE t"#;
    database.both(create).await.unwrap();
    let run = || Verify::new(&database).args("--gate none --snapshot-age-max 1s --chunk-rows 1000").run();
    let ran = run().await;
    assert_eq!((ran.code, &lines::table(&ran, "t")["scan"]), (0, &"key-range scan".into()), "{ran:#?}");
    let stale = r"UPDATE pg_collation SET collversion = '0.5' WHERE collname = 'C'";
    database.subscriber.sql(stale).await.unwrap();
    let ran = run().await;
    assert_eq!(lines::table(&ran, "t")["scan"], "heap scan", "{ran:#?}");
    assert_eq!(ran.findings(), [r#"warning collation_changed pg_catalog."C""#]);
    let plan = Verify::new(&database).plan().args("--gate none --snapshot-age-max 1s --chunk-rows 1000").run().await;
    let why = lines::text(&lines::table(&plan, "t")["why"]);
    assert!(why.contains("no index on the key that can be relied on"), "{why}");
    database.assert_nothing_left().await;
}

/// The index on the column of a row filter no longer finds what it holds: the rows are read all the same.
#[tokio::test]
async fn a_row_filter_is_not_answered_by_an_index() {
    let lease = shared_pair(15, 18).shared().await.unwrap();
    let database = lease.database("stale_filter").await.unwrap();
    let create =
        r#"CREATE TABLE t (id integer PRIMARY KEY, k text COLLATE "de-x-icu", v text); CREATE INDEX by_k ON t (k)"#;
    database.both(create).await.unwrap();
    let rows = "INSERT INTO t SELECT i, i % 1000 || 'x', 'v' FROM generate_series(1, 20000) i; ANALYZE t";
    database.publisher.sql(rows).await.unwrap();
    let publish = "FOR TABLE t WHERE (k = '99x')".to_owned();
    database.replicate(ReplicateOptions { publish, ..ReplicateOptions::default() }).await.unwrap();
    let run = || Verify::new(&database).args("--scope published --lag-timeout 60s --checks count,max,sum,rows").run();
    let ran = run().await;
    assert_eq!((ran.code, ran.tables()), (0, vec!["public.t match -".to_owned()]), "{ran:#?}");
    let count = lines::number(&lines::table(&ran, "t")["rows"]["publisher"]);

    // What an update of the library does: the order is another one than that of the index. Of numbers
    // by their value, 99 comes before 500.
    let update =
        "UPDATE pg_collation SET colliculocale = 'de-u-kn-true', collversion = '0.5' WHERE collname = 'de-x-icu'";
    database.publisher.sql(update).await.unwrap();
    let by_index = database.publisher.value("SET enable_seqscan = off; SELECT count(*) FROM t WHERE k = '99x'").await;
    assert_eq!(by_index.unwrap(), "0", "the index still finds them");
    let ran = run().await;
    assert_eq!((ran.code, ran.tables()), (0, vec!["public.t match -".to_owned()]), "{ran:#?}");
    assert_eq!(lines::number(&lines::table(&ran, "t")["rows"]["publisher"]), count);
    assert_eq!(ran.findings(), ["info row_filter public.t", r#"warning collation_changed pg_catalog."de-x-icu""#]);
    database.assert_nothing_left().await;
}
