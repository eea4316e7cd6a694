//! A connection that leaves its pool as a plain stream.

use std::task::Poll;

use super::background::drop_each;
use super::{Closed, Connection, Flags, Next, Phase, Protocol};
use crate::detached::Detached;

/// The closure that receives the stream of a detached connection.
pub(super) type Then = Box<dyn FnOnce(Detached)>;

impl<P: Protocol> Next<P> {
    /// Takes the connection out of the pool and passes its byte stream to `then`, for example to switch to another protocol.
    ///
    /// What is queued is sent first, within the send timeout; meanwhile the connection is closing and does not read. Then it
    /// ends: [`closed`](Protocol::closed) is called with [`Closed::Detached`], the protocol is dropped, and the permit and counts
    /// are given back. After that, `then` is called on the thread of the connection. A panic in it is logged. If something else
    /// ends the connection first, `then` is dropped. See [`Detached`] for what applies to the stream.
    ///
    /// A task that `then` spawns runs on the arbiter of the connection: when the pool stops, the task is dropped without notice and
    /// without a grace period. To outlive the pool, send the `Detached` to another arbiter, and let another pool
    /// [adopt](crate::Pool::adopt) it or move it with [`Detached::into_tcp`].
    ///
    /// The stream first yields what was read and not delivered, in order: packets after the one whose callback returned this,
    /// and an incomplete packet. Bytes that a user-defined codec has taken from the buffer and keeps are lost. A wait in progress,
    /// futures, streams and timers are dropped, and messages in the mailbox are rejected.
    ///
    /// If [`init`](Protocol::init) returns it, the handshake of the listener runs first, and [`ack`](Protocol::ack) is not
    /// called. During an upgrade to TLS, it takes effect after the upgrade.
    ///
    /// ```
    /// use actix_acceptor::{AcceptorPool, Conn, Framing, Next, Protocol};
    /// use bytes::Bytes;
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// struct Commands;
    ///
    /// impl Protocol for Commands {
    ///     type Codec = Framing;
    ///     type Reply = Bytes;
    ///     type User = ();
    ///
    ///     fn packet(&mut self, line: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
    ///         if line != "upgrade" {
    ///             return Next::send("unknown command");
    ///         }
    ///         conn.push("upgraded");
    ///         Next::detach(|mut stream| {
    ///             actix::spawn(async move {
    ///                 let mut magic = [0; 5];
    ///                 stream.read_exact(&mut magic).await?;
    ///                 stream.write_all(&magic).await
    ///             });
    ///         })
    ///     }
    /// }
    ///
    /// # actix_rt::System::new().block_on(async {
    /// let pool = AcceptorPool::with_protocol(|_| Commands).framing(Framing::lines()).bind("127.0.0.1:0").await?;
    /// let mut peer = tokio::net::TcpStream::connect(pool.local_addr().expect("TCP")).await?;
    /// // The bytes after the line belong to the stream.
    /// peer.write_all(b"upgrade\n\n\n\0\n\0").await?;
    /// let mut received = [0; 14];
    /// peer.read_exact(&mut received).await?;
    /// assert_eq!(&received, b"upgraded\n\n\n\0\n\0");
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn detach(then: impl FnOnce(Detached) + 'static) -> Self {
        Next::Detach(Box::new(then))
    }
}

impl<P: Protocol> Connection<P> {
    /// Begins to detach, after the handshake if one is in progress.
    #[cold]
    pub(super) fn detach(&mut self, then: Then) {
        if self.conn.is_closing() || self.has_detach() {
            return drop(then);
        }
        self.cold().detach = Some(then);
        if self.conn.phase() >= Phase::Ready && !self.is_upgrading() {
            self.close(Closed::Detached);
        }
    }

    fn has_detach(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.detach.is_some())
    }

    /// Begins to detach if that was requested during the handshake that is done now.
    pub(super) fn begin_detach(&mut self) -> bool {
        let begins = self.has_detach();
        if begins {
            self.close(Closed::Detached);
        }
        begins
    }

    /// Whether the connection is closing in order to be detached.
    pub(super) fn is_detaching(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.detach.is_some() && matches!(cold.why, Some(Closed::Detached)))
    }

    /// Hands over the stream once everything is sent.
    #[cold]
    pub(super) fn poll_detached(&mut self) -> Poll<()> {
        if self.conn.unsent() > 0 || self.conn.flags.intersects(Flags::UNFLUSHED | Flags::SHUTTING) {
            return Poll::Pending;
        }
        let Some(then) = self.cold().detach.take() else { return Poll::Pending };
        let (stream, negotiated) = (self.conn.io.take(), self.conn.negotiated.take());
        let unread = self.conn.unread().map(|read| read.split()).unwrap_or_default();
        let negotiated = negotiated.map(|negotiated| *negotiated).unwrap_or_default();
        let detached = Detached::new(stream, &unread, self.conn.guard.state(), negotiated);
        self.conn.guard.set_after_end(Box::new(move || then(detached)));
        self.end(Closed::Detached);
        Poll::Ready(())
    }

    /// Drops the closure of a connection that ended before it was detached, under the panic guard.
    pub(super) fn drop_detach(&mut self) -> Result<(), String> {
        drop_each(self.cold.as_mut().and_then(|cold| cold.detach.take()))
    }

    /// The reason for the end of a closing connection that something else has ended.
    pub(super) fn unfinished(why: Option<Closed>) -> Option<Closed> {
        why.filter(|why| !matches!(why, Closed::Detached))
    }
}
