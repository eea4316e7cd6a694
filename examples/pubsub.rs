//! A message broker for a few thousand subscribers. Each line of a client is a command:
//!
//! | command | effect | answer |
//! |---|---|---|
//! | `SUB topic` | subscribes | `ok` |
//! | `UNSUB topic` | unsubscribes; no message follows the answer | `ok` |
//! | `PUB topic text` | sends `topic text` to the subscribers | the number of subscribers |
//!
//! Try it: `cargo run --release --example pubsub`, then `nc 127.0.0.1 7878` in two terminals. An argument replaces
//! the address.

use actix_acceptor::{limits::SlowConsumer, prelude::*, transport::Keepalive};
use bytes::Bytes;
use std::time::Duration;

/// The number of topics that a client may subscribe to.
const MAX_TOPICS: usize = 100;

/// The state of one connection.
#[derive(Default)]
struct Client {
    topics: usize,
}

impl Protocol for Client {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, line: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        let Ok(text) = std::str::from_utf8(&line) else { return Next::send("error: not UTF-8") };
        let pool = conn.pool();
        match text.splitn(3, ' ').collect::<Vec<_>>()[..] {
            ["PUB", topic, _] => {
                let published = pool.topic(topic).publish(line.slice("PUB ".len()..));
                published.error.map_or_else(|| Next::send(published.members.to_string()), Next::fail)
            }
            ["SUB", _] if self.topics == MAX_TOPICS => Next::send("error: too many topics"),
            ["SUB", topic] => {
                self.topics += usize::from(conn.join(&pool.topic(topic)));
                Next::send("ok")
            }
            ["UNSUB", topic] => {
                self.topics -= usize::from(conn.leave(&pool.topic(topic)));
                Next::send("ok")
            }
            _ => Next::send("error: SUB topic, UNSUB topic or PUB topic text"),
        }
    }
}

#[actix::main]
async fn main() -> Result<(), MainError> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7878".to_owned());
    let pool = AcceptorPool::with_protocol(|_| Client::default())
        .framing(Framing::lines().with_max_frame(64 * 1024))
        // A subscriber that is 256 KiB behind is closed, so messages for 1,000 subscribers take up at most 250 MiB.
        .outbox(256 * 1024, SlowConsumer::Close)
        // Subscribers may stay silent, so keepalive detects those that have vanished.
        .idle_timeout(None)
        .listener(Listener::tcp(address).keepalive(Keepalive::time(Duration::from_secs(60))))
        .start()
        .await?;
    println!("listening on {}", pool.name());
    Ok(pool.stopped().await?)
}
