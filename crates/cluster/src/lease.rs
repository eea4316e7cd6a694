//! The lease of a node: a key that disappears unless the node renews it. Names point at it, so one heartbeat keeps them all.
//!
//! The server counts the TTL of a lease from when it stored the heartbeat, the node from just before it sent it. So the node trusts
//! its lease for a shorter time than the server keeps it, regardless of the time of day on either.
//!
//! An incarnation that has lost its lease never gets one again. A process takes the lease of a node only if no other process has
//! it: it waits until the lease of a previous process has expired.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::bus::{Entry, Store, StoreError};
use crate::direct::Life;
use crate::incarnation::Incarnation;

/// The node leaves 1 / `MARGIN` of the TTL unused, since clocks do not run at exactly the same rate.
const MARGIN: u32 = 10;

/// An operation that keeps finding another revision is given up after this many attempts.
const ATTEMPTS: usize = 16;

/// The leases that are read at the same time.
const READ_AT_ONCE: usize = 16;

pub(crate) struct Lease {
    key: String,
    life: Life,
    ttl: Duration,
    state: Mutex<State>,
    /// One operation at a time.
    operation: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    held: Option<Held>,
    /// The number of the last lease that was taken. An attempt whose answer was lost may have stored the next one.
    leases: u64,
    /// The incarnation of the last lease.
    former: Option<Incarnation>,
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

/// The outcome of an attempt to take the lease.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Acquisition {
    Acquired(Incarnation),
    /// Another process has a lease for this node, of this revision.
    Held {
        revision: u64,
    },
}

/// What a heartbeat has done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    Renewed,
    Acquired {
        incarnation: Incarnation,
        lost: bool,
    },
    /// Another process has a lease for this node.
    Rival,
}

impl Lease {
    pub(crate) fn new(key: String, ttl: Duration) -> Self {
        let life = crate::builder::random_number();
        Lease { key, life, ttl, state: Mutex::default(), operation: tokio::sync::Mutex::default() }
    }

    /// The number of this process.
    pub(crate) fn life(&self) -> Life {
        self.life
    }

    /// The time between heartbeats.
    pub(crate) fn interval(&self) -> Duration {
        self.ttl / 3
    }

    /// The incarnation of this node, while it surely has its lease.
    pub(crate) fn incarnation(&self) -> Option<Incarnation> {
        self.state.lock().held.filter(|held| Instant::now() < held.until).map(|held| held.incarnation)
    }

    /// For how long this node has its lease if it is not renewed.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        let until = self.state.lock().held?.until;
        until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// Whether this is the incarnation of the lease. The node may not be sure that it still has it.
    pub(crate) fn is_of(&self, incarnation: Incarnation) -> bool {
        self.state.lock().held.is_some_and(|held| held.incarnation == incarnation)
    }

    /// Takes the lease for a new incarnation, unless another process has one.
    pub(crate) async fn acquire(&self, store: &Store) -> Result<Acquisition, StoreError> {
        let _operation = self.operation.lock().await;
        let (incarnation, former) = {
            let state = self.state.lock();
            if let Some(held) = state.held {
                return Ok(Acquisition::Acquired(held.incarnation));
            }
            (Incarnation { life: self.life, lease: state.leases + 1 }, state.former)
        };
        for _ in 0..ATTEMPTS {
            let revision = match store.get(&self.key).await? {
                None => 0,
                // Stored by an attempt whose answer was lost.
                Some(entry) if is_for(&entry, incarnation) => entry.revision,
                Some(entry) if is_free(&entry) || former.is_some_and(|former| is_for(&entry, former)) => entry.revision,
                Some(entry) => return Ok(Acquisition::Held { revision: entry.revision }),
            };
            match self.store(store, incarnation, revision).await {
                Ok(()) => return Ok(Acquisition::Acquired(incarnation)),
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Conflict)
    }

    /// Renews the lease.
    pub(crate) async fn renew(&self, store: &Store) -> Result<Renewal, StoreError> {
        let _operation = self.operation.lock().await;
        let Some(held) = self.state.lock().held else { return Ok(Renewal::Lost) };
        let mut revision = held.revision;
        for _ in 0..ATTEMPTS {
            match self.store(store, held.incarnation, revision).await {
                Ok(()) => return Ok(Renewal::Renewed),
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error),
            }
            match store.get(&self.key).await? {
                // An earlier heartbeat was stored although its answer was lost. A lower revision is that of a server that has lost
                // what it had stored, perhaps names as well.
                Some(entry) if is_for(&entry, held.incarnation) && entry.revision > revision => {
                    revision = entry.revision
                }
                _ => {
                    self.state.lock().give_up();
                    return Ok(Renewal::Lost);
                }
            }
        }
        Err(StoreError::Conflict)
    }

    /// Renews the lease. After it was lost, takes a new one.
    pub(crate) async fn beat(&self, store: &Store) -> Result<Beat, StoreError> {
        let had = self.incarnation().is_some();
        if self.renew(store).await? == Renewal::Renewed {
            return Ok(Beat::Renewed);
        }
        Ok(match self.acquire(store).await? {
            Acquisition::Acquired(incarnation) => Beat::Acquired { incarnation, lost: had },
            Acquisition::Held { .. } => Beat::Rival,
        })
    }

    async fn store(&self, store: &Store, incarnation: Incarnation, revision: u64) -> Result<(), StoreError> {
        let began = Instant::now();
        let value = Bytes::copy_from_slice(&incarnation.encode());
        let revision = store.set(&self.key, value, revision).await?;
        let until = began + (self.ttl - self.ttl / MARGIN);
        let mut state = self.state.lock();
        state.held = Some(Held { incarnation, revision, until });
        state.leases = incarnation.lease;
        Ok(())
    }

    /// Gives the lease back, so that the names of this node are free at once.
    ///
    /// A mark takes its place, as in [`is_dead`]. The key is not removed: nats-server 2.9.10 can lose other keys of a bucket with a
    /// TTL, or bring this one back, if it is killed after a removal.
    pub(crate) async fn release(&self, store: &Store) -> Result<(), StoreError> {
        let Some(incarnation) = self.state.lock().give_up() else { return Ok(()) };
        // A heartbeat that is under way ends first.
        let _operation = self.operation.lock().await;
        self.state.lock().give_up();
        for _ in 0..ATTEMPTS {
            match store.get(&self.key).await? {
                Some(entry) if is_for(&entry, incarnation) => {
                    match store.set(&self.key, Bytes::new(), entry.revision).await {
                        Err(StoreError::Conflict) => {}
                        released => return released.map(drop),
                    }
                }
                _ => return Ok(()),
            }
        }
        Err(StoreError::Conflict)
    }
}

impl State {
    fn give_up(&mut self) -> Option<Incarnation> {
        let incarnation = self.held.take()?.incarnation;
        self.former = Some(incarnation);
        Some(incarnation)
    }
}

fn is_for(entry: &Entry, incarnation: Incarnation) -> bool {
    *entry.value == incarnation.encode()
}

/// Whether this is the mark of [`is_dead`], or of a node that has left.
fn is_free(entry: &Entry) -> bool {
    entry.value.is_empty()
}

/// The incarnation that has the lease of a node.
pub(crate) async fn incarnation_of(store: &Store, key: &str) -> Result<Option<Incarnation>, StoreError> {
    Ok(store.get(key).await?.and_then(|lease| incarnation(&lease)))
}

fn incarnation(lease: &Entry) -> Option<Incarnation> {
    Incarnation::decode(&lease.value)
}

/// Whether a node has a lease for this incarnation.
pub(crate) async fn is_alive(store: &Store, key: &str, incarnation: Incarnation) -> Result<bool, StoreError> {
    Ok(store.get(key).await?.is_some_and(|lease| is_for(&lease, incarnation)))
}

/// Whether an incarnation has lost its lease for certain.
///
/// To read nothing is not enough: a former leader of the servers can miss heartbeats that the present one has. So a mark is written
/// that only a key without a value takes.
pub(crate) async fn is_dead(store: &Store, key: &str, incarnation: Incarnation) -> Result<bool, StoreError> {
    for _ in 0..ATTEMPTS {
        match store.get(key).await? {
            Some(entry) => return Ok(!is_for(&entry, incarnation)),
            None => match store.set(key, Bytes::new(), 0).await {
                Ok(_) => return Ok(true),
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error),
            },
        }
    }
    Err(StoreError::Conflict)
}

/// The nodes that have a lease, with their incarnations, sorted by name.
pub(crate) async fn nodes(store: &Store) -> Result<Vec<(String, Incarnation)>, StoreError> {
    let read = async |key: String| {
        let Some(lease) = store.get(&key).await? else { return Ok(None) };
        Ok(crate::subject::name(&key).zip(incarnation(&lease)))
    };
    let read = futures::stream::iter(store.keys().await?).map(read).buffer_unordered(READ_AT_ONCE);
    let mut nodes: Vec<_> = read.try_filter_map(async |node| Ok(node)).try_collect().await?;
    nodes.sort();
    Ok(nodes)
}

/// Whether this is the first node by name.
///
/// Marks count as nodes unless `with_marks` is false, in which case the keys before this one are read.
pub(crate) async fn is_first(store: &Store, node: &str, with_marks: bool) -> Result<bool, StoreError> {
    for key in store.keys().await? {
        if crate::subject::name(&key).is_none_or(|name| *name >= *node) {
            continue;
        }
        if with_marks || store.get(&key).await?.is_some_and(|lease| !is_free(&lease)) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::LocalBus;

    const TTL: Duration = Duration::from_secs(15);

    async fn acquired(lease: &Lease, store: &Store) -> Incarnation {
        match lease.acquire(store).await.expect("a store") {
            Acquisition::Acquired(incarnation) => incarnation,
            held => panic!("{held:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_believes_in_its_lease_for_a_shorter_time_than_the_server() {
        let store = LocalBus::new().store("leases", Some(TTL));
        let lease = Lease::new("a".to_owned(), TTL);
        assert_eq!(lease.incarnation(), None);
        let first = acquired(&lease, &store).await;
        assert_eq!(lease.incarnation(), Some(first));
        tokio::time::advance(lease.interval()).await;
        assert_eq!(lease.renew(&store).await.expect("a store"), Renewal::Renewed);
        tokio::time::advance(TTL - TTL / 10).await;
        assert_eq!(lease.incarnation(), None);
        assert!(is_alive(&store, "a", first).await.expect("a store"));
        // It may renew it late, as long as the server has it.
        assert_eq!(lease.renew(&store).await.expect("a store"), Renewal::Renewed);
        assert_eq!(lease.incarnation(), Some(first));
        tokio::time::advance(TTL).await;
        assert!(!is_alive(&store, "a", first).await.expect("a store"));
        assert_eq!(lease.renew(&store).await.expect("a store"), Renewal::Lost);
        let second = acquired(&lease, &store).await;
        assert!(first != second && is_alive(&store, "a", second).await.expect("a store"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_waits_until_the_lease_of_another_has_run_out() {
        let store = LocalBus::new().store("leases", Some(TTL));
        let (former, new) = (Lease::new("a".to_owned(), TTL), Lease::new("a".to_owned(), TTL));
        let first = acquired(&former, &store).await;
        assert!(matches!(new.acquire(&store).await.expect("a store"), Acquisition::Held { .. }));
        assert_eq!(former.renew(&store).await.expect("a store"), Renewal::Renewed);
        tokio::time::advance(TTL - Duration::from_millis(1)).await;
        assert!(matches!(new.acquire(&store).await.expect("a store"), Acquisition::Held { .. }));
        tokio::time::advance(Duration::from_millis(1)).await;
        acquired(&new, &store).await;
        // The former one does not take it back.
        assert!(!is_alive(&store, "a", first).await.expect("a store"));
        assert_eq!(former.renew(&store).await.expect("a store"), Renewal::Lost);
        assert!(matches!(former.acquire(&store).await.expect("a store"), Acquisition::Held { .. }));
        former.release(&store).await.expect("a store");
        assert_eq!(new.renew(&store).await.expect("a store"), Renewal::Renewed);
        new.release(&store).await.expect("a store");
        acquired(&former, &store).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_mark_does_not_displace_the_first_node() {
        let store = LocalBus::new().store("leases", Some(TTL));
        let (first, second) = (Lease::new("a".to_owned(), TTL), Lease::new("b".to_owned(), TTL));
        let incarnation = acquired(&first, &store).await;
        tokio::time::advance(TTL / 2).await;
        acquired(&second, &store).await;
        let is_first = async |with_marks| is_first(&store, "b", with_marks).await.expect("a store");
        assert_eq!((is_first(true).await, is_first(false).await), (false, false));
        tokio::time::advance(TTL / 2).await;
        assert!(is_first(true).await && is_dead(&store, "a", incarnation).await.expect("a store"));
        assert_eq!((is_first(true).await, is_first(false).await), (false, true));
        // The mark disappears as well.
        second.renew(&store).await.expect("a store");
        tokio::time::advance(TTL - TTL / 10).await;
        second.renew(&store).await.expect("a store");
        tokio::time::advance(TTL / 10).await;
        assert!(is_first(true).await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_incarnation_that_was_found_dead_stays_dead() {
        let store = LocalBus::new().store("leases", Some(TTL));
        let lease = Lease::new("a".to_owned(), TTL);
        let first = acquired(&lease, &store).await;
        assert!(!is_dead(&store, "a", first).await.expect("a store"));
        tokio::time::advance(TTL).await;
        assert!(is_dead(&store, "a", first).await.expect("a store"));
        assert_eq!(nodes(&store).await.expect("a store"), []);
        assert_eq!(lease.renew(&store).await.expect("a store"), Renewal::Lost);
        // The mark does not keep the node from a new lease.
        let second = acquired(&lease, &store).await;
        assert!(is_dead(&store, "a", first).await.expect("a store"));
        assert_eq!(nodes(&store).await.expect("a store"), [("a".to_owned(), second)]);
    }
}
