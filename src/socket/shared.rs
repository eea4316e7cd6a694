//! What a [`Socket`](crate::Socket) and the task or actor that serves it share: the connection's guard, and what was seen
//! of the peer. The connection ends when both are gone.

use std::cell::{Cell, OnceCell};
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use bitflags::bitflags;

use super::wakers::SocketWakers;
use crate::error::with_sources;
use crate::handshake::HandshakeFailure;
use crate::registry::{ActivityGuard, ConnectionGuard, ConnectionState, Signals};
use crate::telemetry::CloseReason;
use crate::time::Expired;

bitflags! {
    /// What was seen of the peer.
    #[derive(Clone, Copy)]
    struct Seen: u8 {
        /// It has left.
        const LEFT = 1;
        /// It ended TLS without `close_notify`; errors that follow are a consequence of that.
        const TRUNCATED = 1 << 1;
    }
}

pub(crate) struct SocketState {
    wakers: Arc<SocketWakers>,
    seen: Cell<Seen>,
    /// Set when the pool or a timeout ended the connection: reads and writes fail from then on.
    ended: Cell<Option<CloseReason>>,
    /// What the code that owns the socket said about its end.
    reported: OnceCell<Box<(CloseReason, Option<String>)>>,
    guard: ConnectionGuard,
}

impl SocketState {
    pub(super) fn new(guard: ConnectionGuard) -> Self {
        let opened = guard.state().opened();
        // The idle timeout runs only while the socket is being read.
        guard.deadlines.set_paused(true, opened, || opened);
        guard.arm_deadline();
        let wakers = SocketWakers::register(guard.state());
        let (seen, ended) = (Cell::new(Seen::empty()), Cell::new(None));
        SocketState { wakers, seen, ended, reported: OnceCell::new(), guard }
    }

    /// The connection is handed over to what serves it.
    pub(crate) fn set_ready(&self) {
        self.guard.set_ready();
    }

    pub(crate) fn state(&self) -> &Arc<ConnectionState> {
        self.guard.state()
    }

    /// Marks the connection as the one whose code runs, until the mark is dropped.
    pub(crate) fn begin_activity(&self) -> ActivityGuard<'_> {
        self.guard.begin_activity()
    }

    pub(super) fn draining(&self) -> impl Future<Output = ()> + use<> + 'static {
        self.wakers.wait_for(self.state().clone(), Signals::DRAIN | Signals::CLOSE)
    }

    /// Resolves when the pool ends the connection.
    pub(crate) fn closed_by_pool(&self) -> impl Future<Output = ()> + use<> + 'static {
        self.wakers.wait_for(self.state().clone(), Signals::CLOSE)
    }

    /// Sets how the connection ends. The first call wins; what the pool itself did to the connection takes precedence.
    pub(crate) fn set_close_reason(&self, reason: CloseReason, detail: Option<String>) {
        let is_consequence = self.has_seen(Seen::TRUNCATED) && matches!(reason, CloseReason::Error | CloseReason::Peer);
        let reason = if is_consequence { CloseReason::Truncated } else { reason };
        let _ = self.reported.set(Box::new((reason, detail)));
    }

    pub(super) fn handshake_failed(&self, failure: &HandshakeFailure) {
        match failure {
            HandshakeFailure::Failed(error) => {
                self.set_close_reason(CloseReason::Handshake, Some(with_sources(error)));
            }
            HandshakeFailure::Refused(reason) => self.guard.refuse(*reason),
            HandshakeFailure::Panicked(text) => self.set_close_reason(CloseReason::Panic, Some(text.clone())),
        }
    }

    /// Handles signals and expired deadlines: as the error of the read or write that meets them.
    pub(super) fn handle_signals(&self) -> io::Result<()> {
        let signals = self.state().signals();
        if signals.intersects(Signals::CLOSE) {
            self.end(CloseReason::Killed);
        } else if signals.contains(Signals::DEADLINE) {
            self.state().clear(Signals::DEADLINE);
            self.expire();
        }
        match self.ended.get() {
            Some(CloseReason::Killed) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "closed by the pool")),
            Some(reason) => Err(io::Error::new(io::ErrorKind::TimedOut, reason.name())),
            None => Ok(()),
        }
    }

    fn expire(&self) {
        match self.guard.deadlines.expired(self.state().last_read(), self.guard.now()) {
            Some(Expired::Age) => self.end(CloseReason::MaxAge),
            Some(Expired::Send) => self.end(CloseReason::SendTimeout),
            Some(Expired::Idle) => self.end(CloseReason::Idle),
            Some(Expired::Packet) | None => self.guard.arm_deadline(),
        }
    }

    fn end(&self, reason: CloseReason) {
        self.ended.set(self.ended.get().or(Some(reason)));
    }

    pub(super) fn wait_to_read<T>(&self, cx: &Context<'_>) -> Poll<io::Result<T>> {
        self.wakers.reader.register(cx.waker());
        self.set_reading(true);
        self.pending()
    }

    pub(super) fn wait_to_write<T>(&self, cx: &Context<'_>) -> Poll<io::Result<T>> {
        self.wakers.writer.register(cx.waker());
        self.guard.deadlines.wrote(false, true, self.guard.now());
        self.pending()
    }

    /// Pending, unless a signal came before the waker was registered.
    fn pending<T>(&self) -> Poll<io::Result<T>> {
        if self.guard.deadlines.take_changed() {
            self.guard.arm_deadline();
        }
        match self.handle_signals() {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Counts a read of `bytes` into a buffer that had `room` left after it.
    pub(super) fn count_read(&self, bytes: usize, room: usize) {
        if bytes > 0 {
            self.state().count_read(bytes, self.guard.now());
        } else if room > 0 {
            self.see(Seen::LEFT);
        }
        self.set_reading(false);
    }

    /// The idle timeout runs while the socket is being read. A pause begins where the peer was last heard, so stamps suffice.
    fn set_reading(&self, reading: bool) {
        self.guard.deadlines.set_paused(!reading, self.state().last_read(), || self.guard.now());
    }

    /// Bytes were written, or everything was flushed: the send timeout starts anew.
    pub(super) fn count_progress(&self) {
        self.guard.deadlines.wrote(true, false, self.guard.now());
    }

    pub(super) fn see_truncation(&self) {
        self.see(Seen::TRUNCATED);
    }

    /// Looks at an error of a read or write: some mean that the peer has left.
    pub(super) fn see_error(&self, error: io::Error) -> io::Error {
        use io::ErrorKind::*;
        if matches!(error.kind(), ConnectionReset | BrokenPipe | ConnectionAborted | NotConnected) {
            self.see(Seen::LEFT);
        }
        error
    }

    fn see(&self, what: Seen) {
        self.seen.set(self.seen.get() | what);
    }

    fn has_seen(&self, what: Seen) -> bool {
        self.seen.get().contains(what)
    }

    /// How the connection ended, judged from what was seen.
    fn observed_close_reason(&self) -> CloseReason {
        let signals = self.state().signals();
        if std::thread::panicking() {
            CloseReason::Panic
        } else if signals.intersects(Signals::CLOSE) {
            CloseReason::Killed
        } else if signals.contains(Signals::DRAIN) {
            CloseReason::Shutdown
        } else if self.has_seen(Seen::TRUNCATED) {
            CloseReason::Truncated
        } else if self.has_seen(Seen::LEFT) {
            CloseReason::Peer
        } else {
            CloseReason::Local
        }
    }
}

impl Drop for SocketState {
    fn drop(&mut self) {
        let (reported, detail) = self.reported.take().map_or((None, None), |said| (Some(said.0), said.1));
        let reason = self.ended.get().or(reported).unwrap_or_else(|| self.observed_close_reason());
        self.guard.set_close_reason(reason, detail);
        // Futures that wait for the drain resolve.
        self.state().signal(Signals::KILL);
    }
}
