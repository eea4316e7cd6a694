//! Unix sockets: the file's whole life, names of Linux's own, who is at the other end.

#![cfg(unix)]

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::error::InvalidSetting;
use actix_acceptor::transport::{Transport, Unix, UnixAddress};
use actix_acceptor::{
    error::SuspendError, handlers::ProtocolService, transport::Address, AcceptorPool, Builder, Connection, Framing,
    Listener, Pool, StartError, SuspendMode,
};
use support::*;
use tokio::net::UnixStream;

fn echo() -> Builder<ProtocolService<Echo>> {
    AcceptorPool::with_protocol(|_| Echo).framing(Framing::raw()).acceptors(2)
}

async fn listening(listener: Listener) -> Result<Pool<Connection<Echo>>, StartError> {
    in_time(echo().listener(listener).start()).await
}

async fn dial(path: &Path) -> Peer<UnixStream> {
    Peer(in_time(UnixStream::connect(path)).await.unwrap())
}

async fn stop<A: 'static>(pool: Pool<A>) {
    in_time(pool.stop(Duration::ZERO)).await;
}

fn address_in(path: &Path) -> Address {
    Address::Unix(UnixAddress::path(path))
}

#[actix::test]
async fn a_unix_socket_file_is_removed_at_the_end() {
    let folder = Folder::create();
    let path = folder.path("echo.sock");
    let pool = listening(Listener::unix(&path)).await.unwrap();
    assert_eq!(pool.local_addrs(), [address_in(&path)]);
    assert_eq!(pool.local_addrs()[0].url(), format!("unix://{}", path.display()));
    assert_eq!(pool.name(), path.to_str().unwrap());
    let mut peer = dial(&path).await;
    peer.echo("hello").await;
    assert_eq!(pool.list()[0].peer, Address::Unix(UnixAddress::Unnamed));
    let megabyte: Vec<u8> = (0..1 << 20).map(|n: u32| n as u8).collect();
    let (mut read, mut write) = tokio::io::split(peer.0);
    let sending = tokio::io::AsyncWriteExt::write_all(&mut write, &megabyte);
    let mut back = vec![0; megabyte.len()];
    let receiving = tokio::io::AsyncReadExt::read_exact(&mut read, &mut back);
    in_time(async { tokio::try_join!(sending, receiving).unwrap() }).await;
    assert!(back == megabyte);
    stop(pool).await;
    assert_eq!(folder.files(), 0, "the file is gone");
}

#[actix::test]
async fn a_stale_socket_file_is_removed() {
    let folder = Folder::create();
    let path = folder.path("stale.sock");
    drop(StdListener::bind(&path).unwrap());
    assert!(path.exists(), "std leaves it behind");
    let pool = listening(Listener::unix(&path)).await.unwrap();
    dial(&path).await.echo("alive").await;
    stop(pool).await;
    assert_eq!(folder.files(), 0);
}

#[actix::test]
async fn a_live_socket_file_fails_the_start() {
    let folder = Folder::create();
    let path = folder.path("live.sock");
    let first = listening(Listener::unix(&path)).await.unwrap();
    let error = listening(Listener::unix(&path)).await.unwrap_err();
    let text = format!("{error:?}");
    assert!(text.contains(path.to_str().unwrap()) && text.contains("a process listens there"), "{text}");
    assert!(matches!(error, StartError::SystemError { source, .. } if source.kind() == ErrorKind::AddrInUse));
    dial(&path).await.echo("the first one goes on").await;
    stop(first).await;
    // One whose queue is full lives as well, and so does one of another type.
    let full = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    full.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    full.listen(0).unwrap();
    let _in_queue: Vec<_> = std::iter::from_fn(|| {
        let peer = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        peer.set_nonblocking(true).unwrap();
        peer.connect(&socket2::SockAddr::unix(&path).unwrap()).ok().map(|()| peer)
    })
    .take(100)
    .collect();
    assert_eq!(Unix::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
    let datagrams = folder.path("datagrams.sock");
    let _datagrams = std::os::unix::net::UnixDatagram::bind(&datagrams).unwrap();
    assert_eq!(Unix::bind(&datagrams).unwrap_err().kind(), ErrorKind::AddrInUse);
    assert!(path.exists() && datagrams.exists());
}

#[actix::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let folder = Folder::create();
    let (file, link) = (folder.path("diary.txt"), folder.path("link"));
    fs::write(&file, "precious").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    for path in [&file, &link] {
        let error = format!("{:?}", listening(Listener::unix(path)).await.unwrap_err());
        assert!(error.contains("not a socket"), "{error}");
    }
    assert_eq!(fs::read_to_string(&link).unwrap(), "precious");
    let error = listening(Listener::unix(folder.path("nowhere/echo.sock"))).await.unwrap_err();
    assert!(matches!(error, StartError::SystemError { source, .. } if source.raw_os_error() == Some(2)));
    let long = folder.path(&"x".repeat(200));
    assert!(listening(Listener::unix(&long)).await.unwrap_err().to_string().contains("xxx"));
}

#[actix::test]
async fn mode_and_owner_are_set_before_listen() {
    let folder = Folder::create();
    let path = folder.path("private.sock");
    let (seen, saw) = channel();
    let looks_at = path.clone();
    let own = fs::metadata(folder.as_ref()).unwrap();
    let listener = Listener::unix(&path).mode(0o600).owner(own.uid(), own.gid()).on_bind(move |_| {
        let mode = fs::metadata(&looks_at).unwrap().permissions().mode() & 0o777;
        let early = StdStream::connect(&looks_at).map(|_| ()).unwrap_err().kind();
        seen.send((mode, early)).unwrap();
        Ok(())
    });
    let pool = listening(listener).await.unwrap();
    assert_eq!(saw.recv().unwrap(), (0o600, ErrorKind::ConnectionRefused));
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    stop(pool).await;
    // Root alone may give a socket away.
    let given = listening(Listener::unix(&path).owner(12_345, 23_456).mode(0o666)).await;
    if own.uid() == 0 {
        let file = fs::metadata(&path).unwrap();
        assert_eq!((file.uid(), file.gid(), file.mode() & 0o777), (12_345, 23_456, 0o666));
        stop(given.unwrap()).await;
    } else {
        let error = format!("{:?}", given.unwrap_err());
        assert!(error.contains("its owner"), "{error}");
    }
    assert_eq!(folder.files(), 0, "also after a failure");
}

#[actix::test]
async fn a_replaced_socket_file_is_not_removed() {
    let folder = Folder::create();
    let path = folder.path("mine.sock");
    let pool = listening(Listener::unix(&path)).await.unwrap();
    fs::remove_file(&path).unwrap();
    let _theirs = StdListener::bind(&path).unwrap();
    stop(pool).await;
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
    StdStream::connect(&path).unwrap();
}

#[actix::test]
async fn a_suspension_removes_and_restores_the_file() {
    let folder = Folder::create();
    let path = folder.path("pause.sock");
    let pool = listening(Listener::unix(&path).mode(0o620)).await.unwrap();
    let mut old = dial(&path).await;
    old.echo("before").await;
    in_time(pool.suspend(SuspendMode::Close)).await.unwrap();
    assert!(!path.exists());
    old.echo("connections go on").await;
    in_time(pool.resume()).await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o620);
    dial(&path).await.echo("after").await;
    in_time(pool.suspend(SuspendMode::Hold)).await.unwrap();
    let mut held = dial(&path).await;
    held.send("held").await;
    assert_eq!(pool.info().accepted, 2);
    in_time(pool.resume()).await.unwrap();
    held.expect(b"held").await;
    // Somebody else has the place by then: an error that names it, and the pool stays as it was.
    in_time(pool.suspend(SuspendMode::Close)).await.unwrap();
    let theirs = StdListener::bind(&path).unwrap();
    let error = in_time(pool.resume()).await.unwrap_err();
    assert!(
        matches!(&error, SuspendError::Listener { address, .. } if *address == path.display().to_string()),
        "{error}"
    );
    drop(theirs);
    in_time(pool.resume()).await.unwrap();
    dial(&path).await.echo("again").await;
    stop(pool).await;
}

#[actix::test]
async fn an_unchanged_listener_keeps_its_file() {
    let folder = Folder::create();
    let (one, two) = (folder.path("one"), folder.path("two"));
    let pool = listening(Listener::unix(&one)).await.unwrap();
    let number = fs::metadata(&one).unwrap().ino();
    in_time(pool.set_listeners(vec![Listener::unix(&one), Listener::unix(&two)])).await.unwrap();
    assert_eq!(fs::metadata(&one).unwrap().ino(), number);
    dial(&two).await.echo("two").await;
    in_time(pool.set_listeners(vec![Listener::unix(&two)])).await.unwrap();
    eventually(|| !one.exists()).await;
    dial(&two).await.echo("two").await;
    // All or none: what was opened for nothing leaves no file.
    let error = in_time(pool.set_listeners(vec![Listener::unix(&one), Listener::unix(folder.path("no/three"))])).await;
    assert!(error.unwrap_err().to_string().contains("no/three"));
    assert!(!one.exists());
    stop(pool).await;
}

#[actix::test]
async fn of_concurrent_starts_one_listens() {
    let folder = Folder::create();
    for round in 0..20 {
        let path = Arc::new(folder.path(&format!("{round}.sock")));
        // A stale one to fight over.
        drop(StdListener::bind(&*path).unwrap());
        let binding = (0..4).map(|_| {
            let path = path.clone();
            tokio::task::spawn_blocking(move || Unix::bind(&*path))
        });
        let mut bound = Vec::new();
        for outcome in in_time(futures::future::join_all(binding)).await {
            bound.extend(outcome.unwrap().ok());
        }
        assert_eq!(bound.len(), 1);
        StdStream::connect(&*path).unwrap();
    }
}

#[actix::test]
async fn tcp_settings_are_refused_for_unix() {
    let folder = Folder::create();
    let at = || Listener::unix(folder.path("x"));
    for (listener, named) in [
        (at().nodelay(true), "nodelay"),
        (at().only_v6(true), "only_v6"),
        (at().reuse_port(true), "reuse_port"),
        (at().mode(0o10_000), "mode"),
        (at().backlog(0), "backlog"),
        (Listener::tcp("127.0.0.1:0").mode(0o600), "mode"),
        (Listener::tcp("127.0.0.1:0").owner(0, None), "owner"),
        (Listener::from_transport(Unix::bind(folder.path("y")).unwrap()).backlog(5), "backlog"),
    ] {
        let error = listening(listener).await.unwrap_err();
        assert!(
            matches!(error, StartError::InvalidSetting(InvalidSetting { setting, .. }) if setting == named),
            "{error}: {named}"
        );
    }
    assert_eq!(folder.files(), 0, "nothing was opened, or it is closed again");
}

#[actix::test]
async fn buffers_and_the_hook_reach_accepted_sockets() {
    let folder = Folder::create();
    let path = folder.path("hook.sock");
    let (seen, saw) = channel();
    let listener = Listener::unix(&path).send_buffer(32 * 1024).on_accept(move |socket| {
        seen.send(socket.send_buffer_size().unwrap()).unwrap();
        Ok(())
    });
    let pool = listening(listener).await.unwrap();
    dial(&path).await.echo("hooked").await;
    let bytes = saw.recv_timeout(TIME_LIMIT).unwrap();
    assert!((32 * 1024..=64 * 1024).contains(&bytes), "{bytes}");
    stop(pool).await;
}

#[cfg(target_os = "linux")]
#[actix::test]
async fn an_abstract_name_needs_no_file() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("actix-acceptor-test-{}", std::process::id());
    let there = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let connect = || async {
        let stream = StdStream::connect_addr(&there).unwrap();
        stream.set_nonblocking(true).unwrap();
        Peer(UnixStream::from_std(stream).unwrap())
    };
    let pool = listening(Listener::unix_abstract(&name)).await.unwrap();
    assert_eq!(pool.local_addrs()[0].url(), format!("unix:@{name}"));
    connect().await.echo("by name").await;
    let error = format!("{:?}", listening(Listener::unix_abstract(&name)).await.unwrap_err());
    assert!(error.contains(&format!("@{name}")) && error.contains("in use"), "{error}");
    in_time(pool.suspend(SuspendMode::Close)).await.unwrap();
    assert_eq!(StdStream::connect_addr(&there).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    in_time(pool.resume()).await.unwrap();
    connect().await.echo("again").await;
    stop(pool).await;
    assert!(StdStream::connect_addr(&there).is_err());
    assert!(listening(Listener::unix_abstract("")).await.is_err());
}

#[actix::test]
async fn an_open_unix_listener_can_be_used() {
    let folder = Folder::create();
    let path = folder.path("open.sock");
    let unix = Unix::bind(&path).unwrap();
    assert_eq!(unix.local_addr(), address_in(&path));
    let pool = in_time(echo().listen(unix)).await.unwrap();
    dial(&path).await.echo("open").await;
    stop(pool).await;
    assert!(!path.exists());
}

/// Connects from a socket whose path fills the whole address, without a NUL at its end. The kernel allows that.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn dial_from_the_longest_path(path: &Path, folder: &Folder, number: usize) -> socket2::Socket {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    let mut address = libc::sockaddr_un { sun_family: libc::AF_UNIX as _, sun_path: [b'x' as _; 108] };
    let name = folder.path(&format!("{number}"));
    let name = std::os::unix::ffi::OsStrExt::as_bytes(name.as_os_str());
    address.sun_path.iter_mut().zip(name).for_each(|(to, from)| *to = *from as _);
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the descriptor is open, and `address` is a valid `sockaddr_un` of this length.
    let bound = unsafe { libc::bind(std::os::fd::AsRawFd::as_raw_fd(&socket), (&raw const address).cast(), length) };
    assert_eq!(bound, 0, "{}", std::io::Error::last_os_error());
    socket.connect(&socket2::SockAddr::unix(path).unwrap()).unwrap();
    socket
}

#[cfg(target_os = "linux")]
#[actix::test]
async fn a_client_with_the_longest_path_is_served() {
    let folder = Folder::create();
    let path = folder.path("s");
    let pool = listening(Listener::unix(&path)).await.unwrap();
    let _clients: Vec<_> = (0..6).map(|number| dial_from_the_longest_path(&path, &folder, number)).collect();
    in_time(pool.wait_for(|connections| connections == 6, None)).await.unwrap();
    assert!(pool.list().iter().all(|connection| connection.peer.to_string().len() == 108), "{:?}", pool.list());
    dial(&path).await.echo("still here").await;
    assert_eq!(pool.info().acceptors.iter().map(|acceptor| acceptor.restarts).sum::<u64>(), 0);
    stop(pool).await;
}
