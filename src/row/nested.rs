//! The normal forms of key values that are made of others: equal as the types' `=`, without an order.

use super::canonical::{MAX_DIMENSIONS, RANGE_EMPTY, RANGE_NO_LOWER, RANGE_NO_UPPER};
use super::corrupt;
use super::fields::{next_field, take_chunk, truncated};
use super::key::KeyKind;
use crate::error::Result;

/// An array: its dimensions with their lengths and lower bounds, then its elements (`array_eq`, arrayfuncs.c).
pub(super) fn array(element: &KeyKind, value: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let mut rest = value;
    let dimensions = u32::from_be_bytes(*take_chunk(&mut rest)?);
    if dimensions > MAX_DIMENSIONS {
        return Err(corrupt("an array has too many dimensions"));
    }
    take_chunk::<8>(&mut rest)?;
    out.extend_from_slice(&dimensions.to_be_bytes());
    let mut items = u64::from(dimensions > 0);
    for _ in 0..dimensions {
        let bounds: &[u8; 8] = take_chunk(&mut rest)?;
        out.extend_from_slice(bounds);
        let [length, _] = bounds.as_chunks::<4>().0 else { return Err(truncated()) };
        items = items.saturating_mul(u64::from(u32::from_be_bytes(*length)));
    }
    for _ in 0..items {
        element.field(next_field(&mut rest)?, out)?;
    }
    at_end(rest)
}

/// A composite: its attributes (`record_eq`, rowtypes.c).
pub(super) fn record(attributes: &[KeyKind], value: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let mut rest = value;
    let count = u32::from_be_bytes(*take_chunk(&mut rest)?);
    if usize::try_from(count).ok() != Some(attributes.len()) {
        return Err(corrupt("a composite value has another number of attributes than its type"));
    }
    for attribute in attributes {
        take_chunk::<4>(&mut rest)?;
        attribute.field(next_field(&mut rest)?, out)?;
    }
    at_end(rest)
}

/// A range: its flags and bounds (`range_eq_internal`, rangetypes.c).
pub(super) fn range(bound: &KeyKind, value: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let mut rest = value;
    let [flags] = *take_chunk(&mut rest)?;
    out.push(flags);
    for absent in [RANGE_NO_LOWER, RANGE_NO_UPPER] {
        if flags & (RANGE_EMPTY | absent) == 0 {
            bound.encode(next_field(&mut rest)?.ok_or_else(truncated)?, out)?;
        }
    }
    at_end(rest)
}

/// A multirange: the number of its ranges, and each of them (`multirange_eq_internal`, multirangetypes.c).
pub(super) fn multirange(bound: &KeyKind, value: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let mut rest = value;
    let count = u32::from_be_bytes(*take_chunk(&mut rest)?);
    out.extend_from_slice(&count.to_be_bytes());
    for _ in 0..count {
        range(bound, next_field(&mut rest)?.ok_or_else(truncated)?, out)?;
    }
    at_end(rest)
}

fn at_end(rest: &[u8]) -> Result<()> {
    if rest.is_empty() { Ok(()) } else { Err(corrupt("bytes follow the end of a value")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::testing::unhex;

    fn form(kind: &KeyKind, hex: &str) -> Vec<u8> {
        let mut out = Vec::new();
        kind.encode(&unhex(hex), &mut out).expect("valid");
        out
    }

    fn json(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        KeyKind::Jsonb.encode(&[b"\x01", text.as_bytes()].concat(), &mut out).expect("valid");
        out
    }

    /// Values as PostgreSQL 16 sends them, but for flags and types, which are 0 by then.
    #[test]
    fn what_is_equal_has_one_form() {
        // '{1.0}' and '{1.00}', '{2.0}', '[2:2]={1.0}', '{{1.0}}', '{NULL}' as numeric[]
        let numbers = KeyKind::Array(Box::new(KeyKind::Numeric));
        let one = "00000001000000000000000000000001000000010000000a00010000000000010001";
        let same = "00000001000000000000000000000001000000010000000a00010000000000020001";
        let others = [
            "00000001000000000000000000000001000000010000000a00010000000000010002",
            "00000001000000000000000000000001000000020000000a00010000000000010001",
            "000000020000000000000000000000010000000100000001000000010000000a00010000000000010001",
            "0000000100000000000000000000000100000001ffffffff",
            "000000000000000000000000",
        ];
        assert_eq!(form(&numbers, one), form(&numbers, same));
        for other in others {
            assert_ne!(form(&numbers, one), form(&numbers, other), "{other}");
        }
        for end in 0..one.len() / 2 {
            assert!(numbers.encode(&unhex(&one[..end * 2]), &mut Vec::new()).is_err(), "cut at {end}");
        }
        // (1.0,'A') and (1.00,'a') as a composite of numeric and citext
        let pair = KeyKind::Record(vec![KeyKind::Numeric, KeyKind::Folded]);
        assert_eq!(
            form(&pair, "00000002000000000000000a00010000000000010001000000000000000141"),
            form(&pair, "00000002000000000000000a00010000000000020001000000000000000161")
        );
        // [1.0,) and [1.00,) and (1.0,) as numrange
        let range = KeyKind::Range(Box::new(KeyKind::Numeric));
        let (closed, other) = ("120000000a00010000000000010001", "120000000a00010000000000020001");
        assert_eq!(form(&range, closed), form(&range, other));
        assert_ne!(form(&range, closed), form(&range, "100000000a00010000000000010001"));
    }

    #[test]
    fn numbers_in_jsonb_lose_their_zeros_and_nothing_else_does() {
        assert_eq!(json(r#"{"a": 1.50, "b": [1.0, -0.10, 100, 0.00]}"#), json(r#"{"a": 1.5, "b": [1, -0.1, 100, 0]}"#));
        assert_eq!(json("1.00"), json("1"));
        for (one, other) in [
            (r#""1.50""#, r#""1.5""#),
            (r#""\"1.50""#, r#""\"1.5""#),
            (r#""\\" "#, r#""\\\\" "#),
            ("100", "1"),
            ("10.5", "1.5"),
            (r#"{"1.0": 1}"#, r#"{"1": 1}"#),
            ("[1.0, 0]", "[1.00]"),
            ("[1, 0]", "[10]"),
        ] {
            assert_ne!(json(one), json(other), "{one} {other}");
        }
        assert!(KeyKind::Jsonb.encode(b"", &mut Vec::new()).is_err());
        assert!(KeyKind::Jsonb.encode(b"\x02{}", &mut Vec::new()).is_err());
    }

    #[test]
    fn case_means_nothing_in_citext() {
        let fold = |text: &[u8]| {
            let mut out = Vec::new();
            KeyKind::Folded.encode(text, &mut out).expect("valid");
            out
        };
        assert_eq!(fold("ÄbC".as_bytes()), fold("äBc".as_bytes()));
        assert_ne!(fold(b"a"), fold(b"a "));
        // Not UTF-8.
        assert_eq!(fold(b"A\xff"), fold(b"a\xff"));
    }
}
