//! The handler `with_actor`: an actor that owns its socket, as reagent's `start/1`.

use std::fmt;
use std::sync::Arc;

use actix::dev::ToEnvelope;
use actix::prelude::*;
use arc_swap::ArcSwap;
use bytes::Bytes;

use super::{sealed, Service};
use crate::config::Config;
use crate::error::{with_sources, BoxError, PoolEnded};
use crate::handshake::HandshakeChain;
use crate::limits::ConnectionKind;
use crate::listener::{ConnectionSpawner, ListenerService};
use crate::net::Stream;
use crate::panic::{catch_panic, Guarded};
use crate::pool::Pool;
use crate::registry::ConnectionGuard;
use crate::socket::Socket;
use crate::telemetry::{CloseReason, ConnectionId};
use crate::time::Timeouts;

type StartFn<A> = Box<dyn Fn(Socket) -> Result<Addr<A>, BoxError> + Send + Sync>;

/// The function for the next connection.
type SharedStart<A> = ArcSwap<Guarded<StartFn<A>>>;

/// The handler of [`with_actor`](crate::AcceptorPool::with_actor): each connection is served by an actor of your own. Create one
/// with [`new`](ActorService::new) for [`Listener::service`](crate::Listener::service).
pub struct ActorService<A: Actor> {
    start: StartFn<A>,
}

/// Sent to an actor that owns a socket once the pool has registered its connection. From then on, the actor is found, listed
/// and drained.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Ack {
    /// The connection's id.
    pub id: ConnectionId,
}

impl<A: Actor> ActorService<A> {
    /// Creates a service, with the argument of [`AcceptorPool::with_actor`](crate::AcceptorPool::with_actor).
    pub fn new(start: impl Fn(Socket) -> Result<Addr<A>, BoxError> + Send + Sync + 'static) -> Self {
        ActorService { start: Box::new(start) }
    }
}

#[allow(private_interfaces)]
impl<A> Service for ActorService<A>
where
    A: Actor + Handler<Ack>,
    A::Context: ToEnvelope<A, Ack>,
{
    type Actor = A;

    fn into_listener_service(self) -> Arc<ListenerService> {
        let start = Arc::new(SharedStart::from_pointee(Guarded::new(self.start)));
        ListenerService::new(ConnectionKind::of::<A, Bytes>(), ActorSpawner(start.clone()), start)
    }
}

impl<A: Actor> sealed::Sealed for ActorService<A> {}

impl<A: Actor> fmt::Debug for ActorService<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActorService").finish_non_exhaustive()
    }
}

struct ActorSpawner<A: Actor>(Arc<SharedStart<A>>);

impl<A> ConnectionSpawner for ActorSpawner<A>
where
    A: Actor + Handler<Ack>,
    A::Context: ToEnvelope<A, Ack>,
{
    fn spawn(&self, stream: Stream, guard: ConnectionGuard, handshake: Option<Box<HandshakeChain>>, _: Arc<Config>) {
        let start = self.0.clone();
        Socket::new(stream, guard, handshake).when_ready(move |socket| start_actor(&start, socket));
    }

    /// Without a packet timeout: the actor decodes packets itself.
    fn timeouts(&self, config: &Config) -> Timeouts {
        Timeouts { packet: 0, ..config.timeouts() }
    }
}

/// Starts the actor, and sends it [`Ack`] once it is registered.
fn start_actor<A>(start: &SharedStart<A>, socket: Socket)
where
    A: Actor + Handler<Ack>,
    A::Context: ToEnvelope<A, Ack>,
{
    let shared = socket.shared();
    shared.set_ready();
    let activity = shared.begin_activity();
    let started = catch_panic(|| (start.load_full())(socket));
    drop(activity);
    match started {
        Err(panic) => shared.set_close_reason(CloseReason::Panic, Some(panic)),
        Ok(Err(error)) => {
            shared.set_close_reason(CloseReason::Error, Some(with_sources(&*error)));
        }
        Ok(Ok(address)) => {
            shared.state().set_address(address.clone());
            address.do_send(Ack { id: shared.state().id() });
        }
    }
}

impl<A> Pool<A>
where
    A: Actor + Handler<Ack>,
    A::Context: ToEnvelope<A, Ack>,
{
    /// Replaces the function that starts an actor for each new connection, as given to
    /// [`AcceptorPool::with_actor`](crate::AcceptorPool::with_actor). Existing connections keep their actors.
    ///
    /// # Errors
    /// [`PoolEnded`] when the pool has ended.
    pub fn set_actor(
        &self,
        start: impl Fn(Socket) -> Result<Addr<A>, BoxError> + Send + Sync + 'static,
    ) -> Result<(), PoolEnded> {
        let start = Arc::new(Guarded::new(ActorService::new(start).start));
        self.for_each_factory(|factory: Arc<SharedStart<A>>| factory.store(start.clone()))
    }
}
