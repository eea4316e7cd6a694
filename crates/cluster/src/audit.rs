//! Compares the names of this node with their records, since a server that failed may have lost some.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use futures::StreamExt;
use tracing::warn;

use crate::incarnation::Incarnation;
use crate::naming::{Host, Naming, AT_ONCE};
use crate::own_names::OwnName;
use crate::subject::token;

/// The names that are looked at in one interval.
const PORTION: usize = 64;

impl Naming {
    /// Looks at the next names after this one, and registers those again whose records are missing. Returns where to go on.
    pub(crate) async fn audit(&self, host: &impl Host, after: Option<Arc<str>>) -> Option<Arc<str>> {
        let portion = self.own.after(after.as_deref(), PORTION);
        let last = portion.last().map(|(name, _)| name.clone());
        let audit = |(name, own): (Arc<str>, OwnName)| async move { self.audit_name(host, &name, own).await };
        futures::stream::iter(portion).for_each_concurrent(AT_ONCE, audit).await;
        last
    }

    async fn audit_name(&self, host: &impl Host, name: &Arc<str>, own: OwnName) {
        let Ok(buckets) = self.buckets() else { return };
        let lock = self.locks.lock(name).await;
        if self.own.get(name) != Some(own) || self.lease.incarnation() != Some(own.incarnation) {
            return;
        }
        let key = token(name).unwrap_or_default();
        match buckets.names.get(&key).await {
            Ok(entry) if entry.as_ref().is_none_or(|entry| entry.revision != own.revision) => {}
            Ok(_) => return,
            Err(_) => return self.has_failed.store(true, Relaxed),
        }
        warn!(node = self.node, name = &**name, "the server has lost the record of a name; registering it again");
        self.own.set_lost(name, own);
        drop(lock);
        let lost = OwnName { incarnation: Incarnation::NONE, ..own };
        self.regain_name(host, own.incarnation, name, lost).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::time::Duration;

    use actix_acceptor::ConnectionId;
    use futures::future::{BoxFuture, FutureExt};

    use super::*;
    use crate::bus::LocalBus;
    use crate::names::{Buckets, Owner};

    const TTL: Duration = Duration::from_secs(15);

    /// Connections that are open, and how many were closed.
    #[derive(Default)]
    struct Open(AtomicUsize);

    impl Host for Open {
        fn is_open(&self, _: ConnectionId) -> bool {
            true
        }

        fn close(&self, _: &str, _: ConnectionId) {
            self.0.fetch_add(1, Relaxed);
        }

        fn ask_for(&self, _: &str, _: &Owner) -> BoxFuture<'static, bool> {
            futures::future::ready(false).boxed()
        }
    }

    async fn node(name: &str, bus: &LocalBus) -> Naming {
        let naming = Naming::new(name, TTL);
        let buckets = Buckets { leases: bus.store("leases", Some(TTL)), names: bus.store("names", None) };
        naming.lease.acquire(&buckets.leases).await.expect("a store");
        assert!(naming.buckets.set(buckets).is_ok());
        naming
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_that_the_server_has_lost_is_stored_again() {
        let (bus, host, id) = (LocalBus::new(), Open::default(), ConnectionId::from(7));
        let (one, two) = (node("one", &bus).await, node("two", &bus).await);
        let records = bus.store("names", None);
        for name in ["ann", "bob", "cat"] {
            one.register(&host, id, name.into(), false).await.expect("it is free");
        }
        for name in ["ann", "bob"] {
            let lost = records.get(name).await.expect("a store").expect("it is registered");
            records.remove(name, lost.revision).await.expect("a store");
        }
        two.register(&host, id, "bob".into(), false).await.expect("it is free, as the server sees it");
        let kept = records.get("cat").await.expect("a store").expect("it is registered").revision;
        assert_eq!(one.audit(&host, None).await.as_deref(), Some("cat"));
        let owner = async |name: &str| {
            let entry = records.get(name).await.expect("a store").expect("it is registered");
            (Owner::decode(&entry.value).expect("a record").node, entry.revision)
        };
        assert_eq!(owner("ann").await.0, "one");
        assert!(one.owns(id, "ann"));
        // The one that another connection has by now is lost.
        assert_eq!(owner("bob").await.0, "two");
        assert!(!one.owns(id, "bob") && two.owns(id, "bob") && host.0.load(Relaxed) == 1);
        assert_eq!(owner("cat").await, ("one".to_owned(), kept));
        assert_eq!(one.audit(&host, Some("cat".into())).await, None);
    }
}
