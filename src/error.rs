//! The one error type of the crate.

use std::fmt;

/// What went wrong, seen from what the caller can do about it. The kind decides the exit code and whether a piece of
/// work is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A flag, a setting or a combination of them is not usable.
    Usage,
    /// No session could be opened.
    Connect,
    /// A session was lost after it had been opened.
    Lost,
    /// The role lacks a privilege.
    Permission,
    /// The server cancelled the statement, mostly because we asked it to.
    Cancelled,
    /// A lock or statement deadline of ours passed.
    TimedOut,
    /// A relation, a column or another object is not (any longer) there, or changed its shape under us.
    Changed,
    /// The server or its data do not support what was asked.
    Unsupported,
    /// The server sent something that does not follow its protocol, or data that contradict themselves.
    Corrupt,
    /// A row came back outside of the key range that it was read for.
    OutsideChunk,
    /// Not as many rows came as the server counts in the same snapshot.
    Miscounted,
    /// Any other error of a server.
    Server,
    /// A file could not be read or written.
    Io,
    /// The run was asked to stop.
    Interrupted,
}

impl ErrorKind {
    /// A stable identifier, as it stands in the `code` of the JSON error document.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Connect => "cannot_connect",
            Self::Lost => "connection_lost",
            Self::Permission => "permission_denied",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::Changed => "changed_meanwhile",
            Self::Unsupported => "unsupported",
            Self::Corrupt => "corrupt_data",
            Self::OutsideChunk => "row_outside_chunk",
            Self::Miscounted => "rows_miscounted",
            Self::Server => "server_error",
            Self::Io => "file_error",
            Self::Interrupted => "interrupted",
        }
    }
}

/// An error: a kind, a message that names the object, optionally a hint that says what to do, and its cause.
///
/// Messages are lowercase fragments without a final period. They never hold a password or a row value.
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync + 'static>>,
}

/// A result whose error is [`struct@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error without hint or cause.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, source: None }
    }

    /// Adds what the user can do about it; replaces an earlier hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// Puts what was being done before the message: `context: message`.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// What can be done about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message without hint and causes.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " (hint: {hint})")?;
        }
        if let Some(source) = &self.source {
            write!(f, " (cause: {source})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
