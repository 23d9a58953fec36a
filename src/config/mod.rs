//! Raw flags, environment and TOML become one validated, immutable [`Config`].

pub mod conninfo;
pub mod pattern;
mod settings;

pub use settings::*;
