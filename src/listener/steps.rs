//! [`Steps`], the handshake steps of a listener.

use std::sync::Arc;

use crate::handshake::{Handshake, Step};

/// The handshake steps of a listener, in order: the PROXY header, those of the transport, those of the user.
#[derive(Default)]
pub(crate) struct Steps {
    proxy: Option<Step>,
    added: Vec<Step>,
    all: Vec<Arc<dyn Handshake>>,
}

impl Steps {
    pub(super) fn new(proxy: Option<Step>, transport: &[Arc<dyn Handshake>], added: Vec<Step>) -> Self {
        let first = proxy.iter().map(Step::handshake);
        let all = first.chain(transport).chain(added.iter().map(Step::handshake)).cloned().collect();
        Steps { proxy, added, all }
    }

    pub(crate) fn all(&self) -> &[Arc<dyn Handshake>] {
        &self.all
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether the steps have the same effect, even if they are other values.
    pub(super) fn is_alike(&self, other: &Steps) -> bool {
        let is_alike = |one: &[Step], other: &[Step]| {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.is_alike(other))
        };
        is_alike(self.proxy.as_slice(), other.proxy.as_slice()) && is_alike(&self.added, &other.added)
    }

    /// Whether the user's steps are the same. Those of the transport do not change.
    pub(super) fn is_same(&self, other: &Steps) -> bool {
        (&self.proxy, &self.added) == (&other.proxy, &other.added)
    }
}
