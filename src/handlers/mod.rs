//! What a user wrote, turned into what an acceptor calls: the one room that knows both halves.
//!
//! | door | the user writes |
//! |---|---|
//! | [`protocol`](crate::AcceptorPool::with_protocol) | a struct with callbacks |
//! | [`events`](crate::AcceptorPool::with_events) | the closure pair `on_init`, `on_event` |
//! | [`serve`](crate::AcceptorPool::with_fn) | an async fn that owns its [`Socket`](crate::Socket) |
//! | [`start`](crate::AcceptorPool::with_actor) | an actor of one's own that owns its [`Socket`](crate::Socket) |

mod actor;
mod async_fn;
mod events;
mod protocol;

use std::any::Any;
use std::sync::{Arc, PoisonError, RwLock};

use crate::acceptor::ConnectionSpawner;
use crate::connection::{Reconfigure, Terms};
use crate::socket::SocketLimits;

pub use actor::{Ack, ActorService};
pub use async_fn::{FnService, IntoServeResult, NoActor};
pub use events::{EventLoop, Init};
pub use protocol::ProtocolService;

/// One of the ways to say how connections are served. Made by [`AcceptorPool`](crate::AcceptorPool)'s functions; not to be implemented.
#[allow(private_interfaces)]
pub trait Service: sealed::Sealed + 'static {
    /// The actor behind each connection, as [`Pool`](crate::Pool) is typed by it.
    type Actor: 'static;

    #[doc(hidden)]
    fn open(self, terms: Terms) -> Opened;
}

/// What a door leaves to the pool: its half of the spawner, and what its typed handle needs.
#[derive(Clone)]
pub(crate) struct Opened {
    pub(crate) spawner: Arc<dyn ConnectionSpawner>,
    pub(crate) reconfigure: Arc<dyn Reconfigure>,
    pub(crate) left: Option<Arc<dyn Any + Send + Sync>>,
}

mod sealed {
    pub trait Sealed {}
}

/// The terms as far as they act in a socket.
fn socket_limits(terms: &Terms) -> SocketLimits {
    SocketLimits { idle: terms.idle, send: terms.send, max_age: terms.max_age }
}

/// What a door was given, and may be given anew while the pool runs: each connection takes what is there when it comes.
struct Latest<T>(RwLock<T>);

impl<T: Clone> Latest<T> {
    fn new(value: T) -> Self {
        Latest(RwLock::new(value))
    }

    fn get(&self) -> T {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = value;
    }
}
