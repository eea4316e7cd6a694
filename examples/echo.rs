//! Echoes lines. Try it: `cargo run --example echo`, then `nc 127.0.0.1 7000`.

use actix_acceptor::{AcceptorPool, Conn, Framing, Next, Protocol};
use bytes::Bytes;

struct Echo;

impl Protocol for Echo {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(packet)
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = AcceptorPool::with_protocol(|_| Echo).framing(Framing::lines()).bind("127.0.0.1:7000").await?;
    println!("listening on {}", pool.name());
    Ok(pool.stopped().await?)
}
