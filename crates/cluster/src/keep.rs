//! The tasks that keep the lease and the names of a node. They are separate, so that none delays the heartbeats.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Duration;

use actix_acceptor::{BoxError, ConnectionId};
use futures::future::{BoxFuture, FutureExt};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use crate::bus::{BucketError, StoreError};
use crate::cluster::ClusterProtocol;
use crate::connection::ClusterRef;
use crate::counters::Throttle;
use crate::direct::{Asks, Expects};
use crate::incarnation::Incarnation;
use crate::lease::{self, Acquisition, Beat};
use crate::names::{Buckets, Owner};
use crate::naming::{Host, Naming, RETRY};
use crate::node::Node;
use crate::subject::token;
use crate::{ConnectError, DeliveryError, Format, RegisterError, RemoteError};

/// A persistent failure is logged once in this time.
const LOGGED_EVERY: Duration = Duration::from_secs(10);

impl<P: ClusterProtocol, F: Format> Host for Arc<Node<P, F>> {
    fn is_open(&self, id: ConnectionId) -> bool {
        self.pool.connection(id).is_some()
    }

    fn close(&self, _: &str, id: ConnectionId) {
        if let Some(connection) = self.pool.connection(id) {
            connection.end_as_replaced();
        }
    }

    fn ask_for(&self, name: &str, owner: &Owner) -> BoxFuture<'static, bool> {
        // A node that hangs loses its lease meanwhile.
        let within = self.request_timeout.min(self.naming.lease.interval());
        let (connection, id, name) = (self.reference(owner).within(within), owner.connection, name.to_owned());
        async move { connection.request(Asks::Replaced(id, name), &[]).await.is_ok() }.boxed()
    }
}

impl<P: ClusterProtocol, F: Format> Node<P, F> {
    fn reference(self: &Arc<Self>, owner: &Owner) -> ClusterRef<P, F> {
        let expects = Some(Expects::Lease(owner.incarnation));
        ClusterRef::new(self, owner.node.as_str().into(), expects, owner.connection.into())
    }

    pub(crate) async fn buckets(&self) -> Result<&Buckets, BoxError> {
        let naming = &self.naming;
        if self.bus.has_left() {
            return Err(RemoteError::Disconnected.into());
        }
        Ok(naming.buckets.get_or_try_init(|| self.bus.buckets(&self.prefix, naming.ttl)).await?)
    }

    /// Registers a name. The operation goes on if the future is dropped, and then releases what it has registered.
    pub(crate) async fn register(
        self: Arc<Self>,
        id: ConnectionId,
        name: Arc<str>,
        replaces: bool,
    ) -> Result<(), RegisterError> {
        if self.bus.has_left() {
            return Err(RegisterError::Disconnected);
        }
        let (registered, result) = oneshot::channel();
        let (node, undo) = (self.clone(), self.naming.undo(id, &name));
        self.runtime.spawn(async move {
            let result = node.naming.register(&node, id, name, replaces).await;
            if matches!(result, Ok(true)) {
                undo.registered();
            }
            drop(registered.send((result, undo)));
        });
        // An error: the runtime has ended.
        let (result, undo) = result.await.map_err(|_| RegisterError::Disconnected)?;
        if result.is_ok() {
            undo.received();
        }
        result.map(drop)
    }

    /// Releases a name of this connection. Returns false if it does not have it.
    pub(crate) async fn unregister(&self, id: ConnectionId, name: &str) -> bool {
        self.naming.unregister(id, name.into()).await
    }

    /// Gives a name up for another connection of the cluster.
    pub(crate) async fn give_up(self: Arc<Self>, incarnation: Incarnation, id: ConnectionId, name: Arc<str>) -> bool {
        self.naming.give_up(&self, incarnation, id, &name).await
    }

    /// The owner of a name on any node.
    pub(crate) async fn whereis(self: &Arc<Self>, name: &str) -> Result<Option<ClusterRef<P, F>>, DeliveryError> {
        let Some(key) = token(name) else { return Ok(None) };
        let buckets = self.buckets().await.map_err(|_| DeliveryError::Disconnected)?;
        let owner = buckets.owner(&key).await.map_err(|_| DeliveryError::Disconnected)?;
        Ok(owner.map(|owner| self.reference(&owner)))
    }

    /// Takes the lease for the start of the node. If a previous process has the lease and does not renew it, waits until it has
    /// expired.
    pub(crate) async fn first_lease(&self, waits: bool) -> Result<(), JoinError> {
        let ttl = self.naming.ttl;
        let deadline = Instant::now() + ttl * 2;
        let mut seen = None;
        loop {
            let Acquisition::Held { revision } = self.naming.lease.acquire(&self.buckets().await?.leases).await? else {
                return Ok(());
            };
            if !waits {
                return Err(JoinError::Other("another process holds the lease of this node name".into()));
            }
            if *seen.get_or_insert(revision) != revision {
                return Err(JoinError::NodeNameTaken);
            }
            if Instant::now() > deadline {
                return Err(JoinError::Other("the lease of a previous process of this node does not expire".into()));
            }
            tokio::time::sleep(ttl / 20).await;
        }
    }

    /// Makes the buckets again that the server has lost, after an operation has failed. Those that exist stay as they are.
    async fn restore_buckets(&self) {
        if !self.naming.has_failed.swap(false, Relaxed) || !self.bus.is_connected() {
            return;
        }
        if let Err(error) = self.bus.buckets(&self.prefix, self.naming.ttl).await {
            self.naming.has_failed.store(true, Relaxed);
            debug!(node = &*self.name, %error, "cannot look for the buckets");
        }
    }

    /// Renews the lease once. After it was lost, takes a new one. Returns whether the node has one.
    async fn beat(&self) -> Result<bool, BoxError> {
        match self.naming.lease.beat(&self.buckets().await?.leases).await? {
            Beat::Renewed => {}
            Beat::Acquired { incarnation, lost: false } => {
                info!(node = &*self.name, %incarnation, "the node has a lease")
            }
            Beat::Acquired { incarnation, .. } => {
                error!(node = &*self.name, %incarnation, "the lease of this node was lost; registering its names again");
            }
            Beat::Rival => return Ok(false),
        }
        Ok(true)
    }

    /// The nodes that have a lease, with their incarnations.
    pub(crate) async fn nodes(&self) -> Result<Vec<(String, Incarnation)>, BoxError> {
        Ok(lease::nodes(&self.buckets().await?.leases).await?)
    }

    /// Compares the nodes with those seen before, and removes the names of those without a lease. Only one node of a cluster does
    /// this: the first by name.
    async fn sweep(&self, seen: &mut Option<Vec<(String, Incarnation)>>) -> Result<(), BoxError> {
        let buckets = self.buckets().await?;
        // The first node remains the first if only marks precede it.
        if !lease::is_first(&buckets.leases, &self.name, seen.is_none()).await? {
            *seen = None;
            return Ok(());
        }
        let nodes = self.nodes().await?;
        if seen.as_ref().is_none_or(|seen| seen.iter().any(|node| !nodes.contains(node))) {
            let swept = buckets.sweep().await?;
            if swept > 0 {
                info!(node = &*self.name, names = swept, "the names of nodes without a lease were removed");
            }
        }
        *seen = Some(nodes);
        Ok(())
    }
}

/// Why a node could not join the others.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinError {
    #[error("another process is a node of this name")]
    NodeNameTaken,
    #[error("{0}")]
    Other(BoxError),
}

impl JoinError {
    /// Whether other nodes have other settings.
    pub(crate) fn is_mismatch(&self) -> bool {
        let JoinError::Other(source) = self else { return false };
        matches!(source.downcast_ref(), Some(BucketError::Mismatch { .. }))
    }

    pub(crate) fn at(self, servers: String, node: &str) -> ConnectError {
        match self {
            JoinError::NodeNameTaken => ConnectError::NodeNameTaken { node: node.to_owned() },
            JoinError::Other(source) => match source.downcast::<BucketError>() {
                Ok(error) => error.into_connect_error(servers),
                Err(source) => ConnectError::Unusable { servers, source },
            },
        }
    }
}

impl From<BoxError> for JoinError {
    fn from(error: BoxError) -> Self {
        JoinError::Other(error)
    }
}

impl From<StoreError> for JoinError {
    fn from(error: StoreError) -> Self {
        JoinError::Other(error.into())
    }
}

impl From<RemoteError> for JoinError {
    fn from(error: RemoteError) -> Self {
        JoinError::Other(error.into())
    }
}

/// Renews the lease.
pub(crate) async fn heartbeats<P: ClusterProtocol, F: Format>(weak: Weak<Node<P, F>>) {
    let [failures, rivals, unanswered] = [(); 3].map(|()| Throttle::new(LOGGED_EVERY));
    loop {
        let Some(node) = weak.upgrade() else { return };
        let interval = node.naming.lease.interval();
        if tokio::time::timeout(interval, node.restore_buckets()).await.is_err() {
            node.naming.has_failed.store(true, Relaxed);
        }
        // The answer of a server that is slower than that comes too late.
        let beat = tokio::time::timeout(interval, node.beat()).await;
        let beat = beat.unwrap_or_else(|_| Err("no answer in time".into()));
        if beat.is_err() {
            node.naming.has_failed.store(true, Relaxed);
        }
        let pause = match beat {
            Ok(true) => match node.answer_requests().await {
                Ok(()) => interval,
                Err(error) => {
                    if let Some(left_out) = unanswered.allow().filter(|_| node.bus.is_connected()) {
                        warn!(node = &*node.name, %error, left_out, "cannot answer requests of other nodes; retrying");
                    }
                    RETRY.min(interval)
                }
            },
            Ok(false) => {
                if let Some(left_out) = rivals.allow() {
                    let name = &*node.name;
                    error!(node = name, left_out, "another process has this node name; this one has no lease");
                }
                interval
            }
            // While there is no connection, that has been logged.
            Err(_) if !node.bus.is_connected() => RETRY.min(interval / 3),
            Err(error) => {
                if let Some(left_out) = failures.allow() {
                    warn!(node = &*node.name, %error, left_out, "cannot renew the lease of this node; retrying");
                }
                RETRY.min(interval / 3)
            }
        };
        node.refresh_state();
        if node.naming.has_lost() {
            node.is_lost.notify_one();
        }
        drop(node);
        tokio::time::sleep(pause).await;
    }
}

/// Registers the names again whose lease was lost.
pub(crate) async fn regain<P: ClusterProtocol, F: Format>(weak: Weak<Node<P, F>>, is_lost: Arc<tokio::sync::Notify>) {
    loop {
        is_lost.notified().await;
        let Some(node) = weak.upgrade() else { return };
        node.naming.regain(&node).await;
    }
}

/// Releases the names of connections that have ended.
pub(crate) async fn releases(naming: Arc<Naming>) {
    loop {
        let next = naming.release_due().await;
        naming.until_release(next).await;
    }
}

/// Looks for names whose records the server has lost, a portion at a time, and for records of names that were released.
pub(crate) async fn audits<P: ClusterProtocol, F: Format>(weak: Weak<Node<P, F>>) {
    let mut after = None;
    loop {
        let Some(node) = weak.upgrade() else { return };
        let pause = node.naming.lease.interval();
        after = node.naming.audit(&node, after).await;
        node.naming.check_released().await;
        drop(node);
        tokio::time::sleep(pause).await;
    }
}

/// Removes the names of nodes whose lease has expired.
pub(crate) async fn sweeps<P: ClusterProtocol, F: Format>(weak: Weak<Node<P, F>>) {
    let mut seen = None;
    loop {
        let Some(node) = weak.upgrade() else { return };
        match node.sweep(&mut seen).await {
            Err(error) if node.bus.is_connected() => {
                warn!(node = &*node.name, %error, "cannot remove the names of nodes without a lease; retrying");
            }
            _ => {}
        }
        let pause = node.naming.lease.interval();
        drop(node);
        tokio::time::sleep(pause).await;
    }
}
