//! Access to the user's value of a listener, for connections and factories.

use std::fmt;

use super::{Conn, Peer, Protocol};

impl<P: Protocol> Conn<P> {
    /// The value of the listener that accepted the connection: the one set with [`Listener::env`](crate::Listener::env) when
    /// it was accepted. `None` if none was set, or if it is of another type.
    pub fn env<T: 'static>(&self) -> Option<&T> {
        self.guard.state().listener().env()
    }
}

impl Peer {
    /// The value of the listener that accepted the peer: see [`Listener::env`](crate::Listener::env). `None` if none was set,
    /// or if it is of another type.
    pub fn env<T: 'static>(&self) -> Option<&T> {
        self.limits.env()
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Peer { id, address, listener, limits: _ } = self;
        f.debug_struct("Peer").field("id", id).field("address", address).field("listener", listener).finish()
    }
}
