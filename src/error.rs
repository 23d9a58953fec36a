//! The one error type of the crate.

use std::fmt;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal,)+) => {
        /// What went wrong, seen from what the caller can do about it. The kind decides the exit code and whether a piece of
        /// work is tried again.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $($(#[doc = $doc])+ $name,)+
        }

        impl ErrorKind {
            /// Every kind there is, in the order of the catalogue in the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// A stable identifier, as it stands in the `code` of the JSON error document.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// What it means, in one sentence.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii_start(),)+ }
            }
        }
    };
}

kinds! {
    /// A flag, a setting or a combination of them is not usable.
    Usage = "usage",
    /// No session could be opened.
    Connect = "cannot_connect",
    /// A session was lost after it had been opened.
    Lost = "connection_lost",
    /// The role lacks a privilege.
    Permission = "permission_denied",
    /// The server cancelled the statement, mostly because we asked it to.
    Cancelled = "cancelled",
    /// A lock or statement deadline of ours passed.
    TimedOut = "timed_out",
    /// A relation, a column or another object is not (any longer) there, or changed its shape under us.
    Changed = "changed_meanwhile",
    /// The server or its data do not support what was asked.
    Unsupported = "unsupported",
    /// The server sent something that does not follow its protocol, or data that contradict themselves.
    Corrupt = "corrupt_data",
    /// A row came back outside of the key range that it was read for.
    OutsideChunk = "row_outside_chunk",
    /// Not as many rows came as the server counts in the same snapshot.
    Miscounted = "rows_miscounted",
    /// Any other error of a server.
    Server = "server_error",
    /// A file could not be read or written.
    Io = "file_error",
    /// The run was asked to stop.
    Interrupted = "interrupted",
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

    /// What went wrong.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_stable_and_explained() {
        let mut codes: Vec<_> = ErrorKind::ALL.iter().map(|kind| kind.code()).collect();
        assert!(codes.iter().all(|code| code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
        assert!(ErrorKind::ALL.iter().all(|kind| kind.meaning().ends_with('.')));
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ErrorKind::ALL.len());
    }
}
