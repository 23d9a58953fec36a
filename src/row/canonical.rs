//! Normalisation of what replication does not keep, in place: lengths never change.

use super::fields::{Row, next_field_mut, take_chunk_mut, truncated};
use super::{KEPT_BUFFER_BYTES, corrupt};
use crate::error::Result;

/// The most dimensions of an array (`MAXDIM`, c.h).
pub(super) const MAX_DIMENSIONS: u32 = 6;

/// The flags of a range (rangetypes.h): it is empty; a bound is infinite or null, and then not sent.
pub(super) const RANGE_EMPTY: u8 = 0x01;
pub(super) const RANGE_NO_LOWER: u8 = 0x08 | 0x20;
pub(super) const RANGE_NO_UPPER: u8 = 0x10 | 0x40;

/// What must be normalised in the binary form of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Canonical {
    /// float4: one bit pattern for NaN.
    Float4,
    /// float8: one bit pattern for NaN.
    Float8,
    /// numeric: its scale becomes 0. Its digits do not depend on it: zeros at the end are not stored (`make_result`, numeric.c).
    Unscaled,
    /// A geometric type: float8 values behind so many bytes.
    Floats {
        /// Bytes before the first float8.
        header: usize,
    },
    /// An array: its flags word and its element type become 0, its elements canonical where they need it.
    ///
    /// The flags say whether the value has a bitmap of NULLs, which a slice of an array keeps although no NULL is in it,
    /// and which does not survive replication as text. Elements that are NULL say so themselves.
    Array(Option<Box<Self>>),
    /// A composite: the types of its attributes become 0, the attributes canonical where they need it.
    Record(Vec<Option<Self>>),
    /// A range whose bounds need it.
    Range(Box<Self>),
    /// A multirange whose ranges' bounds need it.
    Multirange(Box<Self>),
}

impl Canonical {
    /// Normalises one value in place.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if the bytes are not a value of the type.
    pub(crate) fn apply(&self, value: &mut [u8]) -> Result<()> {
        match self {
            Self::Float4 => match <&mut [u8; 4]>::try_from(value) {
                Ok(bytes) => {
                    if f32::from_be_bytes(*bytes).is_nan() {
                        *bytes = CANONICAL_NAN4.to_be_bytes();
                    }
                    Ok(())
                }
                Err(_) => Err(corrupt("a float4 value does not have 4 bytes")),
            },
            Self::Float8 => match <&mut [u8; 8]>::try_from(value) {
                Ok(bytes) => {
                    float8(bytes);
                    Ok(())
                }
                Err(_) => Err(corrupt("a float8 value does not have 8 bytes")),
            },
            Self::Unscaled => unscaled(value),
            Self::Floats { header } => {
                let (floats, odd) = value.get_mut(*header..).ok_or_else(truncated)?.as_chunks_mut();
                if !odd.is_empty() {
                    return Err(corrupt("a geometric value is not made of float8 values"));
                }
                floats.iter_mut().for_each(float8);
                Ok(())
            }
            Self::Array(element) => array(element.as_deref(), value),
            Self::Record(attributes) => record(attributes, value),
            Self::Range(bound) => range(bound, value),
            Self::Multirange(bound) => multirange(bound, value),
        }
    }
}

/// The NaN that PostgreSQL's float4in makes on every platform we know.
const CANONICAL_NAN4: u32 = 0x7fc0_0000;
/// The same of float8in.
const CANONICAL_NAN8: u64 = 0x7ff8_0000_0000_0000;

fn float8(bytes: &mut [u8; 8]) {
    if f64::from_be_bytes(*bytes).is_nan() {
        *bytes = CANONICAL_NAN8.to_be_bytes();
    }
}

/// `numeric_send` (numeric.c): the number of digits, weight, sign, scale; digits.
fn unscaled(value: &mut [u8]) -> Result<()> {
    let mut rest = value;
    let digits = u16::from_be_bytes(*take_chunk_mut(&mut rest)?);
    take_chunk_mut::<4>(&mut rest)?;
    *take_chunk_mut::<2>(&mut rest)? = [0; 2];
    if rest.len() == usize::from(digits) * 2 {
        Ok(())
    } else {
        Err(corrupt("a numeric value has another number of digits than it says"))
    }
}

/// `array_send` (arrayfuncs.c): dimensions, flags, element type; per dimension length and lower bound; elements.
fn array(element: Option<&Canonical>, value: &mut [u8]) -> Result<()> {
    let mut rest = value;
    let dimensions = u32::from_be_bytes(*take_chunk_mut(&mut rest)?);
    if dimensions > MAX_DIMENSIONS {
        return Err(corrupt("an array has too many dimensions"));
    }
    *take_chunk_mut::<8>(&mut rest)? = [0; 8];
    let Some(element) = element else { return Ok(()) };
    let mut items = u64::from(dimensions > 0);
    for _ in 0..dimensions {
        let length = u32::from_be_bytes(*take_chunk_mut(&mut rest)?);
        take_chunk_mut::<4>(&mut rest)?;
        items = items.saturating_mul(u64::from(length));
    }
    // Every round takes at least four bytes, so that a wrong count ends with the value.
    for _ in 0..items {
        if let Some(item) = next_field_mut(&mut rest)? {
            element.apply(item)?;
        }
    }
    at_end(rest)
}

/// `record_send` (rowtypes.c): the number of attributes; per attribute its type and its field.
fn record(attributes: &[Option<Canonical>], value: &mut [u8]) -> Result<()> {
    let mut rest = value;
    let count = u32::from_be_bytes(*take_chunk_mut(&mut rest)?);
    if usize::try_from(count).ok() != Some(attributes.len()) {
        return Err(corrupt("a composite value has another number of attributes than its type"));
    }
    for attribute in attributes {
        *take_chunk_mut::<4>(&mut rest)? = [0; 4];
        if let (Some(field), Some(canonical)) = (next_field_mut(&mut rest)?, attribute) {
            canonical.apply(field)?;
        }
    }
    at_end(rest)
}

/// `range_send` (rangetypes.c): flags; the bounds that there are.
fn range(bound: &Canonical, value: &mut [u8]) -> Result<()> {
    let mut rest = value;
    let [flags] = *take_chunk_mut(&mut rest)?;
    for absent in [RANGE_NO_LOWER, RANGE_NO_UPPER] {
        if flags & (RANGE_EMPTY | absent) == 0 {
            bound.apply(next_field_mut(&mut rest)?.ok_or_else(truncated)?)?;
        }
    }
    at_end(rest)
}

/// `multirange_send` (multirangetypes.c): the number of ranges; ranges.
fn multirange(bound: &Canonical, value: &mut [u8]) -> Result<()> {
    let mut rest = value;
    let count = u32::from_be_bytes(*take_chunk_mut(&mut rest)?);
    for _ in 0..count {
        range(bound, next_field_mut(&mut rest)?.ok_or_else(truncated)?)?;
    }
    at_end(rest)
}

fn at_end(rest: &[u8]) -> Result<()> {
    if rest.is_empty() { Ok(()) } else { Err(corrupt("bytes follow the end of a value")) }
}

/// Makes row images of tuples. One per stream: it reuses one buffer.
#[derive(Debug)]
pub struct Canonicalizer {
    fields: usize,
    /// Per column up to the last one that needs it.
    columns: Vec<Option<Canonical>>,
    scratch: Vec<u8>,
}

impl Canonicalizer {
    /// For tuples whose columns need this.
    pub(crate) fn new(columns: impl Iterator<Item = Option<Canonical>>) -> Self {
        let mut columns: Vec<_> = columns.collect();
        let fields = columns.len();
        while columns.pop_if(|column| column.is_none()).is_some() {}
        Self { fields, columns, scratch: Vec::new() }
    }

    /// The row that a tuple stands for; borrowed from the tuple where nothing has to be normalised.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if the bytes are not a tuple of the shape.
    #[inline]
    pub fn row<'a>(&'a mut self, tuple: &'a [u8]) -> Result<Row<'a>> {
        let (count, _) = tuple.split_first_chunk().ok_or_else(truncated)?;
        if usize::from(u16::from_be_bytes(*count)) != self.fields {
            return Err(corrupt("a row has another number of fields than its shape"));
        }
        Ok(Row::new(if self.columns.is_empty() { tuple } else { self.normalised(tuple)? }))
    }

    fn normalised(&mut self, tuple: &[u8]) -> Result<&[u8]> {
        self.scratch.clear();
        if tuple.len() <= KEPT_BUFFER_BYTES {
            self.scratch.shrink_to(KEPT_BUFFER_BYTES);
        }
        self.scratch.extend_from_slice(tuple);
        let mut rest = self.scratch.get_mut(2..).unwrap_or_default();
        for column in &self.columns {
            if let (Some(field), Some(canonical)) = (next_field_mut(&mut rest)?, column) {
                canonical.apply(field)?;
            }
        }
        Ok(&self.scratch)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::row::testing::{hex, tuple, unhex};

    fn applied(canonical: &Canonical, value: &str) -> String {
        let mut bytes = unhex(value);
        canonical.apply(&mut bytes).expect("valid");
        hex(&bytes)
    }

    #[test]
    fn every_nan_becomes_the_same_and_nothing_else_changes() {
        for (value, expected) in
            [("ffc00000", "7fc00000"), ("7f800001", "7fc00000"), ("80000000", "80000000"), ("ff800000", "ff800000")]
        {
            assert_eq!(applied(&Canonical::Float4, value), expected);
        }
        for (value, expected) in [
            ("fff8000000000000", "7ff8000000000000"),
            ("7ff0000000000001", "7ff8000000000000"),
            ("8000000000000000", "8000000000000000"),
            ("fff0000000000000", "fff0000000000000"),
        ] {
            assert_eq!(applied(&Canonical::Float8, value), expected);
        }
    }

    /// 1.50, 0.00, NaN and Infinity, as a server sends them.
    #[test]
    fn a_numeric_loses_its_scale_and_nothing_else() {
        for (value, expected) in [
            ("000200000000000200011388", "000200000000000000011388"),
            ("0000000000000002", "0000000000000000"),
            ("00000000c0000000", "00000000c0000000"),
            ("00000000d0000020", "00000000d0000000"),
        ] {
            assert_eq!(applied(&Canonical::Unscaled, value), expected);
        }
    }

    #[test]
    fn malformed_values_are_errors() {
        let array = Canonical::Array(Some(Box::new(Canonical::Float8)));
        for (canonical, value) in [
            (&Canonical::Float4, "00"),
            (&Canonical::Float8, "00000000"),
            (&Canonical::Unscaled, "00000000000000"),
            (&Canonical::Unscaled, "000200000000000200011388ff"),
            (&Canonical::Unscaled, "00030000000000020001138800"),
            (&Canonical::Floats { header: 4 }, "0000"),
            (&Canonical::Floats { header: 0 }, "000000000000000000"),
            (&array, "00000007000000000000000000"),
            (&array, "0000000100000000000002bd7fffffff00000001"),
            (&array, "0000000000000000000002bd00"),
            (&Canonical::Record(vec![None]), "00000002"),
            (&Canonical::Record(vec![]), "0000000000"),
            (&Canonical::Range(Box::new(Canonical::Float8)), ""),
            (&Canonical::Range(Box::new(Canonical::Float8)), "00ffffffff"),
            (&Canonical::Multirange(Box::new(Canonical::Float8)), "ffffffff"),
        ] {
            let error = canonical.apply(&mut unhex(value)).expect_err(value);
            assert_eq!(error.kind(), crate::ErrorKind::Corrupt);
        }
    }

    #[test]
    fn a_row_that_needs_nothing_is_the_tuple_itself() {
        let bytes = tuple(&[Some(b"key"), None, Some(b"x")]);
        let mut verbatim = Canonicalizer::new([None, None, None].into_iter());
        let row = verbatim.row(&bytes).expect("valid");
        assert!(std::ptr::eq(row.image(), bytes.as_slice()));
        assert!(Canonicalizer::new([None, None].into_iter()).row(&bytes).is_err());
    }

    #[test]
    fn a_row_that_needs_it_is_normalised() {
        let bytes = tuple(&[Some(&unhex("fff8000000000001")), Some(b"x")]);
        let mut canonicalizer = Canonicalizer::new([Some(Canonical::Float8), None].into_iter());
        let row = canonicalizer.row(&bytes).expect("valid");
        assert_eq!(hex(row.image()), "0002000000087ff80000000000000000000178");
    }

    fn any_canonical() -> impl Strategy<Value = Canonical> {
        let leaf = prop_oneof![
            Just(Canonical::Float4),
            Just(Canonical::Float8),
            Just(Canonical::Unscaled),
            (0usize..6).prop_map(|header| Canonical::Floats { header }),
            Just(Canonical::Array(None)),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                inner.clone().prop_map(|element| Canonical::Array(Some(Box::new(element)))),
                inner.clone().prop_map(|bound| Canonical::Range(Box::new(bound))),
                inner.clone().prop_map(|bound| Canonical::Multirange(Box::new(bound))),
                prop::collection::vec(prop::option::of(inner), 0..3).prop_map(Canonical::Record),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_applying_twice_changes_nothing(
            canonical in any_canonical(),
            mut soup in prop::collection::vec(prop_oneof![4 => 0u8..3, 1 => any::<u8>()], 0..80),
        ) {
            if canonical.apply(&mut soup).is_ok() {
                let once = soup.clone();
                canonical.apply(&mut soup).expect("still valid");
                prop_assert_eq!(once, soup);
            }
        }

        #[test]
        fn no_tuple_panics(
            columns in prop::collection::vec(prop::option::of(any_canonical()), 0..3),
            soup in prop::collection::vec(prop_oneof![4 => 0u8..3, 1 => any::<u8>()], 0..80),
        ) {
            let _ = Canonicalizer::new(columns.into_iter()).row(&soup);
        }
    }
}
