//! [`Topic`], a group of connections that receive the same replies.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;

use super::encoding::{RawBytes, ReplyEncodings};
use super::{BroadcastReport, Pool, PoolState, Untyped};
use crate::connection::{own, Conn, Connection, EncodeOnce, Protocol, SendError};
use crate::registry::RegistryShared;
use crate::telemetry::ConnectionId;
use crate::topics::{Reached, TopicState};

/// A group of connections that receive the same replies: a chat room, a channel, the subscribers of a feed.
///
/// A handle is cheap to clone and usable from any thread. Handles with the same name in the same pool refer to the same topic.
/// A topic needs no set-up: [`Pool::topic`] returns a handle, and [`Conn::join`] or [`Socket::join`](crate::Socket::join) adds
/// a member. A connection leaves its topics when it begins to close, whatever the reason. A topic without members and handles
/// takes up no memory.
///
/// # Delivery
/// [`publish`](Topic::publish) encodes the reply once for each encoding among the members, and queues it in the
/// [`Outbox`](crate::Outbox) of each member before it returns. (A member encodes the reply itself if its codec was changed with
/// [`Conn::codec_mut`]; with a codec other than [`Framing`](crate::Framing), also if the codec depends on the peer or was made by
/// a factory that has been replaced since.) So:
///
/// - The replies of one publisher arrive at a member in the order in which they were published, also across several topics and
///   direct sends. The replies of different publishers are not ordered.
/// - After [`Conn::leave`] has returned, nothing that is published later arrives. What was published before is still sent.
/// - A member whose peer reads too slowly has a full outbox: [`SlowConsumer`](crate::limits::SlowConsumer) defines what happens.
///   [`Published`] counts such members. Other members are not affected.
/// - Replies are sent while a member waits for a future or a blocking closure, but not before it is ready.
///
/// The time that publishing takes is proportional to the number of members, about 0.1 us for each; the replies of a burst that
/// follow the first take less. The arbiters of the members write to the sockets in batches, so that other connections are
/// served in between.
///
/// Publishing requires a codec that implements [`EncodeOnce`]. Wrap a codec of another crate in
/// [`StatelessEncoder`](crate::messages::StatelessEncoder).
///
/// Connections of several pools may be members of one topic. Ids are unique only within a pool:
/// [`publish_except`](Topic::publish_except) leaves out a connection of the pool that the handle is from.
///
/// # Several protocols
/// In a pool with [several protocols](crate::Listener::service), connections with different protocols can be members of one
/// topic. A reply reaches the members whose protocol has the same `Reply` type, each encoded by its own codec; a protocol whose
/// replies are [`Bytes`] also reaches [sockets](crate::Socket::join). A publisher with [`Framing`](crate::Framing) reaches every
/// member with `Framing`. Other members are left out, and not counted in [`Published`]. [`notify`](Topic::notify) reaches the
/// members with the protocol of the handle.
///
/// Type parameter: the [`Protocol`] of the connections. `Topic<Bytes>`, from the [untyped](Pool::untyped) handle of any pool,
/// sends bytes as they are, without a codec.
///
/// ```
/// # use actix_acceptor::{AcceptorPool, Conn, Framing, Next, Protocol};
/// # use bytes::Bytes;
/// # use std::io::{BufRead, BufReader};
/// # use std::time::Duration;
/// struct Subscriber;
///
/// impl Protocol for Subscriber {
///     type Codec = Framing;
///     type Reply = Bytes;
///     type User = ();
///
///     fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
///         let news = conn.pool().topic("news");
///         conn.join(&news);
///         Next::Send("welcome".into())
///     }
///
///     fn packet(&mut self, text: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
///         // To all members but this one.
///         conn.pool().topic("news").publish_except(conn.id(), text);
///         Next::Continue
///     }
/// }
///
/// # actix_rt::System::new().block_on(async {
/// let pool = AcceptorPool::with_protocol(|_| Subscriber).framing(Framing::lines()).bind("127.0.0.1:0").await?;
/// # let peer = std::net::TcpStream::connect(pool.local_addr().expect("TCP"))?;
/// # let mut peer = BufReader::new(peer).lines();
/// # let (welcome, mut peer) = tokio::task::spawn_blocking(move || (peer.next(), peer)).await?;
/// # assert_eq!(welcome.expect("a line")?, "welcome");
/// // A peer has connected.
/// let published = pool.topic("news").publish("rain tomorrow");
/// assert_eq!((published.members, published.dropped), (1, 0));
/// # let line = tokio::task::spawn_blocking(move || peer.next()).await?.expect("a line")?;
/// // The peer receives:
/// assert_eq!(line, "rain tomorrow");
/// # pool.stop(None).await;
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
/// ```
pub struct Topic<P> {
    topic: Arc<TopicState>,
    pool: Arc<PoolState>,
    replies: PhantomData<fn(P)>,
}

/// What became of a published reply.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Published {
    /// The number of members in whose outbox the reply was queued.
    pub members: usize,
    /// The number of members whose outbox had no room for the reply. If it was full, the connection ends with
    /// [`SlowConsumer::Close`](crate::limits::SlowConsumer::Close); if it is smaller than the reply, the connection stays open.
    pub dropped: usize,
    /// Why the reply could not be encoded for some members, which were left out. It was queued for the others.
    pub error: Option<SendError>,
}

impl Published {
    fn new(reached: Reached, error: Option<SendError>) -> Self {
        Published { members: reached.members, dropped: reached.dropped, error }
    }
}

impl<P> Topic<P> {
    fn new(pool: &Arc<PoolState>, name: &str) -> Self {
        Topic { topic: pool.topics().get(name), pool: pool.clone(), replies: PhantomData }
    }

    fn home(&self) -> &Arc<RegistryShared> {
        self.pool.registries().shared()
    }

    pub(crate) fn state(&self) -> &Arc<TopicState> {
        &self.topic
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.topic.name()
    }

    /// The number of members.
    pub fn len(&self) -> usize {
        self.topic.len()
    }

    /// Whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The ids of the members, ascending.
    pub fn members(&self) -> Vec<ConnectionId> {
        self.topic.members()
    }

    /// The ids of at most `limit` members of this pool that come after `last`, ascending: to list a large topic in pages.
    pub fn members_after(&self, last: Option<ConnectionId>, limit: usize) -> Vec<ConnectionId> {
        self.topic.members_after(self.home(), last, limit)
    }

    /// Whether a connection of this pool is a member.
    pub fn contains(&self, id: ConnectionId) -> bool {
        self.topic.contains(self.home(), id)
    }
}

impl<P: Protocol> Topic<P> {
    /// Sends a reply to all members. See [`Topic`] for what is guaranteed.
    ///
    /// # Panics
    /// When the codec or a clone of the reply panics. Some members may have received the reply.
    pub fn publish(&self, reply: impl Into<P::Reply>) -> Published
    where
        P::Codec: EncodeOnce,
        P::Reply: Clone,
    {
        self.publish_to_others(None, reply.into())
    }

    /// Sends a reply to all members except one, usually the publisher.
    ///
    /// # Panics
    /// As [`publish`](Topic::publish).
    pub fn publish_except(&self, id: ConnectionId, reply: impl Into<P::Reply>) -> Published
    where
        P::Codec: EncodeOnce,
        P::Reply: Clone,
    {
        self.publish_to_others(Some(id), reply.into())
    }

    fn publish_to_others(&self, except: Option<ConnectionId>, reply: P::Reply) -> Published
    where
        P::Reply: Clone,
    {
        if self.is_empty() {
            return Published::default();
        }
        let mut encodings = ReplyEncodings::<P>::new(&self.pool, reply);
        let reached = self.topic.publish(self.home(), except, &mut encodings);
        Published::new(reached, encodings.error)
    }

    /// Sends a clone of a message to the mailbox of each member, whose [`Protocol::user`] handles it. Works with any codec.
    ///
    /// A mailbox holds [`mailbox_capacity`](crate::Builder::mailbox_capacity) messages. Members whose mailbox is full do not get
    /// the message, and are listed in [`BroadcastReport::full`].
    ///
    /// # Panics
    /// When a clone panics. Some members may have received the message.
    pub fn notify(&self, message: P::User) -> BroadcastReport
    where
        P::User: Clone,
    {
        let mut report = BroadcastReport::default();
        self.topic.for_each_part(|registry, members| {
            let mut batch = registry.batch();
            members.iter().for_each(|state| report.notify::<P>(state, &message, |state| batch.expect_mail(state)));
        });
        report.finish()
    }
}

impl Topic<Bytes> {
    /// Sends bytes to all members, as they are.
    pub fn publish(&self, bytes: impl Into<Bytes>) -> Published {
        self.publish_bytes(None, bytes.into())
    }

    /// Sends bytes to all members except one, usually the publisher.
    pub fn publish_except(&self, id: ConnectionId, bytes: impl Into<Bytes>) -> Published {
        self.publish_bytes(Some(id), bytes.into())
    }

    fn publish_bytes(&self, except: Option<ConnectionId>, bytes: Bytes) -> Published {
        Published::new(self.topic.publish(self.home(), except, &mut RawBytes(own(bytes))), None)
    }
}

impl<P: Protocol> Pool<Connection<P>> {
    /// The topic with this name. See [`Topic`].
    pub fn topic(&self, name: impl AsRef<str>) -> Topic<P> {
        Topic::new(&self.shared, name.as_ref())
    }
}

impl Pool<Untyped> {
    /// The topic with this name, to which bytes are published as they are. A typed handle of the pool returns the same topic.
    pub fn topic(&self, name: impl AsRef<str>) -> Topic<Bytes> {
        Topic::new(&self.shared, name.as_ref())
    }
}

impl<A> Pool<A> {
    /// The topics that have members, with the number of members, sorted by name.
    pub fn topics(&self) -> Vec<(Arc<str>, usize)> {
        self.shared.topics().list()
    }
}

impl<P: Protocol> Conn<P> {
    /// Makes this connection a member of a topic. Returns false if it is one already, or is closing.
    ///
    /// It stays a member until [`leave`](Conn::leave), or until it begins to close. A membership takes up less than 100 bytes;
    /// if peers choose the topics, limit their number.
    pub fn join(&mut self, topic: &Topic<P>) -> bool {
        self.guard.join(topic.state())
    }

    /// Ends the membership of this connection in a topic. Returns false if it is not a member.
    ///
    /// Nothing that is published later arrives. What was published before is sent before the reply that the callback returns.
    pub fn leave(&mut self, topic: &Topic<P>) -> bool {
        let left = self.guard.leave(topic.state());
        if left {
            self.take_outbox();
        }
        left
    }
}

impl<P> Clone for Topic<P> {
    fn clone(&self) -> Self {
        Topic { topic: self.topic.clone(), pool: self.pool.clone(), replies: PhantomData }
    }
}

impl<P> fmt::Debug for Topic<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic").field("name", &self.name()).field("members", &self.len()).finish_non_exhaustive()
    }
}
