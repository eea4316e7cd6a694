//! [`HeldPeer`], which reports when a peer is held and when it is released.

use std::sync::Arc;

use tokio::time::Instant;

use crate::net::Address;
use crate::registry::RegistryShared;
use crate::telemetry::{PoolEvent, RefusalReason};

/// A peer that is held. Dropping it reports the release.
pub(super) struct HeldPeer {
    shared: Arc<RegistryShared>,
    peer: Address,
    listener: Arc<str>,
    pub(super) since: Instant,
}

impl HeldPeer {
    pub(super) fn new(
        shared: &Arc<RegistryShared>,
        peer: &Address,
        listener: &Arc<str>,
        reason: RefusalReason,
    ) -> Self {
        shared.observers.emit(|| PoolEvent::PeerHeld { peer, listener, reason });
        HeldPeer { shared: shared.clone(), peer: peer.clone(), listener: listener.clone(), since: Instant::now() }
    }
}

impl Drop for HeldPeer {
    fn drop(&mut self) {
        let (peer, listener, held) = (&self.peer, &*self.listener, self.since.elapsed());
        self.shared.observers.emit(|| PoolEvent::PeerReleased { peer, listener, held });
    }
}
