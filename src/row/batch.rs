//! Digests of many rows at once.
//!
//! blake3 hashes one message of a few blocks with a fraction of what a vector unit can do; its own entry to hash as many
//! messages as there are lanes ([`Platform`]) is public but hidden and promised to nobody. It is used in this file only, and
//! the version of blake3 is pinned for it. The tests hold it against [`RowDigest::of`] on every instruction set of the
//! machine.

use blake3::platform::Platform;
use blake3::{BLOCK_LEN, CHUNK_LEN, IncrementCounter, OUT_LEN};

use super::RowDigest;

/// The most rows that are hashed at once: the lanes of AVX-512.
const MAX_LANES: usize = 16;
/// The blocks of the longest rows that are hashed together. Longer ones are more than one chunk of blake3, hence a tree.
const MAX_BLOCKS: usize = CHUNK_LEN / BLOCK_LEN;

/// The initial state and the flags of a message of one chunk (BLAKE3 paper, 2.1 and 2.2).
const IV: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 1 << 1;
const ROOT: u8 = 1 << 3;

/// Hashes row images of one length each, one behind the other.
type HashMany = fn(Platform, &[u8], &mut [[u8; OUT_LEN]; MAX_LANES]);

/// By the number of blocks less one.
const HASH_MANY: [HashMany; MAX_BLOCKS] = [
    hash_many::<64>,
    hash_many::<128>,
    hash_many::<192>,
    hash_many::<256>,
    hash_many::<320>,
    hash_many::<384>,
    hash_many::<448>,
    hash_many::<512>,
    hash_many::<576>,
    hash_many::<640>,
    hash_many::<704>,
    hash_many::<768>,
    hash_many::<832>,
    hash_many::<896>,
    hash_many::<960>,
    hash_many::<1024>,
];

fn hash_many<const N: usize>(platform: Platform, images: &[u8], digests: &mut [[u8; OUT_LEN]; MAX_LANES]) {
    let (images, _) = images.as_chunks::<N>();
    let mut inputs = [const { &[0; N] }; MAX_LANES];
    let mut rows = 0;
    for (input, image) in inputs.iter_mut().zip(images) {
        *input = image;
        rows += 1;
    }
    platform.hash_many(
        inputs.split_at(rows).0,
        &IV,
        0,
        IncrementCounter::No,
        0,
        CHUNK_START,
        CHUNK_END | ROOT,
        digests.as_flattened_mut(),
    );
}

/// Takes row images and gives their digests ([`RowDigest::of`]) back later, in another order, each with the tag that came
/// with the image. What was not given back yet comes with [`DigestBatch::finish`].
///
/// Holds 140 KB at most.
#[must_use = "rows wait in it until it is finished"]
pub struct DigestBatch<T> {
    platform: Platform,
    lanes: usize,
    /// By the number of blocks less one.
    groups: [Group<T>; MAX_BLOCKS],
}

/// Rows of the same number of blocks.
struct Group<T> {
    hash: HashMany,
    /// One behind the other, each with zeros to the end of its last block.
    images: Vec<u8>,
    tags: Vec<T>,
}

impl<T> Default for DigestBatch<T> {
    fn default() -> Self {
        let platform = Platform::detect();
        Self::with(platform, platform.simd_degree())
    }
}

impl<T> DigestBatch<T> {
    fn with(platform: Platform, lanes: usize) -> Self {
        let groups = HASH_MANY.map(|hash| Group { hash, images: Vec::new(), tags: Vec::new() });
        Self { platform, lanes: lanes.min(MAX_LANES), groups }
    }

    /// Takes one image, and calls `sink` with the digests that are ready then.
    ///
    /// # Errors
    ///
    /// Those of `sink`. Rows are lost then: the batch must not be used any more.
    #[inline]
    pub fn push<E>(
        &mut self,
        image: &[u8],
        tag: T,
        mut sink: impl FnMut(T, &RowDigest) -> Result<(), E>,
    ) -> Result<(), E> {
        let blocks = image.len().div_ceil(BLOCK_LEN);
        match self.groups.get_mut(blocks.wrapping_sub(1)) {
            Some(group) if self.lanes > 1 => {
                group.push(image, tag, blocks * BLOCK_LEN, self.lanes);
                if group.tags.len() < self.lanes { Ok(()) } else { group.drain(self.platform, sink) }
            }
            _ => sink(tag, &RowDigest::of(image)),
        }
    }

    /// Calls `sink` with the digests that were not ready yet.
    ///
    /// # Errors
    ///
    /// Those of `sink`.
    pub fn finish<E>(mut self, mut sink: impl FnMut(T, &RowDigest) -> Result<(), E>) -> Result<(), E> {
        self.groups.iter_mut().try_for_each(|group| group.drain(self.platform, &mut sink))
    }
}

impl<T> Group<T> {
    #[inline]
    fn push(&mut self, image: &[u8], tag: T, padded: usize, lanes: usize) {
        if self.tags.capacity() == 0 {
            self.images.reserve_exact(lanes * padded);
            self.tags.reserve_exact(lanes);
        }
        self.images.extend_from_slice(image);
        self.tags.push(tag);
        self.images.resize(self.tags.len() * padded, 0);
    }

    fn drain<E>(&mut self, platform: Platform, mut sink: impl FnMut(T, &RowDigest) -> Result<(), E>) -> Result<(), E> {
        if self.tags.is_empty() {
            return Ok(());
        }
        let mut digests = [[0; OUT_LEN]; MAX_LANES];
        (self.hash)(platform, &self.images, &mut digests);
        self.images.clear();
        self.tags.drain(..).zip(digests).try_for_each(|(tag, digest)| sink(tag, &RowDigest(digest)))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    /// The instruction sets that this machine has, each with its lanes; without any, two rows at a time.
    fn platforms() -> Vec<(Platform, usize)> {
        let mut platforms = vec![Platform::detect(), Platform::portable()];
        #[cfg(target_arch = "x86_64")]
        platforms.extend([Platform::sse2(), Platform::sse41(), Platform::avx2()].into_iter().flatten());
        let mut platforms: Vec<_> =
            platforms.into_iter().map(|platform| (platform, platform.simd_degree().max(2))).collect();
        platforms.push((Platform::portable(), 1));
        platforms
    }

    /// The digests of a batch in the order of the images; each must come once.
    fn digests(mut batch: DigestBatch<usize>, images: &[Vec<u8>]) -> Vec<RowDigest> {
        let mut digests = vec![None; images.len()];
        let mut sink = |tag: usize, digest: &RowDigest| -> Result<(), Infallible> {
            assert_eq!(digests[tag].replace(*digest), None, "row {tag} twice");
            Ok(())
        };
        for (tag, image) in images.iter().enumerate() {
            let Ok(()) = batch.push(image, tag, &mut sink);
        }
        let Ok(()) = batch.finish(&mut sink);
        digests.into_iter().map(|digest| digest.expect("a digest for every row")).collect()
    }

    fn padded(image: &[u8]) -> [u8; OUT_LEN] {
        let mut padded = image.to_vec();
        padded.resize(image.len().next_multiple_of(64), 0);
        *blake3::hash(&padded).as_bytes()
    }

    fn check(images: &[Vec<u8>]) {
        let expected: Vec<_> = images.iter().map(|image| RowDigest(padded(image))).collect();
        let single: Vec<_> = images.iter().map(|image| RowDigest::of(image)).collect();
        assert_eq!(single, expected);
        for (platform, lanes) in platforms() {
            assert_eq!(digests(DigestBatch::with(platform, lanes), images), expected, "{platform:?}, {lanes} lanes");
        }
        assert_eq!(digests(DigestBatch::default(), images), expected);
    }

    #[test]
    fn every_length_and_every_number_of_rows() {
        let image = |len: usize, seed: usize| -> Vec<u8> {
            (0..len).map(|at| u8::try_from((at * 7 + seed * 31 + len) % 251).expect("small")).collect()
        };
        let lengths: Vec<_> = (0..=1100).flat_map(|len| [image(len, 0), image(len, 1)]).collect();
        check(&lengths);
        for len in [0, 1, 63, 64, 65, 127, 128, 129, 960, 961, 1023, 1024, 1025, 2048, 2049] {
            for rows in 0..=35 {
                check(&(0..rows).map(|seed| image(len, seed)).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn an_error_of_the_sink_comes_back() {
        let mut batch = DigestBatch::with(Platform::detect(), 2);
        assert_eq!(batch.push(b"row", 1, |_, _| Err("early")), Ok(()));
        assert_eq!(batch.push(b"row", 2, |_, _| Err("full")), Err("full"));
        let mut batch = DigestBatch::with(Platform::detect(), 2);
        assert_eq!(batch.push(b"row", 1, |_, _| Err("early")), Ok(()));
        assert_eq!(batch.finish(|_, _| Err("last")), Err("last"));
    }

    fn images() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let edges = prop::sample::select(vec![0usize, 1, 63, 64, 65, 128, 1023, 1024, 1025]);
        let lengths = prop_oneof![edges, 0usize..200, 0usize..3000];
        prop::collection::vec(lengths.prop_flat_map(|len| prop::collection::vec(any::<u8>(), len)), 0..120)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_batch_gives_what_one_row_at_a_time_gives(images in images()) {
            check(&images);
        }
    }
}
