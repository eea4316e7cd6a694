//! The services of a pool: those of its builder and of its listeners.

use std::any::TypeId;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::PoolEnded;
use crate::listener::{BuilderServices, ListenerService, ListenerState};

use super::{Pool, PoolState};

/// The services of a pool.
pub(super) struct Services {
    /// Those of the builder, among which listeners choose. `None` once the pool has ended, since services own what the user's
    /// closures have captured.
    of_builder: Mutex<Option<BuilderServices>>,
    /// Those of the builder and of the current listeners. Empty once the pool has ended.
    current: Mutex<Vec<Arc<ListenerService>>>,
    /// The actor types of all services that the pool has or had.
    actors: Mutex<Vec<TypeId>>,
}

impl Services {
    pub(super) fn new(services: BuilderServices) -> Self {
        let services =
            Services { of_builder: Mutex::new(Some(services)), current: Mutex::default(), actors: Mutex::default() };
        services.set_listeners(&[]);
        services
    }

    /// The services among which listeners choose. `None` once the pool has ended.
    pub(super) fn choices(&self) -> Option<BuilderServices> {
        self.of_builder.lock().clone()
    }

    /// The service of listeners that choose none. `None` once the pool has ended.
    pub(super) fn of_builder(&self) -> Option<Arc<ListenerService>> {
        self.of_builder.lock().as_ref().map(|services| services.of_builder.clone())
    }

    /// The first service with this type of actor, or the service of the builder if no type is given. `None` once the pool has
    /// ended.
    pub(super) fn of_actor(&self, actor: Option<TypeId>) -> Option<Arc<ListenerService>> {
        let is_of_actor = |service: &&Arc<ListenerService>| actor.is_none_or(|actor| service.kind.actor == actor);
        self.current.lock().iter().find(is_of_actor).cloned()
    }

    fn all(&self) -> Vec<Arc<ListenerService>> {
        self.current.lock().clone()
    }

    /// Records the services of the listeners, in place of those of the former listeners.
    pub(super) fn set_listeners(&self, listeners: &[Arc<ListenerState>]) {
        let Some(of_builder) = self.choices() else { return };
        let mut services: Vec<_> = of_builder.all().cloned().collect();
        for service in listeners.iter().map(|listener| listener.current().service.clone()) {
            if !services.iter().any(|known| Arc::ptr_eq(known, &service)) {
                services.push(service);
            }
        }
        for service in &services {
            let mut actors = self.actors.lock();
            if !actors.contains(&service.kind.actor) {
                actors.push(service.kind.actor);
            }
        }
        let before = std::mem::replace(&mut *self.current.lock(), services);
        // Outside the lock: it drops values of the user.
        drop(before);
    }

    pub(super) fn clear(&self) {
        let (services, choices) = (std::mem::take(&mut *self.current.lock()), self.of_builder.lock().take());
        drop((services, choices));
    }
}

impl PoolState {
    /// The factory of this type: that of the builder, if its service is of this kind, else that of a listener.
    pub(super) fn factory<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.services().current.lock().iter().find_map(|service| service.factory())
    }

    /// The factories of this type. The first one is that of the builder, if its service is of this kind.
    pub(super) fn factories<T: Send + Sync + 'static>(&self) -> impl Iterator<Item = Arc<T>> {
        self.services().all().into_iter().filter_map(|service| service.factory())
    }

    /// Whether a service with this type of actor is, or was, among those of the pool.
    pub(super) fn has_actor(&self, actor: TypeId) -> bool {
        self.services().actors.lock().contains(&actor)
    }
}

impl<A> Pool<A> {
    /// Calls `f` with the factory of each service of this kind, for the methods that replace it.
    pub(crate) fn for_each_factory<T: Send + Sync + 'static>(&self, f: impl FnMut(Arc<T>)) -> Result<(), PoolEnded> {
        self.shared.services().of_builder().ok_or(PoolEnded)?;
        self.shared.factories().for_each(f);
        Ok(())
    }
}
