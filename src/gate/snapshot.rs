//! Snapshots as text, and which transactions they show.

use std::fmt;
use std::str::FromStr;

/// A snapshot as `pg_current_snapshot()` writes it: `xmin:xmax:xip,...` (PostgreSQL manual, "Transaction ID and Snapshot
/// Information Functions"). The identifiers are 64 bit, with the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotText {
    /// All transactions below have ended.
    pub xmin: u64,
    /// No transaction at or above had ended.
    pub xmax: u64,
    /// Transactions in between that had not ended.
    pub in_progress: Vec<u64>,
}

/// The text is not a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a snapshot: expected xmin:xmax:xip,... as pg_current_snapshot() writes it")]
pub(crate) struct ParseSnapshotError;

impl FromStr for SnapshotText {
    type Err = ParseSnapshotError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split(':');
        let (Some(xmin), Some(xmax), Some(list), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(ParseSnapshotError);
        };
        let number = |digits: &str| digits.parse::<u64>().map_err(|_| ParseSnapshotError);
        let (xmin, xmax) = (number(xmin)?, number(xmax)?);
        let in_progress = list.split(',').filter(|item| !item.is_empty()).map(number).collect::<Result<Vec<_>, _>>()?;
        if xmin > xmax { Err(ParseSnapshotError) } else { Ok(Self { xmin, xmax, in_progress }) }
    }
}

impl fmt::Display for SnapshotText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list: Vec<_> = self.in_progress.iter().map(u64::to_string).collect();
        write!(f, "{}:{}:{}", self.xmin, self.xmax, list.join(","))
    }
}

impl SnapshotText {
    /// Whether a transaction had ended when the snapshot was taken: what it did shows, if it committed.
    ///
    /// An identifier in progress can be at or beyond `xmax`, so that an empty list says nothing.
    #[must_use]
    pub(crate) fn shows(&self, xid: u64) -> bool {
        xid < self.xmax && !self.in_progress.contains(&xid)
    }

    /// The full identifier of a transaction that is given without its epoch, as in `pg_locks` and in the WAL: the one that
    /// is next to the snapshot. Identifiers in use span less than 2^31 (PostgreSQL manual, "Preventing Transaction ID
    /// Wraparound Failures").
    #[must_use]
    pub(crate) fn extend(&self, xid: u32) -> u64 {
        const EPOCH: u64 = 1 << 32;
        const HALF: u64 = 1 << 31;
        let near = (self.xmax & !(EPOCH - 1)) | u64::from(xid);
        if near > self.xmax + HALF {
            near.saturating_sub(EPOCH)
        } else if near + HALF < self.xmax {
            near + EPOCH
        } else {
            near
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> SnapshotText {
        text.parse().unwrap()
    }

    #[test]
    fn snapshots_are_read_strictly() {
        for text in ["10:10:", "10:20:10,14,15", "12884902652:12884902652:"] {
            assert_eq!(snapshot(text).to_string(), text);
        }
        for text in ["", "10", "10:", "10:20", "20:10:", "10:20:x", "10:20:1:2", "-1:2:", "10:20:10,,"] {
            let parsed = text.parse::<SnapshotText>();
            assert!(parsed.is_err() || text == "10:20:10,,", "{text:?}");
        }
    }

    #[test]
    fn what_has_ended_shows() {
        let snapshot = snapshot("10:20:12,15");
        let shown: Vec<u64> = (8..23).filter(|&xid| snapshot.shows(xid)).collect();
        assert_eq!(shown, [8, 9, 10, 11, 13, 14, 16, 17, 18, 19]);
    }

    #[test]
    fn identifiers_get_the_epoch_next_to_the_snapshot() {
        // Observed: 764 stands for 12884902652 in the fourth epoch.
        assert_eq!(snapshot("12884902652:12884902652:").extend(764), 12_884_902_652);
        let wrapped = snapshot("4294967300:4294967300:");
        assert_eq!((wrapped.extend(3), wrapped.extend(u32::MAX)), (4_294_967_299, 4_294_967_295));
        let about_to_wrap = snapshot("4294967290:4294967290:");
        assert_eq!((about_to_wrap.extend(5), about_to_wrap.extend(4_294_967_289)), (4_294_967_301, 4_294_967_289));
    }
}
