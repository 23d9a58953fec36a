//! The values of a catalog row, taken in the order of the select list.

use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};

/// One row that a server sent as text.
pub(super) struct Fields {
    values: std::vec::IntoIter<Option<String>>,
    what: &'static str,
}

impl Fields {
    /// A row; `what` says what was read, for errors.
    pub(super) fn new(what: &'static str, row: Vec<Option<String>>) -> Self {
        Self { values: row.into_iter(), what }
    }

    /// The next value, which may be NULL.
    pub(super) fn optional(&mut self) -> Result<Option<String>> {
        self.values.next().ok_or_else(|| self.corrupt("a row is too short"))
    }

    /// The next value, which is never NULL.
    pub(super) fn text(&mut self) -> Result<String> {
        self.optional()?.ok_or_else(|| self.corrupt("a value is NULL that never is"))
    }

    /// The next value as a number or the like.
    pub(super) fn parse<T: FromStr>(&mut self) -> Result<T> {
        let text = self.text()?;
        text.parse().map_err(|_| self.corrupt("a value is not of its type"))
    }

    /// The next value as a number or the like, which may be NULL.
    pub(super) fn parse_optional<T: FromStr>(&mut self) -> Result<Option<T>> {
        let Some(text) = self.optional()? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| self.corrupt("a value is not of its type"))
    }

    /// The next value as a truth value; NULL is `false`, which is what a privilege on a dropped object is.
    pub(super) fn flag(&mut self) -> Result<bool> {
        match self.optional()?.as_deref() {
            Some("t") => Ok(true),
            Some("f") | None => Ok(false),
            Some(_) => Err(self.corrupt("a value is not of its type")),
        }
    }

    /// The next value as the single character that it is.
    pub(super) fn letter(&mut self) -> Result<char> {
        self.parse()
    }

    /// The next value, numbers separated by spaces (`int2vector`, `oidvector`).
    pub(super) fn vector<T: FromStr>(&mut self) -> Result<Vec<T>> {
        let text = self.text()?;
        let items: Result<Vec<T>, _> = text.split_ascii_whitespace().map(str::parse).collect();
        items.map_err(|_| self.corrupt("a value is not of its type"))
    }

    /// The next value, a JSON array of texts, which may be NULL.
    pub(super) fn texts_optional(&mut self) -> Result<Option<Vec<String>>> {
        self.json_optional()
    }

    /// The next value, a JSON document, which may be NULL.
    pub(super) fn json_optional<T: serde::de::DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let Some(text) = self.optional()? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|_| self.corrupt("a value is not of its type"))
    }

    fn corrupt(&self, problem: &str) -> Error {
        Error::new(ErrorKind::Corrupt, format!("reading {}: {problem}", self.what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[Option<&str>]) -> Fields {
        Fields::new("a test", values.iter().map(|value| value.map(str::to_owned)).collect())
    }

    #[test]
    fn values_come_in_order_and_nothing_panics() {
        let mut fields = row(&[Some("7"), Some("t"), None, Some("1 -2"), Some("[\"a\", \"b\"]"), None]);
        assert_eq!(fields.parse::<u32>().unwrap(), 7);
        assert!(fields.flag().unwrap());
        assert!(!fields.flag().unwrap());
        assert_eq!(fields.vector::<i16>().unwrap(), [1, -2]);
        assert_eq!(fields.texts_optional().unwrap().unwrap(), ["a", "b"]);
        assert_eq!(fields.text().unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(fields.text().unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(row(&[Some("x")]).parse::<u32>().unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(row(&[Some("yes")]).flag().unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
