//! Multipath TCP. A kernel without it accepts plain TCP only.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::time::Duration;

use actix_acceptor::transport::{Memory, MultipathTcp};
use actix_acceptor::{
    pool_config::PoolConfig, AcceptorPool, Framing, Listener, Pool, PoolHandle, StartError, SuspendMode,
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use support::{connect, in_time, Echo, Folder, Peer};

fn has_multipath() -> bool {
    Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP)).is_ok()
}

async fn listening(listener: Listener) -> Result<PoolHandle, StartError> {
    let builder = AcceptorPool::with_protocol(|_| Echo).framing(Framing::raw()).acceptors(1);
    Ok(in_time(builder.listener(listener).start()).await?.untyped())
}

fn in_force<A>(pool: &Pool<A>) -> Option<bool> {
    pool.listeners()[0].options.multipath_tcp
}

async fn multipath_peer(pool: &PoolHandle) -> Peer {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP)).unwrap();
    socket.connect(&pool.local_addr().unwrap().into()).unwrap();
    socket.set_nonblocking(true).unwrap();
    Peer(tokio::net::TcpStream::from_std(socket.into()).unwrap())
}

#[actix::test]
async fn a_multipath_tcp_listener_serves_both_kinds_of_peers() {
    for asked in [MultipathTcp::Off, MultipathTcp::Try, MultipathTcp::Require] {
        let listener = Listener::tcp("127.0.0.1:0").multipath_tcp(asked);
        let pool = match listening(listener).await {
            Ok(pool) => pool,
            // Names the setting.
            Err(StartError::SystemError { source, .. }) if asked == MultipathTcp::Require && !has_multipath() => {
                assert!(source.to_string().starts_with("multipath_tcp: "), "{source}");
                continue;
            }
            Err(error) => panic!("{error:?}"),
        };
        let expected = asked != MultipathTcp::Off && has_multipath();
        assert_eq!(in_force(&pool), Some(expected));
        connect(&pool).await.echo("over one path").await;
        if has_multipath() {
            multipath_peer(&pool).await.echo("over several").await;
        }
        // The socket that a resume opens is of the same kind.
        in_time(pool.suspend(SuspendMode::Close)).await.unwrap();
        in_time(pool.resume()).await.unwrap();
        assert_eq!(in_force(&pool), Some(expected));
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

#[actix::test]
async fn each_socket_of_an_acceptor_has_multipath_tcp() {
    let listener = Listener::tcp("127.0.0.1:0").multipath_tcp(MultipathTcp::Try).reuse_port_per_acceptor(true);
    let builder = AcceptorPool::with_protocol(|_| Echo).framing(Framing::raw()).acceptors(2).listener(listener);
    let pool = in_time(builder.start()).await.unwrap();
    let options = &pool.listeners()[0].options;
    assert_eq!((options.sockets, options.multipath_tcp), (Some(2), Some(has_multipath())));
    for socket in pool.listening_sockets().unwrap() {
        let descriptor = OwnedFd::from(socket.socket);
        let is_multipath = SockRef::from(&descriptor).protocol().unwrap() == Some(Protocol::MPTCP);
        assert_eq!(is_multipath, has_multipath());
    }
    for _ in 0..8 {
        connect(&pool).await.echo("over one path").await;
        if has_multipath() {
            multipath_peer(&pool.untyped()).await.echo("over several").await;
        }
    }
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_file_asks_for_multipath_tcp() {
    for (listener, expected) in [("multipath_tcp = 'try'", has_multipath()), ("multipath_tcp = 'off'", false)] {
        let text = format!("listeners = [{{ address = 'tcp://127.0.0.1:0', {listener} }}]");
        let config = PoolConfig::from_toml(&text).unwrap();
        let pool = in_time(AcceptorPool::with_protocol(|_| Echo).config(&config).start()).await.unwrap();
        assert_eq!(in_force(&pool), Some(expected));
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

#[actix::test]
async fn multipath_tcp_is_for_bound_tcp_listeners_only() {
    let folder = Folder::create();
    for listener in [
        Listener::unix(folder.path("socket")),
        Listener::from_socket(TcpListener::bind("127.0.0.1:0").unwrap()),
        Listener::from_transport(Memory::new("memory").0),
    ] {
        match listening(listener.multipath_tcp(MultipathTcp::Try)).await {
            Err(StartError::InvalidSetting(invalid)) => assert_eq!(invalid.setting, "multipath_tcp"),
            other => panic!("{other:?}"),
        }
    }
}
