//! Every kind of key: chunks that tile it, and rows that are named by it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use triplecheck_testbed::{Database, ReplicateOptions, Replicated, shared_pair};

use crate::harness::{Ran, Verify};
use crate::lines;

/// Rows that every table gets from [`Keys::key`], besides its special ones.
const ROWS: u32 = 400;
/// What is asked for, so that every table has several chunks.
const CHUNK_ROWS: &str = "100";

/// A table with a key of a kind. Behind the key it has `n`, by which tests find rows, and `v`.
struct Keys {
    table: &'static str,
    /// The key columns, with types and constraints; once for both sides, or with `|` between them.
    columns: &'static str,
    /// More SQL for both sides behind the table.
    more: &'static str,
    /// The key's columns, in the order of the key.
    key: &'static [&'static str],
    /// The key of row `i`.
    value: &'static str,
    /// Keys at the edges, as rows of VALUES.
    edges: &'static [&'static str],
    /// A key that only the subscriber gets.
    new: &'static str,
    /// Cut in ranges, as far as the two sides provably share an order.
    ranges: bool,
}

const fn keys(
    table: &'static str,
    columns: &'static str,
    key: &'static [&'static str],
    value: &'static str,
    edges: &'static [&'static str],
    new: &'static str,
    ranges: bool,
) -> Keys {
    Keys { table, columns, more: "", key, value, edges, new, ranges }
}

const TYPES: &str = "
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy', 'Zen', 'élan');
    CREATE DOMAIN positive AS integer CHECK (VALUE > 0);";
const TYPES_PUBLISHER: &str = "CREATE TYPE size AS ENUM ('s', 'm', 'l', 'xl')";
const TYPES_SUBSCRIBER: &str = "CREATE TYPE size AS ENUM ('xl', 'l', 'm', 's')";

const WORDS: &str = "(ARRAY['a','A','ä','Ä','z','Z','é','e','ß','_','ab','aB','-','日本','😀',''])[1 + i % 16] || i";

const ALL: &[Keys] = &[
    keys(
        "k_bigint",
        "id bigint PRIMARY KEY",
        &["id"],
        "(i - 200) * 1000003::bigint",
        &["-9223372036854775808", "9223372036854775807"],
        "17",
        true,
    ),
    keys("k_negative", "id integer PRIMARY KEY", &["id"], "-2 * i", &["-2147483648", "2147483647"], "-7", true),
    keys("k_int2", "id smallint PRIMARY KEY", &["id"], "i - 200", &["-32768", "32767"], "30000", true),
    keys(
        "k_uuid",
        "id uuid PRIMARY KEY",
        &["id"],
        "md5('key' || i)::uuid",
        &["'ffffffff-ffff-ffff-ffff-ffffffffffff'"],
        "'00000000-0000-0000-0000-000000000000'",
        true,
    ),
    keys(
        "k_text_c",
        r#"id text COLLATE "C" PRIMARY KEY"#,
        &["id"],
        WORDS,
        &["''", "' '", "E'\\u0001'"],
        "'Übermut'",
        true,
    ),
    keys(
        "k_text_mixed",
        r#"id text COLLATE "C" PRIMARY KEY|id text COLLATE "und-x-icu" PRIMARY KEY"#,
        &["id"],
        WORDS,
        &["''", "' '"],
        "'Übermut'",
        false,
    ),
    keys("k_text_icu", r#"id text COLLATE "de-x-icu" PRIMARY KEY"#, &["id"], WORDS, &["''"], "'Übermut'", false),
    keys("k_varchar", r#"id varchar(40) COLLATE "C" PRIMARY KEY"#, &["id"], WORDS, &["''"], "'Übermut'", true),
    keys("k_bpchar", r#"id char(9) COLLATE "C" PRIMARY KEY"#, &["id"], "'k' || i", &["''"], "'Übermut'", true),
    keys(
        "k_bytea",
        "id bytea PRIMARY KEY",
        &["id"],
        "decode(md5('key' || i), 'hex')",
        &["''", "'\\x00'", "'\\x0000'", "'\\xffff'"],
        "'\\x7f'",
        true,
    ),
    keys(
        "k_enum",
        "m mood, id integer, PRIMARY KEY (m, id)",
        &["m", "id"],
        "(enum_range(NULL::mood))[1 + i % 5], i",
        &[],
        "'Zen', 1000",
        true,
    ),
    keys(
        "k_enum_reordered",
        "s size, id integer, PRIMARY KEY (s, id)",
        &["s", "id"],
        "(enum_range('s'::size, NULL))[1 + i % 4], i",
        &[],
        "'m', 1000",
        false,
    ),
    keys(
        "k_composite",
        r#"code text COLLATE "C", part integer, at timestamptz, PRIMARY KEY (code, part, at)"#,
        &["code", "part", "at"],
        "'c' || i % 7, i % 3 - 1, '2024-01-01 UTC'::timestamptz + i * interval '1.000001 h'",
        &["'', 0, '-infinity'", "'c', 0, 'infinity'", "'c6', 1, 'infinity'"],
        "'c1', 0, '2024-01-01 UTC'",
        true,
    ),
    // The key in another order than the columns, so that key order matters.
    keys("k_backwards", "b integer, a bigint, PRIMARY KEY (a, b)", &["a", "b"], "i, i % 5", &[], "1000, 3", true),
    keys(
        "k_numeric",
        "id numeric PRIMARY KEY",
        &["id"],
        "(i - 200) * 1.10",
        &[
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
            "1e50",
            "-1e50",
            "1e-30",
            "-1e-30",
            "123456789012345678901234567890.00001",
        ],
        "0.5",
        true,
    ),
    keys(
        "k_date",
        "id date PRIMARY KEY",
        &["id"],
        "date '1999-12-31' + i * 37",
        &["'-infinity'", "'infinity'", "'0044-03-15 BC'", "'9999-12-31'"],
        "'2000-01-01'",
        true,
    ),
    keys(
        "k_timestamp",
        "id timestamp PRIMARY KEY",
        &["id"],
        "timestamp '1999-12-31 23:59:59.999999' + i * interval '1 min'",
        &["'infinity'"],
        "'1970-01-01'",
        true,
    ),
    keys(
        "k_float8",
        "id double precision PRIMARY KEY",
        &["id"],
        "(i - 200) / 7.0::float8",
        &["'NaN'", "'Infinity'", "'-Infinity'", "5e-324", "-5e-324", "1e308"],
        "0.25",
        true,
    ),
    keys("k_interval", "id interval PRIMARY KEY", &["id"], "i * interval '1 day 1.5 s'", &["'-1 year'"], "'3 s'", true),
    keys(
        "k_timetz",
        "id timetz PRIMARY KEY",
        &["id"],
        "timetz '00:00:00.000001+00' + i * interval '1 min'",
        &["'23:00:00-07'"],
        "'12:00:00.5+02'",
        true,
    ),
    keys("k_domain", "id positive PRIMARY KEY", &["id"], "i", &["2147483647"], "1000", true),
    keys("k_bool", "b boolean, id bigint, PRIMARY KEY (b, id)", &["b", "id"], "i % 2 = 0, i", &[], "true, 1000", true),
    keys(
        "k_int_types",
        "id integer PRIMARY KEY|id bigint PRIMARY KEY",
        &["id"],
        "i - 200",
        &["2147483647"],
        "1000",
        false,
    ),
    keys(
        "k_inet",
        "id inet PRIMARY KEY",
        &["id"],
        "inet '10.0.0.0' + i",
        &["'::1'", "'10.0.0.0/8'"],
        "'192.168.0.1'",
        false,
    ),
    keys("k_jsonb", "id jsonb PRIMARY KEY", &["id"], "jsonb_build_array(i, 'x')", &["'{}'", "'null'"], "'[0]'", false),
    keys("k_array", "id integer[] PRIMARY KEY", &["id"], "ARRAY[i % 5, i]", &["'{}'", "'{NULL}'"], "'{7}'", false),
    Keys {
        more: "CREATE UNIQUE INDEX k_identity_code ON k_identity (code);
               CREATE UNIQUE INDEX k_identity_early ON k_identity (early);
               ALTER TABLE k_identity REPLICA IDENTITY USING INDEX k_identity_code;",
        ..keys(
            "k_identity",
            r#"early integer NOT NULL, code text COLLATE "C" NOT NULL"#,
            &["code"],
            "-i, 'code' || i",
            &["-1000, ''"],
            "-2000, 'new'",
            true,
        )
    },
    // A primary key and another replica identity: rows are named by the primary key.
    Keys {
        more: "CREATE UNIQUE INDEX k_primary_code ON k_primary (code); ALTER TABLE k_primary REPLICA IDENTITY USING INDEX k_primary_code;",
        ..keys(
            "k_primary",
            "code text NOT NULL, id integer PRIMARY KEY",
            &["id"],
            "'code' || i, i",
            &[],
            "'new', 1000",
            true,
        )
    },
    // Neither; of the unique indexes only one is fit.
    Keys {
        more: "CREATE UNIQUE INDEX k_unique_nullable ON k_unique (nullable);
               CREATE UNIQUE INDEX k_unique_partial ON k_unique (part) WHERE part > 0;
               CREATE UNIQUE INDEX k_unique_id ON k_unique (id, part);",
        ..keys(
            "k_unique",
            "nullable integer, part integer NOT NULL, id bigint NOT NULL",
            &["id", "part"],
            "nullif(i, 3), i, i * 10",
            &[],
            "NULL, 2000, 2000",
            true,
        )
    },
];

async fn create(database: &Replicated) {
    database.both(TYPES).await.unwrap();
    database.publisher.sql(TYPES_PUBLISHER).await.unwrap();
    database.subscriber.sql(TYPES_SUBSCRIBER).await.unwrap();
    for keys in ALL {
        let (publisher, subscriber) = keys.columns.split_once('|').unwrap_or((keys.columns, keys.columns));
        for (side, columns) in [(&database.publisher, publisher), (&database.subscriber, subscriber)] {
            // Table constraints must come behind the columns.
            let (columns, constraint) = match columns.split_once(", PRIMARY KEY (") {
                Some((columns, rest)) => (columns, format!(", PRIMARY KEY ({rest}")),
                None => (columns, String::new()),
            };
            let Keys { table, more, .. } = keys;
            let sql = format!("CREATE TABLE {table} ({columns}, n integer, v text{constraint}); {more}");
            side.sql(&sql).await.unwrap();
        }
        let Keys { table, value, .. } = keys;
        let mut load = format!("INSERT INTO {table} SELECT {value}, i, 'v' || i FROM generate_series(1, {ROWS}) i;");
        for (edge, n) in keys.edges.iter().zip(ROWS + 1..) {
            load.push_str(&format!("INSERT INTO {table} VALUES ({edge}, {n}, 'edge');"));
        }
        database.publisher.sql(&load).await.unwrap();
    }
    database.replicate(ReplicateOptions::default()).await.unwrap();
    database.both("ANALYZE").await.unwrap();
}

type Ledger = Vec<BTreeMap<String, String>>;

async fn verify(database: &Replicated, folder: &Path, args: &[&str]) -> (Ran, Ledger) {
    let path = folder.join("chunks.csv");
    let verify = ["--checks", "count,max,sum,rows", "--jobs", "2", "--report-chunks", path.to_str().unwrap()];
    let verify = verify.iter().chain(args).fold(Verify::new(database), |verify, arg| verify.arg(arg));
    let ran = verify.run().await;
    database.assert_nothing_left().await;
    (ran, lines::read_csv(&path))
}

/// A bound of a range as an SQL row: `('a'::text, '3'::integer)`.
fn row(bound: &str, key: &[&str], types: &[String]) -> String {
    let bound: Value = serde_json::from_str(bound).unwrap();
    let values: Vec<_> = key
        .iter()
        .zip(types)
        .map(|(column, kind)| format!("'{}'::{kind}", bound[column].as_str().unwrap().replace('\'', "''")))
        .collect();
    format!("({})", values.join(", "))
}

/// The condition that the keys of a half-open range fulfil.
fn condition(from: &str, to: &str, key: &[&str], types: &[String]) -> String {
    let columns = format!("({})", key.join(", "));
    let mut conditions = vec!["true".to_owned()];
    for (bound, operator) in [(from, ">="), (to, "<")] {
        if !bound.is_empty() {
            conditions.push(format!("{columns} {operator} {}", row(bound, key, types)));
        }
    }
    conditions.join(" AND ")
}

/// The ledger adds up: the chunks tile the table, each has the rows that the servers count in it, and what differs is what
/// the outcome says.
async fn check_ledger(database: &Replicated, ran: &Ran, ledger: &Ledger, keys: &Keys) {
    let chunks: Vec<_> = ledger.iter().filter(|chunk| chunk["table"] == keys.table).collect();
    let outcome = lines::table(ran, keys.table);
    let rows = &outcome["checks"]["rows"];
    assert_eq!(chunks.len() as u64, lines::number(&rows["chunks"]), "{}", keys.table);
    assert!(chunks.len() >= 4, "{} has {} chunks", keys.table, chunks.len());
    let numbers: Vec<_> = chunks.iter().map(|chunk| chunk["chunk"].clone()).collect();
    assert_eq!(numbers, (0..chunks.len()).map(|at| at.to_string()).collect::<Vec<_>>(), "{}", keys.table);
    for side in ["publisher", "subscriber"] {
        let sum: u64 = chunks.iter().map(|chunk| chunk[&format!("{side}_rows")].parse::<u64>().unwrap()).sum();
        assert_eq!(sum, lines::number(&outcome["rows"][side]), "{} on the {side}", keys.table);
    }
    let divergent: Vec<_> = chunks.iter().filter(|chunk| chunk["verdict"] != "match").collect();
    assert!(divergent.iter().all(|chunk| chunk["verdict"] == "different"));
    assert_eq!(divergent.len() as u64, lines::number(&rows["divergent_chunks"]), "{}", keys.table);
    for chunk in &chunks {
        let same = chunk["publisher_digest"] == chunk["subscriber_digest"];
        assert_eq!(same, chunk["verdict"] == "match", "{chunk:?}");
    }
    let ranges = lines::array(&rows["divergent_ranges"]);
    if !keys.ranges {
        let of = chunks.len().to_string();
        let same_of = |range: &Value| range["of"].as_u64() == Some(chunks.len() as u64);
        for (at, chunk) in (0_usize..).zip(&chunks) {
            let is = ["from", "to", "bucket", "of"].map(|field| chunk[field].clone());
            assert_eq!(is, [String::new(), String::new(), at.to_string(), of.clone()], "{}", keys.table);
        }
        let buckets: Vec<_> = ranges.iter().map(|range| range["bucket"].to_string()).collect();
        assert_eq!(buckets, divergent.iter().map(|chunk| chunk["bucket"].clone()).collect::<Vec<_>>());
        assert!(ranges.iter().all(|range| same_of(range) && range.get("from").is_none()));
        return;
    }
    let bounds = |field: &str| chunks.iter().map(|chunk| chunk[field].clone()).collect::<Vec<_>>();
    let (from, to) = (bounds("from"), bounds("to"));
    assert_eq!((from[0].as_str(), to[to.len() - 1].as_str()), ("", ""), "{} is open at both ends", keys.table);
    assert_eq!(from[1..], to[..to.len() - 1], "{}", keys.table);
    assert!(from[1..].iter().all(|bound| !bound.is_empty()), "{}", keys.table);
    let names: Vec<_> = keys.key.iter().map(|name| format!("'{name}'")).collect();
    let types = format!(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = '{}'::regclass AND attname IN ({}) ORDER BY array_position(ARRAY[{}]::text[], attname::text)",
        keys.table,
        names.join(", "),
        names.join(", ")
    );
    let types = lines::column(&database.publisher, &types).await;
    for (side, server) in [("publisher", &database.publisher), ("subscriber", &database.subscriber)] {
        let counts = chunks.iter().map(|chunk| {
            let condition = condition(&chunk["from"], &chunk["to"], keys.key, &types);
            format!("(SELECT count(*) FROM {} WHERE {condition})", keys.table)
        });
        let sql = format!("SET TimeZone = 'UTC'; SELECT unnest(ARRAY[{}])", counts.collect::<Vec<_>>().join(", "));
        let counted = lines::column(server, &sql).await;
        let read: Vec<_> = chunks.iter().map(|chunk| chunk[&format!("{side}_rows")].clone()).collect();
        assert_eq!(read, counted, "{} on the {side}", keys.table);
    }
    // Neighbouring divergent chunks are one range.
    let mut expected: Vec<(String, String)> = Vec::new();
    for chunk in &divergent {
        match expected.last_mut() {
            Some((_, to)) if *to == chunk["from"] && !to.is_empty() => to.clone_from(&chunk["to"]),
            _ => expected.push((chunk["from"].clone(), chunk["to"].clone())),
        }
    }
    let bound = |bound: &Value| if bound.is_null() { String::new() } else { bound.to_string() };
    let is: Vec<_> = ranges.iter().map(|range| (bound(&range["from"]), bound(&range["to"]))).collect();
    assert_eq!(is, expected, "{}", keys.table);
}

/// The key of a row as it is reported: the texts of the output functions.
async fn key_line(database: &Database, keys: &Keys, n: u32) -> String {
    let sql = format!("SET TimeZone = 'UTC'; SELECT {} FROM {} WHERE n = {n}", keys.key.join(", "), keys.table);
    let rows = database.rows(&sql).await.unwrap();
    let [row] = rows.as_slice() else { panic!("{} rows {n} in {}", rows.len(), keys.table) };
    let texts = keys.key.iter().zip(row).map(|(column, text)| format!("{column}={}", text.as_deref().expect("a key")));
    texts.collect::<Vec<_>>().join(",")
}

#[tokio::test]
async fn keys_of_every_kind_name_their_rows() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("keys").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    create(&database).await;
    let args = ["--chunk-rows", CHUNK_ROWS];
    let (ran, ledger) = verify(&database, folder.path(), &args).await;
    lines::assert_match(&ran);
    assert_eq!(
        lines::findings(&ran),
        ["error no_replica_identity public.k_unique", "warning column_type public.k_int_types.id"]
    );
    for keys in ALL {
        check_ledger(&database, &ran, &ledger, keys).await;
    }

    let mut expected = Vec::new();
    for keys in ALL {
        let Keys { table, new, .. } = keys;
        let key = async |n| key_line(&database.publisher, keys, n).await;
        expected.push(format!("{table} missing {}", key(50).await));
        expected.push(format!("{table} changed {} [v]", key(150).await));
        let damage = format!(
            "DELETE FROM {table} WHERE n = 50; UPDATE {table} SET v = v || '!' WHERE n = 150; INSERT INTO {table} VALUES ({new}, 9999, 'new')"
        );
        database.subscriber.sql(&damage).await.unwrap();
        expected.push(format!("{table} extra {}", key_line(&database.subscriber, keys, 9999).await));
        // What stands at the ends: the row that sorts last of the edges is beyond every bound.
        if !keys.edges.is_empty() {
            let n = ROWS + 1;
            expected.push(format!("{table} changed {} [v]", key(n).await));
            database.subscriber.sql(&format!("UPDATE {table} SET v = 'EDGE' WHERE n = {n}")).await.unwrap();
        }
    }
    expected.sort();
    for chunk_rows in [CHUNK_ROWS, "7"] {
        let (ran, ledger) = verify(&database, folder.path(), &["--chunk-rows", chunk_rows]).await;
        assert_eq!(ran.code, 1, "{ran:#?}");
        assert_eq!(lines::differences(&ran), expected);
        assert!(lines::unproven(&ran).is_empty(), "{ran:#?}");
        for keys in ALL {
            check_ledger(&database, &ran, &ledger, keys).await;
        }
    }
}

/// A heap scan that would outlast the snapshots is not taken: there the subscriber's file is large, as after many updates.
#[tokio::test]
async fn chunks_read_through_the_key() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("key_ranges").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let create = |fill: u32| {
        format!(
            r#"CREATE TABLE t (code text COLLATE "C", id integer, v text, PRIMARY KEY (code, id)) WITH (fillfactor = {fill})"#
        )
    };
    let rows = "INSERT INTO t SELECT 'c' || i % 3, i, repeat('x', 700) FROM generate_series(1, 7000) i; ANALYZE t;";
    database.publisher.sql(&create(100)).await.unwrap();
    database.subscriber.sql(&create(10)).await.unwrap();
    database.both(rows).await.unwrap();
    let keys = keys("t", "", &["code", "id"], "", &[], "", true);
    let args = ["--gate", "none", "--snapshot-age-max", "1s", "--chunk-rows", "500"];
    let (ran, ledger) = verify(&database, folder.path(), &args).await;
    lines::assert_match(&ran);
    assert_eq!(lines::table(&ran, "t")["scan"], "key-range scan", "{ran:#?}");
    check_ledger(&database, &ran, &ledger, &keys).await;
    // Chunks that are settled stay so while one pair of snapshots after the other reaches its age.
    let short = ["--gate", "none", "--snapshot-age-max", "800ms", "--chunk-rows", "5"];
    let (ran, ledger) = verify(&database, folder.path(), &short).await;
    lines::assert_match(&ran);
    let points = lines::array(&ran.json["sync_points"]).len();
    assert!(points > 1, "{ran:#?}");
    let used = ledger.iter().map(|chunk| chunk["sync_point"].parse::<usize>().unwrap());
    assert!(used.clone().min() < used.clone().max() && used.max() <= Some(points), "{ledger:#?}");
    check_ledger(&database, &ran, &ledger, &keys).await;
    let damage = "DELETE FROM t WHERE id = 1; UPDATE t SET v = v || ' ' WHERE id IN (2, 3500, 7000);
                  INSERT INTO t VALUES ('', 0, ''), ('z', 0, '');";
    database.subscriber.sql(damage).await.unwrap();
    let (ran, ledger) = verify(&database, folder.path(), &args).await;
    assert_eq!(lines::table(&ran, "t")["scan"], "key-range scan", "{ran:#?}");
    let rows = [
        "t missing code=c1,id=1",
        "t changed code=c2,id=2 [v]",
        "t changed code=c2,id=3500 [v]",
        "t changed code=c1,id=7000 [v]",
        "t extra code=,id=0",
        "t extra code=z,id=0",
    ];
    lines::assert_different(&ran, &rows, &["t count", "t sum(id)"]);
    check_ledger(&database, &ran, &ledger, &keys).await;
    let (ran, ledger) = verify(&database, folder.path(), &short).await;
    lines::assert_different(&ran, &rows, &["t count", "t sum(id)"]);
    assert!(lines::array(&ran.json["sync_points"]).len() > 1, "{ran:#?}");
    check_ledger(&database, &ran, &ledger, &keys).await;
}
