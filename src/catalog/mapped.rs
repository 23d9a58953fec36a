//! Applies the mappings of the configuration: which table of the subscriber is meant, and what its columns are called.

use std::collections::BTreeSet;

use super::columns::Column;
use super::detail::Detail;
use super::findings::Code;
use super::model::Severity;
use super::pairs::Notes;
use super::relations::{Entry, Relations};
use crate::config::TableMapping;
use crate::error::{Error, ErrorKind, Result};
use crate::side::Sides;
use crate::sql::{self, QualifiedName};

fn usage(mapping: &TableMapping, message: &str) -> Error {
    Error::new(ErrorKind::Usage, format!("[tables.\"{}\"]: {message}", mapping.publisher))
}

/// The mapping of a table of the publisher.
pub(super) fn of<'a>(mappings: &'a [TableMapping], table: &QualifiedName) -> Option<&'a TableMapping> {
    mappings.iter().find(|mapping| &mapping.publisher == table)
}

/// The name that a table of the publisher has on the subscriber.
pub(super) fn name<'a>(mappings: &'a [TableMapping], table: &'a QualifiedName) -> &'a QualifiedName {
    of(mappings, table).and_then(|mapping| mapping.subscriber.as_ref()).unwrap_or(table)
}

/// Refuses mappings of tables that are not there, and two tables that are mapped to one.
///
/// # Errors
///
/// [`ErrorKind::Usage`], naming the mapping.
pub(super) fn check(mappings: &[TableMapping], publisher: &Relations) -> Result<()> {
    let mut targets = BTreeSet::new();
    for mapping in mappings {
        if publisher.find(&mapping.publisher).is_none() {
            return Err(usage(mapping, "the publisher has no such table"));
        }
        let target = name(mappings, &mapping.publisher);
        let taken = target != &mapping.publisher && of(mappings, target).is_none() && publisher.find(target).is_some();
        if taken || !targets.insert(target) {
            return Err(usage(mapping, &format!("another table of the publisher is compared with {target}, too")));
        }
    }
    Ok(())
}

/// Leaves columns out, and calls the subscriber's by the publisher's names.
///
/// # Errors
///
/// [`ErrorKind::Usage`] where a column is not there.
pub(super) fn apply(
    mapping: &TableMapping,
    entries: Sides<&Entry>,
    details: &mut Sides<Detail>,
    notes: &mut Notes,
) -> Result<()> {
    let ours = details.publisher.columns_mut(entries.publisher.oid);
    for name in mapping.columns.keys().chain(&mapping.leave_out) {
        if !ours.iter().any(|column| &column.name == name) {
            return Err(usage(mapping, &format!("the publisher has no column {name}")));
        }
    }
    ours.retain(|column| !mapping.leave_out.contains(&column.name));
    let theirs = details.subscriber.columns_mut(entries.subscriber.oid);
    for (name, other) in &mapping.columns {
        if !theirs.iter().any(|column| &column.name == other) {
            return Err(usage(mapping, &format!("the subscriber has no column {other} for {name}")));
        }
    }
    theirs.retain(|column| !mapping.leave_out.contains(&column.name));
    for column in theirs.iter_mut() {
        rename(mapping, column);
    }
    for column in &mapping.leave_out {
        notes.excluded.push(format!("{}.{} (left out)", mapping.publisher, sql::identifier(column)));
    }
    notes.findings.push(Code::TableMapped.finding(
        Severity::Info,
        &mapping.publisher,
        description(mapping),
        "nothing to do: the configuration says so",
    ));
    Ok(())
}

fn rename(mapping: &TableMapping, column: &mut Column) {
    if let Some((name, _)) = mapping.columns.iter().find(|(_, other)| **other == column.name) {
        column.name.clone_from(name);
    } else if mapping.columns.contains_key(&column.name) {
        // Another column has taken its name: the subscriber's own must not be taken for the publisher's.
        column.name = format!("{} (on the subscriber)", column.name);
    }
}

fn description(mapping: &TableMapping) -> String {
    let mut parts = Vec::new();
    if let Some(subscriber) = &mapping.subscriber {
        parts.push(format!("it is {subscriber} on the subscriber"));
    }
    parts.extend(mapping.columns.iter().map(|(name, other)| format!("column {name} is {other} there")));
    if !mapping.columns.is_empty() {
        parts.push("its defaults, constraints and indexes are not compared".to_owned());
    }
    parts.extend(mapping.leave_out.iter().map(|name| format!("column {name} is left out")));
    parts.extend(mapping.time_zone.iter().map(|zone| format!("its timestamps are of {zone}")));
    format!("{}: {}", mapping.publisher, parts.join(", "))
}
