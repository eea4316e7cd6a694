//! The names of this node's connections: registering, renewing the lease, releasing.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use actix_acceptor::{BoxError, ConnectionId};
use parking_lot::Mutex;
use tokio::sync::{Notify, OnceCell};
use tracing::{error, info, warn};

use crate::bus::StoreError;
use crate::cluster::ClusterProtocol;
use crate::connection::ClusterRef;
use crate::counters::Throttle;
use crate::direct::{Asks, Expects};
use crate::lease::{self, Incarnation, Lease, Renewal};
use crate::names::{Buckets, Claim, OwnNames, Owner};
use crate::node::Node;
use crate::subject::token;
use crate::{DeliveryError, Format, RegisterError};

/// After a failure, the buckets are tried again after this time.
const RETRY: Duration = Duration::from_millis(500);

pub(crate) struct Naming {
    buckets: OnceCell<Buckets>,
    ttl: Duration,
    pub(crate) lease: Lease,
    own: OwnNames,
    /// Keys whose connection has ended, with their revisions.
    releases: Mutex<HashMap<Arc<str>, u64>>,
    has_releases: Notify,
}

impl Naming {
    pub(crate) fn new(node: &str, ttl: Duration) -> Self {
        Naming {
            buckets: OnceCell::new(),
            ttl,
            // The builder has checked the name.
            lease: Lease::new(token(node).unwrap_or_default(), ttl),
            own: OwnNames::default(),
            releases: Mutex::default(),
            has_releases: Notify::new(),
        }
    }

    /// Whether a connection of this node surely has a name.
    pub(crate) fn owns(&self, id: ConnectionId, name: &str) -> bool {
        self.lease.incarnation().is_some_and(|incarnation| self.own.has(name, id, incarnation))
    }

    /// The names that a connection of this node surely has.
    pub(crate) fn names_of(&self, id: ConnectionId) -> Vec<Arc<str>> {
        self.lease.incarnation().map(|incarnation| self.own.of_connection(id, incarnation)).unwrap_or_default()
    }

    /// The number of names that connections of this node have.
    pub(crate) fn owned(&self) -> usize {
        self.own.count()
    }

    /// A connection has ended.
    pub(crate) fn ended(&self, id: ConnectionId) {
        let names = self.own.remove_connection(id);
        if !names.is_empty() {
            self.releases.lock().extend(names);
            self.has_releases.notify_one();
        }
    }
}

impl<P: ClusterProtocol, F: Format> Node<P, F> {
    pub(crate) async fn buckets(&self) -> Result<&Buckets, BoxError> {
        let naming = &self.naming;
        Ok(naming.buckets.get_or_try_init(|| self.bus.buckets(&self.prefix, naming.ttl)).await?)
    }

    /// Takes the lease. Called before the node is handed to the user, and by the heartbeat after the lease was lost.
    pub(crate) async fn take_lease(&self) -> Result<Incarnation, BoxError> {
        let incarnation = crate::builder::random_number();
        self.naming.lease.acquire(&self.buckets().await?.leases, incarnation).await?;
        Ok(incarnation)
    }

    fn owner(&self, incarnation: Incarnation, id: ConnectionId) -> Owner {
        Owner { node: self.name.to_string(), incarnation, connection: id.get() }
    }

    pub(crate) async fn register(
        self: Arc<Self>,
        id: ConnectionId,
        name: Arc<str>,
        replaces: bool,
    ) -> Result<(), RegisterError> {
        let key =
            token(&name).ok_or(RegisterError::NameTooLong { length: name.len(), limit: crate::subject::MAX_TOKEN })?;
        let incarnation = self.naming.lease.incarnation().ok_or(RegisterError::Disconnected)?;
        let buckets = self.buckets().await.map_err(|_| RegisterError::Disconnected)?;
        let is_alive = |other: u64| self.pool.connection(ConnectionId::from(other)).is_some();
        let claim = buckets.claim(&key, &self.owner(incarnation, id), replaces, is_alive).await;
        let (revision, former) = match claim {
            Ok(Claim::Done { revision, former }) => (revision, former),
            Ok(Claim::Taken(owner)) => return Err(RegisterError::Taken { node: owner.node }),
            Ok(Claim::Unreadable) => {
                return Err(RegisterError::Unavailable("its record is of an unknown version".into()));
            }
            Err(StoreError::Conflict) => return Err(RegisterError::Contended),
            Err(StoreError::Unavailable(source)) => return Err(RegisterError::Unavailable(source)),
        };
        self.naming.own.insert(&name, id, incarnation, revision);
        // The connection may have ended, and the lease may have been lost, before the name was in the table.
        if self.pool.connection(id).is_none() {
            self.naming.ended(id);
            return Err(RegisterError::Ended);
        }
        if self.naming.lease.incarnation() != Some(incarnation) {
            self.naming.own.remove(&name, id);
            return Err(RegisterError::Disconnected);
        }
        if let Some(former) = former {
            self.tell_former(former, name.to_string());
        }
        Ok(())
    }

    /// Tells the former owner of a name that it has lost it. The name itself has another owner already.
    fn tell_former(self: &Arc<Self>, former: Owner, name: String) {
        let Owner { node, incarnation, connection } = former;
        let asks = Asks::Replaced(connection, name.clone());
        let expects = Some(Expects::Lease(incarnation));
        let connection = ClusterRef::new(self, node.into(), expects, connection.into());
        self.runtime.spawn(async move {
            // Until its lease would have run out.
            for _ in 0..5 {
                match connection.request(asks.clone(), &[]).await {
                    Err(DeliveryError::Timeout | DeliveryError::Disconnected) => tokio::time::sleep(RETRY).await,
                    _ => return,
                }
            }
            warn!(node = connection.node(), id = %connection.id(), name, "the former owner of a name cannot be reached");
        });
    }

    /// A connection of this node has lost a name to another one.
    pub(crate) fn replaced_here(&self, name: &str, id: ConnectionId) {
        // Also if the name has gone to another connection of this node.
        self.naming.own.remove(name, id);
        if let Some(connection) = self.pool.connection(id) {
            connection.end_as_replaced();
        }
    }

    /// Releases a name of this connection. Returns false if it does not have it.
    pub(crate) async fn unregister(&self, id: ConnectionId, name: &str) -> bool {
        let Some(revision) = self.naming.own.remove(name, id) else { return false };
        self.naming.releases.lock().insert(name.into(), revision);
        self.release_all().await;
        true
    }

    async fn release_all(&self) {
        let Ok(buckets) = self.buckets().await else { return };
        loop {
            let next = self.naming.releases.lock().iter().next().map(|(name, revision)| (name.clone(), *revision));
            let Some((name, revision)) = next else { return };
            let key = token(&name).unwrap_or_default();
            if let Err(error) = buckets.names.remove(&key, revision).await {
                warn!(node = &*self.name, name = &*name, %error, "cannot release a name; trying again");
                return;
            }
            let mut releases = self.naming.releases.lock();
            if releases.get(&name) == Some(&revision) {
                releases.remove(&name);
            }
        }
    }

    /// The owner of a name on any node.
    pub(crate) async fn whereis(self: &Arc<Self>, name: &str) -> Result<Option<ClusterRef<P, F>>, DeliveryError> {
        let Some(key) = token(name) else { return Ok(None) };
        let buckets = self.buckets().await.map_err(|_| DeliveryError::Disconnected)?;
        let owner = buckets.owner(&key).await.map_err(|_| DeliveryError::Disconnected)?;
        Ok(owner.map(|Owner { node, incarnation, connection }| {
            ClusterRef::new(self, node.into(), Some(Expects::Lease(incarnation)), connection.into())
        }))
    }

    /// Renews the lease once. After it was lost, takes a new one, and registers the names again that are still free.
    async fn beat(self: &Arc<Self>) -> Result<(), BoxError> {
        let buckets = self.buckets().await?;
        if self.naming.lease.renew(&buckets.leases).await? == Renewal::Renewed {
            return Ok(());
        }
        let lost = self.naming.own.clear();
        let incarnation = self.take_lease().await?;
        if !lost.is_empty() {
            error!(node = &*self.name, names = lost.len(), "the lease was lost; registering its names again");
        } else {
            info!(node = &*self.name, incarnation, "the node has a lease");
        }
        for (name, id) in lost {
            if let Err(error) = self.clone().register(id, name.clone(), false).await {
                warn!(node = &*self.name, %id, name = &*name, %error, "a connection has lost its name and is closed");
                self.replaced_here(&name, id);
            }
        }
        Ok(())
    }

    /// The nodes that have a lease, with their incarnations.
    pub(crate) async fn nodes(&self) -> Result<Vec<(String, Incarnation)>, BoxError> {
        Ok(lease::nodes(&self.buckets().await?.leases).await?)
    }

    /// Compares the nodes with those that were seen before, and removes the names of those that have vanished. One node of a
    /// cluster does that: the first one by name.
    async fn sweep(&self, seen: &mut Option<Vec<(String, Incarnation)>>) -> Result<(), BoxError> {
        let nodes = self.nodes().await?;
        let is_first = nodes.first().is_some_and(|(name, _)| **name == *self.name);
        let has_vanished = seen.as_ref().is_none_or(|seen| seen.iter().any(|node| !nodes.contains(node)));
        if is_first && has_vanished {
            let swept = self.buckets().await?.sweep().await?;
            if swept > 0 {
                info!(node = &*self.name, names = swept, "the names of nodes without a lease were removed");
            }
        }
        *seen = Some(nodes);
        Ok(())
    }

    /// Gives the lease and the names back.
    pub(crate) async fn leave(&self) {
        if let Some(buckets) = self.naming.buckets.get() {
            self.naming.lease.release(&buckets.leases).await;
        }
    }
}

/// Renews the lease, and releases the names of connections that have ended.
pub(crate) async fn keep<P: ClusterProtocol, F: Format>(weak: Weak<Node<P, F>>) {
    let mut seen = None;
    let failures = Throttle::new(Duration::from_secs(10));
    loop {
        let Some(node) = weak.upgrade() else { return };
        let beat = async {
            node.answer_requests().await?;
            node.beat().await?;
            node.sweep(&mut seen).await
        };
        let pause = match beat.await {
            Ok(()) => node.naming.lease.interval(),
            // While there is no connection, that has been logged.
            Err(_) if !node.bus.is_connected() => RETRY,
            Err(error) => {
                if let Some(left_out) = failures.allow() {
                    warn!(node = &*node.name, %error, left_out, "cannot renew the lease of this node; trying again");
                }
                RETRY
            }
        };
        node.refresh_state();
        drop(node);
        let next = tokio::time::Instant::now() + pause;
        loop {
            let Some(node) = weak.upgrade() else { return };
            node.release_all().await;
            let released = async { node.naming.has_releases.notified().await };
            // Does not keep the node alive for longer than a moment.
            let wait = next.min(tokio::time::Instant::now() + RETRY);
            let _ = tokio::time::timeout_at(wait, released).await;
            if tokio::time::Instant::now() >= next {
                break;
            }
        }
    }
}
