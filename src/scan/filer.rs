//! Files rows under their chunk.

use crate::error::Result;
use crate::plan::Chunking;
use crate::row::{KeyForm, Row, RowDigest, Shape, key_hash};

/// Finds the chunk of each row from its key, or from its digest where there is no key.
pub(crate) struct Filer<'a> {
    /// `None` for a table without a key.
    key: Option<&'a KeyForm>,
    chunking: &'a Chunking,
    encoded: Vec<u8>,
    /// The chunk of the row before: rows that lie together mostly belong together.
    last: u32,
}

impl<'a> Filer<'a> {
    pub(crate) fn new(shape: &'a Shape, chunking: &'a Chunking) -> Self {
        let key = (shape.key_len() > 0).then(|| shape.key_form());
        Self { key, chunking, encoded: Vec::new(), last: 0 }
    }

    /// The chunk of a row.
    pub(crate) fn chunk(&mut self, row: &Row<'_>, digest: &RowDigest) -> Result<u32> {
        self.encoded.clear();
        match self.key {
            // One chunk takes every row: the key need not be looked at.
            _ if self.chunking.count() == 1 => return Ok(0),
            Some(key) => key.encode(row, &mut self.encoded)?,
            None => self.encoded.extend_from_slice(digest.as_bytes()),
        }
        if !self.chunking.holds(self.last, &self.encoded) {
            self.last = self.chunking.chunk_of_key(&self.encoded);
        }
        Ok(self.last)
    }

    /// 128 bits that identify the row's key.
    pub(crate) fn key_hash(&mut self, row: &Row<'_>, digest: &RowDigest) -> Result<[u8; 16]> {
        self.encoded.clear();
        match self.key {
            Some(key) => key.encode(row, &mut self.encoded)?,
            None => self.encoded.extend_from_slice(digest.as_bytes()),
        }
        Ok(key_hash(&self.encoded))
    }
}
