//! What must be equal: publications, subscriptions, tables, columns, keys, sequences.
//!
//! [`read`] asks both servers a handful of set-based questions, whatever the number of tables, and answers with a
//! [`Catalog`]: pairs of tables to compare, and everything that a reader must know about what is not compared. It reads
//! system catalogs only, except for one row of each table that has no counterpart or is not carried by replication.

mod collations;
mod columns;
mod detail;
mod drift;
mod environment;
mod feeds;
mod fields;
mod findings;
pub mod health;
mod keys;
mod mapped;
mod model;
mod pairs;
mod published;
mod queries;
mod read;
mod relations;
mod select;
mod sequences;
mod server;
mod storage;
mod subscriptions;
mod types;
mod uncompared;
mod versions;

pub use feeds::{Feed, read_feeds};
pub use findings::FINDINGS;
pub(crate) use findings::{concerns_sequences, sequence_behind, sessions_refused};
pub use model::*;
pub use read::{Request, read};
pub use server::read_server;
pub use versions::{PUBLISHER_MAJORS, SUBSCRIBER_MAJORS};
