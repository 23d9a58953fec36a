//! What becomes of the rows of a COPY, one sink for each kind of work.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, ErrorKind, Result};
use crate::gate::window::{QUIET, VALUE_BYTES, Value, Values};
use crate::plan::{Advance, Chunking, KeySample, KeysOf, Position, Slice};
use crate::row::{
    Canonicalizer, DigestBatch, Fields, KeyForm, RowDigest, Shape, SketchKey, Tally, key_hash, text_array,
};
use crate::scan::filer::Filer;
use crate::scan::{DrillUnit, ENTRIES_MAX, Entries, Entry, LocatedKeys, Piece, SampledRow, TableSketch};

/// Bytes of identities that may be set aside in a run: as much as a decoded window may hold.
pub(crate) const ASIDE_BYTES_MAX: usize = 16 << 20;

/// Fields behind the image that tell where a row lies: `tableoid`, `ctid`.
pub(crate) const POSITION_FIELDS: usize = 2;
/// What a reused buffer may keep after a large row, in bytes.
const KEPT_IMAGE_BYTES: usize = 64 * 1024;

pub(crate) struct SampleSink<'a> {
    pub(crate) form: &'a KeyForm,
    pub(crate) key_len: usize,
    pub(crate) sample: KeySample,
}

impl SampleSink<'_> {
    pub(crate) fn take(&mut self, tuple: &[u8]) -> Result<()> {
        let fields = Fields::new(tuple).collect::<Result<Vec<_>>>()?;
        let Some((key, texts)) = fields.split_at_checked(self.key_len) else { return Ok(()) };
        let texts: Option<Vec<_>> =
            texts.iter().map(|text| text.and_then(|text| std::str::from_utf8(text).ok())).collect();
        // A NULL in a key is damage; it is no bound, and its row files under the last chunk.
        if let Some(texts) = texts {
            self.sample.push(self.form.bound_from_fields(key)?, &texts);
        }
        Ok(())
    }
}

pub(crate) struct TallySink<'a> {
    canonical: Canonicalizer,
    /// Rows that wait for their digest, each with its chunk where that is known, and its key where there is a sketch.
    batch: DigestBatch<(Option<u32>, Option<SketchKey>)>,
    tallies: Tallies<'a>,
}

/// The tallies of all chunks that have rows, and the sketch where one was made.
pub(crate) type Tallied = (Vec<(u32, Tally)>, Option<TableSketch>);

struct Tallies<'a> {
    filer: Filer<'a>,
    slice: &'a Slice,
    of_chunks: Vec<Tally>,
    sketch: Option<TableSketch>,
}

impl<'a> TallySink<'a> {
    pub(crate) fn new(shape: &'a Shape, chunking: &'a Chunking, slice: &'a Slice, sketch: Option<TableSketch>) -> Self {
        let of_chunks = vec![Tally::default(); chunking.count() as usize];
        let tallies = Tallies { filer: Filer::new(shape, chunking), slice, of_chunks, sketch };
        Self { canonical: shape.canonicalizer(), batch: DigestBatch::default(), tallies }
    }

    pub(crate) fn take(&mut self, tuple: &[u8]) -> Result<()> {
        let row = self.canonical.row(tuple)?;
        let chunk = self.tallies.filer.chunk_of_row(&row)?;
        if let Some(chunk) = chunk {
            check_inside(self.tallies.slice, chunk)?;
        }
        let key = self.tallies.sketch.as_ref().and_then(|_| self.tallies.filer.sketch_key());
        self.batch.push(row.image(), (chunk, key), |(chunk, key), digest| self.tallies.add(chunk, key, digest))
    }

    /// The tallies of all chunks that have rows, and the sketch.
    pub(crate) fn finish(mut self) -> Result<Tallied> {
        self.batch.finish(|(chunk, key), digest| self.tallies.add(chunk, key, digest))?;
        let Tallies { of_chunks, sketch, .. } = self.tallies;
        Ok(((0..).zip(of_chunks).filter(|(_, tally)| tally.rows() > 0).collect(), sketch))
    }
}

impl Tallies<'_> {
    fn add(&mut self, chunk: Option<u32>, key: Option<SketchKey>, digest: &RowDigest) -> Result<()> {
        let chunk = match chunk {
            Some(chunk) => chunk,
            None => {
                let chunk = self.filer.chunk_of_digest(digest);
                check_inside(self.slice, chunk)?;
                chunk
            }
        };
        if let Some(tally) = self.of_chunks.get_mut(chunk as usize) {
            tally.add(digest);
        }
        if let (Some(sketch), Some(key)) = (&mut self.sketch, key) {
            sketch.add(&key, digest);
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
    canonical: Canonicalizer,
    fields: usize,
    image: Vec<u8>,
    /// Rows that wait for their digest.
    batch: DigestBatch<Waiting>,
    /// Only the rows of these keys, if not all, and but for those that do not count.
    only: Option<(&'a LocatedKeys, Option<&'a Advance>)>,
    listed: Listed<'a>,
}

/// What is known of a row before its digest is.
struct Waiting {
    /// Where the digest does not decide it.
    chunk: Option<u32>,
    /// `None` for a table without a key.
    key: Option<[u8; 16]>,
    position: Position,
}

struct Listed<'a> {
    filer: Filer<'a>,
    tallies: Vec<Tally>,
    entries: Entries,
    held: Held<'a>,
    unit: &'a DrillUnit,
}

impl<'a> DigestSink<'a> {
    pub(crate) fn new(shape: &'a Shape, unit: &'a DrillUnit, held: &'a AtomicUsize) -> Self {
        let listed = Listed {
            filer: Filer::new(shape, &unit.chunking),
            tallies: vec![Tally::default(); unit.chunks.len()],
            entries: Entries::default(),
            held: Held::new(held),
            unit,
        };
        let fields = shape.columns().len();
        let batch = DigestBatch::default();
        Self { canonical: shape.canonicalizer(), fields, image: Vec::new(), batch, only: None, listed }
    }

    /// Takes only the rows of some keys, of those that count.
    pub(crate) fn only(self, wanted: &'a LocatedKeys, advance: Option<&'a Advance>) -> Self {
        Self { only: Some((wanted, advance)), ..self }
    }

    pub(crate) fn take(&mut self, tuple: &[u8]) -> Result<()> {
        let position = split_position(tuple, self.fields, POSITION_FIELDS, &mut self.image)?.at;
        if self.only.and_then(|(_, advance)| advance).is_some_and(|advance| advance.leaves_out(position)) {
            return Ok(());
        }
        let row = self.canonical.row(&self.image)?;
        let chunk = self.listed.filer.chunk_of_row(&row)?;
        if chunk.is_some_and(|chunk| self.listed.unit.chunks.binary_search(&chunk).is_err()) {
            return Ok(());
        }
        let key = self.listed.filer.key_hash_of_row(&row)?;
        if self.only.is_some_and(|(wanted, _)| !wanted.has(key.as_ref())) {
            return Ok(());
        }
        let waiting = Waiting { chunk, key, position };
        self.batch.push(row.image(), waiting, |waiting, digest| {
            self.listed.take(&waiting, digest);
            Ok(())
        })
    }

    /// The digests as a piece.
    pub(crate) fn finish(mut self) -> Result<Piece> {
        self.batch.finish(|waiting, digest| -> Result<()> {
            self.listed.take(&waiting, digest);
            Ok(())
        })?;
        let Listed { tallies, entries, unit, .. } = self.listed;
        Ok(Piece::Digests(entries.finish(), unit.chunks.iter().copied().zip(tallies).collect()))
    }
}

impl Listed<'_> {
    fn take(&mut self, waiting: &Waiting, digest: &RowDigest) {
        let chunk = waiting.chunk.unwrap_or_else(|| self.filer.chunk_of_digest(digest));
        let Ok(at) = self.unit.chunks.binary_search(&chunk) else { return };
        if let Some(tally) = self.tallies.get_mut(at) {
            tally.add(digest);
        }
        let key = waiting.key.unwrap_or_else(|| key_hash(digest.as_bytes()));
        let [.., a, b, c, d, e, f, g, h] = key;
        if u64::from_le_bytes([a, b, c, d, e, f, g, h]) % self.unit.parts == self.unit.part {
            let mut short = [0; 16];
            short.copy_from_slice(&digest.as_bytes()[..16]);
            self.entries.push(Entry { key, digest: short, position: waiting.position, copies: 1 });
            if self.held.update(self.entries.kept()) > ENTRIES_MAX {
                self.entries.overflow();
            }
        }
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
    pub(crate) image: Vec<u8>,
    pub(crate) rows: Vec<SampledRow>,
    pub(crate) wanted: &'a [Position],
}

impl RowSink<'_> {
    pub(crate) fn take(&mut self, tuple: &[u8]) -> Result<()> {
        let position = split_position(tuple, self.fields, POSITION_FIELDS + 1, &mut self.image)?;
        if self.wanted.contains(&position.at) {
            let row = self.canonical.row(&self.image)?;
            self.rows.push(SampledRow::new(&row, position.at, position.texts)?);
        }
        Ok(())
    }
}

pub(crate) struct KeySink<'a> {
    of: &'a KeysOf,
    keys: Vec<Values>,
    bytes: usize,
    unreadable: Option<Error>,
}

impl<'a> KeySink<'a> {
    pub(crate) fn new(of: &'a KeysOf) -> Self {
        Self { of, keys: Vec::new(), bytes: 0, unreadable: None }
    }

    pub(crate) fn take(&mut self, tuple: &[u8]) -> Result<()> {
        let corrupt = || Error::new(ErrorKind::Corrupt, "a server sent no key for a row that was asked for");
        let fields = Fields::new(tuple).collect::<Result<Vec<_>>>()?;
        let [Some(texts), heap, place] = fields.as_slice() else { return Err(corrupt()) };
        let position = Position::from_fields(*heap, *place).ok_or_else(corrupt)?;
        if matches!(self.of, KeysOf::At(wanted) if wanted.binary_search(&position).is_err()) {
            return Ok(());
        }
        let texts = match text_array(texts) {
            Ok(texts) => texts,
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                // Nothing would be found by it, and its row would be taken for one that did not change. The stream is read to its
                // end: the session with it.
                self.unreadable = Some(error);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let key: Values =
            texts.into_iter().map(|text| text.map_or(Value::Null, |text| Value::Text(text.into()))).collect();
        self.bytes += key_bytes(&key);
        if self.bytes > ASIDE_BYTES_MAX {
            return Err(too_many());
        }
        self.keys.push(key);
        Ok(())
    }

    /// The identities.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where a row cannot be looked up by its own.
    pub(crate) fn finish(self) -> Result<Vec<Values>> {
        match self.unreadable {
            None => Ok(self.keys),
            Some(error) => Err(Error::new(
                ErrorKind::Unsupported,
                format!("a row that changed cannot be looked up by what identifies it ({error}): {QUIET}"),
            )),
        }
    }
}

/// What an identity costs.
pub(crate) fn key_bytes(key: &Values) -> usize {
    key.iter().map(|value| VALUE_BYTES + if let Value::Text(text) = value { text.len() } else { 0 }).sum()
}

/// More rows changed than can be set aside.
pub(crate) fn too_many() -> Error {
    let message = format!("more than {} MiB of keys would have to be looked at again", ASIDE_BYTES_MAX >> 20);
    Error::new(ErrorKind::Unsupported, message).with_hint("with a temporary slot (REPLICATION) they need not be")
}

pub(crate) struct Behind<'a> {
    pub(crate) at: Position,
    pub(crate) texts: Option<&'a [u8]>,
}

/// Takes the fields behind the image off a tuple: the image is what a plain reading would have brought.
pub(crate) fn split_position<'a>(
    tuple: &'a [u8],
    fields: usize,
    behind: usize,
    image: &mut Vec<u8>,
) -> Result<Behind<'a>> {
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
    image.clear();
    image.shrink_to(KEPT_IMAGE_BYTES);
    image.extend_from_slice(&count.to_be_bytes());
    image.extend_from_slice(tuple.get(2..end).ok_or_else(corrupt)?);
    Ok(Behind { at, texts })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::Bound;
    use crate::row::testing::{builtin, column, pair, tuple};

    /// Rows `(id bigint, value float8, note text)`: some ids twice, any bits of a float, notes of all lengths.
    fn rows() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let note = prop::option::of((0usize..1200, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]));
        let short = prop::option::of(prop::collection::vec(any::<u8>(), 0..100));
        let row = (0i64..300, any::<u64>(), prop_oneof![note, short]).prop_map(|(id, value, note)| {
            tuple(&[Some(&id.to_be_bytes()), Some(&value.to_be_bytes()), note.as_deref()])
        });
        prop::collection::vec(row, 0..200)
    }

    fn shape(key: &[usize]) -> Shape {
        let columns = [("id", "int8"), ("value", "float8"), ("note", "text")];
        Shape::new(&pair(columns.map(|(name, facts)| column(name, &builtin(facts))).to_vec(), key))
    }

    fn ranges(shape: &Shape, at: &[i64]) -> Chunking {
        let bound = |id: &i64| Bound {
            encoded: shape.key_form().bound_from_fields(&[Some(&id.to_be_bytes())]).expect("valid"),
            text: vec![id.to_string()],
        };
        Chunking::Ranges(at.iter().map(bound).collect())
    }

    fn tallies(shape: &Shape, chunking: &Chunking, slice: &Slice, rows: &[Vec<u8>]) -> Result<Vec<(u32, Tally)>> {
        let mut sink = TallySink::new(shape, chunking, slice, None);
        rows.iter().try_for_each(|row| sink.take(row))?;
        Ok(sink.finish()?.0)
    }

    /// Row by row.
    fn naive(shape: &Shape, chunking: &Chunking, rows: &[Vec<u8>]) -> Vec<(u32, Tally)> {
        let mut canonical = shape.canonicalizer();
        let mut tallies = std::collections::BTreeMap::<u32, Tally>::new();
        for tuple in rows {
            let row = canonical.row(tuple).expect("valid");
            let digest = RowDigest::of(row.image());
            let mut key = Vec::new();
            shape.key_form().encode(&row, &mut key).expect("valid");
            let key = if shape.key_len() > 0 { key.as_slice() } else { digest.as_bytes() };
            let chunk = if chunking.count() == 1 { 0 } else { chunking.chunk_of_key(key) };
            tallies.entry(chunk).or_default().add(&digest);
        }
        tallies.into_iter().collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_row_counts_in_its_chunk(rows in rows()) {
            let (keyed, keyless) = (shape(&[0]), shape(&[]));
            for (shape, chunking) in [
                (&keyed, ranges(&keyed, &[100, 101, 250])),
                (&keyed, ranges(&keyed, &[])),
                (&keyed, Chunking::Buckets { of: 7 }),
                (&keyless, Chunking::Buckets { of: 7 }),
                (&keyless, Chunking::Buckets { of: 1 }),
            ] {
                let tallies = tallies(shape, &chunking, &Slice::Whole, &rows).expect("inside");
                prop_assert_eq!(tallies.iter().map(|(_, tally)| tally.rows()).sum::<u64>(), rows.len() as u64);
                prop_assert_eq!(tallies, naive(shape, &chunking, &rows));
            }
        }
    }

    #[test]
    fn a_row_outside_of_its_slice_is_an_error_also_if_it_is_the_last_one() {
        let row = |id: i64| tuple(&[Some(&id.to_be_bytes()), None, None]);
        let (keyed, keyless) = (shape(&[0]), shape(&[]));
        let slice = Slice::Chunks { first: 0, last: 0 };
        let chunking = ranges(&keyed, &[10]);
        let inside: Vec<_> = (0..10).map(row).collect();
        assert_eq!(tallies(&keyed, &chunking, &slice, &inside).expect("inside"), naive(&keyed, &chunking, &inside));
        let chunking_of_digests = Chunking::Buckets { of: 2 };
        let rows = [inside, vec![row(10)]].concat();
        for (shape, chunking) in [(&keyed, &chunking), (&keyless, &chunking_of_digests)] {
            let error = tallies(shape, chunking, &slice, &rows).expect_err("outside");
            assert_eq!(error.kind(), ErrorKind::OutsideChunk);
        }
    }

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
