//! Buckets whose requests and answers are late or get lost.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{History, Random, NODES};
use crate::bus::{Entry, LocalStore, StoreError};

/// A request has failed after this time. It may be carried out later.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What is between the nodes, and between them and the buckets.
pub(super) struct Network {
    pub(super) random: Random,
    pub(super) history: History,
    leases: LocalStore,
    names: LocalStore,
    has_faults: AtomicBool,
    stale: bool,
    stalled_until: Mutex<[Instant; NODES]>,
}

impl Network {
    pub(super) fn new(random: Random, ttl: Duration, stale: bool) -> Self {
        Network {
            random,
            history: History::default(),
            leases: LocalStore::new(Some(ttl)),
            names: LocalStore::new(None),
            has_faults: AtomicBool::new(true),
            stale,
            stalled_until: Mutex::new([Instant::now(); NODES]),
        }
    }

    pub(super) fn end_faults(&self) {
        self.has_faults.store(false, Relaxed);
        *self.stalled_until.lock() = [Instant::now(); NODES];
    }

    pub(super) fn stall(&self, node: usize, time: Duration) {
        self.stalled_until.lock()[node] = Instant::now() + time;
    }

    pub(super) async fn until_running(&self, node: usize) {
        let until = self.stalled_until.lock()[node];
        tokio::time::sleep_until(until).await;
    }

    fn fails(&self, chances: usize) -> bool {
        self.has_faults.load(Relaxed) && self.random.one_in(chances)
    }

    /// The time that a message takes. Some take longer than the sender waits, but not longer than the TTL after that: a record that
    /// is stored later than a failed registration looks for it stays.
    pub(super) async fn travel(&self) {
        let ms = if self.fails(40) { 500..2_800 } else { 1..30 };
        self.random.pause(ms).await;
    }

    /// Carries something out far away. It goes on if the caller ends or does not wait any longer.
    pub(super) async fn call<T: Send + 'static>(
        self: &Arc<Self>,
        node: usize,
        act: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, &'static str> {
        self.until_running(node).await;
        if self.fails(30) {
            tokio::time::sleep(TIMEOUT).await;
            return Err("the request was lost");
        }
        let network = self.clone();
        let answer = tokio::spawn(async move {
            network.travel().await;
            let answer = act.await;
            network.travel().await;
            (!network.fails(30)).then_some(answer)
        });
        let answer = tokio::time::timeout(TIMEOUT, answer).await;
        self.until_running(node).await;
        match answer {
            Ok(answer) => answer.expect("no panic").ok_or("the answer was lost"),
            Err(_) => Err("no answer in time"),
        }
    }
}

/// A bucket, as one node sees it.
pub(crate) struct FaultyStore {
    network: Arc<Network>,
    node: usize,
    has_leases: bool,
}

impl FaultyStore {
    pub(super) fn new(network: Arc<Network>, node: usize, has_leases: bool) -> Self {
        FaultyStore { network, node, has_leases }
    }

    async fn call<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Network, &LocalStore) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (network, has_leases) = (self.network.clone(), self.has_leases);
        let act = async move { act(&network, if has_leases { &network.leases } else { &network.names }) };
        self.network.call(self.node, act).await.map_err(|why| StoreError::Unavailable(why.into()))
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let (key, has_leases) = (key.to_owned(), self.has_leases);
        let get = move |network: &Network, store: &LocalStore| {
            let is_stale = has_leases && network.stale && network.fails(10);
            store.get(&key).filter(|_| !is_stale)
        };
        self.call(get).await
    }

    pub(crate) async fn keys(&self) -> Result<Vec<String>, StoreError> {
        self.call(|_, store| store.keys()).await
    }

    pub(crate) async fn set(&self, key: &str, value: Bytes, revision: u64) -> Result<u64, StoreError> {
        let (key, has_leases) = (key.to_owned(), self.has_leases);
        let set = move |network: &Network, store: &LocalStore| {
            let set = store.set(&key, value.clone(), revision);
            if let Ok(revision) = set {
                network.history.changed(has_leases, key, Some((revision, value)));
            }
            set
        };
        self.call(set).await?
    }

    pub(crate) async fn remove(&self, key: &str, revision: u64) -> Result<(), StoreError> {
        let (key, has_leases) = (key.to_owned(), self.has_leases);
        let remove = move |network: &Network, store: &LocalStore| {
            if store.get(&key).is_some_and(|entry| entry.revision == revision) {
                store.remove(&key, revision);
                network.history.changed(has_leases, key, None);
            }
        };
        self.call(remove).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::TTL;
    use super::*;
    use crate::bus::Store;
    use crate::lease::{Acquisition, Lease, Renewal};

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_counted_from_before_its_heartbeat_is_sent() {
        let network = Arc::new(Network::new(Random::new(1), TTL, false));
        network.end_faults();
        let store = Store::Faulty(FaultyStore::new(network.clone(), 0, true));
        let lease = Lease::new("a".to_owned(), TTL);
        let Acquisition::Acquired(incarnation) = lease.acquire(&store).await.expect("a store") else {
            panic!("it is free")
        };
        let revision = || network.leases.get("a").expect("it is stored").revision;
        let (first, began) = (revision(), Instant::now());
        // The node stalls after the heartbeat was stored, and before it has the answer.
        let stall = async {
            while revision() == first {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            network.stall(0, TTL / 2);
        };
        let (renewed, ()) = tokio::join!(lease.renew(&store), stall);
        assert_eq!(renewed.expect("a store"), Renewal::Renewed);
        assert!(began.elapsed() >= TTL / 2 && lease.incarnation() == Some(incarnation));
        tokio::time::sleep_until(began + TTL - TTL / 10).await;
        assert_eq!(lease.incarnation(), None);
        assert!(network.leases.get("a").is_some());
    }
}
