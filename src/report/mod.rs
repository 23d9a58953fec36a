//! An [`Outcome`](crate::run::Outcome) as text, JSON and CSV. Pure: bytes in, bytes out, no clock, no files.

pub mod csv_report;
pub mod json;
pub mod lag;
pub mod plan;
pub mod preflight;
pub mod sequences;
pub mod setval;
pub mod text;

mod closing;
mod details;
pub(crate) mod escape;

pub(crate) use crate::run::figures;

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
pub(crate) mod fixtures_ops;
