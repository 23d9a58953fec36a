//! Samples of keys, from which the ranges of a table are cut: as large as a good cut takes, as far as memory goes.

use crate::catalog::TablePair;
use crate::plan::{Bound, Chunking, Limits, chunk_rows, cut_ranges, estimated_rows};
use crate::row::{Shape, key_hash};

/// Sampled keys wanted per chunk: the error of a chunk's size is about one in the root of this.
const SAMPLES_PER_CHUNK: u64 = 64;
/// Sampled blocks wanted per chunk. Keys that follow the heap give one position per block, so fewer would cut unevenly.
const BLOCKS_PER_CHUNK: u64 = 64;
/// Keys that are asked for at most: still six for each of the most chunks that there are, so that few of these get more than
/// twice their share of rows. About what the bytes of a sample hold of integers.
const WANTED_MAX: u64 = 24_576;
/// Keys that a sample holds at most: more than are asked for, as the number of rows is an estimate.
const KEYS_MAX: usize = 32_768;
/// Bytes that a sample of keys holds at most.
const SAMPLE_BYTES_MAX: usize = 4 << 20;
/// Bytes that all samples hold together which are taken at the same time, one by each session.
const ALL_SAMPLES_BYTES_MAX: usize = 16 << 20;
/// Bytes of a table's bounds at most: they are kept until the table is settled. Enough for 4096 of 500 bytes.
const BOUNDS_BYTES_MAX: usize = 2 << 20;
/// Bytes of a key that makes a bound at most. A B-tree takes keys of a third of a page (PostgreSQL manual, "B-Tree Indexes",
/// and `BTMaxItemSize` in nbtree.h), longer ones only where they compress well.
const BOUND_BYTES_MAX: usize = 16 << 10;
/// What an allocation costs besides its bytes, in bytes: a header, and what it is rounded up to.
const ALLOCATION_BYTES: usize = 16;

/// How many keys are to be sampled, and from what share of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SampleSpec {
    /// Chunks to cut.
    pub chunks: u64,
    /// Percentage of blocks (`TABLESAMPLE SYSTEM`).
    pub block_percent: f64,
    /// Share of the rows in those blocks, 0 to 1.
    pub row_share: f64,
    /// Bytes that the sample may hold, whatever comes.
    pub bytes_max: usize,
}

/// What must be known before the table can be cut: a sample of its keys, or nothing (`Err` holds the chunking).
///
/// # Errors
/// The chunking itself, where no sample is needed: hash buckets, or a single range.
pub(crate) fn sample_spec(pair: &TablePair, shape: &Shape, limits: &Limits) -> Result<SampleSpec, Chunking> {
    let rows = estimated_rows(pair);
    let chunks = rows.div_ceil(chunk_rows(pair, limits)).max(1);
    if shape.order().is_none() {
        return Err(Chunking::Buckets { of: u32::try_from(chunks).unwrap_or(u32::MAX) });
    }
    if chunks == 1 {
        return Err(Chunking::Ranges(Vec::new()));
    }
    let publisher = &pair.relations.publisher;
    let blocks: u64 = publisher.heaps.iter().map(|heap| heap.blocks).sum::<u64>().max(1);
    let blocks_wanted = (chunks * BLOCKS_PER_CHUNK).min(blocks);
    let rows_in_them = publisher.rows_estimate.max(1) as f64 * (blocks_wanted as f64 / blocks as f64);
    let wanted = (chunks * SAMPLES_PER_CHUNK).min(WANTED_MAX);
    Ok(SampleSpec {
        chunks,
        block_percent: 100.0 * blocks_wanted as f64 / blocks as f64,
        row_share: (wanted as f64 / rows_in_them).min(1.0),
        bytes_max: SAMPLE_BYTES_MAX.min(ALL_SAMPLES_BYTES_MAX / limits.jobs.max(1)),
    })
}

/// Keys of a table while they come in, of which it keeps a uniform sample in bounded memory: those with the smallest hashes. So
/// it takes no chance to choose them, and a key that comes often counts once.
#[derive(Debug)]
pub(crate) struct KeySample {
    /// All keys so far whose hash is not above the limit, with their hashes; a key may be there several times.
    kept: Vec<(u64, Bound)>,
    hash_max: u64,
    bytes: usize,
    bytes_max: usize,
}

impl KeySample {
    /// A sample as a specification wants it.
    #[must_use]
    pub(crate) fn new(spec: &SampleSpec) -> Self {
        Self { kept: Vec::new(), hash_max: u64::MAX, bytes: 0, bytes_max: spec.bytes_max }
    }

    /// Takes in a key: its normal form, and its columns as texts.
    pub(crate) fn push(&mut self, mut encoded: Vec<u8>, text: &[&str]) {
        let [a, b, c, d, e, f, g, h, ..] = key_hash(&encoded);
        let hash = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        if hash > self.hash_max {
            return;
        }
        // It would be a bound that costs as much as many others.
        if encoded.len() + text.iter().map(|text| text.len()).sum::<usize>() > BOUND_BYTES_MAX {
            return;
        }
        encoded.shrink_to_fit();
        let bound = Bound { encoded, text: text.iter().map(|&text| text.to_owned()).collect() };
        self.bytes += cost(&bound);
        self.kept.push((hash, bound));
        if self.kept.len() >= KEYS_MAX || self.bytes > self.bytes_max {
            self.thin();
        }
    }

    /// Lets go of the keys with the largest hashes, so that there is room for others.
    fn thin(&mut self) {
        self.kept.sort_unstable_by(|(a, x), (b, y)| (a, &x.encoded).cmp(&(b, &y.encoded)));
        self.kept.dedup_by(|(_, bound), (_, before)| bound.encoded == before.encoded);
        let (keys_max, bytes_max) = (KEYS_MAX / 8 * 7, self.bytes_max / 8 * 7);
        let mut bytes = 0;
        let fits = |(_, bound): &&(u64, Bound)| {
            let with_it = bytes + cost(bound);
            let fits = with_it <= bytes_max;
            if fits {
                bytes = with_it;
            }
            fits
        };
        let count = self.kept.iter().take(keys_max).take_while(fits).count();
        if count < self.kept.len() {
            self.kept.truncate(count);
            self.hash_max = self.kept.last().map_or(0, |(hash, _)| *hash);
        }
        self.bytes = bytes;
    }

    /// Cuts ranges of about equal size; fewer than are wanted where there are fewer keys, or where their bounds would cost too
    /// much.
    #[must_use]
    pub(crate) fn cut(self, chunks: u64) -> Chunking {
        let each = (self.bytes / self.kept.len().max(1)).max(1);
        let affordable = (BOUNDS_BYTES_MAX / each).max(1) as u64;
        cut_ranges(self.kept.into_iter().map(|(_, bound)| bound).collect(), chunks.min(affordable))
    }
}

/// What a bound costs in a sample, in bytes.
fn cost(bound: &Bound) -> usize {
    let text: usize = bound.text.iter().map(|text| size_of::<String>() + ALLOCATION_BYTES + text.len()).sum();
    size_of::<(u64, Bound)>() + 2 * ALLOCATION_BYTES + bound.encoded.len() + text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::catalog::Heap;
    use crate::row::testing::{builtin, column, pair};

    /// A table that is read by so many sessions.
    fn spec(blocks: u64, rows: u64, jobs: usize) -> SampleSpec {
        let mut pair = pair(vec![column("id", &builtin("int8"))], &[0]);
        let name = pair.name.clone();
        for relation in [&mut pair.relations.publisher, &mut pair.relations.subscriber] {
            relation.heaps = vec![Heap { oid: 7, name: name.clone(), blocks, readable: true, is_heap: true }];
            (relation.rows_estimate, relation.bytes) = (rows, blocks * 8192);
        }
        let limits = Limits { chunk_rows: None, snapshot_age_max: Duration::from_secs(900), jobs };
        sample_spec(&pair, &Shape::new(&pair), &limits).expect("ranges")
    }

    /// Rows of each chunk.
    fn sizes(chunking: &Chunking, keys: impl Iterator<Item = Vec<u8>>) -> Vec<u64> {
        let mut sizes = vec![0; chunking.count() as usize];
        keys.for_each(|key| sizes[chunking.chunk_of_key(&key) as usize] += 1);
        sizes
    }

    fn key(at: u64) -> Vec<u8> {
        at.to_be_bytes().to_vec()
    }

    #[test]
    fn fewer_keys_per_chunk_are_asked_for_where_there_are_many_chunks() {
        let few = spec(40_000, 10 * 65_536, 4);
        assert_eq!(few.chunks, 10);
        let expected = |spec: SampleSpec, rows: u64| rows as f64 * spec.block_percent / 100.0 * spec.row_share;
        assert!((expected(few, 10 * 65_536) - 640.0).abs() < 1.0, "{few:?}");
        let many = spec(1 << 30, 100_000_000_000, 4);
        assert_eq!(many.chunks, 4096);
        assert!((expected(many, 100_000_000_000) - WANTED_MAX as f64).abs() < 1.0, "{many:?}");
        // All sessions may take samples at the same time.
        for jobs in [1, 4, 64] {
            assert!(jobs * spec(1 << 30, 100_000_000_000, jobs).bytes_max <= ALL_SAMPLES_BYTES_MAX);
        }
    }

    /// As where ANALYZE has seen the table when it was small: every row of many blocks comes.
    #[test]
    fn a_sample_of_far_too_many_keys_is_small_and_cuts_evenly() {
        const KEYS: u64 = 300_000;
        let spec = spec(1 << 30, 100_000_000_000, 4);
        let sample = || {
            let mut sample = KeySample::new(&spec);
            for at in 0..KEYS {
                sample.push(key(at), &[&at.to_string()]);
                assert!(sample.kept.len() <= KEYS_MAX && sample.bytes <= spec.bytes_max);
            }
            assert_eq!(sample.bytes, sample.kept.iter().map(|(_, bound)| cost(bound)).sum::<usize>());
            assert!(sample.kept.len() > 20_000, "{}", sample.kept.len());
            sample
        };
        for (chunks, smallest, largest) in [(64, 0.7, 1.4), (4096, 0.0, 6.0)] {
            let chunking = sample().cut(chunks);
            assert_eq!(u64::from(chunking.count()), chunks);
            let mean = KEYS as f64 / chunks as f64;
            let sizes = sizes(&chunking, (0..KEYS).map(key));
            let even = |&size: &u64| (smallest * mean..=largest * mean).contains(&(size as f64));
            assert!(sizes.iter().all(even), "{sizes:?}");
            assert_eq!(sample().cut(chunks), chunking);
        }
    }

    #[test]
    fn long_keys_are_fewer_and_make_fewer_chunks() {
        const KEYS: u64 = 20_000;
        let spec = spec(1 << 30, 100_000_000_000, 64);
        let long = |at: u64| [key(at), vec![7; 1000]].concat();
        let text = "x".repeat(1000);
        let mut sample = KeySample::new(&spec);
        for at in 0..KEYS {
            sample.push(long(at), &[&text]);
            assert!(sample.bytes <= spec.bytes_max);
        }
        assert!(sample.kept.len() > 50, "{}", sample.kept.len());
        let chunking = sample.cut(16);
        let sizes = sizes(&chunking, (0..KEYS).map(long));
        assert_eq!(sizes.len(), 16);
        assert!(sizes.iter().all(|&size| size <= 4 * KEYS / 16), "{sizes:?}");

        let mut too_long = KeySample::new(&spec);
        too_long.push(vec![0; BOUND_BYTES_MAX + 1], &[""]);
        assert_eq!((too_long.kept.len(), too_long.cut(16).count()), (0, 1));

        let mut sample = KeySample::new(&SampleSpec { bytes_max: SAMPLE_BYTES_MAX, ..spec });
        (0..KEYS).for_each(|at| sample.push(long(at), &[&text]));
        let Chunking::Ranges(bounds) = sample.cut(4096) else { unreachable!() };
        assert!(bounds.len() > 500 && bounds.iter().map(cost).sum::<usize>() <= BOUNDS_BYTES_MAX, "{}", bounds.len());
    }

    #[test]
    fn a_key_that_comes_often_displaces_no_others() {
        const KEYS: u64 = 10_000;
        let spec = spec(1 << 30, 100_000_000_000, 4);
        let mut sample = KeySample::new(&spec);
        for at in 0..200_000 {
            // Whatever its hash: each of some keys comes as often as all others together.
            sample.push(key(at % 5), &["often"]);
        }
        (0..KEYS).for_each(|at| sample.push(key(at), &["once"]));
        let sizes = sizes(&sample.cut(10), (0..KEYS).map(key));
        assert_eq!(sizes.len(), 10);
        assert!(sizes.iter().all(|size| (900..=1100).contains(size)), "{sizes:?}");
    }
}
