//! Several listeners: each may have a limit of its own, beside the pool's.

use std::net::SocketAddr;

use actix_acceptor::error::InvalidSetting;
use actix_acceptor::{limits::AtLimit, telemetry::RefusalReason, Listener, Pool, PoolHandle, StartError};
use tokio::net::TcpStream;

use super::counting::*;
use support::*;

/// Two listeners: the first with a limit of its own.
async fn pool(counter: &ConnectionCounter, acceptors: usize, max: usize, first: usize, policy: AtLimit) -> PoolHandle {
    let pool = counter.pool().acceptors(acceptors).max_connections(max).at_limit(policy);
    let pool = pool.listener(Listener::tcp("127.0.0.1:0").name("small").max_connections(first));
    pool.listener(Listener::tcp("127.0.0.1:0").name("large")).start().await.unwrap().untyped()
}

async fn newcomer_at(address: SocketAddr) -> Peer {
    let mut peer = Peer(in_time(TcpStream::connect(address)).await.unwrap());
    peer.send("hello").await;
    peer
}

fn addresses<A>(pool: &Pool<A>) -> (SocketAddr, SocketAddr) {
    let addresses: Vec<_> = pool.local_addrs().iter().map(|address| address.socket().unwrap()).collect();
    (addresses[0], addresses[1])
}

fn counts<A>(pool: &Pool<A>) -> Vec<(String, usize, Option<usize>)> {
    let listeners = pool.listeners();
    let info = |listener: &actix_acceptor::info::ListenerInfo| {
        (listener.name.to_string(), listener.connections, listener.max_connections)
    };
    listeners.iter().map(info).collect()
}

#[actix::test]
async fn a_full_listener_does_not_block_another() {
    for acceptors in [1, 3] {
        let counter = ConnectionCounter::default();
        let pool = pool(&counter, acceptors, 5, 2, AtLimit::Wait).await;
        let (small, large) = addresses(&pool);
        let (mut here, mut there) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            here.push(newcomer_at(small).await);
            here.last_mut().unwrap().expect_served().await;
        }
        let mut third = newcomer_at(small).await;
        third.expect_waiting().await;
        for _ in 0..3 {
            there.push(newcomer_at(large).await);
            there.last_mut().unwrap().expect_served().await;
        }
        assert_eq!(counts(&pool), [("small".into(), 2, Some(2)), ("large".into(), 3, None)]);
        // Now the pool itself is full.
        let mut fourth = newcomer_at(large).await;
        fourth.expect_waiting().await;
        // Room in the pool is none at the listener that is full by itself.
        there.pop();
        fourth.expect_served().await;
        third.expect_waiting().await;
        // Room at the listener is room in the pool.
        here.pop();
        third.expect_served().await;
        assert_eq!((pool.connections(), counter.most()), (5, 5));
        let names: Vec<_> = pool.list().iter().map(|connection| connection.listener.to_string()).collect();
        assert_eq!(names, ["small", "large", "large", "large", "small"]);
        ends(&pool).await;
    }
}

#[actix::test]
async fn a_free_permit_goes_to_exactly_one_listener() {
    let counter = ConnectionCounter::default();
    let pool = pool(&counter, 3, 3, 3, AtLimit::Wait).await;
    let (small, large) = addresses(&pool);
    let mut inside = Vec::new();
    for address in [small, large, small] {
        inside.push(newcomer_at(address).await);
        inside.last_mut().unwrap().expect_served().await;
    }
    let mut waiting = Vec::new();
    for number in 0..20 {
        waiting.push(newcomer_at(if number % 2 == 0 { small } else { large }).await);
    }
    for round in 1..=10 {
        // One leaves, one comes: those who came in stay.
        let leaves = pool.list()[0].id;
        assert!(pool.kill(leaves));
        eventually(|| counter.served() == 3 + round).await;
    }
    assert_eq!((counter.alive(), counter.most(), pool.connections()), (3, 3, 3));
    drop((inside, waiting));
    eventually(|| pool.connections() == 0).await;
    counting(&pool, 0).await;
    ends(&pool).await;
}

#[actix::test]
async fn a_listeners_limit_acts_as_the_pools() {
    let counter = ConnectionCounter::default();
    let pool = pool(&counter, 2, 5, 1, AtLimit::Close).await;
    let (small, large) = addresses(&pool);
    let mut inside = newcomer_at(small).await;
    inside.expect_served().await;
    for round in 1..=3 {
        newcomer_at(small).await.until_gone().await;
        eventually(|| refused(&pool, RefusalReason::Limit) == round).await;
        newcomer_at(large).await.expect_served().await;
    }
    drop(inside);
    eventually(|| pool.listeners()[0].connections == 0).await;
    newcomer_at(small).await.expect_served().await;
    assert_eq!(refused(&pool, RefusalReason::Limit), 3);
    ends(&pool).await;
}

#[actix::test]
async fn a_peer_held_at_one_listener_does_not_block_another() {
    let counter = ConnectionCounter::default();
    let pool = pool(&counter, 1, 3, 1, AtLimit::Hold(TIME_LIMIT)).await;
    let (small, large) = addresses(&pool);
    let mut inside = newcomer_at(small).await;
    inside.expect_served().await;
    let mut held = newcomer_at(small).await;
    held.expect_waiting().await;
    let mut others = [newcomer_at(large).await, newcomer_at(large).await];
    for other in &mut others {
        other.expect_served().await;
    }
    drop(inside);
    held.expect_served().await;
    assert_eq!(counter.most(), 3);
    ends(&pool).await;
}

#[actix::test]
async fn a_listener_limit_of_zero_is_refused() {
    let counter = ConnectionCounter::default();
    let listener = Listener::tcp("127.0.0.1:0").max_connections(0);
    let refused = counter.pool().listener(listener).start().await;
    assert!(
        matches!(refused, Err(StartError::InvalidSetting(InvalidSetting { setting: "max_connections", .. }))),
        "{refused:?}"
    );
}
