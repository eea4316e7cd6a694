//! No new peers for a while, and back: by ports that are closed, or by ports that are held.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::Duration;

use actix_acceptor::transport::Tcp;
use actix_acceptor::{
    error::SuspendError, info::Status, telemetry::RefusalReason, AcceptorPool, Connection, Drain, Listener, Pool,
    SuspendMode,
};
use futures::future::join_all;
use support::acceptors::*;
use support::*;
use tokio::net::TcpStream;

const BOTH: [SuspendMode; 2] = [SuspendMode::Close, SuspendMode::Hold];

async fn pool(acceptors: usize) -> Pool<Connection<Echo>> {
    AcceptorPool::with_protocol(|_| Echo).acceptors(acceptors).bind("127.0.0.1:0").await.unwrap()
}

/// Peers that have sent their first packet, which may still be unread.
async fn queued<A>(pool: &Pool<A>, count: usize) -> Vec<Peer> {
    let mut peers = join_all((0..count).map(|_| connect(pool))).await;
    join_all(peers.iter_mut().map(|peer| peer.send("hello"))).await;
    peers
}

async fn all_served(peers: &mut [Peer]) {
    join_all(peers.iter_mut().map(|peer| peer.expect(b"hello"))).await;
}

/// The address and the reason of a port that could not be closed or opened.
fn port_error(outcome: Result<(), SuspendError>) -> (String, ErrorKind) {
    match outcome {
        Err(SuspendError::Listener { address, source, .. }) => (address, source.kind()),
        other => panic!("{other:?}"),
    }
}

#[actix::test]
async fn refused_peers_meet_a_closed_port_and_connections_go_on() {
    let pool = pool(2).await;
    let mut old = connect(&pool).await;
    old.echo("before").await;
    assert!(pool.is_ready() && pool.status() == Status::Running);
    let address = pool.local_addr().unwrap();
    for _ in 0..3 {
        pool.suspend(SuspendMode::Close).await.unwrap();
        assert_eq!(pool.status(), Status::Suspended(SuspendMode::Close));
        assert!(!pool.is_ready());
        assert!(refuses(&pool).await);
        old.echo("meanwhile").await;
        pool.resume().await.unwrap();
        assert!(pool.is_ready() && pool.status() == Status::Running);
        // The port that the system had chosen.
        assert_eq!(pool.local_addr(), Some(address));
        connect(&pool).await.echo("after").await;
    }
    assert_eq!(pool.info().accepted, 4);
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn held_peers_wait_in_the_kernel_and_connections_go_on() {
    let pool = pool(2).await;
    let mut old = connect(&pool).await;
    old.echo("before").await;
    pool.suspend(SuspendMode::Hold).await.unwrap();
    assert_eq!(pool.status(), Status::Suspended(SuspendMode::Hold));
    assert!(!pool.is_ready());
    let mut waiting = queued(&pool, 50).await;
    for _ in 0..50 {
        old.echo("meanwhile").await;
    }
    assert_eq!((pool.info().accepted, pool.connections()), (1, 1));
    pool.resume().await.unwrap();
    assert!(pool.is_ready());
    all_served(&mut waiting).await;
    assert_eq!((pool.info().accepted, pool.connections()), (51, 51));
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn peers_queued_at_a_suspension_are_served() {
    let pool = pool(2).await;
    let blocked = block(&pool, 2).await;
    let mut waiting = queued(&pool, 100).await;
    let release = async {
        run_local_tasks().await;
        drop(blocked);
    };
    let (suspended, ()) = in_time(async { tokio::join!(pool.suspend(SuspendMode::Close), release) }).await;
    suspended.unwrap();
    assert!(refuses(&pool).await);
    all_served(&mut waiting).await;
    let info = pool.info();
    assert_eq!((info.accepted, info.connections, info.refused.iter().map(|(_, count)| count).sum()), (100, 100, 0));
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn peers_queued_beyond_the_limit_are_closed_and_counted() {
    let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(2).max_connections(1);
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    let mut first = connect(&pool).await;
    first.echo("in").await;
    let mut waiting = join_all((0..3).map(|_| connect(&pool))).await;
    pool.suspend(SuspendMode::Close).await.unwrap();
    for peer in &mut waiting {
        assert_eq!(peer.read_to_end().await, b"");
    }
    first.echo("still in").await;
    let info = pool.info();
    assert_eq!((info.accepted, info.connections, info.refused.get(RefusalReason::Draining)), (4, 1, 3));
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn suspend_and_resume_are_idempotent() {
    for mode in BOTH {
        let pool = pool(1).await;
        for _ in 0..2 {
            pool.suspend(mode).await.unwrap();
            assert_eq!(pool.status(), Status::Suspended(mode));
            assert_eq!(refuses(&pool).await, mode == SuspendMode::Close);
        }
        pool.resume().await.unwrap();
        pool.resume().await.unwrap();
        assert_eq!(pool.status(), Status::Running);
        connect(&pool).await.echo("hello").await;
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

#[actix::test]
async fn a_resume_names_a_taken_port_and_can_be_retried() {
    let pool = pool(2).await;
    let mut old = connect(&pool).await;
    old.echo("before").await;
    pool.suspend(SuspendMode::Close).await.unwrap();
    let address = pool.local_addr().unwrap();
    let thief = TcpListener::bind(address).unwrap();
    for _ in 0..2 {
        assert_eq!(port_error(pool.resume().await), (address.to_string(), ErrorKind::AddrInUse));
        assert_eq!(pool.status(), Status::Suspended(SuspendMode::Close));
        old.echo("meanwhile").await;
    }
    drop(thief);
    pool.resume().await.unwrap();
    assert_eq!(pool.status(), Status::Running);
    connect(&pool).await.echo("after").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn all_ports_close_and_open_or_none() {
    let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(2);
    let pool = pool.listener(Listener::tcp("127.0.0.1:0")).listener(Listener::tcp("127.0.0.1:0"));
    let pool = pool.start().await.unwrap();
    let ports: Vec<_> = pool.local_addrs().iter().map(|address| address.socket().unwrap()).collect();
    let open = || join_all(ports.iter().map(|port| async { TcpStream::connect(*port).await.is_ok() }));
    pool.suspend(SuspendMode::Close).await.unwrap();
    assert_eq!(open().await, [false, false]);
    let thief = TcpListener::bind(ports[1]).unwrap();
    assert_eq!(port_error(pool.resume().await).0, ports[1].to_string());
    assert_eq!(pool.status(), Status::Suspended(SuspendMode::Close));
    drop(thief);
    assert_eq!(open().await, [false, false]);
    pool.resume().await.unwrap();
    for port in &ports {
        Peer(TcpStream::connect(port).await.unwrap()).echo("hello").await;
    }
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn only_a_running_pool_can_be_suspended() {
    let pool = pool(1).await;
    let draining = actix_rt::spawn({
        let pool = pool.clone();
        async move { pool.drain(Drain::grace(Duration::from_secs(1)).delay(Duration::from_secs(600))).await }
    });
    eventually(|| pool.status() == Status::Draining).await;
    for how in BOTH {
        assert!(matches!(pool.suspend(how).await, Err(SuspendError::NotRunning)));
    }
    assert!(matches!(pool.resume().await, Err(SuspendError::NotRunning)));
    assert_eq!(pool.status(), Status::Draining);
    in_time(pool.stop(Duration::ZERO)).await;
    in_time(draining).await.unwrap();
    assert!(matches!(pool.suspend(SuspendMode::Hold).await, Err(SuspendError::NotRunning)));
    assert!(matches!(pool.resume().await, Err(SuspendError::NotRunning)));
    assert_eq!(pool.status(), Status::Ended);
}

#[actix::test]
async fn restarted_acceptors_stay_suspended() {
    for how in BOTH {
        let pool = pool(1).await;
        pool.suspend(how).await.unwrap();
        for die in AcceptorFailure::ALL {
            kill(&pool.untyped(), die).await;
        }
        assert_eq!(pool.status(), Status::Suspended(how));
        assert_eq!(refuses(&pool).await, how == SuspendMode::Close);
        let mut waiting = if how == SuspendMode::Hold { queued(&pool, 3).await } else { Vec::new() };
        run_local_tasks().await;
        assert_eq!(pool.info().accepted, 0);
        pool.resume().await.unwrap();
        all_served(&mut waiting).await;
        connect(&pool).await.echo("hello").await;
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

#[actix::test]
async fn a_suspended_pool_changes_to_the_other_mode() {
    let pool = pool(2).await;
    let mut old = connect(&pool).await;
    old.echo("before").await;
    pool.suspend(SuspendMode::Hold).await.unwrap();
    let mut queued_before = queued(&pool, 10).await;
    in_time(pool.suspend(SuspendMode::Close)).await.unwrap();
    assert_eq!(pool.status(), Status::Suspended(SuspendMode::Close));
    assert!(refuses(&pool).await);
    all_served(&mut queued_before).await;
    in_time(pool.suspend(SuspendMode::Hold)).await.unwrap();
    assert_eq!(pool.status(), Status::Suspended(SuspendMode::Hold));
    let mut waiting = queued(&pool, 10).await;
    old.echo("meanwhile").await;
    assert_eq!(pool.info().accepted, 11);
    pool.resume().await.unwrap();
    all_served(&mut waiting).await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_change_of_the_mode_that_fails_changes_nothing() {
    let pool = pool(1).await;
    pool.suspend(SuspendMode::Close).await.unwrap();
    let address = pool.local_addr().unwrap();
    let taken = TcpListener::bind(address).unwrap();
    let (at, reason) = port_error(pool.suspend(SuspendMode::Hold).await);
    assert_eq!((at, reason), (address.to_string(), ErrorKind::AddrInUse));
    assert_eq!(pool.status(), Status::Suspended(SuspendMode::Close));
    drop(taken);
    pool.resume().await.unwrap();
    connect(&pool).await.echo("hello").await;
    in_time(pool.stop(Duration::ZERO)).await;

    let (scripted, _director) = ScriptedTransport::in_front_of(Tcp::bind("127.0.0.1:0".parse().unwrap()).unwrap());
    let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(2).listen(scripted).await.unwrap();
    pool.suspend(SuspendMode::Hold).await.unwrap();
    assert_eq!(port_error(pool.suspend(SuspendMode::Close).await).1, ErrorKind::Unsupported);
    assert_eq!(pool.status(), Status::Suspended(SuspendMode::Hold));
    let mut waiting = queued(&pool, 3).await;
    run_local_tasks().await;
    assert_eq!(pool.info().accepted, 0);
    pool.resume().await.unwrap();
    all_served(&mut waiting).await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_transport_that_cannot_close_fails_the_suspension() {
    let closable = Tcp::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let (scripted, _director) = ScriptedTransport::in_front_of(Tcp::bind("127.0.0.1:0".parse().unwrap()).unwrap());
    let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(2);
    let pool = pool
        .listener(Listener::from_transport(closable))
        .listener(Listener::from_transport(scripted))
        .start()
        .await
        .unwrap();
    let ports: Vec<_> = pool.local_addrs().iter().map(|address| address.socket().unwrap()).collect();
    let (address, reason) = port_error(pool.suspend(SuspendMode::Close).await);
    assert_eq!((address, reason), (ports[1].to_string(), ErrorKind::Unsupported));
    assert_eq!(pool.status(), Status::Running);
    for port in &ports {
        Peer(TcpStream::connect(port).await.unwrap()).echo("hello").await;
    }
    pool.suspend(SuspendMode::Hold).await.unwrap();
    assert_eq!(pool.status(), Status::Suspended(SuspendMode::Hold));
    let mut waiting: Vec<_> = join_all(ports.iter().map(TcpStream::connect)).await;
    assert_eq!(pool.info().accepted, 2);
    pool.resume().await.unwrap();
    for peer in waiting.drain(..) {
        Peer(peer.unwrap()).echo("hello").await;
    }
    assert_eq!(restarts(&pool), 0);
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_blocked_arbiter_does_not_hold_up_a_suspension() {
    let pool = pool(1).await;
    let blocked = block(&pool, 1).await;
    within(Duration::from_secs(10), pool.suspend(SuspendMode::Close)).await.unwrap();
    assert_eq!(pool.status(), Status::Suspended(SuspendMode::Close));
    drop(blocked);
    while !refuses(&pool).await {}
    pool.resume().await.unwrap();
    connect(&pool).await.echo("hello").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_suspended_pool_stops() {
    for how in BOTH {
        let pool = pool(2).await;
        let mut old = connect(&pool).await;
        old.echo("hello").await;
        pool.suspend(how).await.unwrap();
        let report = in_time(pool.stop(Duration::from_secs(60))).await;
        assert_eq!((report.asked, report.finished, report.unserved), (1, 1, 0), "{how:?}");
        assert_eq!(old.read_to_end().await, b"");
        assert!(refuses(&pool).await);
        assert_eq!(pool.status(), Status::Ended);
    }
}

#[actix::test]
async fn a_blocked_arbiter_is_waited_for_once_not_per_listener() {
    let mut builder = AcceptorPool::with_protocol(|_| Echo).acceptors(2);
    for _ in 0..5 {
        builder = builder.listener(Listener::tcp("127.0.0.1:0"));
    }
    let pool = builder.start().await.unwrap();
    for mode in [SuspendMode::Hold, SuspendMode::Close] {
        let blocked = block(&pool, 1).await;
        // One second for all of them.
        within(Duration::from_secs(3), pool.suspend(mode)).await.unwrap();
        drop(blocked);
        // A closed port is free once the acceptor has released it.
        in_time(async { while pool.resume().await.is_err() {} }).await;
    }
    in_time(pool.stop(Duration::ZERO)).await;
}
