//! [`Protocol`], the callbacks that a user implements for a connection.
//!
//! ```text
//! init ─▶ ack ─▶ packet | decode_error | user | timeout | half_closed | passive | shutdown ─▶ ... ─▶ closed
//!                each returns a Next; closed is always called last, exactly once
//! ```

use tokio::time::Instant;
use tokio_util::codec::{Decoder, Encoder};

use super::{Closed, Conn, Next, Timeout};
use crate::error::BoxError;
use crate::limits::ListenerLimits;
use crate::registry::{ConnectionInfo, ConnectionState};

/// The type of a protocol's packets: the item that its codec decodes.
pub type Packet<P> = <<P as Protocol>::Codec as Decoder>::Item;

/// The behaviour of a connection. There is one value per connection; its fields are the connection's state.
///
/// Only [`packet`](Protocol::packet) is required. All callbacks of a connection run on its arbiter, one at a time, so
/// the type need not be `Send`. A callback must not block the thread; see [`Conn::wait`] and [`Conn::blocking`]. A
/// panic in a callback ends only this connection.
///
/// When a callback returns [`Next::Stop`] or [`Next::SendAndStop`], the reason depends on the callback:
/// [`Closed::Idle`] or [`Closed::PacketTimeout`] for [`timeout`](Protocol::timeout), [`Closed::Peer`] for
/// [`half_closed`](Protocol::half_closed), [`Closed::Shutdown`] for [`shutdown`](Protocol::shutdown), that of the error for
/// [`decode_error`](Protocol::decode_error), and [`Closed::Local`] otherwise. During a drain, `Local` and `Peer` become
/// `Shutdown`.
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
///         Next::send(self.0.to_string())
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
    /// The codec: [`Framing`](crate::Framing), a codec of tokio-util, or your own.
    type Codec: Decoder<Error: Into<BoxError>> + Encoder<Self::Reply, Error: Into<BoxError>> + 'static;

    /// The type of the replies that this connection sends: what the codec encodes. [`Framing`](crate::Framing) encodes
    /// [`Bytes`](bytes::Bytes); [`Next::send`] converts strings to them.
    type Reply: Send + 'static;

    /// The type of the messages that the program sends to this connection, wrapped in [`User`](crate::User). Use `()`
    /// or [`Infallible`](std::convert::Infallible) if there are none.
    type User: Send + 'static;

    /// Called first, when the socket was accepted, before any handshake.
    ///
    /// Bytes sent here are written once the connection is ready. [`Next::Stop`] closes the connection without a
    /// handshake.
    ///
    /// Default: [`Next::Continue`].
    fn init(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        let _ = conn;
        Next::Continue
    }

    /// Called once the connection is ready, before any packet or message.
    ///
    /// Default: [`Next::Continue`].
    fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        let _ = conn;
        Next::Continue
    }

    /// Called for each packet that the peer sent.
    ///
    /// The callback is not `async`: to wait for something, return [`Conn::wait`]. To use `?`, call a function that returns a
    /// `Result`, followed by `.unwrap_or_else(Next::fail)`.
    fn packet(&mut self, packet: Packet<Self>, conn: &mut Conn<Self>) -> Next<Self>;

    /// Called when the codec cannot decode what the peer sent: a packet is longer than allowed, or malformed.
    ///
    /// [`Next::Stop`] and [`Next::SendAndStop`] end the connection with the reason of the error: [`Closed::TooLong`] or
    /// [`Closed::Error`].
    ///
    /// [`Next::Continue`] and [`Next::Send`] let the codec go on, for codecs that skip what they cannot decode, such as
    /// tokio-util's `LinesCodec`, and for a callback that changes the codec ([`Conn::codec_mut`]). If the codec fails again
    /// without having consumed a byte in between, as [`Framing`](crate::Framing) does, the connection closes with the error
    /// and this is not called.
    ///
    /// If another codec than `Framing` leaves more bytes than
    /// [`max_read_buffer`](crate::Builder::max_read_buffer), the error is a
    /// [`FramingError::TooLong`](crate::framing::FramingError::TooLong), and the connection closes after this callback in any
    /// case. This is not called for a packet that the end of input has cut off.
    ///
    /// Default: [`Next::Stop`].
    ///
    /// ```
    /// use actix_acceptor::{framing::FramingError, prelude::*};
    /// use bytes::Bytes;
    ///
    /// struct Lines;
    ///
    /// impl Protocol for Lines {
    ///     type Codec = Framing;
    ///     type Reply = Bytes;
    ///     type User = ();
    ///
    ///     fn packet(&mut self, line: Bytes, _: &mut Conn<Self>) -> Next<Self> {
    ///         Next::Send(line)
    ///     }
    ///
    ///     fn decode_error(&mut self, error: &BoxError, _: &mut Conn<Self>) -> Next<Self> {
    ///         match error.downcast_ref() {
    ///             Some(FramingError::TooLong { limit, .. }) => {
    ///                 Next::SendAndStop(format!("a line has at most {limit} bytes").into())
    ///             }
    ///             _ => Next::Stop,
    ///         }
    ///     }
    /// }
    ///
    /// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
    /// # actix_rt::System::new().block_on(async {
    /// let framing = Framing::lines().with_max_frame(5);
    /// let pool = AcceptorPool::with_protocol(|_| Lines).framing(framing).bind("127.0.0.1:0").await?;
    /// # let mut peer = tokio::net::TcpStream::connect(pool.local_addr().expect("TCP")).await?;
    /// # peer.write_all(b"hello\nhello, world\n").await?;
    /// # let mut received = String::new();
    /// # peer.read_to_string(&mut received).await?;
    /// // The peer sends "hello" and "hello, world", and receives:
    /// assert_eq!(received, "hello\na line has at most 5 bytes\n");
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    fn decode_error(&mut self, error: &BoxError, conn: &mut Conn<Self>) -> Next<Self> {
        let _ = (error, conn);
        Next::Stop
    }

    /// Called for each message that the program sent, each item of a stream added with [`Conn::add_stream`], and each message
    /// of a timer ([`Conn::after`], [`Conn::every`]).
    ///
    /// Default: [`Next::Continue`]; the message is dropped.
    fn user(&mut self, message: Self::User, conn: &mut Conn<Self>) -> Next<Self> {
        let _ = (message, conn);
        Next::Continue
    }

    /// Called when the peer was silent for as long as the idle timeout, or did not complete a packet within the packet
    /// timeout.
    ///
    /// [`Next::Continue`] starts the timeout again. The bytes of an incomplete packet are in [`Timeout::Packet`]; they
    /// are discarded afterwards.
    ///
    /// Default: [`Next::Stop`].
    fn timeout(&mut self, timeout: Timeout, conn: &mut Conn<Self>) -> Next<Self> {
        let _ = (timeout, conn);
        Next::Stop
    }

    /// Called when the peer has shut down its sending side, after all its packets were delivered.
    ///
    /// With [`half_close`](crate::Builder::half_close) off (the default), the connection ends after this callback.
    /// A reply that it returns is still sent, and a wait that it returns is still completed. With `half_close` on, the
    /// connection stays open unless this callback stops it.
    ///
    /// Default: [`Next::Continue`].
    fn half_closed(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        let _ = conn;
        Next::Continue
    }

    /// Called when the last packet of a [`Count`](crate::Active::Count) was delivered and the socket became passive, as
    /// `tcp_passive` in Erlang's `inet`.
    ///
    /// Default: [`Next::Continue`].
    fn passive(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        let _ = conn;
        Next::Continue
    }

    /// Called when the pool shuts down. If the connection is waiting for a future, this is called after the wait.
    ///
    /// A connection that stays open is ended at `deadline`, a [`tokio::time::Instant`]; `None` means that there is no deadline.
    ///
    /// Default: [`Next::Stop`].
    fn shutdown(&mut self, deadline: Option<Instant>, conn: &mut Conn<Self>) -> Next<Self> {
        let _ = (deadline, conn);
        Next::Stop
    }

    /// The size of a reply in bytes, for the bound of the [`Outbox`](crate::Outbox) until the connection has encoded it.
    ///
    /// Called for replies that the connection itself encodes, as with codecs other than [`Framing`](crate::Framing). A size of
    /// less than 64 counts as 64. Override it if replies own memory, so that a fast sender cannot queue too much.
    ///
    /// Default: the length of `Bytes`, `BytesMut`, `Vec<u8>`, `String` and `&'static str`, else `size_of::<Reply>()`.
    fn reply_size(reply: &Self::Reply) -> usize {
        super::outbox::size_of_reply(reply)
    }

    /// Called when the connection has ended, with the reason and its final numbers: exactly once, last, on every path.
    ///
    /// `info` names the connection and its peer, so that the protocol need not keep them. It counts all packets that were
    /// delivered, and the bytes that the socket accepted.
    ///
    /// ```
    /// use actix_acceptor::prelude::*;
    /// use bytes::Bytes;
    ///
    /// struct Echo;
    ///
    /// impl Protocol for Echo {
    ///     type Codec = Framing;
    ///     type Reply = Bytes;
    ///     type User = ();
    ///
    ///     fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
    ///         Next::Send(packet)
    ///     }
    ///
    ///     fn closed(&mut self, why: &Closed, info: &ConnectionInfo) {
    ///         println!("{} from {} after {} packets: {why}", info.id, info.peer, info.packets);
    ///     }
    /// }
    /// ```
    fn closed(&mut self, why: &Closed, info: &ConnectionInfo) {
        let _ = (why, info);
    }
}

/// A new peer, as passed to the factories that make its [`Protocol`] and its codec.
#[derive(Clone)]
#[non_exhaustive]
pub struct Peer {
    /// The id of the connection.
    pub id: crate::telemetry::ConnectionId,
    /// The address of the socket's peer. No PROXY header has been read yet.
    pub address: crate::net::Address,
    /// The name of the listener that accepted it.
    pub listener: std::sync::Arc<str>,
    pub(super) limits: std::sync::Arc<ListenerLimits>,
}

impl Peer {
    pub(super) fn new(state: &ConnectionState) -> Self {
        let (address, limits) = (state.socket_peer().clone(), state.listener().clone());
        Peer { id: state.id(), address, listener: limits.name().clone(), limits }
    }
}
