//! The fields of a tuple, one after the other.

use super::corrupt;
use crate::error::Result;

/// A row as bytes that mean the same on both servers.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a>(&'a [u8]);

impl<'a> Row<'a> {
    pub(crate) fn new(image: &'a [u8]) -> Self {
        Self(image)
    }

    /// The whole image: field count and fields, key columns first. Equal rows have equal images, different rows different
    /// ones.
    #[must_use]
    pub fn image(&self) -> &'a [u8] {
        self.0
    }

    /// The fields of the row, in the order of the select list.
    #[must_use]
    pub fn fields(&self) -> Fields<'a> {
        Fields::new(self.0)
    }
}

/// Iterates over the fields of a tuple or an image: the bytes, or `None` for NULL.
///
/// The last item is an error ([`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt)) if the bytes are not exactly one tuple.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
    /// `None` where even the field count is missing.
    left: Option<u16>,
    done: bool,
}

impl<'a> Fields<'a> {
    /// The fields of a tuple.
    #[must_use]
    pub fn new(tuple: &'a [u8]) -> Self {
        match tuple.split_first_chunk() {
            Some((count, rest)) => Self { rest, left: Some(u16::from_be_bytes(*count)), done: false },
            None => Self { rest: tuple, left: None, done: false },
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Option<&'a [u8]>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let item = match self.left {
            None => Some(Err(truncated())),
            Some(0) if self.rest.is_empty() => None,
            Some(0) => Some(Err(corrupt("bytes follow the last field of a row"))),
            Some(left) => {
                self.left = Some(left - 1);
                Some(next_field(&mut self.rest))
            }
        };
        self.done = !matches!(item, Some(Ok(_)));
        item
    }
}

/// Takes a length word and the field behind it; -1 is NULL.
#[inline]
pub(super) fn next_field<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>> {
    let (length, behind) = rest.split_first_chunk().ok_or_else(truncated)?;
    let length = i32::from_be_bytes(*length);
    if length == -1 {
        *rest = behind;
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| corrupt("a field has a negative length"))?;
    let (field, behind) = behind.split_at_checked(length).ok_or_else(truncated)?;
    *rest = behind;
    Ok(Some(field))
}

/// The same for bytes that are to be changed in place.
pub(super) fn next_field_mut<'a>(rest: &mut &'a mut [u8]) -> Result<Option<&'a mut [u8]>> {
    let length = i32::from_be_bytes(*take_chunk_mut(rest)?);
    if length == -1 {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| corrupt("a field has a negative length"))?;
    take_mut(rest, length).map(Some)
}

/// Takes so many bytes off the front.
pub(super) fn take_mut<'a>(rest: &mut &'a mut [u8], length: usize) -> Result<&'a mut [u8]> {
    let (taken, behind) = std::mem::take(rest).split_at_mut_checked(length).ok_or_else(truncated)?;
    *rest = behind;
    Ok(taken)
}

/// Takes a fixed number of bytes off the front.
pub(super) fn take_chunk_mut<'a, const N: usize>(rest: &mut &'a mut [u8]) -> Result<&'a mut [u8; N]> {
    let (taken, behind) = std::mem::take(rest).split_first_chunk_mut().ok_or_else(truncated)?;
    *rest = behind;
    Ok(taken)
}

/// Takes a fixed number of bytes off the front.
pub(super) fn take_chunk<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N]> {
    let (taken, behind) = rest.split_first_chunk().ok_or_else(truncated)?;
    *rest = behind;
    Ok(taken)
}

/// A value ends before it should.
pub(super) fn truncated() -> crate::Error {
    corrupt("a value is shorter than its type says")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::row::testing::tuple;

    #[test]
    fn fields_are_found_and_the_rest_is_an_error() {
        let bytes = tuple(&[Some(b"a"), None, Some(b"")]);
        let fields: Result<Vec<_>> = Fields::new(&bytes).collect();
        assert_eq!(fields.expect("valid"), vec![Some(b"a".as_slice()), None, Some(b"".as_slice())]);
        for end in 0..bytes.len() {
            assert!(Fields::new(&bytes[..end]).any(|field| field.is_err()), "cut at {end}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(Fields::new(&longer).last().is_some_and(|field| field.is_err()));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_every_walk_ends(soup in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(Fields::new(&soup).count() <= 101);
        }
    }
}
