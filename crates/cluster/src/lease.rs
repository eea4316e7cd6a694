//! The lease of a node: a key that disappears unless the node renews it. Names point at it, so one heartbeat keeps them all.
//!
//! The server counts the time of a lease from the moment it has stored it, the node from the moment before it asked. So the node
//! believes in its lease for a shorter time than the server does, whatever their clocks show.

use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::bus::{Store, StoreError};

/// A part of the lease's time that the node does not use: clocks do not run at exactly the same rate.
const MARGIN: u32 = 10;

/// The number of one life of a node. It changes when the node starts, and when it has lost its lease.
pub(crate) type Incarnation = u64;

pub(crate) struct Lease {
    key: String,
    ttl: Duration,
    held: Mutex<Option<Held>>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    incarnation: Incarnation,
    revision: u64,
    until: Instant,
}

/// What a heartbeat has found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    Renewed,
    /// The lease is gone, or another process has it.
    Lost,
}

impl Lease {
    pub(crate) fn new(key: String, ttl: Duration) -> Self {
        Lease { key, ttl, held: Mutex::new(None) }
    }

    /// The time between heartbeats.
    pub(crate) fn interval(&self) -> Duration {
        self.ttl / 3
    }

    /// The incarnation of this node, while it surely has its lease.
    pub(crate) fn incarnation(&self) -> Option<Incarnation> {
        self.held.lock().filter(|held| Instant::now() < held.until).map(|held| held.incarnation)
    }

    /// For how long this node has its lease if it is not renewed.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        let until = (*self.held.lock())?.until;
        until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// Takes the lease for a new incarnation, from a former one if there is one.
    pub(crate) async fn acquire(&self, store: &Store, incarnation: Incarnation) -> Result<(), StoreError> {
        let former = store.get(&self.key).await?.map_or(0, |entry| entry.revision);
        self.store(store, incarnation, former).await
    }

    /// Renews the lease.
    pub(crate) async fn renew(&self, store: &Store) -> Result<Renewal, StoreError> {
        let Some(held) = *self.held.lock() else { return Ok(Renewal::Lost) };
        let mut revision = held.revision;
        loop {
            match self.store(store, held.incarnation, revision).await {
                Ok(()) => return Ok(Renewal::Renewed),
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error),
            }
            // An earlier heartbeat may have been stored although its answer was lost.
            match store.get(&self.key).await? {
                Some(entry) if *entry.value == held.incarnation.to_be_bytes() && entry.revision != revision => {
                    revision = entry.revision;
                }
                _ => {
                    *self.held.lock() = None;
                    return Ok(Renewal::Lost);
                }
            }
        }
    }

    async fn store(&self, store: &Store, incarnation: Incarnation, revision: u64) -> Result<(), StoreError> {
        let began = Instant::now();
        let value = Bytes::copy_from_slice(&incarnation.to_be_bytes());
        let revision = store.set(&self.key, value, revision).await?;
        let until = began + (self.ttl - self.ttl / MARGIN);
        *self.held.lock() = Some(Held { incarnation, revision, until });
        Ok(())
    }

    /// Gives the lease back, so that the names of this node are free at once.
    pub(crate) async fn release(&self, store: &Store) {
        let Some(Held { incarnation, .. }) = self.held.lock().take() else { return };
        // A heartbeat that was under way may have changed the revision, and has no effect once the key is gone.
        let stored = store.get(&self.key).await.ok().flatten();
        if let Some(entry) = stored.filter(|entry| *entry.value == incarnation.to_be_bytes()) {
            let _ = store.remove(&self.key, entry.revision).await;
        }
    }
}

/// The incarnation that has the lease of a node.
pub(crate) async fn incarnation_of(store: &Store, key: &str) -> Result<Option<Incarnation>, StoreError> {
    let lease = store.get(key).await?;
    Ok(lease.and_then(|lease| <[u8; 8]>::try_from(&*lease.value).ok()).map(u64::from_be_bytes))
}

/// Whether a node has a lease for this incarnation.
pub(crate) async fn is_alive(store: &Store, key: &str, incarnation: Incarnation) -> Result<bool, StoreError> {
    let lease = store.get(key).await?;
    Ok(lease.is_some_and(|lease| *lease.value == incarnation.to_be_bytes()))
}

/// The nodes that have a lease, with their incarnations, sorted by name.
pub(crate) async fn nodes(store: &Store) -> Result<Vec<(String, Incarnation)>, StoreError> {
    let mut nodes = Vec::new();
    for key in store.keys().await? {
        let Some(lease) = store.get(&key).await? else { continue };
        let incarnation = <[u8; 8]>::try_from(&*lease.value).map(u64::from_be_bytes);
        if let (Some(name), Ok(incarnation)) = (crate::subject::name(&key), incarnation) {
            nodes.push((name, incarnation));
        }
    }
    nodes.sort();
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::LocalBus;

    const TTL: Duration = Duration::from_secs(15);

    #[tokio::test(start_paused = true)]
    async fn a_node_believes_in_its_lease_for_a_shorter_time_than_the_server() {
        let store = LocalBus::new().store("leases", Some(TTL));
        let lease = Lease::new("a".to_owned(), TTL);
        assert_eq!(lease.incarnation(), None);
        lease.acquire(&store, 1).await.expect("a new key");
        assert_eq!(lease.incarnation(), Some(1));
        tokio::time::advance(lease.interval()).await;
        assert_eq!(lease.renew(&store).await.expect("a store"), Renewal::Renewed);
        tokio::time::advance(TTL - TTL / 10).await;
        assert_eq!(lease.incarnation(), None);
        assert!(is_alive(&store, "a", 1).await.expect("a store"));
        // It may renew it late, as long as the server has it.
        assert_eq!(lease.renew(&store).await.expect("a store"), Renewal::Renewed);
        assert_eq!(lease.incarnation(), Some(1));
        tokio::time::advance(TTL).await;
        assert!(!is_alive(&store, "a", 1).await.expect("a store"));
        assert_eq!(lease.renew(&store).await.expect("a store"), Renewal::Lost);
        lease.acquire(&store, 2).await.expect("a free key");
        assert!(is_alive(&store, "a", 2).await.expect("a store"));
    }

    #[tokio::test(start_paused = true)]
    async fn another_process_with_the_name_of_a_node_takes_its_lease() {
        let store = LocalBus::new().store("leases", Some(TTL));
        let (former, new) = (Lease::new("a".to_owned(), TTL), Lease::new("a".to_owned(), TTL));
        former.acquire(&store, 1).await.expect("a new key");
        new.acquire(&store, 2).await.expect("it is taken over");
        assert!(!is_alive(&store, "a", 1).await.expect("a store"));
        assert_eq!(former.renew(&store).await.expect("a store"), Renewal::Lost);
        assert_eq!(former.incarnation(), None);
        former.release(&store).await;
        assert_eq!(new.renew(&store).await.expect("a store"), Renewal::Renewed);
        new.release(&store).await;
        assert!(!is_alive(&store, "a", 2).await.expect("a store"));
    }
}
