//! Exact figures, and exactly what reports show of rows.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;
use triplecheck_testbed::{Replicated, shared_pair};

use crate::harness::{Ran, Verify};
use crate::lines;

async fn verify(database: &Replicated, args: &[&str]) -> Ran {
    let verify = Verify::new(database).arg("--gate").arg("none").arg("--jobs").arg("2");
    let ran = args.iter().fold(verify, |verify, arg| verify.arg(arg)).run().await;
    database.assert_nothing_left().await;
    ran
}

#[tokio::test]
async fn sums_and_maxima_are_exact() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("figures").await.unwrap();
    let create = "CREATE TABLE f (id integer PRIMARY KEY, long numeric, negative numeric(20,4), big bigint, small smallint, nan numeric,
                      infinite numeric, scale numeric, wild double precision, fl double precision, re real, nothing numeric,
                      day date, never date, at timestamptz, local timestamp, none date, bc date)";
    database.both(create).await.unwrap();
    let long = "1234567890123456789012345678901234567890.12345678901234567890";
    let row = |id: u32| {
        format!(
            "INSERT INTO f VALUES ({id}, {long}, -99.5, 9223372036854775807, -32768, 1, 1, 1.50, 'NaN', 0.1, 0.1, NULL,
                '2024-02-29', 'infinity', '2024-03-31 01:30:00.123456 UTC', '2024-03-31 02:30:00.000001', NULL, '0044-03-15 BC');"
        )
    };
    database.both(&(1..=3).map(row).collect::<String>()).await.unwrap();
    let ran = verify(&database, &[]).await;
    lines::assert_match(&ran);
    let figure = |ran: &Ran, kind, column| lines::figure(ran, "f", kind, column).map(str::to_owned);
    let same = |value: &str| ["match", value, value, "-"].map(str::to_owned);
    assert_eq!(figure(&ran, "sum", "long"), same("3703703670370370367037037036703703703670.37037036703703703670"));
    assert_eq!(figure(&ran, "sum", "negative"), same("-298.5000"));
    assert_eq!(figure(&ran, "sum", "big"), same("27670116110564327421"));
    assert_eq!(figure(&ran, "sum", "small"), same("-98304"));
    assert_eq!(figure(&ran, "sum", "nothing"), same("null"));
    // Not a number is left out of sums of floats.
    assert_eq!(figure(&ran, "sum", "wild"), same("null"));
    assert_eq!(figure(&ran, "sum", "fl"), same("0.3"));
    assert_eq!(figure(&ran, "sum", "re"), same("0.3"));
    assert_eq!(figure(&ran, "max", "day"), same("2024-02-29"));
    assert_eq!(figure(&ran, "max", "never"), same("infinity"));
    assert_eq!(figure(&ran, "max", "at"), same("2024-03-31 01:30:00.123456+00"));
    assert_eq!(figure(&ran, "max", "local"), same("2024-03-31 02:30:00.000001"));
    assert_eq!(figure(&ran, "max", "none"), same("null"));
    assert_eq!(figure(&ran, "max", "bc"), same("0044-03-15 BC"));
    let sums = lines::array(&lines::table(&ran, "f")["checks"]["sum"]);
    let labelled: Vec<_> = sums.iter().filter_map(|check| check.get("method")).collect();
    assert_eq!(labelled, ["shortest text"; 3]);

    let damage = "UPDATE f SET long = long + 0.00000000000000000001, negative = negative + 0.0001, big = -big, small = 32767,
                      nan = 'NaN', infinite = '-Infinity', scale = 1.5, wild = 'Infinity', fl = 0.10000000000000002, re = 0.10000001,
                      nothing = 0, day = day + 1, at = at + interval '1 us', local = local - interval '1 us', none = '-infinity',
                      bc = '0044-03-16 BC' WHERE id = 3";
    database.subscriber.sql(damage).await.unwrap();
    let ran = verify(&database, &[]).await;
    let row = "f changed id=3 [long,negative,big,small,nan,infinite,scale,wild,fl,re,nothing,day,at,local,none,bc]";
    assert_eq!(lines::differences(&ran), [row]);
    assert_eq!(ran.code, 1);
    let expected = [
        "f max(at) 2024-03-31 01:30:00.123456+00 2024-03-31 01:30:00.123457+00",
        "f max(bc) 0044-03-15 BC 0044-03-16 BC",
        "f max(day) 2024-02-29 2024-03-01",
        "f max(none) null -infinity",
        "f sum(big) 27670116110564327421 9223372036854775807 by 18446744073709551614",
        "f sum(fl) 0.3 0.30000000000000002 by -0.00000000000000002",
        "f sum(infinite) 3 -Infinity by Infinity",
        "f sum(long) 3703703670370370367037037036703703703670.37037036703703703670 3703703670370370367037037036703703703670.37037036703703703671 by -0.00000000000000000001",
        "f sum(nan) 3 NaN by NaN",
        "f sum(negative) -298.5000 -298.4999 by -0.0001",
        "f sum(nothing) null 0",
        "f sum(re) 0.3 0.30000001 by -0.00000001",
        "f sum(small) -98304 -32769 by -65535",
    ];
    assert_eq!(lines::figures(&ran), expected);
    assert_eq!(figure(&ran, "sum", "scale"), ["match", "4.50", "4.50", "-"]);
    // The figures alone find it, too, but prove nothing when they agree.
    let ran = verify(&database, &["--checks", "count,max,sum"]).await;
    assert_eq!((ran.code, lines::figures(&ran).len()), (1, expected.len()), "{ran:#?}");
    assert_eq!(lines::table(&ran, "f")["checks"]["rows"], Value::Null);
    database.subscriber.sql("DELETE FROM f").await.unwrap();
    let ran = verify(&database, &["--checks", "count"]).await;
    assert_eq!(lines::figures(&ran), ["f count 3 0"]);
    assert_eq!(ran.code, 1);
}

#[tokio::test]
async fn figures_that_agree_prove_no_match() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("figures_only").await.unwrap();
    database
        .both("CREATE TABLE t (id integer PRIMARY KEY, n numeric); INSERT INTO t VALUES (1, 10), (2, 20)")
        .await
        .unwrap();
    // Sums stay equal.
    database.subscriber.sql("UPDATE t SET n = 30 - n").await.unwrap();
    let ran = verify(&database, &["--checks", "count,max,sum"]).await;
    assert_eq!(ran.code, 3, "{ran:#?}");
    assert_eq!(lines::unproven(&ran), ["t rows_not_checked"]);
    let ran = verify(&database, &["--checks", "rows"]).await;
    lines::assert_different(&ran, &["t changed id=1 [n]", "t changed id=2 [n]"], &[]);
    for check in ["count", "max", "sum"] {
        assert_eq!(lines::table(&ran, "t")["checks"][check], Value::Null);
    }
}

#[tokio::test]
async fn sequences_show_their_next_values() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("sequences").await.unwrap();
    database
        .both(
            "CREATE SEQUENCE plain; CREATE SEQUENCE by_five INCREMENT 5; CREATE SEQUENCE down INCREMENT -1; CREATE SEQUENCE fresh;
             CREATE SEQUENCE ahead; CREATE SEQUENCE big MAXVALUE 9223372036854775807;
             CREATE TABLE t (id bigserial PRIMARY KEY); CREATE TABLE u (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY);",
        )
        .await
        .unwrap();
    let values = "SELECT setval('plain', 41), setval('by_five', 10), setval('down', -7), setval('ahead', 5), setval('big', 9223372036854775807);
                  INSERT INTO t SELECT FROM generate_series(1, 100); INSERT INTO u SELECT FROM generate_series(1, 100);";
    database.both(values).await.unwrap();
    lines::assert_match(&verify(&database, &[]).await);
    database
        .subscriber
        .sql(
            "SELECT setval('plain', 40), setval('by_five', 10, false), setval('down', -6), setval('ahead', 5000), setval('big', 1),
                    setval('t_id_seq', 99), setval('u_id_seq', 1, false)",
        )
        .await
        .unwrap();
    let ran = verify(&database, &[]).await;
    assert_eq!(ran.code, 1, "{ran:#?}");
    assert!(lines::table_names(&ran).iter().all(|table| lines::table(&ran, table)["verdict"] == "match"));
    let is: Vec<_> = lines::array(&ran.json["sequences"])
        .iter()
        .map(|sequence| {
            ["name", "verdict", "publisher_next", "subscriber_next"].map(|field| sequence[field].as_str().unwrap())
        })
        .collect();
    let expected = [
        ["ahead", "match", "6", "5001"],
        ["big", "different", "9223372036854775808", "2"],
        ["by_five", "different", "15", "10"],
        ["down", "different", "-8", "-7"],
        ["fresh", "match", "1", "1"],
        ["plain", "different", "42", "41"],
        ["t_id_seq", "different", "101", "100"],
        ["u_id_seq", "different", "101", "1"],
    ];
    assert_eq!(is, expected);
}

#[tokio::test]
async fn samples_are_capped_and_counts_are_not() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("samples").await.unwrap();
    let rows =
        "CREATE TABLE t (id integer PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 3000) i;
                CREATE TABLE l (v text); INSERT INTO l SELECT 'v' || i FROM generate_series(1, 300) i; ANALYZE;";
    database.both(rows).await.unwrap();
    let damage = "UPDATE t SET v = 'w' WHERE id % 2 = 0; DELETE FROM t WHERE id > 2900; INSERT INTO t SELECT -i, 'x' FROM generate_series(1, 70) i;
                  DELETE FROM l";
    database.subscriber.sql(damage).await.unwrap();
    for (args, listed) in [
        (&["--samples", "7"][..], 7),
        (&["--samples", "7", "--chunk-rows", "50"], 7),
        (&["--samples", "0"], 0),
        (&[], 100),
        (&["--samples", "10000", "--chunk-rows", "333"], 1620),
    ] {
        let ran = verify(&database, args).await;
        assert_eq!(ran.code, 1);
        let checks = &lines::table(&ran, "t")["checks"]["rows"];
        let counts = ["missing", "extra", "changed"].map(|kind| lines::number(&checks[kind]));
        assert_eq!(counts, [100, 70, 1450], "{args:?}");
        assert_eq!(lines::array(&checks["samples"]).len(), listed, "{args:?}");
        let keyless = &lines::table(&ran, "l")["checks"]["rows"];
        assert_eq!(
            (lines::number(&keyless["missing"]), lines::array(&keyless["samples"]).len()),
            (300, listed.min(300))
        );
        lines::differences(&ran);
    }
}

/// Secrets in every place where a value could show: texts, numbers, bytes, JSON, keyless rows, and columns that only the text
/// form is read of.
async fn secretive(label: &str) -> (triplecheck_testbed::Lease, Replicated) {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database(label).await.unwrap();
    let rows = |secret: &str, number: u32| {
        format!(
            "INSERT INTO s VALUES (1, 'same {secret}', 'same', 1), (2, '{secret}', '{{\"k\": \"{secret}\"}}', {number}), (3, NULL, NULL, NULL);
             INSERT INTO l VALUES ('{secret}'), ('both SECRET');
             INSERT INTO k VALUES ('key', '{secret}')"
        )
    };
    let create = "CREATE TABLE s (id integer PRIMARY KEY, note text, data text, n integer); CREATE TABLE l (v text); CREATE TABLE k (id text PRIMARY KEY, v text);";
    database.both(create).await.unwrap();
    database.publisher.sql(&rows("SECRET-P", 77_001)).await.unwrap();
    database.subscriber.sql(&rows("SECRET-S", 77_002)).await.unwrap();
    database
        .subscriber
        .sql("INSERT INTO s VALUES (4, 'SECRET', 'extra SECRET', 0); UPDATE s SET note = '' WHERE id = 3")
        .await
        .unwrap();
    (lease, database)
}

#[tokio::test]
async fn values_show_only_on_request() {
    let (_lease, database) = secretive("secrets").await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let files = ["differences.csv", "chunks.csv", "report.json"];
    let reports =
        ["--report-csv", &path(files[0]), "--report-chunks", &path(files[1]), "--report-json", &path(files[2])];
    for format in ["text", "json"] {
        for show in [false, true] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_triplecheck"));
            command.args(["verify", "--format", format, "--progress", "plain", "-vvv", "--gate", "none"]).args(reports);
            // Without sums: they are values of no row, but of one row they are its value.
            command.args(["--checks", "count,rows", "--publisher", &database.publisher.conninfo()]);
            command.args(["--subscriber", &database.subscriber.conninfo()]).args(show.then_some("--show-values"));
            let output = command.stdin(Stdio::null()).output().await.unwrap();
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(stdout.contains("key"), "the key is shown: {stdout}");
            let mut texts = vec![("stdout", stdout.into_owned()), ("stderr", stderr.into_owned())];
            texts.extend(files.iter().map(|&file| (file, std::fs::read_to_string(path(file)).unwrap())));
            for (place, text) in texts {
                assert!(!text.is_empty(), "{place} is empty");
                let shown = text.contains("SECRET") || text.contains("77001") || text.contains("77002");
                let may = show && !["stderr", "chunks.csv"].contains(&place);
                assert_eq!(shown, may, "{place}, {format}, {show}: {text}");
            }
        }
    }
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn values_and_the_csv_report() {
    let (_lease, database) = secretive("csv").await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("differences.csv");
    let ran = verify(&database, &["--show-values", "--report-csv", path.to_str().unwrap()]).await;
    let samples = lines::array(&lines::table(&ran, "s")["checks"]["rows"]["samples"]);
    let of = |id: &str| samples.iter().find(|sample| sample["key"]["id"] == id).unwrap();
    let expected = json!({"kind": "changed", "key": {"id": "2"}, "columns": ["note", "data", "n"], "representation_only": false,
        "publisher": {"id": "2", "note": "SECRET-P", "data": "{\"k\": \"SECRET-P\"}", "n": "77001"},
        "subscriber": {"id": "2", "note": "SECRET-S", "data": "{\"k\": \"SECRET-S\"}", "n": "77002"}});
    assert_eq!(*of("2"), expected);
    let expected = json!({"kind": "changed", "key": {"id": "3"}, "columns": ["note"], "representation_only": false,
        "publisher": {"id": "3", "note": null, "data": null, "n": null}, "subscriber": {"id": "3", "note": "", "data": null, "n": null}});
    assert_eq!(*of("3"), expected);
    let expected = json!({"kind": "extra", "key": {"id": "4"}, "columns": [], "representation_only": false,
        "subscriber": {"id": "4", "note": "SECRET", "data": "extra SECRET", "n": "0"}});
    assert_eq!(*of("4"), expected);

    let lines = lines::read_csv(&path);
    let mut rows: Vec<_> = lines
        .iter()
        .map(|line| {
            let fields =
                ["schema", "table", "kind", "key", "columns", "representation_only", "publisher", "subscriber"];
            assert_eq!(line["row_digest"].len(), if line["table"] == "l" { 64 } else { 0 });
            fields.map(|field| line[field].as_str())
        })
        .collect();
    rows.sort_unstable();
    let expected = [
        [
            "public",
            "k",
            "changed",
            r#"{"id":"key"}"#,
            "v",
            "false",
            r#"{"id":"key","v":"SECRET-P"}"#,
            r#"{"id":"key","v":"SECRET-S"}"#,
        ],
        ["public", "l", "extra", "{}", "", "false", "", r#"{"v":"SECRET-S"}"#],
        ["public", "l", "missing", "{}", "", "false", r#"{"v":"SECRET-P"}"#, ""],
        [
            "public",
            "s",
            "changed",
            r#"{"id":"1"}"#,
            "note",
            "false",
            r#"{"id":"1","note":"same SECRET-P","data":"same","n":"1"}"#,
            r#"{"id":"1","note":"same SECRET-S","data":"same","n":"1"}"#,
        ],
        [
            "public",
            "s",
            "changed",
            r#"{"id":"2"}"#,
            "note;data;n",
            "false",
            r#"{"id":"2","note":"SECRET-P","data":"{\"k\": \"SECRET-P\"}","n":"77001"}"#,
            r#"{"id":"2","note":"SECRET-S","data":"{\"k\": \"SECRET-S\"}","n":"77002"}"#,
        ],
        [
            "public",
            "s",
            "changed",
            r#"{"id":"3"}"#,
            "note",
            "false",
            r#"{"id":"3","note":null,"data":null,"n":null}"#,
            r#"{"id":"3","note":"","data":null,"n":null}"#,
        ],
        [
            "public",
            "s",
            "extra",
            r#"{"id":"4"}"#,
            "",
            "false",
            "",
            r#"{"id":"4","note":"SECRET","data":"extra SECRET","n":"0"}"#,
        ],
    ];
    assert_eq!(rows, expected);
}
