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

/// In a numeric(12,4) replication cannot keep 1.50, nor in a character(10) the blanks of a character(5). What differs beside that
/// is found, by whichever column rows are known.
#[tokio::test]
async fn forms_that_the_modifier_of_the_subscriber_makes_are_no_difference() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("modifiers").await.unwrap();
    for (server, modifier, length, open) in
        [(&database.publisher, "(10,2)", "(5)", "numeric"), (&database.subscriber, "(12,4)", "(10)", "numeric(16,6)")]
    {
        let create = format!(
            "CREATE DOMAIN amount AS numeric{modifier}; CREATE DOMAIN code AS character{length};
             CREATE TABLE t (id numeric{modifier} PRIMARY KEY, n numeric{modifier}, open {open}, a amount, c character{length}, d code);
             CREATE TABLE by_code (c character{length} PRIMARY KEY, n integer);
             CREATE TABLE bag (n numeric{modifier}, c character{length}); ALTER TABLE bag REPLICA IDENTITY FULL"
        );
        server.sql(&create).await.unwrap();
    }
    let rows = "INSERT INTO t SELECT i / 2.0, i / 4.0, CASE i WHEN 1 THEN 'NaN' ELSE i / 8.0 END, -i, 'c' || i, 'd' || i FROM generate_series(1, 40) i;
                INSERT INTO t VALUES (0, 0, 0, 0, '', ''), (-1, NULL, NULL, NULL, NULL, NULL);
                INSERT INTO by_code SELECT 'c' || i, i FROM generate_series(1, 40) i;
                INSERT INTO bag SELECT i % 3, 'c' || i % 3 FROM generate_series(1, 40) i";
    database.publisher.sql(rows).await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    // Some come by the copy, these by replication.
    let changes = "INSERT INTO t SELECT id + 100, n, open, a, c, d FROM t; DELETE FROM t WHERE id = 101; UPDATE t SET n = 7.5 WHERE id = 102;
                   DELETE FROM by_code WHERE c = 'c40'; UPDATE by_code SET c = 'x' WHERE c = 'c39'; DELETE FROM bag WHERE n = 2";
    database.publisher.sql(changes).await.unwrap();
    database.catch_up().await.unwrap();
    let run = |scan: &str| Verify::new(&database).args("--chunk-rows 10 --lag-timeout 30s --scan").arg(scan).run();
    for scan in ["rows", "digest"] {
        let ran = run(scan).await;
        lines::assert_match(&ran);
        let findings = [
            "warning column_modifier public.bag.c",
            "warning column_modifier public.bag.n",
            "warning column_modifier public.by_code.c",
            "warning column_modifier public.t.c",
            "warning column_modifier public.t.id",
            "warning column_modifier public.t.n",
            "warning column_modifier public.t.open",
            "warning no_key public.bag",
        ];
        assert_eq!(lines::findings(&ran), findings);
        for table in ["bag", "by_code", "t"] {
            let proof = lines::text(&lines::table(&ran, table)["checks"]["rows"]["proof"]);
            assert_eq!(proof == "digest", scan == "digest", "{table}: {ran:#?}");
        }
    }

    let damage = "UPDATE t SET n = n + 0.0001 WHERE id = 2; UPDATE t SET c = 'C6' WHERE id = 3; UPDATE t SET a = -a WHERE id = 3.5;
                  UPDATE t SET d = ' d8' WHERE id = 4; DELETE FROM t WHERE id = 5; INSERT INTO t (id) VALUES (0.1234);
                  UPDATE t SET id = 6.0001 WHERE id = 6; UPDATE by_code SET n = 0 WHERE c = 'c7'; INSERT INTO bag VALUES (1.0001, 'c1')";
    database.subscriber.sql(damage).await.unwrap();
    for scan in ["rows", "digest"] {
        let ran = run(scan).await;
        ran.assert_code(1);
        assert_eq!(
            lines::differences(&ran),
            [
                "bag extra keyless",
                "by_code changed c=c7    [n]",
                "t changed id=2.00 [n]",
                "t changed id=3.00 [c]",
                "t changed id=3.50 [a]",
                "t changed id=4.00 [d]",
                "t extra id=0.1234",
                "t extra id=6.0001",
                "t missing id=5.00",
                "t missing id=6.00",
            ]
        );
        assert_eq!(lines::unproven(&ran), Vec::<String>::new());
    }
    database.assert_nothing_left().await;
}
