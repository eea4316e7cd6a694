//! The door `start`: an actor of one's own that owns its socket, as reagent's `start/1`.

use std::sync::Arc;

use actix::dev::ToEnvelope;
use actix::prelude::*;

use super::{sealed, socket_limits, Latest, Opened, Service};
use crate::acceptor::ConnectionSpawner;
use crate::connection::{Reconfigure, Terms};
use crate::error::{BoxError, PoolEnded};
use crate::panic::catch_panic;
use crate::pool::Pool;
use crate::socket::{Incoming, Socket, SocketLimits};
use crate::telemetry::CloseReason;
use crate::telemetry::ConnectionId;

type Start<A> = Arc<dyn Fn(Socket) -> Result<Addr<A>, BoxError> + Send + Sync>;

/// The door [`start`](crate::AcceptorPool::with_actor).
pub struct ActorService<A: Actor> {
    start: Start<A>,
}

/// Sent to an actor of one's own once the pool has it on its books: from then on it is found, listed and told.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Ack {
    /// The connection's number.
    pub id: ConnectionId,
}

impl<A: Actor> ActorService<A> {
    pub(crate) fn new(start: impl Fn(Socket) -> Result<Addr<A>, BoxError> + Send + Sync + 'static) -> Self {
        ActorService { start: Arc::new(start) }
    }
}

#[allow(private_interfaces)]
impl<A> Service for ActorService<A>
where
    A: Actor + Handler<Ack>,
    A::Context: ToEnvelope<A, Ack>,
{
    type Actor = A;

    fn open(self, terms: Terms) -> Opened {
        let spawner =
            ActorSpawner { start: Arc::new(Latest::new(self.start)), limits: Latest::new(socket_limits(&terms)) };
        let left = spawner.start.clone();
        let reconfigure = Arc::new(spawner);
        Opened { spawner: reconfigure.clone(), reconfigure, left: Some(left) }
    }
}

impl<A: Actor> sealed::Sealed for ActorService<A> {}

struct ActorSpawner<A: Actor> {
    start: Arc<Latest<Start<A>>>,
    limits: Latest<SocketLimits>,
}

impl<A> ConnectionSpawner for ActorSpawner<A>
where
    A: Actor + Handler<Ack>,
    A::Context: ToEnvelope<A, Ack>,
{
    fn open(&self, incoming: Incoming) {
        let socket = Socket::accept(incoming, self.limits.get());
        if socket.is_ready() {
            return begin(&self.start, socket);
        }
        let start = self.start.clone();
        actix_rt::spawn(async move {
            if let Some(socket) = socket.shake().await {
                begin(&start, socket);
            }
        });
    }

    fn shortest_limit(&self) -> u32 {
        self.limits.get().shortest()
    }
}

impl<A: Actor> Reconfigure for ActorSpawner<A> {
    fn set_terms(&self, terms: Terms) {
        self.limits.set(socket_limits(&terms));
    }
}

/// Has the actor started, and tells it once it is on the books.
fn begin<A>(start: &Latest<Start<A>>, socket: Socket)
where
    A: Actor + Handler<Ack>,
    A::Context: ToEnvelope<A, Ack>,
{
    let shared = socket.shared();
    shared.ready();
    let at_work = shared.at_work();
    let started = catch_panic(|| (start.get())(socket));
    drop(at_work);
    match started {
        Err(panic) => shared.note(CloseReason::Panic, Some(panic)),
        Ok(Err(error)) => {
            let text = catch_panic(|| error.to_string()).unwrap_or_else(|panic| panic);
            shared.note(CloseReason::Error, Some(text));
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
        self.handler::<Latest<Start<A>>>()?.set(Arc::new(start));
        Ok(())
    }
}
