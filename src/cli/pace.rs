//! How far a run is, how fast it goes and when it will be done: figures from events, without a clock or a screen.

use std::time::{Duration, Instant};

use crate::report::figures::{bytes, count, duration, per_second, percent};
use crate::run::Event;

/// Before this much time has passed a rate says nothing about the time that is left.
const ETA_AFTER: Duration = Duration::from_secs(2);

/// What is known of the reading so far.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    rows: u64,
    bytes: u64,
    /// Rows that will have been read at the end, by estimate.
    expected: u64,
    tables: usize,
    tables_done: usize,
    /// Where the present sync point began. Rates leave out the time in which nothing could be read.
    began: Option<Mark>,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Instant,
    rows: u64,
    bytes: u64,
}

impl Pace {
    /// Takes an event into account.
    pub(crate) fn absorb(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Catalogued { tables, .. } => self.tables = *tables,
            Event::Planned { rows, .. } => {
                self.expected = self.rows.saturating_add(*rows);
                self.began = Some(Mark { at: now, rows: self.rows, bytes: self.bytes });
            }
            Event::Read { rows, bytes, .. } => {
                self.rows = self.rows.saturating_add(*rows);
                self.bytes = self.bytes.saturating_add(*bytes);
            }
            Event::TableDone { .. } => self.tables_done += 1,
            _ => {}
        }
    }

    /// Rows read and rows expected; the second is never less than the first.
    pub(crate) fn position(&self) -> (u64, u64) {
        (self.rows, self.expected.max(self.rows))
    }

    /// Whether reading has begun.
    pub(crate) fn reading(&self) -> bool {
        self.began.is_some()
    }

    /// One line: share, rows, rates, tables, time left.
    pub(crate) fn line(&self, now: Instant) -> String {
        let mut parts = Vec::new();
        let (rows, expected) = self.position();
        // At or beyond an estimate nobody knows what is left.
        if rows < expected {
            if let Some(percent) = percent(rows, expected) {
                parts.push(format!("{percent} %"));
            }
            parts.push(format!("{} of about {} rows", count(rows), count(expected)));
        } else {
            parts.push(format!("{} rows", count(rows)));
        }
        if let Some(began) = self.began {
            let time = now.saturating_duration_since(began.at);
            let speed = per_second(rows.saturating_sub(began.rows), time);
            if let (Some(speed), Some(volume)) = (speed, per_second(self.bytes.saturating_sub(began.bytes), time)) {
                parts.push(format!("{} rows/s", count(speed)));
                parts.push(format!("{}/s", bytes(volume)));
                if let Some(left) = expected.saturating_sub(rows).checked_div(speed)
                    && left > 0
                    && time >= ETA_AFTER
                {
                    parts.push(format!("about {} left", duration(Duration::from_secs(left))));
                }
            }
        }
        if self.tables > 0 {
            parts.push(format!("{} of {} tables done", self.tables_done, self.tables));
        }
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::side::Side;
    use crate::verdict::Verdict;

    fn read(rows: u64) -> Event {
        Event::Read { side: Side::Publisher, rows, bytes: rows * 100 }
    }

    #[test]
    fn rates_and_time_left() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::default();
        pace.absorb(&Event::Catalogued { tables: 3, findings: vec![] }, start);
        assert!(!pace.reading());
        pace.absorb(&Event::Planned { tables: 3, rows: 10_000, bytes: 0 }, start);
        pace.absorb(&read(1_000), after(1));
        assert_eq!(
            pace.line(after(1)),
            "10 %, 1,000 of about 10,000 rows, 1,000 rows/s, 100.0 kB/s, 0 of 3 tables done"
        );
        pace.absorb(&read(3_000), after(4));
        let done = Event::TableDone { table: "a".into(), verdict: Verdict::Match, summary: String::new() };
        pace.absorb(&done, after(4));
        assert_eq!(
            pace.line(after(4)),
            "40 %, 4,000 of about 10,000 rows, 1,000 rows/s, 100.0 kB/s, about 6.0 s left, 1 of 3 tables done"
        );
        // More rows than estimated: no share, no promise.
        pace.absorb(&read(6_000), after(5));
        assert_eq!(pace.line(after(5)), "10,000 rows, 2,000 rows/s, 200.0 kB/s, 1 of 3 tables done");
        assert_eq!(pace.position(), (10_000, 10_000));
        // The next sync point: what is left of the tables, and a rate of its own.
        pace.absorb(&Event::Planned { tables: 2, rows: 10_000, bytes: 0 }, after(100));
        pace.absorb(&read(5_000), after(105));
        assert_eq!(
            pace.line(after(105)),
            "75 %, 15,000 of about 20,000 rows, 1,000 rows/s, 100.0 kB/s, about 5.0 s left, 1 of 3 tables done"
        );
    }

    #[test]
    fn odd_figures_do_no_harm() {
        let now = Instant::now();
        let mut pace = Pace::default();
        pace.absorb(&Event::Planned { tables: 0, rows: u64::MAX, bytes: 0 }, now);
        pace.absorb(&Event::Read { side: Side::Subscriber, rows: u64::MAX, bytes: u64::MAX }, now);
        pace.absorb(&read(1), now);
        assert_eq!(pace.line(now), "18,446,744,073,709,551,615 rows");
    }
}
