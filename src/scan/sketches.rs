//! Sketches of tables while they are read, and what comes out of them, within a bound for a whole sync point.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::gate::window::{Value, Values};
use crate::plan::{Chunking, Slice};
use crate::row::{KeyTexts, RowDigest, Sketch, SketchKey, key_hash};
use crate::scan::{DrillUnit, Job};
use crate::side::Sides;

/// KiB that all sketches take at a time, of the 64 MiB that a run may use: 32 of tables. Each job that reads rows has one, and
/// each table or chunk of which one side was read before the other. What gets none is drilled into by reading divergent chunks
/// again.
const SKETCHES_KIB_MAX: usize = 12 << 10;

/// How many sketches there may still be.
#[derive(Debug, Clone)]
pub(crate) struct Sketches(Arc<Semaphore>);

impl Default for Sketches {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(SKETCHES_KIB_MAX)))
    }
}

impl Sketches {
    /// Keeps an empty sketch, if there may be one more.
    fn hold(&self, sketch: Sketch) -> Option<TableSketch> {
        let kib = u32::try_from(sketch.bytes().div_ceil(1 << 10)).ok()?;
        let held = Arc::clone(&self.0).try_acquire_many_owned(kib).ok()?;
        Some(TableSketch { sketch, held })
    }

    /// An empty sketch for a slice, if it is of any use there: where differing rows can be looked up by their key on both sides.
    /// Chunks that are read one by one have their own.
    pub(crate) fn for_slice(&self, job: &Job, chunking: &Chunking, slice: &Slice) -> Option<TableSketch> {
        let table = &job.table;
        let Sides { publisher, subscriber } = table.pair.relations.as_ref().map(|relation| relation.key_index);
        let sets_aside = job.advance.as_ref().is_some_and(|advance| advance.sets_aside());
        // A single chunk is small.
        let useful = chunking.count() > 1 && publisher && subscriber && !sets_aside;
        if !useful || KeyTexts::new(&table.pair, &table.shape).is_none() {
            return None;
        }
        match slice {
            Slice::Chunks { first, last } if first == last => self.hold(Sketch::of_chunk()),
            Slice::Chunks { .. } => None,
            Slice::Blocks { .. } | Slice::Whole | Slice::Images => self.hold(Sketch::of_table()),
        }
    }
}

/// A sketch of some rows of a table or a chunk, or of what its two sides differ in.
#[derive(Debug)]
pub(crate) struct TableSketch {
    sketch: Sketch,
    held: OwnedSemaphorePermit,
}

impl TableSketch {
    pub(crate) fn add(&mut self, key: &SketchKey, digest: &RowDigest) {
        self.sketch.add(key, digest);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.sketch.merge(&other.sketch);
    }

    pub(crate) fn subtract(&mut self, other: &Self) {
        self.sketch.subtract(&other.sketch);
    }

    /// The keys that come out of it, as far as they belong to some chunks and can be looked up; `None` if there are none.
    pub(crate) fn wanted(self, texts: &KeyTexts, chunking: &Arc<Chunking>, divergent: &[u32]) -> Option<LocatedKeys> {
        let Self { sketch, held } = self;
        let mut keys = Vec::new();
        let mut chunk_of = BTreeMap::new();
        for key in sketch.peel().iter().filter_map(|key| texts.write(key)) {
            let chunk = chunking.chunk_of_key(&key.normal_form);
            if divergent.contains(&chunk) {
                chunk_of.insert(key_hash(&key.normal_form), chunk);
                keys.push(key.texts.into_iter().map(|text| Value::Text(text.into())).collect());
            }
        }
        let mut chunks: Vec<u32> = chunk_of.values().copied().collect();
        chunks.sort_unstable();
        chunks.dedup();
        let unit = DrillUnit { chunking: Arc::clone(chunking), chunks, part: 0, parts: 1, held: Sides::default() };
        (!keys.is_empty()).then(|| LocatedKeys { unit: Arc::new(unit), keys, chunk_of, _held: held })
    }
}

/// Keys whose rows seem to differ. They take no more than the sketch that they came out of.
#[derive(Debug)]
pub(crate) struct LocatedKeys {
    /// Their chunks.
    pub unit: Arc<DrillUnit>,
    /// The keys, as texts.
    pub keys: Vec<Values>,
    /// The chunk of each, by its hash.
    pub chunk_of: BTreeMap<[u8; 16], u32>,
    _held: OwnedSemaphorePermit,
}

impl LocatedKeys {
    /// Whether the rows of a key were asked for.
    #[must_use]
    pub(crate) fn has(&self, key: Option<&[u8; 16]>) -> bool {
        key.is_some_and(|key| self.chunk_of.contains_key(key))
    }
}

/// Keys that are looked up by one statement: some ten kilobytes of it.
pub(crate) const KEYS_PER_STATEMENT: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::testing::{builtin, column, pair};
    use crate::row::{Row, Shape};

    #[test]
    fn there_are_only_so_many_at_a_time() {
        let sketches = Sketches::default();
        let mut all: Vec<_> = (0..32).filter_map(|_| sketches.hold(Sketch::of_table())).collect();
        assert_eq!((all.len(), sketches.hold(Sketch::of_chunk()).is_none()), (32, true));
        all.truncate(31);
        let chunks: Vec<_> = (0..100).filter_map(|_| sketches.hold(Sketch::of_chunk())).collect();
        assert_eq!(chunks.len(), 16);
    }

    #[test]
    fn keys_of_chunks_that_agree_are_not_wanted() {
        let pair = pair(vec![column("id", &builtin("int8"))], &[0]);
        let shape = Shape::new(&pair);
        let texts = KeyTexts::new(&pair, &shape).expect("can be written");
        let chunking = Arc::new(Chunking::Buckets { of: 2 });
        let first = || Sketches::default().hold(Sketch::of_table()).expect("the first");
        let mut sketch = first();
        let mut expected = Vec::new();
        for id in 0..100i64 {
            let image = crate::row::testing::tuple(&[Some(&id.to_be_bytes())]);
            let mut key = Vec::new();
            shape.key_form().encode(&Row::new(&image), &mut key).expect("valid");
            sketch.add(&SketchKey::new(&key).expect("short"), &RowDigest::of(&image));
            if chunking.chunk_of_key(&key) == 1 {
                expected.push(vec![Value::Text(id.to_string().into())]);
            }
        }
        let wanted = sketch.wanted(&texts, &chunking, &[1]).expect("some");
        assert_eq!((&wanted.keys, &wanted.unit.chunks), (&expected, &vec![1]));
        assert!(wanted.chunk_of.len() == expected.len() && !wanted.has(None) && !wanted.has(Some(&[0; 16])));
        assert!(first().wanted(&texts, &chunking, &[1]).is_none());
    }
}
