//! Handlers: the four ways to define how a connection is served.
//!
//! | handler | the user writes |
//! |---|---|
//! | [`with_protocol`](crate::AcceptorPool::with_protocol) | a struct with callbacks: [`Protocol`](crate::Protocol) |
//! | [`with_events`](crate::AcceptorPool::with_events) | two closures, `on_init` and `on_event` |
//! | [`with_fn`](crate::AcceptorPool::with_fn) | an async fn that owns its [`Socket`](crate::Socket) |
//! | [`with_actor`](crate::AcceptorPool::with_actor) | an actor that owns its [`Socket`](crate::Socket) |

mod actor;
mod async_fn;
mod events;
mod protocol;

use std::any::Any;
use std::sync::Arc;

use crate::acceptor::ConnectionSpawner;
use crate::framing::Framing;

pub use crate::connection::CodecFactory;
pub use actor::{Ack, ActorService};
pub use async_fn::{FnService, IntoServeResult, NoActor};
pub use events::{EventLoop, Init};
pub(crate) use protocol::invalid_max_frame;
pub use protocol::ProtocolService;

/// How connections are served. Made by the constructors of [`AcceptorPool`](crate::AcceptorPool); not to be
/// implemented.
#[allow(private_interfaces)]
pub trait Service: sealed::Sealed + 'static {
    /// The actor behind each connection: the type parameter of [`Pool`](crate::Pool).
    type Actor: 'static;

    /// The spawner that acceptors call, and the factory that the typed handle can replace while the pool runs.
    #[doc(hidden)]
    fn into_spawner(self) -> (Arc<dyn ConnectionSpawner>, Arc<dyn Any + Send + Sync>);

    /// Changes the framing of new connections. Returns `false` if the handler has another codec, one that depends on the
    /// peer, or none.
    #[doc(hidden)]
    fn change_framing(&mut self, _: Box<dyn FnOnce(Framing) -> Framing + Send>) -> bool {
        false
    }

    /// The greatest length of an incoming packet, if the builder has set it or a framing.
    #[doc(hidden)]
    fn max_frame(&self) -> Option<usize> {
        None
    }
}

mod sealed {
    pub trait Sealed {}
}
