//! Nodes in one process, without a server.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::store::{check_local, BucketError, LocalStore};
use super::{LinkState, NoAnswer, OnMessage, OnRequest, Store};
use crate::counters::Counters;
use crate::names::Buckets;
use crate::RemoteError;

/// Connects the nodes in one process, for programs that run on one machine, and for tests. All clones are the same bus.
#[derive(Clone, Default)]
pub struct LocalBus(Arc<Shared>);

#[derive(Default)]
struct Shared {
    subjects: RwLock<HashMap<String, Vec<Subscriber>>>,
    responders: RwLock<HashMap<String, (u64, Arc<OnRequest>)>>,
    last_key: AtomicU64,
    stores: Mutex<HashMap<String, LocalStore>>,
}

#[derive(Clone)]
struct Subscriber {
    key: u64,
    node: u64,
    on_message: Arc<OnMessage>,
}

pub(super) struct LocalNode {
    bus: Arc<Shared>,
    key: u64,
    counters: Arc<Counters>,
    /// Always connected.
    link: watch::Sender<LinkState>,
}

pub(crate) struct LocalSubscription {
    bus: Arc<Shared>,
    subject: String,
    key: u64,
}

impl LocalBus {
    /// Creates a bus without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// The bucket of this name, which all nodes share. The first one sets its options.
    pub(crate) fn store(&self, name: &str, ttl: Option<Duration>) -> Store {
        let mut stores = self.0.stores.lock();
        Store::Local(stores.entry(name.to_owned()).or_insert_with(|| LocalStore::new(ttl)).clone())
    }

    pub(super) fn node(&self, counters: &Arc<Counters>) -> LocalNode {
        let link = watch::Sender::new(LinkState { is_connected: true, connects: 1 });
        LocalNode { bus: self.0.clone(), key: self.0.key(), counters: counters.clone(), link }
    }
}

impl fmt::Debug for LocalBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalBus").finish_non_exhaustive()
    }
}

impl Shared {
    fn key(&self) -> u64 {
        self.last_key.fetch_add(1, Relaxed) + 1
    }
}

impl LocalNode {
    pub(super) fn publish(&self, subject: &str, payload: &Bytes) -> Result<(), RemoteError> {
        let subscribers = self.bus.subjects.read().get(subject).cloned().unwrap_or_default();
        for subscriber in subscribers.iter().filter(|subscriber| subscriber.node != self.key) {
            (subscriber.on_message)(payload.clone());
        }
        Ok(())
    }

    pub(super) fn link_state(&self) -> watch::Receiver<LinkState> {
        self.link.subscribe()
    }

    pub(super) fn subscribe(&self, subject: String, on_message: OnMessage) -> LocalSubscription {
        let key = self.bus.key();
        let counters = self.counters.clone();
        let on_message: OnMessage = Box::new(move |payload| {
            counters.received.fetch_add(1, Relaxed);
            on_message(payload);
        });
        let subscriber = Subscriber { key, node: self.key, on_message: Arc::new(on_message) };
        self.bus.subjects.write().entry(subject.clone()).or_default().push(subscriber);
        LocalSubscription { bus: self.bus.clone(), subject, key }
    }
}

impl LocalNode {
    pub(super) fn answer(&self, subject: String, on_request: OnRequest) -> LocalSubscription {
        let key = self.bus.key();
        let former = self.bus.responders.write().insert(subject.clone(), (key, Arc::new(on_request)));
        drop(former);
        LocalSubscription { bus: self.bus.clone(), subject, key }
    }

    pub(super) async fn request(&self, subject: &str, payload: Bytes, within: Duration) -> Result<Bytes, NoAnswer> {
        let responder = self.bus.responders.read().get(subject).map(|(_, on_request)| on_request.clone());
        let answer = (responder.ok_or(NoAnswer::NoResponder)?)(payload);
        tokio::time::timeout(within, answer).await.map_err(|_| NoAnswer::Timeout)
    }

    pub(super) fn buckets(&self, prefix: &str, ttl: Duration) -> Result<Buckets, BucketError> {
        let bus = LocalBus(self.bus.clone());
        let name = format!("{prefix}_leases");
        let leases = bus.store(&name, Some(ttl));
        check_local(&name, &leases, ttl)?;
        Ok(Buckets { leases, names: bus.store(&format!("{prefix}_names"), None) })
    }
}

impl Drop for LocalSubscription {
    fn drop(&mut self) {
        let mut responders = self.bus.responders.write();
        let is_own = responders.get(&self.subject).is_some_and(|(key, _)| *key == self.key);
        let responder = if is_own { responders.remove(&self.subject) } else { None };
        drop(responders);
        drop(responder);
        let mut subjects = self.bus.subjects.write();
        let mut removed = None;
        if let Some(subscribers) = subjects.get_mut(&self.subject) {
            if let Some(at) = subscribers.iter().position(|subscriber| subscriber.key == self.key) {
                removed = Some(subscribers.remove(at));
            }
            if subscribers.is_empty() {
                subjects.remove(&self.subject);
            }
        }
        drop(subjects);
        // Outside the lock: it owns values of the user.
        drop(removed);
    }
}
