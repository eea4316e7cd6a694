//! What the peers of a harness do to a connection, as with sockets: ends, resets, and errors of `accept(2)`.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_acceptor::testing::{Callback, Client, Harness};
use actix_acceptor::transport::{Direction, Inspect, Memory, Transport};
use actix_acceptor::{telemetry::CloseReason, AcceptorPool, Active, Next, Socket};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::codec::LinesCodec;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

#[actix::test]
async fn a_peer_that_left_is_found_behind_unread_bytes() {
    let (builder, mut callbacks) = Probe::pool(|call, _| protocol_default(call));
    let harness = Harness::start(builder.active(Active::Passive)).await;
    let mut client = harness.connect().await;
    client.say("unread").await;
    drop(client);
    harness.advance(Duration::from_secs(70)).await;
    assert_eq!(callbacks.closed().await.0, CloseReason::Idle);
    // Also if a layer on top of it, such as TLS, ends the stream.
    let mut client = harness.connect().await;
    client.say("unread").await;
    let mut above = Client::new(client);
    above.finish().await;
    harness.advance(Duration::from_secs(70)).await;
    assert_eq!(callbacks.closed().await.0, CloseReason::Idle);
}

#[actix::test]
async fn bytes_before_a_reset_are_read_then_calls_fail() {
    let (outcome, mut outcomes) = tokio::sync::mpsc::unbounded_channel();
    let harness = Harness::start(AcceptorPool::with_fn(move |mut socket: Socket| {
        let outcome = outcome.clone();
        async move {
            tokio::time::sleep(ms(10)).await;
            let mut bytes = [0; 6];
            let read = socket.read_exact(&mut bytes).await.map(|_| bytes);
            let further = socket.read(&mut [0]).await.unwrap_err().kind();
            let written = socket.write(b"late").await.unwrap_err().kind();
            outcome.send((read.unwrap(), further, written)).unwrap();
        }
    }));
    let harness = harness.await;
    let mut client = harness.connect().await;
    client.say("unread").await;
    client.reset().await;
    harness.advance(ms(20)).await;
    let reset = ErrorKind::ConnectionReset;
    assert_eq!(outcomes.try_recv().unwrap(), (*b"unread", reset, reset));
}

#[actix::test]
async fn a_reset_of_a_socket_can_be_expected_again() {
    let (builder, _callbacks) = Probe::pool(|call, _| match call {
        Call::Packet(_) => Next::Reset,
        call => protocol_default(call),
    });
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let mut client = Client::new(TcpStream::connect(pool.local_addr().unwrap()).await.unwrap());
    client.say("a").await;
    assert_eq!(client.end_by_reset().await, "");
    assert_eq!(client.end_by_reset().await, "");
    pool.stop(Duration::ZERO).await;
}

#[actix::test]
async fn the_end_completes_the_last_item() {
    let hello = |mut socket: Socket| async move { socket.write_all(b"one\ntwo").await };
    let harness = Harness::start(AcceptorPool::with_fn(hello)).await;
    let mut client = harness.connect().await.framed(LinesCodec::new());
    client.expect("one").await;
    client.expect("two").await;
}

#[actix::test]
async fn several_accept_errors_are_reported_in_order() {
    let harness = echo_harness().await;
    harness.fail_accept(ErrorKind::OutOfMemory.into());
    harness.fail_accept(io::Error::from(ErrorKind::NotConnected));
    harness.settle().await;
    let restarts = || harness.pool().info().acceptors[0].restarts;
    assert_eq!(restarts(), 0, "the first one is a pause");
    harness.advance(Duration::from_secs(1)).await;
    assert_eq!(restarts(), 1);
    harness.end().await;
}

#[test]
fn a_closed_transport_forgets_its_accept_errors() {
    let (memory, connector) = Memory::new("test");
    let mut accept = memory.share().unwrap();
    connector.fail_accept(ErrorKind::OutOfMemory.into());
    memory.suspend().unwrap();
    memory.resume().unwrap();
    assert_eq!(accept.try_accept().err().unwrap().kind(), ErrorKind::WouldBlock);
    connector.fail_accept(ErrorKind::OutOfMemory.into());
    assert_eq!(accept.try_accept().err().unwrap().kind(), ErrorKind::OutOfMemory);
}

#[actix::test]
async fn a_stepper_and_a_client_connect_at_the_same_time() {
    let harness = echo_harness().await;
    let (mut client, mut stepper) = tokio::join!(harness.connect(), harness.stepper());
    client.say("client\n").await;
    client.expect("client\n").await;
    assert_eq!(stepper.packet("stepped").await.sent, "stepped\n");
}

#[actix::test]
async fn a_stepper_takes_one_connection_of_its_address() {
    let harness = echo_harness().await;
    let mut stepper = harness.stepper_from("10.0.0.7:1").await;
    let mut client = harness.connect_from("10.0.0.7:1").await;
    client.say("client\n").await;
    client.expect("client\n").await;
    assert_eq!(stepper.packet("stepped").await.sent, "stepped\n");
}

#[actix::test]
async fn a_handed_packet_restarts_the_idle_timeout() {
    let (builder, _callbacks) = Probe::pool(|call, _| protocol_default(call));
    let harness = Harness::start(builder.idle_timeout(MINUTE)).await;
    let mut stepper = harness.stepper().await;
    stepper.run().await;
    for _ in 0..3 {
        assert!(stepper.advance(MINUTE * 3 / 4).await.calls.is_empty());
        stepper.packet("a").await;
    }
    let step = stepper.advance(MINUTE * 2).await;
    assert_eq!(step.calls[0].0, Callback::Timeout);
}

#[actix::test]
async fn a_partial_write_is_inspected_as_far_as_it_went() {
    let seen = Arc::<Mutex<Vec<(Direction, Vec<u8>)>>>::default();
    let inspect = Inspect::new({
        let seen = seen.clone();
        move |inspected| seen.lock().unwrap().push((inspected.direction, inspected.bytes.to_vec()))
    });
    let serve = |mut socket: Socket| async move {
        let bufs = [io::IoSlice::new(b"abc"), io::IoSlice::new(b"defg")];
        assert_eq!(socket.write_vectored(&bufs).await.unwrap(), 4);
        let mut both = [0; 4];
        socket.read_exact(&mut both).await.unwrap();
    };
    let harness = Harness::start_with(AcceptorPool::with_fn(serve), |listener| listener.handshake(inspect)).await;
    let mut peer = harness.connector().clone().buffer(4).connect().await.unwrap();
    harness.settle().await;
    for part in [b"12", b"34"] {
        peer.write_all(part).await.unwrap();
        harness.settle().await;
    }
    let seen = seen.lock().unwrap();
    let seen: Vec<_> = seen.iter().map(|(direction, bytes)| (*direction, &bytes[..])).collect();
    let expected: [(_, &[u8]); 4] =
        [(Direction::Write, b"abc"), (Direction::Write, b"d"), (Direction::Read, b"12"), (Direction::Read, b"34")];
    assert_eq!(seen, expected);
}

#[actix::test]
async fn a_handed_packet_ends_a_single_idle_timeout() {
    let (builder, _callbacks) = Probe::pool(|call, conn| {
        if matches!(call, Call::Ack) {
            conn.idle_timeout_once(MINUTE / 6);
        }
        protocol_default(call)
    });
    let harness = Harness::start(builder.idle_timeout(MINUTE)).await;
    let mut stepper = harness.stepper().await;
    stepper.run().await;
    stepper.packet("a").await;
    assert!(stepper.advance(MINUTE / 2).await.calls.is_empty());
    assert_eq!(stepper.advance(MINUTE).await.calls[0].0, Callback::Timeout);
}

#[actix::test]
async fn the_names_of_a_stepper_are_sorted() {
    let (builder, _callbacks) = Probe::pool(|call, conn| {
        if matches!(call, Call::Ack) {
            for name in ["bob", "carol", "ann"] {
                conn.register(name).unwrap();
            }
        }
        protocol_default(call)
    });
    let harness = Harness::start(builder).await;
    let mut stepper = harness.stepper().await;
    stepper.run().await;
    assert_eq!(stepper.names(), ["ann".into(), "bob".into(), "carol".into()]);
}
