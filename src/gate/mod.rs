//! When both sides may be compared: a publisher snapshot, a subscriber snapshot, and the proof that they show the same
//! publisher state.
//!
//! `observe` asks, [`rules`] decides (pure functions), `open` takes turns of both until a pair of snapshots is accepted or
//! the time is up, `stall` explains what was in the way.

mod observe;
mod open;
pub mod rules;
mod stall;

pub use open::{Keepers, NotReached, Request, Snapshot, SyncPoint, open};
