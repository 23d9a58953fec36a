//! The normal forms of key values by type: appended, self-delimiting, ordered as bytes like the type's btree order.

use super::corrupt;
use super::fields::take_chunk;
use crate::error::Result;

/// Ends a value of any length; a 0 within the value is followed by [`ESCAPED`] instead.
const END: [u8; 2] = [0, 0];
const ESCAPED: [u8; 2] = [0, 0xff];

const MICROSECONDS_PER_SECOND: i64 = 1_000_000;
const MICROSECONDS_PER_DAY: i128 = 86_400_000_000;
const DAYS_PER_MONTH: i64 = 30;

/// Bytes that compare as they are.
pub(super) fn plain(value: &[u8], length: usize, out: &mut Vec<u8>) -> Result<()> {
    if value.len() != length {
        return Err(wrong_length());
    }
    out.extend_from_slice(value);
    Ok(())
}

/// A signed number: the sign bit is inverted.
pub(super) fn signed(value: &[u8], length: usize, out: &mut Vec<u8>) -> Result<()> {
    match value.split_first() {
        Some((first, rest)) if value.len() == length => {
            out.push(first ^ 0x80);
            out.extend_from_slice(rest);
            Ok(())
        }
        _ => Err(wrong_length()),
    }
}

/// float4 (`float4_cmp_internal`, float.h): -0 equals 0, all NaN are equal and above everything.
pub(super) fn float4(value: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let float = f32::from_be_bytes(value.try_into().map_err(|_| wrong_length())?);
    let bits = if float.is_nan() {
        0x7fc0_0000
    } else if float == 0.0 {
        0
    } else {
        float.to_bits()
    };
    let ordered = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
    out.extend_from_slice(&ordered.to_be_bytes());
    Ok(())
}

/// float8, likewise.
pub(super) fn float8(value: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let float = f64::from_be_bytes(value.try_into().map_err(|_| wrong_length())?);
    let bits = if float.is_nan() {
        0x7ff8_0000_0000_0000
    } else if float == 0.0 {
        0
    } else {
        float.to_bits()
    };
    let ordered = if bits >> 63 == 0 { bits | 1 << 63 } else { !bits };
    out.extend_from_slice(&ordered.to_be_bytes());
    Ok(())
}

/// interval (`interval_cmp_value`, timestamp.c): by the span with months of 30 days and days of 24 hours.
pub(super) fn interval(value: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let mut rest = value;
    let time = i64::from_be_bytes(*take_chunk(&mut rest)?);
    let days = i32::from_be_bytes(*take_chunk(&mut rest)?);
    let months = i32::from_be_bytes(*take_chunk(&mut rest)?);
    if !rest.is_empty() {
        return Err(wrong_length());
    }
    let days = i64::from(months) * DAYS_PER_MONTH + i64::from(days);
    let span = i128::from(days) * MICROSECONDS_PER_DAY + i128::from(time);
    out.extend_from_slice(&(span ^ i128::MIN).to_be_bytes());
    Ok(())
}

/// timetz (`timetz_cmp_internal`, date.c): by the time in UTC, then by the zone.
pub(super) fn timetz(value: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let mut rest = value;
    let time = i64::from_be_bytes(*take_chunk(&mut rest)?);
    let zone = i32::from_be_bytes(*take_chunk(&mut rest)?);
    if !rest.is_empty() {
        return Err(wrong_length());
    }
    let utc = time
        .checked_add(i64::from(zone) * MICROSECONDS_PER_SECOND)
        .ok_or_else(|| corrupt("a time of day is out of range"))?;
    out.extend_from_slice(&(utc ^ i64::MIN).to_be_bytes());
    out.extend_from_slice(&(zone ^ i32::MIN).to_be_bytes());
    Ok(())
}

/// Bytes of any length, a prefix before what it begins.
pub(super) fn bytes(value: &[u8], out: &mut Vec<u8>) {
    let mut parts = value.split(|&byte| byte == 0);
    if let Some(first) = parts.next() {
        out.extend_from_slice(first);
    }
    for part in parts {
        out.extend_from_slice(&ESCAPED);
        out.extend_from_slice(part);
    }
    out.extend_from_slice(&END);
}

/// Without trailing spaces (`bcTruelen`, varchar.c).
pub(super) fn unpadded(value: &[u8]) -> &[u8] {
    let length = value.iter().rposition(|&byte| byte != b' ').map_or(0, |last| last + 1);
    value.get(..length).unwrap_or(value)
}

/// In lower case, letter by letter (citext compares what `lower` gives, citext.c). Servers may lower fewer letters than this,
/// by their collation: then a few different keys have the same form, and their rows are told apart by their images.
pub(super) fn folded(value: &[u8]) -> Vec<u8> {
    match str::from_utf8(value) {
        Ok(text) => text.chars().flat_map(char::to_lowercase).collect::<String>().into_bytes(),
        Err(_) => value.to_ascii_lowercase(),
    }
}

/// The version of the binary form of jsonb (`jsonb_send`, jsonb.c).
const JSONB_VERSION: u8 = 1;

/// jsonb: its text, whose numbers (`numeric_out`: no exponent) lose the zeros behind their last decimal.
pub(super) fn jsonb(value: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let Some((&JSONB_VERSION, text)) = value.split_first() else {
        return Err(corrupt("a jsonb value is of a version that is not understood"));
    };
    let mut plain = Vec::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    // Where the decimals of the number that is being read begin.
    let mut decimals = None;
    for &byte in text {
        if !byte.is_ascii_digit()
            && let Some(point) = decimals.take()
        {
            without_trailing_zeros(&mut plain, point);
        }
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'.' if !in_string => decimals = Some(plain.len()),
            _ => {}
        }
        plain.push(byte);
    }
    if let Some(point) = decimals {
        without_trailing_zeros(&mut plain, point);
    }
    bytes(&plain, out);
    Ok(())
}

/// Takes the zeros off the end of a number, and the point too where nothing is left behind it.
fn without_trailing_zeros(text: &mut Vec<u8>, point: usize) {
    while text.len() > point && matches!(text.last(), Some(b'0' | b'.')) {
        text.pop();
    }
}

/// Bytes behind their length: no order.
pub(super) fn raw(value: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let length = u32::try_from(value.len()).map_err(|_| wrong_length())?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
    Ok(())
}

/// The first byte of a numeric's normal form, in the order of `cmp_numerics` (numeric.c).
mod class {
    pub(super) const NEGATIVE_INFINITY: u8 = 0;
    pub(super) const NEGATIVE: u8 = 1;
    pub(super) const ZERO: u8 = 2;
    pub(super) const POSITIVE: u8 = 3;
    pub(super) const INFINITY: u8 = 4;
    pub(super) const NAN: u8 = 5;
}

/// The sign words of `numeric_send` (numeric.c).
mod sign {
    pub(super) const POSITIVE: u16 = 0x0000;
    pub(super) const NEGATIVE: u16 = 0x4000;
    pub(super) const NAN: u16 = 0xc000;
    pub(super) const INFINITY: u16 = 0xd000;
    pub(super) const NEGATIVE_INFINITY: u16 = 0xf000;
}

/// One more than the largest digit of a numeric.
const NUMERIC_BASE: u16 = 10_000;

/// numeric: its class; then for numbers other than 0 the weight of the first digit that is not 0, the digits up to the last
/// one that is not 0, each plus one, and a 0; all of that inverted for negative numbers. The scale means nothing.
pub(super) fn numeric(value: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let mut rest = value;
    let count = usize::from(u16::from_be_bytes(*take_chunk(&mut rest)?));
    let weight = i16::from_be_bytes(*take_chunk(&mut rest)?);
    let sign = u16::from_be_bytes(*take_chunk(&mut rest)?);
    let _scale: &[u8; 2] = take_chunk(&mut rest)?;
    let (digits, odd) = rest.as_chunks::<2>();
    if !odd.is_empty() || digits.len() != count {
        return Err(wrong_length());
    }
    let (class, inverted) = match sign {
        sign::POSITIVE => (class::POSITIVE, 0),
        sign::NEGATIVE => (class::NEGATIVE, 0xffff),
        special => {
            out.push(match special {
                sign::NAN => class::NAN,
                sign::INFINITY => class::INFINITY,
                sign::NEGATIVE_INFINITY => class::NEGATIVE_INFINITY,
                _ => return Err(corrupt("a numeric has a sign that is not understood")),
            });
            return Ok(());
        }
    };
    let Some(first) = digits.iter().position(|digit| digit != &[0, 0]) else {
        out.push(class::ZERO);
        return Ok(());
    };
    let last = digits.iter().rposition(|digit| digit != &[0, 0]).unwrap_or(first);
    let weight = i16::try_from(first)
        .ok()
        .and_then(|leading| weight.checked_sub(leading))
        .ok_or_else(|| corrupt("a numeric is out of range"))?;
    out.push(class);
    out.extend_from_slice(&((weight ^ i16::MIN).cast_unsigned() ^ inverted).to_be_bytes());
    for digit in digits.get(first..=last).unwrap_or_default() {
        let digit = u16::from_be_bytes(*digit);
        if digit >= NUMERIC_BASE {
            return Err(corrupt("a numeric has an impossible digit"));
        }
        out.extend_from_slice(&((digit + 1) ^ inverted).to_be_bytes());
    }
    out.extend_from_slice(&inverted.to_be_bytes());
    Ok(())
}

pub(super) fn wrong_length() -> crate::Error {
    corrupt("a key value does not have the length of its type")
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;
    use crate::row::testing::unhex;

    fn of(encode: impl Fn(&[u8], &mut Vec<u8>) -> Result<()>, value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(value, &mut out).expect("valid");
        out
    }

    /// A decimal number as a sign and the digits before and after the point.
    #[derive(Debug, Clone)]
    struct Decimal {
        negative: bool,
        integer: String,
        fraction: String,
    }

    impl Decimal {
        /// As `numeric_send` would write it, padded with needless zero digits in front.
        fn wire(&self, leading: usize) -> Vec<u8> {
            let integer = format!("{}{}", "0".repeat((4 - self.integer.len() % 4) % 4 + 4 * leading), self.integer);
            let fraction = format!("{}{}", self.fraction, "0".repeat((4 - self.fraction.len() % 4) % 4));
            let digits: Vec<u16> = format!("{integer}{fraction}")
                .as_bytes()
                .chunks(4)
                .map(|chunk| std::str::from_utf8(chunk).expect("digits").parse().expect("digits"))
                .collect();
            let word = |number: usize| u16::try_from(number).expect("small").to_be_bytes();
            let mut wire = word(digits.len()).to_vec();
            let weight = i16::try_from(integer.len() / 4).expect("small") - 1;
            wire.extend_from_slice(&weight.to_be_bytes());
            wire.extend_from_slice(&(if self.negative { 0x4000u16 } else { 0 }).to_be_bytes());
            wire.extend_from_slice(&word(self.fraction.len()));
            wire.extend(digits.iter().flat_map(|digit| digit.to_be_bytes()));
            wire
        }

        /// Comparison by school arithmetic.
        fn compare(&self, other: &Self) -> Ordering {
            let pad = |number: &Self| {
                let width = self.integer.len().max(other.integer.len());
                let scale = self.fraction.len().max(other.fraction.len());
                format!("{:0>width$}{:0<scale$}", number.integer, number.fraction)
            };
            let (a, b) = (pad(self), pad(other));
            let zero = |digits: &str| digits.bytes().all(|digit| digit == b'0');
            match (self.negative && !zero(&a), other.negative && !zero(&b)) {
                (false, false) => a.cmp(&b),
                (true, true) => b.cmp(&a),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
            }
        }
    }

    fn decimal() -> impl Strategy<Value = Decimal> {
        let digits = || prop_oneof!["[0-9]{0,9}", "0{0,9}[0-9]0{0,9}", "[09]{0,9}"];
        (any::<bool>(), digits(), digits()).prop_map(|(negative, integer, fraction)| Decimal {
            negative,
            integer,
            fraction,
        })
    }

    #[test]
    fn numerics_of_a_server_sort_like_there() {
        // From PostgreSQL 15, in ascending order; lines of several are equal.
        let ascending: &[&[&str]] = &[
            &["00000000f0000020"],                                     // -Infinity
            &["0003000140000004000109291a85"],                         // -12345.6789
            &["0000000000000000", "0000000000000002"],                 // 0, 0.00
            &["0001fffb000000140001"],                                 // 1e-20
            &["0001fffe0000000503e8"],                                 // 0.00001
            &["0001ffff000000040001"],                                 // 0.0001
            &["000200000000000200011388", "000200000000000100011388"], // 1.50, 1.5
            &["00010001000000000001"],                                 // 10000
            &["00010002000000000064"],                                 // 1e10
            &["000b000700000009000c0d801ed204d2162e23340d801ed204d2162e2328"],
            &["00000000d0000020"], // Infinity
            &["00000000c0000000"], // NaN
        ];
        let forms: Vec<_> = ascending
            .iter()
            .map(|equal| {
                let mut forms: Vec<_> = equal.iter().map(|value| of(numeric, &unhex(value))).collect();
                forms.dedup();
                assert_eq!(forms.len(), 1);
                forms.swap_remove(0)
            })
            .collect();
        assert!(forms.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn numerics_that_no_server_sends_are_errors() {
        for value in
            ["", "0001000000000000", "000100000000000027", "00010000000000002710", "0000000012340000", "00000000000000"]
        {
            assert!(numeric(&unhex(value), &mut Vec::new()).is_err(), "{value}");
        }
        let mut low = unhex("0002800000000000");
        low.extend_from_slice(&[0, 0, 0, 1]);
        assert!(numeric(&low, &mut Vec::new()).is_err());
    }

    #[test]
    fn intervals_are_equal_where_their_spans_are() {
        let form = |time: i64, days: i32, months: i32| {
            of(interval, &[&time.to_be_bytes()[..], &days.to_be_bytes(), &months.to_be_bytes()].concat())
        };
        assert_eq!(form(0, 30, 0), form(0, 0, 1));
        assert_eq!(form(86_400_000_000, 0, 0), form(0, 1, 0));
        assert!(form(-1, 1, 0) < form(0, 1, 0));
        assert!(form(i64::MIN, i32::MIN, i32::MIN) < form(0, 0, -1));
        assert!(form(i64::MAX, i32::MAX, i32::MAX) > form(0, 0, i32::MAX));
    }

    #[test]
    fn padding_means_nothing() {
        assert_eq!(unpadded(b"a b  "), b"a b");
        assert_eq!(unpadded(b"   "), b"");
        assert_eq!(unpadded(b""), b"");
    }

    proptest! {
        #[test]
        fn numerics_sort_like_decimals(a in decimal(), b in decimal(), leading in 0usize..3) {
            let (left, right) = (of(numeric, &a.wire(leading)), of(numeric, &b.wire(0)));
            prop_assert_eq!(left.cmp(&right), a.compare(&b));
            // Self-delimiting: nothing that follows changes the order of different values.
            if left != right {
                prop_assert_eq!([left, vec![0xff]].concat().cmp(&[right, vec![0]].concat()), a.compare(&b));
            }
        }

        #[test]
        fn numerics_with_more_digits_are_other_numerics(a in decimal(), more in "[0-9]{1,5}") {
            let b = Decimal { fraction: format!("{}{more}", a.fraction), ..a.clone() };
            prop_assert_eq!(of(numeric, &a.wire(0)).cmp(&of(numeric, &b.wire(0))), a.compare(&b));
        }

        #[test]
        fn integers_sort_like_integers(a: i64, b: i64, c: i16, d: i16) {
            let form = |number: i64| of(|value, out| signed(value, 8, out), &number.to_be_bytes());
            prop_assert_eq!(form(a).cmp(&form(b)), a.cmp(&b));
            let form = |number: i16| of(|value, out| signed(value, 2, out), &number.to_be_bytes());
            prop_assert_eq!(form(c).cmp(&form(d)), c.cmp(&d));
        }

        #[test]
        fn floats_sort_like_the_server_does(
            a in prop_oneof![any::<f64>(), Just(-0.0), Just(0.0), Just(-f64::NAN), Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY)],
            b in prop_oneof![any::<f64>(), Just(-0.0), Just(0.0), Just(-f64::NAN), Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY)],
        ) {
            let expected = |a_nan: bool, b_nan: bool, finite: Option<Ordering>| finite.unwrap_or(a_nan.cmp(&b_nan));
            prop_assert_eq!(
                of(float8, &a.to_be_bytes()).cmp(&of(float8, &b.to_be_bytes())),
                expected(a.is_nan(), b.is_nan(), a.partial_cmp(&b))
            );
            #[allow(clippy::cast_possible_truncation)]
            let (a, b) = (a as f32, b as f32);
            prop_assert_eq!(
                of(float4, &a.to_be_bytes()).cmp(&of(float4, &b.to_be_bytes())),
                expected(a.is_nan(), b.is_nan(), a.partial_cmp(&b))
            );
        }

        #[test]
        fn bytes_sort_like_bytes(a in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255), any::<u8>()], 0..8), b in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255), any::<u8>()], 0..8)) {
            let form = |value: &[u8]| { let mut out = Vec::new(); bytes(value, &mut out); out };
            prop_assert_eq!(form(&a).cmp(&form(&b)), a.cmp(&b));
        }

        #[test]
        fn times_with_zone_sort_by_utc_then_zone(a in (0i64..86_400_000_000, -57_600i32..57_600), b in (0i64..86_400_000_000, -57_600i32..57_600)) {
            let form = |(time, zone): (i64, i32)| of(timetz, &[&time.to_be_bytes()[..], &zone.to_be_bytes()].concat());
            let key = |(time, zone): (i64, i32)| (time + i64::from(zone) * 1_000_000, zone);
            prop_assert_eq!(form(a).cmp(&form(b)), key(a).cmp(&key(b)));
        }
    }
}
