//! triplecheck proves that a PostgreSQL logical-replication **subscriber** holds the same data as its **publisher**.
//!
//! # Bird's-eye view
//!
//! [`run::verify`] takes a [`config::Config`] and returns an [`run::Outcome`]: for every table, sequence and check one of
//! `match`, `different` and `unproven`, with the differing rows, their columns and likely causes. Data flows one way:
//!
//! > configuration → sessions → what must be equal → a moment at which it must be → a plan → scans → comparison → outcome → report
//!
//! Both sides are read in a pair of snapshots that show the same publisher state (a *sync point*). Every row of both sides
//! is streamed by binary COPY, filed under the *chunk* of the key space that it belongs to, hashed, and summed up; chunks
//! whose sums differ are explained by the rows of the keys that a *sketch* of all rows gives away, or are read again in the same
//! snapshots, and joined row by row. The servers' own counts, maxima and sums are a second witness that shares nothing with the
//! first but the snapshots.
//!
//! # Code map
//!
//! A module uses only those above it; a test keeps this true.
//!
//! - [`error`], [`lsn`], [`sql`], [`side`], [`verdict`]: small roots. `sql` is the only place where a name or a value becomes
//!   part of a statement.
//! - [`config`]: flags, environment and TOML become one validated [`config::Config`]; connection strings and service files as
//!   libpq reads them.
//! - [`connect`]: sessions with every setting pinned, over TLS as libpq would, passwords, cancellation, proofs of identity.
//! - [`catalog`]: what must be equal: subscriptions, publications, tables, columns, keys, sequences; pairing and findings;
//!   and how healthy servers, slots and subscriptions say they are.
//! - [`row`]: rows as bytes, without I/O: select lists, canonical images, keys in normal form, digests. The specification of
//!   the encoding stands there.
//! - `gate`: when both sides may be compared. Observations go into pure rules; the sync point comes out.
//! - `plan`: how a table is cut into chunks (what is compared) and slices (how it is read), and every statement that reads it.
//! - `scan`: all reading of user tables: one job, one side, one session, one transaction.
//! - `compare`: the state machine of a table, without I/O: pieces in, jobs or an outcome out.
//! - [`run`]: the engines: `verify` and `plan` (sync points in turn, the queue of jobs, the monitor, the outcome),
//!   `preflight`, `sequences`, and `lag` (looks at both servers become rates, a record and causes).
//! - [`report`]: an outcome as text, JSON and CSV; the setval script.
//! - [`cli`]: the only code that talks to a person.
//!
//! # Invariants
//!
//! - The library never prints and never exits outside of [`cli`], and never reads the environment or the home directory outside
//!   of [`config`], [`connect`] and [`cli`].
//! - Sessions are read-only. Nothing is ever created but a temporary replication slot, which dies with its connection.
//! - Nobody is blocked: sessions that keep snapshots touch no user table; a scan session ends its transaction after every
//!   piece; a monitor looks for sessions that wait for ours, and after two seconds ours give way.
//! - The encoding of rows is injective. Digests are combined by addition, never by XOR: duplicates would cancel.
//! - The chunks of a table tile its key space. Rows read must equal `count(*)` in the same snapshot, and every row must file
//!   under the chunk that it was read for; otherwise the table is `unproven`.
//! - Every comparison is one of multisets: duplicate keys can exist on either side.
//! - Everything starts as `unproven`. `compare::agree` is the only function that returns [`verdict::Verdict::Match`], and it
//!   does so for two values that were both really read.
//! - Memory is bounded, whatever the size of a table or the number of differences.
//! - Passwords and row values never appear in logs or errors; row values other than keys appear in reports only on demand.

pub mod catalog;
pub mod cli;
pub(crate) mod compare;
pub mod config;
pub mod connect;
pub mod error;
pub(crate) mod gate;
pub mod lsn;
pub(crate) mod plan;
pub mod report;
pub mod row;
pub mod run;
pub(crate) mod scan;
pub mod side;
pub mod sql;
pub mod verdict;

pub use error::{Error, ErrorKind, Result};
