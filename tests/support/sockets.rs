//! Handlers that own the socket: an async fn, and an actor.

use std::future::Future;
use std::io;

use actix::prelude::*;
use actix_acceptor::{Ack, Socket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Sends back what it reads until the peer has finished.
pub async fn echo(mut socket: Socket) -> io::Result<()> {
    let mut buffer = [0; 1024];
    loop {
        match socket.read(&mut buffer).await? {
            0 => return Ok(()),
            read => socket.write_all(&buffer[..read]).await?,
        }
    }
}

/// An actor that serves its socket by an async fn once it is acked, and stops. What that
/// returns is lost: an actor has no way to tell the pool of an error.
pub struct SocketActor<S>(Option<(Socket, S)>);

impl<S, F> SocketActor<S>
where
    S: FnOnce(Socket) -> F + Unpin + 'static,
    F: Future + 'static,
{
    pub fn start(socket: Socket, serve: S) -> Addr<Self> {
        Actor::start(SocketActor(Some((socket, serve))))
    }
}

impl<S: Unpin + 'static> Actor for SocketActor<S> {
    type Context = Context<Self>;
}

impl<S, F> Handler<Ack> for SocketActor<S>
where
    S: FnOnce(Socket) -> F + Unpin + 'static,
    F: Future + 'static,
{
    type Result = ();

    fn handle(&mut self, _: Ack, ctx: &mut Context<Self>) {
        let (socket, serve) = self.0.take().expect("acked once");
        ctx.spawn(serve(socket).into_actor(self).map(|_, _, ctx| ctx.stop()));
    }
}
