//! The `tracing` span of a connection, entered during its turns.

use std::task::{Context, Poll};

use tracing::Span;

use super::{Conn, ConnectionTask, Protocol, Turn};

impl<P: Protocol> Conn<P> {
    /// The `tracing` span of this connection, supplied by an observer such as [`Spans`](crate::telemetry::Spans). Disabled if no
    /// observer supplies one.
    ///
    /// Callbacks, and the futures and streams of the connection, run in it. Use it with [`Instrument`](tracing::Instrument) or
    /// [`Span::enter`] for tasks and actors that work for the connection. The span stays open while a returned handle exists.
    ///
    /// ```
    /// # use actix_acceptor::{Conn, Framing, Next, Protocol};
    /// # use bytes::Bytes;
    /// use tracing::{info, Instrument};
    ///
    /// # struct Game;
    /// # impl Protocol for Game {
    /// #     type Codec = Framing; type Reply = Bytes; type User = ();
    /// fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
    ///     let saved = async { info!("saved") };
    ///     actix_rt::spawn(saved.instrument(conn.span()));
    ///     Next::Continue
    /// }
    /// # }
    /// ```
    pub fn span(&self) -> Span {
        self.guard.span().map_or_else(Span::none, |span| span.handle())
    }
}

impl<P: Protocol> ConnectionTask<P> {
    /// Runs a turn in the span of the connection, if it has one.
    #[cold]
    #[inline(never)]
    pub(super) fn turn_in_span(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let ConnectionTask { connection, context } = self;
        let span = connection.conn.guard.span().cloned();
        let _entered = span.as_ref().map(|span| span.enter());
        Turn::begin(connection).0.turn(context, cx)
    }
}
