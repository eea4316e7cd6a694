//! A connection that has shut down its sending side and goes on reading.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use super::{Closed, Conn, Connection, Flags, Phase, Protocol, SendError};

impl<P: Protocol> Conn<P> {
    /// Shuts down the sending side of the connection, as `gen_tcp:shutdown(Socket, write)` does. The connection still handles
    /// what the peer sends.
    ///
    /// What was queued before is sent first: replies, files, and the [outbox](Conn::outbox). Then the peer reads the end of the
    /// stream: a FIN, or with TLS a `close_notify`. From the call on, nothing more can be sent:
    ///
    /// | what | result |
    /// |---|---|
    /// | [`send`](Conn::send), [`send_file`](Conn::send_file) | [`SendError::ShutDown`] |
    /// | [`push`](Conn::push), [`Next::Send`](crate::Next::Send) and other values of `Next` that send or upgrade | the connection ends with [`Closed::Error`] |
    /// | [`Outbox::send`](crate::Outbox::send) | [`OutboxError::Closed`](crate::OutboxError::Closed) |
    /// | topics and names | The connection leaves them. Reports show it as [closing](crate::info::ConnectionPhase::Closing). |
    ///
    /// Packets of the peer are still delivered; a protocol that is no longer interested ignores them
    /// ([`is_write_shut_down`](Conn::is_write_shut_down)). With [`Active::Passive`](crate::Active::Passive) they are not read, and
    /// neither is the end of the stream: after a FIN of the peer, the connection then ends with the idle timeout.
    ///
    /// The connection then ends:
    ///
    /// | when | with |
    /// |---|---|
    /// | the peer shuts down its sending side, also with [`half_close`](crate::Builder::half_close); a wait in progress ends first | [`Closed::Peer`] |
    /// | the peer is silent for the idle timeout, and [`timeout`](Protocol::timeout) returns `Next::Stop`, as by default | [`Closed::Idle`] |
    /// | the peer does not read what was queued | [`Closed::SendTimeout`] |
    /// | a callback returns [`Next::Stop`](crate::Next::Stop), the pool shuts down, or anything else ends it | as without this call |
    ///
    /// Before the connection is [ready](Protocol::ack), the call takes effect when it becomes ready; `ack` cannot send then. If
    /// the connection is closing, or the method was called before, it has no effect.
    ///
    /// ```
    /// # use actix_acceptor::{AcceptorPool, Conn, Framing, Next, Protocol};
    /// # use bytes::Bytes;
    /// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
    /// # struct Upload { lines: u64, sender: tokio::sync::mpsc::UnboundedSender<u64> }
    /// # impl Protocol for Upload {
    /// #     type Codec = Framing; type Reply = Bytes; type User = ();
    /// fn packet(&mut self, line: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
    ///     if line == "upload" {
    ///         conn.push("go ahead");
    ///         conn.shutdown_write();
    ///     } else {
    ///         self.lines += 1;
    ///     }
    ///     Next::Continue
    /// }
    /// #     fn half_closed(&mut self, _: &mut Conn<Self>) -> Next<Self> {
    /// #         self.sender.send(self.lines).expect("the test waits");
    /// #         Next::Continue
    /// #     }
    /// # }
    /// # actix_rt::System::new().block_on(async {
    /// # let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
    /// # let pool = AcceptorPool::with_protocol(move |_| Upload { lines: 0, sender: sender.clone() });
    /// # let pool = pool.framing(Framing::lines()).bind("127.0.0.1:0").await?;
    /// # let mut peer = tokio::net::TcpStream::connect(pool.local_addr().expect("TCP")).await?;
    /// # peer.write_all(b"upload\n").await?;
    /// # let mut received = String::new();
    /// # peer.read_to_string(&mut received).await?;
    /// // The peer sends "upload", and receives, up to the end of the stream:
    /// assert_eq!(received, "go ahead\n");
    /// # peer.write_all(b"a\nb\nc\n").await?;
    /// # peer.shutdown().await?;
    /// # assert_eq!(lines.recv().await, Some(3));
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn shutdown_write(&mut self) {
        if !self.can_send() {
            return;
        }
        self.flags.insert(Flags::SHUTTING);
        if self.phase() == Phase::Ready {
            self.begin_receiving();
        }
    }

    /// Whether [`shutdown_write`](Conn::shutdown_write) was called and took effect: the peer has received the end of the stream, or
    /// will once everything that was queued before is sent. `false` if the connection was already closing at the call.
    pub fn is_write_shut_down(&self) -> bool {
        self.flags.intersects(Flags::SHUTTING | Flags::SHUT)
    }

    fn begin_receiving(&mut self) {
        self.enter(Phase::Receiving);
        let has_others = self.guard.state().outbox().is_some_and(|outbox| outbox.pending() > 0);
        self.flags.set(Flags::OUTBOX, has_others || self.flags.contains(Flags::OUTBOX));
    }

    /// Whether replies are accepted.
    #[inline]
    pub(super) fn can_send(&self) -> bool {
        self.phase() < Phase::Receiving
    }

    #[inline]
    pub(super) fn check_sending(&self) -> Result<(), SendError> {
        match self.phase() {
            phase if phase < Phase::Receiving => Ok(()),
            Phase::Receiving => Err(SendError::ShutDown),
            _ => Err(SendError::Closed),
        }
    }
}

impl<P: Protocol> Connection<P> {
    /// Begins a shutdown that was requested before the connection was ready.
    pub(super) fn begin_shutdown(&mut self) {
        if self.has(Flags::SHUTTING) {
            self.conn.begin_receiving();
        }
    }

    /// Handles a reply that cannot be sent. If the connection is closing, the reply is dropped.
    #[cold]
    pub(super) fn refuse_reply(&mut self) {
        if self.conn.phase() == Phase::Receiving {
            self.close(Closed::Error(SendError::ShutDown.into()));
        }
    }

    /// Writes what is queued and what is in the outbox, and shuts down the sending side if that was requested. Returns true if
    /// packets must wait for replies that are left in the outbox.
    #[cold]
    pub(super) fn write_unusual(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let replies_wait = if self.has(Flags::OUTBOX) {
            self.write_with_outbox(cx)?
        } else {
            self.write_queued(cx)?;
            false
        };
        if self.has(Flags::SHUTTING) {
            self.shut_down(cx)?;
        }
        Ok(replies_wait)
    }

    /// Shuts down the sending side once everything is sent.
    fn shut_down(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let is_sending = self.conn.unsent() > 0 || self.has(Flags::UNFLUSHED) || self.is_upgrading();
        if is_sending || self.conn.can_send() {
            return Ok(());
        }
        let shut = Pin::new(&mut self.conn.io).poll_shutdown(cx);
        let guard = &self.conn.guard;
        guard.deadlines.wrote(shut.is_ready(), shut.is_pending(), || guard.now());
        if let Poll::Ready(shut) = shut {
            self.conn.flags.remove(Flags::SHUTTING);
            self.conn.flags.insert(Flags::SHUT);
            shut?;
        }
        Ok(())
    }
}
