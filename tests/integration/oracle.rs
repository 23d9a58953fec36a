//! Random tables with random damage, against a comparison in this file that shares nothing with triplecheck: it reads the texts
//! of all rows and compares them as multisets, key by key.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use triplecheck_testbed::{Database, shared_pair};

use crate::harness::Verify;
use crate::lines;

/// Rounds; each is one run of the command over all tables.
const ROUNDS: usize = 6;

/// A table: its columns, its key, and what generates a value of each column. Only the publisher has the primary key, so that
/// the subscriber can hold a key twice.
struct Table {
    name: &'static str,
    columns: &'static [(&'static str, &'static str, &'static [&'static str])],
    key: usize,
}

const INTS: &[&str] = &["0", "1", "-1", "2", "17", "-9000000000", "9000000000"];
const TEXTS: &[&str] =
    &["''", "' '", "'a'", "'A'", "'a '", "'a|b'", "'|'", "'ä'", "'NULL'", "NULL", "E'\\n'", "'1'", "'12'"];
const KEY_TEXTS: &[&str] = &["''", "' '", "'a'", "'A'", "'a '", "'a|b'", "'|'", "'ä'", "'NULL'", "'b|'", "'1'", "'12'"];
const NUMBERS: &[&str] = &["0", "1", "-1", "2.5", "1e30", "-1e-9", "NULL", "'NaN'"];
const FLOATS: &[&str] = &["0", "0.1", "0.10000000000000002", "'NaN'", "'Infinity'", "NULL", "1e300"];
const JSONS: &[&str] = &["'{}'", "'[]'", "'null'", "NULL", r#"'{"a": [1, null]}'"#, r#"'{"a": [1, "null"]}'"#];
const TIMES: &[&str] = &["'2024-01-01'", "'2024-01-01 00:00:00.000001'", "'infinity'", "NULL", "'0001-01-01 BC'"];
const BYTES: &[&str] = &["''", "'\\x00'", "'\\x0000'", "NULL", "'\\xff'"];
const ARRAYS: &[&str] = &["'{}'", "'{NULL}'", "'{\"NULL\"}'", "'{a,b}'", "'{\"a,b\"}'", "NULL", "'{{a},{b}}'"];

const TABLES: &[Table] = &[
    Table { name: "by_int", columns: &[("id", "bigint", INTS), ("a", "text", TEXTS), ("b", "text", TEXTS)], key: 1 },
    Table {
        name: "by_two",
        columns: &[
            ("x", r#"text COLLATE "C""#, KEY_TEXTS),
            ("y", r#"text COLLATE "C""#, KEY_TEXTS),
            ("n", "numeric", NUMBERS),
            ("f", "double precision", FLOATS),
        ],
        key: 2,
    },
    Table {
        name: "by_text",
        columns: &[
            ("x", r#"text COLLATE "und-x-icu""#, KEY_TEXTS),
            ("i", "bigint", INTS),
            ("j", "jsonb", JSONS),
            ("at", "timestamp", TIMES),
        ],
        key: 2,
    },
    Table { name: "keyless", columns: &[("a", "text", TEXTS), ("b", "text", TEXTS)], key: 0 },
    Table {
        name: "keyless_wide",
        columns: &[("v", "bytea", BYTES), ("w", "bytea", BYTES), ("l", "text[]", ARRAYS)],
        key: 0,
    },
];

type Row = Vec<Option<String>>;

/// A key, the rows that have it on one side, and on the other.
type Groups = BTreeMap<Row, [Vec<Row>; 2]>;

async fn groups(table: &Table, publisher: &Database, subscriber: &Database) -> Groups {
    let mut groups = Groups::new();
    for (side, database) in [publisher, subscriber].into_iter().enumerate() {
        for row in database.rows(&format!("SELECT * FROM {}", table.name)).await.unwrap() {
            // Without a key the whole row stands for it.
            let key = if table.key == 0 { row.clone() } else { row[..table.key].to_vec() };
            groups.entry(key).or_default()[side].push(row);
        }
    }
    groups
}

/// The lines that [`lines::differences`] should give.
fn expected(table: &Table, groups: &Groups) -> Vec<String> {
    let mut expected = Vec::new();
    for (key, [publisher, subscriber]) in groups {
        let mut left = subscriber.clone();
        let mut unmatched: Vec<&Row> = Vec::new();
        for row in publisher {
            match left.iter().position(|other| other == row) {
                Some(at) => drop(left.swap_remove(at)),
                None => unmatched.push(row),
            }
        }
        let names = table.columns.iter().map(|(name, ..)| *name);
        let key: Vec<_> = names
            .clone()
            .zip(key)
            .take(table.key)
            .map(|(name, text)| format!("{name}={}", text.as_deref().unwrap_or("null")))
            .collect();
        let key = if key.is_empty() { "keyless".to_owned() } else { key.join(",") };
        let pairs = unmatched.len().min(left.len());
        // Which of several rows with one key pair up is not promised: the publisher has one at most.
        assert!(pairs <= 1);
        for (row, kind) in unmatched
            .iter()
            .skip(pairs)
            .map(|row| (*row, "missing"))
            .chain(left.iter().skip(pairs).map(|row| (row, "extra")))
        {
            assert_eq!(row.len(), table.columns.len());
            expected.push(format!("{} {kind} {key}", table.name));
        }
        if pairs == 1 {
            let candidates: Vec<_> = left
                .iter()
                .map(|other| {
                    names
                        .clone()
                        .zip(unmatched[0].iter().zip(other))
                        .filter(|(_, (one, other))| one != other)
                        .map(|(name, _)| name)
                        .collect::<Vec<_>>()
                        .join(",")
                })
                .collect();
            let columns = if left.len() == 1 { candidates[0].clone() } else { "?".to_owned() };
            expected.push(format!("{} changed {key} [{columns}]", table.name));
        }
    }
    expected
}

/// A row as SQL values.
fn row(table: &Table) -> impl Strategy<Value = String> + use<> {
    let values: Vec<_> = table.columns.iter().map(|(_, _, values)| prop::sample::select(*values)).collect();
    values.prop_map(|values| format!("({})", values.join(", ")))
}

fn rows(table: &Table, count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<String>> + use<> {
    prop::collection::vec(row(table), count)
}

#[tokio::test]
async fn random_damage_is_what_a_plain_comparison_finds() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("oracle").await.unwrap();
    for table in TABLES {
        let columns: Vec<_> = table.columns.iter().map(|(name, kind, _)| format!("{name} {kind}")).collect();
        let key: Vec<_> = table.columns[..table.key].iter().map(|(name, ..)| *name).collect();
        let create = format!("CREATE TABLE {} ({}", table.name, columns.join(", "));
        let primary = if key.is_empty() { String::new() } else { format!(", PRIMARY KEY ({})", key.join(", ")) };
        database.publisher.sql(&format!("{create}{primary})")).await.unwrap();
        database.subscriber.sql(&format!("{create})")).await.unwrap();
    }
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
    let mut seen = BTreeMap::<String, u32>::new();
    for round in 0..ROUNDS {
        let mut both = String::new();
        let mut damage = String::new();
        for table in TABLES {
            let mut values = |count| rows(table, count).new_tree(&mut runner).unwrap().current();
            let name = table.name;
            both.push_str(&format!("TRUNCATE {name};"));
            for row in values(0..60) {
                both.push_str(&format!("INSERT INTO {name} VALUES {row} ON CONFLICT DO NOTHING;"));
            }
            // The last rounds leave little to find among much that is equal.
            let few = if round % 2 == 0 { 0..12 } else { 0..2 };
            for row in values(few.clone()) {
                damage.push_str(&format!("INSERT INTO {name} VALUES {row};"));
            }
            for row in values(few) {
                let columns: Vec<_> = table.columns.iter().map(|(name, ..)| *name).collect();
                let all = columns.join(", ");
                let other = columns[columns.len() - 1];
                damage.push_str(&format!(
                    "DELETE FROM {name} WHERE ctid = (SELECT min(ctid) FROM {name} WHERE ({all}) >= {row});"
                ));
                damage.push_str(&format!("UPDATE {name} SET {other} = x.{other} FROM (VALUES {row}) AS v ({all}), {name} x WHERE {name}.ctid = (SELECT max(ctid) FROM {name}) AND x.ctid = (SELECT min(ctid) FROM {name});"));
            }
        }
        database.publisher.sql(&both).await.unwrap();
        // The same rows, in the publisher's text.
        for table in TABLES {
            let texts = format!("SELECT coalesce(array_agg(t::text), '{{}}')::text FROM {} t", table.name);
            let texts = database.publisher.value(&texts).await.unwrap().replace('\'', "''");
            let name = table.name;
            let copy =
                format!("TRUNCATE {name}; INSERT INTO {name} SELECT (r::{name}).* FROM unnest('{texts}'::text[]) r;");
            database.subscriber.sql(&copy).await.unwrap();
        }
        database.subscriber.sql(&damage).await.unwrap();
        database.both("ANALYZE").await.unwrap();
        let mut lines = Vec::new();
        let mut ambiguous = Vec::new();
        for table in TABLES {
            let found = expected(table, &groups(table, &database.publisher, &database.subscriber).await);
            ambiguous.extend(
                found.iter().filter(|line| line.ends_with("[?]")).map(|line| line.trim_end_matches("?]").to_owned()),
            );
            lines.extend(found);
        }
        lines.sort();
        for chunk_rows in ["5", "1000"] {
            let verify = Verify::new(&database).arg("--gate").arg("none").arg("--jobs").arg("2");
            let ran = verify.arg("--samples").arg("10000").arg("--chunk-rows").arg(chunk_rows).run().await;
            let blur = |line: &String| {
                ambiguous
                    .iter()
                    .find(|known| line.starts_with(*known))
                    .map_or_else(|| line.clone(), |known| format!("{known}?]"))
            };
            let mut is: Vec<_> = lines::differences(&ran).iter().map(blur).collect();
            is.sort();
            assert_eq!(is, lines, "round {round}, chunks of {chunk_rows}");
            assert_eq!(ran.code, i32::from(!lines.is_empty()), "{ran:#?}");
            assert!(lines::unproven(&ran).is_empty(), "{ran:#?}");
        }
        for line in &lines {
            *seen.entry(line.split(' ').take(2).collect::<Vec<_>>().join(" ")).or_default() += 1;
        }
    }
    // Every kind of difference came up in every table.
    let kinds: Vec<_> = TABLES
        .iter()
        .flat_map(|table| ["changed", "extra", "missing"].map(|kind| (table, kind)))
        .filter(|(table, kind)| table.key > 0 || *kind != "changed")
        .map(|(table, kind)| format!("{} {kind}", table.name))
        .filter(|kind| !seen.contains_key(kind))
        .collect();
    assert!(kinds.is_empty(), "never seen: {kinds:?} of {seen:#?}");
    database.assert_nothing_left().await;
}
