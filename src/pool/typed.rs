//! The methods of a [`Pool`] that reach the actors of its connections.
//!
//! A message to all connections is put into their mailboxes one by one, and never waits for room in one.

use std::any::TypeId;
use std::time::Duration;

use actix::prelude::*;
use bytes::BytesMut;
use tokio_util::codec::Encoder;

use super::encoding::ReplyEncodings;
use super::{BroadcastReport, Pool};
use crate::connection::{Connection, EncodeOnce, Encoded, Protocol, SendError, SharedFactory};
use crate::telemetry::ConnectionId;

impl<A: Actor> Pool<A> {
    /// The address of a connection's actor. `None` if there is no connection with this id, or if its actor has not been
    /// started yet: a connection is listed from the moment at which it is accepted.
    ///
    /// The mailbox of a [`Connection`] is created when the connection is first addressed. Each call returns a new sender, which
    /// may put one message into a full mailbox, so keep the address to send many messages: see
    /// [`messages`](crate::messages#the-mailbox).
    pub fn find(&self, id: ConnectionId) -> Option<Addr<A>> {
        self.state_of(id)?.address()
    }

    /// The addresses of all connections' actors, in the order of acceptance.
    pub fn addresses(&self) -> Vec<(ConnectionId, Addr<A>)> {
        let mut addresses = Vec::new();
        for registry in self.shared.registries().all() {
            registry.for_each(|entry| addresses.extend(entry.address().map(|address| (entry.id(), address))));
        }
        // Each registry's part is sorted: this merges them.
        addresses.sort_by_key(|(id, _)| *id);
        addresses
    }
}

impl<P: Protocol> Pool<Connection<P>> {
    /// Closes a connection gracefully: the queued bytes are sent, then `last_reply`, then the connection ends with
    /// [`Closed::Local`]. Returns `false` if there is no connection with this id, if it has another
    /// [protocol](crate::Listener::service) than the handle (use that of [`untyped`](Pool::untyped)), or if it is being killed.
    ///
    /// The request does not pass through the mailbox, so it takes effect in any state, also above the high-water mark. The
    /// names of the connection are free when this method returns. The future of a wait in progress and packets that have not
    /// been delivered are dropped. If not everything has been sent after `grace`, the rest is lost and the connection ends, also
    /// as `Local`. A reply that cannot be encoded ends the connection with [`Closed::Error`].
    ///
    /// During a handshake nothing is sent. If the connection is already closing, the call only limits the remaining time to
    /// `grace`. If it is called several times, the first reply and the earliest end apply.
    ///
    /// [`Closed::Local`]: crate::Closed::Local
    /// [`Closed::Error`]: crate::Closed::Error
    ///
    /// ```
    /// # use actix_acceptor::{AcceptorPool, Conn, Framing, Next, Protocol};
    /// # use bytes::Bytes;
    /// # use std::io::Read;
    /// # use std::time::Duration;
    /// # struct Quiet;
    /// # impl Protocol for Quiet {
    /// #     type Codec = Framing; type Reply = Bytes; type User = ();
    /// #     fn packet(&mut self, _: Bytes, _: &mut Conn<Self>) -> Next<Self> { Next::Continue }
    /// # }
    /// # actix_rt::System::new().block_on(async {
    /// let pool = AcceptorPool::with_protocol(|_| Quiet).framing(Framing::lines()).bind("127.0.0.1:0").await?;
    /// # let mut peer = std::net::TcpStream::connect(pool.local_addr().expect("TCP"))?;
    /// # pool.wait_for(|connections| connections == 1, Duration::from_secs(10)).await?;
    /// let id = pool.list()[0].id;
    /// assert!(pool.close(id, Some(Bytes::from_static(b"you were removed")), Duration::from_secs(2)));
    /// # let received = tokio::task::spawn_blocking(move || {
    /// #     let mut received = String::new();
    /// #     peer.read_to_string(&mut received).map(|_| received)
    /// # }).await??;
    /// // The peer receives:
    /// assert_eq!(received, "you were removed\n");
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn close(&self, id: ConnectionId, last_reply: Option<P::Reply>, grace: Duration) -> bool {
        self.connection(id).is_some_and(|connection| connection.close(last_reply, grace))
    }

    /// Sends a reply to every connection, through its [`Outbox`](crate::Outbox). The reply is encoded once for each encoding
    /// among the connections.
    ///
    /// For a codec of another crate, use the wrapper [`StatelessEncoder`](crate::messages::StatelessEncoder).
    ///
    /// # Errors
    /// [`SendError::TooLong`] when the reply does not fit its length prefix, [`SendError::Delimiter`] when it contains the
    /// delimiter of its framing, [`SendError::Closed`] when the pool has ended, else the codec's error. Connections with
    /// another encoding have received it.
    ///
    /// # Panics
    /// When the codec or a clone of the reply panics.
    pub fn broadcast(&self, reply: P::Reply) -> Result<BroadcastReport, SendError>
    where
        P::Codec: EncodeOnce,
        P::Reply: Clone,
    {
        let mut encodings = ReplyEncodings::<P>::running(&self.shared, reply)?;
        let report = self.send_to_all(Some(TypeId::of::<Connection<P>>()), &mut encodings);
        report.or_error(encodings.error)
    }

    /// Sends a reply to these connections, through their [`Outbox`](crate::Outbox). The reply is encoded once for each
    /// encoding among the connections. Ids of connections that have ended are skipped.
    ///
    /// # Errors
    /// The same as those of [`broadcast`](Pool::broadcast).
    ///
    /// # Panics
    /// When the codec or a clone of the reply panics.
    pub fn send_to(
        &self,
        ids: impl IntoIterator<Item = ConnectionId>,
        reply: impl Into<P::Reply>,
    ) -> Result<BroadcastReport, SendError>
    where
        P::Codec: EncodeOnce,
        P::Reply: Clone,
    {
        let mut encodings = ReplyEncodings::<P>::running(&self.shared, reply.into())?;
        let report = self.send_to_these(ids, Some(TypeId::of::<Connection<P>>()), &mut encodings);
        report.or_error(encodings.error)
    }

    /// Encodes a reply with the codec of new connections, for [`Outbox::send_encoded`](crate::Outbox::send_encoded).
    ///
    /// [`send_to`](Pool::send_to), [`broadcast`](Pool::broadcast) and [`Topic::publish`](crate::Topic::publish) do not need it:
    /// they encode once, also for connections with another framing.
    ///
    /// ```
    /// # use actix_acceptor::{AcceptorPool, Conn, Framing, Next, Outbox, Protocol};
    /// # use bytes::Bytes;
    /// # use std::io::{BufRead, BufReader};
    /// # use std::sync::mpsc;
    /// # struct Member(mpsc::Sender<Outbox<Member>>);
    /// # impl Protocol for Member {
    /// #     type Codec = Framing; type Reply = Bytes; type User = ();
    /// #     fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> { let _ = self.0.send(conn.outbox()); Next::Continue }
    /// #     fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> { Next::Send(packet) }
    /// # }
    /// # actix_rt::System::new().block_on(async {
    /// # let (sender, outboxes) = mpsc::channel();
    /// # let pool = AcceptorPool::with_protocol(move |_| Member(sender.clone())).framing(Framing::lines());
    /// # let pool = pool.bind("127.0.0.1:0").await?;
    /// # let peer = std::net::TcpStream::connect(pool.local_addr().expect("TCP"))?;
    /// # let waiting: Vec<Outbox<Member>> = vec![outboxes.recv()?];
    /// let encoded = pool.encode("your turn".into())?;
    /// for outbox in &waiting {
    ///     outbox.send_encoded(encoded.clone())?;
    /// }
    /// # let received = tokio::task::spawn_blocking(move || {
    /// #     let mut received = String::new();
    /// #     BufReader::new(peer).read_line(&mut received).map(|_| received)
    /// # }).await??;
    /// // Each peer receives:
    /// assert_eq!(received, "your turn\n");
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    ///
    /// # Errors
    /// [`SendError::TooLong`] when the reply does not fit its length prefix, [`SendError::Delimiter`] when it contains the
    /// delimiter of its framing, [`SendError::Closed`] when the pool has ended, [`SendError::PeerDependentCodec`] when the codec
    /// depends on the peer ([`with_codec`](crate::AcceptorPool::with_codec)), else the codec's error.
    ///
    /// # Panics
    /// When the codec panics.
    pub fn encode(&self, reply: P::Reply) -> Result<Encoded, SendError>
    where
        P::Codec: EncodeOnce,
    {
        let mut wire = BytesMut::new();
        let factory = self.shared.factory::<SharedFactory<P>>().ok_or(SendError::Closed)?;
        let mut codec = factory.current().make_shared_codec().ok_or(SendError::PeerDependentCodec)?;
        codec.encode(reply, &mut wire).map_err(|error| SendError::from_codec(error.into()))?;
        Ok(Encoded(wire.freeze()))
    }

    /// Sends a clone of a message to the mailbox of each connection, whose [`Protocol::user`] handles it. Connections whose
    /// mailbox is full do not get it, and are listed in [`BroadcastReport::full`].
    ///
    /// # Panics
    /// When a clone panics. Some connections may have received the message.
    pub fn notify_all(&self, message: P::User) -> BroadcastReport
    where
        P::User: Clone,
    {
        let mut report = BroadcastReport::default();
        for registry in self.shared.registries().all() {
            let mail = registry.mail_to_all();
            registry.for_each(|state| report.notify::<P>(state, &message, |state| mail.expect(state)));
        }
        report.finish()
    }
}
