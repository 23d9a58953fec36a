//! What differs, by PostgreSQL: rows by their text, keys and values by the default btree order of their types.

use std::borrow::Cow;
use std::collections::BTreeMap;

use tokio_postgres::{Client, SimpleQueryMessage};
use triplecheck_testbed::Replicated;

use super::tables::Table;
use super::types::{Type, identifier, literal};

/// Values as texts, in one way on both sides.
const SETTINGS: &str = "SET search_path = pg_catalog; SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; \
     SET extra_float_digits = 3; SET bytea_output = 'hex'; SET row_security = off";

/// A report shows so many characters of a longer text.
const REPORTED_CHARACTERS: usize = 1000;

type Row = Vec<Option<String>>;

/// A row of one side: its texts, and per column with an order the number of its value among all values of both sides.
#[derive(Clone)]
struct Ranked {
    texts: Row,
    ranks: Vec<Option<String>>,
}

async fn rows(client: &Client, sql: &str) -> Vec<Row> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{error:?}: {sql}"));
    let texts = |message| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()),
        _ => None,
    };
    messages.into_iter().filter_map(texts).collect()
}

/// The lines that `lines::differences` should give for a table. A line that ends in `?]` stands for any columns.
pub(super) async fn expected(database: &Replicated, table: &Table) -> Vec<String> {
    let publisher = database.publisher.connect().await.unwrap();
    let subscriber = database.subscriber.connect().await.unwrap();
    let names: Vec<_> = (0..table.columns.len()).map(|at| table.column(at)).collect();
    let select = format!("SELECT {} FROM ONLY {}", names.join(", "), table.sql());
    let mut sides = Vec::new();
    for client in [&publisher, &subscriber] {
        client.batch_execute(SETTINGS).await.unwrap();
        sides.push(rows(client, &select).await);
    }
    let prefix = table.name.as_str();
    if table.key.is_empty() {
        return keyless(table, prefix, &sides);
    }
    let [ours, theirs]: [Vec<Ranked>; 2] =
        ranked(&publisher, table, &names, &sides).await.try_into().ok().expect("two sides");
    let key_of = |row: &Ranked| -> Vec<Option<String>> { table.key.iter().map(|&at| row.ranks[at].clone()).collect() };
    let mut groups: BTreeMap<Row, [Vec<Ranked>; 2]> = BTreeMap::new();
    for (side, all) in [ours, theirs].into_iter().enumerate() {
        for row in all {
            groups.entry(key_of(&row)).or_default()[side].push(row);
        }
    }
    let order = report_order(&publisher, table).await;
    let mut expected = Vec::new();
    for [mut ours, mut theirs] in groups.into_values() {
        ours.retain(|row| match theirs.iter().position(|other| same(table, &row.texts, &other.texts)) {
            Some(at) => {
                theirs.swap_remove(at);
                false
            }
            None => true,
        });
        let line = |kind: &str, row: &Ranked| {
            let key = table.key.iter().map(|&at| {
                format!("{}={}", table.columns[at].name, row.texts[at].as_deref().map_or("null".into(), cut))
            });
            format!("{prefix} {kind} {}", key.collect::<Vec<_>>().join(","))
        };
        match (ours.as_slice(), theirs.as_slice()) {
            ([one], [other]) => {
                expected.push(format!("{}{}", line("changed", one), changed(table, &order, one, other)));
            }
            ([one], [_, rest @ ..]) => {
                // Which of several rows with one key pairs up is not promised.
                expected.push(format!("{} [?]", line("changed", one)));
                expected.extend(rest.iter().map(|row| format!("{}?", line("extra", row))));
            }
            (ours, theirs) => {
                assert!(ours.len() <= 1, "the publisher's keys are unique");
                expected.extend(ours.iter().map(|row| line("missing", row)));
                expected.extend(theirs.iter().map(|row| line("extra", row)));
            }
        }
    }
    expected
}

/// A text as a report shows it.
fn cut(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(REPORTED_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

fn keyless(table: &Table, prefix: &str, sides: &[Vec<Row>]) -> Vec<String> {
    let mut left = sides[1].clone();
    let mut missing = 0;
    for row in &sides[0] {
        match left.iter().position(|other| same(table, row, other)) {
            Some(at) => drop(left.swap_remove(at)),
            None => missing += 1,
        }
    }
    let mut lines = vec![format!("{prefix} missing keyless"); missing];
    lines.extend(vec![format!("{prefix} extra keyless"); left.len()]);
    lines
}

/// Whether replication would have kept the row: its text, but for the newlines before an XML value.
fn same(table: &Table, one: &Row, other: &Row) -> bool {
    table.columns.iter().zip(one.iter().zip(other)).all(|(column, (one, other))| same_text(&column.kind, one, other))
}

fn same_text(kind: &Type, one: &Option<String>, other: &Option<String>) -> bool {
    match (kind, one, other) {
        (Type::Leaf(leaf), Some(one), Some(other)) if leaf.sql == "xml" => {
            one.trim_start_matches('\n') == other.trim_start_matches('\n')
        }
        _ => one == other,
    }
}

/// The columns as a report lists them: those of the key in its order, then the others as the publisher's table has them,
/// which may have been created with its columns in any order.
async fn report_order(publisher: &Client, table: &Table) -> Vec<usize> {
    let query = format!(
        "SELECT attname FROM pg_attribute WHERE attrelid = {}::regclass AND attnum > 0 ORDER BY attnum",
        literal(&table.sql())
    );
    let names = rows(publisher, &query).await;
    let position = |row: &Row| table.columns.iter().position(|column| row[0].as_ref() == Some(&column.name));
    let others = names.iter().filter_map(position).filter(|at| !table.key.contains(at));
    let order: Vec<_> = table.key.iter().copied().chain(others).collect();
    assert_eq!(order.len(), table.columns.len(), "every column has its place");
    order
}

/// The differing columns of two rows in the order of the report, and whether they are equal to their types.
fn changed(table: &Table, order: &[usize], one: &Ranked, other: &Ranked) -> String {
    let differing: Vec<_> = order
        .iter()
        .copied()
        .filter(|&at| !same_text(&table.columns[at].kind, &one.texts[at], &other.texts[at]))
        .collect();
    let equal =
        |&at: &usize| table.columns[at].kind.ordered() && one.ranks[at] == other.ranks[at] && one.texts[at].is_some();
    let sign = if differing.iter().all(equal) { " ~" } else { "" };
    let names: Vec<_> = differing.iter().map(|&at| table.columns[at].name.as_str()).collect();
    format!(" [{}]{sign}", names.join(","))
}

/// Puts the rows of both sides into one temporary table of the publisher, which ranks them.
async fn ranked(client: &Client, table: &Table, names: &[String], sides: &[Vec<Row>]) -> Vec<Vec<Ranked>> {
    let scratch = identifier("differential scratch");
    let copy = format!(
        "CREATE TEMP TABLE {scratch} AS SELECT {} FROM {} WITH NO DATA; ALTER TABLE {scratch} ADD differential_side integer, ADD differential_row integer",
        names.join(", "),
        table.sql()
    );
    client.batch_execute(&copy).await.unwrap();
    let mut values = Vec::new();
    for (side, all) in sides.iter().enumerate() {
        for (number, row) in all.iter().enumerate() {
            let row: Vec<_> = row.iter().map(|text| text.as_deref().map_or("NULL".to_owned(), literal)).collect();
            values.push(format!("INSERT INTO {scratch} VALUES ({}, {side}, {number})", row.join(", ")));
        }
    }
    client.batch_execute(&values.join(";")).await.unwrap_or_else(|error| panic!("{error:?}: {values:#?}"));
    let ranks: Vec<_> = (0..names.len())
        .map(|at| match table.columns[at].kind.ordered() {
            true => format!("dense_rank() OVER (ORDER BY {})", names[at]),
            false => "NULL".to_owned(),
        })
        .collect();
    let query = format!("SELECT differential_side, differential_row, {} FROM {scratch}", ranks.join(", "));
    let mut all: Vec<Vec<Ranked>> = sides
        .iter()
        .map(|rows| rows.iter().map(|texts| Ranked { texts: texts.clone(), ranks: Vec::new() }).collect())
        .collect();
    for row in rows(client, &query).await {
        let number = |at: usize| row[at].as_deref().and_then(|text| text.parse::<usize>().ok()).expect("a number");
        all[number(0)][number(1)].ranks = row[2..].to_vec();
    }
    client.batch_execute(&format!("DROP TABLE {scratch}")).await.unwrap();
    all
}
