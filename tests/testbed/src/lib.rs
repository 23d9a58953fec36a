//! Real PostgreSQL servers for tests, benches and examples: any major from 12 to 18, alone or as a replicated pair.
//!
//! ```no_run
//! # async fn test() -> triplecheck_testbed::Result<()> {
//! use triplecheck_testbed::{ReplicateOptions, shared_pair};
//!
//! let lease = shared_pair(14, 16).shared().await?; // or .exclusive(), for a test that disturbs others
//! let db = lease.database("orders").await?; // a database of its own on both sides
//! db.both("CREATE TABLE orders (id bigint PRIMARY KEY)").await?;
//! db.publisher.sql("INSERT INTO orders VALUES (1)").await?;
//! db.replicate(ReplicateOptions::default()).await?;
//! assert_eq!(db.subscriber.value("SELECT count(*) FROM orders").await?, "1");
//! # Ok(()) }
//! ```
//!
//! Code map, from the ground up:
//!
//! - [`Installation`]: which binaries; found on the machine or fetched once (`fetch`).
//! - `run_folder`: the one temporary folder of this process, and the supervisor outside it that stops every server and removes the
//!   folder when this process ends, however it ends.
//! - `account`, `launch`: which account servers run as, and how a program is started so that the supervisor knows of it.
//! - `cluster`: data folders; `postmaster`: one running server process; [`Server`]: both together.
//! - [`Database`]: SQL on one database. Connections are made per call, so handles work in any runtime.
//! - [`Pair`], [`Replicated`]: two servers, and a database of the same name on both with a subscription between them.
//! - [`shared_pair`]: the pairs that all tests of a process share, with shared and exclusive leases.
//! - [`Load`], [`shop`], [`mixed`], [`pgbench`]: something to write, and something to write it to; [`writers`]: at a measured rate.
//! - [`soak`]: what the reports of many verifies under load add up to.

mod account;
mod catch_up;
mod cluster;
mod database;
mod error;
mod fetch;
mod installation;
mod launch;
mod leftovers;
mod load;
pub mod mixed;
mod pair;
pub mod pgbench;
mod postmaster;
mod quote;
mod replicated;
mod run_folder;
mod server;
mod shared;
pub mod shop;
pub mod soak;
mod teardown;
pub mod writers;

pub use database::Database;
pub use error::{Error, Result};
pub use installation::{Installation, MAJORS, Surroundings, find_client};
pub use load::{Load, LoadOptions, LoadReport};
pub use pair::{Pair, PairOptions};
pub use replicated::{ReplicateOptions, Replicated};
pub use run_folder::run_folder_path;
pub use server::{Server, ServerOptions};
pub use shared::{Lease, SharedPair, shared_pair};
