//! Raw flags, environment and TOML become one validated, immutable [`Config`].

pub mod conninfo;
mod environment;
mod file;
mod keywords;
mod mapping;
mod merged;
pub mod pattern;
mod raw;
mod settings;
mod syntax;

pub use conninfo::ConnectOptions;
pub use environment::Environment;
pub use mapping::{RawMapping, TableMapping};
pub use pattern::TablePattern;
pub use raw::{MAX_LAG_TIMEOUT, MAX_SNAPSHOT_AGE, PUBLISHER_VARIABLE, RawSettings, SUBSCRIBER_VARIABLE};
pub use settings::*;
