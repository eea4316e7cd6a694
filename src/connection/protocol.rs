//! What a user writes: the callbacks of a connection, what they are given and what they answer.
//!
//! ```text
//! init ─▶ ack ─▶ packet | user | timeout | half_closed | passive | shutdown ─▶ ... ─▶ closed
//!                each answers with a Next; whatever happens, closed comes last and once
//! ```

use std::time::Instant;

use tokio_util::codec::{Decoder, Encoder};

use super::{Closed, Conn, Next, Timeout};
use crate::error::BoxError;
use crate::framing::Framing;

/// What one packet of a protocol is: what its codec decodes to.
pub type Packet<P> = <<P as Protocol>::Codec as Decoder>::Item;

/// The behaviour of a connection: one value per connection, its fields are the connection's state.
///
/// Only [`packet`](Protocol::packet) is required. Every callback runs on the connection's own arbiter, never two of one
/// connection at a time, so the state needs no `Send`; a callback must not block the thread (see [`Conn::wait`] and
/// [`Conn::blocking`]). A panic in one ends this connection and no other.
///
/// A `Stop` or `SendAndStop` answered to an event ends the connection with the event's reason: out of
/// [`timeout`](Protocol::timeout) it is [`Closed::Idle`] or [`Closed::PacketTimeout`], out of
/// [`half_closed`](Protocol::half_closed) it is [`Closed::Peer`], after [`shutdown`](Protocol::shutdown) it is
/// [`Closed::Shutdown`], else [`Closed::Local`].
///
/// ```
/// use actix_acceptor::{AcceptorPool, Conn, Framing, Next, Protocol};
/// use bytes::Bytes;
///
/// struct Counter(u64);
///
/// impl Protocol for Counter {
///     type Codec = Framing;
///     type Reply = Bytes;
///     type User = ();
///
///     fn packet(&mut self, _: Bytes, _: &mut Conn<Self>) -> Next<Self> {
///         self.0 += 1;
///         Next::Send(Bytes::from(self.0.to_string()))
///     }
/// }
///
/// # use std::io::{BufRead, BufReader, Write};
/// # actix_rt::System::new().block_on(async {
/// let pool = AcceptorPool::with_protocol(|_| Counter(0)).framing(Framing::lines()).bind("127.0.0.1:0").await?;
/// # let addr = pool.local_addr().expect("TCP");
/// # let answer = tokio::task::spawn_blocking(move || -> std::io::Result<String> {
/// #     let mut peer = std::net::TcpStream::connect(addr)?;
/// #     peer.write_all(b"a\nb\n")?;
/// #     let mut lines = BufReader::new(peer).lines();
/// #     Ok(lines.next().expect("a line")? + &lines.next().expect("a line")?)
/// # }).await??;
/// # assert_eq!(answer, "12");
/// # pool.stop(None).await;
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
/// ```
pub trait Protocol: Sized + 'static {
    /// The codec: [`Framing`], or any of tokio-util's or one's own.
    type Codec: Decoder<Error: Into<BoxError>> + Encoder<Self::Reply, Error: Into<BoxError>> + 'static;

    /// What this connection sends.
    type Reply: Send + 'static;

    /// What the program may send to this connection, wrapped in [`User`](crate::User). `()` or
    /// [`Infallible`](std::convert::Infallible) where there is nothing.
    type User: Send + 'static;

    /// The socket was accepted: before everything else, and before any handshake.
    ///
    /// What is sent here leaves once the connection is ready; a stop closes without a handshake.
    fn init(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        let _ = conn;
        Next::Continue
    }

    /// The connection is ready: called once, before any packet and any message.
    fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        let _ = conn;
        Next::Continue
    }

    /// The peer sent a packet.
    fn packet(&mut self, packet: Packet<Self>, conn: &mut Conn<Self>) -> Next<Self>;

    /// The program sent a message, or a stream of [`Conn::add_stream`] yielded one.
    fn user(&mut self, message: Self::User, conn: &mut Conn<Self>) -> Next<Self> {
        let _ = (message, conn);
        Next::Continue
    }

    /// The peer was silent for the idle timeout, or left a packet half-sent for the packet timeout.
    ///
    /// Stops unless overridden. Going on gives the peer the same time again; the bytes of a half-sent packet are in
    /// [`Timeout::Packet`] and then forgotten.
    fn timeout(&mut self, timeout: Timeout, conn: &mut Conn<Self>) -> Next<Self> {
        let _ = (timeout, conn);
        Next::Stop
    }

    /// The peer has shut its sending side, and all it had sent before was delivered.
    ///
    /// With [`half_close`](crate::Builder::half_close) off, the default, the connection ends after this callback: what it
    /// sends still leaves, a future that it asks to wait for is still waited for. With it on the connection goes on, unless this
    /// stops it.
    fn half_closed(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        let _ = conn;
        Next::Continue
    }

    /// Called when the last packet of a [`Count`](crate::Active::Count) was delivered and the socket became passive, as
    /// `tcp_passive` in Erlang's `inet`.
    fn passive(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        let _ = conn;
        Next::Continue
    }

    /// The pool shuts down. Stops unless overridden. A connection that waits is told when the wait is over.
    ///
    /// A connection that goes on is ended at the deadline; `None` means that there is none.
    fn shutdown(&mut self, deadline: Option<Instant>, conn: &mut Conn<Self>) -> Next<Self> {
        let _ = (deadline, conn);
        Next::Stop
    }

    /// The connection is over, and this is why. Called exactly once, last, on every path.
    fn closed(&mut self, why: &Closed) {
        let _ = why;
    }
}

/// An encoder whose output does not depend on what it encoded before, nor later output on this one: what it encodes once
/// may be sent to many connections.
pub trait EncodeOnce {}

impl EncodeOnce for Framing {}

/// What a peer is to a factory: who it is, before there is any state for it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Peer {
    /// The number the connection will have.
    pub id: crate::telemetry::ConnectionId,
    /// The address of the socket's peer: no PROXY header has been read yet.
    pub address: crate::net::Address,
    /// The name of the listener it came by.
    pub listener: std::sync::Arc<str>,
}
