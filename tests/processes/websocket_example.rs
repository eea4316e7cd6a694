//! The example `websocket`: guests over TCP and over WebSockets, whose client is tokio-tungstenite.

use std::net::SocketAddr;

use futures::{SinkExt, StreamExt};
use rustix::process::Signal;
use support::*;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{connect_async, MaybeTlsStream, WebSocketStream};

use super::example::Example;

struct Guest(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Guest {
    async fn connect(http: SocketAddr) -> Guest {
        Guest(in_time(connect_async(format!("ws://{http}/ws"))).await.unwrap().0)
    }

    async fn send(&mut self, text: &str) {
        in_time(self.0.send(Message::text(text))).await.unwrap();
    }

    async fn receive(&mut self) -> Option<String> {
        match in_time(self.0.next()).await {
            Some(Ok(Message::Text(text))) => Some(text.to_string()),
            Some(Ok(Message::Close(_)) | Err(_)) | None => None,
            Some(Ok(other)) => panic!("{other:?}"),
        }
    }
}

/// The text of a line `PEER: TEXT`.
fn text(line: &str) -> &str {
    line.split_once(": ").unwrap().1
}

#[actix::test]
async fn tcp_and_websocket_guests_share_a_topic() {
    let mut example = Example::start("websocket", &["127.0.0.1:0", "127.0.0.1:0"]);
    let line = example.line();
    let (chat, http) = line.strip_prefix("chat on ").unwrap().split_once(", websockets on ").unwrap();
    let (chat, http): (SocketAddr, SocketAddr) = (chat.parse().unwrap(), http.parse().unwrap());
    let mut ann = Guest::connect(http).await;
    let mut bob = Guest::connect(http).await;
    let mut carol = Peer(TcpStream::connect(chat).await.unwrap());

    // Each is a member once it is welcome.
    carol.expect(b"welcome, guest ").await;
    while carol.read_exact(1).await != b"\n" {}
    for guest in [&mut ann, &mut bob] {
        assert!(guest.receive().await.unwrap().starts_with("welcome, guest "));
    }
    for round in 0..20 {
        carol.send(format!("from carol {round}\n")).await;
        let line = ann.receive().await.unwrap();
        assert_eq!(text(&line), format!("from carol {round}"));
        assert!(line.starts_with(&carol.address().to_string()), "{line}");
        assert_eq!(bob.receive().await, Some(line));
        ann.send(&format!("from ann {round}")).await;
        let line = bob.receive().await.unwrap();
        assert_eq!(text(&line), format!("from ann {round}"));
        carol.expect(format!("{line}\n").as_bytes()).await;
    }

    // What one guest sends at once arrives in order.
    for number in 0..500 {
        ann.send(&number.to_string()).await;
    }
    for number in 0..500 {
        assert_eq!(text(&bob.receive().await.unwrap()), number.to_string());
    }
    // A guest that leaves is not in the way.
    drop(ann);
    bob.send("still here").await;

    // One signal drains the pool and stops the web server.
    example.signal(Signal::TERM);
    assert_eq!(bob.receive().await, None);
    eventually(|| example.child.try_wait().unwrap().is_some()).await;
    assert!(example.child.wait().unwrap().success());
}
