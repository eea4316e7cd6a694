//! Glisten's pair of functions: `on_init` makes the state and hands over a stream, `on_event` is the loop. It counts each
//! client's packets, and a ticker's messages come in between. Try it: `cargo run --example counter`, then
//! `nc 127.0.0.1 7000` and type some lines.

use std::time::Duration;

use actix_acceptor::{AcceptorPool, Event, Framing, Init, Next};
use bytes::Bytes;
use futures::{stream, Stream};
use tokio::time::{interval, MissedTickBehavior};

/// What the ticker tells a connection.
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
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = AcceptorPool::with_events(
        |_conn| Init::new(0u64).stream(ticker()),
        |count, event, _conn| match event {
            Event::Packet(_) => {
                *count += 1;
                Next::Send(Bytes::from(count.to_string()))
            }
            Event::User(Tick) => Next::Send(Bytes::from(format!("still here, {count} so far"))),
            event => event.default_next(),
        },
    )
    .with_close(|count, why| println!("a client is gone after {count} packets: {why}"))
    .framing(Framing::lines())
    .bind("127.0.0.1:7000")
    .await?;
    println!("listening on {}", pool.name());
    Ok(pool.stopped().await?)
}
