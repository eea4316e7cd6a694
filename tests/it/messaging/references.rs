//! References to connections, labels, and sending to several ids.

use actix_acceptor::{limits::SlowConsumer, telemetry::CloseReason, ConnectionId, OutboxError, SendError, User};
use support::*;

use super::*;

async fn id(peer: &mut Peer<TcpStream>, pool: &Members) -> ConnectionId {
    let id = ask(peer, "id").await;
    pool.list().into_iter().find(|info| info.id.to_string() == id).unwrap().id
}

#[actix::test]
async fn a_reference_reaches_the_connection() {
    let pool = start().await;
    let mut peer = connect(&pool).await;
    let id = id(&mut peer, &pool).await;
    assert_eq!(ask(&mut peer, "register ann").await, "true");
    for connection in [pool.connection(id).unwrap(), pool.whereis("ann").unwrap()] {
        assert_eq!((connection.id(), connection.outbox().id(), connection.info().id), (id, id, id));
        connection.address().unwrap().try_send(User("message".into())).unwrap();
        assert_eq!(line(&mut peer).await, "message");
        let clone = connection.clone();
        std::thread::spawn(move || clone.send("from a thread").unwrap()).join().unwrap();
        assert_eq!(line(&mut peer).await, "from a thread");
    }
}

#[actix::test]
async fn a_reference_outlives_its_connection() {
    let pool = start().await;
    let mut peer = connect(&pool).await;
    let id = id(&mut peer, &pool).await;
    let connection = pool.connection(id).unwrap();
    drop(peer);
    eventually(|| pool.connections() == 0).await;
    assert_eq!((connection.info().packets, connection.info().bytes_in), (1, 3));
    assert!(!connection.kill() && !connection.close(None, ms(0)));
    assert!(connection.address().is_none() && pool.connection(id).is_none());
    assert_eq!(pool.info().closed.get(CloseReason::Peer), 1);
}

#[actix::test]
async fn a_reference_kills_once() {
    let pool = start_with(|builder| builder.on_current_arbiter()).await;
    let mut peer = member(&pool).await;
    let connection = pool.connection(id(&mut peer, &pool).await).unwrap();
    // The connection does not run in between.
    assert!(connection.kill() && !connection.kill());
    assert!(matches!(connection.send("late"), Err(OutboxError::Closed(_))));
    assert_eq!(peer.until_gone().await, b"");
    assert_eq!(pool.info().closed.get(CloseReason::Killed), 1);
}

#[actix::test]
async fn a_connection_is_ended_as_replaced_once() {
    let pool = start_with(|builder| builder.on_current_arbiter()).await;
    let mut peer = member(&pool).await;
    let connection = pool.connection(id(&mut peer, &pool).await).unwrap();
    assert!(connection.end_as_replaced() && !connection.end_as_replaced() && !connection.kill());
    assert_eq!(peer.until_gone().await, b"");
    assert!(!connection.end_as_replaced());
    assert_eq!(pool.info().closed.get(CloseReason::Replaced), 1);
}

#[actix::test]
async fn an_untyped_reference_sends_bytes_as_they_are() {
    let pool = start().await;
    let mut peer = connect(&pool).await;
    let id = id(&mut peer, &pool).await;
    assert_eq!(ask(&mut peer, "register ann").await, "true");
    let pool = pool.untyped();
    pool.connection(id).unwrap().send("1,").unwrap();
    pool.whereis("ann").unwrap().outbox().send(b"2\n,".to_vec()).unwrap();
    peer.expect(b"1,2\n,").await;
    assert!(pool.whereis("ann").unwrap().kill());
    peer.until_gone().await;
    eventually(|| pool.connection(id).is_none()).await;
}

#[actix::test]
async fn labels_are_listed() {
    let pool = start().await;
    let mut peer = connect(&pool).await;
    for (label, expected) in [("ann", Some("ann")), ("bob", Some("bob")), ("", None)] {
        assert_eq!(ask(&mut peer, &format!("label {label}")).await, "labelled");
        assert_eq!(pool.list()[0].label.as_deref(), expected);
    }
}

#[actix::test]
async fn send_to_reaches_the_connections_with_these_ids() {
    let pool = start_with(|builder| builder.acceptors(2).outbox(1_000, SlowConsumer::DropNewest)).await;
    let mut peers = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..4 {
        let mut peer = connect(&pool).await;
        ids.push(id(&mut peer, &pool).await);
        peers.push(peer);
    }
    let (mut other, gone) = (peers.remove(3), peers.remove(0));
    drop(gone);
    eventually(|| pool.connections() == 3).await;
    let report = pool.send_to(ids[..3].to_vec(), "hello").unwrap();
    assert_eq!((report.delivered, report.full), (2, vec![]));
    let report = pool.send_to(ids[..3].iter().rev().copied(), "x".repeat(1_000)).unwrap();
    assert_eq!((report.delivered, report.full), (0, ids[1..3].to_vec()));
    let error = pool.send_to([ids[1]], "two\nlines").unwrap_err();
    assert!(matches!(error, SendError::Delimiter { position: 3 }));
    for peer in &mut peers {
        assert_eq!(line(peer).await, "hello");
        assert_eq!(ask(peer, "next").await, "next");
    }
    assert_eq!(ask(&mut other, "next").await, "next");
}

#[actix::test]
async fn a_reference_lists_names_and_topics() {
    let pool = start().await;
    let (mut peer, mut other) = (member(&pool).await, member(&pool).await);
    let connection = pool.connection(id(&mut peer, &pool).await).unwrap();
    let names = || connection.names().iter().map(|name| name.to_string()).collect::<Vec<_>>();
    let topics = || connection.topics().iter().map(|name| name.to_string()).collect::<Vec<_>>();
    assert_eq!((names(), topics()), (vec![], vec!["lobby".to_string()]));

    for command in ["register zoe", "register ann", "join sports"] {
        assert_eq!(ask(&mut peer, command).await, "true");
    }
    assert_eq!(ask(&mut other, "register bob").await, "true");
    assert_eq!((names(), topics()), (vec!["zoe".into(), "ann".into()], vec!["lobby".into(), "sports".into()]));
    assert_eq!(pool.untyped().whereis("ann").unwrap().topics(), connection.topics());

    for command in ["unregister zoe", "leave lobby"] {
        assert_eq!(ask(&mut peer, command).await, "true");
    }
    assert_eq!((names(), topics()), (vec!["ann".into()], vec!["sports".into()]));

    drop(peer);
    eventually(|| pool.connections() == 1).await;
    assert_eq!((names(), topics()), (vec![], vec![]));
}

#[actix::test]
async fn topics_of_another_pool_are_not_listed() {
    let (pool, other) = (start().await, start().await);
    let mut peer = member(&pool).await;
    let connection = pool.connection(id(&mut peer, &pool).await).unwrap();
    assert_eq!(ask(&mut peer, &format!("visit {} abroad", other.name())).await, "true");
    assert_eq!(other.topic("abroad").len(), 1);
    assert_eq!(connection.topics().len(), 1);
}

#[actix::test]
async fn handles_are_equal_if_the_pool_is_the_same() {
    let (pool, other) = (start().await, start().await);
    let clone = pool.clone();
    assert!(pool == clone && pool != other);
    assert!(pool.untyped() == clone.untyped() && pool.untyped() != other.untyped());
}
