//! Real PostgreSQL servers for tests.
