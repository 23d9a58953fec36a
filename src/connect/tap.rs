//! A tap on the byte stream below the protocol, through which the rows of a COPY leave it.
//!
//! The protocol library hands out every CopyData message, hence every row, as an object of its own, and reads 8 KiB at a
//! time: that costs as much as everything that is done with the row. So the stream below it is ours. It passes everything
//! on until a CopyOutResponse has passed; then it keeps still, and whoever asked for the COPY reads from the socket itself,
//! into a buffer of its own, as much as there is. The first message that is not one of the COPY's data, or one that a
//! server may send at any time, ends that: it and all behind it go to the protocol again. (PostgreSQL manual, "Message
//! Flow", COPY Operations and Asynchronous Operations; "Message Formats".)

use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsStream};

/// Bytes that are read at once for the protocol.
const READ_BYTES: usize = 8 * 1024;
/// Bytes of rows that are read at once: many reads of a server's send buffer (8 KiB), and still in a processor's cache.
const COPY_READ_BYTES: usize = 128 * 1024;
/// A message's type and its length, which counts itself.
const HEADER_BYTES: usize = 5;

const COPY_OUT_RESPONSE: u8 = b'H';
const COPY_DATA: u8 = b'd';
/// NoticeResponse, ParameterStatus, NotificationResponse: may come at any time and end nothing.
const ASYNCHRONOUS: [u8; 3] = [b'N', b'S', b'A'];

/// A stream as the protocol sees it.
pub(super) struct Tapped<S>(Arc<Mutex<Inner<S>>>);

/// The other end: takes the rows of a COPY out.
pub(super) struct Tap<S>(Arc<Mutex<Inner<S>>>);

struct Inner<S> {
    stream: S,
    mode: Mode,
    /// What was read and did not pass yet.
    input: Input,
    /// Bytes of the message in hand that did not pass yet.
    left: usize,
    /// What passes while a COPY runs.
    aside: Vec<u8>,
    /// Why the stream ended while a COPY ran.
    failure: Option<io::Error>,
    /// The protocol, if it waits for the end of a COPY.
    waiting: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Everything passes.
    Passing,
    /// The message in hand is a CopyOutResponse; a COPY comes next.
    Announced,
    /// What comes is for the tap.
    Copying,
    /// A COPY was not read to its end, so nobody knows what comes.
    GivenUp,
}

/// Bytes that were read, the first ones of which may have been used.
#[derive(Debug, Default)]
pub(super) struct Input {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.end);
    }

    /// Reads what there is; 0 bytes at the end of the stream.
    fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
        size: usize,
    ) -> Poll<io::Result<usize>> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.buffer.len() < size.max(self.end + 1) {
            self.buffer.resize(size.max(self.end + 1), 0);
        }
        let mut free = ReadBuf::new(self.buffer.split_at_mut(self.end).1);
        ready!(Pin::new(stream).poll_read(context, &mut free))?;
        let read = free.filled().len();
        self.end += read;
        Poll::Ready(Ok(read))
    }
}

/// What a message is to the tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    /// Data of the COPY.
    Data,
    /// Passes and ends nothing.
    Aside,
    /// Ends the COPY.
    Other,
}

/// What kind of message bytes begin with and how long header and body are; `None` if there are too few bytes to tell.
pub(super) fn copy_message(bytes: &[u8]) -> Option<(Message, usize, usize)> {
    let (tag, length) = header(bytes)?;
    Some(match length.checked_sub(4) {
        Some(body) if tag == COPY_DATA => (Message::Data, HEADER_BYTES, body),
        Some(body) if ASYNCHRONOUS.contains(&tag) => (Message::Aside, HEADER_BYTES, body),
        // With a length that cannot be, the protocol will see that it is broken.
        _ => (Message::Other, 0, 0),
    })
}

fn header(bytes: &[u8]) -> Option<(u8, usize)> {
    let [tag, length @ ..] = bytes.first_chunk::<HEADER_BYTES>()?;
    Some((*tag, u32::from_be_bytes(*length) as usize))
}

/// Puts a tap on a stream.
pub(super) fn tap<S>(stream: S) -> (Tapped<S>, Tap<S>) {
    let inner = Arc::new(Mutex::new(Inner {
        stream,
        mode: Mode::Passing,
        input: Input::default(),
        left: 0,
        aside: Vec::new(),
        failure: None,
        waiting: None,
    }));
    (Tapped(Arc::clone(&inner)), Tap(inner))
}

fn lock<S>(inner: &Mutex<Inner<S>>) -> MutexGuard<'_, Inner<S>> {
    // No code that can panic leaves it in a state that a later call could not go on from.
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S> Inner<S> {
    fn wake(&mut self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Hands on what may pass.
    fn pass(&mut self, out: &mut ReadBuf<'_>) {
        while out.remaining() > 0 && matches!(self.mode, Mode::Passing | Mode::Announced) {
            if self.left == 0 {
                let Some((tag, length)) = header(self.input.bytes()) else { return };
                self.left = 1 + length;
                if tag == COPY_OUT_RESPONSE {
                    self.mode = Mode::Announced;
                }
            }
            let bytes = self.input.bytes();
            let passing = self.left.min(bytes.len()).min(out.remaining());
            if passing == 0 {
                return;
            }
            out.put_slice(bytes.get(..passing).unwrap_or_default());
            self.input.consume(passing);
            self.left -= passing;
            if self.left == 0 && self.mode == Mode::Announced {
                self.mode = Mode::Copying;
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tapped<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inner = lock(&self.0);
        let inner = &mut *inner;
        if !inner.aside.is_empty() {
            let passing = inner.aside.len().min(out.remaining());
            out.put_slice(inner.aside.get(..passing).unwrap_or_default());
            inner.aside.drain(..passing);
            return Poll::Ready(Ok(()));
        }
        loop {
            match inner.mode {
                Mode::Copying => {
                    inner.waiting = Some(context.waker().clone());
                    return Poll::Pending;
                }
                Mode::GivenUp => return Poll::Ready(Err(io::Error::other("a COPY was not read to its end"))),
                Mode::Passing | Mode::Announced => {}
            }
            let before = out.remaining();
            inner.pass(out);
            if out.remaining() < before {
                return Poll::Ready(Ok(()));
            }
            if let Some(failure) = inner.failure.take() {
                return Poll::Ready(Err(failure));
            }
            if inner.mode != Mode::Copying
                && ready!(inner.input.poll_fill(&mut inner.stream, context, READ_BYTES))? == 0
            {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tapped<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut lock(&self.0).stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).stream).poll_shutdown(context)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Tapped<S> {
    fn channel_binding(&self) -> ChannelBinding {
        lock(&self.0).stream.channel_binding()
    }
}

impl<S: AsyncRead + Unpin> Tap<S> {
    /// Takes over what was read behind the CopyOutResponse; `None` if none has passed.
    pub(super) fn begin(&self) -> Option<Input> {
        let mut inner = lock(&self.0);
        (inner.mode == Mode::Copying).then(|| mem::take(&mut inner.input))
    }

    /// Reads more. Returns false at the end of the stream or if it fails, and then the protocol is the one to say so.
    pub(super) fn poll_read(&self, context: &mut Context<'_>, input: &mut Input) -> Poll<bool> {
        let mut inner = lock(&self.0);
        match ready!(input.poll_fill(&mut inner.stream, context, COPY_READ_BYTES)) {
            Ok(read) if read > 0 => Poll::Ready(true),
            ended => {
                inner.failure = ended.err();
                inner.mode = Mode::Passing;
                inner.wake();
                Poll::Ready(false)
            }
        }
    }

    /// Hands bytes on while the COPY goes on.
    pub(super) fn pass_aside(&self, bytes: &[u8]) {
        let mut inner = lock(&self.0);
        inner.aside.extend_from_slice(bytes);
        inner.wake();
    }

    /// Hands back what was read behind the data of the COPY.
    pub(super) fn end(&self, input: Input) {
        let mut inner = lock(&self.0);
        inner.input = input;
        inner.mode = Mode::Passing;
        inner.wake();
    }

    /// The COPY is not read to its end: the connection cannot be used any more.
    pub(super) fn give_up(&self) {
        let mut inner = lock(&self.0);
        inner.mode = Mode::GivenUp;
        inner.wake();
    }
}
