//! The JSON documents: an outcome exactly as serde shapes it, and the error document.

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::run::{Outcome, SCHEMA_VERSION};

/// Any of our documents (an [`Outcome`], a [`PlanOutcome`](crate::run::PlanOutcome)) as indented JSON with a final newline.
///
/// # Errors
///
/// [`ErrorKind::Io`] where serde cannot write it, which none of our types makes it do.
pub fn render<T: Serialize>(document: &T) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(document)
        .map_err(|error| Error::new(ErrorKind::Io, "cannot write the JSON document").with_source(error))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads an outcome back. Fields that a later version added are passed over.
///
/// # Errors
///
/// [`ErrorKind::Unsupported`] for another `schema_version`; [`ErrorKind::Corrupt`] for anything that is not an outcome. The
/// message names the place, never the text there, which may be a row value.
pub fn parse(document: &[u8]) -> Result<Outcome> {
    #[derive(Deserialize)]
    struct Version {
        schema_version: u32,
    }
    let corrupt = |error: &serde_json::Error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        Error::new(ErrorKind::Corrupt, format!("not a triplecheck report: the JSON makes no sense at {place}"))
    };
    let Version { schema_version } = serde_json::from_slice(document).map_err(|error| corrupt(&error))?;
    if schema_version != SCHEMA_VERSION {
        let message = format!("the report has schema_version {schema_version}, this program reads {SCHEMA_VERSION}");
        return Err(Error::new(ErrorKind::Unsupported, message).with_hint("use the triplecheck that wrote the report"));
    }
    serde_json::from_slice(document).map_err(|error| corrupt(&error))
}

/// What stdout gets in place of an outcome where no verdict was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDocument {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// What went wrong.
    pub error: ErrorBody,
}

/// The error in an [`ErrorDocument`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// [`ErrorKind::code`].
    pub code: String,
    /// The message, with its causes.
    pub message: String,
    /// What can be done about it.
    pub hint: Option<String>,
}

impl From<&Error> for ErrorDocument {
    fn from(error: &Error) -> Self {
        let mut message = error.message().to_owned();
        for cause in causes(error) {
            message.push_str(": ");
            message.push_str(&cause);
        }
        let body = ErrorBody { code: error.kind().code().to_owned(), message, hint: error.hint().map(str::to_owned) };
        Self { schema_version: SCHEMA_VERSION, error: body }
    }
}

/// The causes of an error, from the nearest to the root, without those that the line before already quotes.
pub(crate) fn causes(error: &Error) -> Vec<String> {
    let mut causes = Vec::new();
    let mut said = error.message().to_owned();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let text = cause.to_string();
        if !said.contains(&text) {
            causes.push(text.clone());
            said = text;
        }
        next = cause.source();
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::FINDINGS;
    use crate::report::{fixtures, fixtures_ops};
    use crate::run::{CAUSES, TABLE_CAUSES};

    #[test]
    fn every_outcome_goes_there_and_back() {
        for outcome in fixtures::all() {
            let document = render(&outcome).unwrap();
            assert_eq!(parse(&document).unwrap(), outcome);
            assert!(document.ends_with(b"}\n"));
        }
    }

    /// What is shown to people is what they will find.
    #[test]
    fn the_fixtures_use_codes_that_exist() {
        fn assert_known<'a>(codes: impl Iterator<Item = &'a String>, table: &[(&str, &str)]) {
            for code in codes {
                assert!(table.iter().any(|(known, _)| known == code), "{code}");
            }
        }
        for outcome in fixtures::all() {
            assert_known(outcome.findings.iter().map(|finding| &finding.code), FINDINGS);
            let causes = outcome.tables.iter().flat_map(|table| &table.causes);
            assert_known(causes.map(|cause| &cause.code), TABLE_CAUSES);
        }
        for outcome in [fixtures_ops::lag(), fixtures_ops::lag_stalled()] {
            let causes = outcome.subscriptions.iter().flat_map(|lag| &lag.causes).chain(&outcome.causes);
            assert_known(causes.map(|cause| &cause.code), CAUSES);
        }
        assert_known(fixtures_ops::sequences().findings.iter().map(|finding| &finding.code), FINDINGS);
    }

    #[test]
    fn the_documented_document() {
        let mut outcome = fixtures::different();
        outcome.tables.retain(|table| table.name == "orders");
        outcome.findings.truncate(1);
        outcome.excluded.truncate(1);
        outcome.settings.insert("exclude_table".to_owned(), serde_json::json!(outcome.excluded));
        if let Some(rows) = &mut outcome.tables[0].checks.rows {
            // Those without values, which stand in a report only if asked for.
            rows.samples.retain(|sample| sample.publisher.is_none());
        }
        let document = String::from_utf8(render(&outcome).unwrap()).unwrap();
        fixtures_ops::assert_documented("verify", &document);
    }

    #[test]
    fn other_documents_are_refused_without_quoting_them() {
        assert_eq!(parse(b"{\"schema_version\": 2}").unwrap_err().kind(), ErrorKind::Unsupported);
        for document in ["", "null", "[]", "{}", "{\"schema_version\":1}", "{\"schema_version\":\"s3cret\"}", "\u{1}"] {
            let error = parse(document.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{document:?}");
            assert!(!error.message().contains("s3cret"));
        }
        let mut cut = render(&fixtures::different()).unwrap();
        cut.truncate(cut.len() / 2);
        assert_eq!(parse(&cut).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn the_error_document_tells_code_causes_and_hint() {
        let cause = std::io::Error::other("connection refused");
        let error = Error::new(ErrorKind::Connect, "cannot connect to the publisher")
            .with_source(cause)
            .with_hint("is the server running?");
        insta::assert_snapshot!(String::from_utf8(render(&ErrorDocument::from(&error)).unwrap()).unwrap(), @r#"
        {
          "schema_version": 1,
          "error": {
            "code": "cannot_connect",
            "message": "cannot connect to the publisher: connection refused",
            "hint": "is the server running?"
          }
        }
        "#);
    }
}
