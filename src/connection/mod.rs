//! The actor that drives one [`Protocol`] over one socket.
//!
//! ```text
//! socket ─read─▶ shared buffer ─codec─▶ packet ─▶ Protocol ─▶ Next ─▶ write buffer ─one write a turn─▶ socket
//!                                     mailbox ─▶ user ──▲
//!                       orders and ticks of the table ──┘
//! ```
//!
//! One future per connection, [`ConnectionTask`]: each poll is a [`turn`](Connection::turn). Every callback's answer goes through
//! [`apply`](Connection::apply), every ending through [`end`](Connection::end).

mod close;
mod closed;
mod conn;
mod context;
mod event;
mod factory;
mod handshake;
mod messages;
mod next;
mod protocol;
mod read;
mod turn;
mod write;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix::dev::channel::{channel, AddressReceiver};
use actix::prelude::*;
use actix::WeakAddr;

use crate::handshake::{Handshake, HandshakeChain, HandshakeFuture};
use crate::net::Stream;
use crate::panic::catch_panic;
use crate::registry::{ConnectionGuard, Signals};

pub use closed::Closed;
pub(crate) use conn::Held;
pub use conn::{Active, Conn, SendError};
pub use context::ConnectionContext;
pub use event::{Event, Timeout};
pub(crate) use factory::{Factory, MakeCodec, ProtocolFactory, Reconfigure, SharedFactory, Terms};
pub use messages::{Close, Encoded, Info, Reply, SetActive, User};
pub(crate) use next::Pending;
pub use next::{Next, Wait};
pub use protocol::{EncodeOnce, Packet, Peer, Protocol};

/// A connection actor: a [`Protocol`] and the socket it serves.
///
/// Its address is actix's own [`Addr`]. Besides the messages of this crate ([`User`], [`Reply`], [`Close`], [`Info`],
/// [`SetActive`], [`Encoded`]) it takes any for which you write a handler; [`Connection::with`] reaches the protocol and
/// the connection from there. A connection is never restarted: its peer is gone.
///
/// The mailbox holds [`mailbox_capacity`](crate::Builder::mailbox_capacity) messages for `try_send` and `send`; actix's
/// `do_send` ignores the capacity.
///
/// ```
/// use actix::prelude::*;
/// use actix_acceptor::{AcceptorPool, Conn, Connection, ConnectionContext, Framing, Next, Protocol};
/// use bytes::Bytes;
///
/// struct Counter { packets: u64 }
/// impl Protocol for Counter {
///     type Codec = Framing;
///     type Reply = Bytes;
///     type User = ();
///     fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
///         self.packets += 1;
///         Next::Send(packet)
///     }
/// }
///
/// /// A question of our own, asked through the connection's address.
/// #[derive(Message)]
/// #[rtype(result = "u64")]
/// struct HowMany;
///
/// impl Handler<HowMany> for Connection<Counter> {
///     type Result = u64;
///     fn handle(&mut self, _: HowMany, ctx: &mut ConnectionContext<Counter>) -> u64 {
///         self.with(ctx, |me, _conn| (me.packets, Next::Continue))
///     }
/// }
///
/// # use std::io::{Read, Write};
/// # actix_rt::System::new().block_on(async {
/// let pool = AcceptorPool::with_protocol(|_| Counter { packets: 0 }).bind("127.0.0.1:0").await?;
/// # let addr = pool.local_addr().expect("TCP");
/// # let _peer = tokio::task::spawn_blocking(move || -> std::io::Result<_> {
/// #     let mut peer = std::net::TcpStream::connect(addr)?;
/// #     peer.write_all(b"hello")?;
/// #     peer.read_exact(&mut [0; 5])?;
/// #     Ok(peer)
/// # }).await??;
/// // A peer has connected and sent one packet.
/// let id = pool.list()[0].id;
/// let address: Addr<Connection<Counter>> = pool.find(id).expect("it lives");
/// assert_eq!(address.send(HowMany).await?, 1);
/// # pool.stop(None).await;
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
/// ```
pub struct Connection<P: Protocol> {
    me: P,
    begun: bool,
    /// There may be mail: the mailbox is looked at only then.
    mail: bool,
    /// Bytes have come that the codec has not seen.
    undecoded: bool,
    eof: bool,
    half_closed: bool,
    /// A stream with a layer of its own has not yet passed on all that was written to it.
    unflushed: bool,
    ended: bool,
    cold: Option<Box<ColdState<P>>>,
    conn: Conn<P>,
}

/// What only a connection in a special state needs.
struct ColdState<P: Protocol> {
    /// Each with what the callback that waits was called for: its answer is still to come.
    waits: VecDeque<(Trigger, Pending<P>)>,
    /// A future was added and not yet polled.
    unpolled: bool,
    why: Option<Closed>,
    /// On its way to being ready, or to TLS.
    opening: Option<HandshakeFuture>,
    /// What to go through once all is sent that was queued before.
    upgrade: Option<Arc<dyn Handshake>>,
    linger: close::Linger,
}

impl<P: Protocol> Unpin for Connection<P> {}

impl<P: Protocol> Actor for Connection<P> {
    type Context = ConnectionContext<P>;
}

/// A connection before it is alive: the address is known, the protocol's state not yet made.
pub(crate) struct Birth<P: Protocol> {
    mailbox: AddressReceiver<Connection<P>>,
    context: ConnectionContext<P>,
}

impl<P: Protocol> Birth<P> {
    /// Makes the mailbox, and enters its address with the seat.
    pub(crate) fn new(guard: &ConnectionGuard, factory: &ProtocolFactory<P>) -> Self {
        let (sender, mailbox) = channel(factory.terms.mailbox);
        let address = Addr::new(sender).downgrade();
        guard.state().set_address(address.clone());
        Birth { mailbox, context: ConnectionContext::new(address) }
    }

    /// Lets the connection live on the current arbiter.
    pub(crate) fn live(
        self,
        me: P,
        codec: P::Codec,
        io: Stream,
        steps: Option<Box<HandshakeChain>>,
        factory: Arc<ProtocolFactory<P>>,
        guard: ConnectionGuard,
    ) {
        let conn = Conn::new(io, steps, codec, factory, guard);
        let connection = Connection {
            me,
            begun: false,
            mail: true,
            undecoded: false,
            eof: false,
            half_closed: false,
            unflushed: false,
            ended: false,
            cold: None,
            conn,
        };
        actix_rt::spawn(ConnectionTask { connection, mailbox: self.mailbox, context: self.context });
    }
}

/// The life of a connection: a future that is polled once a turn.
struct ConnectionTask<P: Protocol> {
    connection: Connection<P>,
    mailbox: AddressReceiver<Connection<P>>,
    context: ConnectionContext<P>,
}

impl<P: Protocol> Future for ConnectionTask<P> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let ConnectionTask { connection, mailbox, context } = self.get_mut();
        Turn::begin(connection).0.turn(mailbox, context, cx)
    }
}

/// A connection whose turn it is, marked as such for the watchdog; however the turn ends, the mark goes with it.
struct Turn<'a, P: Protocol>(&'a mut Connection<P>);

impl<'a, P: Protocol> Turn<'a, P> {
    #[inline]
    fn begin(connection: &'a mut Connection<P>) -> Self {
        connection.conn.guard.begin_work();
        Turn(connection)
    }
}

impl<P: Protocol> Drop for Turn<'_, P> {
    #[inline]
    fn drop(&mut self) {
        self.0.conn.guard.end_work();
    }
}

impl<P: Protocol> Conn<P> {
    /// The connection's own address: to give to others, or for messages to itself.
    ///
    /// # Panics
    /// Never in a callback: the mailbox lives as long as the connection.
    pub fn address(&self) -> Addr<Connection<P>> {
        let address = self.guard.state().address().and_then(|any| any.downcast_ref::<WeakAddr<Connection<P>>>());
        address.and_then(WeakAddr::upgrade).expect("a connection's mailbox lives as long as the connection")
    }
}

impl<P: Protocol> Connection<P> {
    /// From a handler of one's own: reaches the protocol and the connection, and follows what is answered, exactly as
    /// with the callbacks of [`Protocol`].
    ///
    /// Handlers run only while the connection is open and not waiting. A panic in the handler ends this connection.
    pub fn with<R>(
        &mut self,
        ctx: &mut ConnectionContext<P>,
        callback: impl FnOnce(&mut P, &mut Conn<P>) -> (R, Next<P>),
    ) -> R {
        let _ = ctx;
        let (answer, next) = callback(&mut self.me, &mut self.conn);
        self.apply(next, Trigger::Own);
        answer
    }

    /// One callback, under the guard.
    fn step(&mut self, trigger: Trigger, callback: impl FnOnce(&mut P, &mut Conn<P>) -> Next<P>) {
        self.conn.guard.go_on();
        let stepped = catch_panic(|| {
            let next = callback(&mut self.me, &mut self.conn);
            // Under the guard as well: the codec that encodes a reply is not ours.
            self.apply(next, trigger);
        });
        if let Err(text) = stepped {
            self.end(Closed::Panic(text));
        }
    }

    /// Does what a callback answered.
    #[inline(always)]
    fn apply(&mut self, next: Next<P>, trigger: Trigger) {
        match next {
            Next::Continue => {}
            Next::Send(reply) if !self.conn.closing() => {
                if let Err(error) = self.conn.encode(reply) {
                    self.close(Closed::Error(error.into()));
                }
            }
            next => self.apply_slow(next, trigger),
        }
        if self.conn.queued() > self.conn.high_watermark {
            self.conn.held |= Held::ABOVE_MARK;
        }
    }

    #[cold]
    fn apply_slow(&mut self, next: Next<P>, trigger: Trigger) {
        match next {
            // Too late: the connection is ending.
            Next::Continue | Next::Send(_) => {}
            Next::Stop => self.close(trigger.closed()),
            Next::SendAndStop(reply) => {
                self.apply(Next::Send(reply), trigger);
                self.close(trigger.closed());
            }
            Next::Fail(error) => self.close(Closed::Error(error)),
            Next::Wait(wait) if !self.conn.closing() => {
                self.conn.held |= Held::WAITING;
                let cold = self.cold();
                cold.unpolled = true;
                cold.waits.push_back((trigger, wait.0));
            }
            Next::Upgrade(step) if !self.conn.closing() => {
                self.conn.held |= Held::UPGRADING;
                self.cold().upgrade = Some(*step);
            }
            Next::File(file) if !self.conn.closing() => self.conn.queue_file(*file),
            Next::Wait(_) | Next::Upgrade(_) | Next::File(_) => {}
        }
    }

    fn cold(&mut self) -> &mut ColdState<P> {
        self.cold.get_or_insert_with(|| {
            Box::new(ColdState {
                waits: VecDeque::new(),
                unpolled: false,
                why: None,
                opening: None,
                upgrade: None,
                linger: Default::default(),
            })
        })
    }

    #[inline]
    fn waiting(&self) -> bool {
        self.conn.held & Held::WAITING != 0
    }

    #[inline]
    fn ready(&self) -> bool {
        self.conn.held & Held::NEW == 0
    }

    /// Whether a handshake is before it, or under way.
    fn opens(&self) -> bool {
        self.conn.steps.is_some() || self.cold.as_ref().is_some_and(|cold| cold.opening.is_some())
    }

    #[inline]
    fn upgrading(&self) -> bool {
        self.conn.held & Held::UPGRADING != 0
    }

    /// Whether packets and messages are taken in.
    #[inline]
    fn open(&self) -> bool {
        self.conn.held == 0
    }
}

/// What a callback was called for: decides what a `Stop` in it means.
#[derive(Clone, Copy)]
enum Trigger {
    /// A packet, a message: the connection's own decision.
    Own,
    Idle,
    PacketTimeout,
    HalfClosed,
    Shutdown,
}

impl Trigger {
    fn closed(self) -> Closed {
        match self {
            Trigger::Own => Closed::Local,
            Trigger::Idle => Closed::Idle,
            Trigger::PacketTimeout => Closed::PacketTimeout,
            Trigger::HalfClosed => Closed::Peer(None),
            Trigger::Shutdown => Closed::Shutdown,
        }
    }
}

impl<P: Protocol> Drop for Connection<P> {
    /// The arbiter stopped, or the driver itself was unwound: the one `closed` all the same.
    fn drop(&mut self) {
        if !self.ended {
            let killed = self.conn.guard.state().signals() & Signals::KILL != 0;
            let why = self.cold.as_mut().and_then(|cold| cold.why.take()).filter(|_| !killed);
            self.end(why.unwrap_or(Closed::Killed));
        }
    }
}
