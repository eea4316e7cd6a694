//! TCP listener settings, several addresses of one name, and the report of all failures.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::time::Duration;

use actix_acceptor::error::InvalidSetting;
use actix_acceptor::transport::Keepalive;
use actix_acceptor::{
    error::SuspendError, handlers::ProtocolService, AcceptorPool, Builder, Connection, Framing, Listener, Pool,
    StartError, SuspendMode,
};
use support::*;

fn echo() -> Builder<ProtocolService<Echo>> {
    AcceptorPool::with_protocol(|_| Echo).framing(Framing::raw()).acceptors(1)
}

async fn listening(listener: Listener) -> Result<Pool<Connection<Echo>>, StartError> {
    in_time(echo().listener(listener).start()).await
}

async fn stop<A: 'static>(pool: Pool<A>) {
    in_time(pool.stop(Duration::ZERO)).await;
}

fn has_ipv6() -> bool {
    TcpListener::bind("[::1]:0").is_ok()
}

/// What an accepted socket has, as the hook sees it.
async fn accepted_has<T: Send + 'static>(
    listener: Listener,
    look: impl Fn(socket2::SockRef<'_>) -> io::Result<T> + Send + Sync + 'static,
) -> T {
    let (seen, saw) = channel();
    let pool = listening(listener.on_accept(move |socket| {
        seen.send(look(socket)?).unwrap();
        Ok(())
    }));
    let pool = pool.await.unwrap();
    connect(&pool).await.echo("seen").await;
    stop(pool).await;
    saw.recv_timeout(TIME_LIMIT).unwrap()
}

fn local() -> Listener {
    Listener::tcp("127.0.0.1:0")
}

#[actix::test]
async fn nodelay_is_on_by_default() {
    assert!(accepted_has(local(), |socket| socket.tcp_nodelay()).await);
    assert!(!accepted_has(local().nodelay(false), |socket| socket.tcp_nodelay()).await);
}

#[actix::test]
async fn keepalive_is_off_by_default() {
    assert!(!accepted_has(local(), |socket| socket.keepalive()).await);
    let seconds = Duration::from_secs;
    let keepalive = Keepalive::time(seconds(61)).interval(seconds(7)).retries(3);
    assert!(accepted_has(local().keepalive(keepalive), |socket| socket.keepalive()).await);
    #[cfg(target_os = "linux")]
    {
        let listener = local().keepalive(keepalive);
        let look = |socket: socket2::SockRef<'_>| {
            Ok((socket.tcp_keepalive_time()?, socket.tcp_keepalive_interval()?, socket.tcp_keepalive_retries()?))
        };
        assert_eq!(accepted_has(listener, look).await, (seconds(61), seconds(7), 3));
    }
}

#[cfg(target_os = "linux")]
#[actix::test]
async fn buffer_sizes_are_applied() {
    let listener = local().send_buffer(48 * 1024).receive_buffer(24 * 1024);
    let look = |socket: socket2::SockRef<'_>| Ok((socket.send_buffer_size()?, socket.recv_buffer_size()?));
    // Linux doubles them, for its own needs.
    assert_eq!(accepted_has(listener, look).await, (96 * 1024, 48 * 1024));
}

#[cfg(target_os = "linux")]
#[actix::test]
async fn the_backlog_bounds_waiting_peers() {
    for (listener, all_wait) in [(local(), true), (local().backlog(3), false)] {
        let pool = listening(listener).await.unwrap();
        in_time(pool.suspend(SuspendMode::Hold)).await.unwrap();
        let address = pool.local_addr().unwrap();
        // Linux queues one more than the backlog.
        let limit = if all_wait { TIME_LIMIT } else { Duration::from_millis(300) };
        let waiting = in_time(tokio::task::spawn_blocking(move || {
            let waiting: Vec<_> = (0..4).map(|_| TcpStream::connect_timeout(&address, TIME_LIMIT).unwrap()).collect();
            (waiting, TcpStream::connect_timeout(&address, limit))
        }));
        let (_waiting, fifth) = waiting.await.unwrap();
        assert_eq!(fifth.is_ok(), all_wait, "{fifth:?}");
        stop(pool).await;
    }
}

#[actix::test]
async fn invalid_tcp_settings_are_refused_before_bind() {
    let zero = Duration::ZERO;
    for (listener, named) in [
        (local().backlog(0), "backlog"),
        (local().backlog(u32::MAX), "backlog"),
        (local().keepalive(Keepalive::time(zero)), "keepalive"),
        (local().keepalive(Keepalive::time(Duration::from_secs(1)).interval(zero)), "keepalive"),
        (local().keepalive(Keepalive::time(Duration::from_secs(1)).retries(0)), "keepalive"),
        (local().send_buffer(0), "send_buffer"),
        (local().receive_buffer(0), "receive_buffer"),
        (local().max_connections(0), "max_connections"),
        (Listener::from_transport(ScriptedTransport::in_memory().0).nodelay(true), "nodelay"),
        (Listener::from_transport(ScriptedTransport::in_memory().0).on_accept(|_| Ok(())), "on_accept"),
    ] {
        // Would be in the way if it were opened.
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let first = Listener::tcp(taken.local_addr().unwrap());
        let error = in_time(echo().listener(first).listener(listener).start()).await.unwrap_err();
        assert!(
            matches!(error, StartError::InvalidSetting(InvalidSetting { setting, .. }) if setting == named),
            "{error}: {named}"
        );
    }
}

#[cfg(target_os = "linux")]
#[actix::test]
async fn with_reuse_port_two_pools_share_a_port() {
    let first = listening(local().reuse_port(true)).await.unwrap();
    let port = first.local_addr().unwrap();
    let second = listening(Listener::tcp(port).reuse_port(true)).await.unwrap();
    let error = listening(Listener::tcp(port)).await.unwrap_err();
    assert!(format!("{error:?}").contains("in use"), "{error:?}");
    stop(first).await;
    connect(&second).await.echo("the other one").await;
    stop(second).await;
}

#[actix::test]
async fn an_ipv6_socket_accepts_ipv4_by_choice() {
    if !has_ipv6() {
        return;
    }
    for only in [true, false] {
        let pool = listening(Listener::tcp("[::]:0").only_v6(only)).await.unwrap();
        let port = pool.local_addr().unwrap().port();
        let four = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), TIME_LIMIT);
        assert_eq!(four.is_err(), only);
        TcpStream::connect(("::1", port)).unwrap();
        stop(pool).await;
    }
}

#[actix::test]
async fn the_bind_hook_runs_between_bind_and_listen() {
    let (seen, saw) = channel();
    let listener = local().on_bind(move |socket| {
        let address = socket.local_addr()?.as_socket().unwrap();
        let early = TcpStream::connect_timeout(&address, TIME_LIMIT).map(drop).unwrap_err().kind();
        seen.send((address, early)).unwrap();
        Ok(())
    });
    let pool = listening(listener).await.unwrap();
    let (address, early) = saw.recv().unwrap();
    assert_eq!((pool.local_addr(), early), (Some(address), ErrorKind::ConnectionRefused));
    // Again when the port is opened anew.
    in_time(pool.suspend(SuspendMode::Close)).await.unwrap();
    assert!(saw.try_recv().is_err());
    in_time(pool.resume()).await.unwrap();
    assert_eq!(saw.try_recv().unwrap().0, address);
    stop(pool).await;
}

#[actix::test]
async fn a_bind_hook_error_fails_the_start() {
    let refusing = local().on_bind(|_| Err(io::Error::new(ErrorKind::PermissionDenied, "not today")));
    let panicking = local().on_bind(|_| panic!("not at all"));
    for (listener, text) in [(refusing, "not today"), (panicking, "not at all")] {
        let error = format!("{:?}", listening(listener).await.unwrap_err());
        assert!(error.contains("127.0.0.1:0") && error.contains(text), "{error}");
    }
    // A pool survives one that fails at its resume.
    let times = std::sync::atomic::AtomicU32::new(0);
    let listener = local().on_bind(move |_| match times.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        1 => panic!("the second time"),
        _ => Ok(()),
    });
    let pool = listening(listener).await.unwrap();
    in_time(pool.suspend(SuspendMode::Close)).await.unwrap();
    assert!(matches!(in_time(pool.resume()).await, Err(SuspendError::Listener { .. })));
    in_time(pool.resume()).await.unwrap();
    connect(&pool).await.echo("third time lucky").await;
    stop(pool).await;
}

#[actix::test]
async fn a_peer_the_accept_hook_refuses_is_closed() {
    let times = std::sync::atomic::AtomicU32::new(0);
    let listener = local().on_accept(move |_| match times.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0 => Err(io::Error::from_raw_os_error(24)),
        1 => panic!("not this one"),
        _ => Ok(()),
    });
    let pool = listening(listener).await.unwrap();
    for _ in 0..2 {
        assert_eq!(connect(&pool).await.until_gone().await, b"");
    }
    let mut third = connect(&pool).await;
    third.echo("the third").await;
    let info = pool.info();
    assert_eq!((info.accepted, info.connections, info.acceptors[0].restarts), (1, 1, 0));
    stop(pool).await;
}

#[actix::test]
async fn all_addresses_of_a_name_have_one_port() {
    let pool = listening(Listener::tcp_all("localhost:0").max_connections(10)).await.unwrap();
    let addresses: Vec<_> = pool.local_addrs().iter().map(|address| address.socket().unwrap()).collect();
    let resolved: std::collections::BTreeSet<_> =
        std::net::ToSocketAddrs::to_socket_addrs("localhost:0").unwrap().collect();
    assert_eq!(addresses.len(), resolved.len(), "{addresses:?}");
    for address in &addresses {
        assert_eq!(address.port(), addresses[0].port());
        assert_ne!(address.port(), 0);
        TcpStream::connect(address).unwrap();
    }
    let names: Vec<_> = pool.listeners().iter().map(|listener| listener.name.to_string()).collect();
    assert_eq!(names, addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>());
    // Listeners that are named again stay; the others close.
    let named = format!("localhost:{}", addresses[0].port());
    in_time(pool.set_listeners(vec![Listener::tcp_all(&named)])).await.unwrap();
    assert_eq!(pool.local_addrs().len(), addresses.len());
    in_time(pool.set_listeners(vec![Listener::tcp(addresses[0])])).await.unwrap();
    assert_eq!(pool.local_addrs().len(), 1);
    connect(&pool).await.echo("still there").await;
    stop(pool).await;
}

#[actix::test]
async fn all_addresses_of_a_name_or_none() {
    let several = std::net::ToSocketAddrs::to_socket_addrs("localhost:0").unwrap().count() > 1;
    if !several || !has_ipv6() {
        return;
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = format!("{:?}", listening(Listener::tcp_all(format!("localhost:{port}"))).await.unwrap_err());
    assert!(error.contains(&format!("127.0.0.1:{port}")) && error.contains("in use"), "{error}");
    TcpListener::bind(("::1", port)).expect("the other one is not open");
}

#[actix::test]
async fn with_best_effort_what_can_be_bound_is_bound() {
    let resolved: Vec<_> = std::net::ToSocketAddrs::to_socket_addrs("localhost:0").unwrap().collect();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let listener = || Listener::tcp_all(format!("localhost:{port}")).best_effort(true);
    if resolved.iter().any(SocketAddr::is_ipv6) && has_ipv6() {
        let pool = listening(listener()).await.unwrap();
        let six: SocketAddr = format!("[::1]:{port}").parse().unwrap();
        assert_eq!(pool.local_addrs(), [actix_acceptor::transport::Address::Tcp(six)]);
        // The port is free now: the skipped address is opened, the other one stays open.
        drop(taken);
        let changed = in_time(pool.set_listeners(vec![listener()])).await.unwrap();
        assert_eq!((changed.added, changed.unchanged), (vec![format!("127.0.0.1:{port}")], vec![six.to_string()]));
        stop(pool).await;
    }
    let all: Vec<_> = resolved.iter().filter_map(|address| TcpListener::bind((address.ip(), port)).ok()).collect();
    let error = listening(listener()).await.unwrap_err().to_string();
    assert!(error.contains(&format!("127.0.0.1:{port}")) || error.contains("localhost"), "{error}");
    drop(all);
    let error = listening(Listener::tcp("127.0.0.1:0").best_effort(true)).await.unwrap_err().to_string();
    assert!(error.contains("best_effort") && error.contains("tcp_all"), "{error}");
}

#[actix::test]
async fn every_listener_that_fails_to_open_is_named() {
    let taken: Vec<_> = (0..2).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let taken: Vec<_> =
        taken.iter().map(|socket| socket.local_addr().unwrap()).collect::<Vec<_>>().into_iter().zip(taken).collect();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let builder = echo().listener(Listener::tcp(taken[0].0)).listener(Listener::tcp(free));
    let error = in_time(builder.listener(Listener::tcp(taken[1].0)).start()).await.unwrap_err();
    let StartError::Several(each) = &error else { panic!("{error}") };
    assert_eq!(each.len(), 2);
    for (address, _) in &taken {
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
    for error in each {
        assert!(matches!(error, StartError::SystemError { source, .. } if source.raw_os_error().is_some()));
    }
    TcpListener::bind(free).expect("the one between is closed again");
}
