//! Arrays of texts, by which the values of a row come: to be looked up by them, or for people to read.

use super::corrupt;
use super::fields::{next_field, take_chunk};
use crate::error::{Error, ErrorKind, Result};

/// The object identifier of `text` (pg_type.dat), the same in every cluster.
const TEXT_OID: u32 = 25;

/// The elements of a `text[]` with at most one dimension, as `array_send` writes it.
///
/// # Errors
///
/// [`ErrorKind::Corrupt`] if the bytes are not such an array; [`ErrorKind::Unsupported`] if a text is not UTF-8, as it may be
/// where the database has no encoding (SQL_ASCII).
pub fn text_array(field: &[u8]) -> Result<Vec<Option<String>>> {
    let exact = |text: &[u8]| match std::str::from_utf8(text) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(Error::new(ErrorKind::Unsupported, "a text is not valid UTF-8")),
    };
    elements(field, exact)
}

/// The same for people to read: bytes that are not UTF-8 become U+FFFD. Nothing may be decided by these texts: different ones
/// can look the same.
///
/// # Errors
///
/// [`ErrorKind::Corrupt`] if the bytes are not such an array.
pub fn shown_text_array(field: &[u8]) -> Result<Vec<Option<String>>> {
    elements(field, |text| Ok(String::from_utf8_lossy(text).into_owned()))
}

fn elements(field: &[u8], text_of: impl Fn(&[u8]) -> Result<String>) -> Result<Vec<Option<String>>> {
    let mut rest = field;
    let dimensions = u32::from_be_bytes(*take_chunk(&mut rest)?);
    take_chunk::<4>(&mut rest)?;
    if u32::from_be_bytes(*take_chunk(&mut rest)?) != TEXT_OID {
        return Err(corrupt("an array is not one of texts"));
    }
    let length = match dimensions {
        0 => 0,
        1 => {
            let length = u32::from_be_bytes(*take_chunk(&mut rest)?);
            take_chunk::<4>(&mut rest)?;
            length
        }
        _ => return Err(corrupt("an array of texts has more than one dimension")),
    };
    let mut texts = Vec::new();
    for _ in 0..length {
        texts.push(next_field(&mut rest)?.map(&text_of).transpose()?);
    }
    if rest.is_empty() { Ok(texts) } else { Err(corrupt("bytes follow the end of an array")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::row::testing::unhex;

    #[test]
    fn real_arrays_are_read() {
        // array['a',null,'ü']::text[] and '{}'::text[] as PostgreSQL 15 sends them.
        let array = unhex("00000001000000010000001900000003000000010000000161ffffffff00000002c3bc");
        assert_eq!(text_array(&array).expect("valid"), vec![Some("a".into()), None, Some("ü".into())]);
        assert_eq!(text_array(&unhex("000000000000000000000019")).expect("valid"), Vec::new());
        for end in 0..array.len() {
            assert!(text_array(&array[..end]).is_err(), "cut at {end}");
        }
        assert!(text_array(&unhex("000000000000000000000017")).is_err());
        assert!(text_array(&unhex("00000000000000000000001900")).is_err());
    }

    #[test]
    fn a_text_that_is_not_utf_8_is_shown_and_nothing_else() {
        // array[E'\\344'] and array[E'\\345'] of a database without an encoding.
        let [one, other] =
            ["e4", "e5"].map(|byte| unhex(&format!("0000000100000000000000190000000100000001{}{byte}", "00000001")));
        for array in [&one, &other] {
            assert_eq!(text_array(array).unwrap_err().kind(), ErrorKind::Unsupported);
            assert_eq!(shown_text_array(array).unwrap(), [Some("\u{fffd}".to_owned())]);
        }
        let whole = unhex("00000001000000010000001900000003000000010000000161ffffffff00000002c3bc");
        assert_eq!(shown_text_array(&whole).unwrap(), text_array(&whole).unwrap());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(soup in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = text_array(&soup);
            let mut framed = unhex("00000001000000000000001900000002");
            framed.extend_from_slice(&soup);
            let _ = text_array(&framed);
        }
    }
}
