//! The door `start`: an actor of one's own that owns its socket, as reagent's `start/1`.

use std::sync::Arc;

use actix::dev::ToEnvelope;
use actix::prelude::*;

use super::{sealed, socket_limits, Door, Opened};
use crate::acceptor::Seam;
use crate::error::BoxError;
use crate::guard::guard;
use crate::protocol::Limits;
use crate::socket::{Incoming, Socket, SocketLimits};
use crate::table::ConnectionId;
use crate::telemetry::Reason;

type Start<A> = Box<dyn Fn(Socket) -> Result<Addr<A>, BoxError> + Send + Sync>;

/// The door [`start`](crate::AcceptorPool::start).
pub struct StartDoor<A: Actor> {
    start: Start<A>,
}

/// Sent to an actor of one's own once the pool has it on its books: from then on it is found, listed and told.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Ack {
    /// The connection's number.
    pub id: ConnectionId,
}

impl<A: Actor> StartDoor<A> {
    pub(crate) fn new(start: impl Fn(Socket) -> Result<Addr<A>, BoxError> + Send + Sync + 'static) -> Self {
        StartDoor { start: Box::new(start) }
    }
}

#[allow(private_interfaces)]
impl<A> Door for StartDoor<A>
where
    A: Actor + Handler<Ack>,
    A::Context: ToEnvelope<A, Ack>,
{
    type Actor = A;

    fn open(self, limits: Limits, _: Arc<str>) -> Opened {
        let seam = StartSeam { start: self.start, limits: socket_limits(&limits) };
        Opened { seam: Arc::new(seam), left: None }
    }
}

impl<A: Actor> sealed::Sealed for StartDoor<A> {}

struct StartSeam<A: Actor> {
    start: Start<A>,
    limits: SocketLimits,
}

impl<A> Seam for StartSeam<A>
where
    A: Actor + Handler<Ack>,
    A::Context: ToEnvelope<A, Ack>,
{
    fn open(&self, incoming: Incoming) {
        let socket = Socket::accept(incoming, self.limits);
        let desk = socket.desk();
        match guard(|| (self.start)(socket)) {
            Err(panic) => desk.note(Reason::Panic, Some(panic)),
            Ok(Err(error)) => {
                let text = guard(|| error.to_string()).unwrap_or_else(|panic| panic);
                desk.note(Reason::Error, Some(text));
            }
            Ok(Ok(address)) => {
                desk.entry().set_address(address.clone());
                address.do_send(Ack { id: desk.entry().id() });
            }
        }
    }
}
