//! Numbers that nobody else has.

use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

/// A number from 0 to 2^63 - 1 that differs from call to call, from process to process and from machine to machine.
///
/// Not a secret: it only must not meet another one by chance. The keys of [`RandomState`] come from the operating
/// system, and change with each instance.
pub(super) fn nonce() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos());
    let hash = RandomState::new().hash_one((now, std::process::id()));
    (hash >> 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_differ_and_are_not_negative() {
        let mut numbers: Vec<_> = (0..1000).map(|_| nonce()).collect();
        assert!(numbers.iter().all(|&number| number >= 0));
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 1000);
    }
}
