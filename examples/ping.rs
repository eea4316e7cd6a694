//! The example of condor's overview: packets with a length prefix of two bytes. Try it: `cargo run --example ping`, then
//! `printf '\0\4ping\0\3huh\0\4stop' | nc 127.0.0.1 7878 | xxd`. The answers are `pong`, `what?` and `ok`; then the
//! connection ends. An argument replaces the address.

use actix_acceptor::{AcceptorPool, Closed, Conn, ConnectionInfo, Framing, MainError, Next, Protocol};
use bytes::Bytes;

struct Ping;

impl Protocol for Ping {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        match &packet[..] {
            b"ping" => Next::send("pong"),
            b"stop" => Next::SendAndStop("ok".into()),
            _ => Next::send("what?"),
        }
    }

    fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
        println!("connection closed: {why}");
    }
}

#[actix::main]
async fn main() -> Result<(), MainError> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7878".to_owned());
    let pool = AcceptorPool::with_protocol(|_| Ping).framing(Framing::len2()).bind(address).await?;
    println!("listening on {}", pool.name());
    Ok(pool.stopped().await?)
}
