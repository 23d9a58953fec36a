//! The engines.

mod event;
mod outcome;

pub use event::{Event, Events};
pub use outcome::*;
