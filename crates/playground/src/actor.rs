//! The handler `actor`: an actor of one's own that owns its socket, and speaks once the pool has it on its books.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use actix::prelude::*;
use actix_acceptor::{Ack, Socket};
use tokio::sync::mpsc;

use crate::doors::Setting;
use crate::reach::HowMany;
use crate::session::{Order, Session};

pub struct EchoActor {
    /// Until the ack.
    session: Option<Session>,
    packets: Rc<Cell<u64>>,
    orders: mpsc::UnboundedSender<Order>,
}

impl EchoActor {
    pub fn begin(socket: Socket, setting: Arc<Setting>) -> Addr<Self> {
        let (orders, taken) = mpsc::unbounded_channel();
        let session = Session::new(socket, setting, taken);
        EchoActor { packets: session.packets(), session: Some(session), orders }.start()
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

impl Handler<Order> for EchoActor {
    type Result = ();

    fn handle(&mut self, order: Order, _: &mut Context<Self>) {
        // A session that is over takes no orders, and nobody minds.
        let _ = self.orders.send(order);
    }
}

impl Handler<HowMany> for EchoActor {
    type Result = u64;

    fn handle(&mut self, _: HowMany, _: &mut Context<Self>) -> u64 {
        self.packets.get()
    }
}
