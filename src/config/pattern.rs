//! Table patterns as pg_dump's `-t` and `-T` read them.
//!
//! Source of the rules: PostgreSQL manual, "Patterns" (psql), and `patternToSQLRegex` of src/fe_utils/string_utils.c.

use crate::error::{Error, ErrorKind, Result};

/// What has a meaning in a regular expression and loses it between double quotes.
const SPECIAL: &str = "|*+?()[]{}.^$\\";

/// A pattern of table names: `*` and `?` as in a shell, other regular expression notation as it is, names folded to
/// lower case unless in double quotes, one dot between schema and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePattern {
    text: String,
    schema: Option<String>,
    name: String,
}

impl TablePattern {
    /// Reads a pattern.
    ///
    /// Like psql, it does not judge the regular expression: what the server does not understand, it will say.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] if the pattern or one of its parts is empty, if it has more than one dot outside of quotes,
    /// a quote that is not closed, or a NUL character.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |why: &str| Error::new(ErrorKind::Usage, format!("table pattern {text:?}: {why}"));
        if text.contains('\0') {
            return Err(refuse("a NUL character cannot be part of a name"));
        }
        let mut parts = Vec::new();
        let mut part = String::new();
        let mut quoted = false;
        let mut rest = text.chars().peekable();
        while let Some(character) = rest.next() {
            match character {
                '"' if quoted && rest.peek() == Some(&'"') => {
                    rest.next();
                    part.push('"');
                }
                '"' => quoted = !quoted,
                '*' if !quoted => part.push_str(".*"),
                '?' if !quoted => part.push('.'),
                '.' if !quoted => parts.push(std::mem::take(&mut part)),
                // Always literal: it is allowed in names, and the expression is anchored anyway.
                '$' => part.push_str("\\$"),
                '[' if !quoted && rest.peek() == Some(&']') => part.push_str("\\["),
                _ if quoted && SPECIAL.contains(character) => part.extend(['\\', character]),
                _ if quoted => part.push(character),
                // Only ASCII, as psql does it for multi-byte encodings.
                _ => part.push(character.to_ascii_lowercase()),
            }
        }
        parts.push(part);
        if quoted {
            return Err(refuse("a double quote is not closed"));
        }
        if parts.iter().any(String::is_empty) {
            return Err(refuse("a name is empty").with_hint("write * where every name is meant"));
        }
        let anchored = |part: String| format!("^({part})$");
        let mut parts = parts.into_iter().map(anchored);
        let (schema, name) = match (parts.next(), parts.next(), parts.next()) {
            (Some(name), None, None) => (None, name),
            (Some(schema), Some(name), None) => (Some(schema), name),
            _ => {
                return Err(refuse("too many dotted names")
                    .with_hint("a pattern is NAME or SCHEMA.NAME; in double quotes a dot is part of a name"));
            }
        };
        Ok(Self { text: text.to_owned(), schema, name })
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// An anchored regular expression for the schema, for the server's `~` with `COLLATE pg_catalog.default`; `None` if
    /// the pattern names no schema.
    #[must_use]
    pub fn schema_regex(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// An anchored regular expression for the name, to be used as that of the schema.
    #[must_use]
    pub fn name_regex(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_psql_reads_them() {
        let cases = [
            ("orders", None, "^(orders)$"),
            ("Orders", None, "^(orders)$"),
            ("\"Orders\"", None, "^(Orders)$"),
            ("FOO\"BAR\"baz", None, "^(fooBARbaz)$"),
            ("\"a\"\"b\"", None, "^(a\"b)$"),
            ("ord*", None, "^(ord.*)$"),
            ("ord??", None, "^(ord..)$"),
            ("\"ord*?\"", None, "^(ord\\*\\?)$"),
            ("\"a.b|c\"", None, "^(a\\.b\\|c)$"),
            ("public.orders", Some("^(public)$"), "^(orders)$"),
            ("S*.\"T.x\"", Some("^(s.*)$"), "^(T\\.x)$"),
            ("*.*", Some("^(.*)$"), "^(.*)$"),
            ("a|b", None, "^(a|b)$"),
            ("p[0-9]+", None, "^(p[0-9]+)$"),
            ("a[]", None, "^(a\\[])$"),
            ("\"a[]\"", None, "^(a\\[\\])$"),
            ("a$b", None, "^(a\\$b)$"),
            ("\"a$b\"", None, "^(a\\$b)$"),
            ("ÄB", None, "^(Äb)$"),
            ("\"😀 x\"", None, "^(😀 x)$"),
            ("a\\", None, "^(a\\)$"),
        ];
        for (text, schema, name) in cases {
            let pattern = TablePattern::parse(text).unwrap();
            assert_eq!((pattern.schema_regex(), pattern.name_regex()), (schema, name), "{text}");
            assert_eq!(pattern.text(), text);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in ["", "\"\"", ".a", "a.", ".", "a.b.c", "\"a", "a\"", "\"a\"\"", "a\0b"] {
            let error = TablePattern::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in ".*") {
            let _ = TablePattern::parse(&text);
        }

        #[test]
        fn a_quoted_name_has_no_special_characters(name in "[^\0]+") {
            let pattern = TablePattern::parse(&format!("\"{}\"", name.replace('"', "\"\""))).unwrap();
            let inner = pattern.name_regex().strip_prefix("^(").unwrap().strip_suffix(")$").unwrap();
            let mut rest = inner.chars();
            let mut plain = String::new();
            while let Some(character) = rest.next() {
                plain.push(if character == '\\' { rest.next().unwrap() } else { character });
            }
            proptest::prop_assert_eq!(plain, name);
        }
    }
}
