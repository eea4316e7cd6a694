//! The `tracing` span of a [`Socket`].

use std::future::{poll_fn, Future};
use std::pin::pin;
use std::rc::Rc;

use tracing::Span;

use super::{Socket, SocketState};

impl Socket {
    /// The `tracing` span of this connection, supplied by an observer such as [`Spans`](crate::telemetry::Spans). Disabled if no
    /// observer supplies one.
    ///
    /// The async fn of [`with_fn`](crate::AcceptorPool::with_fn), and the function that starts an actor, run in it. Use it with
    /// [`Instrument`](tracing::Instrument) or [`Span::enter`] for tasks that the fn spawns, and in the methods of an actor. The
    /// span stays open while a returned handle exists.
    ///
    /// ```
    /// use actix_acceptor::{AcceptorPool, Socket};
    /// use tracing::{info, Instrument};
    ///
    /// let builder = AcceptorPool::with_fn(|socket: Socket| async move {
    ///     let audit = async { info!("connected") };
    ///     actix_rt::spawn(audit.instrument(socket.span()));
    /// });
    /// ```
    pub fn span(&self) -> Span {
        self.guard().span().map_or_else(Span::none, |span| span.handle())
    }
}

/// Runs a future in the span of the connection, if it has one.
pub(super) async fn in_span<T>(shared: Rc<SocketState>, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let _entered = shared.guard().enter_span();
        future.as_mut().poll(cx)
    })
    .await
}
