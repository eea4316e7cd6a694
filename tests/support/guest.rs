//! [`Guest`], a protocol for the examples of the documentation.

use std::sync::Arc;

use actix_acceptor::{AcceptorPool, Conn, Connection, Framing, Next, Pool, Protocol};
use bytes::Bytes;

use crate::time_limits::in_time;

/// Joins the topic "lobby". Lines are handled by a closure, messages are sent to the peer.
#[derive(Clone)]
pub struct Guest(Arc<OnLine>);

type OnLine = dyn Fn(&str, &mut Conn<Guest>) -> Next<Guest> + Send + Sync;

/// A pool of guests.
pub async fn guests(
    on_line: impl Fn(&str, &mut Conn<Guest>) -> Next<Guest> + Send + Sync + 'static,
) -> Pool<Connection<Guest>> {
    let guest = Guest(Arc::new(on_line));
    let pool = AcceptorPool::with_protocol(move |_| guest.clone()).framing(Framing::lines()).acceptors(1);
    in_time(pool.bind("127.0.0.1:0")).await.unwrap()
}

impl Protocol for Guest {
    type Codec = Framing;
    type Reply = Bytes;
    type User = String;

    fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        conn.join(&conn.pool().topic("lobby"));
        Next::send("welcome")
    }

    fn packet(&mut self, line: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        let on_line = self.0.clone();
        on_line(&String::from_utf8_lossy(&line), conn)
    }

    fn user(&mut self, message: String, _: &mut Conn<Self>) -> Next<Self> {
        Next::send(message)
    }
}
