//! The actor that drives one [`Protocol`] over one socket.
//!
//! ```text
//! socket ─read─▶ shared buffer ─codec─▶ packet ─▶ Protocol ─▶ Next ─▶ write buffer ─one write a turn─▶ socket
//!                                     mailbox ─▶ user ──▲
//!               registry: signals, deadlines ──▶ timeout, shutdown
//! ```
//!
//! A connection is one future, [`ConnectionTask`]; each poll is a [`turn`](Connection::turn). Every callback runs in
//! [`call`](Connection::call), every ending goes through [`end`](Connection::end) and the
//! [`ConnectionGuard`].
//!
//! ```text
//! init ─▶ handshake ─▶ ack ─▶ packet | decode_error | user | timeout | half_closed | passive | shutdown ─▶ ... ─▶ closed
//! ```

mod background;
mod blocking;
mod close;
mod closed;
mod codec;
mod codec_factory;
mod cold;
mod conn;
mod context;
mod decode_error;
mod detach;
mod encode_once;
mod env;
mod event;
mod factory;
mod fill;
mod flushed;
mod handshake;
mod messages;
mod next;
mod outbox;
mod packet_rate;
mod passive;
mod phase;
mod protocol;
mod read;
mod send_error;
mod shutdown_write;
mod span;
#[cfg(feature = "testing")]
mod stepping;
mod streams;
mod timers;
mod trigger;
mod turn;
mod wait;
mod waits;
mod write;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix::prelude::*;

use crate::config::{Active, Config};
use crate::handshake::HandshakeChain;
use crate::net::Stream;
use crate::panic::catch_panic;
use crate::registry::{ConnectionGuard, Signals};
use crate::telemetry::CloseReason;

pub use closed::Closed;
pub use codec_factory::CodecFactory;
pub(crate) use codec_factory::MakeCodec;
pub use conn::Conn;
pub use context::ConnectionContext;
pub use encode_once::{EncodeOnce, StatelessEncoder};
pub use event::{Event, Timeout};
pub(crate) use factory::{MakeProtocol, ProtocolFactory, SharedFactory};
pub use flushed::{FlushError, Flushed};
pub use messages::{Close, Encoded, Info, Reply, SetActive, User};
pub use next::Next;
pub(crate) use outbox::own;
pub use outbox::{Outbox, OutboxError};
pub use protocol::{Packet, Peer, Protocol};
pub use send_error::SendError;
#[cfg(feature = "testing")]
pub use stepping::{Callback, NextKind};
#[cfg(feature = "testing")]
pub(crate) use stepping::{ExpectedConnection, SteppedConnection};
pub use streams::StreamKey;
pub use timers::TimerKey;
pub use wait::{PendingWait, Wait, WaitEnded};

use background::Background;
use cold::ColdState;
use phase::{Flags, Paused, Phase};
use trigger::Trigger;

/// The actor of one connection: a [`Protocol`] and its socket.
///
/// Its address is an actix [`Addr`]. It handles [`User`] and [`Reply`], the messages in [`messages`](crate::messages),
/// and every message type of your own crate for which you implement `Handler`; for messages of other crates see
/// [`ConnectionContext`]. A handler accesses the protocol and the connection with [`Connection::with`]. A connection is never
/// restarted, since its peer is gone. What bounds the messages in its mailbox: see [`messages`](crate::messages#the-mailbox).
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
/// /// A request that is sent to the connection's address.
/// #[derive(Message)]
/// #[rtype(result = "u64")]
/// struct HowMany;
///
/// impl Handler<HowMany> for Connection<Counter> {
///     type Result = u64;
///     fn handle(&mut self, _: HowMany, _: &mut ConnectionContext<Counter>) -> u64 {
///         self.with(|me, _conn| (me.packets, Next::Continue))
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
/// let address: Addr<Connection<Counter>> = pool.find(id).expect("a live connection");
/// assert_eq!(address.send(HowMany).await?, 1);
/// # pool.stop(None).await;
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
/// ```
pub struct Connection<P: Protocol> {
    me: P,
    cold: Option<Box<ColdState<P>>>,
    conn: Conn<P>,
}

impl<P: Protocol> Unpin for Connection<P> {}

impl<P: Protocol> Actor for Connection<P> {
    type Context = ConnectionContext<P>;
}

impl<P: Protocol> Connection<P> {
    /// Starts serving an accepted connection on the current arbiter.
    pub(crate) fn spawn(
        factory: Arc<ProtocolFactory<P>>,
        stream: Stream,
        guard: ConnectionGuard,
        handshake: Option<Box<HandshakeChain>>,
        config: Arc<Config>,
    ) {
        let state = guard.state();
        state.set_addressable(config.settings.mailbox_capacity);
        let peer = Peer::new(state);
        let activity = guard.begin_activity();
        // The codec first: `closed` must be called for every protocol that was made.
        let made = catch_panic(|| (factory.make_codec(&peer), factory.make_protocol(&peer)));
        drop(activity);
        match made {
            Ok((codec, me)) => {
                state.set_format(factory.format(&codec, guard.registry().shared()));
                let conn = Conn::new(stream, handshake, codec, factory, config, guard);
                let connection = Connection { me, cold: None, conn };
                let task = ConnectionTask { connection, context: ConnectionContext::new() };
                #[cfg(feature = "testing")]
                let Some(task) = stepping::offer(task) else {
                    return;
                };
                actix_rt::spawn(task);
            }
            Err(text) => {
                guard.set_close_reason(CloseReason::Panic, Some(format!("the factory panicked: {text}")));
                drop(stream);
            }
        }
    }

    /// Runs `callback` with the protocol and the connection, and applies the [`Next`] that it returns as for the
    /// callbacks of [`Protocol`]. Meant for message handlers.
    ///
    /// Message handlers run only while the connection is ready and not waiting, or waiting with
    /// [`Wait::with_messages`]. A panic in a handler ends only this
    /// connection.
    pub fn with<R>(&mut self, callback: impl FnOnce(&mut P, &mut Conn<P>) -> (R, Next<P>)) -> R {
        let mut result = None;
        self.call(Trigger::Own, |me, conn| {
            let (value, next) = callback(me, conn);
            result = Some(value);
            next
        });
        self.update_held();
        result.expect("the callback ran")
    }

    /// Sets in the context whether messages are still handled.
    #[inline]
    fn update_held(&self) {
        if let Some(held) = self.cold.as_ref().and_then(|cold| cold.held.as_ref()) {
            held.set(!self.takes_messages());
        }
    }

    /// Runs one callback and applies the [`Next`] that it returns. All callbacks except `closed` run here. The caller
    /// catches panics, once for several callbacks in a row.
    #[inline(always)]
    fn call(&mut self, trigger: Trigger, callback: impl FnOnce(&mut P, &mut Conn<P>) -> Next<P>) {
        let next = callback(&mut self.me, &mut self.conn);
        #[cfg(feature = "testing")]
        self.record_call(trigger, &next);
        self.apply(next, trigger);
    }

    /// Runs one callback under the panic guard.
    fn call_caught(&mut self, trigger: Trigger, callback: impl FnOnce(&mut P, &mut Conn<P>) -> Next<P>) {
        self.conn.guard.next_callback();
        // Encoding the reply is under the guard as well: the codec is user code.
        if let Err(text) = catch_panic(|| self.call(trigger, callback)) {
            self.end(Closed::Panic(text));
        }
    }

    /// Applies the return value of a callback.
    #[inline(always)]
    fn apply(&mut self, next: Next<P>, trigger: Trigger) {
        match next {
            Next::Continue => {}
            Next::Send(reply) if self.conn.can_send() => {
                if let Err(error) = self.conn.encode(reply) {
                    self.close(Closed::Error(error.into()));
                }
            }
            next => self.apply_slow(next, trigger),
        }
        if self.conn.queued() > self.conn.config.settings.high_watermark {
            self.conn.paused.insert(Paused::ABOVE_MARK);
        }
    }

    #[cold]
    fn apply_slow(&mut self, next: Next<P>, trigger: Trigger) {
        match next {
            Next::Continue => {}
            Next::Send(_) => self.refuse_reply(),
            Next::SendAll(replies) => {
                for reply in replies {
                    // Once a reply has failed, the connection is closing, and the others are dropped.
                    self.apply(Next::Send(reply), trigger);
                }
            }
            Next::Stop => {
                let why = self.closed_by(trigger);
                self.close(why);
            }
            Next::SendAndStop(reply) => {
                self.empty_outbox();
                self.apply(Next::Send(reply), trigger);
                let why = self.closed_by(trigger);
                self.close(why);
            }
            Next::Fail(error) => self.close(Closed::Error(error)),
            Next::Reset => {
                self.conn.io.reset_on_drop();
                self.end(Closed::Local(None));
            }
            Next::Detach(then) => self.detach(then),
            Next::StopBecause(reason) => self.close(Closed::Local(Some(reason))),
            Next::Wait(wait) if !self.conn.is_closing() => {
                self.conn.paused.insert(Paused::WAITING);
                self.record_waiting(true);
                let cold = self.cold();
                cold.wait_added = true;
                cold.waits.push_back((trigger, wait));
            }
            // A handshake that `init` returned runs after those of the listener.
            Next::Upgrade(step) if self.conn.phase() < Phase::Ready => self.add_handshake(*step),
            Next::Upgrade(step) if self.conn.can_send() => {
                self.conn.paused.insert(Paused::UPGRADING);
                self.cold().upgrade = Some(*step);
            }
            Next::File(file) if self.conn.can_send() => self.conn.queue_file(*file),
            Next::Wait(_) => {}
            Next::Upgrade(_) | Next::File(_) => self.refuse_reply(),
        }
    }

    /// Whether a handshake has not started or is in progress.
    fn has_handshake(&self) -> bool {
        self.conn.handshake.is_some() || self.cold.as_ref().is_some_and(|cold| cold.handshake.is_some())
    }

    /// Whether packets and messages are handled.
    #[inline]
    fn is_open(&self) -> bool {
        self.conn.paused.is_empty()
    }

    #[inline]
    fn has(&self, flag: Flags) -> bool {
        self.conn.flags.contains(flag)
    }
}

/// A connection as a future: each poll is a turn.
struct ConnectionTask<P: Protocol> {
    connection: Connection<P>,
    context: ConnectionContext<P>,
}

impl<P: Protocol> Future for ConnectionTask<P> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.connection.conn.guard.may_have_span() {
            return this.turn_in_span(cx);
        }
        let ConnectionTask { connection, context } = this;
        Turn::begin(connection).0.turn(context, cx)
    }
}

/// A connection during its turn. It is marked for the watchdog until this guard is dropped.
struct Turn<'a, P: Protocol>(&'a mut Connection<P>);

impl<'a, P: Protocol> Turn<'a, P> {
    #[inline]
    fn begin(connection: &'a mut Connection<P>) -> Self {
        connection.conn.guard.mark_activity();
        Turn(connection)
    }
}

impl<P: Protocol> Drop for Turn<'_, P> {
    #[inline]
    fn drop(&mut self) {
        self.0.conn.guard.unmark_activity();
        if std::thread::panicking() {
            // A user-defined stream panicked outside any guard: only the panic hook has the message.
            self.0.end(Closed::Panic("panicked outside a callback".into()));
        }
    }
}

impl<P: Protocol> Conn<P> {
    /// The address of this connection's actor.
    pub fn address(&self) -> Addr<Connection<P>> {
        self.guard.state().address().expect("a connection has a mailbox as long as it lives")
    }
}

impl<P: Protocol> Drop for Connection<P> {
    // Calls `closed` if the arbiter stopped or the turn itself panicked.
    fn drop(&mut self) {
        if self.conn.phase() < Phase::Closed {
            let killed = self.conn.guard.state().signals().contains(Signals::KILL);
            let why = self.cold.as_mut().and_then(|cold| Self::unfinished(cold.why.take())).filter(|_| !killed);
            let cause = self.conn.guard.state().cause();
            let span = self.conn.guard.span().cloned();
            let _entered = span.as_ref().map(|span| span.enter());
            self.end(why.unwrap_or_else(|| Closed::killed(cause)));
        }
    }
}

impl<P: Protocol> std::fmt::Debug for Connection<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.conn.id())
            .field("phase", &self.conn.phase())
            .finish_non_exhaustive()
    }
}
