//! When both sides may be compared: a publisher snapshot, a subscriber snapshot, and the proof that they show the same
//! publisher state, or what exactly lies between them.
//!
//! `observe` asks, [`rules`] (writes are stopped) and [`cut`] (they go on) decide, both pure functions; `open` takes turns of
//! both until a pair of snapshots is accepted or the time is up; `stall` explains what was in the way. With writes going on,
//! `slot` makes a temporary slot, and `pgoutput` and [`window`] turn what it decodes into rows: what the publisher's
//! snapshot lacks at the position that the subscriber's corresponds to.

pub mod cut;
mod live;
mod observe;
mod open;
mod pgoutput;
pub mod rules;
mod slot;
mod snapshot;
mod stall;
pub mod window;

pub use open::{Keepers, NotReached, Opened, Request, Snapshot, SyncPoint, open};
pub use snapshot::{ParseSnapshotError, SnapshotText};
