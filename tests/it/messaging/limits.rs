//! The limit of an outbox: one for all senders, exact, and changed at once.

use actix_acceptor::info::ConnectionPhase;
use actix_acceptor::{limits::SlowConsumer, telemetry::CloseReason, ConnectionRef, Outbox, OutboxError};
use support::*;

use super::*;

/// A connection that never becomes ready, so that its outbox is not emptied, on this thread.
async fn never_ready(
    outbox: usize,
    slow_consumer: SlowConsumer,
) -> (Pool<Connection<Probe>>, ConnectionRef<Probe>, Peer<TcpStream>) {
    let (builder, _callbacks) = Probe::pool(|call, conn| match call {
        Call::Init => conn.wait(std::future::pending::<()>(), |(), _, _| Next::Stop),
        call => protocol_default(call),
    });
    let builder = builder.framing(Framing::lines()).handshake_timeout(None).outbox(outbox, slow_consumer);
    let pool = builder.on_current_arbiter().bind("127.0.0.1:0").await.unwrap();
    let peer = connect(&pool).await;
    eventually(|| !pool.addresses().is_empty()).await;
    let connection = pool.connection(pool.list()[0].id).unwrap();
    (pool, connection, peer)
}

#[actix::test]
async fn all_senders_share_one_limit() {
    let (pool, connection, _peer) = never_ready(1_000, SlowConsumer::DropNewest).await;
    // 10 bytes each on the wire.
    let send_until_full = |outbox: Outbox<Probe>| (0..1_000).take_while(|_| outbox.send("123456789").is_ok()).count();
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let outbox = connection.outbox();
            std::thread::spawn(move || send_until_full(outbox))
        })
        .collect();
    let accepted: usize = senders.into_iter().map(|sender| sender.join().unwrap()).sum();
    assert_eq!((accepted, connection.outbox().pending()), (100, 1_000));
    assert_eq!((connection.info().unsent, connection.info().dropped), (1_000, 4));
    assert_eq!(pool.info().dropped, 4);
}

#[actix::test]
async fn a_reply_larger_than_the_outbox_is_an_error() {
    let (pool, connection, _peer) = never_ready(1_000, SlowConsumer::Close).await;
    let error = connection.send("x".repeat(1_000)).unwrap_err();
    assert!(matches!(&error, OutboxError::TooLarge { size: 1_001, .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "a reply of 1001 bytes is larger than the outbox: raise `outbox`, or send it in parts"
    );
    assert_eq!(error.into_reply().unwrap().len(), 1_000);
    connection.send("x".repeat(999)).unwrap();
    assert_eq!(pool.info().dropped, 1);
}

#[actix::test]
async fn a_full_outbox_ends_the_connection_at_once() {
    let (pool, connection, _peer) = never_ready(1_000, SlowConsumer::Close).await;
    connection.send("x".repeat(999)).unwrap();
    let error = connection.send("y").unwrap_err();
    assert!(matches!(&error, OutboxError::Full(reply) if reply == "y"));
    assert_eq!(error.to_string(), "the outbox is full: the peer reads too slowly");
    // Before it has run.
    assert!(connection.outbox().is_closed() && matches!(connection.send("z"), Err(OutboxError::Closed(_))));
    eventually(|| pool.info().closed.get(CloseReason::SlowConsumer) == 1).await;
    assert_eq!(pool.info().dropped, 0);
}

#[actix::test]
async fn the_limit_changes_at_once() {
    let (pool, connection, _peer) = never_ready(1_000, SlowConsumer::Close).await;
    connection.send("x".repeat(499)).unwrap();
    let change = |outbox, slow_consumer| {
        pool.change(move |settings| (settings.outbox, settings.slow_consumer) = (outbox, slow_consumer))
    };
    in_time(change(600, SlowConsumer::DropNewest)).await.unwrap();
    assert!(matches!(connection.send("x".repeat(100)), Err(OutboxError::Full(_))));
    connection.send("x".repeat(99)).unwrap();
    in_time(change(2_000, SlowConsumer::Close)).await.unwrap();
    connection.send("x".repeat(1_399)).unwrap();
    assert!(connection.send("").is_err());
    eventually(|| pool.info().closed.get(CloseReason::SlowConsumer) == 1).await;
}

#[actix::test]
async fn members_with_a_full_mailbox_are_named() {
    let pool = start_with(|builder| builder.mailbox_capacity(2)).await;
    let (mut waiting, mut free) = (member(&pool).await, member(&pool).await);
    let id = pool.topic("lobby").members()[0];
    waiting.send("wait\n").await;
    eventually(|| pool.connection(id).unwrap().info().state == ConnectionPhase::Waiting).await;
    for delivered in [2, 2, 1, 1] {
        let report = pool.topic("lobby").notify("message".into());
        assert_eq!((report.delivered, report.full.len()), (delivered, 2 - delivered));
        assert!(report.full.iter().all(|full| *full == id));
        assert_eq!(line(&mut free).await, "message");
    }
    // The outbox is not affected.
    assert_eq!(pool.topic("lobby").publish("reply").members, 2);
    assert_eq!((line(&mut waiting).await, line(&mut free).await), ("reply".into(), "reply".into()));
}

#[actix::test]
async fn a_slow_member_costs_the_others_nothing() {
    let pool = start_with(|builder| builder.acceptors(1).outbox(100_000, SlowConsumer::DropNewest)).await;
    let (_slow, mut quick) = (member(&pool).await, member(&pool).await);
    let ids = pool.topic("lobby").members();
    let mut dropped = 0;
    // Until the kernel takes nothing more for the slow one.
    while dropped < 20 {
        let published = pool.topic("lobby").publish("x".repeat(39_999));
        assert!(published.members >= 1);
        dropped += published.dropped as u64;
        quick.read_exact(40_000).await;
    }
    assert_eq!([pool.connection_info(ids[0]).unwrap().dropped, pool.info().dropped], [dropped; 2]);
    assert_eq!(pool.connection_info(ids[1]).unwrap().dropped, 0);
}
