//! Positions in the write-ahead log.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Size of a WAL page in bytes on every build that we have met (`XLOG_BLCKSZ`, src/include/pg_config.h).
const WAL_PAGE_BYTES: u64 = 8192;
/// Bytes of the header of an ordinary WAL page (`SizeOfXLogShortPHD`, access/xlog_internal.h).
const WAL_PAGE_HEADER_BYTES: u64 = 24;
/// Bytes of the header of the first page of a WAL segment (`SizeOfXLogLongPHD`, access/xlog_internal.h).
const WAL_SEGMENT_HEADER_BYTES: u64 = 40;

/// A log sequence number: a byte position in the write-ahead log of one server (PostgreSQL manual, "pg_lsn Type").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The position without a page or segment header that nothing follows yet.
    ///
    /// `pg_current_wal_insert_lsn()` counts the header of a page that it has only just entered, so it can stand 24 or 40
    /// bytes ahead of anything that was written; a replica never confirms such a position.
    #[must_use]
    pub fn normalized(self, wal_segment_bytes: u64) -> Self {
        if wal_segment_bytes > 0 && self.0 % wal_segment_bytes == WAL_SEGMENT_HEADER_BYTES {
            Self(self.0 - WAL_SEGMENT_HEADER_BYTES)
        } else if self.0 % WAL_PAGE_BYTES == WAL_PAGE_HEADER_BYTES {
            Self(self.0 - WAL_PAGE_HEADER_BYTES)
        } else {
            self
        }
    }

    /// Bytes from `earlier` to this position; zero if `earlier` is not earlier.
    #[must_use]
    pub fn bytes_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

/// The text is not of the form `16/B374D848`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a WAL position: expected two hexadecimal numbers as in 16/B374D848")]
pub struct ParseLsnError;

impl FromStr for Lsn {
    type Err = ParseLsnError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let half = |digits: &str| {
            let plain = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
            if plain { u64::from_str_radix(digits, 16).map_err(|_| ParseLsnError) } else { Err(ParseLsnError) }
        };
        let (high, low) = text.split_once('/').ok_or(ParseLsnError)?;
        Ok(Self(half(high)? << 32 | half(low)?))
    }
}

impl Serialize for Lsn {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lsn {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: u64 = 16 << 20;

    #[test]
    fn text_goes_there_and_back() {
        for text in ["0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF", "0/16B3748"] {
            assert_eq!(text.parse::<Lsn>().unwrap().to_string(), text);
        }
        for text in ["", "/", "1", "1/", "/1", "1/+2", "1/123456789", "g/0", "1/2/3", " 1/2"] {
            assert_eq!(text.parse::<Lsn>(), Err(ParseLsnError), "{text:?}");
        }
    }

    #[test]
    fn a_bare_header_is_not_a_position() {
        assert_eq!(Lsn(SEGMENT + 40).normalized(SEGMENT), Lsn(SEGMENT));
        assert_eq!(Lsn(SEGMENT + 8192 + 24).normalized(SEGMENT), Lsn(SEGMENT + 8192));
        assert_eq!(Lsn(SEGMENT + 64).normalized(SEGMENT), Lsn(SEGMENT + 64));
        // 24 bytes into a segment is inside of its long header: no record can end there, and nothing is taken off twice.
        assert_eq!(Lsn(0).normalized(SEGMENT), Lsn(0));
    }
}
