//! The configuration file: TOML text becomes [`RawSettings`].

use std::path::Path;

use super::raw::RawSettings;
use crate::error::{Error, ErrorKind, Result};

impl RawSettings {
    /// Reads the text of a configuration file: the long names of the flags as keys. `path` is for messages only.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] with the place, if the text is not TOML, a key is not known, or a value has the wrong type.
    pub fn from_toml(text: &str, path: &Path) -> Result<Self> {
        toml::from_str(text).map_err(|error| {
            // Not the error's own display: that repeats the line, which may hold a password.
            let place = match error.span() {
                Some(span) => {
                    let (line, column) = position(text, span.start);
                    format!("{}, line {line}, column {column}", path.display())
                }
                None => path.display().to_string(),
            };
            Error::new(ErrorKind::Usage, format!("{place}: {}", describe(error.message())))
        })
    }
}

/// Line and column of a byte, both from 1.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|&character| character != '\n').count() + 1;
    (line, column)
}

/// What is wrong, without a value: serde repeats a text that stands in the wrong place.
fn describe(message: &str) -> String {
    match message.split_once(", expected ") {
        Some((found, expected)) if found.contains("string \"") => format!("invalid value: expected {expected}"),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RawSettings> {
        RawSettings::from_toml(text, Path::new("nightly.toml"))
    }

    #[test]
    fn all_keys() {
        let settings = read(
            r#"
            publisher = "host=old dbname=shop"
            subscriber = "host=new dbname=shop"
            password-command = "token"
            subscription = ["shop_sub"]
            table = ["public.*"]
            exclude-table = ["*_log"]
            scope = "published"
            checks = ["count", "rows"]
            jobs = 8
            chunk-rows = 100000
            scan = "digest"
            gate = "none"
            lag-timeout = "90s"
            snapshot-age-max = "1h"
            samples = 5
            show-values = true
            wal-interval = "10s"
            long-transaction = "1m"
            retained = "1GB"
            "#,
        )
        .unwrap();
        assert_eq!(settings.publisher.as_deref(), Some("host=old dbname=shop"));
        assert_eq!(settings.password_command.as_deref(), Some("token"));
        assert_eq!(settings.exclude_table, Some(vec!["*_log".to_owned()]));
        assert_eq!((settings.jobs, settings.chunk_rows, settings.samples), (Some(8), Some(100_000), Some(5)));
        assert_eq!(settings.snapshot_age_max.as_deref(), Some("1h"));
        assert_eq!(settings.scan.as_deref(), Some("digest"));
        assert_eq!(settings.show_values, Some(true));
        assert_eq!((settings.wal_interval.as_deref(), settings.long_transaction.as_deref()), (Some("10s"), Some("1m")));
        assert_eq!(settings.retained.as_deref(), Some("1GB"));
        assert_eq!(read("").unwrap(), RawSettings::default());
    }

    #[test]
    fn the_readme_names_every_key() {
        let error = read("nothing = 1").unwrap_err();
        let keys: Vec<_> = error.message().split('`').skip(1).step_by(2).filter(|key| *key != "nothing").collect();
        assert!(keys.len() > 10 && keys.contains(&"snapshot-age-max"), "{error}");
        let readme = include_str!("../../README.md").split_once("the keys are ").expect("the list").1;
        let readme = readme.split_once("Any other is an error").expect("its end").0;
        let named: Vec<_> = readme.split('`').skip(1).step_by(2).collect();
        assert_eq!(named, keys);
    }

    #[test]
    fn mistakes_are_placed_and_secrets_are_not_repeated() {
        let cases = [
            ("job = 8", "nightly.toml, line 1, column 1: unknown field `job`"),
            ("\nchunk_rows = 8", "nightly.toml, line 2, column 1: unknown field `chunk_rows`"),
            ("jobs = -1", "nightly.toml, line 1, column 8: "),
            ("jobs = \"postgres://u:sesame@h\"", "column 8: invalid value: expected u64"),
            ("table = \"sesame, expected x\"", "expected a sequence"),
            ("publisher = \"password=sesame", "line 1, column"),
            ("publisher = password=sesame", "line 1, column"),
            ("publisher = [\"sesame\"]", "invalid type: sequence, expected a string"),
        ];
        for (text, expected) in cases {
            let error = read(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.message().contains(expected), "{text}: {error}");
            assert!(!format!("{error:?}").contains("sesame"), "{text}: {error:?}");
        }
    }
}
