//! triplecheck.
fn main() {}
