//! What a run tells while it goes on. The library never prints: whoever called it decides what becomes of these.

use std::sync::Arc;

use crate::catalog::Finding;
use crate::lsn::Lsn;
use crate::side::Side;
use crate::verdict::Verdict;

/// Receives events. Called from worker tasks, often: it must be quick and must not block.
pub type Events = Arc<dyn Fn(Event) + Send + Sync>;

/// Something happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// Both servers answered; `host:port/database (PostgreSQL version)` of each.
    Connected {
        /// The publisher.
        publisher: String,
        /// The subscriber.
        subscriber: String,
    },
    /// The catalogs were read.
    Catalogued {
        /// Tables to compare.
        tables: usize,
        /// Findings so far.
        findings: Vec<Finding>,
    },
    /// The sync point is being waited for; sent about once a second.
    Waiting {
        /// What is being waited for.
        message: String,
        /// Seconds since the wait began.
        seconds: u64,
    },
    /// A sync point is open.
    SyncPoint {
        /// 1, 2, ...
        id: u32,
        /// The publisher's position.
        publisher_lsn: Option<Lsn>,
        /// How equality at one position was established.
        proof: String,
    },
    /// The work was cut.
    Planned {
        /// Tables to be read at this sync point.
        tables: usize,
        /// Estimated rows of both sides together.
        rows: u64,
        /// Estimated bytes on disk of both sides together.
        bytes: u64,
    },
    /// Rows came in since the last such event.
    Read {
        /// From which side.
        side: Side,
        /// Rows.
        rows: u64,
        /// Bytes on the wire.
        bytes: u64,
    },
    /// A table is settled.
    TableDone {
        /// Its name for people.
        table: String,
        /// What is known.
        verdict: Verdict,
        /// One line: what differs, or why it is unproven.
        summary: String,
    },
    /// We gave way to a session that waited for us.
    GaveWay {
        /// On which side.
        side: Side,
        /// What was being read.
        what: String,
    },
}
