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
        Ok(self.chunk_of_row(row)?.unwrap_or_else(|| self.chunk_of_digest(digest)))
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

    /// The chunk of a row of a table without a key.
    pub(crate) fn chunk_of_digest(&mut self, digest: &RowDigest) -> u32 {
        self.encoded.clear();
        self.encoded.extend_from_slice(digest.as_bytes());
        self.chunk_of_encoded()
    }

    fn chunk_of_encoded(&mut self) -> u32 {
        if !self.chunking.holds(self.last, &self.encoded) {
            self.last = self.chunking.chunk_of_key(&self.encoded);
        }
        self.last
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
