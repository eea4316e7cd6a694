//! The socket options that a pool reports for its listeners.

use std::time::Duration;

use actix_acceptor::{
    handlers::ProtocolService, info::ListenerOptions, transport::Keepalive, transport::Memory, AcceptorPool, Builder,
    Framing, Listener, Pool, SuspendMode,
};
use support::*;

fn echo() -> Builder<ProtocolService<Echo>> {
    AcceptorPool::with_protocol(|_| Echo).framing(Framing::raw()).acceptors(1)
}

fn options<A>(pool: &Pool<A>) -> ListenerOptions {
    pool.listeners()[0].options.clone()
}

#[actix::test]
async fn the_options_in_force_can_be_read() {
    let keepalive = Keepalive::time(Duration::from_secs(60)).interval(Duration::from_secs(10)).retries(4);
    let set = || {
        let listener = Listener::tcp("127.0.0.1:0").name("one").backlog(77).nodelay(false).keepalive(keepalive);
        listener.send_buffer(100_000).receive_buffer(50_000)
    };
    let pool = in_time(echo().listener(set().reuse_port(cfg!(unix))).start()).await.unwrap();
    let before = options(&pool);
    assert_eq!((before.backlog, before.nodelay, before.reuse_port), (Some(77), Some(false), Some(cfg!(unix))));
    assert!(before.send_buffer >= Some(100_000) && before.receive_buffer >= Some(50_000), "{before:?}");
    let probes = before.keepalive.unwrap();
    assert_eq!((probes.time, probes.interval, probes.retries), (Duration::from_secs(60), Duration::from_secs(10), 4));
    let changed = set().reuse_port(cfg!(unix)).backlog(88).nodelay(true);
    in_time(pool.set_listeners(vec![changed])).await.unwrap();
    assert_eq!((options(&pool).backlog, options(&pool).nodelay), (Some(88), Some(true)));
    in_time(pool.suspend(SuspendMode::Close)).await.unwrap();
    assert_eq!(options(&pool), ListenerOptions::default(), "there is no socket");
    in_time(pool.resume()).await.unwrap();
    assert_eq!(options(&pool).backlog, Some(88));
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn the_default_options_can_be_read() {
    let pool = in_time(echo().bind("127.0.0.1:0")).await.unwrap();
    let default = options(&pool);
    assert_eq!((default.backlog, default.nodelay, default.reuse_port), (Some(1024), Some(true), Some(false)));
    assert_eq!((default.keepalive, default.mode, default.only_v6, default.sockets), (None, None, None, Some(1)));
    in_time(pool.stop(None)).await;
    let pool = in_time(echo().listen(Memory::new("memory").0)).await.unwrap();
    assert_eq!(options(&pool), ListenerOptions::default());
    in_time(pool.stop(None)).await;
}

#[cfg(unix)]
#[actix::test]
async fn the_options_of_other_sockets_can_be_read() {
    let folder = Folder::create();
    let unix = Listener::unix(folder.path("it.sock")).mode(0o600).send_buffer(4096);
    let pool = in_time(echo().listener(unix).start()).await.unwrap();
    let unix = options(&pool);
    assert_eq!((unix.backlog, unix.mode, unix.send_buffer, unix.nodelay), (Some(1024), Some(0o600), Some(4096), None));
    in_time(pool.stop(None)).await;
    let inherited = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let pool = in_time(echo().listener(Listener::from_socket(inherited)).start()).await.unwrap();
    assert_eq!((options(&pool).backlog, options(&pool).nodelay), (None, Some(true)));
    in_time(pool.stop(None)).await;
}
