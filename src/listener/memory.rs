//! A transport in memory, for tests.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use slab::Slab;
use tokio::io::{duplex, DuplexStream};
use tokio::sync::{watch, OwnedSemaphorePermit, Semaphore};

use super::{Accept, Accepted, Transport};
use crate::net::{Address, Stream};

/// The number of connections in the queue, as with [`Tcp`](super::Tcp).
const BACKLOG: usize = 1024;
/// How many bytes a stream buffers in each direction.
const BUFFER: usize = 64 * 1024;

/// A transport in memory, over [`tokio::io::duplex`], for tests without ports and with a paused clock.
///
/// Peers connect with the [`MemoryConnector`]. Limits, suspension, drain and counts work as with a socket. The address of a
/// peer is the name of the transport and a number, such as `test/1`, or the one that it
/// [connects from](MemoryConnector::connect_from).
///
/// While tokio's clock is paused, all timeouts, rates and deadlines of the pool follow it. The clock belongs to one thread,
/// so the pool then runs as if [`on_current_arbiter`](crate::Builder::on_current_arbiter) had been called.
///
/// ```
/// use actix::System;
/// use actix_acceptor::{transport::Memory, AcceptorPool, Conn, Framing, Next, Protocol, Timeout};
/// use bytes::Bytes;
/// use std::time::Duration;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// struct Patient;
/// impl Protocol for Patient {
///     type Codec = Framing;
///     type Reply = Bytes;
///     type User = ();
///     fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
///         Next::Send(packet)
///     }
///     fn timeout(&mut self, _: Timeout, _: &mut Conn<Self>) -> Next<Self> {
///         Next::SendAndStop(Bytes::from_static(b"still there?"))
///     }
/// }
///
/// System::new().block_on(async {
///     tokio::time::pause();
///     let (memory, connector) = Memory::new("test");
///     let pool = AcceptorPool::with_protocol(|_| Patient)
///         .framing(Framing::lines())
///         .idle_timeout(Duration::from_secs(3600))
///         .listen(memory)
///         .await
///         .expect("it starts");
///     let mut peer = connector.connect().await.expect("it listens");
///     peer.write_all(b"hello\n").await.expect("written");
///     let began = tokio::time::Instant::now();
///     let mut all = String::new();
///     peer.read_to_string(&mut all).await.expect("an orderly end");
///     assert_eq!(all, "hello\nstill there?\n");
///     // An hour has passed, at once.
///     assert!(began.elapsed() >= Duration::from_secs(3600));
///     # pool.stop(None).await;
/// });
/// ```
pub struct Memory {
    shared: Arc<Shared>,
}

/// Connects to a [`Memory`] transport. Clones connect to the same transport, from any thread.
#[derive(Clone)]
pub struct MemoryConnector {
    shared: Arc<Shared>,
    buffer: usize,
}

/// The state shared by the transport, its accept handles and its connectors.
struct Shared {
    name: Arc<str>,
    connected: AtomicU64,
    slots: Arc<Semaphore>,
    state: watch::Sender<State>,
    queue: Mutex<Queue>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Suspended,
    Closed,
}

#[derive(Default)]
struct Queue {
    peers: VecDeque<QueuedPeer>,
    /// What the next accepts fail with.
    errors: VecDeque<io::Error>,
    /// The task to wake when a peer connects, for each accept handle.
    wakers: Slab<Option<Waker>>,
}

/// A peer in the queue, with its slot there.
struct QueuedPeer {
    stream: Stream,
    peer: Address,
    _slot: OwnedSemaphorePermit,
}

impl Memory {
    /// Creates a transport with this name, and the connector of its peers. Up to 1,024 peers wait to be accepted.
    #[allow(clippy::new_ret_no_self)]
    pub fn new(name: impl Into<Arc<str>>) -> (Memory, MemoryConnector) {
        Self::bounded(name, BACKLOG)
    }

    /// Creates a transport as [`new`](Memory::new) does, with a queue of `backlog` peers.
    ///
    /// # Panics
    /// If `backlog` is 0.
    pub fn bounded(name: impl Into<Arc<str>>, backlog: usize) -> (Memory, MemoryConnector) {
        assert!(backlog > 0, "the backlog must be at least 1");
        let shared = Arc::new(Shared {
            name: name.into(),
            connected: AtomicU64::new(0),
            slots: Arc::new(Semaphore::new(backlog.min(Semaphore::MAX_PERMITS))),
            state: watch::Sender::new(State::Open),
            queue: Mutex::default(),
        });
        (Memory { shared: shared.clone() }, MemoryConnector { shared, buffer: BUFFER })
    }
}

impl MemoryConnector {
    /// Connects to the transport. Waits while the queue is full.
    ///
    /// Returns once the peer is in the queue, even while the pool is suspended with [`Hold`](crate::SuspendMode::Hold). The
    /// stream can be written to at once.
    ///
    /// # Errors
    /// `ConnectionRefused` if the pool has ended or is suspended with [`Close`](crate::SuspendMode::Close).
    pub async fn connect(&self) -> io::Result<DuplexStream> {
        self.dial(None, Stream::other).await
    }

    /// Connects as [`connect`](MemoryConnector::connect) does, as a peer with this address: rules, limits per peer and trusted
    /// proxies treat it as they would over TCP.
    ///
    /// ```
    /// # use actix_acceptor::{limits::Rule, transport::Memory, AcceptorPool, Socket};
    /// # use std::net::SocketAddr;
    /// # use tokio::io::AsyncReadExt;
    /// # actix_rt::System::new().block_on(async {
    /// let (memory, connector) = Memory::new("test");
    /// let pool = AcceptorPool::with_fn(|_: Socket| async {}).rules([Rule::deny("10.0.0.0/8")?]).listen(memory).await?;
    /// let mut peer = connector.connect_from("10.0.0.7:1".parse::<SocketAddr>()?).await?;
    /// assert_eq!(peer.read(&mut [0]).await?, 0, "it was closed");
    /// assert_eq!(pool.info().refused.total(), 1);
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    ///
    /// # Errors
    /// See [`connect`](MemoryConnector::connect).
    pub async fn connect_from(&self, peer: impl Into<Address>) -> io::Result<DuplexStream> {
        self.dial(Some(peer.into()), Stream::other).await
    }

    /// Makes the next accept fail with this error, before any peer in the queue is accepted. Several errors are reported one
    /// after the other.
    ///
    /// The pool treats it as an error of `accept(2)`: it goes on after `ECONNABORTED`, pauses after `EMFILE`, and replaces the
    /// acceptor after `EBADF`.
    ///
    /// Closing the transport, as a suspension with [`Close`](crate::SuspendMode::Close) does, discards errors that have not been
    /// reported.
    pub fn fail_accept(&self, error: io::Error) {
        self.shared.change_queue(|queue| queue.errors.push_back(error));
    }

    /// Connects a peer whose stream `wrap` makes from the pool's end.
    pub(crate) async fn dial(
        &self,
        peer: Option<Address>,
        wrap: impl FnOnce(DuplexStream) -> Stream,
    ) -> io::Result<DuplexStream> {
        let mut state = self.shared.state.subscribe();
        let slot = tokio::select! {
            biased;
            // Cannot fail: `self` keeps the sender alive.
            _ = state.wait_for(|state| *state != State::Open) => return Err(refused()),
            slot = self.shared.slots.clone().acquire_owned() => slot.map_err(|_| refused())?,
        };
        let (remote, stream) = duplex(self.buffer);
        let number = self.shared.connected.fetch_add(1, Relaxed) + 1;
        let peer = peer.unwrap_or_else(|| Address::Other(format!("{}/{number}", self.shared.name).into()));
        self.shared.enqueue(QueuedPeer { stream: wrap(stream), peer, _slot: slot })?;
        Ok(remote)
    }

    /// Sets how many bytes the streams of this connector buffer in each direction before a write waits.
    ///
    /// Default: 64 KiB.
    ///
    /// # Panics
    /// If `bytes` is 0.
    #[must_use]
    pub fn buffer(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "the buffer must be at least 1 byte");
        self.buffer = bytes;
        self
    }
}

fn refused() -> io::Error {
    io::ErrorKind::ConnectionRefused.into()
}

impl Shared {
    fn enqueue(&self, peer: QueuedPeer) -> io::Result<()> {
        self.change_queue(|queue| {
            // Checked under the lock: `close` sets the state first, then empties the queue.
            if *self.state.borrow() != State::Open {
                return Err(refused());
            }
            queue.peers.push_back(peer);
            Ok(())
        })
    }

    /// Changes the queue, then wakes the acceptors.
    fn change_queue<R>(&self, change: impl FnOnce(&mut Queue) -> R) -> R {
        let mut queue = self.queue.lock();
        let result = change(&mut queue);
        let wakers: Vec<_> = queue.wakers.iter_mut().filter_map(|(_, waker)| waker.take()).collect();
        drop(queue);
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    /// Refuses peers from now on and closes those in the queue.
    fn close(&self, state: State) {
        self.state.send_replace(state);
        let mut queue = self.queue.lock();
        let unserved = (std::mem::take(&mut queue.peers), std::mem::take(&mut queue.errors));
        drop(queue);
        drop(unserved);
    }
}

impl Transport for Memory {
    fn local_addr(&self) -> Address {
        Address::Other(self.shared.name.clone())
    }

    fn share(&self) -> io::Result<Box<dyn Accept>> {
        let key = self.shared.queue.lock().wakers.insert(None);
        Ok(Box::new(MemoryAccept { shared: self.shared.clone(), key }))
    }

    fn suspend(&self) -> io::Result<()> {
        self.shared.close(State::Suspended);
        Ok(())
    }

    fn resume(&self) -> io::Result<()> {
        self.shared.state.send_replace(State::Open);
        Ok(())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.shared.close(State::Closed);
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for MemoryConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryConnector").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

struct MemoryAccept {
    shared: Arc<Shared>,
    key: usize,
}

impl Accept for MemoryAccept {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut queue = self.shared.queue.lock();
        if !queue.peers.is_empty() || !queue.errors.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if let Some(waker) = queue.wakers.get_mut(self.key) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn try_accept(&mut self) -> io::Result<Accepted> {
        let mut queue = self.shared.queue.lock();
        if let Some(error) = queue.errors.pop_front() {
            return Err(error);
        }
        let queued = queue.peers.pop_front();
        drop(queue);
        let QueuedPeer { stream, peer, .. } = queued.ok_or(io::ErrorKind::WouldBlock)?;
        Ok(Accepted { stream, peer })
    }
}

impl Drop for MemoryAccept {
    fn drop(&mut self) {
        self.shared.queue.lock().wakers.try_remove(self.key);
    }
}
