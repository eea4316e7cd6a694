//! Servers that count the packets they echo, with the count in different places: what an access to shared state costs.

use std::cell::{Cell, OnceCell};
use std::hint::black_box;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use actix::prelude::*;
use actix_acceptor::{AcceptorPool, Conn, Framing, Next, Protocol};
use bytes::Bytes;

use crate::ours;

/// Where the count is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    /// In the protocol: each connection has its own.
    Connection,
    /// In an `Rc<Cell>` of the arbiter's thread.
    Arbiter,
    /// In an `Arc<AtomicU64>`.
    Atomic,
    /// In an `Arc<Mutex>`.
    Mutex,
    /// In an actor of the same arbiter, which each packet asks.
    Actor,
    /// In an actor of another arbiter, which each packet asks.
    OtherArbiter,
}

/// A count that is at hand when a packet arrives.
trait Count: 'static {
    /// Counts one more packet. Returns the number of packets so far.
    fn add(&self) -> u64;
}

impl Count for Cell<u64> {
    fn add(&self) -> u64 {
        self.set(self.get() + 1);
        self.get()
    }
}

impl Count for Rc<Cell<u64>> {
    fn add(&self) -> u64 {
        (**self).add()
    }
}

impl Count for Arc<AtomicU64> {
    fn add(&self) -> u64 {
        self.fetch_add(1, Relaxed) + 1
    }
}

impl Count for Arc<Mutex<u64>> {
    fn add(&self) -> u64 {
        let mut count = self.lock().unwrap_or_else(PoisonError::into_inner);
        *count += 1;
        *count
    }
}

/// Echoes and counts.
struct Counting<C>(C);

impl<C: Count> Protocol for Counting<C> {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        black_box(self.0.add());
        Next::Send(packet)
    }
}

/// Echoes when an actor has counted.
struct Asking(Addr<Counter>);

impl Protocol for Asking {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        conn.wait(self.0.send(Add), |count, _, _| {
            black_box(count.ok());
            Next::Send(packet)
        })
    }
}

#[derive(Default)]
struct Counter(u64);

impl Actor for Counter {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "u64")]
struct Add;

impl Handler<Add> for Counter {
    type Result = u64;

    fn handle(&mut self, _: Add, _: &mut Context<Self>) -> u64 {
        self.0 += 1;
        self.0
    }
}

thread_local! {
    static COUNT: Rc<Cell<u64>> = Rc::default();
    static COUNTER: OnceCell<Addr<Counter>> = const { OnceCell::new() };
}

/// Serves packets on one arbiter until the process ends.
pub(crate) async fn serve(home: Home, announce: impl FnOnce(SocketAddr) -> io::Result<()>) -> io::Result<()> {
    match home {
        Home::Connection => counting(Cell::default, announce).await,
        Home::Arbiter => counting(|| COUNT.with(Rc::clone), announce).await,
        Home::Atomic => {
            let count = Arc::<AtomicU64>::default();
            counting(move || count.clone(), announce).await
        }
        Home::Mutex => {
            let count = Arc::<Mutex<u64>>::default();
            counting(move || count.clone(), announce).await
        }
        Home::Actor => {
            let counter = || COUNTER.with(|counter| counter.get_or_init(|| Counter::default().start()).clone());
            asking(counter, announce).await
        }
        Home::OtherArbiter => {
            let counter = Counter::start_in_arbiter(&Arbiter::new().handle(), |_| Counter::default());
            asking(move || counter.clone(), announce).await
        }
    }
}

async fn counting<C: Count>(
    count: impl Fn() -> C + Send + Sync + 'static,
    announce: impl FnOnce(SocketAddr) -> io::Result<()>,
) -> io::Result<()> {
    let server = AcceptorPool::with_protocol(move |_| Counting(count())).framing(Framing::len2());
    ours::serve(server, ours::plaintext(), announce).await
}

async fn asking(
    counter: impl Fn() -> Addr<Counter> + Send + Sync + 'static,
    announce: impl FnOnce(SocketAddr) -> io::Result<()>,
) -> io::Result<()> {
    let server = AcceptorPool::with_protocol(move |_| Asking(counter())).framing(Framing::len2());
    ours::serve(server, ours::plaintext(), announce).await
}
