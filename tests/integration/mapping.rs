//! Tables that have another name, other columns or other timestamps on the subscriber, as the configuration file says.

use std::path::PathBuf;

use triplecheck_testbed::{Replicated, shared_pair};

use crate::harness::{Ran, Verify};
use crate::lines;

pub(crate) const PUBLISHER: &str = r#"
    CREATE TABLE orders (id integer PRIMARY KEY, note text, "Total" numeric, secret text, at timestamp);
    CREATE TABLE plain (id integer PRIMARY KEY, v text);
    INSERT INTO orders SELECT i, 'n' || i, i * 1.5, 's', '2024-03-30 00:00'::timestamp + i * interval '1 h' FROM generate_series(1, 200) i;
    INSERT INTO plain SELECT i, 'v' FROM generate_series(1, 50) i"#;

pub(crate) const SUBSCRIBER: &str = r#"
    CREATE SCHEMA "New Shop";
    CREATE TABLE "New Shop".purchase (created timestamptz, number integer PRIMARY KEY, note numeric, remark text, extra text);
    CREATE TABLE plain (id integer PRIMARY KEY, v text);
    SET TimeZone = 'Europe/Berlin';
    INSERT INTO "New Shop".purchase SELECT '2024-03-30 00:00'::timestamp + i * interval '1 h', i, i * 1.5, 'n' || i FROM generate_series(1, 200) i;
    INSERT INTO plain SELECT i, 'v' FROM generate_series(1, 50) i"#;

pub(crate) const MAPPING: &str = r#"
    [tables."public.orders"]
    subscriber = '"New Shop".purchase'
    columns = { id = "number", note = "remark", Total = "note", at = "created" }
    leave-out = ["secret"]
    time-zone = "Europe/Berlin"
"#;

struct Site {
    database: Replicated,
    folder: tempfile::TempDir,
}

impl Site {
    fn file(&self, toml: &str) -> PathBuf {
        let path = self.folder.path().join("triplecheck.toml");
        std::fs::write(&path, toml).unwrap();
        path
    }

    async fn verify(&self, toml: &str) -> Ran {
        let path = self.file(toml);
        Verify::new(&self.database).args("--gate none --chunk-rows 50 --config").arg(path.to_str().unwrap()).run().await
    }
}

#[tokio::test]
async fn a_table_of_another_name_with_other_columns() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("mapped").await.unwrap();
    database.publisher.sql(PUBLISHER).await.unwrap();
    database.subscriber.sql(SUBSCRIBER).await.unwrap();
    let site = Site { database, folder: tempfile::tempdir().unwrap() };
    let ran = site.verify(MAPPING).await;
    lines::assert_match(&ran);
    assert_eq!(lines::table_names(&ran), ["orders", "plain"]);
    assert_eq!(ran.json["excluded"], serde_json::json!(["public.orders.\"secret\" (left out)"]));
    assert_eq!(ran.json["settings"]["tables"][0]["columns"]["Total"], "note");
    let findings = [
        "info extra_column public.orders.extra",
        "info table_mapped public.orders",
        "warning column_type public.orders.at",
    ];
    assert_eq!(lines::findings(&ran), findings);
    assert_eq!(lines::figure(&ran, "orders", "sum", "Total")[0], "match");

    let damage = r#"UPDATE "New Shop".purchase SET remark = 'x' WHERE number = 7; UPDATE "New Shop".purchase SET note = 0 WHERE number = 8;
        UPDATE "New Shop".purchase SET created = created + interval '1 us' WHERE number = 9; DELETE FROM "New Shop".purchase WHERE number = 150"#;
    site.database.subscriber.sql(damage).await.unwrap();
    let rows = [
        "orders changed id=7 [note]",
        "orders changed id=8 [Total]",
        "orders changed id=9 [at]",
        "orders missing id=150",
    ];
    lines::assert_different(
        &site.verify(MAPPING).await,
        &rows,
        &["orders count", "orders sum(id)", "orders sum(Total)"],
    );

    // Without the zone, what an hour means on the other side is not known.
    let unproven = site.verify(&MAPPING.replace("time-zone", "# time-zone")).await;
    assert_eq!(lines::table(&unproven, "orders")["verdict"], "different");
    let columns: Vec<_> = lines::differences(&unproven).into_iter().filter(|line| line.contains("[at]")).collect();
    assert_eq!(columns, Vec::<String>::new());
    site.database.assert_nothing_left().await;
}

#[tokio::test]
async fn a_mapping_that_fits_nothing_is_refused() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("unmapped").await.unwrap();
    database.publisher.sql(PUBLISHER).await.unwrap();
    database.subscriber.sql(SUBSCRIBER).await.unwrap();
    let site = Site { database, folder: tempfile::tempdir().unwrap() };
    for (toml, expected) in [
        ("[tables.\"public.none\"]", "the publisher has no such table"),
        ("[tables.\"public.plain\"]\nleave-out = [\"w\"]", "the publisher has no column w"),
        ("[tables.\"public.plain\"]\ncolumns = { v = \"w\" }", "the subscriber has no column w for v"),
        ("[tables.\"public.orders\"]\nsubscriber = \"public.plain\"", "is compared with public.plain, too"),
        ("[tables.\"public.plain\"]\nleaveout = [\"v\"]", "unknown field"),
        ("[tables.plain]", "is not the name of a table"),
    ] {
        let ran = site.verify(toml).await;
        let (code, message, _) = ran.refusal();
        assert_eq!(code, "usage", "{toml}: {ran:#?}");
        assert!(message.contains(expected), "{toml}: {message}");
    }
    site.database.assert_nothing_left().await;
}
