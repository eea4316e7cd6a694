//! Settings that take effect at once.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use actix_acceptor::{
    limits::{AtLimit, BacklogPolicy, Rate, Rule},
    telemetry::{CloseReason, RefusalReason},
    AcceptorPool, Connection, Drain, Pool, PoolError, Settings, SuspendMode,
};
use futures::future::join_all;
use tokio::net::TcpStream;

use support::acceptors::*;
use support::*;

async fn pool() -> Pool<Connection<Echo>> {
    AcceptorPool::with_protocol(|_| Echo).acceptors(2).idle_timeout(None).bind("127.0.0.1:0").await.unwrap()
}

async fn served<A>(pool: &Pool<A>) -> Peer {
    let mut peer = connect(pool).await;
    peer.echo("hello").await;
    peer
}

async fn refused<A>(pool: &Pool<A>) -> Vec<u8> {
    match in_time(TcpStream::connect(pool.local_addr().unwrap())).await {
        Ok(stream) => Peer(stream).until_gone().await,
        // Connected, and reset before this thread looked.
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            Vec::new()
        }
    }
}

async fn set<A>(pool: &Pool<A>, change: impl FnOnce(&mut Settings) + Send + 'static) {
    pool.change(change).await.unwrap();
}

#[actix::test]
async fn max_connections_changes_apply_at_once() {
    let pool = pool().await;
    set(&pool, |settings| settings.max_connections = 2).await;
    assert_eq!((pool.info().max_connections, pool.settings().max_connections), (2, 2));
    let mut inside = vec![served(&pool).await, served(&pool).await];
    let mut waiting = join_all((0..3).map(|_| connect(&pool))).await;
    join_all(waiting.iter_mut().map(|peer| peer.send("hello"))).await;
    assert_eq!(pool.info().accepted, 2);
    set(&pool, |settings| settings.max_connections = 5).await;
    join_all(waiting.iter_mut().map(|peer| peer.expect(b"hello"))).await;
    set(&pool, |settings| settings.max_connections = 1).await;
    for peer in inside.iter_mut().chain(&mut waiting) {
        peer.echo("still here").await;
    }
    let mut late = connect(&pool).await;
    late.send("hello").await;
    // All five have to go before there is room.
    inside.append(&mut waiting);
    while let Some(peer) = inside.pop() {
        assert_eq!(pool.info().accepted, 5);
        let left = inside.len();
        drop(peer);
        pool.wait_for(|connections| connections <= left.max(1), TIME_LIMIT).await.unwrap();
    }
    late.expect(b"hello").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn at_limit_changes_reach_waiting_peers() {
    let pool = pool().await;
    set(&pool, |settings| settings.max_connections = 1).await;
    let mut inside = served(&pool).await;
    let mut waiting = join_all((0..3).map(|_| connect(&pool))).await;
    set(&pool, |settings| (settings.at_limit, settings.refusal_message) = (AtLimit::Close, "full\n".into())).await;
    for peer in &mut waiting {
        assert_eq!(peer.read_to_end().await, b"full\n");
    }
    set(&pool, |settings| settings.refusal_message = "come back later\n".into()).await;
    assert_eq!(refused(&pool).await, b"come back later\n");
    set(&pool, |settings| settings.at_limit = AtLimit::Reset).await;
    assert_eq!(refused(&pool).await, b"");
    assert_eq!(pool.info().refused.get(RefusalReason::Limit), 5);
    inside.echo("still here").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn max_per_peer_counts_existing_connections() {
    let pool = pool().await;
    let mut old = [served(&pool).await, served(&pool).await];
    set(&pool, |settings| settings.max_per_peer = Some(2)).await;
    assert_eq!(refused(&pool).await, b"");
    set(&pool, |settings| settings.max_per_peer = Some(3)).await;
    let _third = served(&pool).await;
    assert_eq!(refused(&pool).await, b"");
    set(&pool, |settings| settings.max_per_peer = None).await;
    let _fourth = served(&pool).await;
    for peer in &mut old {
        peer.echo("still here").await;
    }
    assert_eq!(pool.info().refused.get(RefusalReason::PerPeer), 2);
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_changed_rate_admits_exactly_its_burst() {
    for per_peer in [false, true] {
        let pool = pool().await;
        let rate = move |settings: &mut Settings, rate| {
            *(if per_peer { &mut settings.peer_rate } else { &mut settings.accept_rate }) = rate;
        };
        let _old = served(&pool).await;
        set(&pool, move |settings| rate(settings, Some(Rate::new(3, Duration::from_secs(36_000))))).await;
        // Per peer the old one has been counted, or not: a rate has no memory of a time without one.
        let mut inside = Vec::new();
        for _ in 0..3 {
            inside.push(served(&pool).await);
        }
        for _ in 0..2 {
            assert_eq!(refused(&pool).await, b"");
        }
        assert_eq!(pool.info().refused.get(RefusalReason::Rate), 2, "per peer: {per_peer}");
        set(&pool, move |settings| rate(settings, None)).await;
        inside.push(served(&pool).await);
        for peer in &mut inside {
            peer.echo("still here").await;
        }
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

#[actix::test]
async fn a_changed_rate_starts_with_a_full_bucket() {
    for per_peer in [false, true] {
        let pool = pool().await;
        for (count, within) in [(1, 36_000), (2, 36_000), (1, 7200)] {
            let rate = Some(Rate::new(count, Duration::from_secs(within)));
            let change = move |settings: &mut Settings| {
                *(if per_peer { &mut settings.peer_rate } else { &mut settings.accept_rate }) = rate;
            };
            set(&pool, change).await;
            for _ in 0..count {
                served(&pool).await;
            }
            assert_eq!(refused(&pool).await, b"");
        }
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

#[actix::test]
async fn changed_rules_apply_to_new_connections_only() {
    let pool = pool().await;
    let mut old = served(&pool).await;
    set(&pool, |settings| settings.rules = vec![Rule::deny("127.0.0.0/8").unwrap()]).await;
    assert_eq!(refused(&pool).await, b"");
    old.echo("still here").await;
    set(&pool, |settings| settings.rules.insert(0, Rule::allow("127.0.0.1").unwrap())).await;
    let _new = served(&pool).await;
    assert_eq!(pool.info().refused.get(RefusalReason::Denied), 1);
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_changed_backlog_policy_applies_to_the_next_drain() {
    let pool = pool().await;
    set(&pool, |settings| settings.backlog_on_close = BacklogPolicy::Refuse).await;
    pool.suspend(SuspendMode::Hold).await.unwrap();
    let mut peers = join_all((0..5).map(|_| connect(&pool))).await;
    assert_eq!(in_time(pool.drain(Drain::grace(None))).await.unserved, 5);
    for peer in &mut peers {
        assert_eq!(peer.read_to_end().await, b"");
    }
}

#[actix::test]
async fn the_restart_budget_can_grow_and_shrink() {
    let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(2).max_restarts(1, Duration::from_secs(600));
    let pool = pool.grace(Duration::ZERO).bind("127.0.0.1:0").await.unwrap();
    kill(&pool.untyped(), AcceptorFailure::Panic).await;
    set(&pool, |settings| settings.max_restarts = 3).await;
    kill(&pool.untyped(), AcceptorFailure::Panic).await;
    kill(&pool.untyped(), AcceptorFailure::Stop).await;
    // Those that are longer ago than the time do not count.
    let within = Duration::from_millis(1);
    set(&pool, move |settings| (settings.max_restarts, settings.restart_window) = (1, within)).await;
    for _ in 0..3 {
        pass(within).await;
        kill(&pool.untyped(), AcceptorFailure::Panic).await;
    }
    set(&pool, |settings| settings.max_restarts = 0).await;
    pool.acceptors()[0].do_send(AcceptorFailure::Panic);
    match in_time(pool.stopped()).await {
        Err(PoolError::TooManyRestarts { limit, within: time, .. }) => assert_eq!((limit, time), (0, within)),
        other => panic!("{other:?}"),
    }
}

#[actix::test]
async fn the_grace_applies_when_the_pool_gives_up() {
    let pool = AcceptorPool::with_fn(move |mut socket: actix_acceptor::Socket| {
        async move {
            // Draining or not, it stays until it is ended.
            let _ = tokio::io::AsyncReadExt::read(&mut socket, &mut [0]).await;
        }
    });
    let pool = pool.acceptors(1).max_restarts(0, Duration::from_secs(1)).grace(None).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    pool.wait_for(|connections| connections == 1, TIME_LIMIT).await.unwrap();
    let grace = Duration::from_millis(300);
    set(&pool, move |settings| settings.grace = Some(grace)).await;
    let began = Instant::now();
    pool.acceptors()[0].do_send(AcceptorFailure::Panic);
    peer.until_gone().await;
    assert!(began.elapsed() >= grace);
    assert!(matches!(in_time(pool.stopped()).await, Err(PoolError::TooManyRestarts { limit: 0, .. })));
    assert_eq!(pool.info().closed.get(CloseReason::Killed), 1);
}
