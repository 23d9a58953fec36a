//! Columns that have another type on the subscriber, on purpose.

use triplecheck_testbed::{ReplicateOptions, shared_pair};

use crate::harness::Verify;
use crate::lines;

/// A column: its name, its type on the publisher and on the subscriber, values, and another value of the subscriber's.
type Change = (&'static str, &'static str, &'static str, &'static [&'static str], &'static str);

const COLUMNS: &[Change] = &[
    ("int_bigint", "integer", "bigint", &["1", "-2147483648", "0"], "2"),
    ("bigint_int", "bigint", "integer", &["1", "-2147483648", "0"], "2"),
    ("int_numeric", "integer", "numeric", &["1", "-100", "0"], "1.1"),
    ("int_scaled", "bigint", "numeric(22,2)", &["1", "-9223372036854775808", "100"], "1.01"),
    ("numeric_int", "numeric", "integer", &["1", "-100", "0"], "2"),
    ("varchar_text", "character varying(20)", "text", &["", "a ", "NULL", "ä"], "a"),
    ("char_text", "character(5)", "text", &["", "a ", "abcde"], "a"),
    ("text_citext", "text", "citext", &["", "a", "A"], "b"),
    ("citext_text", "citext", "text", &["", "a", "A"], "b"),
    ("uuid_text", "uuid", "text", &["00000000-0000-0000-0000-00000000000A"], "x"),
    ("enum_text", "mood", "text", &["sad", "happy"], "else"),
    ("text_enum", "text", "mood", &["sad", "happy"], "ok"),
    ("enum_enum", "mood", "feeling", &["sad", "happy"], "ok"),
    (
        "real_double",
        "real",
        "double precision",
        &["0.1", "1e20", "-0", "NaN", "Infinity", "16777216"],
        "0.10000000149011612",
    ),
    ("double_numeric", "double precision", "numeric", &["0.1", "1e20", "-0.5", "NaN", "1e-7"], "0.100000001"),
    ("int_double", "integer", "double precision", &["1", "-2147483648"], "1.5"),
    ("date_timestamp", "date", "timestamp", &["2024-02-29", "infinity", "0001-01-01 BC"], "2024-02-29 00:00:00.000001"),
    ("json_jsonb", "json", "jsonb", &["{\"b\":1, \"a\":[1.0,null]}", "null", "\"x\""], "{\"b\": 1.1}"),
    ("jsonb_json", "jsonb", "json", &["{\"b\": 1}", "null"], "{\"b\":1}"),
    ("cidr_inet", "cidr", "inet", &["10.0.0.0/8", "10.1.2.3/32", "::1/128"], "10.0.0.1"),
    ("timestamp_text", "timestamp(3)", "text", &["2024-01-01 10:00:00.5", "infinity"], "2024-01-01"),
    ("ints_bigints", "integer[]", "bigint[]", &["{1,NULL}", "[2:2]={3}", "{}"], "{1}"),
    ("texts_citexts", "text[]", "citext[]", &["{a,\"b c\"}", "{NULL,\"NULL\"}"], "{a}"),
    ("interval_text", "interval", "text", &["1 month", "-1 day +02:03:04"], "30 days"),
];

#[tokio::test]
async fn types_that_hold_all_of_the_others_values() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("type_changes").await.unwrap();
    let types = "CREATE EXTENSION citext; CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); CREATE TYPE feeling AS ENUM ('happy', 'sad', 'ok');";
    database.both(types).await.unwrap();
    let columns = |side: fn(&Change) -> &'static str| {
        COLUMNS.iter().map(|column| format!("{} {}", column.0, side(column))).collect::<Vec<_>>().join(", ")
    };
    for (server, list, key) in [
        (&database.publisher, columns(|column| column.1), "integer"),
        (&database.subscriber, columns(|column| column.2), "numeric(12,2)"),
    ] {
        server.sql(&format!("CREATE TABLE t (id {key} PRIMARY KEY, {list})")).await.unwrap();
    }
    let mut sql = "INSERT INTO t (id) SELECT generate_series(1, 40);".to_owned();
    for (name, _, _, values, _) in COLUMNS {
        for (at, value) in values.iter().enumerate() {
            sql.push_str(&format!("UPDATE t SET {name} = '{value}' WHERE id % {} = {at};", values.len() + 1));
        }
    }
    database.publisher.sql(&sql).await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    // Some come by the copy, these by replication.
    let names: Vec<_> = COLUMNS.iter().map(|column| column.0).collect();
    let copy = format!("INSERT INTO t SELECT id + 100, {} FROM t", names.join(", "));
    database.publisher.sql(&copy).await.unwrap();
    database.catch_up().await.unwrap();
    let run = || Verify::new(&database).args("--chunk-rows 20 --lag-timeout 30s").run();
    let ran = run().await;
    lines::assert_match(&ran);
    let mut findings: Vec<_> =
        COLUMNS.iter().map(|column| format!("warning column_type public.t.{}", column.0)).collect();
    findings.push("warning column_type public.t.id".to_owned());
    findings.sort();
    assert_eq!(lines::findings(&ran), findings);

    let mut expected = Vec::new();
    let mut damage = String::new();
    for (at, (name, _, _, values, other)) in COLUMNS.iter().enumerate() {
        // A row with the first value.
        let id = (values.len() + 1) * (1 + at % 4);
        let null = format!("{}", 100 + (values.len() + 1));
        damage.push_str(&format!(
            "UPDATE t SET {name} = '{other}' WHERE id = {id}; UPDATE t SET {name} = NULL WHERE id = {null};"
        ));
        expected.push((id.to_string(), *name));
        expected.push((null, *name));
    }
    database.subscriber.sql(&damage).await.unwrap();
    let ran = run().await;
    assert_eq!(ran.code, 1, "{ran:#?}");
    let mut rows: std::collections::BTreeMap<String, Vec<&str>> = std::collections::BTreeMap::new();
    for (id, name) in expected {
        rows.entry(id).or_default().push(name);
    }
    let mut rows: Vec<_> =
        rows.into_iter().map(|(id, names)| format!("t changed id={id} [{}]", names.join(","))).collect();
    rows.sort();
    assert_eq!(lines::differences(&ran), rows);
    database.assert_nothing_left().await;
}

/// A real holds another number than the double precision that was replicated into it: nothing is proven of the column, also
/// not by its sum.
#[tokio::test]
async fn a_type_that_rounds_is_unproven_and_hides_nothing_else() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("rounded").await.unwrap();
    database.publisher.sql("CREATE TABLE t (id integer PRIMARY KEY, d double precision, v text)").await.unwrap();
    database.subscriber.sql("CREATE TABLE t (id integer PRIMARY KEY, d real, v text)").await.unwrap();
    let rows = "INSERT INTO t SELECT i, i + 0.123456789012, 'v' FROM generate_series(1, 20) i";
    database.publisher.sql(rows).await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let run = || Verify::new(&database).args("--lag-timeout 30s").run();
    let ran = run().await;
    ran.assert_code(3);
    assert_eq!(lines::unproven(&ran), ["t column_not_comparable"]);
    assert_eq!((lines::differences(&ran), lines::figures(&ran)), (vec![], vec![]), "{ran:#?}");
    let table = lines::table(&ran, "t");
    let message = lines::text(&table["message"]);
    assert!(
        message.starts_with("column d: double precision on the publisher cannot be compared with real"),
        "{message}"
    );
    let summed: Vec<_> = lines::array(&table["checks"]["sum"]).iter().map(|sum| lines::text(&sum["column"])).collect();
    assert_eq!(summed, ["id"]);

    database.subscriber.sql("UPDATE t SET v = 'x' WHERE id = 7; DELETE FROM t WHERE id = 8").await.unwrap();
    let ran = run().await;
    ran.assert_code(1);
    assert_eq!(lines::differences(&ran), ["t changed id=7 [v]", "t missing id=8"]);
    assert_eq!(lines::figure_names(&ran), ["t count", "t sum(id)"]);
    database.assert_nothing_left().await;
}
