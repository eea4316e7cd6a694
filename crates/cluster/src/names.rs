//! Names that are unique over all nodes.
//!
//! A name is a key of a bucket. Its value says which connection of which incarnation of a node has it, and it counts only while
//! that incarnation has its lease. While it has, no other node changes the key unless that node has given the name up.

use std::collections::HashMap;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::bus::{Store, StoreError};
use crate::incarnation::Incarnation;
use crate::lease;
use crate::subject::token;

/// The version of the records.
const VERSION: u8 = 1;

/// How often a name that changes while it is read is read again.
const ATTEMPTS: usize = 16;

/// How many names a sweep reads concurrently.
const SWEPT_AT_ONCE: usize = 32;

/// The owner of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub(crate) node: String,
    pub(crate) incarnation: Incarnation,
    pub(crate) connection: u64,
}

impl Owner {
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = vec![VERSION];
        // Cannot fail: it has a string and two numbers.
        bytes.extend(postcard::to_stdvec(self).unwrap_or_default());
        bytes.into()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        postcard::from_bytes(rest).ok().filter(|_| *version == VERSION)
    }
}

/// The buckets of a cluster.
pub(crate) struct Buckets {
    pub(crate) leases: Store,
    pub(crate) names: Store,
}

impl Buckets {
    /// The owner of a name, if its node has its lease.
    pub(crate) async fn owner(&self, key: &str) -> Result<Option<Owner>, StoreError> {
        let mut checked = None;
        for _ in 0..ATTEMPTS {
            let Some(entry) = self.names.get(key).await? else { return Ok(None) };
            if checked == Some(entry.revision) {
                // It has had no other owner since its node was found without its lease.
                return Ok(None);
            }
            let Some(owner) = Owner::decode(&entry.value) else { return Ok(None) };
            if self.is_alive(&owner).await? {
                return Ok(Some(owner));
            }
            checked = Some(entry.revision);
        }
        Err(StoreError::Conflict)
    }

    /// Removes the names of incarnations that have no lease. Returns how many.
    pub(crate) async fn sweep(&self) -> Result<usize, StoreError> {
        let alive = Mutex::new(HashMap::new());
        let swept = futures::stream::iter(self.names.keys().await?).map(|key| self.sweep_name(key, &alive));
        swept.buffer_unordered(SWEPT_AT_ONCE).try_fold(0, async |sum, swept| Ok(sum + usize::from(swept))).await
    }

    async fn sweep_name(
        &self,
        key: String,
        dead: &Mutex<HashMap<(String, Incarnation), bool>>,
    ) -> Result<bool, StoreError> {
        let Some(entry) = self.names.get(&key).await? else { return Ok(false) };
        if entry.value.is_empty() {
            self.names.remove(&key, entry.revision).await?;
            return Ok(true);
        }
        // One that cannot be read may be of a newer version.
        let Some(owner) = Owner::decode(&entry.value) else { return Ok(false) };
        let node = (owner.node.clone(), owner.incarnation);
        let known = dead.lock().get(&node).copied();
        let is_dead = match known {
            Some(is_dead) => is_dead,
            None => {
                let is_dead = self.is_dead(&owner).await?;
                dead.lock().insert(node, is_dead);
                is_dead
            }
        };
        if is_dead {
            self.names.remove(&key, entry.revision).await?;
        }
        Ok(is_dead)
    }

    async fn is_alive(&self, owner: &Owner) -> Result<bool, StoreError> {
        let Some(key) = token(&owner.node) else { return Ok(false) };
        lease::is_alive(&self.leases, &key, owner.incarnation).await
    }

    /// Whether the node of an owner has lost its lease for certain.
    pub(crate) async fn is_dead(&self, owner: &Owner) -> Result<bool, StoreError> {
        let Some(key) = token(&owner.node) else { return Ok(true) };
        lease::is_dead(&self.leases, &key, owner.incarnation).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bus::LocalBus;

    #[tokio::test]
    async fn a_sweep_removes_the_names_of_former_leases_only() {
        let (bus, ttl) = (LocalBus::new(), Duration::from_secs(15));
        let buckets = Buckets { leases: bus.store("leases", Some(ttl)), names: bus.store("names", None) };
        let incarnation = |life| Incarnation { life, lease: 1 };
        let lease = Bytes::copy_from_slice(&incarnation(2).encode());
        buckets.leases.set("one", lease, 0).await.expect("a store");
        // Of one node before and after a restart: the first one that is looked at does not decide about the others.
        for (name, life) in [("a", 1), ("b", 2), ("c", 1), ("d", 2)] {
            let owner = Owner { node: "one".to_owned(), incarnation: incarnation(life), connection: 7 };
            buckets.names.set(name, owner.encode(), 0).await.expect("a store");
        }
        // The mark that `nats kv del` leaves, and a record of a newer version.
        for (name, value) in [("e", Bytes::new()), ("f", Bytes::from_static(&[VERSION + 1, 9]))] {
            buckets.names.set(name, value, 0).await.expect("a store");
        }
        assert_eq!(buckets.sweep().await.expect("a store"), 3);
        assert_eq!(buckets.names.keys().await.expect("a store"), ["b", "d", "f"]);
        assert_eq!(buckets.sweep().await.expect("a store"), 0);
    }
}
