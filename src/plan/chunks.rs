//! Chunks: ranges of the key, or buckets of a hash.

use serde_json::Value;

use crate::plan::{ChunkRange, KeyText};

/// The lower end of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bound {
    /// The key in normal form: compares as bytes like the key on both servers.
    pub encoded: Vec<u8>,
    /// The key columns as texts, in key order.
    pub text: Vec<String>,
}

/// How a table is divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Chunking {
    /// Ranges of the key, cut at these bounds (ascending, distinct): one chunk more than bounds.
    Ranges(Vec<Bound>),
    /// Buckets of the key's hash; of the row's digest for a table without a key.
    Buckets {
        /// How many, at least one.
        of: u32,
    },
}

impl Chunking {
    /// The number of chunks.
    #[must_use]
    pub(crate) fn count(&self) -> u32 {
        match self {
            // Far fewer than 2^32: CHUNKS_MAX limits what is cut.
            Self::Ranges(bounds) => u32::try_from(bounds.len()).unwrap_or(u32::MAX - 1) + 1,
            Self::Buckets { of } => *of,
        }
    }

    /// The chunk of a key in normal form.
    #[must_use]
    pub(crate) fn chunk_of_key(&self, encoded: &[u8]) -> u32 {
        match self {
            Self::Ranges(bounds) => {
                let after = bounds.partition_point(|bound| bound.encoded.as_slice() <= encoded);
                u32::try_from(after).unwrap_or(u32::MAX)
            }
            Self::Buckets { of } => crate::row::bucket(encoded, *of),
        }
    }

    /// The ends of a range chunk: inclusive lower, exclusive upper, `None` where open.
    #[must_use]
    pub(crate) fn ends(&self, chunk: u32) -> (Option<&Bound>, Option<&Bound>) {
        match self {
            Self::Ranges(bounds) => {
                let at = chunk as usize;
                (at.checked_sub(1).and_then(|below| bounds.get(below)), bounds.get(at))
            }
            Self::Buckets { .. } => (None, None),
        }
    }

    /// What reports say of the neighbouring chunks `first..=last`.
    #[must_use]
    pub(crate) fn range(&self, first: u32, last: u32, key_names: &[&str]) -> ChunkRange {
        match self {
            Self::Ranges(_) => {
                let text = |bound: &Bound| -> KeyText {
                    let names = key_names.iter().map(|&name| name.to_owned());
                    names.zip(bound.text.iter().map(|text| Value::String(text.clone()))).collect()
                };
                ChunkRange::Keys { from: self.ends(first).0.map(text), to: self.ends(last).1.map(text) }
            }
            Self::Buckets { of } => ChunkRange::Bucket { bucket: first, of: *of },
        }
    }
}

/// Cuts ranges of about equal size from sampled keys, in any order.
#[must_use]
pub(crate) fn cut_ranges(mut samples: Vec<Bound>, chunks: u64) -> Chunking {
    samples.sort_unstable_by(|a, b| a.encoded.cmp(&b.encoded));
    samples.dedup_by(|a, b| a.encoded == b.encoded);
    let count = samples.len() as u64;
    let chunks = chunks.min(count + 1);
    // The i-th of n quantiles, i = 1..n-1; the sample's own ends are open.
    let mut wanted: Vec<usize> = (1..chunks).filter_map(|i| usize::try_from(i * count / chunks).ok()).collect();
    wanted.dedup();
    let mut bounds = Vec::with_capacity(wanted.len());
    let mut wanted = wanted.into_iter().peekable();
    for (at, sample) in samples.into_iter().enumerate() {
        if wanted.peek() == Some(&at) {
            wanted.next();
            bounds.push(sample);
        }
    }
    Chunking::Ranges(bounds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(value: u8) -> Bound {
        Bound { encoded: vec![value], text: vec![value.to_string()] }
    }

    #[test]
    fn ranges_tile_the_key_space() {
        let chunking = cut_ranges((0..100).rev().map(bound).collect(), 4);
        assert_eq!(chunking.count(), 4);
        let counts = (0..=255_u8).fold([0_u32; 4], |mut counts, value| {
            let chunk = chunking.chunk_of_key(&[value]);
            let (from, to) = chunking.ends(chunk);
            assert!(from.is_none_or(|from| from.encoded.as_slice() <= &[value][..]));
            assert!(to.is_none_or(|to| to.encoded.as_slice() > &[value][..]));
            counts[chunk as usize] += 1;
            counts
        });
        assert_eq!(counts, [25, 25, 25, 181]);
        assert_eq!(chunking.chunk_of_key(&[]), 0);
    }

    #[test]
    fn few_or_equal_samples_make_fewer_chunks() {
        assert_eq!(cut_ranges(vec![], 10).count(), 1);
        assert_eq!(cut_ranges(vec![bound(7); 50], 10).count(), 2);
        let Chunking::Ranges(bounds) = cut_ranges((0..3).map(bound).collect(), 10) else { unreachable!() };
        assert!(bounds.windows(2).all(|pair| pair[0].encoded < pair[1].encoded));
    }
}
