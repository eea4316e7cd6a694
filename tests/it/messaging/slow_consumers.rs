//! Peers that do not read what others send to them.

use actix_acceptor::{limits::SlowConsumer, telemetry::CloseReason, OutboxError};
use support::*;

use super::*;

const LINE: usize = 1_000;

/// Publishes until a reply does not fit; how many fitted.
fn fill(pool: &Members) -> usize {
    let lobby = pool.topic("lobby");
    (0..1_000_000).take_while(|n| lobby.publish(format!("{n:0width$}", width = LINE - 1)).dropped == 0).count()
}

#[actix::test]
async fn a_slow_member_is_closed_and_others_are_served() {
    let pool = start_with(|builder| builder.outbox(100_000, SlowConsumer::Close)).await;
    let slow = member(&pool).await;
    let mut quick = connect(&pool).await;
    let fitted = fill(&pool);
    assert!(fitted >= 100, "{fitted}");
    eventually(|| pool.info().closed.get(CloseReason::SlowConsumer) == 1).await;
    assert_eq!(ask(&mut quick, "publish lobby x").await, "0 0");
    drop(slow);
}

#[actix::test]
async fn the_newest_replies_are_left_out_and_counted() {
    let pool = start_with(|builder| builder.outbox(100_000, SlowConsumer::DropNewest)).await;
    let mut slow = member(&pool).await;
    let id = pool.topic("lobby").members()[0];
    let connection = pool.connection(id).unwrap();
    let (mut fitted, mut dropped) = (fill(&pool), 1);
    // Until the kernel takes nothing more.
    let mut in_a_row = 0;
    while in_a_row < 100 {
        match connection.send("y".repeat(LINE - 1)) {
            Ok(()) => (fitted, in_a_row) = (fitted + 1, 0),
            Err(OutboxError::Full(_)) => (dropped, in_a_row) = (dropped + 1, in_a_row + 1),
            Err(error) => panic!("{error}"),
        }
        assert!(connection.outbox().pending() <= 100_000);
        tokio::task::yield_now().await;
    }
    assert_eq!(connection.info().dropped, dropped);
    assert_eq!(pool.info().dropped, dropped);
    // What was accepted arrives, whole.
    let received = slow.read_exact(fitted * LINE).await;
    assert!(received.chunks(LINE).all(|line| line[LINE - 1] == b'\n'));
    eventually(|| connection.outbox().pending() == 0).await;
    assert_eq!(connection.info().unsent, 0);
    connection.send("again").unwrap();
    assert_eq!(line(&mut slow).await, "again");
}

#[actix::test]
async fn a_reply_larger_than_the_outbox_ends_no_member() {
    let pool = start_with(|builder| builder.outbox(1_000, SlowConsumer::Close)).await;
    let mut peer = member(&pool).await;
    let published = pool.topic("lobby").publish("x".repeat(1_000));
    assert_eq!((published.members, published.dropped), (0, 1));
    assert_eq!(pool.topic("lobby").publish("x".repeat(999)).members, 1);
    peer.read_exact(1_000).await;
    assert_eq!(ask(&mut peer, "next").await, "next");
}
