//! Clients: what they see of the server, and the server of them.

use std::time::Duration;

use actix_acceptor::testing::{Client, Harness};
use actix_acceptor::transport::Inspect;
use actix_acceptor::{telemetry::CloseReason, Active, Next};
use bytes::Bytes;
use support::*;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::*;

#[actix::test]
async fn bytes_beyond_what_is_expected_are_kept() {
    let harness = echo_harness().await;
    let mut client = harness.connect().await;
    client.say("one\ntwo\nthree\n").await;
    client.expect("one\n").await;
    client.expect("tw").await;
    client.expect("o\n").await;
    assert_eq!(client.receive().await, "three\n");
    client.silence(ms(1)).await;
    client.say("rest\n").await;
    client.finish().await;
    assert_eq!(client.end().await, "rest\n");
    assert_eq!(client.end().await, "", "the end can be expected again");
}

#[actix::test]
async fn what_is_expected_may_take_as_long_as_the_patience() {
    let (builder, _callbacks) = Probe::pool(|call, conn| match call {
        Call::Packet(packet) => {
            let packet = packet.clone();
            conn.wait(tokio::time::sleep(Duration::from_secs(4)), |(), _, _| Next::Send(packet))
        }
        call => protocol_default(call),
    });
    let harness = Harness::start(builder).await;
    let mut client = harness.connect().await;
    let began = Instant::now();
    client.say("a").await;
    client.silence(Duration::from_millis(3_999)).await;
    client.expect("a").await;
    client.say("b").await;
    client.expect("b").await;
    assert_eq!(began.elapsed(), Duration::from_secs(8));
}

#[actix::test]
async fn a_client_may_finish_leave_or_reset() {
    let (builder, mut callbacks) = Probe::pool(|call, _| protocol_default(call));
    let harness = Harness::start(builder.half_close(true)).await;
    let mut client = harness.connect().await;
    client.finish().await;
    client.silence(ms(10)).await;
    assert_eq!(callbacks.so_far(), [Call::Init, Call::Ack, Call::HalfClosed]);
    client.reset().await;
    harness.advance(Duration::from_secs(70)).await;
    assert_eq!(callbacks.closed().await.0, CloseReason::Peer);

    drop(harness.connect().await);
    harness.settle().await;
    assert_eq!(callbacks.so_far(), [Call::Init, Call::Ack, Call::HalfClosed]);

    let mut client = harness.connect().await;
    client.say("last").await;
    client.reset().await;
    let calls = callbacks.so_far();
    assert_eq!(calls[..3], [Call::Init, Call::Ack, Call::packet("last")]);
    let [Call::Closed(CloseReason::Peer, text)] = &calls[3..] else { panic!("{calls:?}") };
    assert!(text.contains("reset"), "{text}");
}

#[actix::test]
async fn a_reset_is_found_behind_unread_bytes() {
    // An inspected stream hides nothing of the one below.
    for is_inspected in [false, true] {
        let (builder, mut callbacks) = Probe::pool(|call, _| protocol_default(call));
        let harness = Harness::start_with(builder.active(Active::Passive), |listener| match is_inspected {
            true => listener.handshake(Inspect::new(|_| {})),
            false => listener,
        });
        let harness = harness.await;
        let mut client = harness.connect().await;
        client.say("unread").await;
        client.reset().await;
        harness.advance(ms(300)).await;
        assert_eq!(callbacks.closed().await.0, CloseReason::Peer, "{is_inspected}");
        // So is a FIN: from then on the idle timeout runs.
        let mut client = harness.connect().await;
        client.say("unread").await;
        client.finish().await;
        harness.advance(Duration::from_secs(70)).await;
        assert_eq!(callbacks.closed().await.0, CloseReason::Idle, "{is_inspected}");
    }
}

#[actix::test]
async fn a_reset_by_the_server_is_no_end() {
    let (builder, _callbacks) = Probe::pool(|call, conn| match call {
        Call::Packet(_) => {
            conn.push("lost or not");
            Next::Reset
        }
        call => protocol_default(call),
    });
    let harness = Harness::start(builder).await;
    let mut client = harness.connect().await;
    client.say("a").await;
    assert_eq!(client.end_by_reset().await, "");
    let mut client = harness.connect().await;
    client.say("a").await;
    let message = failure(async move { client.end().await }).await;
    assert_eq!(message, "expected the end of the connection, but the connection was reset");
}

#[actix::test]
async fn a_client_works_over_any_stream() {
    let pool = echoes().bind("127.0.0.1:0").await.unwrap();
    let mut client = Client::new(TcpStream::connect(pool.local_addr().unwrap()).await.unwrap());
    client.say("hello\n").await;
    client.expect("hello\n").await;
    // Also over another client, as TLS does.
    let harness = echo_harness().await;
    let mut below = harness.connect().await;
    below.say("a\nb\n").await;
    below.expect("a\n").await;
    let mut client = Client::new(below);
    client.expect("b\n").await;
    client.say("c\n").await;
    client.expect("c\n").await;
    client.finish().await;
    assert_eq!(client.end().await, Bytes::new());
    pool.stop(Duration::ZERO).await;
}
