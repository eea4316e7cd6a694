//! Echoes lines. Try it: `cargo run --example echo`, then `nc 127.0.0.1 7878`. An argument replaces the address.

use actix_acceptor::{AcceptorPool, Conn, Framing, MainError, Next, Protocol};
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
async fn main() -> Result<(), MainError> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7878".to_owned());
    let pool = AcceptorPool::with_protocol(|_| Echo).framing(Framing::lines()).bind(address).await?;
    println!("listening on {}", pool.name());
    Ok(pool.stopped().await?)
}
