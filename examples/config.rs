//! Echoes lines, configured by a file that is reloaded on SIGHUP: all of it or, if it is invalid, nothing.
//!
//! ```toml
//! settings = { max_connections = 10_000, idle_timeout = "5m" }
//! listeners = [{ address = "tcp://127.0.0.1:7878" }]
//! drain = { grace = "30s", delay = "3s" }
//! ```
//!
//! Try it: `cargo run --example config --features config -- echo.toml`, then edit the file, then
//! `kill -HUP PID` with the number that it prints.

#[cfg(unix)]
use actix_acceptor::{info::Reloaded, Pool};
use actix_acceptor::{AcceptorPool, Conn, Drain, Framing, MainError, Next, PoolConfig, Protocol};
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
    let file = std::env::args().nth(1).ok_or("usage: config FILE.toml; the file has the addresses")?;
    let config = PoolConfig::load(&file)?;
    let pool = AcceptorPool::with_protocol(|_| Echo).framing(Framing::lines()).config(&config).start().await?;
    // From here on, SIGHUP does not end the process.
    #[cfg(unix)]
    let mut hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?;
    println!("listening on {}, PID {}", pool.local_addrs()[0], std::process::id());

    #[cfg(unix)]
    actix::spawn({
        let pool = pool.clone();
        async move {
            while hangup.recv().await.is_some() {
                match reload(&pool, &file).await {
                    Ok(reloaded) => println!("reloaded: {reloaded}"),
                    Err(error) => println!("not reloaded: {error:?}"),
                }
            }
        }
    });

    pool.drain_on_signal(Drain::configured()).await?;
    Ok(pool.stopped().await?)
}

#[cfg(unix)]
async fn reload<A>(pool: &Pool<A>, file: &str) -> Result<Reloaded, MainError> {
    Ok(pool.reload(&PoolConfig::load(file)?).await?)
}
