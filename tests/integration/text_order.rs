//! Texts that sort, compare or are written differently on the two sides.

use triplecheck_testbed::{ReplicateOptions, Replicated, shared_pair};

use crate::harness::{Verify, disable};
use crate::lines;

/// Words that ICU, C and locales of libc put in different orders.
const WORDS: &str =
    "(ARRAY['a','A','ä','Ä','z','Z','é','e','ß','_','ab','aB','-','日本','😀','']::text[])[1 + i % 16] || i";

async fn fill(database: &Replicated, rows: u32) {
    let rows = format!("INSERT INTO t SELECT {WORDS}, i FROM generate_series(1, {rows}) i; ANALYZE t");
    database.publisher.sql(&rows).await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
}

/// They match; two rows that are damaged are found; both sides are read once, without sorting.
async fn check(database: &Replicated, rows: u32) {
    let run = || Verify::new(database).args("--chunk-rows 5000 --lag-timeout 60s").run();
    let ran = run().await;
    lines::assert_match(&ran);
    let table = lines::table(&ran, "t");
    assert_eq!((&table["scan"], lines::number(&table["rows"]["subscriber"])), (&"heap scan".into(), u64::from(rows)));
    let damage = "UPDATE t SET v = -v WHERE v = 16; DELETE FROM t WHERE v = 17";
    database.subscriber.sql(damage).await.unwrap();
    lines::assert_different(&run().await, &["t changed k=a16 [v]", "t missing k=A17"], &["t count", "t sum(v)"]);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn icu_on_one_side_and_c_on_the_other() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("icu_c").await.unwrap();
    database.publisher.sql(r#"CREATE TABLE t (k text COLLATE "de-x-icu" PRIMARY KEY, v int)"#).await.unwrap();
    database.subscriber.sql(r#"CREATE TABLE t (k text COLLATE "C" PRIMARY KEY, v int)"#).await.unwrap();
    fill(&database, 100_000).await;
    check(&database, 100_000).await;
}

#[tokio::test]
async fn databases_of_different_providers() {
    for (publisher, subscriber, with) in [
        (
            14,
            16,
            [
                "LC_COLLATE 'C.utf8' LC_CTYPE 'C.utf8'",
                "LC_COLLATE 'C' LC_CTYPE 'C.utf8' LOCALE_PROVIDER icu ICU_LOCALE 'de'",
            ],
        ),
        (
            15,
            17,
            [
                "LC_COLLATE 'C' LC_CTYPE 'C.utf8' LOCALE_PROVIDER icu ICU_LOCALE 'sv'",
                "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'",
            ],
        ),
    ] {
        let lease = shared_pair(publisher, subscriber).shared().await.unwrap();
        let with = with.map(|with| format!("TEMPLATE template0 ENCODING 'UTF8' {with}"));
        let database = lease.database_with("providers", &with[0], &with[1]).await.unwrap();
        database.both("CREATE TABLE t (k text PRIMARY KEY, v int)").await.unwrap();
        fill(&database, 20_000).await;
        check(&database, 20_000).await;
    }
}

/// What the collation calls equal is one key, and differs in its form only.
#[tokio::test]
async fn a_collation_that_passes_over_case() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("nondeterministic").await.unwrap();
    database
        .both(
            r#"CREATE COLLATION "No Case" (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
             CREATE TABLE t (k text COLLATE "No Case", n int, v text COLLATE "No Case", PRIMARY KEY (k, n))"#,
        )
        .await
        .unwrap();
    let rows = "INSERT INTO t SELECT 'Key' || i % 100, i, 'Värde' FROM generate_series(1, 1000) i";
    database.publisher.sql(rows).await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let run = || Verify::new(&database).args("--chunk-rows 100 --checks rows --lag-timeout 60s").run();
    assert_eq!(run().await.tables(), ["public.t match -"]);
    let damage = "UPDATE t SET k = 'kEY7' WHERE n = 7; UPDATE t SET v = 'vÄRDE' WHERE n = 8; UPDATE t SET v = 'Varde' WHERE n = 9; UPDATE t SET k = 'else' WHERE n = 10";
    database.subscriber.sql(damage).await.unwrap();
    let rows = [
        "t changed k=Key7,n=7 [k] ~",
        "t changed k=Key8,n=8 [v] ~",
        "t changed k=Key9,n=9 [v]",
        "t extra k=else,n=10",
        "t missing k=Key10,n=10",
    ];
    assert_eq!(lines::differences(&run().await), rows);
    database.assert_nothing_left().await;
}

/// The same texts in other bytes, and bytes that are no text at all.
#[tokio::test]
async fn databases_of_different_encodings() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    for (ours, theirs) in [
        ("LATIN1", "UTF8"),
        ("UTF8", "LATIN1"),
        ("SQL_ASCII", "UTF8"),
        ("UTF8", "SQL_ASCII"),
        ("SQL_ASCII", "SQL_ASCII"),
    ] {
        let with = |encoding: &str| format!("TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'");
        let database = lease.database_with("encodings", &with(ours), &with(theirs)).await.unwrap();
        database.both("CREATE TABLE t (k text PRIMARY KEY, v text, w text[])").await.unwrap();
        // The client's encoding is UTF-8: in SQL_ASCII these are the bytes of UTF-8, too.
        let rows = "INSERT INTO t SELECT 'ä' || i, 'ÿ', ARRAY['ß', NULL] FROM generate_series(1, 300) i";
        database.publisher.sql(rows).await.unwrap();
        if (ours, theirs) == ("SQL_ASCII", "SQL_ASCII") {
            database.publisher.sql(r"INSERT INTO t VALUES (E'\344', E'\377\200', ARRAY[E'\344'])").await.unwrap();
        }
        database.replicate(ReplicateOptions::default()).await.unwrap();
        let run = || Verify::new(&database).args("--chunk-rows 50 --lag-timeout 60s").run();
        let case = format!("{ours} to {theirs}");
        let ran = run().await;
        assert_eq!((ran.code, ran.tables()), (0, vec!["public.t match -".to_owned()]), "{case}: {ran:#?}");
        database.subscriber.sql("UPDATE t SET v = 'y' WHERE k = 'ä7'; DELETE FROM t WHERE k = 'ä8'").await.unwrap();
        assert_eq!(lines::differences(&run().await), ["t changed k=ä7 [v]", "t missing k=ä8"], "{case}");
        if (ours, theirs) == ("SQL_ASCII", "SQL_ASCII") {
            database.subscriber.sql(r"UPDATE t SET v = E'\377\201' WHERE k = E'\344'").await.unwrap();
            assert_eq!(lines::number(&lines::table(&run().await, "t")["checks"]["rows"]["changed"]), 2);
        }
        // Bytes that are no text on the side that takes any, and that the other one could not even hold.
        let (side, args, rows) = match (ours, theirs) {
            ("UTF8", "SQL_ASCII") => {
                (&database.subscriber, "", ["t changed k=ä7 [v]", "t extra k=bytes", "t missing k=ä8"])
            }
            ("SQL_ASCII", "UTF8") => {
                disable(&database, &database.subscription_name(), &database.slot_name()).await;
                (&database.publisher, "--gate none", ["t changed k=ä7 [v]", "t missing k=bytes", "t missing k=ä8"])
            }
            _ => (&database.subscriber, "", [""; 3]),
        };
        if !rows[0].is_empty() {
            side.sql(r"INSERT INTO t VALUES ('bytes', E'\377\200', ARRAY[E'\344'])").await.unwrap();
            let ran =
                Verify::new(&database).args("--chunk-rows 50 --lag-timeout 60s --checks rows").args(args).run().await;
            assert_eq!((ran.code, lines::differences(&ran)), (1, rows.map(str::to_owned).to_vec()), "{case}");
        }
        database.assert_nothing_left().await;
        database.drop().await.unwrap();
    }
}
