//! The names of this node's connections: registering, giving up, releasing.
//!
//! The table of the node's own names decides who has a name while the node has its lease. A connection is in it only after its
//! record was stored, and is taken out before the record is removed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::{BoxError, ConnectionId};
use futures::future::BoxFuture;
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::{Notify, OnceCell};
use tokio::time::Instant;
use tracing::warn;

use crate::bus::{Entry, StoreError};
use crate::incarnation::Incarnation;
use crate::lease::Lease;
use crate::name_locks::NameLocks;
use crate::names::{Buckets, Owner};
use crate::own_names::{OwnName, OwnNames};
use crate::released::Released;
use crate::releases::Release;
use crate::subject::{token, token_length};
use crate::undo::Undos;
use crate::RegisterError;

/// The pause after a failed operation on the buckets.
pub(crate) const RETRY: Duration = Duration::from_millis(500);

/// How often an operation is retried on a key that other nodes keep changing.
const ATTEMPTS: usize = 16;

/// How many names are released or registered again concurrently.
pub(crate) const AT_ONCE: usize = 64;

/// A name that was given up is released after this time, unless its new owner has registered it by then.
const HANDED_OVER_WITHIN: Duration = Duration::from_secs(2);

/// What names need of their node.
pub(crate) trait Host: Send + Sync {
    fn is_open(&self, id: ConnectionId) -> bool;

    /// A connection has lost a name.
    fn close(&self, name: &str, id: ConnectionId);

    /// Asks the node of an owner to give the name up. Returns true if it has.
    fn ask_for(&self, name: &str, owner: &Owner) -> BoxFuture<'static, bool>;
}

/// The outcome of an attempt to register a name.
enum Registration {
    Registered,
    /// This connection had it already.
    Kept,
    /// A connection of another node has it, with this revision of the record.
    Taken(Owner, u64),
}

/// The outcome of an attempt to store the record of a name.
enum Claim {
    /// With this revision.
    Stored(u64),
    Taken(Owner, u64),
}

pub(crate) struct Naming {
    pub(crate) node: String,
    pub(crate) ttl: Duration,
    pub(crate) buckets: OnceCell<Buckets>,
    /// Whether an operation on a bucket has failed: the server may have lost it.
    pub(crate) has_failed: AtomicBool,
    pub(crate) lease: Lease,
    pub(crate) own: OwnNames,
    pub(crate) locks: NameLocks,
    pub(crate) undos: Undos,
    pub(crate) releases: Mutex<HashMap<Arc<str>, Release>>,
    pub(crate) has_releases: Notify,
    pub(crate) released: Released,
}

impl Naming {
    pub(crate) fn new(node: &str, ttl: Duration) -> Self {
        Naming {
            node: node.to_owned(),
            ttl,
            buckets: OnceCell::new(),
            has_failed: AtomicBool::new(false),
            // The builder has checked the name.
            lease: Lease::new(token(node).unwrap_or_default(), ttl),
            own: OwnNames::default(),
            locks: NameLocks::default(),
            undos: Undos::default(),
            releases: Mutex::default(),
            has_releases: Notify::new(),
            released: Released::default(),
        }
    }

    pub(crate) fn buckets(&self) -> Result<&Buckets, BoxError> {
        self.buckets.get().ok_or_else(|| "not connected yet".into())
    }

    /// Whether this connection has this name, as far as this node can know without asking.
    pub(crate) fn owns(&self, id: ConnectionId, name: &str) -> bool {
        let own = self.own.get(name).filter(|own| own.connection == id);
        own.is_some_and(|own| self.lease.incarnation() == Some(own.incarnation))
    }

    /// The names that a connection of this node surely has.
    pub(crate) fn names_of(&self, id: ConnectionId) -> Vec<Arc<str>> {
        self.lease.incarnation().map(|incarnation| self.own.of_connection(id, incarnation)).unwrap_or_default()
    }

    pub(crate) fn is_own(&self, owner: &Owner) -> bool {
        owner.node == self.node && self.lease.is_of(owner.incarnation)
    }

    /// The number of names that connections of this node have.
    pub(crate) fn owned(&self) -> usize {
        self.own.count()
    }

    /// The connection of this node that has a name.
    #[cfg(test)]
    pub(crate) fn owner_here(&self, name: &str) -> Option<ConnectionId> {
        self.own.get(name).map(|own| own.connection).filter(|id| self.owns(*id, name))
    }

    /// A connection has ended.
    pub(crate) fn ended(&self, id: ConnectionId) {
        for (name, revision) in self.own.remove_connection(id) {
            self.release_later(&name, revision, Duration::ZERO);
        }
    }

    /// Registers a name. Returns false if this connection has it already.
    pub(crate) async fn register(
        &self,
        host: &impl Host,
        id: ConnectionId,
        name: Arc<str>,
        replaces: bool,
    ) -> Result<bool, RegisterError> {
        let deadline = Instant::now() + self.ttl * 2;
        let (mut attempts, mut given_up) = (0, None);
        while attempts < ATTEMPTS {
            let (owner, revision) = match self.try_register(host, id, &name, replaces, given_up).await? {
                Registration::Registered => return Ok(true),
                Registration::Kept => return Ok(false),
                Registration::Taken(owner, _) if !replaces => return Err(RegisterError::Taken { node: owner.node }),
                Registration::Taken(owner, revision) => (owner, revision),
            };
            // Its node may take long to answer. Meanwhile, the name is not locked.
            if host.ask_for(&name, &owner).await {
                (attempts, given_up) = (attempts + 1, Some(revision));
            } else if Instant::now() >= deadline {
                return Err(RegisterError::Unresponsive { node: owner.node });
            } else if !host.is_open(id) {
                return Err(RegisterError::Ended);
            } else {
                tokio::time::sleep(RETRY.min(self.ttl / 10)).await;
            }
        }
        Err(RegisterError::Contended)
    }

    async fn try_register(
        &self,
        host: &impl Host,
        id: ConnectionId,
        name: &Arc<str>,
        replaces: bool,
        given_up: Option<u64>,
    ) -> Result<Registration, RegisterError> {
        let _lock = self.locks.lock(name).await;
        let incarnation = self.lease.incarnation().ok_or(RegisterError::Disconnected)?;
        let former = self.own.get(name);
        if let Some(own) = former.filter(|own| own.incarnation == incarnation && host.is_open(own.connection)) {
            if own.connection == id {
                return Ok(Registration::Kept);
            }
            if !replaces {
                return Err(RegisterError::Taken { node: self.node.clone() });
            }
            self.give_up_here(host, name, own);
        }
        let revision = match self.claim(incarnation, id, name, given_up).await? {
            Claim::Stored(revision) => revision,
            Claim::Taken(owner, revision) => return Ok(Registration::Taken(owner, revision)),
        };
        // One whose lease was lost, and that was not registered again yet.
        let former = self.own.get(name).filter(|own| own.connection != id);
        let stored = self.store(host, name, OwnName { connection: id, incarnation, revision });
        if let Some(former) = former {
            host.close(name, former.connection);
        }
        if matches!(stored, Err(RegisterError::Disconnected)) {
            self.withdraw(name, id);
        }
        stored.map(|()| Registration::Registered)
    }

    /// Adds a name to the table, after its record was stored.
    fn store(&self, host: &impl Host, name: &Arc<str>, own: OwnName) -> Result<(), RegisterError> {
        self.keep_name(name);
        self.own.insert(name, own);
        // The connection may have ended, and the lease may have been lost, before the name was in the table.
        if !host.is_open(own.connection) {
            self.ended(own.connection);
            return Err(RegisterError::Ended);
        }
        if self.lease.incarnation() != Some(own.incarnation) {
            return Err(RegisterError::Disconnected);
        }
        Ok(())
    }

    /// Stores the record of a name, unless it has another owner that has not given up this revision.
    async fn claim(
        &self,
        incarnation: Incarnation,
        id: ConnectionId,
        name: &Arc<str>,
        given_up: Option<u64>,
    ) -> Result<Claim, RegisterError> {
        let too_long = || RegisterError::NameTooLong { length: token_length(name), limit: crate::subject::MAX_TOKEN };
        let key = token(name).ok_or_else(too_long)?;
        let buckets = self.buckets().map_err(|_| RegisterError::Disconnected)?;
        let owner = Owner { node: self.node.clone(), incarnation, connection: id.get() };
        let claimed = self.try_claim(buckets, &key, &owner, given_up).await;
        if matches!(claimed, Err(RegisterError::Unavailable(_))) {
            self.has_failed.store(true, Relaxed);
            self.doubt(name);
        }
        claimed
    }

    async fn try_claim(
        &self,
        buckets: &Buckets,
        key: &str,
        owner: &Owner,
        given_up: Option<u64>,
    ) -> Result<Claim, RegisterError> {
        let value = owner.encode();
        for _ in 0..ATTEMPTS {
            match buckets.names.set(key, value.clone(), 0).await {
                Ok(revision) => return shown(buckets, key, revision).await.map(Claim::Stored),
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
            let Some(Entry { value: other, revision }) = buckets.names.get(key).await? else { continue };
            if other.is_empty() {
                // The mark that `nats kv del` leaves.
                buckets.names.remove(key, revision).await?;
                continue;
            }
            // One that cannot be read may be of a newer version.
            let other = Owner::decode(&other)
                .ok_or_else(|| RegisterError::Unavailable("the record of the name has an unknown version".into()))?;
            // No other process has a lease for this node while this one has.
            let is_former = other.node == self.node && self.lease.incarnation() == Some(owner.incarnation);
            // A record of this lease is not in the table: its operation has failed, or it is being released.
            let is_left = self.is_own(&other) || is_former;
            if !is_left && given_up != Some(revision) && !buckets.is_dead(&other).await? {
                return Ok(Claim::Taken(other, revision));
            }
            // The key is not changed from one value to the next: nats-server 2.9.10 can bring the former value back if the next one
            // is removed and the server is killed within a second. A removal that is still on its way is about an earlier revision.
            buckets.names.remove(key, revision).await?;
        }
        Err(RegisterError::Contended)
    }

    /// Takes a name from a connection of this node, for another connection of the cluster. Returns false if this node has another
    /// incarnation.
    pub(crate) async fn give_up(
        &self,
        host: &impl Host,
        incarnation: Incarnation,
        id: ConnectionId,
        name: &Arc<str>,
    ) -> bool {
        let _lock = self.locks.lock(name).await;
        // Without a lease at the moment, too: it may be renewed.
        if !self.lease.is_of(incarnation) {
            return false;
        }
        if let Some(own) = self.own.get(name).filter(|own| own.connection == id) {
            self.give_up_here(host, name, own);
        }
        true
    }

    fn give_up_here(&self, host: &impl Host, name: &Arc<str>, own: OwnName) {
        if self.own.remove(name, own.connection).is_some() {
            self.release_later(name, own.revision, HANDED_OVER_WITHIN);
            host.close(name, own.connection);
        }
    }

    /// Whether names have lost their lease and are not registered again yet.
    pub(crate) fn has_lost(&self) -> bool {
        self.lease.incarnation().is_some_and(|incarnation| !self.own.of_others(incarnation).is_empty())
    }

    /// Registers the names again whose lease was lost. A connection whose name has another owner by now is closed.
    pub(crate) async fn regain(&self, host: &impl Host) {
        let Some(incarnation) = self.lease.incarnation() else { return };
        let lost = self.own.of_others(incarnation);
        let regain = |(name, lost)| async move { self.regain_name(host, incarnation, &name, lost).await };
        futures::stream::iter(lost).for_each_concurrent(AT_ONCE, regain).await;
    }

    pub(crate) async fn regain_name(&self, host: &impl Host, incarnation: Incarnation, name: &Arc<str>, lost: OwnName) {
        let _lock = self.locks.lock(name).await;
        let is_lost = || self.own.get(name) == Some(lost);
        if !is_lost() {
            return;
        }
        let id = lost.connection;
        match self.claim(incarnation, id, name, None).await {
            Ok(Claim::Stored(revision)) if is_lost() => {
                // After an error, the name is released, or lost again.
                let _ = self.store(host, name, OwnName { incarnation, revision, ..lost });
            }
            // It was released meanwhile.
            Ok(Claim::Stored(revision)) => self.release_later(name, revision, Duration::ZERO),
            Ok(Claim::Taken(owner, _)) => {
                let owner = owner.node;
                warn!(node = self.node, %id, name = &**name, owner, "a connection has lost its name and is closed");
                self.own.remove(name, id);
                host.close(name, id);
            }
            // Tried again after the next heartbeat.
            Err(_) => {}
        }
    }

    /// Gives up the lease, and with it all names.
    pub(crate) async fn leave(&self) {
        let Ok(buckets) = self.buckets() else { return };
        if let Err(error) = self.lease.release(&buckets.leases).await {
            warn!(node = self.node, %error, "the lease of this node could not be released; its names are free when it expires");
        }
    }
}

/// Reads a record that was stored. nats-server 2.9.10 can accept values of a key for which it does not find any when it is asked, after it
/// was killed. Then several nodes would register a name.
async fn shown(buckets: &Buckets, key: &str, revision: u64) -> Result<u64, RegisterError> {
    match buckets.names.get(key).await? {
        Some(entry) if entry.revision == revision => Ok(revision),
        _ => {
            Err(RegisterError::Unavailable("the server does not show the record that it has stored; restart it".into()))
        }
    }
}

impl From<StoreError> for RegisterError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict => RegisterError::Contended,
            StoreError::Unavailable(source) => RegisterError::Unavailable(source),
        }
    }
}
