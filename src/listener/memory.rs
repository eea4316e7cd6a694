//! A transport without ports: for tests, also on a paused clock.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use slab::Slab;
use tokio::io::{duplex, DuplexStream};
use tokio::sync::{watch, OwnedSemaphorePermit, Semaphore};

use super::{Accept, Accepted, Transport};
use crate::net::{Address, Stream};

/// How many peers wait in the queue, as [`Tcp`](super::Tcp) has it.
const BACKLOG: usize = 1024;
/// How many bytes a stream holds in each direction.
const BUFFER: usize = 64 * 1024;

/// A transport in memory: a pool served over [`tokio::io::duplex`], so that a protocol is tested without ports, and with a
/// paused clock.
///
/// Peers come by the [`MemoryConnector`]. Everything else is as with a socket: limits, suspension, drain, counts. Peers are called
/// after the transport, with a number: `test/1`.
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
///         .on_current_arbiter()
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

/// Where the peers of a [`Memory`] come from. Clones lead to the same place; other threads may have one.
#[derive(Clone)]
pub struct MemoryConnector {
    shared: Arc<Shared>,
    buffer: usize,
}

/// What the transport, its shares and its dialers have in common.
struct Shared {
    name: Arc<str>,
    dialled: AtomicU64,
    slots: Arc<Semaphore>,
    state: watch::Sender<State>,
    queue: Mutex<Queue>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Suspended,
    Gone,
}

#[derive(Default)]
struct Queue {
    peers: VecDeque<QueuedPeer>,
    /// One per share: who is to be woken when a peer comes.
    shares: Slab<Option<Waker>>,
}

/// A peer in the queue, and its slot there.
struct QueuedPeer {
    stream: DuplexStream,
    peer: Address,
    _slot: OwnedSemaphorePermit,
}

impl Memory {
    /// A transport of this name, and where its peers come from. 1,024 of them may wait to be accepted.
    #[allow(clippy::new_ret_no_self)]
    pub fn new(name: impl Into<Arc<str>>) -> (Memory, MemoryConnector) {
        Self::bounded(name, BACKLOG)
    }

    /// As [`new`](Memory::new), with a queue of so many.
    ///
    /// # Panics
    /// When the queue has no room at all.
    pub fn bounded(name: impl Into<Arc<str>>, backlog: usize) -> (Memory, MemoryConnector) {
        assert!(backlog > 0, "peers need a place to wait in");
        let shared = Arc::new(Shared {
            name: name.into(),
            dialled: AtomicU64::new(0),
            slots: Arc::new(Semaphore::new(backlog.min(Semaphore::MAX_PERMITS))),
            state: watch::Sender::new(State::Open),
            queue: Mutex::default(),
        });
        (Memory { shared: shared.clone() }, MemoryConnector { shared, buffer: BUFFER })
    }
}

impl MemoryConnector {
    /// Connects, as to a port: done once the peer is in the queue, where it waits for an acceptor, also while the pool
    /// [holds](crate::SuspendMode::Hold) its peers; it may be written to at once. While the queue is full, this waits.
    ///
    /// # Errors
    /// `ConnectionRefused` when the pool is gone, or [refuses](crate::SuspendMode::Close) peers.
    pub async fn connect(&self) -> io::Result<DuplexStream> {
        let mut state = self.shared.state.subscribe();
        let slot = tokio::select! {
            biased;
            // The sender is in the room, and the room is here.
            _ = state.wait_for(|state| *state != State::Open) => return Err(refused()),
            slot = self.shared.slots.clone().acquire_owned() => slot.map_err(|_| refused())?,
        };
        let (theirs, stream) = duplex(self.buffer);
        let number = self.shared.dialled.fetch_add(1, Relaxed) + 1;
        let peer = Address::Other(format!("{}/{number}", self.shared.name).into());
        self.shared.enqueue(QueuedPeer { stream, peer, _slot: slot })?;
        Ok(theirs)
    }

    /// How many bytes the streams of this connector hold in each direction before a write waits. Default: 64 KiB.
    ///
    /// # Panics
    /// When it is 0.
    pub fn buffer(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "a stream without a buffer carries nothing");
        self.buffer = bytes;
        self
    }
}

fn refused() -> io::Error {
    io::ErrorKind::ConnectionRefused.into()
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enqueue(&self, peer: QueuedPeer) -> io::Result<()> {
        let mut queue = self.queue();
        // Under the lock: whoever closes empties the queue afterwards.
        if *self.state.borrow() != State::Open {
            return Err(refused());
        }
        queue.peers.push_back(peer);
        let wakers: Vec<_> = queue.shares.iter_mut().filter_map(|(_, waker)| waker.take()).collect();
        drop(queue);
        wakers.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// No peers from now on; those that nobody has accepted are closed.
    fn close(&self, state: State) {
        self.state.send_replace(state);
        let left = std::mem::take(&mut self.queue().peers);
        drop(left);
    }
}

impl Transport for Memory {
    fn local_addr(&self) -> Address {
        Address::Other(self.shared.name.clone())
    }

    fn share(&self) -> io::Result<Box<dyn Accept>> {
        let key = self.shared.queue().shares.insert(None);
        Ok(Box::new(Share { shared: self.shared.clone(), key }))
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
        self.shared.close(State::Gone);
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

struct Share {
    shared: Arc<Shared>,
    key: usize,
}

impl Accept for Share {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut queue = self.shared.queue();
        if !queue.peers.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if let Some(waker) = queue.shares.get_mut(self.key) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn try_accept(&mut self) -> io::Result<Accepted> {
        let waiting = self.shared.queue().peers.pop_front();
        let QueuedPeer { stream, peer, .. } = waiting.ok_or(io::ErrorKind::WouldBlock)?;
        Ok(Accepted { stream: Stream::other(stream), peer })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shared.queue().shares.try_remove(self.key);
    }
}
