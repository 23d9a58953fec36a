//! Log lines on stderr.

use tracing_subscriber::EnvFilter;

use super::progress::Progress;
use crate::error::{Error, ErrorKind, Result};

/// A filter in the syntax of `tracing_subscriber::EnvFilter`; takes precedence over `-v`.
const VARIABLE: &str = "TRIPLECHECK_LOG";

/// Starts logging: warnings, and more with every `-v`. Only this crate's lines: those of others may quote statements.
///
/// # Errors
///
/// [`ErrorKind::Usage`] where `TRIPLECHECK_LOG` is no filter.
pub(crate) fn start(verbose: u8, progress: &Progress) -> Result<()> {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = match std::env::var(VARIABLE) {
        Ok(filter) if !filter.is_empty() => EnvFilter::try_new(&filter).map_err(|error| {
            Error::new(ErrorKind::Usage, format!("{VARIABLE} is not a log filter"))
                .with_source(error)
                .with_hint(format!("for instance {VARIABLE}=triplecheck=debug"))
        })?,
        _ => EnvFilter::new(format!("triplecheck={level}")),
    };
    let progress = progress.clone();
    // Fails where the process logs already, as in tests that run several commands: then those lines go where they went.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || progress.clone()).try_init();
    Ok(())
}
