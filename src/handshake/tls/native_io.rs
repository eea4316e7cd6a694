//! The stream below the system's TLS, which does not tell an end with `close_notify` from one without, and asks for five
//! bytes, then for the record they announce.
//!
//! With `close_notify`, TLS is at its end before the stream below was seen to be; without it, after. What is asked for a
//! little at a time is read at once.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{ready, Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::hello_capture::HelloCapture;
use crate::net::Stream;

/// How much is read ahead. Who asks for more is given the stream itself.
const AHEAD: usize = 4 * 1024;

thread_local! {
    /// The arbiter's buffer: a connection has one of its own only while there is something in it.
    static SPARE: Cell<BytesMut> = Cell::default();
}

#[derive(Debug)]
pub(super) struct NativeIo {
    pub(super) stream: Stream,
    /// Its end was seen.
    pub(super) ended: bool,
    ahead: BytesMut,
    /// During the handshake.
    capture: Option<Box<HelloCapture>>,
}

impl NativeIo {
    pub(super) fn new(stream: Stream) -> Self {
        NativeIo { stream, ended: false, ahead: BytesMut::new(), capture: Some(Box::default()) }
    }

    /// What was said in clear so far; from now on nobody listens.
    pub(super) fn capture(&mut self) -> Box<HelloCapture> {
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
