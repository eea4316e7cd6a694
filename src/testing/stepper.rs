//! [`Stepper`], a connection that runs only in the steps of a test.

use std::fmt;
use std::future::{poll_fn, Future};
use std::panic::Location;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use actix::Addr;
use tokio::time::sleep;

use super::report::fail;
use super::{Client, Harness, Step, ROUNDS};
use crate::connection::{Callback, Conn, Connection, ExpectedConnection, Packet, Protocol, SteppedConnection, User};
use crate::net::Address;
use crate::pool::{Drain, Pool};

/// How long [`Stepper::timeout`] and [`Stepper::wait_ends`] let the clock run.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// A connection that runs step by step: each method causes one event and returns what the connection has done.
///
/// Made by [`Harness::stepper`]. The pool has accepted the connection like any other, and the code that runs it is that of
/// production. For example, a packet is not delivered while the connection waits; it appears in the step that delivers it. Between
/// two steps the connection does not run, whatever is sent to it. Its peer reads everything at once.
///
/// A [`Step`] has the callbacks that were called, with what they returned, the bytes that reached the peer, and the end of the
/// connection. Between steps, the test can look at the [state of the protocol](Stepper::protocol), at the [`Conn`](Stepper::conn),
/// its [timers](Stepper::timers), [topics](Stepper::topics) and [names](Stepper::names).
///
/// If a stepper is dropped before its connection has ended, the connection is killed. Drop it before [`Harness::end`], which waits
/// for connections to end by themselves.
///
/// ```
/// use actix_acceptor::testing::{Callback, Harness, NextKind};
/// use actix_acceptor::{AcceptorPool, Conn, Framing, Next, Protocol};
/// use bytes::Bytes;
/// use std::time::Duration;
///
/// /// Looks words up. Pings its peer every minute.
/// struct Dictionary {
///     words: u32,
/// }
///
/// impl Protocol for Dictionary {
///     type Codec = Framing;
///     type Reply = Bytes;
///     type User = &'static str;
///
///     fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
///         conn.every(Duration::from_secs(60), "ping");
///         conn.join(&conn.pool().topic("readers"));
///         Next::send("welcome")
///     }
///
///     fn packet(&mut self, word: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
///         self.words += 1;
///         let lookup = tokio::time::sleep(Duration::from_millis(100)); // A database.
///         conn.wait(lookup, move |(), _, _| Next::Send(word))
///     }
///
///     fn user(&mut self, message: &'static str, _: &mut Conn<Self>) -> Next<Self> {
///         Next::send(message)
///     }
/// }
///
/// # actix_rt::System::new().block_on(async {
/// let pool = AcceptorPool::with_protocol(|_| Dictionary { words: 0 }).framing(Framing::lines());
/// let harness = Harness::start(pool).await;
/// let mut reader = harness.stepper().await;
///
/// let step = reader.run().await;
/// assert_eq!(step.calls, [(Callback::Init, NextKind::Continue), (Callback::Ack, NextKind::Send)]);
/// assert_eq!(step.sent, "welcome\n");
/// assert_eq!(reader.timers(), [Duration::from_secs(60)]);
/// assert_eq!(reader.topics(), ["readers".into()]);
///
/// let step = reader.packet("tree").await;
/// assert_eq!(step.calls, [(Callback::Packet, NextKind::Wait)]);
/// assert_eq!(reader.protocol().words, 1);
/// // Held back until the wait ends.
/// assert_eq!(reader.user("more").await.calls, []);
/// let step = reader.wait_ends().await;
/// assert_eq!(step.replies(Framing::lines()), ["tree", "more"]);
///
/// let step = reader.advance(Duration::from_secs(60)).await;
/// assert_eq!(step.sent, "ping\n");
/// # });
/// ```
pub struct Stepper<P: Protocol> {
    /// Dropped before its peer leaves.
    connection: SteppedConnection<P>,
    client: Client,
    pool: Pool<Connection<P>>,
    address: Option<Addr<Connection<P>>>,
}

impl<P: Protocol> Harness<Connection<P>> {
    /// Connects a peer whose connection runs step by step. Its address is `stepper/1`, `stepper/2`, and so on. No callback has been
    /// called yet; the first step calls [`init`](Protocol::init), and [`ack`](Protocol::ack) if there is no handshake.
    ///
    /// # Panics
    /// If the pool does not accept the peer.
    #[track_caller]
    pub fn stepper(&self) -> impl Future<Output = Stepper<P>> {
        let peer = Address::Other(format!("stepper/{}", self.next_stepper()).into());
        self.dial_stepped(peer, Location::caller())
    }

    /// As [`stepper`](Harness::stepper), for a peer with this address: see [`connect_from`](Harness::connect_from).
    ///
    /// # Panics
    /// If `address` is not an IP address, with or without a port, or if the pool does not accept the peer.
    #[track_caller]
    pub fn stepper_from(&self, address: impl fmt::Display) -> impl Future<Output = Stepper<P>> {
        let caller = Location::caller();
        self.dial_stepped(super::harness::peer_address(&address.to_string(), caller), caller)
    }

    async fn dial_stepped(&self, peer: Address, caller: &'static Location<'static>) -> Stepper<P> {
        let expected = ExpectedConnection::expect(peer.clone());
        let client = self.dial(Some(peer), caller).await;
        match expected.take() {
            Some(connection) => Stepper { connection, client, pool: self.pool().clone(), address: None },
            None => fail(
                caller,
                "the pool has not accepted the peer of the stepper: a limit, a rule or its suspension forbids it",
            ),
        }
    }
}

impl<P: Protocol> Stepper<P> {
    /// Runs everything that is ready, without letting time pass: what the program has sent to the connection, for example, and at
    /// first [`init`](Protocol::init) and [`ack`](Protocol::ack).
    pub async fn run(&mut self) -> Step {
        for _ in 0..ROUNDS {
            poll_fn(|cx| {
                self.connection.poll(cx.waker());
                Poll::Ready(())
            })
            .await;
            self.client.drain();
            tokio::task::yield_now().await;
        }
        self.take_step()
    }

    /// Delivers a packet as if the codec had just decoded it.
    ///
    /// # Panics
    /// If the connection has ended.
    #[track_caller]
    pub fn packet(&mut self, packet: impl Into<Packet<P>>) -> impl Future<Output = Step> {
        self.conn();
        self.connection.push_packet(packet.into());
        self.run()
    }

    /// Receives bytes from the peer, which the codec decodes: several packets, a part of one, or what it cannot decode.
    ///
    /// # Panics
    /// If the connection has ended.
    #[track_caller]
    pub fn bytes(&mut self, bytes: impl AsRef<[u8]>) -> impl Future<Output = Step> {
        let caller = Location::caller();
        self.conn();
        async move {
            self.client.send(bytes.as_ref(), caller).await;
            self.run().await
        }
    }

    /// Sends a message to the connection's mailbox, for [`Protocol::user`].
    ///
    /// # Panics
    /// If the connection has ended, or its mailbox is full.
    #[track_caller]
    pub fn user(&mut self, message: P::User) -> impl Future<Output = Step> {
        let address = self.conn().address();
        // One sender for all messages: each new one has a slot of its own.
        if let Err(error) = self.address.get_or_insert(address).try_send(User(message)) {
            fail(Location::caller(), format_args!("could not send the message: {error}"));
        }
        self.run()
    }

    /// Lets time pass: timers and timeouts fire, waits end.
    pub async fn advance(&mut self, time: Duration) -> Step {
        self.pass(time, |_| false).await;
        self.run().await
    }

    /// Lets time pass until [`Protocol::timeout`] is called, at most a tenth later than set. Other callbacks may be called before.
    ///
    /// # Panics
    /// If it is not called within 24 hours: the timeout is disabled, or does not run, as during a wait. If the connection ends.
    #[track_caller]
    pub fn timeout(&mut self) -> impl Future<Output = Step> {
        let caller = Location::caller();
        self.conn();
        async move {
            if !self.pass(PATIENCE, |connection| connection.has_called(Callback::Timeout)).await {
                fail(caller, self.not_within("expected a timeout"));
            }
            self.run().await
        }
    }

    /// Lets time pass until the connection no longer waits ([`Conn::wait`], [`Conn::blocking`]). If the wait ends by an action of the
    /// test, such as a message to a channel, perform that action and call [`run`](Stepper::run) instead.
    ///
    /// # Panics
    /// If the connection does not wait, or still waits after 24 hours.
    #[track_caller]
    pub fn wait_ends(&mut self) -> impl Future<Output = Step> {
        let caller = Location::caller();
        if !self.is_waiting() {
            fail(caller, "expected the end of a wait, but the connection does not wait");
        }
        async move {
            if !self.pass(PATIENCE, |connection| !connection.is_waiting()).await {
                fail(caller, self.not_within("expected the end of the wait"));
            }
            self.run().await
        }
    }

    /// Shuts down the sending side of the peer (FIN).
    ///
    /// # Panics
    /// If the connection has ended, or the peer has done so before.
    #[track_caller]
    pub fn finish(&mut self) -> impl Future<Output = Step> {
        self.conn();
        let caller = Location::caller();
        async move {
            self.client.shut_down(caller).await;
            self.run().await
        }
    }

    /// Resets the connection as the peer (RST).
    ///
    /// # Panics
    /// If the connection has ended.
    #[track_caller]
    pub fn reset(&mut self) -> impl Future<Output = Step> {
        self.conn();
        self.client.reset_now(Location::caller());
        self.run()
    }

    /// Begins to drain the pool with this grace period (`None`: no limit), so that [`Protocol::shutdown`] is called.
    ///
    /// # Panics
    /// If the connection has ended.
    #[track_caller]
    pub fn shutdown(&mut self, grace: impl Into<Option<Duration>>) -> impl Future<Output = Step> {
        self.conn();
        let (pool, drain) = (self.pool.clone(), Drain::grace(grace));
        actix_rt::spawn(async move { pool.drain(drain).await });
        self.run()
    }

    /// The state of the protocol.
    ///
    /// # Panics
    /// If the connection has ended.
    #[track_caller]
    pub fn protocol(&self) -> &P {
        match self.connection.protocol() {
            Some(protocol) => protocol,
            None => self.fail_ended(),
        }
    }

    /// The connection, for everything that can be read from it: [`info`](Conn::info), [`unsent`](Conn::unsent),
    /// [`active`](Conn::active), [`address`](Conn::address), and so on.
    ///
    /// # Panics
    /// If the connection has ended.
    #[track_caller]
    pub fn conn(&self) -> &Conn<P> {
        match self.connection.conn() {
            Some(conn) => conn,
            None => self.fail_ended(),
        }
    }

    /// Whether the connection waits ([`Conn::wait`]): packets are held back.
    pub fn is_waiting(&self) -> bool {
        self.connection.is_waiting()
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.connection.conn().is_none()
    }

    /// How long until each timer of [`Conn::after`] and [`Conn::every`] fires, the next one first.
    pub fn timers(&self) -> Vec<Duration> {
        self.connection.timers()
    }

    /// The topics that the connection has joined, in alphabetical order.
    pub fn topics(&self) -> Vec<Arc<str>> {
        let Some(conn) = self.connection.conn() else { return Vec::new() };
        let names = self.pool.topics().into_iter().map(|(name, _)| name);
        let mut joined: Vec<_> = names.filter(|name| self.pool.topic(name).members().contains(&conn.id())).collect();
        joined.sort();
        joined
    }

    /// The names that the connection has registered, in alphabetical order.
    pub fn names(&self) -> Vec<Arc<str>> {
        let Some(conn) = self.connection.conn() else { return Vec::new() };
        let is_own = |name: &Arc<str>| self.pool.whereis(name).is_some_and(|owner| owner.id() == conn.id());
        let mut own: Vec<_> = self.pool.names().into_iter().filter(is_own).collect();
        own.sort();
        own
    }

    /// Lets time pass until `done`. Returns whether it is.
    async fn pass(&mut self, time: Duration, done: impl Fn(&SteppedConnection<P>) -> bool) -> bool {
        let mut end = pin!(sleep(time));
        poll_fn(|cx| {
            self.connection.poll(cx.waker());
            self.client.drain();
            if done(&self.connection) {
                Poll::Ready(true)
            } else {
                end.as_mut().poll(cx).map(|()| false)
            }
        })
        .await
    }

    fn take_step(&mut self) -> Step {
        Step {
            calls: self.connection.take_calls(),
            sent: self.client.received.split().freeze(),
            closed: self.connection.closed(),
        }
    }

    fn not_within(&self, expected: &str) -> String {
        match self.connection.closed() {
            Some((_, why)) => format!("{expected}, but the connection ended: {why}"),
            None => format!("{expected}, but there was none within 24 hours"),
        }
    }

    #[track_caller]
    fn fail_ended(&self) -> ! {
        let why = self.connection.closed().map(|(_, why)| why).unwrap_or_default();
        fail(Location::caller(), format_args!("the connection has ended: {why}"))
    }
}

impl<P: Protocol> fmt::Debug for Stepper<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stepper").field("conn", &self.connection.conn()).finish_non_exhaustive()
    }
}
