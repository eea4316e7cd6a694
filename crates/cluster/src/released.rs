//! Looks at names again that were released some time ago, since a server that failed may have forgotten the release.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use futures::StreamExt;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::warn;

use crate::bus::{Entry, StoreError};
use crate::names::{Buckets, Owner};
use crate::naming::{Naming, AT_ONCE};
use crate::subject::token;

/// How many names are remembered. With more, the oldest are forgotten.
const MAX: usize = 65_536;

/// How many names are looked at in one interval.
const PORTION: usize = 4_096;

/// Names that were released, and when.
#[derive(Default)]
pub(crate) struct Released(Mutex<VecDeque<(Instant, Arc<str>)>>);

impl Released {
    pub(crate) fn add(&self, name: &Arc<str>) {
        let mut names = self.0.lock();
        if names.len() == MAX {
            names.pop_front();
        }
        names.push_back((Instant::now(), name.clone()));
    }

    /// Takes the next name that was released before this time.
    fn next(&self, before: Instant) -> Option<Arc<str>> {
        let mut names = self.0.lock();
        names.front().filter(|(released, _)| *released <= before)?;
        names.pop_front().map(|(_, name)| name)
    }
}

impl Naming {
    /// Looks at the names that were released a TTL ago, and releases those again whose records have come back.
    pub(crate) async fn check_released(&self) {
        let Some(before) = Instant::now().checked_sub(self.ttl) else { return };
        let due: Vec<_> = std::iter::from_fn(|| self.released.next(before)).take(PORTION).collect();
        futures::stream::iter(due).for_each_concurrent(AT_ONCE, |name| self.check(name)).await;
    }

    async fn check(&self, name: Arc<str>) {
        let (Some(lock), Ok(buckets)) = (self.locks.try_lock(&name), self.buckets()) else {
            return self.released.add(&name);
        };
        let removed = self.remove_left(&name, buckets).await;
        drop(lock);
        match removed {
            Ok(false) => {}
            Ok(true) => {
                warn!(
                    node = self.node,
                    name = &*name,
                    "the server has forgotten the release of a name; released it again"
                );
                self.released.add(&name);
            }
            Err(_) => {
                self.has_failed.store(true, Relaxed);
                self.released.add(&name);
            }
        }
    }

    /// Removes the record of a name if it belongs to this node although none of its connections has the name. Returns whether there
    /// was such a record. The name must be locked.
    pub(crate) async fn remove_left(&self, name: &str, buckets: &Buckets) -> Result<bool, StoreError> {
        let key = token(name).unwrap_or_default();
        let entry = buckets.names.get(&key).await?;
        let own = self.own.get(name).map(|own| own.revision);
        let is_left = |entry: &Entry| {
            own != Some(entry.revision) && Owner::decode(&entry.value).is_some_and(|owner| self.is_own(&owner))
        };
        let left = entry.filter(is_left);
        if let Some(entry) = &left {
            buckets.names.remove(&key, entry.revision).await?;
        }
        Ok(left.is_some())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_acceptor::ConnectionId;
    use futures::future::BoxFuture;

    use super::*;
    use crate::bus::LocalBus;
    use crate::naming::Host;

    const TTL: Duration = Duration::from_secs(15);

    struct Open;

    impl Host for Open {
        fn is_open(&self, _: ConnectionId) -> bool {
            true
        }

        fn close(&self, _: &str, _: ConnectionId) {}

        fn ask_for(&self, _: &str, _: &Owner) -> BoxFuture<'static, bool> {
            Box::pin(futures::future::ready(false))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_release_that_the_server_has_forgotten_is_repeated() {
        let (bus, naming) = (LocalBus::new(), Naming::new("one", TTL));
        let buckets = Buckets { leases: bus.store("leases", Some(TTL)), names: bus.store("names", None) };
        naming.lease.acquire(&buckets.leases).await.expect("a store");
        assert!(naming.buckets.set(buckets).is_ok());
        let names = bus.store("names", None);
        let (first, second) = (ConnectionId::from(1), ConnectionId::from(2));
        let register = async |id, name: &str| naming.register(&Open, id, name.into(), false).await.expect("it is free");

        for name in ["ann", "bob", "cat"] {
            register(first, name).await;
        }
        let before = names.get("ann").await.expect("a store").expect("it is registered").value;
        naming.ended(first);
        naming.release_due().await;
        assert_eq!(names.keys().await.expect("a store"), Vec::<String>::new());

        // The server has gone back to a state in which two of them are registered. One of those has a new owner since.
        names.set("ann", before.clone(), 0).await.expect("there is none");
        names.set("bob", before, 0).await.expect("there is none");
        register(second, "bob").await;
        naming.check_released().await;
        assert_eq!(names.keys().await.expect("a store").len(), 2, "it is too early");

        tokio::time::advance(TTL / 2).await;
        naming.lease.beat(&naming.buckets.get().expect("it is set").leases).await.expect("a store");
        tokio::time::advance(TTL / 2).await;
        naming.check_released().await;
        assert_eq!(names.keys().await.expect("a store"), ["bob"]);
        assert!(naming.owns(second, "bob"));
        // One that has come back is looked at once more.
        assert_eq!(naming.released.0.lock().len(), 1);
    }
}
