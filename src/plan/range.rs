//! Parts of a key space as reports show them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A part of a table's key space.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ChunkRange {
    /// A bucket of the key's hash.
    Bucket {
        /// Which one, from 0.
        bucket: u32,
        /// Of how many.
        of: u32,
    },
    /// A range of the key, half-open; null is open.
    Keys {
        /// The first key, inclusive.
        from: Option<KeyText>,
        /// The end, exclusive.
        to: Option<KeyText>,
    },
}

/// A key as texts, in key order.
pub type KeyText = serde_json::Map<String, Value>;
