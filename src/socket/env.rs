//! Access to the user's value of a listener, for the owner of a [`Socket`].

use super::Socket;

impl Socket {
    /// The value of the listener that accepted the connection: the one set with [`Listener::env`](crate::Listener::env) when
    /// it was accepted. `None` if none was set, or if it is of another type.
    pub fn env<T: 'static>(&self) -> Option<&T> {
        self.shared.state().listener().env()
    }
}
