//! Names: one owner at every moment.

#[path = "../../src/names.rs"]
#[allow(dead_code, unreachable_pub, reason = "the library asks for more than the models do")]
#[allow(clippy::module_inception)]
mod names;

use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use loom::thread::{self, JoinHandle};

use super::model;
use crate::config::SlowConsumer;
use crate::registry::{ConnectionGuard, Registry, Signals};
use crate::telemetry::CloseReason;
use names::Names;

struct Model {
    names: Arc<Names>,
    registry: Arc<Registry>,
    /// How many connections know that they have the name.
    owners: AtomicUsize,
}

impl Model {
    fn new() -> Arc<Self> {
        let registry = Registry::new(1_000, SlowConsumer::Close);
        Arc::new(Model { names: Arc::default(), registry, owners: AtomicUsize::new(0) })
    }

    fn connect(&self, id: u64) -> ConnectionGuard {
        self.registry.connect(id)
    }

    /// Returns whether the connection has the name.
    fn register(&self, guard: &ConnectionGuard) -> bool {
        guard.register(&self.names, "ann").is_ok()
    }

    fn replace(&self, guard: &ConnectionGuard) {
        guard.register_replacing(&self.names, "ann");
    }

    fn unregister(&self, guard: &ConnectionGuard) -> bool {
        guard.unregister(&self.names, "ann")
    }

    fn owner(&self) -> Option<u64> {
        self.names.get("ann").map(|registration| registration.state.id().0)
    }

    fn enter(&self, id: u64) {
        assert_eq!(self.owners.fetch_add(1, SeqCst), 0, "two owners");
        assert_eq!(self.owner(), Some(id));
    }

    fn exit(&self) {
        self.owners.fetch_sub(1, SeqCst);
    }

    fn assert_free(&self) {
        assert_eq!(self.owner(), None);
        assert!(self.names.list().is_empty());
    }
}

/// A connection that wants the name, uses it if it gets it, and ends.
fn candidate(model: &Arc<Model>, id: u64, unregisters: bool) -> JoinHandle<bool> {
    let model = model.clone();
    thread::spawn(move || {
        let guard = model.connect(id);
        let has_name = model.register(&guard);
        if has_name {
            model.enter(id);
            model.exit();
        }
        if unregisters {
            assert_eq!(model.unregister(&guard), has_name);
        }
        has_name
    })
}

#[test]
fn a_name_has_one_owner_at_every_moment() {
    model(3, || {
        let model = Model::new();
        let others = [candidate(&model, 1, false), candidate(&model, 2, true)];
        let owners = others.map(|other| other.join().unwrap());
        assert!(owners.contains(&true));
        model.assert_free();
        assert!(model.register(&model.connect(3)));
        model.assert_free();
    });
}

#[test]
fn the_end_of_a_former_owner_does_not_release_the_name() {
    model(4, || {
        let model = Model::new();
        let former = model.connect(1);
        assert!(model.register(&former));
        let other = model.clone();
        let next = thread::spawn(move || {
            let guard = other.connect(2);
            other.replace(&guard);
            assert_eq!(other.owner(), Some(2));
            guard
        });
        drop(former);
        let next = next.join().unwrap();
        assert_eq!(model.owner(), Some(2));
        assert!(!is_replaced(&next));
        drop(next);
        model.assert_free();
    });
}

#[test]
fn of_two_that_take_a_name_over_one_has_it() {
    model(3, || {
        let model = Model::new();
        let first = model.connect(1);
        assert!(model.register(&first));
        let other = model.clone();
        let second = thread::spawn(move || {
            let guard = other.connect(2);
            other.replace(&guard);
            guard
        });
        let third = model.connect(3);
        model.replace(&third);
        let second = second.join().unwrap();
        let (former, owner) = match model.owner() {
            Some(2) => (third, second),
            Some(3) => (second, third),
            other => panic!("{other:?}"),
        };
        // Each former owner is replaced, and does not release a name that is no longer its own.
        assert!(is_replaced(&first) && is_replaced(&former) && !is_replaced(&owner));
        assert!(!model.unregister(&former));
        drop((first, former));
        assert_eq!(model.owner(), Some(owner.state().id().0));
        assert!(model.unregister(&owner) && !model.unregister(&owner));
        model.assert_free();
    });
}

/// Whether the connection was ended because another one has its name.
fn is_replaced(guard: &ConnectionGuard) -> bool {
    let state = guard.state();
    state.signals().contains(Signals::KILL) && state.cause() == CloseReason::Replaced
}
