//! When both sides may be compared: a publisher snapshot, a subscriber snapshot, and the proof that they show the same
//! publisher state.
//!
//! `observe` asks, [`rules`] decides (pure functions), `open` takes turns of both until a pair of snapshots is accepted or
//! the time is up. `health` looks at how replication is doing, `diagnosis` names the [`causes`] (pure functions), and `stall`
//! makes them explain what was in the way.

pub mod causes;
pub(crate) mod diagnosis;
pub(crate) mod health;
mod observe;
mod open;
pub mod rules;
mod stall;

pub use open::{Keepers, NotReached, Request, Snapshot, SyncPoint, open};
