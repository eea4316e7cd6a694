//! Replies and messages to all connections of all nodes.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;

use actix_acceptor::Topic;
use bytes::Bytes;

use crate::bus::{Subject, Subscription};
use crate::cluster::{Cluster, ClusterProtocol};
use crate::envelope::{self, Kind, Refused};
use crate::node::Node;
use crate::topic::{Notified, Published};
use crate::{Format, RemoteError};

impl<P: ClusterProtocol, F: Format> Cluster<P, F> {
    /// Sends a reply to all connections of all nodes. Those of this node get it directly, even without a connection to NATS.
    ///
    /// Each other node receives one message. Its order relative to messages to topics is not defined.
    ///
    /// ```
    /// # use actix_acceptor::Next;
    /// # use actix_acceptor_cluster::{Cluster, LocalBus};
    /// # use support::{connect, guests};
    /// # actix::System::new().block_on(async {
    /// # let bus = LocalBus::new();
    /// # let (pool, other) = (guests(|_, _| Next::Continue).await, guests(|_, _| Next::Continue).await);
    /// # let cluster = Cluster::on(&bus).connect(&pool).await?;
    /// # let _other = Cluster::on(&bus).connect(&other).await?;
    /// # let (mut near, mut far) = (connect(&pool).await, connect(&other).await);
    /// # near.expect(b"welcome\n").await;
    /// # far.expect(b"welcome\n").await;
    /// // One peer is connected to this node, and another one to another node.
    /// let sent = cluster.broadcast("maintenance at noon");
    /// assert_eq!((sent.members, sent.dropped), (1, 0));
    /// sent.remote?;
    /// # near.expect(b"maintenance at noon\n").await;
    /// # far.expect(b"maintenance at noon\n").await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn broadcast(&self, reply: impl Into<P::Reply>) -> Published {
        let (node, reply) = (&self.node, reply.into());
        let remote = node.send(&node.all_subject(), Kind::Reply, &reply);
        match node.pool.broadcast(reply) {
            Ok(local) => Published { members: local.delivered, dropped: local.full.len(), error: None, remote },
            Err(error) => Published { members: 0, dropped: 0, error: Some(error), remote },
        }
    }

    /// Sends a message to the mailbox of each connection of all nodes, whose [`Protocol::user`](actix_acceptor::Protocol::user)
    /// handles it. Those of this node get it directly, even without a connection to NATS.
    ///
    /// ```
    /// # use actix_acceptor::Next;
    /// # use actix_acceptor_cluster::Cluster;
    /// # use support::{connect, guests};
    /// # actix::System::new().block_on(async {
    /// # let pool = guests(|_, _| Next::Continue).await;
    /// let cluster = Cluster::local().connect(&pool).await?;
    /// # let mut peer = connect(&pool).await;
    /// # peer.expect(b"welcome\n").await;
    /// // A peer is connected.
    /// assert_eq!(cluster.notify_all("reload".to_owned()).local.delivered, 1);
    /// # peer.expect(b"reload\n").await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn notify_all(&self, message: P::User) -> Notified {
        let remote = self.node.send(&self.node.all_subject(), Kind::Message, &message);
        Notified { local: self.node.pool.notify_all(message), remote }
    }
}

impl<P: ClusterProtocol, F: Format> Node<P, F> {
    /// The subject of messages to all connections.
    fn all_subject(&self) -> Subject {
        format!("{}.all", self.prefix).into()
    }

    pub(crate) async fn subscribe_to_all(self: &Arc<Self>) -> Result<Subscription, RemoteError> {
        let node = Arc::downgrade(self);
        let on_message = move |payload: Bytes| {
            if let Some(node) = node.upgrade() {
                node.deliver_with(|| node.deliver_to_all(&payload));
            }
        };
        self.bus.subscribe(self.all_subject(), Box::new(on_message)).await
    }

    fn deliver_to_all(&self, payload: &[u8]) -> Result<(), Refused> {
        let (kind, body) = envelope::open(payload)?;
        match kind {
            Kind::Reply => drop(self.pool.broadcast(envelope::decode::<P::Reply>(&self.format, body)?)),
            Kind::Message => drop(self.pool.notify_all(envelope::decode(&self.format, body)?)),
        }
        Ok(())
    }

    /// Passes a message of another node to the topic's members on this one.
    pub(crate) fn deliver(&self, topic: &Topic<P>, payload: &[u8]) {
        self.deliver_with(|| {
            let (kind, body) = envelope::open(payload)?;
            match kind {
                Kind::Reply => drop(topic.publish(envelope::decode::<P::Reply>(&self.format, body)?)),
                Kind::Message => drop(topic.notify(envelope::decode(&self.format, body)?)),
            }
            Ok(())
        });
    }

    /// Counts and logs what cannot be delivered. `deliver` runs user code.
    fn deliver_with(&self, deliver: impl FnOnce() -> Result<(), Refused>) {
        match catch_unwind(AssertUnwindSafe(deliver)) {
            Ok(Ok(())) => {}
            Ok(Err(refused)) => self.refusals.add(&self.name, &refused),
            Err(_) => self.refusals.add(&self.name, &Refused::Panic),
        }
    }
}
