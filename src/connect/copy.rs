//! The data of a COPY, read from the socket in large pieces.

use std::future::poll_fn;
use std::pin::Pin;

use futures::StreamExt as _;
use tokio::io::AsyncRead;
use tokio_postgres::CopyOutStream;

use super::session::Session;
use super::tap::{Input, Message, Tap, copy_message};
use super::wire::Wire;
use crate::error::{Error, ErrorKind, Result};

/// A COPY TO STDOUT that has begun.
///
/// Dropped before its end, it ends the connection of its session: the rest of the stream would still come.
pub struct CopyStream<'a> {
    session: &'a Session,
    data: Data<'a, Wire>,
    /// Brings the end of the COPY, and the error that ended it.
    responses: Pin<Box<CopyOutStream>>,
}

impl<'a> CopyStream<'a> {
    pub(super) fn begin(session: &'a Session, tap: &'a Tap<Wire>, responses: CopyOutStream) -> Result<Self> {
        let data = Data::begin(tap).ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, format!("{}: the answer to a COPY was not seen", session.side()))
        })?;
        Ok(Self { session, data, responses: Box::pin(responses) })
    }

    /// Waits for data and calls `each` with what came, piece by piece and in order; where the pieces are cut means nothing.
    /// Returns how many bytes they were, `None` at the end of the COPY.
    ///
    /// # Errors
    ///
    /// See [`Session::error`]; and what `each` returns, after which the session must be dropped.
    pub async fn next(&mut self, each: impl FnMut(&[u8]) -> Result<()>) -> Result<Option<u64>> {
        if let Some(bytes) = self.data.next(each).await? {
            return Ok(Some(bytes));
        }
        match self.responses.next().await {
            None => Ok(None),
            Some(Err(error)) => Err(self.session.error(&error)),
            Some(Ok(_)) => {
                let message = format!("{}: a COPY goes on behind its end", self.session.side());
                Err(Error::new(ErrorKind::Corrupt, message))
            }
        }
    }
}

/// What is taken out of a stream while a COPY runs.
struct Data<'a, S: AsyncRead + Unpin> {
    tap: &'a Tap<S>,
    input: Input,
    /// The message in hand, and bytes of its body that were not used yet.
    message: Message,
    left: usize,
    ended: bool,
}

impl<'a, S: AsyncRead + Unpin> Data<'a, S> {
    fn begin(tap: &'a Tap<S>) -> Option<Self> {
        Some(Self { tap, input: tap.begin()?, message: Message::Data, left: 0, ended: false })
    }

    async fn next(&mut self, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<Option<u64>> {
        let mut bytes = 0;
        while !self.ended {
            self.walk(|piece| {
                bytes += piece.len() as u64;
                each(piece)
            })?;
            if bytes > 0 {
                return Ok(Some(bytes));
            }
            if !self.ended && !poll_fn(|context| self.tap.poll_read(context, &mut self.input)).await {
                self.ended = true;
            }
        }
        Ok(None)
    }

    /// Uses up what was read.
    fn walk(&mut self, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut used = 0;
        loop {
            let bytes = self.input.bytes().get(used..).unwrap_or_default();
            if self.left == 0 {
                match copy_message(bytes) {
                    None => break,
                    Some((Message::Other, ..)) => {
                        self.ended = true;
                        break;
                    }
                    Some((message, header, body)) => {
                        (self.message, self.left) = (message, body);
                        used += header;
                        if message == Message::Aside {
                            self.tap.pass_aside(bytes.get(..header).unwrap_or_default());
                        }
                        continue;
                    }
                }
            }
            let piece = bytes.get(..self.left).unwrap_or(bytes);
            if piece.is_empty() {
                break;
            }
            used += piece.len();
            self.left -= piece.len();
            match self.message {
                Message::Data => each(piece)?,
                Message::Aside | Message::Other => self.tap.pass_aside(piece),
            }
        }
        self.input.consume(used);
        if self.ended {
            self.tap.end(std::mem::take(&mut self.input));
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> Drop for Data<'_, S> {
    fn drop(&mut self) {
        if !self.ended {
            self.tap.give_up();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::super::tap::tap;
    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [[tag].as_slice(), &length.to_be_bytes(), body].concat()
    }

    /// Two COPYs with what a server may say before, between, in and after them; what is data, and what is not.
    fn conversation(bodies: &[Vec<u8>]) -> (Vec<u8>, Vec<u8>, [Vec<u8>; 2]) {
        let (mut sent, mut passed, mut data) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new()]);
        let notice = message(b'N', b"SNOTICE\0\0");
        for data in &mut data {
            for before in [notice.clone(), message(b'2', b""), message(b'H', b"\x01\0\0")] {
                sent.extend_from_slice(&before);
                passed.extend_from_slice(&before);
            }
            for (at, body) in bodies.iter().enumerate() {
                sent.extend(message(b'd', body));
                data.extend_from_slice(body);
                if at % 3 == 1 {
                    sent.extend_from_slice(&notice);
                    passed.extend_from_slice(&notice);
                }
            }
            // A message that looks like data belongs to the protocol once the COPY is over.
            for after in [message(b'c', b""), message(b'd', b"late"), message(b'Z', b"I")] {
                sent.extend_from_slice(&after);
                passed.extend_from_slice(&after);
            }
        }
        (sent, passed, data)
    }

    /// Sends bytes cut into pieces and returns what passed, and what each COPY gave.
    async fn run(sent: Vec<u8>, cuts: Vec<usize>) -> (Vec<u8>, Vec<Vec<u8>>) {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let writer = tokio::spawn(async move {
            let mut rest = sent.as_slice();
            for cut in cuts {
                let (piece, behind) = rest.split_at(cut.min(rest.len()));
                far.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
                rest = behind;
            }
            far.write_all(rest).await.unwrap();
        });
        let (mut stream, tap) = tap(near);
        let protocol = tokio::spawn(async move {
            let mut passed = Vec::new();
            stream.read_to_end(&mut passed).await.map(|_| passed)
        });
        let mut copies = Vec::new();
        while copies.len() < 2 {
            let Some(mut data) = Data::begin(&tap) else {
                tokio::task::yield_now().await;
                continue;
            };
            let (mut copy, mut counted) = (Vec::new(), 0);
            while let Some(bytes) = data
                .next(|piece| {
                    copy.extend_from_slice(piece);
                    Ok(())
                })
                .await
                .unwrap()
            {
                counted += bytes;
            }
            assert_eq!(counted, copy.len() as u64);
            copies.push(copy);
        }
        writer.await.unwrap();
        (protocol.await.unwrap().unwrap(), copies)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_byte_goes_where_it_belongs(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 0..20),
            cuts in prop::collection::vec(0usize..40, 0..60),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (sent, passed, data) = conversation(&bodies);
            let (seen, copies) = runtime.block_on(run(sent, cuts));
            prop_assert_eq!(seen, passed);
            prop_assert_eq!(copies, data.to_vec());
        }
    }

    #[tokio::test]
    async fn bodies_larger_than_the_buffer_come_in_pieces() {
        let (sent, passed, data) = conversation(&[vec![7; 1_000_000], vec![], vec![8; 300_000]]);
        assert_eq!(run(sent, Vec::new()).await, (passed, data.to_vec()));
    }

    /// A connection whose COPY has begun, with its first bytes.
    async fn begun() -> (impl AsyncRead + Unpin, Tap<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (near, mut far) = tokio::io::duplex(1000);
        let (mut stream, tap) = tap(near);
        far.write_all(&[message(b'H', b""), message(b'd', b"row")[..6].to_vec()].concat()).await.unwrap();
        assert_eq!(stream.read(&mut [0; 100]).await.unwrap(), 5);
        (stream, tap, far)
    }

    #[tokio::test]
    async fn a_copy_that_was_given_up_ends_the_connection() {
        let (mut stream, tap, _far) = begun().await;
        let mut data = Data::begin(&tap).unwrap();
        let failed = data.next(|_| Err(Error::new(ErrorKind::Corrupt, "enough"))).await;
        assert!(failed.is_err());
        drop(data);
        assert!(stream.read(&mut [0; 100]).await.is_err());
        assert!(Data::begin(&tap).is_none());
    }

    #[tokio::test]
    async fn the_protocol_learns_that_the_stream_ended_within_a_copy() {
        let (mut stream, tap, far) = begun().await;
        let mut data = Data::begin(&tap).unwrap();
        assert_eq!(data.next(|_| Ok(())).await.unwrap(), Some(1));
        drop(far);
        assert_eq!(data.next(|_| Ok(())).await.unwrap(), None);
        assert_eq!(stream.read(&mut [0; 100]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn nothing_is_taken_where_no_copy_runs() {
        let (near, mut far) = tokio::io::duplex(1000);
        let (mut stream, tap) = tap(near);
        far.write_all(&message(b'd', b"row")).await.unwrap();
        assert_eq!(stream.read(&mut [0; 100]).await.unwrap(), 8);
        assert!(Data::begin(&tap).is_none());
    }
}
