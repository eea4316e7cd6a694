//! Echoes lines over TLS. The commands make a certificate, start the server, and connect to it:
//!
//! ```sh
//! openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out cert.pem
//! cargo run --example tls_echo --features rustls -- cert.pem key.pem
//! openssl s_client -quiet -CAfile cert.pem -connect 127.0.0.1:7878
//! ```
//!
//! A third argument replaces the address.

use actix_acceptor::{tls::Tls, AcceptorPool, Conn, Framing, Listener, MainError, Next, Protocol};
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
    let mut arguments = std::env::args().skip(1);
    let (Some(certificate), Some(key)) = (arguments.next(), arguments.next()) else {
        return Err("usage: tls_echo CERTIFICATE.pem KEY.pem [ADDRESS]".into());
    };
    let address = arguments.next().unwrap_or("127.0.0.1:7878".to_owned());
    let tls = Tls::rustls().files(certificate, key).build()?;
    let listener = Listener::tcp(address).tls(tls);
    let pool = AcceptorPool::with_protocol(|_| Echo).framing(Framing::lines()).listener(listener).start().await?;
    println!("listening on {}", pool.name());
    Ok(pool.stopped().await?)
}
