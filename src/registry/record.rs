//! [`ConnectionRecord`], the part of a connection's state that its turns do not use: who the peer is, what the connection holds,
//! and how it is woken and addressed.

use std::any::TypeId;
use std::sync::atomic::{AtomicU8, Ordering::*};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use bitflags::bitflags;
use once_cell::race::OnceBox;

use super::mailbox::Mailbox;
use super::{ConnectionState, TlsSummary};
use crate::limits::{ConnectionKind, ListenerLimits, PeerPermit, Permit};
use crate::net::Address;
use crate::telemetry::RefusalReason;

bitflags! {
    /// The permits and counts that a connection holds.
    #[derive(Clone, Copy)]
    struct Held: u8 {
        const PERMIT = 1;
        /// The count for the socket's peer.
        const SOCKET_PEER = 1 << 1;
        /// The count for the peer that a PROXY header names.
        const CLAIMED_PEER = 1 << 2;
        const PEERS = Self::SOCKET_PEER.bits() | Self::CLAIMED_PEER.bits();
        /// The connection is exempt: it has neither a permit nor a count, and gets none. Never cleared.
        const EXEMPT = 1 << 3;
    }
}

/// The results of handshakes. Allocated with the first of them.
#[derive(Default)]
struct HandshakeResults {
    /// The peer named by a trusted PROXY header.
    claimed_peer: OnceLock<Address>,
    tls: OnceLock<Arc<TlsSummary>>,
}

/// Belongs to one [`ConnectionState`].
pub(super) struct ConnectionRecord {
    socket_peer: Address,
    handshake: OnceBox<HandshakeResults>,
    listener: Arc<ListenerLimits>,
    held: AtomicU8,
    pub(super) waker: OnceLock<Waker>,
    pub(super) mailbox: Mailbox,
}

impl ConnectionRecord {
    pub(super) fn new(peer: Address, permit: Permit, peer_permit: PeerPermit) -> Self {
        let mut held = Held::PERMIT;
        held.set(Held::SOCKET_PEER, peer_permit.keep());
        ConnectionRecord {
            socket_peer: peer,
            handshake: OnceBox::new(),
            listener: permit.keep(),
            held: AtomicU8::new(held.bits()),
            waker: OnceLock::new(),
            mailbox: Mailbox::default(),
        }
    }
}

impl ConnectionRecord {
    fn handshake_results(&self) -> &HandshakeResults {
        self.handshake.get_or_init(Box::default)
    }

    fn claimed_peer(&self) -> Option<&Address> {
        self.handshake.get()?.claimed_peer.get()
    }
}

impl ConnectionState {
    /// Sets what the first TLS handshake has negotiated.
    pub(crate) fn set_tls(&self, version: String, alpn: Option<String>) {
        let _ = self.record.handshake_results().tls.set(Arc::new(TlsSummary { version, alpn }));
    }

    pub(super) fn tls(&self) -> Option<Arc<TlsSummary>> {
        self.record.handshake.get()?.tls.get().cloned()
    }

    /// The peer: the one named by a trusted PROXY header, else the socket's.
    pub(crate) fn peer(&self) -> &Address {
        self.record.claimed_peer().unwrap_or(&self.record.socket_peer)
    }

    pub(crate) fn socket_peer(&self) -> &Address {
        &self.record.socket_peer
    }

    /// Sets the peer that a trusted PROXY header names, or `None` if the handshake ended without naming one. From now
    /// on, limits and rules apply to that peer.
    pub(crate) fn claim_peer(&self, claimed: Option<Address>) -> Result<(), RefusalReason> {
        if claimed.is_none() && self.held().intersects(Held::PEERS) {
            return Ok(());
        }
        self.give_back(Held::PEERS);
        if let Some(claimed) = claimed {
            // Set before admission, so that a refusal names this peer. A second claim is ignored.
            let _ = self.record.handshake_results().claimed_peer.set(claimed);
        }
        let counts = !self.held().contains(Held::EXEMPT);
        if self.record.listener.admit_claimed(self.peer(), counts)?.keep() {
            let peer = if self.record.claimed_peer().is_some() { Held::CLAIMED_PEER } else { Held::SOCKET_PEER };
            let before = Held::from_bits_retain(self.record.held.fetch_or(peer.bits(), AcqRel));
            if before.contains(Held::EXEMPT) {
                // Exempted meanwhile, by another thread.
                self.give_back(peer);
            }
        }
        Ok(())
    }

    /// The limits of the listener that accepted it.
    pub(crate) fn listener(&self) -> &Arc<ListenerLimits> {
        &self.record.listener
    }

    /// The types that typed handles need to reach it.
    pub(crate) fn kind(&self) -> ConnectionKind {
        self.record.listener.kind()
    }

    /// Whether its replies are of this type.
    pub(super) fn has_replies_of(&self, reply: TypeId) -> bool {
        self.kind().reply == reply
    }

    pub(crate) fn listener_name(&self) -> &Arc<str> {
        self.record.listener.name()
    }

    /// Exempts the connection from the limits on the number of connections, that per peer included. Calling it again has no
    /// effect.
    pub(crate) fn exempt(&self) {
        self.record.held.fetch_or(Held::EXEMPT.bits(), AcqRel);
        self.give_back(Held::PERMIT | Held::PEERS);
    }

    pub(super) fn give_back_all(&self) {
        self.give_back(Held::PERMIT | Held::PEERS);
    }

    fn held(&self) -> Held {
        Held::from_bits_retain(self.record.held.load(Acquire))
    }

    fn give_back(&self, what: Held) {
        let held = Held::from_bits_retain(self.record.held.fetch_and(!what.bits(), AcqRel)) & what;
        if held.contains(Held::PERMIT) {
            self.record.listener.release();
        }
        for (count, peer) in [(Held::SOCKET_PEER, &self.record.socket_peer), (Held::CLAIMED_PEER, self.peer())] {
            if let (true, Some(ip)) = (held.contains(count), peer.ip()) {
                self.record.listener.release_peer(ip);
            }
        }
    }
}
