//! Every type for itself: as a column, in an array, under a domain.

use triplecheck_testbed::{ReplicateOptions, shared_pair};

use super::leaves::{self, LEAVES};
use super::types::literal;
use crate::harness::Verify;
use crate::lines;

/// What random tables do not have: further names of objects, and types that are like others.
const MORE: &[(&str, &[&str])] = &[
    ("regcollation", &["\"C\"", "\"POSIX\"", "-"]),
    ("regoper", &["||/", "pg_catalog.|/", "0"]),
    ("regoperator", &["+(integer,integer)", "+(bigint,bigint)", "0"]),
    ("regdictionary", &["simple", "english_stem"]),
    ("int8multirange", &["{}", "{[1,2),[4,9)}"]),
    ("tsmultirange", &["{}", "{[2024-01-01,2024-01-02)}"]),
    ("tstzmultirange", &["{}", "{[2024-01-01 00:00+00,)}"]),
    ("public.ismn", &["979-0-060-11561-5"]),
    ("public.issn13", &["977-1436-45200-8"]),
    ("public.text_multirange", &["{}", "{[a,b),[c,)}"]),
];
/// A composite type and an enum, which the random types have in all variants.
const MADE: &str =
    "CREATE TYPE public.of_two AS (a numeric, b text); CREATE TYPE public.mood AS ENUM ('sad', 'NULL', '');";

/// The name of a type, and values as constants of it.
fn all() -> Vec<(String, Vec<String>)> {
    let leaves = LEAVES.iter().filter(|leaf| leaf.since <= 14);
    let known = leaves.map(|leaf| (leaf.sql, leaf.values, leaf.expressions));
    let made: [(&str, &[&str]); 2] =
        [("public.of_two", &["(1.50,a)", "(,)", "(1.5,\"\")"]), ("public.mood", &["sad", "NULL", ""])];
    let more = MORE.iter().chain(&made).map(|&(sql, values)| (sql, values, [].as_slice()));
    let one = |(sql, values, expressions): (&str, &[&str], &[&str])| {
        let values = values.iter().map(|value| literal(value)).chain(expressions.iter().map(|sql| format!("({sql})")));
        (sql.to_owned(), values.collect())
    };
    known.chain(more).map(one).collect()
}

#[tokio::test]
async fn every_type_is_compared() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("alone").await.unwrap();
    let all = all();
    let mut create = format!("{}{MADE}", leaves::EXTENSIONS);
    let (mut columns, mut arrays, mut domains) = (Vec::new(), Vec::new(), Vec::new());
    for (at, (sql, _)) in all.iter().enumerate() {
        create.push_str(&format!("CREATE DOMAIN public.d{at} AS {sql};"));
        columns.push(format!("c{at} {sql}"));
        domains.push(format!("c{at} public.d{at}"));
        // An array has the collation of its elements.
        let element = sql.split(" COLLATE ").next().unwrap_or(sql);
        arrays.push(format!("c{at} {element}[]"));
    }
    for (table, columns) in [("columns", &columns), ("arrays", &arrays), ("domains", &domains)] {
        create.push_str(&format!("CREATE TABLE public.in_{table} (id integer PRIMARY KEY, {});", columns.join(", ")));
    }
    database.publisher.sql(&create).await.unwrap();
    // Other object identifiers.
    database
        .subscriber
        .sql(&format!("CREATE TYPE shift AS (a integer); CREATE TYPE shift_more AS ENUM (); {create}"))
        .await
        .unwrap();

    // In each column every value stands in some rows, and NULL in one of seven.
    let row = |id: usize, wrap: &dyn Fn(&str, &[String], usize) -> String| {
        let values = all.iter().enumerate().map(|(at, (sql, values))| {
            if (id + at).is_multiple_of(7) { "NULL".to_owned() } else { wrap(sql, values, id) }
        });
        format!("({id}, {})", values.collect::<Vec<_>>().join(", "))
    };
    let plain = |_: &str, values: &[String], id: usize| values[id % values.len()].clone();
    let in_array = |sql: &str, values: &[String], id: usize| {
        let sql = sql.split(" COLLATE ").next().unwrap_or(sql);
        // Replication takes newlines from the beginning of an XML value, which shows inside of an array.
        let values: Vec<_> = values.iter().filter(|value| sql != "xml" || !value.contains("E'")).collect();
        let [one, other] = [id, id + 1].map(|at| format!("{}::{sql}", values[at % values.len()]));
        match id % 4 {
            0 => format!("ARRAY[[{one}, {other}], [NULL, {one}]]"),
            1 => format!("ARRAY[{one}, NULL]"),
            2 => format!("'{{}}'::{sql}[]"),
            _ => format!("ARRAY[{other}]"),
        }
    };
    let last = all.len();
    for ids in [1..=last / 2, last / 2 + 1..=last] {
        for id in ids.clone() {
            for (table, row) in
                [("columns", row(id, &plain)), ("arrays", row(id, &in_array)), ("domains", row(id, &plain))]
            {
                let insert = format!("INSERT INTO in_{table} VALUES {row}");
                database.publisher.sql(&insert).await.unwrap_or_else(|error| panic!("{error}: {insert}"));
            }
        }
        if *ids.start() == 1 {
            database.replicate(ReplicateOptions::default()).await.unwrap();
        }
    }
    let run = || Verify::new(&database).args("--lag-timeout 60s --samples 10000 --checks count,rows").run();
    let ran = run().await;
    assert_eq!(lines::differences(&ran), Vec::<String>::new());
    lines::assert_match(&ran);

    // In each column, one row gets the value of another one, or none.
    let mut damage = String::new();
    let mut expected = Vec::new();
    for table in ["arrays", "columns", "domains"] {
        for at in 0..all.len() {
            let (id, column) = (at + 1, format!("c{at}"));
            damage.push_str(&format!(
                "UPDATE in_{table} t SET {column} = (SELECT o.{column} FROM in_{table} o \
                 WHERE o.{column}::text IS DISTINCT FROM t.{column}::text ORDER BY o.{column} IS NULL, o.id LIMIT 1) WHERE id = {id};"
            ));
            expected.push(format!("in_{table} changed id={id} [{column}]"));
        }
    }
    database.subscriber.sql(&damage).await.unwrap();
    let ran = run().await;
    expected.sort();
    let mut found: Vec<_> =
        lines::differences(&ran).iter().map(|line| line.trim_end_matches(" ~").to_owned()).collect();
    found.sort();
    assert_eq!(found, expected);
    assert_eq!(lines::unproven(&ran), Vec::<String>::new());
    database.assert_nothing_left().await;
}
