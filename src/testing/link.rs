//! The pool's end of a client's stream, and what the two ends know of each other besides bytes.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use crate::net::{Address, Io};

/// What a stream in memory cannot express: resets, and a FIN behind unread bytes.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// The client has ended its sending side.
    pub(super) client_finished: AtomicBool,
    pub(super) reset_by_client: AtomicBool,
    pub(super) reset_by_pool: AtomicBool,
}

/// The stream that the pool accepts.
pub(super) struct PoolEnd {
    stream: DuplexStream,
    link: Arc<Link>,
    listener: Address,
}

impl PoolEnd {
    pub(super) fn new(stream: DuplexStream, link: Arc<Link>, listener: Address) -> Self {
        PoolEnd { stream, link, listener }
    }

    fn is_reset(&self) -> bool {
        self.link.reset_by_client.load(Relaxed)
    }

    fn check_reset(&self, error: io::Error) -> io::Error {
        if self.is_reset() {
            reset()
        } else {
            error
        }
    }
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl Io for PoolEnd {
    fn local_addr(&self) -> io::Result<Address> {
        Ok(self.listener.clone())
    }

    fn take_error(&self) -> Option<io::Error> {
        self.is_reset().then(reset)
    }

    fn is_read_closed(&self) -> Option<bool> {
        Some(self.link.client_finished.load(Relaxed))
    }

    fn reset_on_drop(&self) {
        self.link.reset_by_pool.store(true, Relaxed);
    }
}

impl AsyncRead for PoolEnd {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        // What was sent before the reset is read first, as with a socket.
        let at_end = matches!(read, Poll::Ready(Ok(()))) && buf.filled().len() == before && buf.remaining() > 0;
        if at_end && self.is_reset() {
            return Poll::Ready(Err(reset()));
        }
        read
    }
}

impl AsyncWrite for PoolEnd {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        written.map_err(|error| self.check_reset(error))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
