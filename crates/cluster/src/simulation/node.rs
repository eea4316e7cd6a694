//! A process with names: its tasks, and the clients of its connections.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use actix_acceptor::ConnectionId;
use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::{FaultyStore, Instant, World, NAMES, TTL};
use crate::bus::{Store, StoreError};
use crate::names::{Buckets, Owner};
use crate::naming::{Host, Naming};
use crate::RegisterError;

/// The clients of each node.
const CLIENTS: usize = 3;

pub(super) struct SimNode {
    pub(super) name: String,
    pub(super) naming: Arc<Naming>,
    index: usize,
    world: Arc<World>,
    open: Mutex<HashSet<ConnectionId>>,
    last_id: AtomicU64,
    registrations: AtomicUsize,
    tasks: Mutex<JoinSet<()>>,
    clients: Mutex<JoinSet<()>>,
    /// For the tasks of this node.
    own: Weak<SimNode>,
}

/// Counts as under way until it is dropped.
struct Registration(Arc<SimNode>);

impl Registration {
    fn begin(node: &Arc<SimNode>) -> Self {
        node.registrations.fetch_add(1, Relaxed);
        Registration(node.clone())
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.0.registrations.fetch_sub(1, Relaxed);
    }
}

impl Host for Arc<SimNode> {
    fn is_open(&self, id: ConnectionId) -> bool {
        self.open.lock().contains(&id)
    }

    fn close(&self, _: &str, id: ConnectionId) {
        let node = self.clone();
        self.tasks.lock().spawn(async move {
            node.world.random().pause(0..20).await;
            node.end(id);
        });
    }

    fn ask_for(&self, name: &str, owner: &Owner) -> BoxFuture<'static, bool> {
        let (network, index) = (self.world.network.clone(), self.index);
        let (world, owner, name) = (self.world.clone(), owner.clone(), Arc::from(name));
        let ask = async move {
            let asked = world.nodes().into_iter().find(|node| node.name == owner.node);
            let Some(asked) = asked else { return false };
            world.network.until_running(asked.index).await;
            let (incarnation, id) = (owner.incarnation, ConnectionId::from(owner.connection));
            asked.naming.give_up(&asked, incarnation, id, &name).await
        };
        async move { network.call(index, ask).await.unwrap_or(false) }.boxed()
    }
}

impl SimNode {
    pub(super) fn start(world: &Arc<World>, index: usize) -> Arc<Self> {
        let name = format!("node{index}");
        let store = |has_leases| Store::Faulty(FaultyStore::new(world.network.clone(), index, has_leases));
        let naming = Naming::new(&name, TTL);
        assert!(naming.buckets.set(Buckets { leases: store(true), names: store(false) }).is_ok());
        let node = Arc::new_cyclic(|own| SimNode {
            name,
            naming: Arc::new(naming),
            index,
            world: world.clone(),
            open: Mutex::default(),
            last_id: AtomicU64::new(0),
            registrations: AtomicUsize::new(0),
            tasks: Mutex::default(),
            clients: Mutex::default(),
            own: own.clone(),
        });
        node.spawn(SimNode::heartbeats);
        node.spawn(SimNode::releases);
        node.spawn(SimNode::sweeps);
        node.spawn(SimNode::audits);
        for _ in 0..CLIENTS {
            let client = node.clone();
            node.clients.lock().spawn(async move { client.client().await });
        }
        let client = node.clone();
        node.clients.lock().spawn(async move { client.looks_up().await });
        node
    }

    fn spawn<T: Future<Output = ()> + Send>(self: &Arc<Self>, task: impl FnOnce(Arc<Self>) -> T + Send + 'static) {
        let node = self.own.upgrade().expect("it is used");
        self.tasks.lock().spawn(async move { task(node).await });
    }

    async fn heartbeats(self: Arc<Self>) {
        let leases = &self.naming.buckets.get().expect("it is set").leases;
        loop {
            let beat = tokio::time::timeout(TTL / 3, self.naming.lease.beat(leases)).await;
            if self.naming.has_lost() {
                // Two at the same time do no harm.
                self.spawn(|node| async move { node.naming.regain(&node).await });
            }
            tokio::time::sleep(if matches!(beat, Ok(Ok(_))) { TTL / 3 } else { TTL / 9 }).await;
        }
    }

    async fn releases(self: Arc<Self>) {
        loop {
            let next = self.naming.release_due().await;
            self.naming.until_release(next).await;
        }
    }

    async fn sweeps(self: Arc<Self>) {
        loop {
            self.world.random().pause(100..3_000).await;
            let _ = self.naming.buckets.get().expect("it is set").sweep().await;
        }
    }

    async fn audits(self: Arc<Self>) {
        let mut after = None;
        loop {
            tokio::time::sleep(TTL / 3).await;
            after = self.naming.audit(&self, after).await;
            self.naming.check_released().await;
        }
    }

    /// Registers a name. The result of some registrations is not received.
    async fn register(self: &Arc<Self>, id: ConnectionId, name: &'static str, replaces: bool) {
        let undo = self.naming.undo(id, &name.into());
        let result = self.naming.register(self, id, name.into(), replaces).await;
        if matches!(result, Ok(true)) {
            undo.registered();
        }
        if result.is_ok() && !self.world.random().one_in(4) {
            undo.received();
        }
    }

    /// Opens connections one after the other. What each does goes on when it ends.
    async fn client(self: Arc<Self>) {
        let random = self.world.random();
        loop {
            let id = ConnectionId::from(self.last_id.fetch_add(1, Relaxed) + 1);
            self.open.lock().insert(id);
            for _ in 0..random.below(6) {
                let name = NAMES[random.below(NAMES.len())];
                match random.below(5) {
                    0 => drop(self.naming.unregister(id, name.into()).await),
                    kind => self.spawn(move |node| async move {
                        let registration = Registration::begin(&node);
                        node.register(id, name, kind > 3).await;
                        node.world.check_owners();
                        drop(registration);
                    }),
                }
                random.pause(1..300).await;
            }
            self.end(id);
        }
    }

    async fn looks_up(self: Arc<Self>) {
        let random = self.world.random();
        loop {
            random.pause(1..200).await;
            let (name, from) = (NAMES[random.below(NAMES.len())], Instant::now());
            if let Ok(owner) = self.whereis(name).await {
                self.world.network.history.answered(from, name, owner);
            }
        }
    }

    pub(super) async fn whereis(&self, name: &str) -> Result<Option<Owner>, StoreError> {
        self.naming.buckets.get().expect("it is set").owner(name).await
    }

    fn end(&self, id: ConnectionId) {
        if self.open.lock().remove(&id) {
            self.naming.ended(id);
        }
    }

    /// Registers a name that another connection may have, without faults.
    pub(super) async fn take_over(self: Arc<Self>, name: &str) {
        let id = ConnectionId::from(self.last_id.fetch_add(1, Relaxed) + 1);
        self.open.lock().insert(id);
        let registered: Result<_, RegisterError> = self.naming.register(&self, id, name.into(), true).await;
        registered.expect("no faults");
        assert_eq!(self.naming.owner_here(name), Some(id));
    }

    /// Opens no more connections. Returns when no registration is under way.
    pub(super) async fn end_clients(&self) {
        self.clients.lock().abort_all();
        while self.registrations.load(Relaxed) > 0 {
            tokio::time::sleep(TTL / 10).await;
        }
    }

    pub(super) fn crash(&self) {
        self.clients.lock().abort_all();
        self.tasks.lock().abort_all();
    }

    pub(super) async fn leave(&self) {
        self.crash();
        self.naming.leave().await;
    }
}
