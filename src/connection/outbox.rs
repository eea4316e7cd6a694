//! [`Outbox`], through which other parts of the program send replies to a connection.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio_util::codec::Encoder;

use super::{Conn, EncodeOnce, Encoded, Protocol, SendError};
use crate::registry::{ConnectionState, Payload, Pushed, Registry, MAX_COPIED};
use crate::telemetry::ConnectionId;

/// Sends replies to one connection. Cheap to clone and usable from any thread.
///
/// Replies do not go through the mailbox and do not call the protocol. They are sent in every state from
/// [`ack`](Protocol::ack) on, also while the connection waits for a future or a blocking closure, except during an upgrade to
/// TLS. Replies sent before `ack` are queued until then. The replies of one sender arrive in the order in which they were
/// sent. They have no defined order relative to the answers of the connection's own callbacks: a callback that publishes to a
/// topic of its connection, and whose answer must follow, sends the answer through [`Conn::outbox`].
///
/// # Bounds
/// All senders together may have [`Builder::outbox`](crate::Builder::outbox) bytes pending: queued and not yet with the
/// kernel. If a reply does not fit because the outbox is full, the peer reads too slowly, and
/// [`SlowConsumer`](crate::limits::SlowConsumer) defines what happens. Answers of the connection's own callbacks do not count
/// towards this bound; they are bounded by the [watermarks](crate::Builder::watermarks). For the watermarks, bytes in the
/// outbox count as unsent.
///
/// A reply is encoded at once if the codec is a [`Framing`](crate::Framing) that was not changed with [`Conn::codec_mut`].
/// Otherwise the connection encodes it, since its codec may keep state. Until then the reply counts as
/// [`Protocol::reply_size`] bytes, and at least 64. If it cannot be encoded, the connection ends with
/// [`Closed::Error`](crate::Closed::Error) once the other replies are sent.
///
/// Type parameter: the connection's [`Protocol`], or `Bytes` for connections of any kind. `Outbox<Bytes>` sends bytes as they
/// are, without the codec. The owner of a [`Socket`](crate::Socket) takes them from [`Pushes`](crate::Pushes) and writes them.
pub struct Outbox<P> {
    registry: Arc<Registry>,
    state: Arc<ConnectionState>,
    replies: PhantomData<fn(P)>,
}

impl<P> Outbox<P> {
    pub(crate) fn new(registry: Arc<Registry>, state: Arc<ConnectionState>) -> Self {
        Outbox { registry, state, replies: PhantomData }
    }

    /// The id of the connection.
    pub fn id(&self) -> ConnectionId {
        self.state.id()
    }

    /// The number of bytes that were sent to this outbox and are not yet with the kernel, or, for a [`Socket`](crate::Socket),
    /// not yet taken from its [`Pushes`](crate::Pushes).
    pub fn pending(&self) -> usize {
        self.registry.flush_deferred();
        self.state.outbox().map_or(0, |outbox| outbox.pending())
    }

    /// Whether the connection accepts no more replies, because it is closing or has ended.
    pub fn is_closed(&self) -> bool {
        self.state.is_closing()
    }

    /// Sends bytes as they are, by calling `push`.
    pub(super) fn push_encoded<R>(
        &self,
        bytes: &Bytes,
        reply: R,
        push: impl for<'a> FnOnce(&Registry, &ConnectionState, Payload<'a>) -> (Pushed, Option<Payload<'a>>),
    ) -> Result<(), OutboxError<R>> {
        let (pushed, _) = push(&self.registry, &self.state, Payload::Encoded(bytes, None));
        self.outcome(pushed, bytes.len(), || reply)
    }

    fn outcome<R>(&self, pushed: Pushed, size: usize, reply: impl FnOnce() -> R) -> Result<(), OutboxError<R>> {
        match pushed {
            Pushed::Queued => Ok(()),
            Pushed::Full => Err(OutboxError::Full(reply())),
            Pushed::Closed | Pushed::FormatChanged | Pushed::OtherType => Err(OutboxError::Closed(reply())),
            Pushed::TooLarge => Err(OutboxError::TooLarge { size, reply: reply() }),
        }
    }
}

impl<P: Protocol> Outbox<P> {
    /// Queues a reply. Returns at once.
    ///
    /// # Errors
    /// [`OutboxError::Full`] if the outbox has no room for the reply; with
    /// [`SlowConsumer::Close`](crate::limits::SlowConsumer::Close) the connection ends as well. [`OutboxError::TooLarge`] if the
    /// reply would not fit into an empty outbox, [`OutboxError::Closed`] if the connection is closing or has ended,
    /// [`OutboxError::Encode`] if the reply is encoded at once and that fails. On an error nothing is queued.
    ///
    /// ```
    /// # use actix_acceptor::{AcceptorPool, Conn, Framing, Next, Outbox, Protocol};
    /// # use bytes::Bytes;
    /// # use std::io::{BufRead, BufReader};
    /// # use std::sync::mpsc;
    /// struct Ticker(mpsc::Sender<Outbox<Ticker>>);
    ///
    /// impl Protocol for Ticker {
    ///     type Codec = Framing;
    ///     type Reply = Bytes;
    ///     type User = ();
    ///
    ///     fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
    ///         let _ = self.0.send(conn.outbox());
    ///         Next::Continue
    ///     }
    ///
    ///     fn packet(&mut self, _: Bytes, _: &mut Conn<Self>) -> Next<Self> {
    ///         Next::Continue
    ///     }
    /// }
    ///
    /// # actix_rt::System::new().block_on(async {
    /// let (sender, outboxes) = mpsc::channel();
    /// let pool = AcceptorPool::with_protocol(move |_| Ticker(sender.clone()))
    ///     .framing(Framing::lines())
    ///     .bind("127.0.0.1:0")
    ///     .await?;
    /// # let peer = std::net::TcpStream::connect(pool.local_addr().expect("TCP"))?;
    /// // In any thread:
    /// let outbox = outboxes.recv()?;
    /// outbox.send("tick")?;
    /// # let received = tokio::task::spawn_blocking(move || {
    /// #     let mut received = String::new();
    /// #     BufReader::new(peer).read_line(&mut received).map(|_| received)
    /// # }).await??;
    /// // The peer receives:
    /// assert_eq!(received, "tick\n");
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn send(&self, reply: impl Into<P::Reply>) -> Result<(), OutboxError<P::Reply>> {
        self.push_reply(reply.into(), Registry::send_now)
    }

    /// Sends a reply by calling `push`, a second time if the connection must encode it itself.
    pub(super) fn push_reply(
        &self,
        reply: P::Reply,
        mut push: impl for<'a> FnMut(&Registry, &ConnectionState, Payload<'a>) -> (Pushed, Option<Payload<'a>>),
    ) -> Result<(), OutboxError<P::Reply>> {
        let format = self.state.format();
        let framing = self.registry.shared().formats.framing(format);
        if let (Some(mut framing), Some(bytes)) = (framing, (&reply as &dyn Any).downcast_ref::<Bytes>()) {
            let mut wire = BytesMut::with_capacity(bytes.len() + 8);
            if let Err(error) = framing.encode(bytes.clone(), &mut wire) {
                return Err(OutboxError::Encode(SendError::from_codec(error.into())));
            }
            let wire = wire.freeze();
            match push(&self.registry, &self.state, Payload::Encoded(&wire, Some(format))).0 {
                // The connection changes its framing at this moment: it encodes the reply itself.
                Pushed::FormatChanged => {}
                pushed => return self.outcome(pushed, wire.len(), || reply),
            }
        }
        let size = P::reply_size(&reply);
        match push(&self.registry, &self.state, Payload::Reply(Box::new(reply), size)) {
            (Pushed::Queued, _) => Ok(()),
            (pushed, Some(Payload::Reply(reply, size))) => match reply.downcast() {
                Ok(reply) => self.outcome(pushed, size, || *reply),
                Err(_) => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Queues bytes that [`Pool::encode`](crate::Pool::encode) has encoded. They are sent as they are, also if the connection
    /// now has another framing.
    ///
    /// # Errors
    /// Those of [`send`](Outbox::send), without [`OutboxError::Encode`].
    pub fn send_encoded(&self, encoded: Encoded) -> Result<(), OutboxError<Encoded>>
    where
        P::Codec: EncodeOnce,
    {
        let bytes = own(encoded.0.clone());
        self.push_encoded(&bytes, encoded, Registry::send_now)
    }
}

impl Outbox<Bytes> {
    /// Queues bytes, which are sent as they are. Returns at once.
    ///
    /// # Errors
    /// Those of [`Outbox::send`] for a protocol, without [`OutboxError::Encode`].
    pub fn send(&self, bytes: impl Into<Bytes>) -> Result<(), OutboxError<Bytes>> {
        let bytes = own(bytes.into());
        self.push_encoded(&bytes, bytes.clone(), Registry::send_now)
    }
}

/// A copy of small bytes: those of the user may be a slice that keeps a large buffer alive, or run code when they are dropped.
pub(crate) fn own(bytes: Bytes) -> Bytes {
    if bytes.len() <= MAX_COPIED {
        Bytes::copy_from_slice(&bytes)
    } else {
        bytes
    }
}

impl<P> Clone for Outbox<P> {
    fn clone(&self) -> Self {
        Outbox::new(self.registry.clone(), self.state.clone())
    }
}

impl<P> fmt::Debug for Outbox<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("id", &self.id()).field("pending", &self.pending()).finish_non_exhaustive()
    }
}

impl<P: Protocol> Conn<P> {
    /// The outbox of this connection, through which other parts of the program send replies to it.
    pub fn outbox(&self) -> Outbox<P> {
        Outbox::new(self.guard.registry().clone(), self.guard.state().clone())
    }

    /// Sets the label of this connection, for example the name of its user. [`list`](crate::Pool::list), the log line of its
    /// end, and the [`Spans`](crate::telemetry::Spans) show it. An empty label removes it.
    pub fn set_label(&mut self, label: impl AsRef<str>) {
        self.guard.set_label(label.as_ref());
    }
}

/// Why a reply was not queued in an [`Outbox`]. Contains the reply, unless it could not be encoded.
#[non_exhaustive]
pub enum OutboxError<R> {
    /// The outbox is full: the peer reads too slowly.
    Full(R),
    /// The connection is closing, or has ended.
    Closed(R),
    /// The reply is larger than the limit of the outbox, [`Builder::outbox`](crate::Builder::outbox).
    TooLarge {
        /// The reply.
        reply: R,
        /// Its size in bytes.
        size: usize,
    },
    /// The reply cannot be encoded.
    Encode(SendError),
}

impl<R> OutboxError<R> {
    /// The reply that was not queued. `None` if it could not be encoded.
    pub fn into_reply(self) -> Option<R> {
        match self {
            OutboxError::Full(reply) | OutboxError::Closed(reply) | OutboxError::TooLarge { reply, .. } => Some(reply),
            OutboxError::Encode(_) => None,
        }
    }
}

impl<R> fmt::Debug for OutboxError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OutboxError::Full(_) => f.write_str("Full(..)"),
            OutboxError::Closed(_) => f.write_str("Closed(..)"),
            OutboxError::TooLarge { size, .. } => {
                f.debug_struct("TooLarge").field("size", size).finish_non_exhaustive()
            }
            OutboxError::Encode(error) => f.debug_tuple("Encode").field(error).finish(),
        }
    }
}

impl<R> fmt::Display for OutboxError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OutboxError::Full(_) => f.write_str("the outbox is full: the peer reads too slowly"),
            OutboxError::Closed(_) => f.write_str("the connection is closed"),
            OutboxError::TooLarge { size, .. } => {
                write!(f, "a reply of {size} bytes is larger than the outbox: raise `outbox`, or send it in parts")
            }
            OutboxError::Encode(_) => f.write_str("the reply cannot be encoded"),
        }
    }
}

impl<R> std::error::Error for OutboxError<R> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OutboxError::Encode(error) => Some(error),
            _ => None,
        }
    }
}

/// The size of a reply in bytes, if it is a common type of text or bytes.
pub(super) fn size_of_reply<R: 'static>(reply: &R) -> usize {
    let reply: &dyn Any = reply;
    let text = |text: Option<&str>| text.map(str::len);
    let bytes = reply.downcast_ref::<Bytes>().map(Bytes::len);
    bytes
        .or_else(|| reply.downcast_ref::<BytesMut>().map(BytesMut::len))
        .or_else(|| reply.downcast_ref::<Vec<u8>>().map(Vec::len))
        .or_else(|| text(reply.downcast_ref::<String>().map(String::as_str)))
        .or_else(|| text(reply.downcast_ref::<&'static str>().copied()))
        .unwrap_or(size_of::<R>())
}
