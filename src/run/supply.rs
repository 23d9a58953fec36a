//! How many scan sessions a side is asked for: one for each job that waits, up to `--jobs`, until its server refuses one.
//!
//! What refuses a session, the limit of a role or a full server, refuses the next one as well, and each refusal costs the
//! server a process and a line of its log. So from the first one on sessions are asked for one by one, and while others work,
//! none for a while after such a one was refused, too.

use std::time::{Duration, Instant};

use crate::error::Error;

/// How long a side works on with the sessions that it has before it is asked for another one: an administrator raises a limit,
/// or an application lets go of its sessions, within minutes, and two refusals a minute are none to speak of.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);
/// How often in a row no session may be had, while there is none, before the run is given up.
const FAILURES_MAX: u32 = 5;

/// Sessions that were not to be had while others read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The most that were there at a time since.
    pub(crate) most: usize,
    /// Why, the first time.
    pub(crate) why: String,
}

/// What follows where a session was not to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// There are others.
    WorkOn,
    /// There is none, and none is on its way.
    TryAgain,
    /// The same, too often.
    GiveUp,
}

/// The sessions of a side.
#[derive(Debug, Default)]
pub(crate) struct Supply {
    there: usize,
    asked: usize,
    failures: u32,
    /// One was refused: from then on there is one question at a time.
    careful: bool,
    /// The question that is open is such a one.
    alone: bool,
    not_before: Option<Instant>,
    refused: Option<Refused>,
}

impl Supply {
    /// A sync point begins with so many sessions. The server may have room again.
    pub(crate) fn begin(&mut self, there: usize) {
        (self.there, self.asked, self.failures, self.not_before) = (there, 0, 0, None);
    }

    /// How many more to ask for, with so many jobs that wait for a session.
    pub(crate) fn wanted(&self, jobs: usize, waiting: usize, now: Instant) -> usize {
        let missing = jobs.saturating_sub(self.there + self.asked).min(waiting);
        if !self.careful {
            return missing;
        }
        let pausing = self.there > 0 && self.not_before.is_some_and(|until| now < until);
        if self.asked > 0 || pausing { 0 } else { missing.min(1) }
    }

    /// One is asked for.
    pub(crate) fn asked(&mut self) {
        self.asked += 1;
        self.alone = self.careful;
    }

    /// One is there that was asked for.
    pub(crate) fn came(&mut self) {
        self.asked = self.asked.saturating_sub(1);
        self.there += 1;
        (self.failures, self.not_before) = (0, None);
        if let Some(refused) = &mut self.refused {
            refused.most = refused.most.max(self.there);
        }
    }

    /// One that was asked for is not to be had.
    pub(crate) fn failed(&mut self, error: &Error, now: Instant) -> Next {
        self.asked = self.asked.saturating_sub(1);
        self.careful = true;
        if self.there > 0 {
            let refused = self.refused.get_or_insert_with(|| Refused { most: 0, why: error.to_string() });
            refused.most = refused.most.max(self.there);
            // Of several at once some are refused that alone would have been given.
            if self.alone {
                self.not_before = now.checked_add(REFUSED_PAUSE);
            }
        }
        if self.there + self.asked > 0 {
            return Next::WorkOn;
        }
        self.failures += 1;
        if self.failures < FAILURES_MAX { Next::TryAgain } else { Next::GiveUp }
    }

    /// One that was there is gone, and has left its place to another one.
    pub(crate) fn lost(&mut self) {
        self.there = self.there.saturating_sub(1);
        self.not_before = None;
    }

    /// Whether one was refused before.
    pub(crate) fn is_careful(&self) -> bool {
        self.careful
    }

    /// What was refused while others read.
    pub(crate) fn refused(&self) -> Option<&Refused> {
        self.refused.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const JOBS: usize = 8;

    /// A server with so many sessions to give, and how often it refused one.
    struct Server {
        free: usize,
        refusals: usize,
        now: Instant,
    }

    impl Server {
        fn with(free: usize) -> Self {
            Self { free, refusals: 0, now: Instant::now() }
        }

        fn answer(&mut self, supply: &mut Supply) -> Option<Next> {
            if self.free > 0 {
                self.free -= 1;
                supply.came();
                return None;
            }
            self.refusals += 1;
            let error = Error::new(ErrorKind::Connect, format!("full {}", self.refusals));
            Some(supply.failed(&error, self.now))
        }

        /// Jobs wait for so long; asked is as the loop of a sync point asks, many times a second.
        fn serve(&mut self, supply: &mut Supply, seconds: u64) {
            for _ in 0..seconds * 10 {
                let wanted = supply.wanted(JOBS, 100, self.now);
                (0..wanted).for_each(|_| supply.asked());
                (0..wanted).for_each(|_| assert!(matches!(self.answer(supply), None | Some(Next::WorkOn))));
                self.now += Duration::from_millis(100);
            }
        }
    }

    fn refused(most: usize) -> Option<Refused> {
        Some(Refused { most, why: "full 1".to_owned() })
    }

    #[test]
    fn a_server_that_is_full_is_asked_twice_a_minute() {
        let (mut supply, mut server) = (Supply::default(), Server::with(3));
        server.serve(&mut supply, 1);
        // Those that were asked for at once, and one alone.
        assert_eq!((supply.there, server.refusals), (3, JOBS - 3 + 1));
        server.serve(&mut supply, 600);
        assert_eq!(supply.there, 3);
        assert!((25..=27).contains(&server.refusals), "{}", server.refusals);
        assert_eq!(supply.refused(), refused(3).as_ref());
        // One goes, and there is another one in its place at once, or somebody else has taken it.
        supply.lost();
        server.free = 1;
        server.serve(&mut supply, 1);
        assert_eq!(supply.there, 3);
        supply.lost();
        server.serve(&mut supply, 60);
        assert_eq!((supply.there, supply.refused().map(|refused| refused.most)), (2, Some(3)));
        // There is room, which a sync point sees at once.
        server.free = 1;
        supply.begin(2);
        server.serve(&mut supply, 1);
        assert_eq!(supply.there, 3);
        // And everybody else half a minute later.
        server.free = 100;
        server.serve(&mut supply, 31);
        assert_eq!((supply.there, supply.refused()), (JOBS, refused(JOBS).as_ref()));
        let before = server.refusals;
        server.serve(&mut supply, 600);
        assert_eq!(server.refusals, before);
    }

    #[test]
    fn nothing_is_asked_for_that_no_job_waits_for() {
        let mut supply = Supply::default();
        let now = Instant::now();
        assert_eq!(
            (supply.wanted(JOBS, 0, now), supply.wanted(JOBS, 3, now), supply.wanted(JOBS, 99, now)),
            (0, 3, JOBS)
        );
        supply.begin(JOBS);
        assert_eq!(supply.wanted(JOBS, 99, now), 0);
        assert_eq!(supply.refused(), None);
    }

    #[test]
    fn a_side_without_any_session_gives_up() {
        let (mut supply, mut server) = (Supply::default(), Server::with(0));
        (0..3).for_each(|_| supply.asked());
        // The others are on their way.
        assert_eq!(server.answer(&mut supply), Some(Next::WorkOn));
        assert_eq!(server.answer(&mut supply), Some(Next::WorkOn));
        for _ in 1..FAILURES_MAX {
            assert_eq!(server.answer(&mut supply), Some(Next::TryAgain));
            supply.asked();
            assert_eq!(supply.wanted(JOBS, 99, server.now), 0);
        }
        assert_eq!(server.answer(&mut supply), Some(Next::GiveUp));
        // A server that was not there refused nothing to anybody.
        assert_eq!(supply.refused(), None);
    }

    #[test]
    fn a_server_that_comes_back_is_asked_at_once() {
        let (mut supply, mut server) = (Supply::default(), Server::with(1));
        server.serve(&mut supply, 1);
        supply.lost();
        server.free = JOBS;
        server.serve(&mut supply, 1);
        assert_eq!(supply.there, JOBS);
    }
}
