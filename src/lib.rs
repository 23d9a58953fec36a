//! triplecheck.

pub mod catalog;
pub mod cli;
pub mod compare;
pub mod config;
pub mod connect;
pub mod error;
pub mod gate;
pub mod lsn;
pub mod plan;
pub mod report;
pub mod row;
pub mod run;
pub mod scan;
pub mod side;
pub mod sql;
pub mod verdict;

pub use error::{Error, ErrorKind, Result};
