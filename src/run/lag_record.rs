//! The record of `lag` across runs: one line of JSON a look, and what it proves. No I/O.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::outcome::SCHEMA_VERSION;
use crate::error::{Error, ErrorKind, Result};
use crate::lsn::Lsn;

/// Positions of the publisher that are remembered with their time; when there are more, every second one is forgotten.
const MARKS_MAX: usize = 512;

/// One look at one subscription, as a line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LagRecord {
    /// Version of the line: [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// When it was taken.
    pub at: Timestamp,
    /// What it is about; other lines of the file may be about others.
    #[serde(flatten)]
    pub about: RecordKey,
    /// The publisher's position.
    pub publisher_lsn: Lsn,
    /// The applied position; null where it is not known.
    pub applied_lsn: Option<Lsn>,
    /// The lag in bytes.
    pub lag_bytes: Option<u64>,
    /// Whether the lag has been zero since the look before.
    pub zero: bool,
}

/// What a record is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RecordKey {
    /// The publisher: its system identifier, else host and port.
    pub publisher: String,
    /// Its database.
    pub database: String,
    /// The slot.
    pub slot: String,
    /// The subscription.
    pub subscription: String,
}

impl LagRecord {
    /// The line, without its end.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] where serde cannot write it, which nothing in it makes it do.
    pub fn line(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| Error::new(ErrorKind::Io, "cannot write a line of the log").with_source(error))
    }
}

/// Since when the lag has been zero within every interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ZeroRecord {
    held: Option<(Timestamp, Timestamp)>,
}

impl ZeroRecord {
    /// The lag was zero at this moment. More than `within` after the last time, or before it, the record begins anew.
    pub(crate) fn zero_at(&mut self, at: Timestamp, within: Duration) {
        self.held = match self.held {
            Some((since, last)) if between(last, at).is_some_and(|gap| gap <= within) => Some((since, at)),
            _ => Some((at, at)),
        };
    }

    /// When it was last seen at zero.
    pub(crate) fn last(&self) -> Option<Timestamp> {
        self.held.map(|(_, last)| last)
    }

    /// Since when it has been zero within every interval up to now, and how long that is proven for.
    pub(crate) fn held(&self, now: Timestamp, within: Duration) -> Option<(Timestamp, Duration)> {
        let (since, last) = self.held?;
        between(last, now).filter(|&gap| gap <= within)?;
        Some((since, between(since, last)?))
    }
}

/// The time from one moment to another; `None` where the clock was set back.
fn between(earlier: Timestamp, later: Timestamp) -> Option<Duration> {
    Duration::try_from(later.duration_since(earlier)).ok()
}

/// When the publisher was where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Marks(VecDeque<(Timestamp, Lsn)>);

impl Marks {
    /// The publisher was at this position at this moment. A clock, or a position, that went back begins anew.
    pub(crate) fn push(&mut self, at: Timestamp, lsn: Lsn) {
        if self.0.back().is_some_and(|&(known, before)| at < known || lsn < before) {
            self.0.clear();
        }
        // The first one stays: it tells how long somebody has watched.
        let only = self.0.len() < 2;
        match self.0.back_mut() {
            Some((known, before)) if *before == lsn && !only => *known = at,
            _ => self.0.push_back((at, lsn)),
        }
        if self.0.len() > MARKS_MAX {
            let mut keep = false;
            self.0.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// How long ago the publisher wrote what follows `applied`, and whether that is a lower bound. `None` if nothing is
    /// remembered.
    pub(crate) fn behind(&self, now: Timestamp, applied: Lsn) -> Option<(Duration, bool)> {
        match self.0.iter().rev().find(|&&(_, lsn)| lsn <= applied) {
            Some(&(at, _)) => Some((between(at, now)?, false)),
            None => self.0.front().and_then(|&(at, _)| Some((between(at, now)?, true))),
        }
    }
}

/// What a log has told.
#[derive(Debug, Clone, Default)]
pub struct LagHistory {
    of: HashMap<RecordKey, (ZeroRecord, Marks)>,
}

impl LagHistory {
    /// Takes in a line of a log. `within` is the interval within which zero must be reached. False for a line that is none of
    /// ours or was cut off: it proves nothing.
    #[must_use]
    pub fn absorb(&mut self, line: &str, within: Duration) -> bool {
        let Ok(record) = serde_json::from_str::<LagRecord>(line) else { return false };
        if record.schema_version != SCHEMA_VERSION {
            return false;
        }
        let (zero, marks) = self.of.entry(record.about).or_default();
        if record.zero {
            zero.zero_at(record.at, within);
        }
        marks.push(record.at, record.publisher_lsn);
        true
    }

    /// Takes out what is known of one subscription.
    pub(crate) fn take(&mut self, key: &RecordKey) -> (ZeroRecord, Marks) {
        self.of.remove(key).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn zero_within_every_interval() {
        let mut zero = ZeroRecord::default();
        assert_eq!(zero.held(at(0), MINUTE), None);
        for second in [0, 30, 90, 150] {
            zero.zero_at(at(second), MINUTE);
        }
        assert_eq!(zero.held(at(160), MINUTE), Some((at(0), Duration::from_secs(150))));
        assert_eq!(zero.held(at(211), MINUTE), None);
        assert_eq!(zero.last(), Some(at(150)));
        // A minute and a second without: what was before does not count any longer.
        zero.zero_at(at(211), MINUTE);
        assert_eq!(zero.held(at(211), MINUTE), Some((at(211), Duration::ZERO)));
        // Neither does it after the clock went back.
        zero.zero_at(at(200), MINUTE);
        assert_eq!(zero.held(at(210), MINUTE), Some((at(200), Duration::ZERO)));
    }

    #[test]
    fn how_long_ago_something_was_written() {
        let mut marks = Marks::default();
        assert_eq!(marks.behind(at(9), Lsn(1)), None);
        for (second, lsn) in [(0, 100), (10, 200), (20, 200), (30, 200), (40, 300)] {
            marks.push(at(second), Lsn(lsn));
        }
        let behind = |applied| marks.behind(at(50), Lsn(applied)).map(|(time, bound)| (time.as_secs(), bound));
        assert_eq!(behind(300), Some((10, false)));
        // Where it stood at 200 until second 30, what follows was written later.
        assert_eq!(behind(250), Some((20, false)));
        assert_eq!(behind(150), Some((50, false)));
        assert_eq!(behind(50), Some((50, true)));
        for second in 0..2_000 {
            marks.push(at(100 + second), Lsn(1_000 + u64::try_from(second).unwrap()));
        }
        assert!(marks.0.len() <= MARKS_MAX);
        let (late, bound) = marks.behind(at(2_100), Lsn(1_500)).unwrap();
        assert!(!bound && (1_500..1_620).contains(&late.as_secs()), "{late:?}");
        marks.push(at(2_000), Lsn(1));
        assert_eq!(marks.0.len(), 1);
    }

    #[test]
    fn a_log_is_read_back_and_others_are_told_apart() {
        let key = |slot: &str| RecordKey {
            publisher: "7400000000000000001".into(),
            database: "shop".into(),
            slot: slot.into(),
            subscription: "s".into(),
        };
        let record = |second, slot: &str, zero| LagRecord {
            schema_version: SCHEMA_VERSION,
            at: at(second),
            about: key(slot),
            publisher_lsn: Lsn(100),
            applied_lsn: Some(Lsn(100)),
            lag_bytes: Some(0),
            zero,
        };
        insta::assert_snapshot!(record(0, "a", true).line().unwrap(), @r#"
        {"schema_version":1,"at":"2027-01-15T08:00:00Z","publisher":"7400000000000000001","database":"shop","slot":"a","subscription":"s","publisher_lsn":"0/64","applied_lsn":"0/64","lag_bytes":0,"zero":true}
        "#);
        let mut history = LagHistory::default();
        for (second, slot, zero) in
            [(0, "a", true), (30, "b", true), (60, "a", true), (100, "a", false), (120, "a", true)]
        {
            assert!(history.absorb(&record(second, slot, zero).line().unwrap(), MINUTE));
        }
        for line in ["", "{}", "{\"schema_version\":1,\"at\":\"20", "null", "root:x:0:0"] {
            assert!(!history.absorb(line, MINUTE), "{line}");
        }
        let other = record(0, "a", true).line().unwrap().replace("\"schema_version\":1", "\"schema_version\":2");
        assert!(!history.absorb(&other, MINUTE));
        let (zero, marks) = history.take(&key("a"));
        assert_eq!(zero.held(at(130), MINUTE), Some((at(0), Duration::from_secs(120))));
        assert_eq!(marks.behind(at(130), Lsn(100)).unwrap().0, Duration::from_secs(10));
        assert_eq!(history.take(&key("c")).0, ZeroRecord::default());
    }
}
