//! Packets: each that a callback was called for, and nothing else.

use std::time::Duration;

use actix_acceptor::{handlers::ProtocolService, telemetry::CloseReason, Active, Builder, Conn, Framing, Next, User};
use bytes::Bytes;

use support::*;

async fn count(builder: Builder<ProtocolService<Probe>>, script: &[&str], finish: bool) -> Ending {
    let observer = EventRecorder::new();
    let builder = builder.framing(Framing::lines()).max_frame(64).acceptors(1).observer(observer.clone());
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    for part in script {
        peer.send(part).await;
    }
    if finish {
        peer.finish().await;
    }
    peer.until_gone().await;
    eventually(|| observer.ends().len() == 1).await;
    in_time(pool.stop(None)).await;
    observer.ends().remove(0).1
}

fn by_packet(call: &Call, conn: &mut Conn<Probe>) -> Next<Probe> {
    match call {
        Call::Packet(word) => match &**word {
            b"panic" => panic!("as asked"),
            b"stop" => Next::Stop,
            b"fail" => Next::fail("as asked"),
            b"wait" => conn.wait(async {}, |(), _, _| Next::Send(Bytes::from_static(b"waited"))),
            b"once" => {
                conn.set_active(Active::Once);
                Next::Continue
            }
            _ => Next::Send(word.clone()),
        },
        Call::Passive => {
            conn.set_active(Active::Always);
            Next::Continue
        }
        call => protocol_default(call),
    }
}

#[actix::test]
async fn a_packet_that_panics_is_the_last_one_counted() {
    let end = count(Probe::pool(by_packet).0, &["a\nb\npanic\nc\nd\n"], false).await;
    assert_eq!((end.packets, end.reason), (3, CloseReason::Panic));
}

#[actix::test]
async fn the_packet_that_ends_the_connection_is_counted_as_well() {
    let end = count(Probe::pool(by_packet).0, &["a\nstop\nb\n"], false).await;
    assert_eq!((end.packets, end.reason), (2, CloseReason::Local));
    let end = count(Probe::pool(by_packet).0, &["a\nb\nfail\nc\n"], false).await;
    assert_eq!((end.packets, end.reason), (3, CloseReason::Error));
}

#[actix::test]
async fn only_packets_are_counted_as_packets() {
    let end = count(Probe::pool(by_packet).0, &["a\nb\n", &"x".repeat(100)], false).await;
    assert_eq!((end.packets, end.reason), (2, CloseReason::TooLong));
    let end = count(Probe::pool(by_packet).0, &[], true).await;
    assert_eq!((end.packets, end.reason), (0, CloseReason::Peer));
    let end = count(Probe::pool(by_packet).0.packet_timeout(Duration::from_millis(50)), &["a\nhalf"], false).await;
    assert_eq!((end.packets, end.reason), (1, CloseReason::PacketTimeout));
}

#[actix::test]
async fn packets_behind_a_wait_are_counted_when_they_are_delivered() {
    let end = count(Probe::pool(by_packet).0.half_close(true), &["a\nwait\nb\nwait\nc\nstop\n"], false).await;
    assert_eq!((end.packets, end.reason), (6, CloseReason::Local));
}

#[actix::test]
async fn packets_beyond_one_turn_are_all_counted() {
    let mut lines = "a\n".repeat(5_000);
    lines.push_str("panic\nb\n");
    let quiet = |call: &Call, conn: &mut Conn<Probe>| match call {
        Call::Packet(word) if &**word == b"a" => Next::Continue,
        call => by_packet(call, conn),
    };
    let end = count(Probe::pool(quiet).0, &[&lines], false).await;
    assert_eq!((end.packets, end.reason), (5_001, CloseReason::Panic));
}

#[actix::test]
async fn only_packets_count_in_active_count_mode() {
    let builder = Probe::pool(by_packet).0.active(Active::Count(2));
    let end = count(builder, &["a\nb\nc\nd\nstop\n"], false).await;
    assert_eq!((end.packets, end.reason), (5, CloseReason::Local));
}

#[actix::test]
async fn messages_are_not_counted_as_packets() {
    let observer = EventRecorder::new();
    let (builder, mut callbacks) = Probe::pool(by_packet);
    let builder = builder.framing(Framing::lines()).acceptors(1).observer(observer.clone());
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    for sent in 1..=3 {
        peer.echo("a\n").await;
        eventually(|| pool.list()[0].packets == sent).await;
        in_time(pool.find(pool.list()[0].id).unwrap().send(User(Bytes::from_static(b"news")))).await.unwrap();
        callbacks.until(&Call::user("news")).await;
    }
    drop(peer);
    eventually(|| observer.ends().len() == 1).await;
    assert_eq!(observer.ends()[0].1.packets, 3);
    in_time(pool.stop(None)).await;
}
