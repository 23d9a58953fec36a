//! Keys in a normal form: equal bytes for equal keys, and the server's order where that is proven.

use super::fields::{Row, next_field};
use super::nested;
use super::{SketchKey, codec};
use super::{corrupt, fields::truncated};
use crate::error::Result;

/// Stands before each column that is not NULL.
const PRESENT: u8 = 0;
/// Stands for a column that is NULL: sorts behind all values, as in a default index.
const NULL: u8 = 1;

/// How the values of one key column are brought to their normal form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// So many bytes that compare as they are: unsigned big-endian numbers, uuid, bool, ...
    Plain(usize),
    /// So many bytes that are a signed big-endian number: int2, int4, int8, date, time, timestamp, ...
    Signed(usize),
    /// float4.
    Float4,
    /// float8.
    Float8,
    /// numeric.
    Numeric,
    /// interval, equal where the span is.
    Interval,
    /// time with time zone.
    TimeTz,
    /// Any bytes that compare as bytes; terminated.
    Bytes,
    /// character(n): trailing spaces mean nothing.
    Padded,
    /// An enum by the positions of its labels.
    Enum(Labels),
    /// citext: case means nothing.
    Folded,
    /// jsonb, equal whatever the scale of its numbers.
    Jsonb,
    /// An array of these.
    Array(Box<Self>),
    /// A composite of these.
    Record(Vec<Self>),
    /// A range between two of these.
    Range(Box<Self>),
    /// A multirange of these.
    Multirange(Box<Self>),
    /// Anything else: equal where its canonical bytes are, without an order.
    Raw,
}

/// The labels of an enum and their positions, sorted by label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Labels(Vec<(Box<[u8]>, u32)>);

impl Labels {
    pub(crate) fn new(labels: &[String]) -> Self {
        let mut sorted: Vec<_> = labels.iter().map(|label| Box::from(label.as_bytes())).zip(0..).collect();
        sorted.sort_unstable();
        Self(sorted)
    }

    fn position(&self, label: &[u8]) -> Result<u32> {
        self.0
            .binary_search_by(|(known, _)| (**known).cmp(label))
            .ok()
            .and_then(|index| self.0.get(index))
            .map(|(_, position)| *position)
            .ok_or_else(|| corrupt("a key holds an enum label that its type did not have when the catalog was read"))
    }
}

impl KeyKind {
    /// Appends the normal form of a field.
    pub(super) fn field(&self, field: Option<&[u8]>, out: &mut Vec<u8>) -> Result<()> {
        match field {
            Some(value) => {
                out.push(PRESENT);
                self.encode(value, out)
            }
            None => {
                out.push(NULL);
                Ok(())
            }
        }
    }

    /// Appends the normal form of a value; it says itself where it ends.
    pub(super) fn encode(&self, value: &[u8], out: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Plain(length) => codec::plain(value, *length, out),
            Self::Signed(length) => codec::signed(value, *length, out),
            Self::Float4 => codec::float4(value, out),
            Self::Float8 => codec::float8(value, out),
            Self::Numeric => codec::numeric(value, out),
            Self::Interval => codec::interval(value, out),
            Self::TimeTz => codec::timetz(value, out),
            Self::Bytes => {
                codec::bytes(value, out);
                Ok(())
            }
            Self::Padded => {
                codec::bytes(codec::unpadded(value), out);
                Ok(())
            }
            Self::Enum(labels) => {
                out.extend_from_slice(&labels.position(value)?.to_be_bytes());
                Ok(())
            }
            Self::Folded => {
                codec::bytes(&codec::folded(value), out);
                Ok(())
            }
            Self::Jsonb => codec::jsonb(value, out),
            Self::Array(element) => nested::array(element, value, out),
            Self::Record(attributes) => nested::record(attributes, value, out),
            Self::Range(bound) => nested::range(bound, value, out),
            Self::Multirange(bound) => nested::multirange(bound, value, out),
            Self::Raw => codec::raw(value, out),
        }
    }
}

/// Brings keys to their normal form.
///
/// The normal form of a key is that of its columns, one after the other. It is injective up to the equality of the types
/// as far as the [table of forms](super) says so, and where a shape has an [order](super::Shape::order), comparing normal
/// forms as bytes is comparing keys as both servers do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyForm {
    kinds: Vec<KeyKind>,
    narrow: Option<Narrow>,
}

/// A key of a single column whose values all have so many bytes, which fit into a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Narrow {
    bytes: usize,
    signed: bool,
}

impl Narrow {
    fn of(kinds: &[KeyKind]) -> Option<Self> {
        match kinds {
            [KeyKind::Plain(bytes @ (2 | 4 | 8 | 16))] => Some(Self { bytes: *bytes, signed: false }),
            [KeyKind::Signed(bytes @ (2 | 4 | 8))] => Some(Self { bytes: *bytes, signed: true }),
            _ => None,
        }
    }

    /// The value as the highest bytes of a number, in the order of the type.
    fn number(self, value: &[u8]) -> Result<u128> {
        if value.len() != self.bytes {
            return Err(codec::wrong_length());
        }
        let number = match value {
            [a, b] => u128::from(u16::from_be_bytes([*a, *b])) << 112,
            [a, b, c, d] => u128::from(u32::from_be_bytes([*a, *b, *c, *d])) << 96,
            [a, b, c, d, e, f, g, h] => u128::from(u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h])) << 64,
            _ => u128::from_be_bytes(value.try_into().map_err(|_| codec::wrong_length())?),
        };
        Ok(number ^ (u128::from(self.signed) << 127))
    }
}

impl KeyForm {
    pub(crate) fn new(kinds: Vec<KeyKind>) -> Self {
        Self { narrow: Narrow::of(&kinds), kinds }
    }

    /// The normal form of a row's key, as [`KeyForm::encode`] writes it, where the key is one column of a few bytes; `None` for
    /// other keys. In registers: what was just written byte by byte is slow to read as words.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if the key field is not a value of its type.
    #[inline]
    pub(crate) fn narrow(&self, row: &Row<'_>) -> Result<Option<SketchKey>> {
        let Some(narrow) = self.narrow else { return Ok(None) };
        let mut rest = row.image().get(2..).ok_or_else(truncated)?;
        Ok(Some(match next_field(&mut rest)? {
            Some(value) => {
                let number = narrow.number(value)?;
                SketchKey::from_number(u128::from(PRESENT) << 120 | number >> 8, number as u8)
            }
            None => SketchKey::from_number(u128::from(NULL) << 120, 0),
        }))
    }

    /// Appends the normal form of a row's key; nothing for a table without a key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if a key field is not a value of its type.
    pub fn encode(&self, row: &Row<'_>, out: &mut Vec<u8>) -> Result<()> {
        let mut rest = row.image().get(2..).ok_or_else(truncated)?;
        for kind in &self.kinds {
            kind.field(next_field(&mut rest)?, out)?;
        }
        Ok(())
    }

    /// The normal form of a key whose fields were read alone, as by sampling bounds: the first fields of the select list, as
    /// sent or canonical. (Of a shape with an [order](super::Shape::order) both give the same; of others only canonical fields
    /// give what rows give.)
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if there are more or fewer fields than the key has, or a field is
    /// not a value of its type.
    pub fn bound_from_fields(&self, fields: &[Option<&[u8]>]) -> Result<Vec<u8>> {
        if fields.len() != self.kinds.len() {
            return Err(corrupt("a bound has another number of fields than the key"));
        }
        let mut out = Vec::new();
        for (kind, field) in self.kinds.iter().zip(fields) {
            kind.field(*field, &mut out)?;
        }
        Ok(out)
    }
}

/// The bucket of a key among `of` buckets; 0 where there are no buckets.
///
/// Modulo of a 64-bit hash: one bucket is at most 2^-32 likelier than another.
#[must_use]
pub fn bucket(key_normal_form: &[u8], of: u32) -> u32 {
    bucket_of_hash(blake3::hash(key_normal_form).as_bytes(), of)
}

/// The first 8 bytes of a hash, little-endian, modulo the number of buckets.
pub(super) fn bucket_of_hash(hash: &[u8; 32], of: u32) -> u32 {
    let [first, ..] = hash.as_chunks().0 else { return 0 };
    let rest = u64::from_le_bytes(*first).checked_rem(u64::from(of)).unwrap_or(0);
    u32::try_from(rest).unwrap_or(0)
}

/// 128 bits that stand for a key where keys are only told apart: the last 16 bytes of its hash, none of which decides its
/// [bucket].
#[must_use]
pub fn key_hash(key_normal_form: &[u8]) -> [u8; 16] {
    let hash = blake3::hash(key_normal_form);
    let [_, last] = hash.as_bytes().as_chunks().0 else { return [0; 16] };
    *last
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;

    fn encode(form: &KeyForm, fields: &[Option<&[u8]>]) -> Vec<u8> {
        form.bound_from_fields(fields).expect("valid")
    }

    fn order(form: &KeyForm, a: &[Option<&[u8]>], b: &[Option<&[u8]>]) -> Ordering {
        encode(form, a).cmp(&encode(form, b))
    }

    #[test]
    fn columns_do_not_run_into_each_other() {
        for kind in [KeyKind::Bytes, KeyKind::Raw, KeyKind::Padded] {
            let form = KeyForm::new(vec![kind.clone(), kind]);
            let all: &[&[Option<&[u8]>]] = &[
                &[Some(b"12"), Some(b"3")],
                &[Some(b"1"), Some(b"23")],
                &[Some(b""), Some(b"123")],
                &[Some(b"123"), Some(b"")],
                &[None, Some(b"123")],
                &[Some(b"123"), None],
                &[Some(b"\0"), Some(b"")],
                &[Some(b""), Some(b"\0")],
                &[None, None],
                &[Some(b""), Some(b"")],
            ];
            for (i, a) in all.iter().enumerate() {
                for b in &all[..i] {
                    assert_ne!(encode(&form, a), encode(&form, b));
                }
            }
        }
    }

    #[test]
    fn nulls_sort_last() {
        let form = KeyForm::new(vec![KeyKind::Signed(2)]);
        assert_eq!(order(&form, &[None], &[Some(&i16::MAX.to_be_bytes())]), Ordering::Greater);
        assert_eq!(order(&form, &[None], &[None]), Ordering::Equal);
    }

    #[test]
    fn enums_sort_by_position_and_unknown_labels_are_errors() {
        let form = KeyForm::new(vec![KeyKind::Enum(Labels::new(&["sad".into(), "ok".into(), "happy".into()]))]);
        assert_eq!(order(&form, &[Some(b"sad")], &[Some(b"ok")]), Ordering::Less);
        assert_eq!(order(&form, &[Some(b"happy")], &[Some(b"ok")]), Ordering::Greater);
        let error = form.bound_from_fields(&[Some(b"new")]).expect_err("unknown");
        assert_eq!(error.kind(), crate::ErrorKind::Corrupt);
        assert!(!error.message().contains("new"));
    }

    #[test]
    fn rows_and_bounds_have_the_same_form() {
        let form = KeyForm::new(vec![KeyKind::Signed(4), KeyKind::Bytes]);
        let image = crate::row::testing::tuple(&[Some(&7i32.to_be_bytes()), Some(b"x"), Some(b"rest")]);
        let mut out = Vec::new();
        form.encode(&Row::new(&image), &mut out).expect("valid");
        assert_eq!(out, encode(&form, &[Some(&7i32.to_be_bytes()), Some(b"x")]));
        assert!(form.bound_from_fields(&[None]).is_err());
        assert!(form.encode(&Row::new(&[]), &mut out).is_err());
    }

    #[test]
    fn keys_of_other_forms_are_not_narrow() {
        let image = crate::row::testing::tuple(&[Some(&7i32.to_be_bytes()), Some(&7i32.to_be_bytes())]);
        for kinds in [vec![KeyKind::Plain(3)], vec![KeyKind::Float4], vec![KeyKind::Signed(4); 2], vec![]] {
            assert_eq!(KeyForm::new(kinds).narrow(&Row::new(&image)).expect("none"), None);
        }
    }

    #[test]
    fn buckets_and_hashes_are_frozen() {
        assert_eq!(bucket(b"", 1000), u32::try_from(0xa6a1_f9f5_b949_13af_u64 % 1000).unwrap_or(0));
        assert_eq!(bucket(b"", 0), 0);
        assert_eq!(bucket(b"key", 1), 0);
        let hash = blake3::hash(b"key");
        assert_eq!(key_hash(b"key"), hash.as_bytes()[16..]);
        let mut counts = [0u32; 16];
        for key in 0..16_000u32 {
            counts[usize::try_from(bucket(&key.to_be_bytes(), 16)).expect("small")] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    fn value() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0xff), any::<u8>()], 0..6)
    }

    proptest! {
        #[test]
        fn composite_keys_sort_column_by_column(a in (value(), any::<i16>(), prop::option::of(value())), b in (value(), any::<i16>(), prop::option::of(value()))) {
            let form = KeyForm::new(vec![KeyKind::Bytes, KeyKind::Signed(2), KeyKind::Bytes]);
            let key = |k: &(Vec<u8>, i16, Option<Vec<u8>>)| encode(&form, &[Some(&k.0), Some(&k.1.to_be_bytes()), k.2.as_deref()]);
            let nulls_last = |k: &(Vec<u8>, i16, Option<Vec<u8>>)| (k.0.clone(), k.1, k.2.is_none(), k.2.clone());
            prop_assert_eq!(key(&a).cmp(&key(&b)), nulls_last(&a).cmp(&nulls_last(&b)));
        }

        #[test]
        fn narrow_keys_are_what_is_written(bytes in prop::collection::vec(any::<u8>(), 16), null: bool, wrong in 0usize..17) {
            let plain = [2, 4, 8, 16].map(|length| (KeyKind::Plain(length), length));
            let signed = [2, 4, 8].map(|length| (KeyKind::Signed(length), length));
            for (kind, length) in plain.into_iter().chain(signed) {
                let form = KeyForm::new(vec![kind]);
                let field = (!null).then(|| &bytes[..length]);
                let image = crate::row::testing::tuple(&[field, Some(b"rest")]);
                let row = Row::new(&image);
                let mut written = Vec::new();
                form.encode(&row, &mut written).expect("valid");
                prop_assert_eq!(form.narrow(&row).expect("valid"), SketchKey::new(&written));
                let beginning: Vec<u8> = written.iter().copied().chain([0; 16]).take(16).collect();
                let beginning = u128::from_be_bytes(beginning.try_into().unwrap());
                prop_assert_eq!(SketchKey::new(&written).map(|key| key.beginning()), Some(beginning));
                if wrong != length {
                    let image = crate::row::testing::tuple(&[Some(&bytes[..wrong.min(16)])]);
                    prop_assert!(form.narrow(&Row::new(&image)).is_err());
                }
            }
        }

        #[test]
        fn no_field_panics(soup in prop::collection::vec(any::<u8>(), 0..40)) {
            for kind in [
                KeyKind::Plain(4), KeyKind::Signed(8), KeyKind::Float4, KeyKind::Float8, KeyKind::Numeric, KeyKind::Interval,
                KeyKind::TimeTz, KeyKind::Bytes, KeyKind::Padded, KeyKind::Raw, KeyKind::Enum(Labels::new(&[])),
                KeyKind::Folded, KeyKind::Jsonb, KeyKind::Array(Box::new(KeyKind::Numeric)),
                KeyKind::Record(vec![KeyKind::Jsonb, KeyKind::Float8]), KeyKind::Range(Box::new(KeyKind::Numeric)),
                KeyKind::Multirange(Box::new(KeyKind::Numeric)),
            ] {
                let form = KeyForm::new(vec![kind]);
                let _ = form.bound_from_fields(&[Some(&soup)]);
                let row = Row::new(&soup);
                let _ = (form.encode(&row, &mut Vec::new()), form.narrow(&row));
            }
        }
    }
}
