//! triplecheck.
