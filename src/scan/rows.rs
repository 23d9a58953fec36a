//! Differing rows, read once more to name their key and columns.

use crate::error::{Error, ErrorKind, Result};
use crate::plan::{CUT, Position, WHOLE};
use crate::row::{Row, RowDigest, shown_text_array};

/// One row as a report needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SampledRow {
    /// Where it lies.
    pub position: Position,
    /// The digest of its image.
    pub digest: RowDigest,
    /// The digest of each column of the image, in the order of the shape: equal bytes, equal digest; NULL is `None`.
    pub columns: Vec<Option<[u8; 16]>>,
    /// The text of each column for people to read; long ones are cut and end in `…`.
    pub texts: Vec<Option<String>>,
}

impl SampledRow {
    /// Takes a row apart. `texts` is the field that holds the array of texts.
    pub(crate) fn new(row: &Row<'_>, position: Position, texts: Option<&[u8]>) -> Result<Self> {
        let corrupt = || Error::new(ErrorKind::Corrupt, "a server sent no texts for a row that was asked for");
        let columns: Vec<_> = row
            .fields()
            .map(|field| {
                Ok(field?.map(|bytes| {
                    let mut short = [0; 16];
                    short.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
                    short
                }))
            })
            .collect::<Result<_>>()?;
        let mut texts = shown_text_array(texts.ok_or_else(corrupt)?)?;
        for text in texts.iter_mut().flatten() {
            *text = match (text.strip_prefix(WHOLE), text.strip_prefix(CUT)) {
                (Some(whole), _) => whole.to_owned(),
                (None, Some(cut)) => format!("{cut}…"),
                (None, None) => return Err(corrupt()),
            };
        }
        if texts.len() != columns.len() {
            return Err(corrupt());
        }
        Ok(Self { position, digest: RowDigest::of(row.image()), columns, texts })
    }
}
