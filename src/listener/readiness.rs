//! Readiness and accept as separate steps, without extra system calls.

use std::io;
use std::os::fd::AsRawFd;
use std::task::{ready, Context, Poll};

use tokio::io::{unix::AsyncFd, Interest};

/// A listening socket, registered with the runtime of the current arbiter.
pub(super) struct Readiness<L: AsRawFd>(AsyncFd<L>);

impl<L: AsRawFd> Readiness<L> {
    pub(super) fn of(socket: L) -> io::Result<Self> {
        // Deprecated in favour of an unsafe function. Its condition is met: the socket owns its descriptor, which does not
        // change.
        #[allow(deprecated)]
        Ok(Readiness(AsyncFd::with_interest(socket, Interest::READABLE)?))
    }

    #[inline]
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.0.poll_read_ready(cx))?.retain_ready();
        Poll::Ready(Ok(()))
    }

    #[inline]
    pub(super) fn accept<A>(&self, accept: impl FnMut(&L) -> io::Result<A>) -> io::Result<A> {
        self.0.try_io(Interest::READABLE, accept)
    }
}
