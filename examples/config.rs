//! Echoes lines, configured by a file that is reloaded on SIGHUP: all of it or, if it is invalid, nothing.
//!
//! ```toml
//! settings = { max_connections = 10_000, idle_timeout = "5m" }
//! listeners = [{ address = "tcp://127.0.0.1:7000" }]
//! drain = { grace = "30s", delay = "3s" }
//! ```
//!
//! Try it: `cargo run --example config --features config -- echo.toml`, then edit the file, then
//! `kill -HUP PID` with the number that it prints.

use actix_acceptor::{AcceptorPool, Conn, Drain, Framing, Next, PoolConfig, Protocol};
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
    let file = std::env::args().nth(1).ok_or("usage: config FILE.toml")?;
    let config = PoolConfig::load(&file)?;
    let pool = AcceptorPool::with_protocol(|_| Echo).framing(Framing::lines()).config(&config).start().await?;
    println!("listening on {}, PID {}", pool.local_addrs()[0], std::process::id());

    #[cfg(unix)]
    actix::spawn({
        let pool = pool.clone();
        let mut hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?;
        async move {
            while hangup.recv().await.is_some() {
                let reloaded = match PoolConfig::load(&file) {
                    Ok(config) => pool.reload(&config).await.map_err(|error| error.to_string()),
                    Err(error) => Err(error.to_string()),
                };
                match reloaded {
                    Ok(reloaded) => println!("reloaded: {reloaded}"),
                    Err(error) => println!("not reloaded: {error}"),
                }
            }
        }
    });

    pool.drain_on_signal(Drain::configured()).await?;
    Ok(pool.stopped().await?)
}
