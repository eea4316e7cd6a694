//! What a user wrote, turned into what an acceptor calls: the one room that knows both halves.
//!
//! | door | the user writes |
//! |---|---|
//! | [`protocol`](crate::AcceptorPool::protocol) | a struct with callbacks |
//! | [`events`](crate::AcceptorPool::events) | the closure pair `on_init`, `on_event` |
//! | [`serve`](crate::AcceptorPool::serve) | an async fn that owns its [`Socket`](crate::Socket) |
//! | [`start`](crate::AcceptorPool::start) | an actor of one's own that owns its [`Socket`](crate::Socket) |

mod events;
mod protocol;
mod serve;
mod start;

use std::any::Any;
use std::sync::Arc;

use crate::acceptor::Seam;
use crate::protocol::Limits;
use crate::socket::SocketLimits;

pub use events::{Init, Loop};
pub use protocol::ProtocolDoor;
pub use serve::{Outcome, ServeDoor, Task};
pub use start::{Ack, StartDoor};

/// One of the ways to say how connections are served. Made by [`AcceptorPool`](crate::AcceptorPool)'s functions; not to be implemented.
#[allow(private_interfaces)]
pub trait Door: sealed::Sealed + 'static {
    /// The actor behind each connection, as [`Pool`](crate::Pool) is typed by it.
    type Actor: 'static;

    #[doc(hidden)]
    fn open(self, limits: Limits, listener: Arc<str>) -> Opened;
}

/// What a door leaves to the pool: its half of the seam, and what its typed handle needs.
#[derive(Clone)]
pub(crate) struct Opened {
    pub(crate) seam: Arc<dyn Seam>,
    pub(crate) left: Option<Arc<dyn Any + Send + Sync>>,
}

mod sealed {
    pub trait Sealed {}
}

/// The limits as far as they act in a socket.
fn socket_limits(limits: &Limits) -> SocketLimits {
    SocketLimits { idle: limits.idle, send: limits.send, max_age: limits.max_age }
}
