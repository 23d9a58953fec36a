//! What becomes of the rows of a COPY, one sink for each kind of work.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Bound, Slice};
use crate::row::{Canonicalizer, Fields, KeyForm, RowDigest, Tally};
use crate::scan::filer::Filer;
use crate::scan::{DrillUnit, ENTRIES_MAX, Entries, Entry, Position, SampledRow};

/// Fields behind the image that tell where a row lies: `tableoid`, `ctid`.
pub(crate) const POSITION_FIELDS: usize = 2;

pub(crate) struct SampleSink<'a> {
    pub(crate) form: &'a KeyForm,
    pub(crate) key_len: usize,
    pub(crate) bounds: Vec<Bound>,
}

impl SampleSink<'_> {
    pub(crate) fn take(&mut self, tuple: &[u8]) -> Result<()> {
        let fields = Fields::new(tuple).collect::<Result<Vec<_>>>()?;
        let Some((key, texts)) = fields.split_at_checked(self.key_len) else { return Ok(()) };
        let text: Option<Vec<_>> =
            texts.iter().map(|text| text.and_then(|text| String::from_utf8(text.to_vec()).ok())).collect();
        // A NULL in a key is damage; it is no bound, and its row files under the last chunk.
        if let Some(text) = text {
            self.bounds.push(Bound { encoded: self.form.bound_from_fields(key)?, text });
        }
        Ok(())
    }
}

pub(crate) struct TallySink<'a> {
    pub(crate) filer: Filer<'a>,
    pub(crate) canonical: Canonicalizer,
    pub(crate) tallies: Vec<Tally>,
    pub(crate) slice: &'a Slice,
}

impl TallySink<'_> {
    pub(crate) fn take(&mut self, tuple: &[u8]) -> Result<()> {
        let row = self.canonical.row(tuple)?;
        let digest = RowDigest::of(row.image());
        let chunk = self.filer.chunk(&row, &digest)?;
        check_inside(self.slice, chunk)?;
        if let Some(tally) = self.tallies.get_mut(chunk as usize) {
            tally.add(&digest);
        }
        Ok(())
    }
}

/// A row must file under the chunks that it was read for.
fn check_inside(slice: &Slice, chunk: u32) -> Result<()> {
    match slice {
        Slice::Chunks { first, last } if !(*first..=*last).contains(&chunk) => {
            Err(Error::new(ErrorKind::OutsideChunk, "a row came back outside of the key range that it was read for")
                .with_hint(
                    "check the index of the key with amcheck, or REINDEX it: its order is not the order of its keys",
                ))
        }
        _ => Ok(()),
    }
}

pub(crate) struct DigestSink<'a> {
    pub(crate) filer: Filer<'a>,
    pub(crate) canonical: Canonicalizer,
    pub(crate) fields: usize,
    pub(crate) tallies: Vec<Tally>,
    pub(crate) entries: Entries,
    pub(crate) held: Held<'a>,
    pub(crate) unit: &'a DrillUnit,
}

impl DigestSink<'_> {
    pub(crate) fn take(&mut self, tuple: &[u8]) -> Result<()> {
        let (image, position) = split_position(tuple, self.fields, POSITION_FIELDS)?;
        let row = self.canonical.row(&image)?;
        let digest = RowDigest::of(row.image());
        let chunk = self.filer.chunk(&row, &digest)?;
        let Ok(at) = self.unit.chunks.binary_search(&chunk) else { return Ok(()) };
        if let Some(tally) = self.tallies.get_mut(at) {
            tally.add(&digest);
        }
        let key = self.filer.key_hash(&row, &digest)?;
        let [.., a, b, c, d, e, f, g, h] = key;
        if u64::from_le_bytes([a, b, c, d, e, f, g, h]) % self.unit.parts == self.unit.part {
            let mut short = [0; 16];
            short.copy_from_slice(&digest.as_bytes()[..16]);
            self.entries.push(Entry { key, digest: short, position: position.at, copies: 1 });
            if self.held.update(self.entries.kept()) > ENTRIES_MAX {
                self.entries.overflow();
            }
        }
        Ok(())
    }
}

/// What one job holds of what all jobs of a unit and a side may hold together, however many there are.
pub(crate) struct Held<'a> {
    all: &'a AtomicUsize,
    own: usize,
}

impl<'a> Held<'a> {
    pub(crate) fn new(all: &'a AtomicUsize) -> Self {
        Self { all, own: 0 }
    }

    /// The job holds so many now. Returns what all hold together.
    fn update(&mut self, own: usize) -> usize {
        if own > self.own {
            self.all.fetch_add(own - self.own, Ordering::Relaxed);
        } else if own < self.own {
            self.all.fetch_sub(self.own - own, Ordering::Relaxed);
        }
        self.own = own;
        self.all.load(Ordering::Relaxed)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.update(0);
    }
}

pub(crate) struct RowSink<'a> {
    pub(crate) canonical: Canonicalizer,
    pub(crate) fields: usize,
    pub(crate) rows: Vec<SampledRow>,
    pub(crate) wanted: &'a [Position],
}

impl RowSink<'_> {
    pub(crate) fn take(&mut self, tuple: &[u8]) -> Result<()> {
        let (image, position) = split_position(tuple, self.fields, POSITION_FIELDS + 1)?;
        if self.wanted.contains(&position.at) {
            let row = self.canonical.row(&image)?;
            self.rows.push(SampledRow::new(&row, position.at, position.texts)?);
        }
        Ok(())
    }
}

struct Behind<'a> {
    at: Position,
    texts: Option<&'a [u8]>,
}

/// Takes the fields behind the image off a tuple: the image is what a plain reading would have brought.
fn split_position(tuple: &[u8], fields: usize, behind: usize) -> Result<(Vec<u8>, Behind<'_>)> {
    let corrupt = || Error::new(ErrorKind::Corrupt, "a server sent a row without its position");
    let mut iter = Fields::new(tuple);
    let mut end = 2;
    let mut next = || iter.next().ok_or_else(corrupt)?;
    for _ in 0..fields {
        end += 4 + next()?.map_or(0, <[u8]>::len);
    }
    let at = Position::from_fields(next()?, next()?).ok_or_else(corrupt)?;
    let texts = if behind > POSITION_FIELDS { next()? } else { None };
    let count = i16::try_from(fields).map_err(|_| corrupt())?;
    let mut image = count.to_be_bytes().to_vec();
    image.extend_from_slice(tuple.get(2..end).ok_or_else(corrupt)?);
    Ok((image, Behind { at, texts }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_jobs_hold_is_counted_together_until_they_end() {
        let all = AtomicUsize::new(0);
        let mut a = Held::new(&all);
        let mut b = Held::new(&all);
        assert_eq!((a.update(10), b.update(5), a.update(3)), (10, 15, 8));
        drop(b);
        assert_eq!(a.update(3), 3);
        drop(a);
        assert_eq!(all.into_inner(), 0);
    }
}
