//! What the connections of a pool begin with: their state, their codec, their terms. Changed live, for new ones only.

use std::sync::{Arc, PoisonError, RwLock};

use super::{Active, Peer, Protocol};

pub(crate) type Factory<P> = Arc<dyn Fn(&Peer) -> P + Send + Sync>;
pub(crate) type MakeCodec<P> = Arc<dyn Fn() -> <P as Protocol>::Codec + Send + Sync>;

/// What a connection begins with, and has in common with those that began like it.
pub(crate) struct ProtocolFactory<P: Protocol> {
    pub(crate) factory: Factory<P>,
    pub(crate) codec: MakeCodec<P>,
    pub(crate) terms: Terms,
}

/// The charter of the next connection; the old ones keep theirs.
pub(crate) struct SharedFactory<P: Protocol>(RwLock<Arc<ProtocolFactory<P>>>);

impl<P: Protocol> SharedFactory<P> {
    pub(crate) fn new(factory: ProtocolFactory<P>) -> Self {
        SharedFactory(RwLock::new(Arc::new(factory)))
    }

    pub(crate) fn current(&self) -> Arc<ProtocolFactory<P>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes a part of it.
    pub(crate) fn update(&self, update: impl FnOnce(&mut ProtocolFactory<P>)) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let ProtocolFactory { factory, codec, terms } = &**current;
        let mut next = ProtocolFactory { factory: factory.clone(), codec: codec.clone(), terms: terms.clone() };
        update(&mut next);
        *current = Arc::new(next);
    }
}

/// The terms a connection begins with; times in milliseconds, 0 for "never".
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) idle: u32,
    pub(crate) packet: u32,
    pub(crate) send: u32,
    pub(crate) max_age: u32,
    pub(crate) max_age_jitter: u32,
    pub(crate) high_watermark: usize,
    pub(crate) low_watermark: usize,
    pub(crate) half_close: bool,
    pub(crate) active: Active,
    pub(crate) mailbox: usize,
}

impl Terms {
    /// The shortest of the times in use, 0 for none.
    pub(crate) fn shortest(&self) -> u32 {
        [self.idle, self.packet, self.send, self.max_age].into_iter().filter(|limit| *limit > 0).min().unwrap_or(0)
    }
}

/// Whoever hands out terms to new connections.
pub(crate) trait Reconfigure: Send + Sync + 'static {
    /// New connections begin with these; the old ones keep theirs.
    fn set_terms(&self, terms: Terms);
}

impl<P: Protocol> Reconfigure for SharedFactory<P> {
    fn set_terms(&self, terms: Terms) {
        self.update(|factory| factory.terms = terms);
    }
}
