//! Settings that take effect with new connections: old ones keep what they began with.

use std::time::{Duration, Instant};

use actix_acceptor::{telemetry::CloseReason, Active, Connection, Framing, Next, Pool, Settings};
use bytes::Bytes;

use support::*;

const LIMIT: Duration = Duration::from_millis(200);

/// An echo of lines; `fill` is answered with as much as no kernel takes.
async fn pool(set: impl FnOnce(&mut Settings)) -> (Pool<Connection<Probe>>, Callbacks) {
    let mut settings = Settings::default();
    (settings.acceptors, settings.idle_timeout) = (Some(1), None);
    set(&mut settings);
    let (pool, callbacks) = Probe::pool(|call, _| match call {
        Call::Packet(packet) if packet == "fill" => Next::Send(Bytes::from(vec![b'x'; FILL])),
        Call::Packet(packet) => Next::Send(packet.clone()),
        call => protocol_default(call),
    });
    (pool.framing(Framing::lines()).settings(settings).bind("127.0.0.1:0").await.unwrap(), callbacks)
}

const FILL: usize = 1536 * 1024;

async fn served(pool: &Pool<Connection<Probe>>) -> Peer {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let mut peer = Peer(in_time(socket.connect(pool.local_addr().unwrap())).await.unwrap());
    peer.echo("hello\n").await;
    peer
}

/// Before and after a change, each with a peer.
async fn old_and_new(
    pool: &Pool<Connection<Probe>>,
    change: impl FnOnce(&mut Settings) + Send + 'static,
) -> (Peer, Peer) {
    let old = served(pool).await;
    pool.change(change).await.unwrap();
    (old, served(pool).await)
}

#[actix::test]
async fn a_changed_idle_timeout_applies_to_new_connections() {
    let (pool, _diary) = pool(|_| {}).await;
    let began = Instant::now();
    let (mut old, mut new) = old_and_new(&pool, |settings| settings.idle_timeout = Some(LIMIT)).await;
    assert_eq!(new.read_to_end().await, b"");
    assert!(began.elapsed() >= LIMIT);
    old.echo("still here\n").await;
    let closed = pool.info().closed;
    assert_eq!((closed.get(CloseReason::Idle), closed.total()), (1, 1));
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_changed_packet_timeout_applies_to_new_connections() {
    let (pool, _diary) = pool(|settings| settings.packet_timeout = None).await;
    let (mut old, mut new) = old_and_new(&pool, |settings| settings.packet_timeout = Some(LIMIT)).await;
    let began = Instant::now();
    old.send("hel").await;
    new.send("hel").await;
    assert_eq!(new.read_to_end().await, b"");
    assert!(began.elapsed() >= LIMIT);
    old.send("lo\n").await;
    old.expect(b"hello\n").await;
    assert_eq!(pool.info().closed.get(CloseReason::PacketTimeout), 1);
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_changed_send_timeout_applies_to_new_connections() {
    let (pool, _diary) = pool(|settings| settings.send_timeout = None).await;
    let (mut old, mut new) = old_and_new(&pool, |settings| settings.send_timeout = Some(LIMIT)).await;
    let began = Instant::now();
    old.send("fill\n").await;
    new.send("fill\n").await;
    pool.wait_for(|connections| connections == 1, TIME_LIMIT).await.unwrap();
    assert!(began.elapsed() >= LIMIT);
    assert_eq!(pool.info().closed.get(CloseReason::SendTimeout), 1);
    assert_eq!(old.read_exact(FILL).await.len(), FILL);
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_changed_max_age_applies_to_new_connections() {
    let (pool, _diary) = pool(|_| {}).await;
    let mut old = served(&pool).await;
    pool.change(|settings| settings.max_age = Some(LIMIT)).await.unwrap();
    let began = Instant::now();
    assert_eq!(served(&pool).await.read_to_end().await, b"");
    assert!(began.elapsed() >= LIMIT);
    pool.change(|settings| (settings.max_age, settings.max_age_jitter) = (Some(2 * LIMIT), 2 * LIMIT)).await.unwrap();
    let ages = futures::future::join_all((0..60).map(|_| async {
        let mut peer = connect(&pool).await;
        let began = Instant::now();
        peer.until_gone().await;
        began.elapsed()
    }));
    let ages = ages.await;
    // Without jitter none would be; with it a good third is.
    assert!(ages.iter().any(|age| *age < 2 * LIMIT), "{ages:?}");
    old.echo("still here\n").await;
    let closed = pool.info().closed;
    assert_eq!((closed.get(CloseReason::MaxAge), closed.total()), (61, 61));
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_changed_high_mark_applies_to_new_connections() {
    let (pool, mut callbacks) = pool(|_| {}).await;
    let (mut old, mut new) = old_and_new(&pool, |settings| settings.high_watermark = 4 * FILL).await;
    old.send("fill\nold\n").await;
    new.send("fill\nnew\n").await;
    // The new one takes a packet in although far more than the old mark is unsent.
    callbacks.until(&Call::packet("new")).await;
    assert_eq!(new.read_exact(FILL).await.len(), FILL);
    assert!(!callbacks.so_far().contains(&Call::packet("old")));
    assert_eq!(old.read_exact(FILL).await.len(), FILL);
    callbacks.until(&Call::packet("old")).await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_changed_low_mark_applies_to_new_connections() {
    let high = FILL * 2 / 3;
    let marks =
        move |low| move |settings: &mut Settings| (settings.high_watermark, settings.low_watermark) = (high, low);
    let (pool, mut callbacks) = pool(marks(0)).await;
    let (mut old, mut new) = old_and_new(&pool, marks(high)).await;
    old.send("fill\nold\n").await;
    new.send("fill\nnew\n").await;
    // Half of it: well above the old mark still, well below the new one.
    old.read_exact(FILL / 2).await;
    new.read_exact(FILL / 2).await;
    callbacks.until(&Call::packet("new")).await;
    new.read_exact(FILL - FILL / 2).await;
    assert!(!callbacks.so_far().contains(&Call::packet("old")));
    old.read_exact(FILL - FILL / 2).await;
    callbacks.until(&Call::packet("old")).await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_changed_half_close_applies_to_new_connections() {
    let (pool, mut callbacks) = pool(|_| {}).await;
    let (mut old, mut new) = old_and_new(&pool, |settings| settings.half_close = true).await;
    old.finish().await;
    assert_eq!(old.read_to_end().await, b"");
    new.finish().await;
    callbacks.until_half_closed().await;
    pool.wait_for(|connections| connections == 1, TIME_LIMIT).await.unwrap();
    let id = pool.list()[0].id;
    pool.find(id).unwrap().do_send(actix_acceptor::Reply(Bytes::from("still served")));
    new.expect(b"still served\n").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_changed_active_mode_applies_to_new_connections() {
    let (pool, mut callbacks) = pool(|_| {}).await;
    let mut old = served(&pool).await;
    pool.change(|settings| settings.active = Active::Count(2)).await.unwrap();
    let mut new = connect(&pool).await;
    new.send("one\ntwo\nthree\n").await;
    new.expect(b"one\ntwo\n").await;
    callbacks.until(&Call::Passive).await;
    old.echo("1\n2\n3\n4\n").await;
    assert!(!callbacks.so_far().contains(&Call::packet("three")));
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_changed_mailbox_applies_to_new_connections() {
    /// How many messages a connection's mailbox takes while its arbiter is busy.
    async fn room(pool: &Pool<Connection<Probe>>) -> usize {
        let peer = served(pool).await;
        let address = pool.find(pool.list().last().unwrap().id).unwrap();
        let _blocked = support::acceptors::block(pool, 1).await;
        let room = (0..1000).take_while(|_| address.try_send(actix_acceptor::User(Bytes::new())).is_ok()).count();
        drop(peer);
        room
    }
    let (small, _diary) = pool(|settings| settings.mailbox_capacity = 3).await;
    let (large, _diary) = pool(|settings| settings.mailbox_capacity = 40).await;
    let expected = room(&large).await;
    let before = room(&small).await;
    assert_eq!(expected, before + 37);
    let old = served(&small).await;
    let old_address = small.find(small.list().last().unwrap().id).unwrap();
    small.change(|settings| settings.mailbox_capacity = 40).await.unwrap();
    assert_eq!(room(&small).await, expected);
    let _blocked = support::acceptors::block(&small, 1).await;
    let old_room = (0..1000).take_while(|_| old_address.try_send(actix_acceptor::User(Bytes::new())).is_ok()).count();
    assert_eq!(old_room, before);
    drop((_blocked, old));
    for pool in [small, large] {
        in_time(pool.stop(Duration::ZERO)).await;
    }
}
