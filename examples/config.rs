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
use std::error::Error;

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
async fn main() {
    if let Err(error) = run().await {
        eprintln!("{}", with_sources(&*error));
        std::process::exit(1);
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("usage: config FILE.toml")?;
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
                let reloaded = match PoolConfig::load(&file) {
                    Ok(config) => pool.reload(&config).await.map_err(|error| with_sources(&error)),
                    Err(error) => Err(with_sources(&error)),
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

/// An error with its sources: the system's reason is in a source, not in the error's own text.
fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
