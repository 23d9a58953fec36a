//! Table patterns as pg_dump reads them.

/// A pattern of table names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePattern {
    text: String,
    schema: Option<String>,
    name: String,
}

impl TablePattern {
    /// A pattern from its parts.
    pub fn new(text: &str, schema: Option<&str>, name: &str) -> Self {
        Self { text: text.to_owned(), schema: schema.map(str::to_owned), name: name.to_owned() }
    }

    /// The pattern as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The schema's anchored regular expression.
    pub fn schema_regex(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// The name's anchored regular expression.
    pub fn name_regex(&self) -> &str {
        &self.name
    }
}
