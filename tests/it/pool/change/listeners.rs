//! Other ports, while connections go on.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_acceptor::{info::Status, AcceptorPool, Connection, Listener, Pool, StartError, SuspendMode};
use tokio::net::TcpStream;

use support::acceptors::*;
use support::*;

async fn pool() -> Pool<Connection<Echo>> {
    AcceptorPool::with_protocol(|_| Echo).acceptors(2).bind("127.0.0.1:0").await.unwrap()
}

fn anywhere() -> Listener {
    Listener::tcp("127.0.0.1:0")
}

fn ports<A>(pool: &Pool<A>) -> Vec<SocketAddr> {
    pool.local_addrs().iter().map(|address| address.socket().unwrap()).collect()
}

async fn served(port: SocketAddr) -> Peer {
    let mut peer = Peer(in_time(TcpStream::connect(port)).await.unwrap());
    peer.echo("hello").await;
    peer
}

async fn is_closed(port: SocketAddr) -> bool {
    TcpStream::connect(port).await.is_err()
}

/// The old ports are closed by the acceptors, a little later.
async fn closes(port: SocketAddr) {
    in_time(async { while !is_closed(port).await {} }).await;
}

#[actix::test]
async fn connections_survive_a_change_of_port() {
    let pool = pool().await;
    let old = ports(&pool)[0];
    let mut peer = served(old).await;
    for round in 0..3 {
        let before = ports(&pool)[0];
        let elsewhere = anywhere().name(format!("elsewhere {round}"));
        pool.set_listeners(vec![elsewhere.max_connections(7)]).await.unwrap();
        let now = ports(&pool)[0];
        assert_ne!(before, now);
        served(now).await;
        closes(before).await;
        served(now).await;
        peer.echo("still here").await;
    }
    let listeners = pool.listeners();
    assert_eq!(listeners.len(), 1);
    assert_eq!((&*listeners[0].name, listeners[0].max_connections), ("elsewhere 2", Some(7)));
    assert_eq!(pool.name(), old.to_string(), "the name stays");
    let report = in_time(pool.stop(Duration::from_secs(60))).await;
    assert_eq!((report.asked >= 1, report.unserved), (true, 0));
    assert_eq!(peer.read_to_end().await, b"");
    assert!(is_closed(old).await && refuses(&pool).await);
}

#[actix::test]
async fn an_unchanged_port_keeps_its_socket() {
    let pool = pool().await;
    let old = ports(&pool)[0];
    let _blocked = block(&pool, 2).await;
    // It is in the queue of that socket, which another one would not have.
    let mut queued = Peer(TcpStream::connect(old).await.unwrap());
    queued.send("hello").await;
    let named = |name: &str| anywhere().name(name);
    let changed = pool.set_listeners(vec![named("new"), Listener::tcp(old)]).await.unwrap();
    let (added, unchanged) = (vec!["new".to_owned()], vec![old.to_string()]);
    assert_eq!((changed.added, changed.unchanged), (added.clone(), unchanged.clone()));
    assert_eq!((changed.removed, changed.changed), (vec![], vec![]));
    drop(_blocked);
    queued.expect(b"hello").await;
    assert_eq!(ports(&pool)[1], old);
    for port in ports(&pool) {
        served(port).await;
    }
    let new = ports(&pool)[0];
    // By name it is the same one, too.
    let by_name = format!("localhost:{}", old.port());
    let changed = pool.set_listeners(vec![Listener::tcp(by_name)]).await.unwrap();
    assert_eq!((changed.is_empty(), changed.removed, changed.unchanged), (false, added, unchanged));
    assert_eq!(ports(&pool), [old]);
    closes(new).await;
    served(old).await;
    queued.echo("still here").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn peers_queued_at_the_old_port_are_served() {
    let pool = pool().await;
    let old = ports(&pool)[0];
    let blocked = block(&pool, 2).await;
    let mut queued = Vec::new();
    for _ in 0..20 {
        let mut peer = Peer(TcpStream::connect(old).await.unwrap());
        peer.send("hello").await;
        queued.push(peer);
    }
    pool.set_listeners(vec![anywhere()]).await.unwrap();
    drop(blocked);
    for peer in &mut queued {
        peer.expect(b"hello").await;
    }
    closes(old).await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_failed_bind_leaves_the_listeners_unchanged() {
    let pool = pool().await;
    let old = ports(&pool)[0];
    let mut peer = served(old).await;
    let thief = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = thief.local_addr().unwrap();
    match pool.set_listeners(vec![anywhere(), Listener::tcp(taken)]).await {
        Err(StartError::SystemError { what, source }) => {
            assert_eq!((what, source.kind()), (taken.to_string(), std::io::ErrorKind::AddrInUse));
        }
        other => panic!("{other:?}"),
    }
    for listeners in [vec![], vec![anywhere().max_connections(0)]] {
        let refused = pool.set_listeners(listeners).await;
        assert!(matches!(refused, Err(StartError::InvalidSetting(_))), "{refused:?}");
    }
    assert_eq!(ports(&pool), [old]);
    peer.echo("still here").await;
    served(old).await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn later_acceptors_serve_the_new_listeners() {
    let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(2).max_restarts(100, Duration::from_secs(600));
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    pool.set_listeners(vec![anywhere(), anywhere()]).await.unwrap();
    for die in AcceptorFailure::ALL {
        for _ in 0..2 {
            kill(&pool.untyped(), die).await;
        }
        for port in ports(&pool) {
            served(port).await;
        }
    }
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn an_acceptor_restarted_meanwhile_serves_the_new_port() {
    for die in AcceptorFailure::ALL {
        let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(1).max_restarts(100, Duration::from_secs(600));
        let pool = pool.bind("127.0.0.1:0").await.unwrap();
        for _ in 0..5 {
            let old = ports(&pool)[0];
            eventually(|| pool.acceptors().len() == 1).await;
            pool.acceptors()[0].do_send(die);
            pool.set_listeners(vec![anywhere()]).await.unwrap();
            served(ports(&pool)[0]).await;
            closes(old).await;
        }
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

#[actix::test]
async fn a_suspended_pool_stays_suspended_at_its_new_ports() {
    for how in [SuspendMode::Close, SuspendMode::Hold] {
        let pool = pool().await;
        let old = ports(&pool)[0];
        pool.suspend(how).await.unwrap();
        pool.set_listeners(vec![anywhere()]).await.unwrap();
        assert_eq!(pool.status(), Status::Suspended(how));
        let new = ports(&pool)[0];
        assert_eq!(is_closed(new).await, how == SuspendMode::Close);
        run_local_tasks().await;
        assert_eq!(pool.info().accepted, 0);
        closes(old).await;
        pool.resume().await.unwrap();
        served(new).await;
        assert!(is_closed(old).await);
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

#[actix::test]
async fn peers_queued_at_a_new_held_port_are_drained() {
    let pool = pool().await;
    pool.suspend(SuspendMode::Hold).await.unwrap();
    pool.set_listeners(vec![anywhere()]).await.unwrap();
    let mut queued = connect(&pool).await;
    let report = in_time(pool.stop(Duration::from_secs(60))).await;
    assert_eq!((report.asked, report.finished, report.unserved), (1, 1, 0));
    assert_eq!(queued.read_to_end().await, b"");
}

#[actix::test]
async fn the_same_port_twice_is_refused() {
    let pool = pool().await;
    let old = ports(&pool)[0];
    let refused = pool.set_listeners(vec![Listener::tcp(old), Listener::tcp(old).name("again")]).await;
    match refused {
        Err(StartError::InvalidSetting(invalid)) => assert!(invalid.why.contains(&old.to_string()), "{invalid}"),
        other => panic!("{other:?}"),
    }
    served(old).await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn only_a_running_pool_replaces_its_listeners() {
    let pool = pool().await;
    in_time(pool.stop(Duration::ZERO)).await;
    assert!(matches!(pool.set_listeners(vec![anywhere()]).await, Err(StartError::ListenerClosed)));
}

#[actix::test]
async fn a_removed_address_is_free_when_set_listeners_returns() {
    let (pool, folder) = (pool().await, Folder::create());
    let (port, path) = (ports(&pool)[0], folder.path("socket"));
    let both = |replaced: bool| match replaced {
        true => vec![anywhere(), Listener::unix(folder.path("other"))],
        false => vec![Listener::tcp(port), Listener::unix(&path)],
    };
    for _ in 0..20 {
        pool.set_listeners(both(false)).await.unwrap();
        assert!(path.exists());
        pool.set_listeners(both(true)).await.unwrap();
        assert!(is_closed(port).await && !path.exists());
    }
    in_time(pool.stop(Duration::ZERO)).await;
}

#[test]
fn a_name_that_is_slow_to_resolve_does_not_hold_up_a_stop() {
    let one_at_a_time =
        || tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    actix::System::with_tokio_rt(one_at_a_time).block_on(async {
        let builder = AcceptorPool::with_protocol(|_| Echo).start_timeout(Duration::from_secs(600));
        let pool = builder.bind("127.0.0.1:0").await.unwrap();
        // A name is resolved on the blocking pool of the arbiter, whose only thread is busy.
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || gate.recv());
        let changing = actix::spawn({
            let pool = pool.clone();
            async move { pool.set_listeners(vec![Listener::tcp("localhost:0")]).await }
        });
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!changing.is_finished());
        in_time(pool.stop(Duration::ZERO)).await;
        let refused = in_time(changing).await.unwrap().unwrap_err();
        assert!(matches!(refused, StartError::ListenerClosed), "{refused:?}");
        open.send(()).unwrap();
        busy.await.unwrap().unwrap();
    });
}
