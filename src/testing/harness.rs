//! [`Harness`], a pool in memory on a paused clock.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::link::{Link, PoolEnd};
use super::report::fail;
use super::{clock, settle, Client};
use crate::builder::Builder;
use crate::error::{with_sources, StartError};
use crate::handlers::Service;
use crate::listener::{Listener, Memory, MemoryConnector, Transport};
use crate::net::{Address, Stream};
use crate::pool::{AcceptorPool, Drain, DrainReport, Pool};

/// The name of the transport: peers without an address are `harness/1`, `harness/2`, ...
const NAME: &str = "harness";
/// How long connections may take to end when the harness does.
const GRACE: Duration = Duration::from_secs(5);

/// A running pool for tests: in memory, on the current arbiter, with a paused clock.
///
/// Given the [`Builder`] of the program, it runs the same pool: all limits, timeouts, waits and observers work as in production.
/// Only the sockets and the passing of time are simulated. The clock jumps to the next timer when nothing else is left to do, so
/// that a test of an hour takes no time, and nothing in it depends on the load of the machine.
///
/// Tests run in `#[actix::test]`, which starts an actix system; `#[tokio::test]` starts none. The clock stays paused until the
/// test ends.
///
/// ```
/// # use actix_acceptor::{AcceptorPool, Conn, Framing, Next, Protocol, Timeout};
/// # use bytes::Bytes;
/// use actix_acceptor::testing::Harness;
/// use std::time::Duration;
///
/// struct Patient;
///
/// impl Protocol for Patient {
///     type Codec = Framing;
///     type Reply = Bytes;
///     type User = ();
///
///     fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
///         Next::Send(packet)
///     }
///
///     fn timeout(&mut self, _: Timeout, _: &mut Conn<Self>) -> Next<Self> {
///         Next::send_and_stop("still there?")
///     }
/// }
///
/// # actix_rt::System::new().block_on(async {
/// // In a test: #[actix::test] async fn silent_peers_are_asked() {
/// let pool = AcceptorPool::with_protocol(|_| Patient).framing(Framing::lines()).idle_timeout(Duration::from_secs(3600));
/// let harness = Harness::start(pool).await;
/// let mut client = harness.connect().await;
/// client.say("hello\n").await;
/// client.expect("hello\n").await;
/// client.silence(Duration::from_secs(3600)).await;
/// // Timeouts are at most a tenth late.
/// harness.advance(Duration::from_secs(360)).await;
/// assert_eq!(client.end().await, "still there?\n");
/// harness.end().await;
/// # });
/// ```
pub struct Harness<A: 'static> {
    pool: Pool<A>,
    connector: MemoryConnector,
    listener: Address,
    steppers: Cell<u64>,
}

impl<A: 'static> Harness<A> {
    /// Pauses the clock, if it is running, and starts the pool of this builder on the current arbiter. The builder may have any
    /// of the four handlers, but no listeners.
    ///
    /// # Panics
    /// If no actix system is running on this thread, or the pool does not start.
    #[track_caller]
    pub fn start<S: Service<Actor = A>>(builder: Builder<S>) -> impl Future<Output = Harness<A>> {
        Self::start_with(builder, |listener| listener)
    }

    /// As [`start`](Harness::start), with settings of the listener: handshakes, the PROXY protocol, rates, a value for its
    /// connections.
    ///
    /// ```
    /// # use actix_acceptor::{testing::Harness, AcceptorPool, Socket};
    /// # use tokio::io::AsyncWriteExt;
    /// # actix_rt::System::new().block_on(async {
    /// let greet = |mut socket: Socket| async move {
    ///     let greeting = *socket.env::<&str>().expect("a greeting");
    ///     socket.write_all(greeting.as_bytes()).await
    /// };
    /// let harness = Harness::start_with(AcceptorPool::with_fn(greet), |listener| listener.env("hello")).await;
    /// assert_eq!(harness.connect().await.end().await, "hello");
    /// # });
    /// ```
    ///
    /// # Panics
    /// As [`start`](Harness::start).
    #[track_caller]
    pub fn start_with<S: Service<Actor = A>>(
        builder: Builder<S>,
        listener: impl FnOnce(Listener) -> Listener,
    ) -> impl Future<Output = Harness<A>> {
        let caller = Location::caller();
        async move {
            if !AcceptorPool::is_system_running() {
                let why =
                    "no actix System is running on this thread: use `#[actix::test]` or `#[actix_web::test]`; `#[tokio::test]` starts none";
                fail(caller, format_args!("the harness could not start: {why}"));
            }
            clock::pause().await;
            let (memory, connector) = Memory::new(NAME);
            let address = memory.local_addr();
            let listener = listener(Listener::from_transport(memory));
            match builder.on_current_arbiter().listener(listener).start().await {
                Ok(pool) if pool.listeners().len() > 1 => fail(caller, LISTENERS),
                Ok(pool) => Harness { pool, connector, listener: address, steppers: Cell::new(0) },
                Err(StartError::PausedClock) => fail(caller, LISTENERS),
                Err(error) => fail(caller, format_args!("the harness could not start: {}", with_sources(&error))),
            }
        }
    }

    /// The pool, with the methods that the program uses.
    pub fn pool(&self) -> &Pool<A> {
        &self.pool
    }

    /// Connects a client, whose address is `harness/1`, `harness/2`, and so on. Returns once the pool has accepted it, unless it
    /// waits in the queue for a permit.
    ///
    /// # Panics
    /// If the pool does not accept it, as with a closed port: the pool has ended, or is suspended with
    /// [`SuspendMode::Close`](crate::SuspendMode::Close). A peer that a limit or rule refuses is accepted, then closed.
    #[track_caller]
    pub fn connect(&self) -> impl Future<Output = Client> {
        self.dial(None, Location::caller())
    }

    /// Connects a client with this address, such as `"10.0.0.7:1"`, as [`connect`](Harness::connect) does. Rules, limits per peer
    /// and trusted proxies see a TCP peer. An IP address without a port is given one.
    ///
    /// # Panics
    /// If `address` is not an IP address, with or without a port; else as [`connect`](Harness::connect).
    #[track_caller]
    pub fn connect_from(&self, address: impl fmt::Display) -> impl Future<Output = Client> {
        let caller = Location::caller();
        self.dial(Some(peer_address(&address.to_string(), caller)), caller)
    }

    pub(super) async fn dial(&self, peer: Option<Address>, caller: &'static Location<'static>) -> Client {
        let (link, listener) = (Arc::<Link>::default(), self.listener.clone());
        let end = link.clone();
        let dialled = self.connector.dial(peer, |stream| Stream::from_io(PoolEnd::new(stream, end, listener))).await;
        let client = match dialled {
            Ok(stream) => Client::linked(stream, link),
            Err(error) => {
                let status = self.pool.status();
                fail(caller, format_args!("could not connect: {error} (the pool is {status:?})"))
            }
        };
        settle().await;
        client
    }

    /// The connector of the transport, for peers that need more than a [`Client`], and for tests in which no peer can connect.
    pub fn connector(&self) -> &MemoryConnector {
        &self.connector
    }

    /// Advances the clock by this time: all timers within it fire in order, each at its time. Returns once everything that is due has
    /// been handled.
    ///
    /// Timeouts of the pool fire at most 10 % or 10 ms late, whichever is larger, as they do on a running clock. `Conn::after` and
    /// tokio's timers are exact to the millisecond.
    pub async fn advance(&self, time: Duration) {
        sleep(time).await;
        settle().await;
    }

    /// Runs everything that is ready, without letting time pass. All methods of the harness and its clients do this at their end.
    pub async fn settle(&self) {
        settle().await;
    }

    /// Makes the next accept fail with this error; see [`MemoryConnector::fail_accept`].
    ///
    /// ```
    /// # use actix_acceptor::{testing::Harness, AcceptorPool, Socket};
    /// # use std::time::Duration;
    /// # actix_rt::System::new().block_on(async {
    /// # let harness = Harness::start(AcceptorPool::with_fn(|socket: Socket| async move { std::future::pending::<()>().await; drop(socket); })).await;
    /// # #[cfg(unix)] {
    /// const EMFILE: i32 = 24; // Too many open files.
    /// harness.fail_accept(std::io::Error::from_raw_os_error(EMFILE));
    /// let _client = harness.connect().await;
    /// assert_eq!(harness.pool().connections(), 0, "the acceptor pauses");
    /// harness.advance(Duration::from_millis(500)).await;
    /// assert_eq!(harness.pool().connections(), 1, "and tries again");
    /// # }
    /// # });
    /// ```
    pub fn fail_accept(&self, error: io::Error) {
        self.connector.fail_accept(error);
    }

    /// Drains the pool and checks that nothing is left of it. Clients may still be connected: each connection is notified, and has 5
    /// seconds of the paused clock to end. Returns the report of the drain.
    ///
    /// # Panics
    /// If a connection does not end in time; if connections, members of topics, names, held peers or blocking closures are left;
    /// if the pool has ended with an error.
    #[track_caller]
    pub fn end(self) -> impl Future<Output = DrainReport> {
        let caller = Location::caller();
        async move {
            let mut late = Vec::new();
            let watch = async {
                sleep(GRACE - Duration::from_millis(1)).await;
                late = self.pool.list();
            };
            let drained = self.pool.drain(Drain::grace(GRACE));
            let report = tokio::select! {
                biased;
                report = drained => report,
                never = async { watch.await; std::future::pending().await } => never,
            };
            settle().await;
            if report.forced > 0 {
                let late: Vec<_> =
                    late.iter().map(|one| format!("{} ({}, {:?})", one.id, one.peer, one.state)).collect();
                let (count, late) = (late.len(), late.join(", "));
                fail(caller, format_args!("{count} of the connections did not end within {GRACE:?}: {late}"));
            }
            if let Err(error) = self.pool.stopped().await {
                fail(caller, format_args!("the pool has ended with an error: {}", with_sources(&error)));
            }
            let left = self.left();
            if !left.is_empty() {
                fail(caller, format_args!("the pool has ended, but there are left: {}", left.join(", ")));
            }
            report
        }
    }

    /// The number of the next stepper.
    pub(super) fn next_stepper(&self) -> u64 {
        self.steppers.set(self.steppers.get() + 1);
        self.steppers.get()
    }

    /// What is left of the pool.
    fn left(&self) -> Vec<String> {
        let info = self.pool.info();
        let topics = self.pool.topics().iter().map(|(_, members)| members).sum();
        let counts = [
            (info.connections as usize, "connections"),
            (info.held, "held peers"),
            (info.blocking_running + info.blocking_queued, "blocking closures"),
            (topics, "members of topics"),
            (self.pool.names().len(), "names"),
        ];
        let left = counts.into_iter().filter(|(count, _)| *count > 0);
        left.map(|(count, what)| format!("{count} {what}")).collect()
    }
}

const LISTENERS: &str =
    "the harness could not start: the builder has listeners, and the clock of their sockets cannot be \
    paused: pass a builder without listeners (of a `PoolConfig`, set `listeners` to `None`), and set up the one of the harness \
     with `Harness::start_with`";

pub(super) fn peer_address(address: &str, caller: &Location<'_>) -> Address {
    let with_port = address.parse::<SocketAddr>();
    match with_port.or_else(|_| address.parse::<IpAddr>().map(|ip| (ip, 1).into())) {
        Ok(socket) => Address::Tcp(socket),
        Err(_) => fail(
            caller,
            format_args!("{address:?} is not the address of a peer: use IP:PORT, such as 10.0.0.7:1, or IP"),
        ),
    }
}

impl<A> fmt::Debug for Harness<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness").field("pool", &self.pool).finish_non_exhaustive()
    }
}
