//! A pair of closures, as in glisten: the first makes the state and adds a stream, the second handles the events. It counts
//! the packets of each connection; a ticker sends messages in between. Try it: `cargo run --example counter`, then
//! `nc 127.0.0.1 7878` and type some lines. An argument replaces the address.

use std::time::Duration;

use actix_acceptor::{AcceptorPool, Event, Framing, Init, MainError, Next};
use futures::{stream, Stream};
use tokio::time::{interval, MissedTickBehavior};

/// The message of the ticker.
struct Tick;

fn ticker() -> impl Stream<Item = Tick> {
    let mut clock = interval(Duration::from_secs(5));
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    clock.reset();
    stream::unfold(clock, |mut clock| async move {
        clock.tick().await;
        Some((Tick, clock))
    })
}

#[actix::main]
async fn main() -> Result<(), MainError> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7878".to_owned());
    let pool = AcceptorPool::with_events(
        |_conn| Init::new(0u64).stream(ticker()),
        |count, event, _conn| match event {
            Event::Packet(_) => {
                *count += 1;
                Next::send(count.to_string())
            }
            Event::User(Tick) => Next::send(format!("{count} packets so far")),
            event => event.default_next(),
        },
    )
    .with_close(|count, why| println!("connection closed after {count} packets: {why}"))
    .framing(Framing::lines())
    .bind(address)
    .await?;
    println!("listening on {}", pool.name());
    Ok(pool.stopped().await?)
}
