//! Framing: from the bytes of `COPY ... TO STDOUT (FORMAT binary)` to tuples, wherever the pieces are cut.
//!
//! Format: PostgreSQL manual, COPY, "Binary Format". A server sends one tuple per CopyData message, but its protocol does
//! not promise that, so the pieces mean nothing here.

use std::mem;

use super::corrupt;
use crate::error::Result;

/// The first bytes of every stream.
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Bytes before the header extension: signature, flags, length of the extension.
const HEADER_BYTES: usize = SIGNATURE.len() + 4 + 4;

/// The flag bits that a reader must understand or refuse; bit 16 (OIDs in the tuples) is one of them.
const CRITICAL_FLAGS: u32 = 0xffff_0000;

/// The most bytes that a tuple, and so a field, can have. The server assembles a tuple in one buffer of at most
/// `MaxAllocSize` (1 GiB - 1, memutils.h) bytes; a longer one is not a tuple but a broken stream, and must not be buffered.
pub const MAX_TUPLE_BYTES: usize = 1 << 30;

/// What is reserved at once for a row that comes in pieces, in bytes: a length word alone, which may be wrong, does not make us
/// take more. It is also kept for the next row: getting the memory anew costs more than filling it.
const ROW_BUFFER_BYTES: usize = 4 << 20;

/// Frames one COPY stream.
///
/// Memory: nothing while tuples lie within a piece; else the tuple that is not complete yet.
#[derive(Debug)]
pub struct CopyReader {
    fields: usize,
    state: State,
    /// What came of the header or of a tuple that is not complete yet.
    pending: Vec<u8>,
    progress: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    /// So many bytes of the header extension are still to be skipped.
    Extension(usize),
    Tuples,
    Ended,
    Failed,
}

/// How much of a tuple has been walked.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// The bytes that are needed to go on, counted from the tuple's start; 0 before the field count was asked for.
    wanted: usize,
    /// Fields whose length has not been read.
    left: usize,
    /// Whether the field count has been read.
    counted: bool,
}

enum Step {
    /// More bytes are needed: up to [`Progress::wanted`].
    More,
    /// The tuple has this many bytes.
    Tuple(usize),
    /// It was the trailer.
    Trailer,
}

impl Progress {
    /// Walks as far as the bytes reach.
    fn advance(&mut self, bytes: &[u8], fields: usize) -> Result<Step> {
        if !self.counted {
            self.wanted = 2;
            let Some(count) = bytes.first_chunk().copied().map(i16::from_be_bytes) else { return Ok(Step::More) };
            if count == -1 {
                return Ok(Step::Trailer);
            }
            if usize::try_from(count).ok() != Some(fields) {
                return Err(corrupt(format!("a row has {count} fields where {fields} were asked for")));
            }
            *self = Self { wanted: if fields == 0 { 2 } else { 6 }, left: fields, counted: true };
        }
        // Before each round, `wanted` is the end of the next length word; once none is left, the end of the tuple.
        loop {
            let Some(known) = bytes.get(..self.wanted) else { return Ok(Step::More) };
            if self.left == 0 {
                return Ok(Step::Tuple(self.wanted));
            }
            let Some(length) = known.last_chunk().copied().map(i32::from_be_bytes) else { return Ok(Step::More) };
            let length = match length {
                -1 => 0,
                length => usize::try_from(length).map_err(|_| corrupt("a field has a negative length"))?,
            };
            self.left -= 1;
            let end = self.wanted.saturating_add(length);
            if end > MAX_TUPLE_BYTES {
                return Err(corrupt("a row is larger than PostgreSQL can send"));
            }
            self.wanted = if self.left == 0 { end } else { end + 4 };
        }
    }
}

impl CopyReader {
    /// A reader of a stream whose tuples have so many fields.
    #[must_use]
    pub fn new(fields: usize) -> Self {
        Self { fields, state: State::Header, pending: Vec::new(), progress: Progress::default() }
    }

    /// Takes the next piece of the stream and hands each tuple that it completes to `each`: the tuple's field count and
    /// fields, as sent. The tuple is borrowed from the piece where it lies within it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if the bytes are not such a stream, and whatever `each` returns.
    /// After an error the reader takes no more.
    pub fn feed(&mut self, piece: &[u8], mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        // Stays so if this returns early.
        let state = mem::replace(&mut self.state, State::Failed);
        self.state = self.step(state, piece, &mut each)?;
        Ok(())
    }

    /// The end of the stream.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if the stream did not end with its trailer, or failed before.
    pub fn finish(self) -> Result<()> {
        match self.state {
            State::Ended => Ok(()),
            State::Failed => Err(corrupt("the COPY stream failed before its end")),
            State::Header | State::Extension(_) | State::Tuples => {
                Err(corrupt("the COPY stream ends without its trailer"))
            }
        }
    }

    fn step(
        &mut self,
        mut state: State,
        mut piece: &[u8],
        each: &mut impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<State> {
        while !piece.is_empty() {
            state = match state {
                State::Header => {
                    self.buffer(&mut piece, HEADER_BYTES);
                    match header(&self.pending)? {
                        Some(extension) => {
                            self.pending.clear();
                            State::Extension(extension)
                        }
                        None => State::Header,
                    }
                }
                State::Extension(0) => State::Tuples,
                State::Extension(left) => {
                    let skipped = left.min(piece.len());
                    piece = piece.get(skipped..).unwrap_or_default();
                    State::Extension(left - skipped)
                }
                State::Tuples if self.pending.is_empty() => {
                    self.progress = Progress::default();
                    match self.progress.advance(piece, self.fields)? {
                        Step::Tuple(length) => {
                            let (tuple, rest) = split(piece, length);
                            each(tuple)?;
                            piece = rest;
                            State::Tuples
                        }
                        Step::Trailer => {
                            piece = split(piece, 2).1;
                            State::Ended
                        }
                        Step::More => {
                            self.pending.extend_from_slice(piece);
                            piece = &[];
                            State::Tuples
                        }
                    }
                }
                State::Tuples => {
                    self.buffer(&mut piece, self.progress.wanted);
                    match self.progress.advance(&self.pending, self.fields)? {
                        Step::Tuple(_) => {
                            each(&self.pending)?;
                            self.release();
                            State::Tuples
                        }
                        Step::Trailer => {
                            self.release();
                            State::Ended
                        }
                        Step::More => State::Tuples,
                    }
                }
                State::Ended => return Err(corrupt("the COPY stream goes on behind its trailer")),
                State::Failed => return Err(corrupt("the COPY stream failed before")),
            };
        }
        Ok(state)
    }

    /// Moves bytes of the piece to the buffer until that holds `wanted` bytes.
    fn buffer(&mut self, piece: &mut &[u8], wanted: usize) {
        let missing = wanted.saturating_sub(self.pending.len());
        if missing > self.pending.capacity() - self.pending.len() {
            // At once, as growing by and by would copy a large row again and again.
            self.pending.reserve_exact(missing.min(self.pending.len().max(ROW_BUFFER_BYTES)));
        }
        let (taken, rest) = split(piece, missing.min(piece.len()));
        self.pending.extend_from_slice(taken);
        *piece = rest;
    }

    /// Empties the buffer, and gives its memory back if a large tuple went through it.
    fn release(&mut self) {
        self.pending.clear();
        self.pending.shrink_to(ROW_BUFFER_BYTES);
    }
}

/// Splits at a position that is within the bytes.
fn split(bytes: &[u8], at: usize) -> (&[u8], &[u8]) {
    bytes.split_at_checked(at).unwrap_or((bytes, &[]))
}

/// The length of the header extension, once the header is complete.
fn header(bytes: &[u8]) -> Result<Option<usize>> {
    if bytes.iter().zip(SIGNATURE).any(|(byte, expected)| byte != expected) {
        return Err(corrupt("the COPY stream does not begin with its signature"));
    }
    let Some((flags, rest)) = bytes.get(SIGNATURE.len()..).and_then(<[u8]>::split_first_chunk) else { return Ok(None) };
    if u32::from_be_bytes(*flags) & CRITICAL_FLAGS != 0 {
        return Err(corrupt("the COPY stream has flags that are not understood"));
    }
    let Some(length) = rest.first_chunk().copied().map(i32::from_be_bytes) else { return Ok(None) };
    usize::try_from(length).map(Some).map_err(|_| corrupt("the header extension has a negative length"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::row::testing::{stream, tuple};

    fn read(fields: usize, pieces: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        let mut reader = CopyReader::new(fields);
        let mut tuples = Vec::new();
        for piece in pieces {
            reader.feed(piece, |tuple| {
                tuples.push(tuple.to_vec());
                Ok(())
            })?;
        }
        reader.finish()?;
        Ok(tuples)
    }

    fn message(result: Result<Vec<Vec<u8>>>) -> String {
        let error = result.expect_err("an error");
        assert_eq!(error.kind(), crate::ErrorKind::Corrupt);
        error.message().to_owned()
    }

    #[test]
    fn streams_that_are_not_complete_are_refused() {
        let good = stream(&[tuple(&[Some(b"a"), None])]);
        assert_eq!(read(2, &[&good]).expect("good").len(), 1);
        for end in 0..good.len() {
            assert!(message(read(2, &[&good[..end]])).contains("without its trailer"), "cut at {end}");
        }
        let mut longer = good.clone();
        longer.push(0);
        assert!(message(read(2, &[&longer])).contains("behind its trailer"));
        assert!(message(read(2, &[&good, &[1]])).contains("behind its trailer"));
        assert!(read(2, &[&good, &[]]).is_ok());
        assert!(message(read(3, &[&good])).contains("2 fields where 3"));
    }

    #[test]
    fn headers_are_checked() {
        let mut good = stream(&[]);
        assert_eq!(read(0, &[&good]).expect("good"), Vec::<Vec<u8>>::new());
        good[0] = b'X';
        assert!(message(read(0, &[&good[..1]])).contains("signature"));
        let mut flagged = stream(&[]);
        flagged[12] = 1;
        assert!(message(read(0, &[&flagged])).contains("flags"));
        let mut harmless = stream(&[]);
        harmless[14] = 1;
        assert!(read(0, &[&harmless]).is_ok());
        let mut extended = stream(&[])[..19].to_vec();
        extended[18] = 3;
        extended.extend_from_slice(b"abc\xff\xff");
        assert!(read(0, &[&extended]).is_ok());
        extended[15] = 0x80;
        assert!(message(read(0, &[&extended])).contains("negative"));
    }

    #[test]
    fn impossible_lengths_are_refused_before_anything_is_buffered() {
        let mut bytes = stream(&[])[..19].to_vec();
        bytes.extend_from_slice(&[0, 1, 0x7f, 0xff, 0xff, 0xff]);
        assert!(message(read(1, &[&bytes])).contains("larger than"));
        bytes[21] = 0xff;
        bytes[24] = 0xfe;
        assert!(message(read(1, &[&bytes])).contains("negative length"));
    }

    #[test]
    fn an_error_of_the_consumer_ends_the_reader() {
        let bytes = stream(&[tuple(&[Some(b"a")]), tuple(&[Some(b"b")])]);
        let mut reader = CopyReader::new(1);
        assert!(reader.feed(&bytes, |_| Err(corrupt("enough"))).is_err());
        assert!(reader.feed(&bytes, |_| Ok(())).is_err());
        assert!(reader.finish().is_err());
    }

    #[test]
    fn tuples_without_fields_are_tuples() {
        let bytes = stream(&[tuple(&[]), tuple(&[])]);
        assert_eq!(read(0, &[&bytes]).expect("tuples").len(), 2);
        let pieces: Vec<_> = bytes.chunks(1).collect();
        assert_eq!(read(0, &pieces).expect("tuples").len(), 2);
    }

    #[test]
    fn a_buffer_that_a_large_tuple_needed_is_given_back() {
        let large = vec![7; 2 * ROW_BUFFER_BYTES];
        let bytes = stream(&[tuple(&[Some(&large)])]);
        let mut reader = CopyReader::new(1);
        for piece in bytes.chunks(1000) {
            reader
                .feed(piece, |tuple| {
                    assert_eq!(tuple.len(), large.len() + 6);
                    Ok(())
                })
                .expect("valid");
        }
        assert!(reader.pending.capacity() <= ROW_BUFFER_BYTES);
        reader.finish().expect("complete");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(fields in 0usize..4, soup in prop::collection::vec(any::<u8>(), 0..200), framed: bool) {
            let mut bytes = if framed { stream(&[])[..19].to_vec() } else { Vec::new() };
            bytes.extend_from_slice(&soup);
            let _ = read(fields, &[&bytes]);
            let pieces: Vec<_> = bytes.chunks(3).collect();
            let _ = read(fields, &pieces);
        }

        #[test]
        fn where_the_pieces_are_cut_means_nothing(
            rows in prop::collection::vec(prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..20)), 3), 0..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let tuples: Vec<_> = rows.iter().map(|row| tuple(&row.iter().map(Option::as_deref).collect::<Vec<_>>())).collect();
            let bytes = stream(&tuples);
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.push(bytes.len());
            cuts.sort_unstable();
            let mut from = 0;
            let mut pieces = Vec::new();
            for cut in cuts {
                pieces.push(&bytes[from..cut]);
                from = cut;
            }
            prop_assert_eq!(read(3, &pieces).expect("valid"), tuples);
        }
    }
}
