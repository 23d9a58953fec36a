//! What must be equal: publications, subscriptions, tables, columns, keys, sequences.

mod model;

pub use model::*;

