//! The events handler has the same messaging as a protocol.

use actix_acceptor::{Event, Init};
use support::*;

use super::*;

#[actix::test]
async fn a_chat_of_two_closures() {
    let pool = AcceptorPool::with_events(
        |_| Init::new(String::new()),
        |name, event, conn| {
            let pool = conn.pool();
            let lobby = pool.topic("lobby");
            match event {
                Event::Packet(text) if name.is_empty() => {
                    *name = String::from_utf8_lossy(&text).into_owned();
                    conn.join(&lobby);
                    conn.set_label(&*name);
                    Next::send(if conn.register(&*name).is_ok() { "welcome" } else { "taken" })
                }
                Event::Packet(text) => {
                    lobby.publish_except(conn.id(), text);
                    Next::Continue
                }
                event => event.default_next(),
            }
        },
    );
    let pool = pool.framing(Framing::lines()).bind("127.0.0.1:0").await.unwrap();
    let (mut ann, mut bob) = (connect(&pool).await, connect(&pool).await);
    assert_eq!((ask(&mut ann, "ann").await, ask(&mut bob, "bob").await), ("welcome".into(), "welcome".into()));
    ann.send("hello\n").await;
    assert_eq!(line(&mut bob).await, "hello");
    assert_eq!(pool.names(), ["ann".into(), "bob".into()]);
    let connection = pool.whereis("bob").unwrap();
    assert_eq!(connection.info().label.as_deref(), Some("bob"));
    connection.outbox().send("to you").unwrap();
    assert!(connection.close(Some("bye".into()), ms(5_000)));
    assert_eq!(bob.read_to_end().await, b"to you\nbye\n");
    eventually(|| pool.topic("lobby").len() == 1 && pool.names() == ["ann".into()]).await;
}
