//! Tables that have another shape on the subscriber on purpose: `[tables."schema.name"]` of the configuration file.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::sql::QualifiedName;

/// A mapping that nobody has checked yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawMapping {
    /// The table on the subscriber: `schema.name`, quoted as in SQL.
    pub subscriber: Option<String>,
    /// Columns that have another name on the subscriber: name on the publisher to name on the subscriber.
    pub columns: BTreeMap<String, String>,
    /// Columns of the publisher that are not compared.
    pub leave_out: Vec<String>,
    /// The time zone by which a timestamp of one side is a timestamptz of the other.
    pub time_zone: Option<String>,
}

/// How a table of the publisher is found on the subscriber.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableMapping {
    /// The publisher's table.
    pub publisher: QualifiedName,
    /// The subscriber's table, where it has another name.
    pub subscriber: Option<QualifiedName>,
    /// Columns that have another name on the subscriber: name on the publisher to name on the subscriber.
    pub columns: BTreeMap<String, String>,
    /// Columns of the publisher that are not compared.
    pub leave_out: BTreeSet<String>,
    /// The time zone by which a timestamp of one side is a timestamptz of the other.
    pub time_zone: Option<String>,
}

fn usage(table: &str, message: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Usage, format!("[tables.{table:?}]: {message}"))
}

impl RawMapping {
    /// Checks what can be checked without the databases. `table` is the key in the file.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`], naming the table.
    pub(super) fn validate(self, table: &str) -> Result<TableMapping> {
        let named = |text: &str| {
            qualified(text).ok_or_else(|| {
                usage(table, format!("{text:?} is not the name of a table"))
                    .with_hint("write schema.name, each quoted as in SQL where it needs quotes")
            })
        };
        let mut targets = BTreeSet::new();
        if let Some(twice) = self.columns.values().find(|target| !targets.insert(target.as_str())) {
            return Err(usage(table, format!("two columns are mapped to {twice}")));
        }
        if let Some(both) = self.leave_out.iter().find(|name| self.columns.contains_key(*name)) {
            return Err(usage(table, format!("column {both} is mapped and left out")));
        }
        if self.time_zone.as_deref() == Some("") {
            return Err(usage(table, "time-zone is empty"));
        }
        Ok(TableMapping {
            publisher: named(table)?,
            subscriber: self.subscriber.as_deref().map(named).transpose()?,
            columns: self.columns,
            leave_out: self.leave_out.into_iter().collect(),
            time_zone: self.time_zone,
        })
    }
}

/// Reads `schema.name`: each part as it is, or in double quotes with those within doubled.
fn qualified(text: &str) -> Option<QualifiedName> {
    let (schema, rest) = part(text)?;
    let (name, rest) = part(rest.strip_prefix('.')?)?;
    rest.is_empty().then(|| QualifiedName::new(schema, name))
}

/// Takes one part of a name off the front.
fn part(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find(['.', '"']).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        // What is not quoted, SQL reads in lower case.
        return (!name.is_empty()).then(|| (name.to_lowercase(), rest));
    };
    let mut name = String::new();
    loop {
        let (before, behind) = rest.split_once('"')?;
        name.push_str(before);
        match behind.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return (!name.is_empty()).then_some((name, behind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_sql_reads_them() {
        for (text, schema, name) in [
            ("public.orders", "public", "orders"),
            ("Public.Orders", "public", "orders"),
            (r#""My Shop"."a.b""c""#, "My Shop", "a.b\"c"),
            (r#"public."Ö""#, "public", "Ö"),
        ] {
            assert_eq!(qualified(text), Some(QualifiedName::new(schema, name)), "{text}");
        }
        for text in ["orders", "a.b.c", ".a", "a.", "\"a.b", "\"\".a", "a\"b\".c", ""] {
            assert_eq!(qualified(text), None, "{text}");
        }
    }

    #[test]
    fn contradictions_are_refused_by_the_name_of_the_table() {
        let columns = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect::<BTreeMap<_, _>>()
        };
        let raw = RawMapping::default;
        for (table, mapping, expected) in [
            ("orders", raw(), "[tables.\"orders\"]: \"orders\" is not the name of a table"),
            ("a.b", RawMapping { subscriber: Some("c".to_owned()), ..raw() }, "\"c\" is not the name of a table"),
            ("a.b", RawMapping { columns: columns(&[("x", "z"), ("y", "z")]), ..raw() }, "two columns are mapped to z"),
            (
                "a.b",
                RawMapping { columns: columns(&[("x", "z")]), leave_out: vec!["x".to_owned()], ..raw() },
                "column x is mapped and left out",
            ),
            ("a.b", RawMapping { time_zone: Some(String::new()), ..raw() }, "time-zone is empty"),
        ] {
            let error = mapping.validate(table).unwrap_err();
            assert!(error.message().starts_with("[tables.") && error.message().contains(expected), "{error}");
        }
    }
}
