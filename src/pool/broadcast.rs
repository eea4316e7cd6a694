//! Replies to many connections at once.

use std::any::TypeId;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::SendError as MailboxError;
use actix::prelude::*;
use bytes::Bytes;

use super::encoding::RawBytes;
use super::{Pool, Untyped};
use crate::connection::{own, Connection, Protocol, SendError, User};
use crate::registry::{Batch, ConnectionState, Pushed};
use crate::telemetry::ConnectionId;
use crate::topics::Encodings;

/// How a reply or a message to several connections was delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct BroadcastReport {
    /// The number of connections whose outbox accepted the reply, or whose mailbox accepted the message. A connection in a
    /// wait handles a message after the wait.
    pub delivered: usize,
    /// The connections whose outbox ([`Builder::outbox`](crate::Builder::outbox)) or mailbox
    /// ([`Builder::mailbox_capacity`](crate::Builder::mailbox_capacity)) had no room for it, ascending. One whose outbox was
    /// full ends with [`SlowConsumer::Close`](crate::limits::SlowConsumer::Close).
    pub full: Vec<ConnectionId>,
}

impl BroadcastReport {
    /// Sends a clone of a message to the mailbox of a connection. It is cloned outside of locks. `expect_mail` arranges that
    /// the connection is woken.
    pub(super) fn notify<P: Protocol<User: Clone>>(
        &mut self,
        state: &Arc<ConnectionState>,
        message: &P::User,
        expect_mail: impl FnOnce(&Arc<ConnectionState>),
    ) {
        let message = User(message.clone());
        expect_mail(state);
        let sent = state.with_sender(|address: &Addr<Connection<P>>| address.try_send(message));
        match sent {
            Some(Ok(())) => self.delivered += 1,
            Some(Err(MailboxError::Full(_))) => self.full.push(state.id()),
            Some(Err(MailboxError::Closed(_))) | None => {}
        }
    }

    /// Queues a reply in the outbox of a connection.
    fn send(&mut self, batch: &mut Batch<'_>, state: &Arc<ConnectionState>, encodings: &mut impl Encodings) {
        match encodings.push(state.format(), |payload| batch.send(state, payload)) {
            Some(Pushed::Queued) => self.delivered += 1,
            Some(Pushed::Full | Pushed::TooLarge) => self.full.push(state.id()),
            Some(Pushed::Closed | Pushed::FormatChanged | Pushed::OtherType) | None => {}
        }
    }

    pub(super) fn finish(mut self) -> Self {
        self.full.sort_unstable();
        self
    }

    pub(super) fn or_error(self, error: Option<SendError>) -> Result<Self, SendError> {
        error.map_or(Ok(self), Err)
    }
}

/// Whether a connection is of this kind of actor, if one is given.
fn is_of(actor: Option<TypeId>, state: &ConnectionState) -> bool {
    actor.is_none_or(|actor| state.kind().actor == actor)
}

impl<A> Pool<A> {
    /// Sends a reply to every connection, or to those of this kind of actor.
    pub(super) fn send_to_all(&self, actor: Option<TypeId>, encodings: &mut impl Encodings) -> BroadcastReport {
        let mut report = BroadcastReport::default();
        for registry in self.shared.registries().all() {
            let mut batch = registry.batch();
            registry.for_each(|state| {
                if is_of(actor, state) {
                    report.send(&mut batch, state, encodings);
                }
            });
        }
        report.finish()
    }

    /// Sends a reply to those of these connections that are of this kind of actor.
    pub(super) fn send_to_these(
        &self,
        ids: impl IntoIterator<Item = ConnectionId>,
        actor: Option<TypeId>,
        encodings: &mut impl Encodings,
    ) -> BroadcastReport {
        let mut report = BroadcastReport::default();
        let registries = self.shared.registries().all();
        let mut batches: Vec<_> = registries.iter().map(|registry| registry.batch()).collect();
        for id in ids {
            let found =
                registries.iter().zip(&mut batches).find_map(|(registry, batch)| Some((registry.find(id)?, batch)));
            if let Some((state, batch)) = found.filter(|(state, _)| is_of(actor, state)) {
                report.send(batch, &state, encodings);
            }
        }
        report.finish()
    }
}

impl Pool<Untyped> {
    /// Sends bytes to every connection, through its [`Outbox`](crate::Outbox), as they are.
    ///
    /// ```
    /// # use actix_acceptor::{AcceptorPool, Socket};
    /// # use std::time::Duration;
    /// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
    /// # actix_rt::System::new().block_on(async {
    /// let pool = AcceptorPool::with_fn(|mut socket: Socket| async move {
    ///     let mut pushes = socket.pushes();
    ///     while let Some(bytes) = pushes.recv().await {
    ///         socket.write_all(&bytes).await?;
    ///     }
    ///     std::io::Result::Ok(())
    /// });
    /// let pool = pool.bind("127.0.0.1:0").await?;
    /// # let mut peer = tokio::net::TcpStream::connect(pool.local_addr().expect("TCP")).await?;
    /// # pool.wait_for(|connections| connections == 1, Duration::from_secs(10)).await?;
    /// // A peer has connected.
    /// assert_eq!(pool.untyped().broadcast("maintenance at noon\n").delivered, 1);
    /// assert!(pool.untyped().close(pool.list()[0].id, Some("bye\n".into()), Duration::from_secs(2)));
    /// # let mut received = String::new();
    /// # peer.read_to_string(&mut received).await?;
    /// // The peer receives:
    /// assert_eq!(received, "maintenance at noon\nbye\n");
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn broadcast(&self, bytes: impl Into<Bytes>) -> BroadcastReport {
        self.send_to_all(None, &mut RawBytes(own(bytes.into())))
    }

    /// Sends bytes to these connections, through their [`Outbox`](crate::Outbox), as they are. Ids of connections that have
    /// ended are skipped.
    pub fn send_to(&self, ids: impl IntoIterator<Item = ConnectionId>, bytes: impl Into<Bytes>) -> BroadcastReport {
        self.send_to_these(ids, None, &mut RawBytes(own(bytes.into())))
    }

    /// Closes a connection of any handler gracefully: what was sent to it before is sent first, then `last_bytes`, as they are;
    /// then the connection ends as [`Local`](crate::telemetry::CloseReason::Local). Returns `false` if there is no connection
    /// with this id, or if it is being killed.
    ///
    /// For a connection with a protocol, this does the same as `close` of a typed pool. The owner of a [`Socket`] is notified:
    /// its [`pushes`](crate::Socket::pushes) return `last_bytes` and end, and [`closing`](crate::Socket::closing) resolves. If
    /// the connection is still alive after `grace`, reads and writes of the socket fail with
    /// [`ConnectionAborted`](std::io::ErrorKind::ConnectionAborted), and an async fn is dropped 0.1 seconds later.
    ///
    /// During a handshake nothing is sent. If it is called several times, the first `last_bytes` and the earliest end apply.
    ///
    /// [`Socket`]: crate::Socket
    pub fn close(&self, id: ConnectionId, last_bytes: Option<Bytes>, grace: Duration) -> bool {
        self.connection(id).is_some_and(|connection| connection.close(last_bytes, grace))
    }
}
