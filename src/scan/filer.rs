//! Files rows under their chunk.

use crate::error::Result;
use crate::plan::Chunking;
use crate::row::{KeyForm, Row, RowDigest, Shape, SketchKey, key_hash};

/// Finds the chunk of each row from its key, or from its digest where there is no key.
pub(crate) struct Filer<'a> {
    /// `None` for a table without a key.
    key: Option<&'a KeyForm>,
    chunking: &'a Chunking,
    /// The beginning of each bound of ranges: most keys are told apart by it, in a few instructions.
    starts: Vec<u128>,
    encoded: Vec<u8>,
    /// The chunk of the row before: rows that lie together mostly belong together.
    last: u32,
}

impl<'a> Filer<'a> {
    pub(crate) fn new(shape: &'a Shape, chunking: &'a Chunking) -> Self {
        let key = (shape.key_len() > 0).then(|| shape.key_form());
        let starts = match chunking {
            Chunking::Ranges(bounds) => bounds.iter().map(|bound| beginning(&bound.encoded)).collect(),
            Chunking::Buckets { .. } => Vec::new(),
        };
        Self { key, chunking, starts, encoded: Vec::new(), last: 0 }
    }

    /// The chunk of a row whose digest is not known, or `None` where it takes the digest.
    pub(crate) fn chunk_of_row(&mut self, row: &Row<'_>) -> Result<Option<u32>> {
        // One chunk takes every row: the key need not be looked at.
        if self.chunking.count() == 1 {
            return Ok(Some(0));
        }
        let Some(key) = self.key else { return Ok(None) };
        self.encoded.clear();
        key.encode(row, &mut self.encoded)?;
        Ok(Some(self.chunk_of_encoded()))
    }

    /// The key of the row whose chunk was asked for last, if it fits into a sketch. Only of tables of several chunks.
    pub(crate) fn sketch_key(&self) -> Option<SketchKey> {
        SketchKey::new(&self.encoded)
    }

    /// The chunk of a row of a table without a key.
    pub(crate) fn chunk_of_digest(&mut self, digest: &RowDigest) -> u32 {
        self.encoded.clear();
        self.encoded.extend_from_slice(digest.as_bytes());
        self.chunk_of_encoded()
    }

    fn chunk_of_encoded(&mut self) -> u32 {
        if matches!(self.chunking, Chunking::Buckets { .. }) {
            return self.chunking.chunk_of_key(&self.encoded);
        }
        let key = beginning(&self.encoded);
        let at = self.last as usize;
        let above = at.checked_sub(1).and_then(|below| self.starts.get(below)).is_none_or(|start| *start < key);
        if !(above && self.starts.get(at).is_none_or(|end| key < *end)) {
            let below = self.starts.partition_point(|start| *start < key);
            // A key that begins as a bound does must be looked at whole.
            self.last = match self.starts.get(below) {
                Some(start) if *start == key => self.chunking.chunk_of_key(&self.encoded),
                _ => u32::try_from(below).unwrap_or(u32::MAX),
            };
        }
        self.last
    }

    /// 128 bits that identify the row's key, `None` for a table without a key.
    pub(crate) fn key_hash_of_row(&mut self, row: &Row<'_>) -> Result<Option<[u8; 16]>> {
        let Some(key) = self.key else { return Ok(None) };
        self.encoded.clear();
        key.encode(row, &mut self.encoded)?;
        Ok(Some(key_hash(&self.encoded)))
    }
}

/// The first 16 bytes as a number, with zeros behind a shorter key: where two of these differ, the keys sort as they do.
fn beginning(encoded: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    let length = encoded.len().min(bytes.len());
    if let (Some(bytes), Some(encoded)) = (bytes.get_mut(..length), encoded.get(..length)) {
        bytes.copy_from_slice(encoded);
    }
    u128::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::Bound;
    use crate::row::testing::{builtin, column, pair};

    /// Keys with few distinct bytes: equal beginnings, and ends before, at and behind the 16th byte.
    fn keys(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Vec<u8>>> {
        let tail = prop::collection::vec(0u8..3, 0..6);
        let key = (prop::sample::select(vec![0usize, 12, 14, 15, 16]), tail)
            .prop_map(|(zeros, tail)| [vec![0; zeros], tail].concat());
        prop::collection::vec(key, count)
    }

    proptest! {
        #[test]
        fn rows_file_as_their_keys_sort(mut bounds in keys(0..12), keys in keys(1..60)) {
            bounds.sort();
            bounds.dedup();
            let bound = |encoded| Bound { encoded, text: Vec::new() };
            let chunking = Chunking::Ranges(bounds.into_iter().map(bound).collect());
            let shape = Shape::new(&pair(vec![column("id", &builtin("bytea"))], &[0]));
            let mut filer = Filer::new(&shape, &chunking);
            for key in keys {
                filer.encoded.clone_from(&key);
                prop_assert_eq!(filer.chunk_of_encoded(), chunking.chunk_of_key(&key));
            }
        }
    }
}
