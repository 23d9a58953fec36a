//! The documentation names every code that reports use, and every field that is not always there.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use triplecheck::ErrorKind;
use triplecheck::catalog::FINDINGS;
use triplecheck::run::{CAUSES, CHECKS, TABLE_CAUSES};
use triplecheck::verdict::Reason;

use crate::house::sources;

const REPORTS: &str = include_str!("../../docs/reports.md");

/// The fields of the sources that serde leaves out where they have no value.
fn left_out_at_times() -> Vec<String> {
    let mut files: Vec<PathBuf> = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut fields = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for rest in text.split("skip_serializing_if").skip(1) {
            let field = rest.split_once("pub ").and_then(|(_, rest)| rest.split_once(':'));
            fields.push(field.unwrap_or_else(|| panic!("{}: no field", file.display())).0.to_owned());
        }
    }
    fields
}

/// The documents that are shown, by the name of their command.
fn examples() -> Vec<(&'static str, Value)> {
    let blocks = REPORTS.split("<!-- json: ").skip(1);
    let example = |block: &'static str| {
        let (command, rest) = block.split_once(" -->\n```json\n").expect("a name and a block");
        (command, serde_json::from_str(rest.split_once("```").expect("its end").0).expect("JSON"))
    };
    blocks.map(example).collect()
}

/// Every object with a code, and the name of the list that it stands in.
fn coded<'a>(list: &'a str, value: &'a Value, found: &mut Vec<(&'a str, &'a str)>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| coded(list, item, found)),
        Value::Object(fields) => {
            found.extend(fields.get("code").and_then(Value::as_str).map(|code| (list, code)));
            found.extend(fields.get("reason").and_then(Value::as_str).map(|code| ("reason", code)));
            fields.iter().for_each(|(name, value)| coded(name, value, found));
        }
        _ => {}
    }
}

#[test]
fn every_code_is_in_the_catalogue() {
    let reasons = Reason::ALL.iter().map(|reason| (reason.code(), reason.meaning()));
    let errors = ErrorKind::ALL.iter().map(|kind| (kind.code(), kind.meaning()));
    let others = FINDINGS.iter().chain(CHECKS).chain(CAUSES).chain(TABLE_CAUSES).copied();
    for (code, meaning) in reasons.chain(errors).chain(others) {
        let row = format!("| `{code}` | {} |", meaning.trim());
        assert!(REPORTS.contains(&row), "missing in docs/reports.md:\n{row}");
    }
}

#[test]
fn the_examples_use_codes_that_exist() {
    let names = |table: &[(&'static str, &'static str)]| table.iter().map(|(code, _)| *code).collect::<Vec<_>>();
    let mut commands = Vec::new();
    for (command, document) in &examples() {
        commands.push(*command);
        let mut found = Vec::new();
        coded(command, document, &mut found);
        assert!(!found.is_empty() || *command == "plan", "{command} shows no code");
        for (list, code) in found {
            let known = match (*command, list) {
                (_, "reason") => Reason::ALL.iter().map(|reason| reason.code()).collect(),
                (_, "findings") => names(FINDINGS),
                (_, "checks") => names(CHECKS),
                ("verify", "causes") => names(TABLE_CAUSES),
                ("lag", "causes") => names(CAUSES),
                _ => panic!("{command}: nothing says what codes stand in {list}"),
            };
            assert!(known.contains(&code), "{command}: {list} has no code {code}");
        }
    }
    commands.sort_unstable();
    assert_eq!(commands, ["lag", "plan", "preflight", "sequences", "verify"]);
}

#[test]
fn every_field_that_is_left_out_at_times_says_when_it_is_there() {
    let fields = left_out_at_times();
    for known in ["delta", "method", "proof", "digest", "unsettled", "row_digest", "publisher", "subscriber"] {
        assert!(fields.iter().any(|field| field == known), "{known} is not among {fields:?}");
    }
    let rows = REPORTS.split_once("| field | present only |").expect("the table").1.split_once("\n\n").unwrap().0;
    for field in fields {
        let ending = format!(".{field}` | ");
        assert!(rows.lines().any(|row| row.contains(&ending)), "docs/reports.md does not say when {field} is present");
    }
}
