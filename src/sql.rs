//! Names and values as SQL text: the only place where either becomes part of a statement.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An identifier in double quotes (PostgreSQL manual, "Identifiers and Key Words").
///
/// A NUL byte cannot be part of a name in PostgreSQL; it is left out.
#[must_use]
pub fn identifier(name: &str) -> String {
    let mut quoted = String::with_capacity(name.len() + 2);
    quoted.push('"');
    for character in name.chars().filter(|&character| character != '\0') {
        if character == '"' {
            quoted.push('"');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

/// A string constant that means the same whatever `standard_conforming_strings` says.
///
/// A NUL byte cannot be part of a text in PostgreSQL; it is left out.
#[must_use]
pub fn literal(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 4);
    push_literal(text, &mut quoted);
    quoted
}

/// The same, written behind what a statement has so far.
pub fn push_literal(text: &str, statement: &mut String) {
    if text.contains('\\') {
        statement.push_str(" E");
    }
    statement.push('\'');
    for character in text.chars().filter(|&character| character != '\0') {
        if character == '\'' || character == '\\' {
            statement.push(character);
        }
        statement.push(character);
    }
    statement.push('\'');
}

/// An array constant of texts, to be cast by what follows it.
#[must_use]
pub fn text_array<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| literal(item.as_ref())).collect();
    format!("ARRAY[{}]::pg_catalog.text[]", items.join(", "))
}

/// The text of a value as its type's output function writes it, NULL for NULL.
///
/// Not a cast: `bpchar::text` strips padding. Not `format` alone: that turns NULL into an empty text. `IS NULL` would be
/// wrong for composite values, whose fields may all be NULL while the value is not.
#[must_use]
pub fn output_text(expression: &str) -> String {
    format!("CASE WHEN {expression} IS NOT DISTINCT FROM NULL THEN NULL ELSE pg_catalog.format('%s', {expression}) END")
}

/// Statements to be run as they stand, and behind them a note for people, which nothing that a name holds can end: names may
/// have line breaks in them.
#[must_use]
pub fn noted(statements: &str, note: &str) -> String {
    let line: String = note.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    format!("{statements}; -- {line}")
}

/// A name in a schema.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct QualifiedName {
    /// The schema, unquoted.
    pub schema: String,
    /// The name in it, unquoted.
    pub name: String,
}

impl QualifiedName {
    /// A name in a schema, both unquoted.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }

    /// Both parts quoted, for a statement.
    #[must_use]
    pub fn to_sql(&self) -> String {
        format!("{}.{}", identifier(&self.schema), identifier(&self.name))
    }
}

impl fmt::Display for QualifiedName {
    /// For people: quoted only where the bare name would be read differently.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn part(name: &str) -> String {
            let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            if plain { name.to_owned() } else { identifier(name) }
        }
        write!(f, "{}.{}", part(&self.schema), part(&self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(identifier("a\"b c😀"), "\"a\"\"b c😀\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\b'"), " E'a\\\\b'''");
        let mut statement = "SELECT ".to_owned();
        push_literal("it's", &mut statement);
        assert_eq!(statement, "SELECT 'it''s'");
        assert_eq!(text_array(["a", "b'c"]), "ARRAY['a', 'b''c']::pg_catalog.text[]");
        assert_eq!(text_array::<&str>([]), "ARRAY[]::pg_catalog.text[]");
    }

    #[test]
    fn a_note_ends_with_its_line() {
        assert_eq!(noted("ANALYZE a", "or b"), "ANALYZE a; -- or b");
        assert_eq!(noted("ANALYZE a", "or x\r\nDROP TABLE y;"), "ANALYZE a; -- or x  DROP TABLE y;");
    }

    #[test]
    fn names_for_people_are_quoted_only_where_needed() {
        assert_eq!(QualifiedName::new("public", "orders").to_string(), "public.orders");
        assert_eq!(QualifiedName::new("My Schema", "a\"b").to_string(), "\"My Schema\".\"a\"\"b\"");
    }
}
