//! When both sides may be compared: a publisher snapshot, a subscriber snapshot, and the proof that they show the same
//! publisher state, or what exactly lies between them.
//!
//! `observe` asks, [`rules`] (writes are stopped) and [`cut`] (they go on) decide, both pure functions; `open` takes turns of
//! both, by way of `quiesced` or `live`, until a pair of snapshots is accepted or the time is up; `keepers` are the sessions
//! that export them. With writes going on, `slot` makes a temporary slot, and `pgoutput` and [`window`] turn what it decodes
//! into rows: what the publisher's snapshot lacks at the position that the subscriber's corresponds to. Where no slot can be
//! had, [`recheck`] holds the subscriber's snapshot between two of the publisher's. `health` looks at how replication is
//! doing, `diagnosis` names the [`causes`] (pure functions), and `stall` makes them explain what was in the way.

pub(crate) mod causes;
pub(crate) mod cut;
pub(crate) mod diagnosis;
pub(crate) mod health;
mod keepers;
mod live;
mod observe;
mod open;
mod pgoutput;
mod quiesced;
pub(crate) mod recheck;
pub(crate) mod rules;
mod slot;
mod snapshot;
mod stall;
pub(crate) mod window;

pub(crate) use keepers::{Keepers, Snapshot};
pub(crate) use open::{NotReached, Opened, Request, SyncPoint, open};
