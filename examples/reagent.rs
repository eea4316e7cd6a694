//! Both handlers of reagent: an async fn that owns the socket (`handle/1`, port 7878), and an actor that waits for the
//! `Ack` before it uses the socket (`start/1`, port 7879). Try it: `cargo run --example reagent`, then
//! `nc 127.0.0.1 7878` and `nc 127.0.0.1 7879`. Two arguments replace the addresses.

use std::io;

use actix::prelude::*;
use actix_acceptor::{AcceptorPool, Ack, MainError, Socket};
use tokio::io::{split, AsyncReadExt, AsyncWriteExt};

/// `handle/1`: serves one connection.
async fn handle(mut socket: Socket) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match socket.read(&mut buffer).await? {
            0 => return Ok(()),
            n => socket.write_all(&buffer[..n]).await?,
        }
    }
}

/// `start/1`: a user-defined actor.
struct Echo {
    /// Taken when the `Ack` arrives and split into a reader and a writer.
    socket: Option<Socket>,
}

impl Actor for Echo {
    type Context = Context<Self>;
}

impl Handler<Ack> for Echo {
    type Result = ();

    fn handle(&mut self, ack: Ack, ctx: &mut Context<Self>) {
        let Some(socket) = self.socket.take() else { return };
        let (mut reader, mut writer) = split(socket);
        let talk = async move {
            writer.write_all(format!("you are number {}\n", ack.id).as_bytes()).await?;
            tokio::io::copy(&mut reader, &mut writer).await
        };
        ctx.spawn(talk.into_actor(self).map(move |outcome: io::Result<u64>, _, ctx| {
            println!("connection {} closed: {outcome:?}", ack.id);
            ctx.stop();
        }));
    }
}

#[actix::main]
async fn main() -> Result<(), MainError> {
    let mut addresses = std::env::args().skip(1);
    let handle_address = addresses.next().unwrap_or("127.0.0.1:7878".to_owned());
    let start_address = addresses.next().unwrap_or("127.0.0.1:7879".to_owned());
    let handled = AcceptorPool::with_fn(handle).bind(handle_address).await?;
    let started =
        AcceptorPool::with_actor(|socket| Ok(Echo { socket: Some(socket) }.start())).bind(start_address).await?;
    println!("async fn on {}, actor on {}", handled.name(), started.name());
    handled.stopped().await?;
    Ok(started.stopped().await?)
}
