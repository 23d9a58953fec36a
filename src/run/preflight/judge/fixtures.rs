//! A healthy pair, for tests to break.
