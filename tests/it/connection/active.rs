//! How packets are taken from the socket: the modes of Erlang's `inet`.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use actix_acceptor::{
    messages::{Info, SetActive},
    telemetry::CloseReason,
    Active, Conn, Connection, Framing, Next, Pool, Timeout,
};
use support::*;

/// A pool of probes that begin in this mode, and one peer that has sent ten packets at once.
async fn begin(
    active: Active,
    act: impl Fn(&Call, &mut Conn<Probe>) -> Next<Probe> + Send + Sync + 'static,
) -> (Pool<Connection<Probe>>, Callbacks, Peer) {
    begin_with(active, act, None).await
}

async fn begin_with(
    active: Active,
    act: impl Fn(&Call, &mut Conn<Probe>) -> Next<Probe> + Send + Sync + 'static,
    idle: Option<Duration>,
) -> (Pool<Connection<Probe>>, Callbacks, Peer) {
    let (builder, mut callbacks) = Probe::pool(act);
    let builder = builder.framing(Framing::lines()).active(active).acceptors(1).idle_timeout(idle);
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    callbacks.until(&Call::Ack).await;
    peer.send("0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n").await;
    (pool, callbacks, peer)
}

const PACKETS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// So many packets come, then nothing that is not asked for.
async fn takes(pool: &Pool<Connection<Probe>>, callbacks: &mut Callbacks, packets: &[&'static str], told: bool) {
    for packet in packets {
        assert_eq!(callbacks.next().await, Call::packet(packet));
    }
    if told {
        assert_eq!(callbacks.next().await, Call::Passive);
    }
    // It has had its turns: it answers a question that came later.
    for _ in 0..3 {
        pool.addresses()[0].1.send(Info).await.unwrap();
    }
    assert_eq!(callbacks.so_far(), []);
}

async fn set(pool: &Pool<Connection<Probe>>, active: Active) {
    pool.addresses()[0].1.send(SetActive(active)).await.unwrap();
}

#[actix::test]
async fn always_delivers_every_packet() {
    let (pool, mut callbacks, _peer) = begin(Active::Always, |call, _| protocol_default(call)).await;
    takes(&pool, &mut callbacks, &PACKETS, false).await;
}

#[actix::test]
async fn once_delivers_one_packet_without_a_callback() {
    let (pool, mut callbacks, _peer) = begin(Active::Once, |call, _| protocol_default(call)).await;
    takes(&pool, &mut callbacks, &["0"], false).await;
    set(&pool, Active::Once).await;
    takes(&pool, &mut callbacks, &["1"], false).await;
    set(&pool, Active::Always).await;
    takes(&pool, &mut callbacks, &PACKETS[2..], false).await;
}

#[actix::test]
async fn passive_delivers_no_packet() {
    let (pool, mut callbacks, mut peer) = begin(Active::Passive, |call, _| protocol_default(call)).await;
    takes(&pool, &mut callbacks, &[], false).await;
    assert_eq!(pool.list()[0].bytes_in, 0, "not even read");
    set(&pool, Active::Always).await;
    takes(&pool, &mut callbacks, &PACKETS, false).await;
    set(&pool, Active::Passive).await;
    peer.send("more\n").await;
    takes(&pool, &mut callbacks, &[], false).await;
}

#[actix::test]
async fn a_count_delivers_that_many_and_then_calls_passive() {
    let (pool, mut callbacks, _peer) = begin(Active::Count(3), |call, _| protocol_default(call)).await;
    takes(&pool, &mut callbacks, &PACKETS[..3], true).await;
    set(&pool, Active::Count(2)).await;
    takes(&pool, &mut callbacks, &PACKETS[3..5], true).await;
    set(&pool, Active::Count(0)).await;
    takes(&pool, &mut callbacks, &[], true).await;
}

#[actix::test]
async fn counts_add_up() {
    let (pool, mut callbacks, mut peer) = begin(Active::Passive, |call, _| protocol_default(call)).await;
    set(&pool, Active::Count(6)).await;
    takes(&pool, &mut callbacks, &PACKETS[..6], true).await;
    set(&pool, Active::Count(7)).await;
    takes(&pool, &mut callbacks, &PACKETS[6..], false).await;
    // Three are left, and two more.
    set(&pool, Active::Count(2)).await;
    peer.send("0\n1\n2\n3\n4\n5\n").await;
    takes(&pool, &mut callbacks, &PACKETS[..5], true).await;
    // Another mode replaces what is left.
    set(&pool, Active::Count(3)).await;
    takes(&pool, &mut callbacks, &["5"], false).await;
    set(&pool, Active::Passive).await;
    peer.send("6\n").await;
    takes(&pool, &mut callbacks, &[], false).await;
}

/// By the callback of each packet: it never turns passive between.
#[actix::test]
async fn a_callback_may_ask_for_the_next_one() {
    for again in [Active::Once, Active::Count(1)] {
        let (pool, mut callbacks, _peer) = begin(again, move |call, conn| {
            if matches!(call, Call::Packet(packet) if packet != "6") {
                conn.set_active(again);
                assert_eq!(conn.active(), again);
            }
            protocol_default(call)
        })
        .await;
        takes(&pool, &mut callbacks, &PACKETS[..7], again == Active::Count(1)).await;
    }
}

#[actix::test]
async fn passive_may_ask_for_more_and_may_stop() {
    let batches = AtomicU32::new(0);
    let (_pool, mut callbacks, mut peer) = begin(Active::Count(4), move |call, conn| {
        match call {
            Call::Passive if batches.fetch_add(1, Relaxed) == 1 => return Next::Stop,
            Call::Passive => conn.set_active(Active::Count(4)),
            _ => {}
        }
        protocol_default(call)
    })
    .await;
    for packets in [&PACKETS[..4], &PACKETS[4..8]] {
        for packet in packets {
            assert_eq!(callbacks.next().await, Call::packet(packet));
        }
        assert_eq!(callbacks.next().await, Call::Passive);
    }
    assert!(matches!(callbacks.next().await, Call::Closed(CloseReason::Local, _)));
    assert_eq!(peer.read_to_end().await, b"");
}

#[actix::test]
async fn a_count_of_zero_in_passive_delivers_nothing() {
    let (pool, mut callbacks, _peer) = begin(Active::Count(1), |call, conn| {
        if let Call::Passive = call {
            conn.set_active(Active::Count(0));
        }
        protocol_default(call)
    })
    .await;
    takes(&pool, &mut callbacks, &PACKETS[..1], true).await;
    set(&pool, Active::Always).await;
    takes(&pool, &mut callbacks, &PACKETS[1..], false).await;
}

#[actix::test]
async fn a_passive_connection_does_not_outlive_its_peer() {
    let asked = AtomicU32::new(0);
    let (pool, mut callbacks, mut peer) = begin_with(
        Active::Passive,
        move |call, conn| match call {
            // Each time the whole idle timeout; then what the peer has sent before it left.
            Call::Timeout(_) if asked.fetch_add(1, Relaxed) == 0 => Next::Continue,
            Call::Timeout(_) => {
                conn.set_active(Active::Once);
                Next::Continue
            }
            Call::Packet(_) => Next::Stop,
            call => protocol_default(call),
        },
        Some(ms(300)),
    )
    .await;
    tokio::time::sleep(ms(700)).await;
    assert_eq!(callbacks.so_far(), []);
    let left = tokio::time::Instant::now();
    peer.finish().await;
    for rounds in [1, 2] {
        let (call, at) = callbacks.next_at().await;
        assert_eq!(call, Call::Timeout(Timeout::Idle));
        assert!(at - left >= rounds * ms(300), "{rounds}: {:?}", at - left);
    }
    assert_eq!(callbacks.next().await, Call::packet("0"));
    assert!(matches!(callbacks.next().await, Call::Closed(CloseReason::Local, _)));
    in_time(pool.stop(None)).await;
}
