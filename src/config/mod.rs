//! Raw flags, environment and TOML become one validated, immutable [`Config`].

pub mod conninfo;
mod environment;
mod file;
mod keywords;
mod lag;
mod merged;
pub mod pattern;
mod preflight;
mod raw;
mod sequences;
mod service;
mod settings;
mod syntax;
mod tls;

pub use conninfo::ConnectOptions;
pub use environment::Environment;
pub(crate) use environment::user_name;
pub use lag::*;
pub use pattern::TablePattern;
pub use preflight::*;
pub use raw::{MAX_LAG_TIMEOUT, MAX_SNAPSHOT_AGE, PUBLISHER_VARIABLE, RawSettings, SUBSCRIBER_VARIABLE};
pub use sequences::{RawSequences, SequencesConfig};
pub use settings::*;
pub(crate) use tls::{NamedFile, Roots, Versions};
pub use tls::{SslMode, TlsOptions};
