//! Files rows under their chunk.

use crate::error::Result;
use crate::plan::Chunking;
use crate::row::{KeyForm, Row, RowDigest, Shape, SketchKey, key_hash};
use crate::scan::starts::Starts;

/// Finds the chunk of each row from its key, or from its digest where there is no key.
pub(crate) struct Filer<'a> {
    /// `None` for a table without a key.
    key: Option<&'a KeyForm>,
    chunking: &'a Chunking,
    /// Tells most keys of ranges apart, in a few instructions.
    starts: Starts,
    /// The key of the row in hand in normal form, unless it is narrow.
    encoded: Vec<u8>,
    narrow: Option<SketchKey>,
}

impl<'a> Filer<'a> {
    pub(crate) fn new(shape: &'a Shape, chunking: &'a Chunking) -> Self {
        let key = (shape.key_len() > 0).then(|| shape.key_form());
        let starts = match chunking {
            Chunking::Ranges(bounds) => bounds.iter().map(|bound| beginning(&bound.encoded)).collect(),
            Chunking::Buckets { .. } => Vec::new(),
        };
        Self { key, chunking, starts: Starts::new(starts), encoded: Vec::new(), narrow: None }
    }

    /// The chunk of a row whose digest is not known, or `None` where it takes the digest.
    #[inline]
    pub(crate) fn chunk_of_row(&mut self, row: &Row<'_>) -> Result<Option<u32>> {
        // One chunk takes every row: the key need not be looked at.
        if self.chunking.count() == 1 {
            return Ok(Some(0));
        }
        let Some(key) = self.key else { return Ok(None) };
        self.narrow = if matches!(self.chunking, Chunking::Ranges(_)) { key.narrow(row)? } else { None };
        if let Some(chunk) = self.narrow.and_then(|narrow| self.chunk_of_beginning(narrow.beginning())) {
            return Ok(Some(chunk));
        }
        self.encoded.clear();
        key.encode(row, &mut self.encoded)?;
        Ok(Some(self.chunk_of_encoded()))
    }

    /// The key of the row whose chunk was asked for last, if it fits into a sketch. Only of tables of several chunks.
    #[inline]
    pub(crate) fn sketch_key(&self) -> Option<SketchKey> {
        self.narrow.or_else(|| SketchKey::new(&self.encoded))
    }

    /// The chunk of a row of a table without a key.
    pub(crate) fn chunk_of_digest(&mut self, digest: &RowDigest) -> u32 {
        self.encoded.clear();
        self.encoded.extend_from_slice(digest.as_bytes());
        self.chunk_of_encoded()
    }

    fn chunk_of_encoded(&self) -> u32 {
        let found = match self.chunking {
            Chunking::Ranges(_) => self.chunk_of_beginning(beginning(&self.encoded)),
            Chunking::Buckets { .. } => None,
        };
        found.unwrap_or_else(|| self.chunking.chunk_of_key(&self.encoded))
    }

    /// `None` for a key that begins as a bound does: it must be looked at whole.
    #[inline]
    fn chunk_of_beginning(&self, beginning: u128) -> Option<u32> {
        self.starts.below(beginning).map(|below| u32::try_from(below).unwrap_or(u32::MAX))
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

    fn chunking(bounds: &[Vec<u8>]) -> Chunking {
        Chunking::Ranges(bounds.iter().map(|encoded| Bound { encoded: encoded.clone(), text: Vec::new() }).collect())
    }

    proptest! {
        #[test]
        fn rows_of_narrow_keys_file_as_their_keys_sort(mut bounds in prop::collection::vec(-9i64..9, 2..5), ids in prop::collection::vec(prop::option::of(-9i64..9), 1..40)) {
            bounds.sort_unstable();
            bounds.dedup();
            let shape = Shape::new(&pair(vec![column("id", &builtin("int8"))], &[0]));
            let encoded = |id: &Option<i64>| {
                let bytes = id.map(i64::to_be_bytes);
                shape.key_form().bound_from_fields(&[bytes.as_ref().map(<[u8; 8]>::as_slice)]).unwrap()
            };
            let chunking = chunking(&bounds.iter().map(|id| encoded(&Some(*id))).collect::<Vec<_>>());
            let mut filer = Filer::new(&shape, &chunking);
            for id in &ids {
                let bytes = id.map(i64::to_be_bytes);
                let image = crate::row::testing::tuple(&[bytes.as_ref().map(<[u8; 8]>::as_slice)]);
                let expected = id.map_or(bounds.len(), |id| bounds.iter().filter(|bound| **bound <= id).count());
                let chunk = filer.chunk_of_row(&Row::new(&image)).unwrap();
                prop_assert_eq!(chunk, Some(u32::try_from(expected).unwrap()));
                prop_assert_eq!(filer.sketch_key(), SketchKey::new(&encoded(id)));
            }
        }

        #[test]
        fn rows_file_as_their_keys_sort(mut bounds in keys(0..12), keys in keys(1..60)) {
            bounds.sort();
            bounds.dedup();
            let chunking = chunking(&bounds);
            let shape = Shape::new(&pair(vec![column("id", &builtin("bytea"))], &[0]));
            let mut filer = Filer::new(&shape, &chunking);
            for key in keys {
                filer.encoded.clone_from(&key);
                prop_assert_eq!(filer.chunk_of_encoded(), chunking.chunk_of_key(&key));
            }
        }
    }
}
