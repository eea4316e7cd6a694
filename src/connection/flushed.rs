//! [`Flushed`], a future that resolves when queued bytes have been handed to the kernel.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::phase::Flags;
use super::{own, Conn, Outbox, OutboxError, Protocol};
use crate::registry::Ack;

/// A future that resolves when bytes that were queued for a connection have been handed to the kernel. Returned by
/// [`Conn::flushed`] and [`Outbox::send_acknowledged`].
///
/// The output is `Ok` when the kernel (or, for a stream in memory, its other end) has accepted the bytes, with TLS in encrypted
/// form. This does not mean that the peer has received or read them: only an answer of the peer shows that. The output is
/// [`FlushError`] if the connection ended first.
///
/// The future borrows nothing and can be awaited on any thread. Dropping it has no effect on what it waits for.
#[must_use = "futures do nothing unless they are polled"]
pub struct Flushed(State);

enum State {
    Waiting(oneshot::Receiver<()>),
    Done(Result<(), FlushError>),
}

/// The connection ended before all bytes were handed to the kernel. Some of them may have been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection ended before everything was sent")]
pub struct FlushError;

impl Flushed {
    fn pending() -> (Ack, Flushed) {
        let (ack, acknowledged) = oneshot::channel();
        (ack, Flushed(State::Waiting(acknowledged)))
    }
}

impl Future for Flushed {
    type Output = Result<(), FlushError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = match &mut self.0 {
            State::Done(outcome) => return Poll::Ready(*outcome),
            State::Waiting(acknowledged) => std::task::ready!(Pin::new(acknowledged).poll(cx)),
        };
        let outcome = outcome.map_err(|_| FlushError);
        self.0 = State::Done(outcome);
        Poll::Ready(outcome)
    }
}

impl fmt::Debug for Flushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flushed").finish_non_exhaustive()
    }
}

impl<P: Protocol> Conn<P> {
    /// Returns a future that resolves when everything that is queued now has been handed to the kernel: replies, files, and
    /// what others have sent to the [outbox](Conn::outbox). It resolves at once if nothing is queued.
    ///
    /// Pass the future to [`wait`](Conn::wait), which holds packets back until the bytes are sent, to [`spawn`](Conn::spawn), or
    /// to another task. Do not wait for it in [`init`](Protocol::init): its replies are sent after the handshake, so the wait
    /// would last until the handshake timeout. If the peer does not read, the send timeout ends the connection.
    ///
    /// If the connection ends first, another task gets [`FlushError`]. The continuation of `wait` or `spawn` is not called, since
    /// it belongs to the connection: account for the end in [`closed`](Protocol::closed), where [`ConnectionInfo::unsent`] is the
    /// number of lost bytes.
    ///
    /// [`ConnectionInfo::unsent`]: crate::info::ConnectionInfo::unsent
    ///
    /// ```
    /// # use actix_acceptor::{AcceptorPool, Conn, Framing, Next, Protocol};
    /// # use bytes::Bytes;
    /// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
    /// # struct Log { written: u64 }
    /// # impl Protocol for Log {
    /// #     type Codec = Framing; type Reply = Bytes; type User = ();
    /// fn packet(&mut self, request: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
    ///     conn.push(request);
    ///     conn.wait(conn.flushed(), |_, me, _conn| {
    ///         me.written += 1;
    ///         Next::send(format!("{} sent", me.written))
    ///     })
    /// }
    /// # }
    /// # actix_rt::System::new().block_on(async {
    /// # let pool = AcceptorPool::with_protocol(|_| Log { written: 0 }).framing(Framing::lines());
    /// # let pool = pool.bind("127.0.0.1:0").await?;
    /// # let mut peer = tokio::net::TcpStream::connect(pool.local_addr().expect("TCP")).await?;
    /// # peer.write_all(b"a\nb\n").await?;
    /// # let mut received = [0; 18];
    /// # peer.read_exact(&mut received).await?;
    /// // The peer sends two lines, and receives:
    /// assert_eq!(&received, b"a\n1 sent\nb\n2 sent\n");
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn flushed(&self) -> Flushed {
        self.guard.registry().flush_deferred();
        if self.is_closing() && self.handshake.is_some() {
            // What was queued is never sent.
            return Flushed(State::Done(Err(FlushError)));
        }
        let state = self.guard.state();
        let is_unsent = self.queued() > 0
            || self.before_write() > 0
            || self.flags.contains(Flags::UNFLUSHED)
            || state.outbox().is_some_and(|outbox| outbox.pending() > 0);
        if !is_unsent {
            return Flushed(State::Done(Ok(())));
        }
        let (ack, flushed) = Flushed::pending();
        state.acknowledge(self.position(), ack);
        flushed
    }

    /// The position of the end of the write buffer among all bytes that the connection sends.
    pub(super) fn position(&self) -> u64 {
        self.guard.state().bytes_out() + (self.queued() + self.before_write()) as u64
    }
}

impl<P: Protocol> Outbox<P> {
    /// Queues a reply as [`send`](Outbox::send) does. The returned future resolves when the reply, and everything before it, has
    /// been handed to the kernel. For a [`Socket`](crate::Socket), it resolves when the owner takes the reply from
    /// [`Pushes`](crate::Pushes).
    ///
    /// An acknowledged reply counts as at least 64 bytes of the limit [`Builder::outbox`](crate::Builder::outbox).
    ///
    /// # Errors
    /// Those of [`send`](Outbox::send). The future fails with [`FlushError`] if the connection ends first.
    ///
    /// ```
    /// # use actix_acceptor::{AcceptorPool, Conn, Framing, Next, Protocol};
    /// # use bytes::Bytes;
    /// # use tokio::io::AsyncReadExt;
    /// # struct Quiet;
    /// # impl Protocol for Quiet {
    /// #     type Codec = Framing; type Reply = Bytes; type User = ();
    /// #     fn packet(&mut self, _: Bytes, _: &mut Conn<Self>) -> Next<Self> { Next::Continue }
    /// # }
    /// # actix_rt::System::new().block_on(async {
    /// let pool = AcceptorPool::with_protocol(|_| Quiet).framing(Framing::lines()).bind("127.0.0.1:0").await?;
    /// # let mut peer = tokio::net::TcpStream::connect(pool.local_addr().expect("TCP")).await?;
    /// # pool.wait_for(|connections| connections == 1, std::time::Duration::from_secs(10)).await?;
    /// // A peer has connected.
    /// let outbox = pool.connection(pool.list()[0].id).expect("a live connection").outbox();
    /// let flushed = outbox.send_acknowledged("job 7")?;
    /// flushed.await?;
    /// assert_eq!(outbox.pending(), 0);
    /// # let mut received = [0; 6];
    /// # peer.read_exact(&mut received).await?;
    /// # assert_eq!(&received, b"job 7\n");
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn send_acknowledged(&self, reply: impl Into<P::Reply>) -> Result<Flushed, OutboxError<P::Reply>> {
        let (ack, flushed) = Flushed::pending();
        let mut ack = Some(ack);
        self.push_reply(reply.into(), |registry, state, payload| registry.send_acknowledged(state, payload, &mut ack))?;
        Ok(flushed)
    }
}

impl Outbox<Bytes> {
    /// Queues bytes as [`send`](Outbox::send) does. The future is that of [`send_acknowledged`](Outbox::send_acknowledged) for a
    /// protocol.
    ///
    /// # Errors
    /// Those of [`send`](Outbox::send).
    pub fn send_acknowledged(&self, bytes: impl Into<Bytes>) -> Result<Flushed, OutboxError<Bytes>> {
        let (ack, flushed) = Flushed::pending();
        let (bytes, mut ack) = (own(bytes.into()), Some(ack));
        self.push_encoded(&bytes, bytes.clone(), |registry, state, payload| {
            registry.send_acknowledged(state, payload, &mut ack)
        })?;
        Ok(flushed)
    }
}
