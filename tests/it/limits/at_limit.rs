//! Ten are in, and the eleventh comes: what becomes of it is a choice.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use actix_acceptor::{limits::AtLimit, telemetry::RefusalReason, SuspendMode};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::counting::*;
use support::*;

const MAX: usize = 10;
const REFUSAL_MESSAGE: &str = "no room, come back later\r\n";
/// What happens "at once" has happened by then, even on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(1);

#[actix::test]
async fn at_the_limit_a_peer_waits_in_the_kernels_queue() {
    for acceptors in [1, 4] {
        let counter = ConnectionCounter::default();
        let pool = counter.pool().acceptors(acceptors).max_connections(MAX).bind("127.0.0.1:0").await.unwrap();
        let mut peers = fill(&pool, MAX).await;
        for round in 0..MAX {
            let mut eleventh = unserved_peer(&pool).await;
            eleventh.expect_waiting().await;
            assert_eq!(pool.info().accepted, (MAX + round) as u64, "it was accepted without a permit");
            assert_eq!((pool.connections(), pool.info().max_connections), (MAX, MAX));
            peers.remove(0).finish().await;
            let left = Instant::now();
            eleventh.expect_served().await;
            assert!(left.elapsed() < AT_ONCE, "{:?}", left.elapsed());
            peers.push(eleventh);
        }
        assert_eq!((counter.alive(), counter.most()), (MAX, MAX));
        assert_eq!(pool.info().refused.total(), 0);
        ends(&pool).await;
    }
}

#[actix::test]
async fn waiting_peers_are_served_in_order() {
    let counter = ConnectionCounter::default();
    let pool = counter.pool().max_connections(1).bind("127.0.0.1:0").await.unwrap();
    let mut inside = served(&pool).await;
    let mut queue = Vec::new();
    for _ in 0..5 {
        queue.push(unserved_peer(&pool).await);
    }
    for mut next in queue {
        inside.finish().await;
        next.expect_served().await;
        inside = next;
    }
    assert_eq!(counter.most(), 1);
    ends(&pool).await;
}

#[actix::test]
async fn each_of_100_refused_peers_gets_the_message() {
    let counter = ConnectionCounter::default();
    let pool = counter.pool().max_connections(1).at_limit(AtLimit::Close).refusal_message(REFUSAL_MESSAGE);
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    let _inside = served(&pool).await;
    for _ in 0..100 {
        connect(&pool).await.expect_closed_after(REFUSAL_MESSAGE).await;
    }
    eventually(|| refused(&pool, RefusalReason::Limit) == 100).await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn at_the_limit_a_peer_is_closed_and_counted() {
    for (acceptors, refusal_message) in [(1, ""), (4, ""), (1, REFUSAL_MESSAGE), (4, REFUSAL_MESSAGE)] {
        let counter = ConnectionCounter::default();
        let pool = counter
            .pool()
            .acceptors(acceptors)
            .max_connections(MAX)
            .at_limit(AtLimit::Close)
            .refusal_message(refusal_message);
        let pool = pool.bind("127.0.0.1:0").await.unwrap();
        let mut peers = fill(&pool, MAX).await;
        for round in 1..=5 {
            let came = Instant::now();
            let mut eleventh = connect(&pool).await;
            eleventh.expect_closed_after(refusal_message).await;
            assert!(came.elapsed() < AT_ONCE, "{:?}", came.elapsed());
            eventually(|| refused(&pool, RefusalReason::Limit) == round).await;
            assert_adds_up(&pool);
        }
        for peer in &mut peers {
            peer.echo("nobody was disturbed").await;
        }
        peers.pop();
        counting(&pool, MAX - 1).await;
        peers.push(served(&pool).await);
        assert_eq!((counter.alive(), counter.most()), (MAX, MAX));
        assert_eq!((refused(&pool, RefusalReason::Limit), pool.info().refused.total()), (5, 5));
        ends(&pool).await;
    }
}

#[actix::test]
async fn the_refusal_message_arrives_after_unread_input() {
    let counter = ConnectionCounter::default();
    let pool = counter.pool().max_connections(1).at_limit(AtLimit::Close).refusal_message(REFUSAL_MESSAGE);
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    let _inside = served(&pool).await;
    // Held in the kernel's queue, their bytes are there before anybody accepts them.
    in_time(pool.suspend(SuspendMode::Hold)).await.unwrap();
    let mut peers = Vec::new();
    for length in [1, 1_000, 100_000] {
        let mut peer = connect(&pool).await;
        peer.send(vec![7; length]).await;
        peers.push(peer);
    }
    in_time(pool.resume()).await.unwrap();
    for mut peer in peers {
        peer.expect_closed_after(REFUSAL_MESSAGE).await;
    }
    assert_eq!(refused(&pool, RefusalReason::Limit), 3);
    ends(&pool).await;
}

#[actix::test]
async fn a_peer_ignoring_its_refusal_delays_no_other() {
    let counter = ConnectionCounter::default();
    let pool = counter.pool().max_connections(1).at_limit(AtLimit::Close).refusal_message(REFUSAL_MESSAGE);
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    let mut inside = served(&pool).await;
    // They stay and send nothing: past a limit the others get no refusal message, but they are closed.
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(connect(&pool).await);
    }
    eventually(|| refused(&pool, RefusalReason::Limit) == 200).await;
    inside.echo("not disturbed").await;
    for mut peer in idle {
        let heard = peer.until_gone().await;
        assert!(heard.is_empty() || heard == REFUSAL_MESSAGE.as_bytes(), "{}", heard.escape_ascii());
    }
    ends(&pool).await;
}

#[actix::test]
async fn at_the_limit_a_peer_is_reset() {
    for acceptors in [1, 4] {
        let counter = ConnectionCounter::default();
        let pool = counter
            .pool()
            .acceptors(acceptors)
            .max_connections(MAX)
            .at_limit(AtLimit::Reset)
            .refusal_message(REFUSAL_MESSAGE);
        let pool = pool.bind("127.0.0.1:0").await.unwrap();
        let mut peers = fill(&pool, MAX).await;
        for round in 1..=5 {
            // The reset may come before we have looked at the connection.
            let error = match in_time(TcpStream::connect(pool.local_addr().unwrap())).await {
                Ok(mut stream) => in_time(stream.read(&mut [0])).await.unwrap_err(),
                Err(error) => error,
            };
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            eventually(|| refused(&pool, RefusalReason::Limit) == round).await;
        }
        peers[0].echo("not disturbed").await;
        assert_eq!(counter.most(), MAX);
        ends(&pool).await;
    }
}
