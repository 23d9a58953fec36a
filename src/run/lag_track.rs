//! From looks to rates, an outlook and the motion that explains causes. No I/O.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::lag_outcome::{LagLevel, Outlook, SubscriptionLag, ZeroLag};
use super::lag_record::{Marks, ZeroRecord};
use crate::config::LagThresholds;
use crate::gate::diagnosis::{self, Motion};
use crate::gate::health::{FeedHealth, Health, Slot, SlotHealth};
use crate::lsn::Lsn;

/// Over how long rates are measured: long enough for a checkpoint's burst not to be all there is.
const RATE_WINDOW: Duration = Duration::from_secs(60);
/// For how long a worker that applies one transaction after the other may owe the publisher a word of it: it confirms when
/// it runs out of messages, or when it is asked to, after half of `wal_sender_timeout` (`LogicalRepApplyLoop` in worker.c,
/// `WalSndKeepaliveIfNecessary` in walsender.c; 60 s by default).
const CONFIRMS_WITHIN: Duration = Duration::from_secs(60);
/// Looks that are remembered within it.
const POINTS_MAX: usize = 128;

/// A moment by two clocks: one that never goes back, and the one that people read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) instant: Instant,
    pub(crate) clock: Timestamp,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self { instant: Instant::now(), clock: Timestamp::now() }
    }
}

/// What is remembered of a look at a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Point {
    at: Instant,
    insert: Lsn,
    applied: Option<Lsn>,
    confirmed: Option<Lsn>,
    /// What the worker has taken in. It applies a message before it takes the next one.
    received: Option<Lsn>,
    spilled: Option<u64>,
    errors: Option<u64>,
}

/// What is known of one subscription over time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Track {
    points: VecDeque<Point>,
    pub(crate) zero: ZeroRecord,
    pub(crate) marks: Marks,
    /// The lag was zero since the last look.
    zero_seen: bool,
    /// Where the flushed position stands, since when, and how far it could have come by then.
    stands: Option<(Option<Lsn>, Instant, Lsn)>,
    /// The worker's transaction, and since when it is known.
    transaction: Option<(i32, String, Instant)>,
}

/// Bytes a second between two positions.
fn rate(from: Lsn, to: Lsn, time: Duration) -> Option<u64> {
    let bytes = u128::from(to.bytes_since(from)) * 1000;
    u64::try_from(bytes.checked_div(time.as_millis())?).ok()
}

impl Track {
    pub(crate) fn new(zero: ZeroRecord, marks: Marks) -> Self {
        Self { zero, marks, ..Self::default() }
    }

    /// Takes in positions that were read in this order. True if the lag was zero.
    pub(crate) fn probe(&mut self, at: Moment, insert: Lsn, applied: Option<Lsn>, within: Duration) -> bool {
        self.marks.push(at.clock, insert);
        let zero = applied.is_some_and(|applied| applied >= insert);
        if zero {
            self.zero.zero_at(at.clock, within);
            self.zero_seen = true;
        }
        zero
    }

    /// Takes in a look.
    pub(crate) fn look(
        &mut self,
        at: Moment,
        health: &Health,
        feed: &FeedHealth,
        thresholds: &LagThresholds,
    ) -> SubscriptionLag {
        let none = SlotHealth::default();
        let slot = match &feed.slot {
            Slot::There(slot) => slot,
            Slot::Missing { .. } => &none,
        };
        let within = Duration::from_millis(thresholds.zero_within_ms);
        self.probe(at, health.insert, slot.applied(), within);
        let subscription = feed.subscription.as_ref();
        let point = Point {
            at: at.instant,
            insert: health.insert,
            applied: slot.applied(),
            confirmed: slot.confirmed,
            received: subscription.and_then(|subscription| subscription.worker.as_ref()?.received),
            spilled: slot.spilled_bytes,
            errors: subscription.and_then(|subscription| subscription.apply_errors),
        };
        let before = self.points.back().and_then(|before| before.received);
        let first = self.remember(point);
        let measured = point.at.duration_since(first.at);
        let in_transaction = self.in_transaction(at.instant, feed);
        let (still, moves) = match self.stillness(at.instant, slot.confirmed, health.flushed) {
            // It does apply, and has not confirmed it yet.
            (Some(still), _)
                if still <= CONFIRMS_WITHIN
                    && in_transaction.is_none()
                    && before.zip(point.received).is_some_and(|(before, now)| now > before) =>
            {
                (None, None)
            }
            known => known,
        };
        let lag_bytes = diagnosis::lag(health, feed);
        let outlook = outlook(&first, &point, lag_bytes, still.is_some(), thresholds);
        let flushed_bytes_per_second =
            first.confirmed.zip(slot.confirmed).and_then(|(from, to)| rate(from, to, measured));
        let written = rate(first.insert, point.insert, measured);
        let motion = Motion {
            watched: !measured.is_zero(),
            still,
            in_transaction,
            new_errors: first.errors.zip(point.errors).is_some_and(|(before, now)| now > before),
            newly_spilled: first.spilled.zip(point.spilled).map_or(0, |(before, now)| now.saturating_sub(before)),
            falling_behind: match outlook {
                Outlook::FallingBehind { .. } => written.zip(flushed_bytes_per_second),
                _ => None,
            },
        };
        let behind = match (lag_bytes, slot.applied()) {
            (Some(0), _) => Some((Duration::ZERO, false)),
            (Some(_), Some(applied)) => self.marks.behind(at.clock, applied),
            _ => None,
        };
        let retained_bytes = slot.restart.map(|restart| health.insert.bytes_since(restart));
        let held = self.zero.held(at.clock, within);
        SubscriptionLag {
            subscription: feed.feed.name.clone(),
            slot: feed.feed.slot.clone(),
            level: LagLevel::of(lag_bytes, thresholds),
            enabled: subscription.map(|subscription| subscription.enabled),
            received_lsn: point.received,
            sent_lsn: slot.sent,
            flushed_lsn: slot.confirmed,
            applied_lsn: slot.applied(),
            lag_bytes,
            behind_ms: behind.map(|(time, _)| milliseconds(time)),
            behind_at_least: behind.is_some_and(|(_, bound)| bound),
            flushed_bytes_per_second,
            flushed_moves: moves,
            outlook,
            retained_bytes,
            retained_alarm: retained_bytes.is_some_and(|retained| retained >= thresholds.retained_bytes),
            wal_status: slot.wal_status.clone(),
            safe_wal_bytes: slot.safe_wal_bytes,
            zero: ZeroLag {
                reached: std::mem::take(&mut self.zero_seen),
                last_at: self.zero.last().map(|last| last.to_string()),
                since: held.map(|(since, _)| since.to_string()),
                held_ms: held.map(|(_, time)| milliseconds(time)),
            },
            causes: diagnosis::of_feed(health, feed, &motion),
        }
    }

    /// Remembers a look, and returns the oldest one of the window.
    fn remember(&mut self, point: Point) -> Point {
        self.points.push_back(point);
        while self.points.len() > POINTS_MAX
            || self.points.get(1).is_some_and(|second| point.at.duration_since(second.at) >= RATE_WINDOW)
        {
            self.points.pop_front();
        }
        self.points.front().copied().unwrap_or(point)
    }

    /// For how long the flushed position stands although there was more to flush, and whether it moves; neither is known
    /// at the first look, nor while there is nothing to flush.
    fn stillness(&mut self, now: Instant, confirmed: Option<Lsn>, flushed: Lsn) -> (Option<Duration>, Option<bool>) {
        match self.stands {
            Some((stood, since, could)) if stood == confirmed => {
                if confirmed.is_some_and(|confirmed| confirmed >= could) {
                    // It had nothing to flush: what there is now, it may flush until the next look.
                    self.stands = Some((confirmed, now, flushed));
                    return (None, None);
                }
                (Some(now.duration_since(since)), Some(false))
            }
            other => {
                self.stands = Some((confirmed, now, flushed));
                (None, other.map(|_| true))
            }
        }
    }

    /// For how long the worker has been in the transaction that it is in.
    fn in_transaction(&mut self, now: Instant, feed: &FeedHealth) -> Option<Duration> {
        let worker = feed.subscription.as_ref().and_then(|subscription| subscription.worker.as_ref());
        let current = worker.and_then(|worker| Some((worker.pid, worker.transaction.clone()?)));
        self.transaction = match (current, self.transaction.take()) {
            (Some((pid, xid)), Some((known, before, since))) if (pid, &xid) == (known, &before) => {
                Some((pid, xid, since))
            }
            (Some((pid, xid)), _) => Some((pid, xid, now)),
            (None, _) => None,
        };
        let since = self.transaction.as_ref().map(|(_, _, since)| *since)?;
        Some(now.duration_since(since)).filter(|time| !time.is_zero())
    }
}

pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// WAL written between the oldest look that is remembered of any subscription and the newest, and how long that took.
pub(crate) fn written(tracks: &[Track]) -> (Option<u64>, Duration) {
    let of = |track: &Track| {
        let (first, last) = (track.points.front()?, track.points.back()?);
        let time = last.at.duration_since(first.at);
        Some((rate(first.insert, last.insert, time), time))
    };
    tracks.iter().find_map(of).unwrap_or_default()
}

fn outlook(first: &Point, last: &Point, lag: Option<u64>, still: bool, thresholds: &LagThresholds) -> Outlook {
    let time = last.at.duration_since(first.at);
    let (Some(lag), Some(from), Some(to)) = (lag, first.applied, last.applied) else { return Outlook::Unknown };
    // Before it is confirmed, what was taken in tells how fast it goes.
    let (from, to) = if to > from { (from, to) } else { first.received.zip(last.received).unwrap_or((from, to)) };
    if lag == 0 {
        return Outlook::CaughtUp;
    }
    let (Some(written), Some(applied)) = (rate(first.insert, last.insert, time), rate(from, to, time)) else {
        return Outlook::Unknown;
    };
    if still {
        return Outlook::StandingStill { bytes_per_minute: written.saturating_mul(60) };
    }
    match applied.checked_sub(written) {
        _ if lag < thresholds.good_bytes => Outlook::KeepingUp,
        Some(0) => Outlook::FallingBehind { bytes_per_minute: 0 },
        Some(faster) => Outlook::CatchingUp { seconds: lag / faster },
        None => Outlook::FallingBehind { bytes_per_minute: (written - applied).saturating_mul(60) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Feed;
    use crate::gate::health::{SubscriptionHealth, Worker, Workers};

    const THRESHOLDS: LagThresholds = LagThresholds {
        good_bytes: 1_000,
        warning_bytes: 10_000,
        critical_bytes: 100_000,
        retained_bytes: 500_000,
        zero_within_ms: 60_000,
    };

    struct Site {
        track: Track,
        begin: Instant,
    }

    impl Site {
        fn new() -> Self {
            Self { track: Track::default(), begin: Instant::now() }
        }

        fn moment(&self, second: u64) -> Moment {
            let clock = Timestamp::from_second(1_800_000_000 + i64::try_from(second).unwrap()).unwrap();
            Moment { instant: self.begin + Duration::from_secs(second), clock }
        }

        fn look_with(&mut self, second: u64, insert: u64, applied: u64, transaction: Option<&str>) -> SubscriptionLag {
            self.look_at(second, insert, applied, applied, transaction)
        }

        fn look_at(
            &mut self,
            second: u64,
            insert: u64,
            applied: u64,
            received: u64,
            transaction: Option<&str>,
        ) -> SubscriptionLag {
            let worker = Worker {
                pid: 7,
                received: Some(Lsn(received)),
                silent_ms: Some(1),
                transaction: transaction.map(str::to_owned),
            };
            let subscription = SubscriptionHealth {
                enabled: true,
                worker: Some(worker),
                copied: true,
                ..SubscriptionHealth::default()
            };
            let slot = SlotHealth {
                active: true,
                restart: Some(Lsn(100)),
                confirmed: Some(Lsn(applied)),
                sent: Some(Lsn(insert)),
                ..SlotHealth::default()
            };
            let health = Health {
                insert: Lsn(insert),
                flushed: Lsn(insert),
                feeds: vec![FeedHealth {
                    feed: Feed { oid: 1, name: "s".into(), slot: "s".into() },
                    slot: Slot::There(slot),
                    subscription: Some(subscription),
                }],
                writers: vec![],
                workers: Workers { in_use: 1, limit: 4, receiver_timeout_ms: Some(60_000) },
            };
            self.track.look(self.moment(second), &health, &health.feeds[0], &THRESHOLDS)
        }

        fn look(&mut self, second: u64, insert: u64, applied: u64) -> SubscriptionLag {
            self.look_with(second, insert, applied, None)
        }
    }

    fn codes(lag: &SubscriptionLag) -> Vec<&str> {
        lag.causes.iter().map(|cause| cause.code.as_str()).collect()
    }

    #[test]
    fn one_look_knows_no_rates() {
        let lag = Site::new().look(0, 20_000, 5_000);
        assert_eq!((lag.level, lag.lag_bytes, lag.outlook), (LagLevel::Warning, Some(15_000), Outlook::Unknown));
        assert_eq!((lag.flushed_bytes_per_second, lag.flushed_moves), (None, None));
        assert_eq!((lag.retained_bytes, lag.retained_alarm), (Some(19_900), false));
        assert_eq!((lag.behind_ms, lag.behind_at_least), (Some(0), true));
    }

    #[test]
    fn every_outlook() {
        let after = |insert, applied| {
            let mut site = Site::new();
            site.look(0, 20_000, 5_000);
            site.look(10, insert, applied)
        };
        let lag = after(21_000, 11_000);
        assert_eq!(lag.outlook, Outlook::CatchingUp { seconds: 20 });
        assert_eq!((lag.flushed_bytes_per_second, lag.flushed_moves), (Some(600), Some(true)));
        let lag = after(30_000, 10_000);
        assert_eq!(lag.outlook, Outlook::FallingBehind { bytes_per_minute: 30_000 });
        assert_eq!(codes(&lag), ["falling_behind"]);
        let lag = after(30_000, 5_000);
        assert_eq!(lag.outlook, Outlook::StandingStill { bytes_per_minute: 60_000 });
        assert_eq!((lag.flushed_moves, codes(&lag)), (Some(false), vec!["unexplained"]));
        assert_eq!(after(30_000, 29_500).outlook, Outlook::KeepingUp);
        let lag = after(30_000, 30_000);
        assert_eq!((lag.outlook, lag.level, lag.behind_ms), (Outlook::CaughtUp, LagLevel::Good, Some(0)));
        assert!(after(620_000, 620_000).retained_alarm);
        assert_eq!(after(620_000, 6_000).level, LagLevel::Critical);
    }

    #[test]
    fn nothing_to_flush_is_not_standing_still() {
        let mut site = Site::new();
        site.look(0, 5_000, 5_000);
        let lag = site.look(10, 5_040, 5_000);
        assert_eq!((lag.flushed_moves, lag.outlook), (None, Outlook::KeepingUp));
        assert!(codes(&lag).is_empty());
        // Now it had ten seconds for what came.
        let lag = site.look(20, 5_040, 5_000);
        assert_eq!((lag.flushed_moves, codes(&lag)), (Some(false), vec!["unexplained"]));
        assert_eq!(site.look(30, 5_040, 5_040).flushed_moves, Some(true));
    }

    #[test]
    fn a_worker_that_applies_and_has_not_confirmed_it_is_not_standing_still() {
        let mut site = Site::new();
        site.look_at(0, 20_000, 5_000, 5_000, Some("740"));
        let lag = site.look_at(10, 30_000, 5_000, 9_000, Some("760"));
        assert_eq!((lag.flushed_moves, codes(&lag)), (None, vec!["falling_behind"]));
        assert_eq!(lag.outlook, Outlook::FallingBehind { bytes_per_minute: 36_000 });
        let lag = site.look_at(20, 30_000, 5_000, 29_500, Some("900"));
        assert_eq!((lag.outlook, codes(&lag)), (Outlook::CatchingUp { seconds: 34 }, vec![]));
        let lag = site.look_at(30, 40_000, 9_000, 30_000, Some("901"));
        assert_eq!((lag.flushed_moves, codes(&lag)), (Some(true), vec!["falling_behind"]));
        // It takes in nothing more, or it is one transaction, or it should have said so long ago.
        assert_eq!(codes(&site.look_at(40, 50_000, 9_000, 30_000, None)), ["unexplained"]);
        assert_eq!(codes(&site.look_at(50, 50_000, 9_000, 31_000, Some("902"))), ["falling_behind"]);
        assert_eq!(codes(&site.look_at(60, 50_000, 9_000, 32_000, Some("902"))), ["large_transaction"]);
        assert_eq!(codes(&site.look_at(91, 50_000, 9_000, 33_000, Some("903"))), ["unexplained"]);
    }

    #[test]
    fn a_transaction_that_lasts() {
        let mut site = Site::new();
        site.look_with(0, 20_000, 5_000, Some("740"));
        let lag = site.look_with(10, 20_000, 5_000, Some("740"));
        assert_eq!(codes(&lag), ["large_transaction"]);
        assert!(lag.causes[0].evidence.contains("for 10 s"), "{lag:?}");
        assert_eq!(codes(&site.look_with(20, 20_000, 5_000, Some("741"))), ["unexplained"]);
    }

    #[test]
    fn how_long_it_was_zero_and_how_late_it_is() {
        let mut site = Site::new();
        let lag = site.look(0, 1_000, 1_000);
        assert_eq!((lag.zero.reached, lag.zero.held_ms), (true, Some(0)));
        let at = site.moment(30);
        assert!(site.track.probe(at, Lsn(2_000), Some(Lsn(2_000)), Duration::from_secs(60)));
        let lag = site.look(50, 3_000, 2_000);
        assert_eq!((lag.zero.reached, lag.zero.held_ms, lag.behind_ms), (true, Some(30_000), Some(20_000)));
        let lag = site.look(91, 4_000, 2_500);
        assert_eq!((lag.zero.reached, lag.zero.held_ms, lag.zero.since), (false, None, None));
        assert!(lag.zero.last_at.is_some());
        assert_eq!((lag.behind_ms, lag.behind_at_least), (Some(61_000), false));
    }

    #[test]
    fn rates_are_of_the_last_minute() {
        let mut site = Site::new();
        for second in 0..100 {
            site.look(second, 1_000 + second, 1_000);
        }
        site.look(200, 51_099, 1_000);
        let (written, time) = written(std::slice::from_ref(&site.track));
        assert_eq!((written, time.as_secs()), (Some(495), 101));
    }
}
