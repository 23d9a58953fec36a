//! Raw flags, environment and TOML become one validated, immutable [`Config`].

pub mod conninfo;
mod environment;
mod file;
mod keywords;
mod lag;
mod merged;
pub mod pattern;
mod raw;
mod sequences;
mod settings;
mod syntax;

pub use conninfo::ConnectOptions;
pub use environment::Environment;
pub use lag::*;
pub use pattern::TablePattern;
pub use raw::{MAX_LAG_TIMEOUT, MAX_SNAPSHOT_AGE, PUBLISHER_VARIABLE, RawSettings, SUBSCRIBER_VARIABLE};
pub use sequences::{RawSequences, SequencesConfig};
pub use settings::*;
