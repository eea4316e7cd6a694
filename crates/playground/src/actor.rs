//! The handler `actor`: a user-defined actor that owns its socket. It starts to serve when it receives the `Ack`.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use actix::prelude::*;
use actix_acceptor::{Ack, Socket};

use crate::access::PacketCount;
use crate::handlers::ServerConfig;
use crate::session::{Command, Session};

pub struct EchoActor {
    /// Taken when the `Ack` arrives.
    session: Option<Session>,
    packets: Rc<Cell<u64>>,
}

impl EchoActor {
    pub fn start_with(socket: Socket, config: Arc<ServerConfig>) -> Addr<Self> {
        let session = Session::new(socket, config);
        EchoActor { packets: session.packets(), session: Some(session) }.start()
    }
}

impl Actor for EchoActor {
    type Context = Context<Self>;
}

impl Handler<Ack> for EchoActor {
    type Result = ();

    fn handle(&mut self, _: Ack, ctx: &mut Context<Self>) {
        if let Some(session) = self.session.take() {
            ctx.spawn(session.run().into_actor(self).map(|_, _, ctx| ctx.stop()));
        }
    }
}

impl Handler<Command> for EchoActor {
    type Result = ();

    fn handle(&mut self, command: Command, _: &mut Context<Self>) {
        match command {
            Command::Ask(answer) => drop(answer.send(self.packets.get())),
            Command::NoOp => {}
        }
    }
}

impl Handler<PacketCount> for EchoActor {
    type Result = u64;

    fn handle(&mut self, _: PacketCount, _: &mut Context<Self>) -> u64 {
        self.packets.get()
    }
}
