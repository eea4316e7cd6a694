//! [`SocketState`], shared by a [`Socket`](crate::Socket) and the task or actor that serves it: the connection's guard,
//! and the observed state of the peer. The connection ends when both are dropped.

use std::cell::{Cell, OnceCell};
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use bitflags::bitflags;

use super::wakers::SocketWakers;
use crate::error::with_sources;
use crate::handshake::{HandshakeEnd, HandshakeError};
use crate::registry::{
    ActivityGuard, CloseRequest, ConnectionGuard, ConnectionPhase, ConnectionState, Format, LastReply, Signals,
};
use crate::telemetry::CloseReason;
use crate::time::Outstanding;

bitflags! {
    /// The observed state of the peer.
    #[derive(Clone, Copy)]
    struct Observed: u8 {
        /// The peer has left.
        const LEFT = 1;
        /// The peer ended TLS without `close_notify`. Later errors are a consequence of that.
        const TRUNCATED = 1 << 1;
    }
}

pub(crate) struct SocketState {
    wakers: Arc<SocketWakers>,
    reading: Outstanding,
    writing: Outstanding,
    observed: Cell<Observed>,
    /// Set when the pool or a timeout has ended the connection. Reads and writes fail from then on.
    ended: Cell<Option<CloseReason>>,
    /// A handshake is in progress.
    in_handshake: Cell<bool>,
    /// When a requested close ends the connection, in milliseconds of the registry's clock.
    close_by: Cell<Option<u64>>,
    /// The close reason set by the code that owns the socket.
    reported: OnceCell<Box<(CloseReason, Option<String>)>>,
    guard: ConnectionGuard,
}

impl SocketState {
    pub(super) fn new(guard: ConnectionGuard) -> Self {
        let opened = guard.state().last_read();
        // The idle timeout runs only while the socket is being read.
        guard.deadlines.set_paused(true, opened, || opened);
        guard.arm_deadline();
        guard.state().set_format(Format::BYTES);
        let wakers = SocketWakers::register(guard.state());
        let (observed, ended) = (Cell::new(Observed::empty()), Cell::new(None));
        let (reading, writing) = (Outstanding::default(), Outstanding::default());
        SocketState {
            wakers,
            reading,
            writing,
            observed,
            ended,
            in_handshake: Cell::new(false),
            close_by: Cell::new(None),
            reported: OnceCell::new(),
            guard,
        }
    }

    /// Marks the connection as ready, before it is passed to the handler.
    pub(crate) fn set_ready(&self) {
        self.state().set_phase(ConnectionPhase::Open);
        self.guard.set_ready();
    }

    pub(crate) fn guard(&self) -> &ConnectionGuard {
        &self.guard
    }

    pub(super) fn wakers(&self) -> &Arc<SocketWakers> {
        &self.wakers
    }

    /// Records whether a handshake is in progress, during which nothing else may be sent.
    pub(super) fn set_in_handshake(&self, in_handshake: bool) {
        self.in_handshake.set(in_handshake);
    }

    pub(crate) fn state(&self) -> &Arc<ConnectionState> {
        self.guard.state()
    }

    /// Marks the connection as the one whose code runs, until the guard is dropped.
    pub(crate) fn begin_activity(&self) -> ActivityGuard<'_> {
        self.guard.begin_activity()
    }

    pub(super) fn draining(&self) -> impl Future<Output = ()> + use<> + 'static {
        self.wakers.wait_for(self.state().clone(), Signals::DRAIN | Signals::CLOSE)
    }

    pub(super) fn closing(&self) -> impl Future<Output = ()> + use<> + 'static {
        self.wakers.wait_for_end(self.state().clone())
    }

    /// Resolves when the pool ends the connection. Until then it handles requests to close it, since the owner of the socket
    /// may be busy with something else.
    pub(crate) async fn closed_by_pool(&self) {
        while !self.state().signals().intersects(Signals::CLOSE) {
            self.wakers.wait_for_close(self.state().clone()).await;
            // An error means that reads and writes fail. The owner may go on with something else.
            let _ = self.handle_signals();
        }
    }

    /// Resolves when the pool or the maximum age ends the connection.
    pub(super) async fn ended(&self) {
        let signals = Signals::CLOSE | Signals::CLOSE_REQUESTED | Signals::DEADLINE;
        loop {
            self.wakers.wait_for(self.state().clone(), signals).await;
            if self.handle_signals().is_err() {
                return;
            }
        }
    }

    /// Sets the close reason. The first call wins. If the pool ended the connection, its reason takes precedence.
    pub(crate) fn set_close_reason(&self, reason: CloseReason, detail: Option<String>) {
        let is_consequence =
            self.has_observed(Observed::TRUNCATED) && matches!(reason, CloseReason::Error | CloseReason::Peer);
        let reason = if is_consequence { CloseReason::Truncated } else { reason };
        let _ = self.reported.set(Box::new((reason, detail)));
    }

    /// Ends the connection for the pool. Its owner has taken the stream.
    pub(super) fn detach(&self) {
        self.begin_closing();
        let (reported, detail) = self.reported.get().map(|reported| (**reported).clone()).unzip();
        let reason = self.ended.get().or(reported).unwrap_or(CloseReason::Detached);
        self.guard.set_close_reason(reason, detail.flatten());
        self.guard.finish();
        // Resolves the futures that wait for the drain.
        self.state().signal(Signals::DRAIN);
    }

    pub(super) fn handshake_failed(&self, failure: &HandshakeEnd) {
        match failure {
            HandshakeEnd::Failed(error) => self.set_handshake_failure(error),
            HandshakeEnd::Refused(reason) => self.guard.refuse(*reason),
            HandshakeEnd::Panicked(text) => self.set_close_reason(CloseReason::Panic, Some(text.clone())),
        }
    }

    /// Sets the close reason for a handshake that failed. If the pool ended the connection, its reason takes precedence.
    pub(crate) fn set_handshake_failure(&self, error: &HandshakeError) {
        if self.ended.get().is_none() && self.reported.get().is_none() {
            self.guard.set_handshake_failure(error.kind(), with_sources(error));
        }
    }

    /// Handles signals and expired deadlines. The error is returned by the read or write in progress.
    pub(super) fn handle_signals(&self) -> io::Result<()> {
        let signals = self.state().signals();
        if signals.intersects(Signals::CLOSE | Signals::CLOSE_REQUESTED | Signals::DEADLINE) {
            self.handle_signals_slow(signals);
        }
        match self.ended.get() {
            Some(CloseReason::Killed | CloseReason::Local | CloseReason::SlowConsumer | CloseReason::Replaced) => {
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, "closed by the pool"))
            }
            Some(reason) => Err(io::Error::new(io::ErrorKind::TimedOut, reason.name())),
            None => Ok(()),
        }
    }

    #[cold]
    fn handle_signals_slow(&self, signals: Signals) {
        if signals.intersects(Signals::CLOSE) {
            return self.end(self.state().cause());
        }
        if signals.contains(Signals::CLOSE_REQUESTED) {
            self.wakers.set_close_requested();
            self.state().clear(Signals::CLOSE_REQUESTED);
            self.close_on_request();
        }
        if signals.contains(Signals::DEADLINE) {
            self.state().clear(Signals::DEADLINE);
            self.expire();
        }
    }

    /// Closes as requested by an operator: queues the last bytes after those that are queued. The owner has until the end of
    /// the grace period to send them.
    fn close_on_request(&self) {
        let Some(CloseRequest { last_reply, by }) = self.guard.take_close_request() else { return };
        if self.in_handshake.get() {
            return self.end_as_requested();
        }
        if let Some(LastReply::Encoded(bytes)) = last_reply {
            self.guard.send_last(&bytes);
        }
        self.begin_closing();
        self.close_by.set(self.close_by.get().into_iter().chain([by]).min());
        self.arm_deadline();
    }

    /// Ends the connection, also if its owner does not use the socket.
    fn end_as_requested(&self) {
        self.state().end(CloseReason::Local);
        self.end(self.state().cause());
    }

    /// Accepts no more pushes, and leaves topics and names.
    pub(super) fn begin_closing(&self) {
        self.guard.begin_closing();
        self.wakers.wake_for_pushes();
    }

    /// Handles a deadline that may have passed. The maximum age ends every operation; the timeouts of reads and writes end
    /// only those, when they are polled again.
    fn expire(&self) {
        let now = self.guard.now();
        if self.close_by.get().is_some_and(|by| by <= now) {
            self.end_as_requested();
        }
        if self.guard.deadlines.has_age_expired(now) {
            self.end(CloseReason::MaxAge);
        }
        self.retire_dropped_read(now);
        self.retire_dropped_write(now);
        self.arm_deadline();
        // Later polls change the time of the next check.
        self.guard.deadlines.mark_changed();
    }

    /// Makes the tick signal the next deadline, or the next check whether a read or write is still outstanding.
    fn arm_deadline(&self) {
        let deadlines = &self.guard.deadlines;
        let next = [
            deadlines.next(self.state().last_read()),
            self.reading.next_check(deadlines.idle_limit()),
            self.writing.next_check(deadlines.send_limit()),
            self.close_by.get(),
        ];
        self.guard.registry().set_deadline(self.state(), next.into_iter().flatten().min());
    }

    /// Stops the idle timeout if the read that it was running for was dropped.
    fn retire_dropped_read(&self, now: u64) {
        if let Some(last_poll) = self.reading.take_dropped(self.guard.deadlines.idle_limit(), now) {
            self.guard.deadlines.set_paused(true, self.state().last_read(), || last_poll);
        }
    }

    /// Stops the send timeout if the write that it was running for was dropped.
    fn retire_dropped_write(&self, now: u64) {
        if self.writing.take_dropped(self.guard.deadlines.send_limit(), now).is_some() {
            self.guard.deadlines.wrote(false, false, || now);
        }
    }

    fn end(&self, reason: CloseReason) {
        if self.ended.get().is_some() {
            return;
        }
        self.ended.set(Some(reason));
        self.begin_closing();
        // The other direction may be polled by another task.
        self.wakers.reader.wake();
        self.wakers.writer.wake();
    }

    pub(super) fn wait_to_read<T>(&self, cx: &Context<'_>) -> Poll<io::Result<T>> {
        self.wakers.reader.register(cx.waker());
        let now = self.guard.now();
        self.retire_dropped_read(now);
        self.reading.polled(now);
        self.set_reading(true);
        if self.guard.deadlines.has_idle_expired(self.state().last_read(), now) {
            self.end(CloseReason::Idle);
        }
        self.pending()
    }

    pub(super) fn wait_to_write<T>(&self, cx: &Context<'_>) -> Poll<io::Result<T>> {
        self.wakers.writer.register(cx.waker());
        let now = self.guard.now();
        self.retire_dropped_write(now);
        self.writing.polled(now);
        self.guard.deadlines.wrote(false, true, || now);
        if self.guard.deadlines.has_send_expired(now) {
            self.end(CloseReason::SendTimeout);
        }
        self.pending()
    }

    /// Returns `Pending`, unless a signal arrived before the waker was registered.
    fn pending<T>(&self) -> Poll<io::Result<T>> {
        if self.guard.deadlines.take_changed() {
            self.arm_deadline();
        }
        match self.handle_signals() {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Counts a read of `bytes` after which `remaining` bytes of the buffer were free.
    pub(super) fn count_read(&self, bytes: usize, remaining: usize) {
        if bytes > 0 {
            self.state().count_read(bytes, self.guard.now());
        } else if remaining > 0 {
            self.record(Observed::LEFT);
        }
        self.reading.done();
        self.set_reading(false);
    }

    /// Pauses or resumes the idle timeout, which runs only while the socket is being read. A pause starts at the last
    /// read, so the clock of the tick suffices.
    fn set_reading(&self, reading: bool) {
        self.guard.deadlines.set_paused(!reading, self.state().last_read(), || self.guard.now());
    }

    /// Restarts the send timeout, after bytes were written or everything was flushed.
    pub(super) fn count_progress(&self) {
        self.writing.done();
        self.guard.deadlines.wrote(true, false, || self.guard.now());
    }

    pub(super) fn record_truncation(&self) {
        self.record(Observed::TRUNCATED);
    }

    /// Records whether an error of a read or write means that the peer has left.
    pub(super) fn record_error(&self, error: io::Error) -> io::Error {
        use io::ErrorKind::*;
        if matches!(error.kind(), ConnectionReset | BrokenPipe | ConnectionAborted | NotConnected) {
            self.record(Observed::LEFT);
        }
        error
    }

    fn record(&self, what: Observed) {
        self.observed.set(self.observed.get() | what);
    }

    /// Whether a read or write has shown that the peer has left.
    pub(crate) fn has_peer_left(&self) -> bool {
        self.has_observed(Observed::LEFT)
    }

    fn has_observed(&self, what: Observed) -> bool {
        self.observed.get().contains(what)
    }

    /// The close reason that follows from the observed state.
    fn observed_close_reason(&self) -> CloseReason {
        let signals = self.state().signals();
        if std::thread::panicking() {
            CloseReason::Panic
        } else if signals.intersects(Signals::CLOSE) {
            self.state().cause()
        } else if signals.contains(Signals::DRAIN) {
            CloseReason::Shutdown
        } else if self.close_by.get().is_some() {
            CloseReason::Local
        } else if self.has_observed(Observed::TRUNCATED) {
            CloseReason::Truncated
        } else if self.has_observed(Observed::LEFT) {
            CloseReason::Peer
        } else {
            CloseReason::Local
        }
    }
}

impl Drop for SocketState {
    fn drop(&mut self) {
        let (reported, detail) = self.reported.take().map_or((None, None), |reported| (Some(reported.0), reported.1));
        let reason = self.ended.get().or(reported).unwrap_or_else(|| self.observed_close_reason());
        self.guard.set_close_reason(reason, detail);
        // Resolves the futures that wait for the drain.
        self.state().signal(Signals::KILL);
    }
}
