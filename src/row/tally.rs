//! Digests of rows, and their sum over many rows.

use std::fmt::{self, Write as _};

use blake3::{BLOCK_LEN, CHUNK_LEN};

/// The version of the encoding that digests are taken of. Digests of one version can be compared across runs and programs;
/// any change of an image or of how digests combine needs another version.
pub const ENCODING_VERSION: u32 = 1;

/// The blake3 digest of a row image that is filled up with zeros to whole blocks of 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowDigest(pub(super) [u8; 32]);

impl RowDigest {
    /// The digest of an image. [`DigestBatch`](super::DigestBatch) gives the same for many images in less time.
    #[must_use]
    pub fn of(image: &[u8]) -> Self {
        const ZEROS: [u8; BLOCK_LEN] = [0; BLOCK_LEN];
        let length = image.len().next_multiple_of(BLOCK_LEN);
        let mut buffer = [0; CHUNK_LEN];
        let hash = if length == image.len() {
            blake3::hash(image)
        } else if let Some((padded, _)) = buffer.split_at_mut_checked(length) {
            padded.split_at_mut(image.len()).0.copy_from_slice(image);
            blake3::hash(padded)
        } else {
            blake3::Hasher::new().update(image).update(ZEROS.split_at(length - image.len()).0).finalize()
        };
        Self(*hash.as_bytes())
    }

    /// The 32 bytes, as blake3 gives them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The bucket of a row that nothing but its content identifies.
    #[must_use]
    pub fn bucket(&self, of: u32) -> u32 {
        super::key::bucket_of_hash(&self.0, of)
    }
}

impl fmt::Display for RowDigest {
    /// 64 hexadecimal digits, the first byte first (as b3sum prints it of the image in whole blocks).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RowDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How many rows there are and the sum of their digests modulo 2^256: the same for the same rows in any order, counting
/// duplicates.
///
/// The sum reads each digest as a little-endian integer. XOR would not do: pairs of equal rows would cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    rows: u64,
    /// Least significant limb first.
    sum: [u64; 4],
}

impl Tally {
    /// The number of rows. A difference ([`Tally::subtract`]) counts modulo 2^64.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Counts a row in.
    pub fn add(&mut self, digest: &RowDigest) {
        let (limbs, _) = digest.0.as_chunks();
        let mut addend = [0; 4];
        for (limb, bytes) in addend.iter_mut().zip(limbs) {
            *limb = u64::from_le_bytes(*bytes);
        }
        self.merge(&Self { rows: 1, sum: addend });
    }

    /// Counts in the rows of another tally.
    pub fn merge(&mut self, other: &Self) {
        self.rows = self.rows.wrapping_add(other.rows);
        let mut carry = false;
        for (limb, addend) in self.sum.iter_mut().zip(other.sum) {
            let (partial, first) = limb.overflowing_add(addend);
            let (total, second) = partial.overflowing_add(u64::from(carry));
            *limb = total;
            carry = first || second;
        }
    }

    /// Takes out the rows of another tally. What remains of equal tallies is `Tally::default()`.
    pub fn subtract(&mut self, other: &Self) {
        self.rows = self.rows.wrapping_sub(other.rows);
        let mut borrow = false;
        for (limb, subtrahend) in self.sum.iter_mut().zip(other.sum) {
            let (partial, first) = limb.overflowing_sub(subtrahend);
            let (total, second) = partial.overflowing_sub(u64::from(borrow));
            *limb = total;
            borrow = first || second;
        }
    }

    /// The sum as 64 hexadecimal digits, most significant first.
    #[must_use]
    pub fn digest_hex(&self) -> String {
        self.sum.iter().rev().fold(String::with_capacity(64), |mut hex, limb| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{limb:016x}");
            hex
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::row::Fields;
    use crate::row::testing::tuple;

    fn tally(images: &[Vec<u8>]) -> Tally {
        let mut tally = Tally::default();
        for image in images {
            tally.add(&RowDigest::of(image));
        }
        tally
    }

    #[test]
    fn swapped_values_and_duplicates_show() {
        let row = |key: &[u8], value: &[u8]| tuple(&[Some(key), Some(value)]);
        let plain = tally(&[row(b"1", b"a"), row(b"2", b"b")]);
        assert_eq!(plain, tally(&[row(b"2", b"b"), row(b"1", b"a")]));
        assert_ne!(plain, tally(&[row(b"1", b"b"), row(b"2", b"a")]));
        let doubled = tally(&[row(b"1", b"a"), row(b"2", b"b"), row(b"2", b"b"), row(b"2", b"b")]);
        assert_ne!(plain.digest_hex(), doubled.digest_hex());
        assert_ne!(plain, doubled);
        let others = tally(&[row(b"1", b"a"), row(b"1", b"a"), row(b"1", b"a"), row(b"2", b"b")]);
        assert_ne!(doubled, others);
    }

    #[test]
    fn sums_carry_and_wrap() {
        let mut highest = Tally { rows: 1, sum: [u64::MAX; 4] };
        let mut one = [0; 32];
        one[0] = 1;
        highest.add(&RowDigest(one));
        assert_eq!(highest, Tally { rows: 2, sum: [0; 4] });
        highest.subtract(&Tally { rows: 3, sum: [1, 0, 0, 0] });
        assert_eq!(highest, Tally { rows: u64::MAX, sum: [u64::MAX; 4] });
        let middle = Tally { rows: 0, sum: [u64::MAX, 0, 7, 0] };
        let mut sum = middle;
        sum.merge(&Tally { rows: 0, sum: [1, 0, 0, 0] });
        assert_eq!(sum.sum, [0, 1, 7, 0]);
        assert_eq!(sum.digest_hex(), format!("{:016x}{:016x}{:016x}{:016x}", 0, 7, 1, 0));
    }

    #[test]
    fn a_digest_is_the_blake3_of_the_image_in_whole_blocks() {
        let hash = |bytes: &[u8]| blake3::hash(bytes).to_string();
        assert_eq!(RowDigest::of(&[7; 64]).to_string(), hash(&[7; 64]));
        for (len, zeros) in [(1, 63), (63, 1), (65, 63), (1023, 1), (1025, 63), (100_000, 32)] {
            let image = vec![7; len];
            assert_eq!(RowDigest::of(&image).to_string(), hash(&[image, vec![0; zeros]].concat()), "{len}");
        }
        assert_eq!(RowDigest::of(b"").to_string(), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
        let mut tally = Tally::default();
        tally.add(&RowDigest::of(b""));
        assert_eq!(tally.digest_hex(), "62321fe4ca939accb712c1adc925cb9b49c9dc36ea4d40a0a6a1f9f5b94913af");
    }

    /// Two images of one digest would be one and the same but for zeros behind: then they cannot both be tuples.
    #[test]
    fn no_row_is_another_row_with_zeros_behind() {
        for row in [tuple(&[]), tuple(&[None]), tuple(&[Some(b"")]), tuple(&[Some(b"a"), Some(&[0; 9])])] {
            assert!(Fields::new(&row).all(|field| field.is_ok()));
            for zeros in 1..70 {
                let longer = [row.clone(), vec![0; zeros]].concat();
                assert!(Fields::new(&longer).any(|field| field.is_err()), "{row:?} and {zeros} zeros");
            }
        }
        // Rows that end in zeros: another number of them, another length before them.
        let rows: Vec<_> = (0..200).map(|zeros| RowDigest::of(&tuple(&[Some(&vec![0; zeros])]))).collect();
        let fields = (1..50).map(|fields| RowDigest::of(&tuple(&vec![Some(b"".as_slice()); fields])));
        let different: std::collections::HashSet<_> = rows.into_iter().chain(fields).collect();
        // A field of no bytes is in both.
        assert_eq!(different.len(), 200 + 49 - 1);
    }

    proptest! {
        #[test]
        fn tallies_form_a_group(a: [u64; 4], b: [u64; 4], c: [u64; 4]) {
            let [a, b, c] = [a, b, c].map(|sum| Tally { rows: 3, sum });
            let (mut left, mut right) = (a, b);
            left.merge(&b);
            left.merge(&c);
            right.merge(&c);
            right.merge(&a);
            prop_assert_eq!(left, right);
            left.subtract(&c);
            left.subtract(&b);
            left.subtract(&a);
            prop_assert_eq!(left, Tally::default());
        }
    }
}
