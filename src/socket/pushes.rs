//! [`Pushes`], from which the owner of a socket takes what others send to it.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::task::AtomicWaker;
use futures::Stream;

use super::wakers::SocketWakers;
use super::SocketState;
use crate::registry::Signals;

/// The bytes that other parts of the program send to a [`Socket`](crate::Socket): through its outbox, to a topic, or to all
/// connections. Returned by [`Socket::pushes`](crate::Socket::pushes); does not borrow the socket.
///
/// The owner must write them to the socket; nothing else sends them. This way the owner decides when, and a push never splits
/// a packet that the owner is writing.
///
/// # Items
/// An item consists of one or more pushes, whole and in order. Pushes of up to 1 KiB are joined to items of up to 16 KiB;
/// those of a burst that is published to a topic, also longer ones, to items of up to 64 KiB. An item that was returned no
/// longer counts as [pending](crate::Outbox::pending).
///
/// # Bounds
/// What was not taken is bounded by [`Builder::outbox`](crate::Builder::outbox). If the owner does not take its pushes, or waits
/// for a peer that does not read, the connection is a slow consumer. With
/// [`SlowConsumer::Close`](crate::limits::SlowConsumer::Close) reads and writes then fail with
/// [`ConnectionAborted`](std::io::ErrorKind::ConnectionAborted).
///
/// # The end
/// The stream ends when the connection is closing: after [`PoolHandle::close`](crate::Pool::close), when the socket is shut
/// down or dropped, or after [`close`](Pushes::close). What was queued before is still returned first. If the pool or a timeout
/// has ended the connection, the stream ends at once. It does not end when the pool shuts down: use
/// [`Socket::closing`](crate::Socket::closing) for that.
///
/// If a socket has several `Pushes`, each item is returned by one of them.
///
/// # Example
/// A chat in which each line is sent to all other members:
/// ```
/// use actix_acceptor::{AcceptorPool, BoxError, Framing, Socket};
/// use futures::StreamExt;
/// use tokio::io::AsyncWriteExt;
///
/// async fn chat(socket: Socket) -> Result<(), BoxError> {
///     let (id, lobby) = (socket.id(), socket.pool().topic("lobby"));
///     socket.join(&lobby);
///     let (mut pushes, mut lines) = (socket.pushes(), socket.framed(Framing::lines()));
///     loop {
///         tokio::select! {
///             line = lines.next() => match line {
///                 Some(line) => { lobby.publish_except(id, [&line?[..], b"\n"].concat()); }
///                 None => return Ok(()),
///             },
///             pushed = pushes.recv() => match pushed {
///                 Some(bytes) => lines.get_mut().write_all(&bytes).await?,
///                 None => return Ok(()),
///             },
///         }
///     }
/// }
///
/// # actix_rt::System::new().block_on(async {
/// # use tokio::io::AsyncReadExt;
/// # use std::time::Duration;
/// let pool = AcceptorPool::with_fn(chat).bind("127.0.0.1:0").await?;
/// # let address = pool.local_addr().expect("TCP");
/// # let mut ann = tokio::net::TcpStream::connect(address).await?;
/// # let mut bob = tokio::net::TcpStream::connect(address).await?;
/// # while pool.untyped().topic("lobby").len() < 2 {
/// #     tokio::time::sleep(Duration::from_millis(1)).await;
/// # }
/// // Ann and Bob have connected.
/// ann.write_all(b"hello\n").await?;
/// let mut received = [0; 6];
/// bob.read_exact(&mut received).await?;
/// assert_eq!(&received, b"hello\n");
/// # pool.stop(Duration::ZERO).await;
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
/// ```
#[must_use = "the bytes are sent only if the owner of the socket writes them"]
pub struct Pushes {
    /// Weak: the connection ends when the socket and its task or actor are dropped.
    socket: Weak<SocketState>,
    wakers: Arc<SocketWakers>,
    waker: Arc<AtomicWaker>,
}

impl Pushes {
    pub(super) fn new(socket: &Rc<SocketState>) -> Self {
        let wakers = socket.wakers().clone();
        Pushes { socket: Rc::downgrade(socket), waker: wakers.add_pushes(), wakers }
    }

    /// Waits for the next item. `None` at [the end](Pushes#the-end).
    ///
    /// Cancel safe: if the future is dropped, no item is lost.
    pub async fn recv(&mut self) -> Option<Bytes> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next item, if one is queued. Does not wait.
    ///
    /// What was published before [`Socket::leave`](crate::Socket::leave) is queued when that method returns: call `try_recv`
    /// until it returns `None` to send all of it before the answer to the peer.
    pub fn try_recv(&mut self) -> Option<Bytes> {
        match self.poll_take() {
            Poll::Ready(item) => item,
            Poll::Pending => None,
        }
    }

    /// Accepts no more pushes: senders get [`OutboxError::Closed`](crate::OutboxError::Closed), and the connection leaves its
    /// topics and releases its names. What was queued before is still returned. Calling it again has no effect.
    ///
    /// Call it before you drop the socket, to send what others have sent until then:
    ///
    /// ```
    /// use actix_acceptor::Socket;
    /// use tokio::io::AsyncWriteExt;
    ///
    /// async fn serve(mut socket: Socket) -> std::io::Result<()> {
    ///     let mut pushes = socket.pushes();
    ///     socket.closing().await; // A real program would also read the socket meanwhile.
    ///     pushes.close();
    ///     while let Some(bytes) = pushes.recv().await {
    ///         socket.write_all(&bytes).await?;
    ///     }
    ///     Ok(())
    /// }
    /// # use actix_acceptor::AcceptorPool;
    /// # use std::time::Duration;
    /// # use tokio::io::AsyncReadExt;
    /// # actix_rt::System::new().block_on(async {
    /// # let pool = AcceptorPool::with_fn(serve).bind("127.0.0.1:0").await?.untyped();
    /// # let mut peer = tokio::net::TcpStream::connect(pool.local_addr().expect("TCP")).await?;
    /// # pool.wait_for(|connections| connections == 1, Duration::from_secs(10)).await?;
    /// # pool.broadcast("see you");
    /// # pool.stop(Duration::from_secs(10)).await;
    /// # let mut received = String::new();
    /// # peer.read_to_string(&mut received).await?;
    /// # assert_eq!(received, "see you");
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn close(&mut self) {
        if let Some(socket) = self.socket.upgrade() {
            // Queues the last bytes of a requested close. After an error, nothing is returned any more.
            let _ = socket.handle_signals();
            socket.begin_closing();
        }
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Poll::Ready(item) = self.poll_take() {
            return Poll::Ready(item);
        }
        self.waker.register(cx.waker());
        // Checked again: an item may have been queued before the waker was registered.
        self.poll_take()
    }

    /// Takes an item. `Pending` if there is none yet.
    fn poll_take(&self) -> Poll<Option<Bytes>> {
        let Some(socket) = self.socket.upgrade().filter(|socket| socket.handle_signals().is_ok()) else {
            return Poll::Ready(None);
        };
        socket.guard().registry().flush_deferred();
        let state = socket.state();
        // Cleared first: what is queued later sets it again.
        state.clear(Signals::OUTBOX);
        match state.outbox().and_then(|outbox| outbox.take()) {
            Some(bytes) => Poll::Ready(Some(bytes)),
            None => {
                socket.guard().report_dropped();
                if state.is_closing() {
                    return Poll::Ready(None);
                }
                Poll::Pending
            }
        }
    }
}

impl Stream for Pushes {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.poll_recv(cx)
    }
}

impl Drop for Pushes {
    fn drop(&mut self) {
        self.wakers.remove_pushes(&self.waker);
    }
}

impl fmt::Debug for Pushes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pushes").finish_non_exhaustive()
    }
}
