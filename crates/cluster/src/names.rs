//! Names that are unique over all nodes.
//!
//! A name is a key of a bucket. Its value says which connection of which incarnation of a node has it, and it counts only while
//! that incarnation has its lease. Every change is a compare-and-set of the key.

use std::collections::HashMap;
use std::sync::Arc;

use actix_acceptor::ConnectionId;
use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::bus::{Entry, Store, StoreError};
use crate::lease::{self, Incarnation};
use crate::subject::token;

/// The version of the records.
const VERSION: u8 = 1;

/// A key that other nodes change all the time is tried so often.
const ATTEMPTS: usize = 16;

/// The owner of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub(crate) node: String,
    pub(crate) incarnation: Incarnation,
    pub(crate) connection: u64,
}

impl Owner {
    fn encode(&self) -> Bytes {
        let mut bytes = vec![VERSION];
        // Cannot fail: it has a string and two numbers.
        bytes.extend(postcard::to_stdvec(self).unwrap_or_default());
        bytes.into()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        postcard::from_bytes(rest).ok().filter(|_| *version == VERSION)
    }
}

/// The outcome of a registration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The key has this revision. The former owner, if it is alive, does not know of this yet.
    Done { revision: u64, former: Option<Owner> },
    /// A living connection has the name.
    Taken(Owner),
    /// The key has a value of an unknown version.
    Unreadable,
}

/// The buckets of a cluster.
pub(crate) struct Buckets {
    pub(crate) leases: Store,
    pub(crate) names: Store,
}

impl Buckets {
    /// Makes a connection the owner of a name.
    ///
    /// `is_alive_here` is asked about connections of the same incarnation. With `replaces`, a living owner loses the name.
    pub(crate) async fn claim(
        &self,
        key: &str,
        owner: &Owner,
        replaces: bool,
        is_alive_here: impl Fn(u64) -> bool,
    ) -> Result<Claim, StoreError> {
        let value = owner.encode();
        let (mut revision, mut former) = (0, None);
        for _ in 0..ATTEMPTS {
            match self.names.set(key, value.clone(), revision).await {
                Ok(revision) => return Ok(Claim::Done { revision, former }),
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error),
            }
            (revision, former) = (0, None);
            let Some(Entry { value, revision: current }) = self.names.get(key).await? else { continue };
            revision = current;
            // One that cannot be read may be of a newer version.
            let Some(other) = Owner::decode(&value) else { return Ok(Claim::Unreadable) };
            if other == *owner {
                return Ok(Claim::Done { revision, former: None });
            }
            let is_alive = if (&other.node, other.incarnation) == (&owner.node, owner.incarnation) {
                is_alive_here(other.connection)
            } else {
                self.is_alive(&other).await?
            };
            if is_alive && !replaces {
                return Ok(Claim::Taken(other));
            }
            former = Some(other).filter(|_| is_alive);
        }
        Err(StoreError::Conflict)
    }

    /// The owner of a name, if its node has its lease.
    pub(crate) async fn owner(&self, key: &str) -> Result<Option<Owner>, StoreError> {
        let Some(owner) = self.names.get(key).await?.and_then(|entry| Owner::decode(&entry.value)) else {
            return Ok(None);
        };
        Ok(self.is_alive(&owner).await?.then_some(owner))
    }

    /// Removes the names of incarnations that have no lease. Returns how many.
    pub(crate) async fn sweep(&self) -> Result<usize, StoreError> {
        let mut swept = 0;
        for key in self.names.keys().await? {
            let Some(entry) = self.names.get(&key).await? else { continue };
            let is_alive = match Owner::decode(&entry.value) {
                Some(owner) => self.is_alive(&owner).await?,
                // Of a newer version, perhaps.
                None => true,
            };
            if !is_alive {
                self.names.remove(&key, entry.revision).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    async fn is_alive(&self, owner: &Owner) -> Result<bool, StoreError> {
        let Some(key) = token(&owner.node) else { return Ok(false) };
        lease::is_alive(&self.leases, &key, owner.incarnation).await
    }
}

/// The names of the connections of this node, with the revisions of their keys.
#[derive(Debug, Default)]
pub(crate) struct OwnNames(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    names: HashMap<Arc<str>, Owned>,
    connections: HashMap<ConnectionId, Vec<Arc<str>>>,
}

#[derive(Clone, Copy, Debug)]
struct Owned {
    id: ConnectionId,
    incarnation: Incarnation,
    revision: u64,
}

impl OwnNames {
    pub(crate) fn count(&self) -> usize {
        self.0.lock().names.len()
    }

    pub(crate) fn insert(&self, name: &Arc<str>, id: ConnectionId, incarnation: Incarnation, revision: u64) {
        let mut tables = self.0.lock();
        tables.forget(name);
        tables.names.insert(name.clone(), Owned { id, incarnation, revision });
        tables.connections.entry(id).or_default().push(name.clone());
    }

    /// Whether a connection has a name, which it got in this incarnation.
    pub(crate) fn has(&self, name: &str, id: ConnectionId, incarnation: Incarnation) -> bool {
        self.0.lock().names.get(name).is_some_and(|owned| (owned.id, owned.incarnation) == (id, incarnation))
    }

    /// The names that a connection got in this incarnation.
    pub(crate) fn of_connection(&self, id: ConnectionId, incarnation: Incarnation) -> Vec<Arc<str>> {
        let tables = self.0.lock();
        let names = tables.connections.get(&id).into_iter().flatten();
        let is_current =
            |name: &&Arc<str>| tables.names.get(&***name).is_some_and(|owned| owned.incarnation == incarnation);
        names.filter(is_current).cloned().collect()
    }

    /// Forgets a name if this connection has it. Returns the revision of its key.
    pub(crate) fn remove(&self, name: &str, id: ConnectionId) -> Option<u64> {
        let mut tables = self.0.lock();
        tables.names.get(name).filter(|owned| owned.id == id)?;
        tables.forget(name)
    }

    /// Forgets all names of a connection. Returns them, with the revisions of their keys.
    pub(crate) fn remove_connection(&self, id: ConnectionId) -> Vec<(Arc<str>, u64)> {
        let mut tables = self.0.lock();
        let names = tables.connections.remove(&id).unwrap_or_default();
        let released =
            names.into_iter().filter_map(|name| tables.names.remove(&name).map(|owned| (name, owned.revision)));
        released.collect()
    }

    /// Forgets all names. Returns them with their connections.
    pub(crate) fn clear(&self) -> Vec<(Arc<str>, ConnectionId)> {
        let tables = std::mem::take(&mut *self.0.lock());
        tables.names.into_iter().map(|(name, owned)| (name, owned.id)).collect()
    }
}

impl Tables {
    fn forget(&mut self, name: &str) -> Option<u64> {
        let Owned { id, revision, .. } = self.names.remove(name)?;
        if let Some(names) = self.connections.get_mut(&id) {
            names.retain(|other| **other != *name);
            if names.is_empty() {
                self.connections.remove(&id);
            }
        }
        Some(revision)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bus::LocalBus;
    use crate::lease::Lease;

    const TTL: Duration = Duration::from_secs(15);

    fn owner(node: &str, incarnation: u64, connection: u64) -> Owner {
        Owner { node: node.to_owned(), incarnation, connection }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_belongs_to_a_living_incarnation_only() {
        let bus = LocalBus::new();
        let buckets = Buckets { leases: bus.store("leases", Some(TTL)), names: bus.store("names", None) };
        let lease = Lease::new("a".to_owned(), TTL);
        lease.acquire(&buckets.leases, 1).await.expect("a new key");
        Lease::new("b".to_owned(), TTL).acquire(&buckets.leases, 7).await.expect("a new key");
        let (ann, other, here) = (owner("a", 1, 10), owner("b", 7, 10), owner("a", 1, 11));
        let claim = async |owner: &Owner, replaces, alive: bool| {
            buckets.claim("ann", owner, replaces, |_| alive).await.expect("a store")
        };
        assert!(matches!(claim(&ann, false, true).await, Claim::Done { former: None, .. }));
        // The answer to a request that was lost: the same once more.
        assert!(matches!(claim(&ann, false, true).await, Claim::Done { former: None, .. }));
        assert_eq!(claim(&other, false, true).await, Claim::Taken(ann.clone()));
        assert_eq!(claim(&here, false, true).await, Claim::Taken(ann.clone()));
        assert_eq!(buckets.owner("ann").await.expect("a store"), Some(ann.clone()));
        // On the same node, a connection that has ended is no owner.
        assert!(matches!(claim(&here, false, false).await, Claim::Done { former: None, .. }));
        // Another node takes the name over.
        assert!(matches!(claim(&other, true, true).await, Claim::Done { former: Some(former), .. } if former == here));
        assert_eq!(buckets.owner("ann").await.expect("a store"), Some(other.clone()));
        // Its lease runs out.
        tokio::time::advance(TTL).await;
        assert_eq!(buckets.owner("ann").await.expect("a store"), None);
        lease.acquire(&buckets.leases, 2).await.expect("a free key");
        assert!(matches!(claim(&owner("a", 2, 1), false, true).await, Claim::Done { former: None, .. }));
    }
}
