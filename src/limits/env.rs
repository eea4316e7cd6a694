//! [`Env`], the user's value of a listener, for its connections.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::panic::Guarded;

/// The value of a listener. A connection keeps the one with which it was accepted.
#[derive(Clone)]
pub(crate) struct Env(Arc<dyn Any + Send + Sync>);

impl Env {
    pub(crate) fn new<T: Send + Sync + 'static>(value: T) -> Self {
        Env(Arc::new(Guarded::new(value)))
    }

    /// The value, if it is of this type.
    pub(crate) fn get<T: 'static>(&self) -> Option<&T> {
        self.0.downcast_ref::<Guarded<T>>().map(|value| &**value)
    }

    /// Values cannot be compared: one is equal only to its clones.
    pub(crate) fn is_same(one: &Option<Env>, other: &Option<Env>) -> bool {
        match (one, other) {
            (Some(one), Some(other)) => Arc::ptr_eq(&one.0, &other.0),
            (one, other) => one.is_none() && other.is_none(),
        }
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Env")
    }
}
