//! The stream between the system's TLS library and the socket.
//!
//! It compensates for two properties of the library:
//!
//! - The library does not distinguish an end with `close_notify` from one without. With it, TLS ends before the end of the
//!   underlying stream has been read; without it, afterwards.
//! - The library reads five bytes, then the record that they announce. Here both are read at once.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::hello_capture::HelloCapture;
use crate::net::Stream;

/// How many bytes are read ahead. A read with a larger buffer goes to the stream directly.
const AHEAD: usize = 4 * 1024;

thread_local! {
    /// The spare buffer of the arbiter. A connection owns a buffer only while it holds bytes.
    static SPARE: Cell<BytesMut> = Cell::default();
}

/// What was seen of a failed handshake: the kind of its failure is derived from it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// The first byte that was received.
    pub(super) first: Option<u8>,
    /// Whether the end of the stream was read.
    pub(super) ended: bool,
}

#[derive(Debug)]
pub(super) struct NativeIo {
    pub(super) stream: Stream,
    /// Whether the end of the stream has been read.
    pub(super) ended: bool,
    ahead: BytesMut,
    /// `Some` during the handshake. Set when this is dropped, which the library does if the handshake fails.
    seen: Option<Arc<Mutex<Seen>>>,
    /// `Some` during the handshake.
    capture: Option<Box<HelloCapture>>,
}

impl NativeIo {
    pub(super) fn new(stream: Stream, seen: Arc<Mutex<Seen>>) -> Self {
        NativeIo { stream, ended: false, ahead: BytesMut::new(), seen: Some(seen), capture: Some(Box::default()) }
    }

    /// Ends the capture and returns it.
    pub(super) fn take_capture(&mut self) -> Box<HelloCapture> {
        self.seen = None;
        self.capture.take().unwrap_or_default()
    }

    /// See [`Io::poll_read_ready`](crate::net::Io::poll_read_ready).
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ahead.is_empty() {
            self.stream.poll_read_ready(cx)
        } else {
            Poll::Ready(())
        }
    }
}

impl Drop for NativeIo {
    fn drop(&mut self) {
        if let Some(seen) = self.seen.take() {
            let first = self.capture.as_ref().and_then(|capture| capture.received.first().copied());
            *seen.lock() = Seen { first, ended: self.ended };
        }
    }
}

impl AsyncRead for NativeIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut outcome = Poll::Ready(Ok(()));
        if this.ahead.is_empty() {
            if buf.remaining() >= AHEAD {
                let before = buf.filled().len();
                ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
                this.ended |= buf.filled().len() == before;
                if let Some(capture) = &mut this.capture {
                    HelloCapture::record(&mut capture.received, &buf.filled()[before..]);
                }
                return outcome;
            }
            this.ahead = SPARE.take();
            this.ahead.reserve(AHEAD);
            let read = poll_read_buf(Pin::new(&mut this.stream), cx, &mut this.ahead);
            this.ended |= matches!(read, Poll::Ready(Ok(0)));
            outcome = read.map_ok(|_| ());
        }
        let bytes = this.ahead.len().min(buf.remaining());
        if let Some(capture) = &mut this.capture {
            HelloCapture::record(&mut capture.received, &this.ahead[..bytes]);
        }
        buf.put_slice(&this.ahead[..bytes]);
        this.ahead.advance(bytes);
        if this.ahead.is_empty() {
            SPARE.set(std::mem::take(&mut this.ahead));
        }
        outcome
    }
}

impl AsyncWrite for NativeIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, buf))?;
        if let Some(capture) = &mut this.capture {
            HelloCapture::record(&mut capture.sent, &buf[..written]);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
