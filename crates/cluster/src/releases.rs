//! Releasing the names of connections that have ended, and of registrations that have failed.

use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::ConnectionId;
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::warn;

use crate::bus::StoreError;
use crate::name_locks::NameLock;
use crate::naming::{Naming, AT_ONCE, RETRY};
use crate::subject::token;

/// A key that is to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Release {
    due: Instant,
    /// The value to remove.
    revision: Option<u64>,
    /// Until then, a record of this node may appear whose registration has failed.
    doubtful_until: Option<Instant>,
}

impl Naming {
    pub(crate) fn release_later(&self, name: &Arc<str>, revision: u64, after: Duration) {
        let due = Instant::now() + after;
        let mut releases = self.releases.lock();
        let doubtful_until = releases.get(name).and_then(|release| release.doubtful_until);
        releases.insert(name.clone(), Release { due, revision: Some(revision), doubtful_until });
        drop(releases);
        self.has_releases.notify_one();
    }

    /// A registration has failed, but its record may have been stored, or may be stored later.
    pub(crate) fn doubt(&self, name: &Arc<str>) {
        let now = Instant::now();
        let release = Release { due: now, revision: None, doubtful_until: Some(now + self.ttl) };
        self.releases.lock().insert(name.clone(), release);
        self.has_releases.notify_one();
    }

    /// A name is registered again: a release is about an earlier revision.
    pub(crate) fn keep_name(&self, name: &Arc<str>) {
        let mut releases = self.releases.lock();
        if let Some(release) = releases.remove(name).filter(|release| release.doubtful_until.is_some()) {
            releases.insert(name.clone(), Release { revision: None, ..release });
        }
    }

    /// Removes a name from the table, and its key later. Returns false if this connection does not have it.
    pub(crate) fn withdraw(&self, name: &Arc<str>, id: ConnectionId) -> bool {
        let own = self.own.remove(name, id);
        if let Some(own) = own {
            self.release_later(name, own.revision, Duration::ZERO);
        }
        own.is_some()
    }

    /// Releases a name of this connection. Returns false if it does not have it.
    pub(crate) async fn unregister(&self, id: ConnectionId, name: Arc<str>) -> bool {
        let had = self.withdraw(&name, id);
        if had {
            let lock = self.locks.lock(&name).await;
            // After a failure, it stays among those to release.
            let _ = self.release(&name, lock).await;
        }
        had
    }

    async fn release(&self, name: &Arc<str>, _lock: NameLock<'_>) -> Result<(), StoreError> {
        let Some(release) = self.releases.lock().get(name).copied() else { return Ok(()) };
        let began = Instant::now();
        let buckets = self.buckets().map_err(StoreError::Unavailable)?;
        match release.revision {
            Some(revision) => buckets.names.remove(&token(name).unwrap_or_default(), revision).await?,
            None => drop(self.remove_left(name, buckets).await?),
        }
        self.released.add(name);
        let mut releases = self.releases.lock();
        if releases.get(name) == Some(&release) {
            releases.remove(name);
            if let Some(until) = release.doubtful_until.filter(|until| release.revision.is_some() || began < *until) {
                releases.insert(name.clone(), Release { due: until, revision: None, ..release });
            }
        }
        Ok(())
    }

    /// Releases what is due, several at a time. Returns when the next ones are due.
    pub(crate) async fn release_due(&self) -> Option<Instant> {
        loop {
            let now = Instant::now();
            let (due, next) = {
                let releases = self.releases.lock();
                let due: Vec<_> =
                    releases.iter().filter(|(_, at)| at.due <= now).map(|(name, _)| name.clone()).collect();
                (due, releases.values().map(|release| release.due).filter(|due| *due > now).min())
            };
            if due.is_empty() {
                return next;
            }
            let failed = Mutex::new(None);
            let release = async |name: Arc<str>| {
                if failed.lock().is_some() {
                    return;
                }
                let Some(lock) = self.locks.try_lock(&name) else {
                    // Other names do not wait for the operation that is under way.
                    if let Some(release) = self.releases.lock().get_mut(&name) {
                        release.due = now + RETRY;
                    }
                    return;
                };
                if let Err(error) = self.release(&name, lock).await {
                    *failed.lock() = Some(error);
                }
            };
            futures::stream::iter(due).for_each_concurrent(AT_ONCE, release).await;
            if let Some(error) = failed.into_inner() {
                let names = self.releases.lock().len();
                warn!(node = self.node, names, %error, "cannot release names; retrying");
                return Some(Instant::now() + RETRY);
            }
        }
    }

    /// Waits for names to release.
    pub(crate) async fn until_release(&self, next: Option<Instant>) {
        let has_releases = self.has_releases.notified();
        match next {
            Some(next) => drop(tokio::time::timeout_at(next, has_releases).await),
            None => has_releases.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::{BoxFuture, FutureExt};

    use super::*;
    use crate::bus::LocalBus;
    use crate::names::{Buckets, Owner};
    use crate::naming::Host;
    use crate::RegisterError;

    const TTL: Duration = Duration::from_secs(15);

    /// The node of another owner does not answer.
    struct Hung;

    impl Host for Hung {
        fn is_open(&self, _: ConnectionId) -> bool {
            true
        }

        fn close(&self, _: &str, _: ConnectionId) {}

        fn ask_for(&self, _: &str, _: &Owner) -> BoxFuture<'static, bool> {
            futures::future::pending().boxed()
        }
    }

    async fn node(name: &str, bus: &LocalBus) -> Naming {
        let naming = Naming::new(name, TTL);
        let buckets = Buckets { leases: bus.store("leases", Some(TTL)), names: bus.store("names", None) };
        naming.lease.acquire(&buckets.leases).await.expect("a store");
        assert!(naming.buckets.set(buckets).is_ok());
        naming
    }

    async fn registered(naming: &Naming, id: u64, name: &str) -> Result<bool, RegisterError> {
        naming.register(&Hung, ConnectionId::from(id), name.into(), false).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_is_waited_for_delays_no_other_operation() {
        let (bus, began) = (LocalBus::new(), Instant::now());
        let (one, two) = (node("one", &bus).await, node("two", &bus).await);
        assert!(registered(&two, 1, "ann").await.is_ok() && registered(&one, 2, "bob").await.is_ok());
        let mut replaces = Box::pin(one.register(&Hung, ConnectionId::from(3), "ann".into(), true));
        assert!((&mut replaces).now_or_never().is_none());
        one.doubt(&"ann".into());
        one.ended(ConnectionId::from(2));
        let taken = registered(&one, 4, "ann").await;
        assert!(matches!(&taken, Err(RegisterError::Taken { node }) if node == "two"), "{taken:?}");
        one.release_due().await;
        assert!(registered(&two, 5, "bob").await.is_ok());
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    /// Asks this node.
    struct Asks<'a>(&'a Naming);

    impl Host for Asks<'_> {
        fn is_open(&self, _: ConnectionId) -> bool {
            true
        }

        fn close(&self, _: &str, _: ConnectionId) {}

        fn ask_for(&self, name: &str, owner: &Owner) -> BoxFuture<'static, bool> {
            let name = name.into();
            let given_up = self.0.give_up(&Hung, owner.incarnation, owner.connection.into(), &name);
            let given_up = given_up.now_or_never().expect("the name is not locked");
            futures::future::ready(given_up).boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_former_owner_releases_nothing_of_the_next_one() {
        let bus = LocalBus::new();
        let (one, two) = (node("one", &bus).await, node("two", &bus).await);
        registered(&one, 1, "ann").await.expect("it is free");
        let replaced = two.register(&Asks(&one), ConnectionId::from(2), "ann".into(), true).await;
        assert!(replaced.expect("it is given up") && !one.owns(ConnectionId::from(1), "ann"));
        let record = async || bus.store("names", None).get("ann").await.expect("a store").map(|entry| entry.revision);
        let of_two = record().await;
        one.ended(ConnectionId::from(1));
        while let Some(next) = one.release_due().await {
            tokio::time::sleep_until(next).await;
        }
        assert!(one.releases.lock().is_empty() && of_two.is_some() && record().await == of_two);
        assert!(two.owns(ConnectionId::from(2), "ann"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_with_an_operation_under_way_is_released_later() {
        let (bus, began) = (LocalBus::new(), Instant::now());
        let one = node("one", &bus).await;
        for (id, name) in [(1, "ann"), (2, "bob")] {
            registered(&one, id, name).await.expect("it is free");
            one.ended(ConnectionId::from(id));
        }
        let lock = one.locks.lock(&"ann".into()).await;
        let next = one.release_due().await;
        assert_eq!(next, Some(began + RETRY));
        let names = bus.store("names", None);
        assert_eq!(names.keys().await.expect("a store"), ["ann"]);
        drop(lock);
        tokio::time::advance(RETRY).await;
        assert_eq!((one.release_due().await, names.keys().await.expect("a store")), (None, Vec::new()));
    }
}
