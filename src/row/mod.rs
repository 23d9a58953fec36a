//! Rows as bytes.
