//! Releasing the names of connections that have ended, and of registrations that have failed.

use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::ConnectionId;
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::warn;

use crate::bus::{Entry, StoreError};
use crate::names::Owner;
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
            // After a failure, it stays among those to release.
            let _ = self.release(&name).await;
        }
        had
    }

    async fn release(&self, name: &Arc<str>) -> Result<(), StoreError> {
        let _lock = self.locks.lock(name).await;
        let Some(release) = self.releases.lock().get(name).copied() else { return Ok(()) };
        let (key, began) = (token(name).unwrap_or_default(), Instant::now());
        let buckets = self.buckets().map_err(StoreError::Unavailable)?;
        match release.revision {
            Some(revision) => buckets.names.remove(&key, revision).await?,
            None => {
                let entry = buckets.names.get(&key).await?;
                let own = self.own.get(name).map(|own| own.revision);
                let is_left = |entry: &Entry| {
                    own != Some(entry.revision) && Owner::decode(&entry.value).is_some_and(|owner| self.is_own(&owner))
                };
                if let Some(entry) = entry.filter(is_left) {
                    buckets.names.remove(&key, entry.revision).await?;
                }
            }
        }
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
                if let Err(error) = self.release(&name).await {
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
