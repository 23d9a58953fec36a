//! Table patterns as pg_dump reads them.

/// A pattern of table names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePattern {}
