//! Listeners that stay open get what is asked for anew: name, limit, handshake, options; or an error names the setting.

use std::net::{SocketAddr, TcpStream as StdStream};
use std::sync::mpsc::{channel, Receiver};
use std::time::Duration;

use actix_acceptor::error::InvalidSetting;
use actix_acceptor::transport::Keepalive;
use actix_acceptor::{
    info::ListenersChanged, proxy::ProxyProtocol, tls::Tls, AcceptorPool, Connection, Listener, Pool, StartError,
    SuspendMode,
};
use support::pki::Pki;
use support::*;
use tokio::net::TcpStream;

async fn started(listeners: Vec<Listener>) -> Pool<Connection<Echo>> {
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(2);
    in_time(listeners.into_iter().fold(builder, |builder, listener| builder.listener(listener)).start()).await.unwrap()
}

fn anywhere(name: &str) -> Listener {
    Listener::tcp("127.0.0.1:0").name(name.to_owned())
}

fn port<A>(pool: &Pool<A>, index: usize) -> SocketAddr {
    pool.local_addrs()[index].socket().unwrap()
}

async fn set<A>(pool: &Pool<A>, listeners: Vec<Listener>) -> ListenersChanged {
    in_time(pool.set_listeners(listeners)).await.unwrap()
}

/// The setting that is refused, and why.
async fn refused<A>(pool: &Pool<A>, listeners: Vec<Listener>) -> (&'static str, String) {
    match in_time(pool.set_listeners(listeners)).await {
        Err(StartError::InvalidSetting(InvalidSetting { setting, why, .. })) => (setting, why.into_owned()),
        other => panic!("{other:?}"),
    }
}

fn names<A>(pool: &Pool<A>) -> Vec<String> {
    pool.listeners().iter().map(|listener| listener.name.to_string()).collect()
}

fn files(pki: &Pki, name: &str) -> Tls {
    let (cert, key) = pki.issue(name);
    Tls::rustls().files(cert, key).build().unwrap()
}

#[actix::test]
async fn an_open_port_asked_for_with_tls_no_longer_serves_plain() {
    let pki = Pki::generate();
    let proxy = ProxyProtocol::optional().trust("192.0.2.1").unwrap();
    let pool = started(vec![anywhere("one").proxy_protocol(proxy)]).await;
    let address = port(&pool, 0);
    let mut plain = connect(&pool).await;
    plain.echo("in clear").await;

    let changed = set(&pool, vec![Listener::tcp(address).name("one").tls(files(&pki, "first"))]).await;
    assert_eq!((&*changed.changed, changed.is_empty()), (&["one".to_owned()][..], false));
    assert!(pool.listeners()[0].tls && port(&pool, 0) == address);
    assert!(pki.connect(connect(&pool).await.0, "first").await.is_ok());
    let mut late = connect(&pool).await;
    late.send("in clear?").await;
    assert_ne!(late.until_gone().await, b"in clear?");

    // Other certificates; then none.
    set(&pool, vec![Listener::tcp(address).name("one").tls(files(&pki, "second"))]).await;
    assert!(pki.connect(connect(&pool).await.0, "first").await.is_err());
    assert!(pki.connect(connect(&pool).await.0, "second").await.is_ok());
    set(&pool, vec![Listener::tcp(address).name("one")]).await;
    connect(&pool).await.echo("in clear").await;
    assert!(!pool.listeners()[0].tls);
    plain.echo("live connections keep theirs").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn name_and_limit_of_an_open_listener_change() {
    let pool = started(vec![anywhere("before").max_connections(1)]).await;
    let address = port(&pool, 0);
    let mut first = connect(&pool).await;
    first.echo("first").await;
    let mut second = connect(&pool).await;
    second.send("second").await;
    second.expect_waiting().await;
    // One that waits is served as soon as there is room, under the new name.
    let changed = set(&pool, vec![Listener::tcp(address).name("after").max_connections(2)]).await;
    assert_eq!(changed.changed, ["after"]);
    second.expect(b"second").await;
    let listeners: Vec<_> = pool.list().iter().map(|connection| connection.listener.to_string()).collect();
    assert_eq!(listeners, ["before", "after"], "a live connection keeps its name");
    assert_eq!((names(&pool), pool.listeners()[0].max_connections), (vec!["after".to_owned()], Some(2)));

    // A lower limit ends no connection.
    set(&pool, vec![Listener::tcp(address).name("after").max_connections(1)]).await;
    let mut third = connect(&pool).await;
    third.send("third").await;
    drop(first);
    in_time(pool.wait_for(|connections| connections == 1, None)).await.unwrap();
    second.echo("still here").await;
    third.expect_waiting().await;
    // Without a limit there is only that of the pool; without a name it is the address.
    set(&pool, vec![Listener::tcp(address)]).await;
    third.expect(b"third").await;
    assert_eq!((names(&pool), pool.listeners()[0].max_connections), (vec![address.to_string()], None));
    assert_eq!(pool.listeners()[0].connections, 2);
    in_time(pool.stop(Duration::ZERO)).await;
    assert_eq!(pool.connections(), 0);
}

/// What the accepted sockets have: nodelay, keepalive.
fn reporting(listener: Listener) -> (Listener, Receiver<(bool, bool)>) {
    let (seen, saw) = channel();
    let listener = listener.on_accept(move |socket| {
        seen.send((socket.tcp_nodelay()?, socket.keepalive()?)).unwrap();
        Ok(())
    });
    (listener, saw)
}

#[actix::test]
async fn socket_options_of_an_open_listener_change() {
    let keepalive = Keepalive::time(Duration::from_secs(60)).interval(Duration::from_secs(9));
    let pool = started(vec![anywhere("one").keepalive(keepalive)]).await;
    let address = port(&pool, 0);
    let asked = || Listener::tcp(address).name("one");
    let variants = [
        (asked().nodelay(false).keepalive(keepalive), (false, true)),
        (asked().keepalive(keepalive), (true, true)),
        (asked(), (true, false)),
        (asked().keepalive(Keepalive::time(Duration::from_secs(5))), (true, true)),
    ];
    for (listener, expected) in variants {
        // Those in the queue have not inherited the new options.
        in_time(pool.suspend(SuspendMode::Hold)).await.unwrap();
        let mut queued = connect(&pool).await;
        let (listener, saw) = reporting(listener);
        assert_eq!(set(&pool, vec![listener]).await.changed, ["one"]);
        in_time(pool.resume()).await.unwrap();
        queued.echo("queued").await;
        connect(&pool).await.echo("later").await;
        for _ in 0..2 {
            assert_eq!(saw.recv_timeout(TIME_LIMIT).unwrap(), expected);
        }
    }
    in_time(pool.stop(Duration::ZERO)).await;
}

#[cfg(target_os = "linux")]
#[actix::test]
async fn the_backlog_of_an_open_listener_changes() {
    let pool = started(vec![anywhere("one")]).await;
    let address = port(&pool, 0);
    in_time(pool.suspend(SuspendMode::Hold)).await.unwrap();
    let asked = |backlog| Listener::tcp(address).name("one").backlog(backlog);
    // Linux queues one more than it was asked for.
    let queue = || StdStream::connect_timeout(&address, ms(300)).ok();
    set(&pool, vec![asked(1)]).await;
    let queued: Vec<_> = (0..4).filter_map(|_| queue()).collect();
    assert_eq!(queued.len(), 2);
    set(&pool, vec![asked(100)]).await;
    assert!(queue().is_some() && queue().is_some());
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_fixed_option_is_refused_and_nothing_changes() {
    let pool = started(vec![anywhere("fixed").send_buffer(20_000).on_bind(|_| Ok(())), anywhere("free")]).await;
    let (fixed, free) = (port(&pool, 0), port(&pool, 1));
    let all = || Listener::tcp(fixed).name("fixed").send_buffer(20_000).on_bind(|_| Ok(()));
    for (listener, setting) in [
        (all().reuse_port(true), "reuse_port"),
        #[cfg(target_os = "linux")]
        (all().multipath_tcp(actix_acceptor::transport::MultipathTcp::Try), "multipath_tcp"),
        (Listener::tcp(fixed).name("fixed").on_bind(|_| Ok(())), "send_buffer"),
        (Listener::tcp(fixed).name("fixed").send_buffer(20_000), "on_bind"),
    ] {
        let other = Listener::tcp(free).name("renamed").max_connections(3);
        let (named, why) = refused(&pool, vec![other, listener, anywhere("new")]).await;
        assert_eq!(named, setting);
        assert!(why.contains("\"fixed\"") && why.contains("add it again"), "{why}");
        assert_eq!(names(&pool), ["fixed", "free"]);
        assert_eq!(pool.listeners()[1].max_connections, None);
    }
    set(&pool, vec![all().send_buffer(40_000), Listener::tcp(free).name("free")]).await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn dual_stack_cannot_change_while_open() {
    if StdStream::connect("[::1]:1").is_err_and(|error| error.kind() != std::io::ErrorKind::ConnectionRefused) {
        return;
    }
    let pool = started(vec![Listener::tcp("[::]:0").name("v6").only_v6(false)]).await;
    let address = port(&pool, 0);
    let asked = |only| vec![Listener::tcp(address).name("v6").only_v6(only)];
    assert!(TcpStream::connect(("127.0.0.1", address.port())).await.is_ok());
    assert_eq!(refused(&pool, asked(true)).await.0, "only_v6");
    assert!(set(&pool, asked(false)).await.is_empty());
    // Once closed, it is opened as asked.
    in_time(pool.suspend(SuspendMode::Close)).await.unwrap();
    assert_eq!(set(&pool, asked(true)).await.changed, ["v6"]);
    in_time(pool.resume()).await.unwrap();
    assert!(TcpStream::connect(("::1", address.port())).await.is_ok());
    assert_eq!(refused(&pool, asked(false)).await.0, "only_v6");
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_change_that_fails_is_taken_back() {
    let pool = started(vec![anywhere("one"), anywhere("two")]).await;
    let (one, two) = (port(&pool, 0), port(&pool, 1));
    let (reports, saw) = reporting(Listener::tcp(one).name("one"));
    set(&pool, vec![reports, Listener::tcp(two).name("two")]).await;
    let fails = Listener::tcp(two).name("two").on_bind(|_| Err(std::io::ErrorKind::PermissionDenied.into()));
    let changes = Listener::tcp(one).name("other").nodelay(false);
    match in_time(pool.set_listeners(vec![changes, fails])).await {
        Err(StartError::SystemError { what, source }) => {
            assert!(what.contains("on_bind") && what.contains("\"two\""), "{what}");
            assert_eq!(source.kind(), std::io::ErrorKind::PermissionDenied);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(names(&pool), ["one", "two"]);
    connect(&pool).await.echo("as before").await;
    assert_eq!(saw.recv_timeout(TIME_LIMIT).unwrap(), (true, false));
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn the_same_listeners_again_change_nothing() {
    logs::listen();
    let (pki, folder) = (Pki::generate(), Folder::create());
    let (tls, path) = (files(&pki, "localhost"), folder.path("socket"));
    let proxy = || ProxyProtocol::required().trust("192.0.2.0/24").unwrap();
    let builder = AcceptorPool::with_protocol(|_| Echo).name("same again");
    let unix = || Listener::unix(&path).mode(0o600).name("unix");
    let tcp = |address: &str| Listener::tcp(address).name("tcp").max_connections(9).tls(tls.clone());
    let pool = builder.listener(tcp("127.0.0.1:0").proxy_protocol(proxy())).listener(unix()).start().await.unwrap();
    let address = port(&pool, 0).to_string();
    for listener in [tcp(&address).nodelay(true).backlog(1024), tcp("127.0.0.1:0").reuse_port(false)] {
        let changed = set(&pool, vec![listener.proxy_protocol(proxy()), unix()]).await;
        assert!(changed.is_empty(), "{changed:?}");
        assert_eq!(changed.unchanged, ["tcp", "unix"]);
    }
    let logged = || logs::lines(|line| line.is("pool", "same again") && line.message() == "listeners replaced").len();
    assert_eq!(logged(), 0);
    set(&pool, vec![tcp(&address), unix()]).await;
    assert_eq!(logged(), 1);
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_named_listener_keeps_the_port_that_the_system_chose() {
    let pool = started(vec![anywhere("a"), anywhere("b"), anywhere("b")]).await;
    let before: Vec<_> = (0..3).map(|index| port(&pool, index)).collect();
    // In another order, and one of them with another limit.
    let changed = set(&pool, vec![anywhere("b"), anywhere("b").max_connections(5), anywhere("a"), anywhere("c")]).await;
    let after: Vec<_> = (0..4).map(|index| port(&pool, index)).collect();
    assert_eq!(after[..3], [before[1], before[2], before[0]]);
    assert_eq!((changed.added, changed.changed), (vec!["c".to_owned()], vec!["b".to_owned()]));
    // Without a name, port 0 is a new port.
    set(&pool, vec![Listener::tcp("127.0.0.1:0")]).await;
    let unnamed = port(&pool, 0);
    set(&pool, vec![Listener::tcp("127.0.0.1:0")]).await;
    assert!(!after.contains(&unnamed) && port(&pool, 0) != unnamed);
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn no_connect_is_refused_while_an_open_listener_changes() {
    let pki = Pki::generate();
    let tls = files(&pki, "localhost");
    let pool = started(vec![anywhere("0")]).await;
    let address = port(&pool, 0);
    let connecting = std::thread::spawn(move || (0..500).filter(|_| StdStream::connect(address).is_err()).count());
    let mut round = 0;
    while !connecting.is_finished() {
        round += 1;
        let asked = Listener::tcp(address).name(round.to_string()).backlog(round % 7 + 512).nodelay(round % 2 == 0);
        set(&pool, vec![if round % 3 == 0 { asked.tls(tls.clone()) } else { asked }]).await;
    }
    assert_eq!((connecting.join().unwrap(), round > 1), (0, true));
    eventually(|| pool.info().connections == 0).await;
    let info = pool.info();
    assert_eq!(info.accepted, info.refused.total() + info.closed.total());
    in_time(pool.stop(Duration::ZERO)).await;
}

#[cfg(unix)]
#[actix::test]
async fn the_mode_of_an_open_unix_listener_changes() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let folder = Folder::create();
    let path = folder.path("socket");
    let pool = started(vec![Listener::unix(&path).name("unix")]).await;
    let file = || std::fs::metadata(&path).unwrap();
    let (mode, number) = (file().permissions().mode(), file().ino());
    let asked = || Listener::unix(&path).name("unix");
    for (listener, expected) in [(asked().mode(0o600), 0o140_600), (asked().mode(0o660), 0o140_660), (asked(), mode)] {
        assert_eq!(set(&pool, vec![listener]).await.changed, ["unix"]);
        assert_eq!((file().permissions().mode(), file().ino()), (expected, number));
    }
    // Another file has taken its place: that one is left alone.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "another").unwrap();
    let theirs = file().permissions().mode();
    match in_time(pool.set_listeners(vec![asked().mode(0o600)])).await {
        Err(StartError::SystemError { what, source }) => {
            assert!(what.contains("mode") && what.contains("\"unix\""), "{what}");
            assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(file().permissions().mode(), theirs);
    in_time(pool.stop(Duration::ZERO)).await;
    assert!(path.exists());
}
