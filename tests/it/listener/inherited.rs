//! Sockets that others have opened.

#![cfg(unix)]

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use actix_acceptor::{
    error::SuspendError, handlers::ProtocolService, limits::BacklogPolicy, AcceptorPool, Builder, Connection, Drain,
    Framing, Listener, Pool, StartError, SuspendMode,
};
use support::*;

fn echo() -> Builder<ProtocolService<Echo>> {
    AcceptorPool::with_protocol(|_| Echo).framing(Framing::raw()).acceptors(2)
}

async fn listening(listener: Listener) -> Result<Pool<Connection<Echo>>, StartError> {
    in_time(echo().listener(listener).start()).await
}

#[actix::test]
async fn a_port_that_is_open_already_is_served_and_set_non_blocking() {
    // Blocking, as std makes it: an acceptor that fell for it would never come back.
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    // Came before there was a pool.
    let mut early = TcpStream::connect(address).unwrap();
    early.write_all(b"early").unwrap();
    let (seen, saw) = std::sync::mpsc::channel();
    let listener = Listener::from_socket(socket).name("theirs").on_accept(move |socket| {
        seen.send(socket.tcp_nodelay()?).unwrap();
        Ok(())
    });
    let pool = listening(listener).await.unwrap();
    assert_eq!((pool.local_addr(), &*pool.listeners()[0].name), (Some(address), "theirs"));
    connect(&pool).await.echo("hello").await;
    assert!(saw.recv().unwrap() && saw.recv().unwrap(), "nodelay as ever, of the one from before, too");
    let mut back = [0; 5];
    early.set_read_timeout(Some(TIME_LIMIT)).unwrap();
    in_time(tokio::task::spawn_blocking(move || {
        early.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"early");
    }))
    .await
    .unwrap();
    in_time(pool.stop(Duration::ZERO)).await;
    TcpListener::bind(address).expect("closed with the pool");
}

#[actix::test]
async fn sockets_of_std_and_tokio_become_listeners() {
    let folder = Folder::create();
    let (first, second) = (folder.path("std.sock"), folder.path("tokio.sock"));
    let listeners: [Listener; 4] = [
        TcpListener::bind("127.0.0.1:0").unwrap().into(),
        tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().try_into().unwrap(),
        UnixListener::bind(&first).unwrap().into(),
        tokio::net::UnixListener::bind(&second).unwrap().try_into().unwrap(),
    ];
    let builder = listeners.into_iter().fold(echo(), |builder, listener| builder.listener(listener));
    let pool = in_time(builder.start()).await.unwrap();
    for address in pool.local_addrs().iter().filter_map(|address| address.socket()) {
        Peer(tokio::net::TcpStream::connect(address).await.unwrap()).echo("over TCP").await;
    }
    for path in [&first, &second] {
        Peer(tokio::net::UnixStream::connect(path).await.unwrap()).echo("over a Unix socket").await;
    }
    assert_eq!(pool.info().accepted, 4);
    in_time(pool.stop(Duration::ZERO)).await;
    assert!(first.exists() && second.exists());
}

#[actix::test]
async fn an_inherited_unix_socket_keeps_its_file() {
    let folder = Folder::create();
    let path = folder.path("theirs.sock");
    let pool = listening(Listener::from_socket(UnixListener::bind(&path).unwrap())).await.unwrap();
    assert_eq!(pool.local_addrs()[0].url(), format!("unix://{}", path.display()));
    let stream = in_time(tokio::net::UnixStream::connect(&path)).await.unwrap();
    Peer(stream).echo("hello").await;
    in_time(pool.stop(Duration::ZERO)).await;
    assert!(path.exists());
    assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[actix::test]
async fn an_inherited_socket_can_be_held_but_not_closed_for_a_while() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let pool = listening(Listener::from_socket(socket)).await.unwrap();
    let error = in_time(pool.suspend(SuspendMode::Close)).await.unwrap_err();
    assert!(
        matches!(&error, SuspendError::Listener { source, .. } if source.kind() == ErrorKind::Unsupported),
        "{error}"
    );
    connect(&pool).await.echo("open as before").await;
    in_time(pool.suspend(SuspendMode::Hold)).await.unwrap();
    let mut held = connect(&pool).await;
    held.send("held").await;
    in_time(pool.resume()).await.unwrap();
    held.expect(b"held").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn what_is_not_a_listening_stream_socket_is_refused() {
    let folder = Folder::create();
    let path = folder.path("x.sock");
    let silent = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    silent.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let unix = || UnixListener::bind(folder.path(&format!("{}.sock", folder.files()))).unwrap();
    let tcp = || TcpListener::bind("127.0.0.1:0").unwrap();
    let datagrams = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    // Descriptors put into types that they do not belong to.
    let as_tcp = |fd: OwnedFd| Listener::from_socket(TcpListener::from(fd));
    let as_unix = |fd: OwnedFd| Listener::from_socket(UnixListener::from(fd));
    for (listener, why) in [
        (as_tcp(udp.into()), "not a stream socket"),
        (as_tcp(silent.into()), "does not listen"),
        (as_tcp(unix().into()), "not a TCP socket"),
        (as_unix(tcp().into()), "not a Unix socket"),
        (as_unix(datagrams.into()), "not a stream socket"),
        (as_tcp(std::fs::File::open("/dev/null").unwrap().into()), "ocket"),
        (Listener::from_socket(tcp()).reuse_port(true), "reuse_port"),
        (Listener::from_socket(unix()).mode(0o600), "mode"),
    ] {
        if why == "does not listen" && !cfg!(target_os = "linux") {
            continue;
        }
        let error = format!("{:?}", listening(listener).await.unwrap_err());
        assert!(error.contains(why), "{error}: {why}");
    }
}

/// Multipath TCP, if the kernel has it: the socket is made by the program, and the pool serves it as any other.
#[cfg(target_os = "linux")]
#[actix::test]
async fn a_multipath_tcp_socket_is_served() {
    use socket2::{Domain, Protocol, Socket, Type};
    let Ok(socket) = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP)) else { return };
    let local: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&local.into()).unwrap();
    socket.listen(1024).unwrap();
    let pool = listening(Listener::from_socket(TcpListener::from(socket))).await.unwrap();
    connect(&pool).await.echo("over one path").await;

    let peer = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP)).unwrap();
    peer.connect(&pool.local_addr().unwrap().into()).unwrap();
    peer.set_nonblocking(true).unwrap();
    let peer = tokio::net::TcpStream::from_std(TcpStream::from(peer)).unwrap();
    Peer(peer).echo("over several").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn an_inherited_socket_can_be_handed_over_again() {
    let mut pool = listening(Listener::tcp("127.0.0.1:0")).await.unwrap();
    let address = pool.local_addr();
    for _ in 0..3 {
        let mut sockets = pool.listening_sockets().unwrap();
        assert_eq!(sockets.len(), 1);
        let next = listening(Listener::from_socket(sockets.remove(0).socket)).await.unwrap();
        in_time(pool.drain(Drain::immediate().backlog_on_close(BacklogPolicy::Drop))).await;
        assert!(pool.listening_sockets().unwrap().is_empty(), "ended");
        connect(&next).await.echo("hello").await;
        assert_eq!(next.local_addr(), address);
        pool = next;
    }
}
