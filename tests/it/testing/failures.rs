//! The messages of tests that fail.

use std::time::Duration;

use actix_acceptor::testing::{Client, Harness};
use actix_acceptor::{AcceptorPool, Framing, Listener, Next, Socket, SuspendMode};
use bytes::BytesMut;
use support::*;
use tokio::io::AsyncWriteExt;
use tokio_util::codec::Decoder;

use super::*;

/// What the test of a client fails with. The server greets with `hello\n` and echoes lines; `quit` ends the connection.
async fn client_failure<F: Future + 'static>(test: impl FnOnce(Client) -> F + 'static) -> String {
    let (builder, _callbacks) = Probe::pool(|call, _| match call {
        Call::Ack => Next::send("hello"),
        Call::Packet(packet) if packet == "quit" => Next::Stop,
        Call::Packet(packet) => Next::Send(packet.clone()),
        call => protocol_default(call),
    });
    let harness = Harness::start(builder.framing(Framing::lines())).await;
    let client = harness.connect().await;
    failure(async move { test(client).await }).await
}

#[actix::test]
async fn other_bytes_are_named() {
    let message = client_failure(async |mut client| client.expect("help\n").await).await;
    assert_eq!(message, r#"expected "help\n", but received "hello\n""#);
    let message = client_failure(async |mut client| {
        client.say([b'x'; 300]).await;
        client.say("\n").await;
        client.expect("hello\n").await;
        client.expect("y").await;
    });
    let (message, shown) = (message.await, "x".repeat(200));
    assert_eq!(message, format!(r#"expected "y", but received "{shown}" and 101 bytes more"#));
}

#[actix::test]
async fn missing_bytes_are_named() {
    let message = client_failure(async |mut client| client.expect("hello\nworld\n").await).await;
    assert_eq!(message, r#"expected "hello\nworld\n", but only "hello\n" arrived within 5s"#);
    let message = client_failure(async |client| {
        let mut client = client.patience(Duration::from_secs(1));
        client.expect("hello\n").await;
        client.receive().await;
    });
    assert_eq!(message.await, "expected bytes, but nothing arrived within 1s");
}

#[actix::test]
async fn an_early_end_is_named() {
    let message = client_failure(async |mut client| {
        client.say("quit\n").await;
        client.expect("hello\nworld\n").await;
    });
    assert_eq!(message.await, r#"expected "hello\nworld\n", but the connection ended after "hello\n""#);
    let message = client_failure(async |mut client| {
        client.say("quit\n").await;
        client.expect("hello\n").await;
        client.receive().await;
    });
    assert_eq!(message.await, "expected bytes, but the connection ended");
    let message = client_failure(async |mut client| {
        client.say("quit\n").await;
        client.say("more\n").await;
    });
    assert_eq!(message.await, r#"could not say "more\n": broken pipe"#);
}

#[actix::test]
async fn broken_silence_is_named() {
    let message = client_failure(async |mut client| client.silence(ms(30)).await).await;
    assert_eq!(message, r#"expected silence for 30ms, but received "hello\n" after 0ns"#);
    let message = client_failure(async |mut client| {
        client.expect("hell").await;
        client.silence(ms(30)).await;
    });
    assert_eq!(message.await, r#"expected silence for 30ms, but had already received "o\n""#);
    let message = client_failure(async |mut client| {
        client.expect("hello\n").await;
        client.silence(Duration::from_secs(100)).await;
    });
    let message = message.await;
    assert!(message.starts_with("expected silence for 100s, but after 6"), "{message}");
    assert!(message.ends_with(" the connection ended"), "{message}");
}

#[actix::test]
async fn a_connection_that_stays_open_is_named() {
    let message = client_failure(async |mut client| client.end().await).await;
    assert_eq!(message, r#"expected the end of the connection, but it was still open after 5s; received "hello\n""#);
    let message = client_failure(async |mut client| {
        client.say("quit\n").await;
        client.end_by_reset().await
    });
    assert_eq!(message.await, r#"expected a reset, but the connection ended after "hello\n""#);
    let (stream, _other) = tokio::io::duplex(16);
    let message = failure(async { Client::new(stream).reset().await }).await;
    assert_eq!(message, "only the clients of a harness can reset their connection");
}

#[actix::test]
async fn a_server_that_does_not_read_is_named() {
    let harness = Harness::start(AcceptorPool::with_fn(|socket: Socket| async {
        std::future::pending::<()>().await;
        drop(socket);
    }));
    let mut client = harness.await.connect().await.patience(Duration::from_secs(2));
    client.say(vec![b'x'; 64 * 1024]).await;
    let message = failure(async move { client.say("more").await }).await;
    assert_eq!(message, r#"could not say "more": the server did not read it within 2s"#);
}

#[actix::test]
async fn other_items_are_named() {
    let message = client_failure(async |client| client.framed(Framing::lines()).expect("help").await).await;
    assert_eq!(message, r#"expected "help", but received b"hello""#);
    let message = client_failure(async |client| {
        let mut client = client.framed(Framing::lines());
        client.expect("hello").await;
        client.say("quit").await;
        client.expect("world").await;
    });
    assert_eq!(message.await, r#"expected "world", but the connection ended"#);
    let message = client_failure(async |client| {
        let mut client = client.framed(Framing::lines());
        client.expect("hello").await;
        client.receive().await
    });
    assert_eq!(message.await, "expected an item, but nothing arrived within 5s");
}

/// Decodes nothing.
struct Picky;

impl Decoder for Picky {
    type Item = ();
    type Error = std::io::Error;

    fn decode(&mut self, _: &mut BytesMut) -> Result<Option<()>, std::io::Error> {
        Err(std::io::Error::other("not to my taste"))
    }
}

#[actix::test]
async fn what_a_codec_cannot_do_is_named() {
    let message = client_failure(async |client| client.framed(Picky).receive().await).await;
    assert_eq!(message, "expected an item, but the client's codec could not decode what arrived: not to my taste");
    let message = client_failure(async |client| client.framed(Framing::len1()).say(vec![0; 300]).await).await;
    assert!(message.starts_with("the client's codec could not encode an item: "), "{message}");
    let harness =
        Harness::start(AcceptorPool::with_fn(|mut socket: Socket| async move { socket.write_all(b"\x05hel").await }));
    let mut client = harness.await.connect().await.framed(Framing::len1());
    let message = failure(async move { client.end().await }).await;
    assert!(message.starts_with("expected the end of the connection, but "), "{message}");
}

#[actix::test]
async fn a_harness_that_cannot_start_says_why() {
    let message = failure(Harness::start(echoes().max_connections(0))).await;
    assert!(message.starts_with("the harness could not start: max_connections: "), "{message}");
    let listener = Listener::tcp("127.0.0.1:0");
    let message = failure(Harness::start(echoes().listener(listener))).await;
    assert!(message.contains("the builder has listeners"), "{message}");
}

#[tokio::test]
async fn a_harness_without_a_system_says_so() {
    let local = tokio::task::LocalSet::new();
    let failed = local.run_until(async { tokio::task::spawn_local(Harness::start(echoes())).await }).await.unwrap_err();
    let message = failed.into_panic().downcast_ref::<String>().cloned().unwrap();
    assert!(
        message.contains("use `#[actix::test]` or `#[actix_web::test]`; `#[tokio::test]` starts none"),
        "{message}"
    );
}

#[actix::test]
async fn a_client_that_cannot_connect_says_why() {
    let harness = echo_harness().await;
    harness.pool().suspend(SuspendMode::Close).await.unwrap();
    let message = failure(async move { harness.connect().await }).await;
    assert_eq!(message, "could not connect: connection refused (the pool is Suspended(Close))");
    let harness = echo_harness().await;
    let message = failure(async move { harness.connect_from("10.0.0").await }).await;
    assert_eq!(message, r#""10.0.0" is not the address of a peer: use IP:PORT, such as 10.0.0.7:1, or IP"#);
}

#[actix::test]
async fn what_is_left_at_the_end_is_named() {
    let harness = Harness::start(AcceptorPool::with_fn(|socket: Socket| async {
        std::future::pending::<()>().await;
        drop(socket);
    }));
    let harness = harness.await;
    let _client = harness.connect_from("10.0.0.7:1").await;
    let message = failure(harness.end()).await;
    assert_eq!(message, "1 of the connections did not end within 5s: 1 (10.0.0.7:1, Open)");

    let harness = Harness::start(echoes().max_restarts(0, ms(10))).await;
    harness.fail_accept(std::io::ErrorKind::NotConnected.into());
    let message = failure(harness.end()).await;
    assert!(message.starts_with("the pool has ended with an error: "), "{message}");
}
