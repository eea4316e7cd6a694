//! The door `start`: an actor of one's own that owns its socket, as reagent's `start/1`.

use std::sync::Arc;

use actix::dev::ToEnvelope;
use actix::prelude::*;

use super::{sealed, socket_limits, Door, Opened};
use crate::acceptor::Seam;
use crate::builder::Builder;
use crate::error::BoxError;
use crate::guard::guard;
use crate::pool::AcceptorPool;
use crate::protocol::Limits;
use crate::socket::{Incoming, Socket, SocketLimits};
use crate::table::ConnectionId;
use crate::telemetry::Reason;

type Start<A> = Box<dyn Fn(Socket) -> Result<Addr<A>, BoxError> + Send + Sync>;

/// The door [`start`](AcceptorPool::start).
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

impl AcceptorPool {
    /// Serves every connection by an actor of one's own: reagent's `start/1`.
    ///
    /// The function takes the [`Socket`], starts an actor that owns it, and returns the actor's address. The actor gets
    /// [`Ack`] once the pool has it on its books. An error closes that socket, if the function has not done so, and nothing
    /// else.
    ///
    /// The function is called on the arbiter that the connection lives on: `start` and `create` run the actor there. The
    /// pool holds the actor's address as long as the socket is alive, so an actor with no other address goes on until it
    /// stops itself or drops the socket.
    ///
    /// ```
    /// use actix::prelude::*;
    /// use actix_acceptor::{Ack, AcceptorPool, Socket};
    /// use tokio::io::AsyncWriteExt;
    ///
    /// struct Greeter(Option<Socket>);
    /// impl Actor for Greeter {
    ///     type Context = Context<Self>;
    /// }
    /// impl Handler<Ack> for Greeter {
    ///     type Result = ();
    ///     fn handle(&mut self, ack: Ack, ctx: &mut Context<Self>) {
    ///         let mut socket = self.0.take().expect("acked once");
    ///         let greet = async move { socket.write_all(format!("you are {}\n", ack.id).as_bytes()).await };
    ///         ctx.spawn(greet.into_actor(self).map(|_, _, ctx| ctx.stop()));
    ///     }
    /// }
    ///
    /// # actix_rt::System::new().block_on(async {
    /// let pool = AcceptorPool::start(|socket| Ok(Greeter(Some(socket)).start())).bind("127.0.0.1:0").await?;
    /// # use tokio::io::AsyncReadExt;
    /// # let mut peer = tokio::net::TcpStream::connect(pool.local_addr().expect("TCP")).await?;
    /// # let mut line = String::new();
    /// # peer.read_to_string(&mut line).await?;
    /// # assert_eq!(line, "you are 1\n");
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn start<A, F>(start: F) -> Builder<StartDoor<A>>
    where
        A: Actor + Handler<Ack>,
        A::Context: ToEnvelope<A, Ack>,
        F: Fn(Socket) -> Result<Addr<A>, BoxError> + Send + Sync + 'static,
    {
        Builder::new(StartDoor { start: Box::new(start) })
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
            Ok(Err(error)) => desk.note(Reason::Error, Some(error.to_string())),
            Ok(Ok(address)) => {
                desk.entry().set_address(address.clone());
                address.do_send(Ack { id: desk.entry().id() });
            }
        }
    }
}
