//! Messaging for a [`Socket`]: the counterparts of the methods of [`Conn`](crate::Conn).

use bytes::Bytes;

use super::{PoolHandle, Topic};
use crate::connection::Outbox;
use crate::names::NameTaken;
use crate::socket::Socket;

/// Messaging: the outbox, topics, names.
impl Socket {
    /// The pool of this connection. What is sent with this handle is sent as it is, without a codec.
    pub fn pool(&self) -> PoolHandle {
        PoolHandle::new(self.guard().pool())
    }

    /// The outbox of this connection, through which other parts of the program send to it. Its owner gets the bytes from
    /// [`pushes`](Socket::pushes).
    pub fn outbox(&self) -> Outbox<Bytes> {
        Outbox::new(self.guard().registry().clone(), self.guard().state().clone())
    }

    /// Makes this connection a member of a topic. Returns false if it is one already, or is closing.
    ///
    /// It stays a member until [`leave`](Socket::leave), or until it begins to close: when the socket is shut down or dropped,
    /// or when the pool closes the connection. A membership takes up less than 100 bytes; if peers choose the topics, limit
    /// their number.
    ///
    /// What is published arrives in [`pushes`](Socket::pushes). What the typed handle of another pool publishes arrives without
    /// framing if it is of type `Bytes`; replies of other types do not arrive.
    pub fn join(&self, topic: &Topic<Bytes>) -> bool {
        self.guard().join(topic.state())
    }

    /// Ends the membership of this connection in a topic. Returns false if it is not a member.
    ///
    /// Nothing that is published later arrives. What was published before is in the [`pushes`](Socket::pushes): take it with
    /// [`Pushes::try_recv`](crate::Pushes::try_recv) to send it before the answer to the peer.
    pub fn leave(&self, topic: &Topic<Bytes>) -> bool {
        self.guard().leave(topic.state())
    }

    /// Registers a name for this connection, by which [`PoolHandle::whereis`](crate::Pool::whereis) finds it. A name has at
    /// most one owner in the pool at any time.
    ///
    /// A connection may have several names. It keeps each until [`unregister`](Socket::unregister), or until it begins to
    /// close or is asked to. Registering a name again has no effect, nor has registering one once the connection is closing. If
    /// peers choose the names, limit their number and length.
    ///
    /// # Errors
    /// [`NameTaken`] if another connection has the name.
    pub fn register(&self, name: impl AsRef<str>) -> Result<(), NameTaken> {
        self.guard().register(self.guard().pool().names(), name.as_ref())
    }

    /// Registers a name as [`register`](Socket::register) does, and takes it over if another connection has it. That
    /// connection ends at once, counted as [`Replaced`](crate::telemetry::CloseReason::Replaced); its unsent bytes are lost.
    pub fn register_replacing(&self, name: impl AsRef<str>) {
        self.guard().register_replacing(self.guard().pool().names(), name.as_ref());
    }

    /// Releases a name. Returns false if this connection does not have it.
    pub fn unregister(&self, name: impl AsRef<str>) -> bool {
        self.guard().unregister(self.guard().pool().names(), name.as_ref())
    }

    /// Sets the label of this connection, for example the name of its user. [`list`](crate::Pool::list), the log line of its
    /// end, and the [`Spans`](crate::telemetry::Spans) show it. An empty label removes it.
    pub fn set_label(&self, label: impl AsRef<str>) {
        self.guard().set_label(label.as_ref());
    }
}
