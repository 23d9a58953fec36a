//! What a verdict says, as sorted lines that tests compare as a whole: so nothing else can be in it.

use std::collections::BTreeMap;

use serde_json::Value;
use triplecheck_testbed::{Database, Replicated};

use crate::harness::Ran;

/// Every differing row: `orders changed id=5 [note]`, with ` ~` behind it where only the representation differs. Where not
/// all are listed: `orders 0 missing, 1000 extra, 0 changed`.
///
/// Panics where the outcome contradicts itself.
pub(crate) fn differences(ran: &Ran) -> Vec<String> {
    let mut lines = Vec::new();
    for table in tables(ran) {
        let rows = &table["checks"]["rows"];
        if rows.is_null() {
            continue;
        }
        let name = table_name(table);
        let [missing, extra, changed] = ["missing", "extra", "changed"].map(|kind| number(&rows[kind]));
        let samples = array(&rows["samples"]);
        let listed = |kind: &str| samples.iter().filter(|sample| sample["kind"] == kind).count() as u64;
        assert_eq!(rows["verdict"] == "different", missing + extra + changed > 0, "{table:#}");
        assert_eq!(number(&rows["divergent_chunks"]) > 0, missing + extra + changed > 0, "{table:#}");
        assert_eq!(array(&rows["divergent_ranges"]).is_empty(), missing + extra + changed == 0, "{table:#}");
        if samples.len() as u64 == missing + extra + changed {
            assert_eq!([listed("missing"), listed("extra"), listed("changed")], [missing, extra, changed], "{table:#}");
            lines.extend(samples.iter().map(|sample| format!("{name} {}", sample_line(sample))));
        } else {
            assert!(listed("missing") <= missing && listed("extra") <= extra && listed("changed") <= changed);
            lines.push(format!("{name} {missing} missing, {extra} extra, {changed} changed"));
        }
    }
    assert_eq!(lines.is_empty() && figures(ran).is_empty() && sequences(ran).is_empty(), ran.code != 1, "{ran:#?}");
    lines.sort();
    lines
}

fn sample_line(sample: &Value) -> String {
    let key = sample["key"].as_object().expect("a key");
    let key: Vec<_> = key.iter().map(|(column, value)| format!("{column}={}", text(value))).collect();
    let columns: Vec<_> = array(&sample["columns"]).iter().map(text).collect();
    assert_eq!(columns.is_empty(), sample["kind"] != "changed", "{sample}");
    assert_eq!(sample.get("row_digest").is_some(), key.is_empty(), "{sample}");
    format!(
        "{} {}{}{}",
        text(&sample["kind"]),
        if key.is_empty() { "keyless".to_owned() } else { key.join(",") },
        if columns.is_empty() { String::new() } else { format!(" [{}]", columns.join(",")) },
        if sample["representation_only"] == true { " ~" } else { "" }
    )
}

/// Every figure that differs: `orders count 10 9`, `orders sum(total) 10.5 9.5 by 1.0`.
pub(crate) fn figures(ran: &Ran) -> Vec<String> {
    let mut lines = Vec::new();
    for table in tables(ran) {
        let name = table_name(table);
        let sides = |check: &Value| format!("{} {}", text(&check["publisher"]), text(&check["subscriber"]));
        let count = &table["checks"]["count"];
        if count["verdict"] == "different" {
            lines.push(format!("{name} count {}", sides(count)));
        }
        for kind in ["max", "sum"] {
            let checks = table["checks"][kind].as_array().into_iter().flatten();
            for check in checks.filter(|check| check["verdict"] == "different") {
                let delta = check.get("delta").map(|delta| format!(" by {}", text(delta))).unwrap_or_default();
                lines.push(format!("{name} {kind}({}) {}{delta}", text(&check["column"]), sides(check)));
            }
        }
    }
    lines.sort();
    lines
}

/// The same without the figures: `orders count`.
pub(crate) fn figure_names(ran: &Ran) -> Vec<String> {
    let name = |line: String| line.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ");
    figures(ran).into_iter().map(name).collect()
}

/// A figure of a column, equal or not: verdict, publisher, subscriber, delta.
pub(crate) fn figure<'a>(ran: &'a Ran, table: &str, kind: &str, column: &str) -> [&'a str; 4] {
    let table = self::table(ran, table);
    let check = array(&table["checks"][kind]).iter().find(|check| check["column"] == column);
    let check = check.unwrap_or_else(|| panic!("no {kind}({column}): {table:#}"));
    ["verdict", "publisher", "subscriber", "delta"]
        .map(|field| check.get(field).map_or("-", |value| value.as_str().unwrap_or("null")))
}

/// Every sequence that is not a match.
pub(crate) fn sequences(ran: &Ran) -> Vec<String> {
    let all = array(&ran.json["sequences"]).iter().filter(|sequence| sequence["verdict"] != "match");
    all.map(|sequence| format!("{} {}", table_name(sequence), text(&sequence["verdict"]))).collect()
}

/// Every table that is unproven, and why: `orders column_not_comparable`.
pub(crate) fn unproven(ran: &Ran) -> Vec<String> {
    let tables = tables(ran).iter().filter(|table| table["verdict"] == "unproven");
    let mut lines: Vec<_> = tables.map(|table| format!("{} {}", table_name(table), text(&table["reason"]))).collect();
    lines.sort();
    lines
}

/// Every finding: `warning no_key public.log`.
pub(crate) fn findings(ran: &Ran) -> Vec<String> {
    let line = |finding: &Value| ["severity", "code", "object"].map(|field| text(&finding[field])).join(" ");
    let mut lines: Vec<_> = array(&ran.json["findings"]).iter().map(line).collect();
    lines.sort();
    lines
}

/// Panics unless everything matches and nothing is said of any row.
pub(crate) fn assert_match(ran: &Ran) {
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(ran.json["verdict"], "match");
    assert_eq!(ran.json["exit_code"], 0);
    assert_eq!(ran.stderr, "", "nothing to complain about");
    assert!(tables(ran).iter().all(|table| table["verdict"] == "match" && array(&table["causes"]).is_empty()));
    assert_eq!((differences(ran), figures(ran), unproven(ran), sequences(ran)), Default::default(), "{ran:#?}");
}

/// Panics unless the verdict is `different` and the rows and figures are exactly these.
pub(crate) fn assert_different(ran: &Ran, rows: &[&str], figure_names: &[&str]) {
    assert_different_for("", ran, rows, figure_names);
}

/// The same for one of several cases, which a panic names.
pub(crate) fn assert_different_for(case: &str, ran: &Ran, rows: &[&str], figure_names: &[&str]) {
    let sorted = |lines: &[&str]| {
        let mut lines: Vec<_> = lines.iter().map(|&line| line.to_owned()).collect();
        lines.sort();
        lines
    };
    assert_eq!(differences(ran), sorted(rows), "{case}: {ran:#?}");
    assert_eq!(self::figure_names(ran), sorted(figure_names), "{case}: {ran:#?}");
    assert_eq!((ran.code, ran.json["verdict"].as_str()), (1, Some("different")), "{case}: {ran:#?}");
    let mut differing: Vec<_> = rows.iter().chain(figure_names).filter_map(|line| line.split(' ').next()).collect();
    differing.sort_unstable();
    differing.dedup();
    let verdicts: BTreeMap<_, _> =
        tables(ran).iter().map(|table| (table_name(table), text(&table["verdict"]))).collect();
    for (table, verdict) in verdicts {
        let expected = if differing.contains(&table.as_str()) { "different" } else { "match" };
        assert_eq!(verdict, expected, "{case}: {table}: {ran:#?}");
    }
}

/// The outcome of a table by its name.
pub(crate) fn table<'a>(ran: &'a Ran, name: &str) -> &'a Value {
    let mut all = tables(ran).iter().filter(|table| table_name(table) == name);
    let table = all.next().unwrap_or_else(|| panic!("no table {name}: {:#}", ran.json));
    assert!(all.next().is_none(), "{name} is there twice: {:#}", ran.json);
    table
}

/// The names of all tables of the outcome.
pub(crate) fn table_names(ran: &Ran) -> Vec<String> {
    tables(ran).iter().map(table_name).collect()
}

fn tables(ran: &Ran) -> &[Value] {
    array(&ran.json["tables"])
}

fn table_name(value: &Value) -> String {
    match (text(&value["schema"]), text(&value["name"])) {
        (schema, name) if schema == "public" => name,
        (schema, name) => format!("{schema}.{name}"),
    }
}

pub(crate) fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("not a number: {value}"))
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The first column of a query's rows.
pub(crate) async fn column(database: &Database, sql: &str) -> Vec<String> {
    let rows = database.rows(sql).await.unwrap();
    rows.into_iter().map(|row| row.into_iter().next().flatten().expect("a value")).collect()
}

/// Sets the subscriber's sequences to where the publisher's are: replication leaves them behind.
pub(crate) async fn set_sequences(database: &Replicated) {
    let sql = "SELECT format('SELECT setval(%L, %s, %L)', quote_ident(schemaname) || '.' || quote_ident(sequencename), \
               COALESCE(last_value, start_value), (last_value IS NOT NULL)::text) FROM pg_sequences";
    for setval in column(&database.publisher, sql).await {
        database.subscriber.sql(&setval).await.unwrap();
    }
}

/// A file of comma-separated values, as one map of column to value for each line.
pub(crate) fn read_csv(path: &std::path::Path) -> Vec<BTreeMap<String, String>> {
    csv::Reader::from_path(path).unwrap().deserialize().collect::<Result<_, _>>().unwrap()
}
