//! The start of a pool: an open port, or a reason and nothing left behind.

use std::error::Error as _;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use actix_acceptor::error::InvalidSetting;
use actix_acceptor::transport::{Memory, Tcp};
use actix_acceptor::{
    handlers::ProtocolService, transport::Address, AcceptorPool, Builder, Connection, Framing, Listener, Pool,
    StartError,
};
use support::*;
use tokio::net::TcpStream;

fn echo() -> Builder<ProtocolService<Echo>> {
    AcceptorPool::with_protocol(|_| Echo)
}

fn port() -> Tcp {
    Tcp::bind("127.0.0.1:0".parse().unwrap()).unwrap()
}

fn address(tcp: &Tcp) -> SocketAddr {
    actix_acceptor::transport::Transport::local_addr(tcp).socket().unwrap()
}

type Started = Result<Pool<Connection<Echo>>, StartError>;

#[actix::test]
async fn after_start_the_port_is_open_at_its_real_address() {
    let pool = echo().bind("127.0.0.1:0").await.unwrap();
    let address = pool.local_addr().unwrap();
    assert_ne!(address.port(), 0);
    assert_eq!(pool.local_addrs(), [Address::Tcp(address)]);
    assert_eq!(pool.name(), address.to_string(), "the default name");
    assert!(TcpListener::bind(address).is_err(), "the port is taken");
    connect(&pool).await.echo("at once").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn addresses_are_accepted_in_every_form() {
    let pool = echo().bind(("127.0.0.1", 0)).await.unwrap();
    connect(&pool).await.echo("a pair").await;
    in_time(pool.stop(Duration::ZERO)).await;
    let pool = echo().bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    connect(&pool).await.echo("a socket address").await;
    in_time(pool.stop(Duration::ZERO)).await;
    if TcpListener::bind("[::1]:0").is_ok() {
        let pool = echo().bind("[::1]:0").await.unwrap();
        assert!(pool.local_addr().unwrap().is_ipv6());
        connect(&pool).await.echo("the other family").await;
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

#[actix::test]
async fn the_first_bindable_address_is_used() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = [taken.local_addr().unwrap(), "127.0.0.1:0".parse().unwrap()];
    let pool = echo().bind(&addresses[..]).await.unwrap();
    assert_ne!(pool.local_addr().unwrap(), addresses[0]);
    connect(&pool).await.echo("the second one").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn an_address_in_use_is_named_with_its_cause() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = echo().bind(&*address).await.unwrap_err();
    assert!(error.to_string().contains(&address), "{error}");
    let source = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!((source.kind(), source.raw_os_error().is_some()), (ErrorKind::AddrInUse, true));
    assert!(matches!(error, StartError::SystemError { what, .. } if what == address));
    // A pool's own port is one in use, too.
    drop(taken);
    let pool = echo().bind(&*address).await.unwrap();
    assert!(matches!(echo().name("other").bind(&*address).await, Err(StartError::SystemError { .. })));
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn an_invalid_address_is_named_with_its_cause() {
    for address in ["nonsense", "127.0.0.1", "127.0.0.1:seven", "192.0.2.1:0"] {
        match echo().bind(address).await {
            Err(StartError::SystemError { what, .. }) => assert_eq!(what, address),
            other => panic!("{address}: {other:?}"),
        }
    }
}

#[test]
fn an_address_that_is_not_resolved_in_time_is_a_typed_error() {
    let one_at_a_time =
        || tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    actix::System::with_tokio_rt(one_at_a_time).block_on(async {
        // The look-up of a name is the blocking pool's work, and its one thread is busy.
        let (open, gate) = mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || gate.recv());
        let (limit, started) = (Duration::from_millis(100), Instant::now());
        match in_time(echo().start_timeout(limit).bind("localhost:0")).await {
            Err(StartError::ListenerTimeout { address, limit: told }) => {
                assert_eq!((&*address, told), ("localhost:0", limit));
            }
            other => panic!("{other:?}"),
        }
        assert!(started.elapsed() >= limit);
        open.send(()).unwrap();
        busy.await.unwrap().unwrap();
    });
}

#[actix::test]
async fn a_taken_name_is_refused_until_its_pool_has_ended() {
    let pool = echo().name("the one").bind("127.0.0.1:0").await.unwrap();
    match echo().name("the one").bind("127.0.0.1:0").await {
        Err(StartError::NameTaken { name }) => assert_eq!(name, "the one"),
        other => panic!("{other:?}"),
    }
    connect(&pool).await.echo("not disturbed").await;
    assert_eq!(AcceptorPool::find("the one").unwrap().local_addr(), pool.local_addr());
    in_time(pool.stop(Duration::ZERO)).await;
    let successor = echo().name("the one").bind("127.0.0.1:0").await.unwrap();
    assert_eq!(AcceptorPool::find("the one").unwrap().local_addr(), successor.local_addr());
    in_time(successor.stop(Duration::ZERO)).await;
}

#[tokio::test]
async fn without_an_actix_system_there_is_no_pool() {
    let port = port();
    let address = address(&port);
    assert!(matches!(echo().listen(port).await, Err(StartError::NoSystem)));
    assert!(TcpStream::connect(address).await.is_err(), "the port is closed");
    assert!(matches!(echo().bind("127.0.0.1:0").await, Err(StartError::NoSystem)));
    let way_out = StartError::NoSystem.to_string();
    assert!(way_out.contains("#[actix::main]") && way_out.contains("start_on_own_thread"), "{way_out}");
}

#[actix::test]
async fn invalid_settings_are_refused_before_bind() {
    let second = Duration::from_secs(1);
    for (builder, name) in [
        (echo().acceptors(0), "acceptors"),
        (echo().acceptors(usize::MAX), "acceptors"),
        (echo().watermarks(10, 11), "high_watermark"),
        (echo().max_read_buffer(0), "max_read_buffer"),
        (echo().mailbox_capacity(0), "mailbox_capacity"),
        (echo().mailbox_capacity(usize::MAX), "mailbox_capacity"),
        (echo().max_age_jitter(second), "max_age_jitter"),
        (echo().start_timeout(Duration::ZERO), "start_timeout"),
        (echo().max_frame(0), "max_frame"),
        (echo().framing(Framing::lines().with_max_frame(0)), "max_frame"),
    ] {
        // The address would be refused as well, had it been looked at.
        match builder.bind("nonsense").await {
            Err(StartError::InvalidSetting(InvalidSetting { setting, why, .. })) => {
                assert!(setting == name && !why.is_empty(), "{setting}")
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    // Several at once are all named.
    let listener = || Listener::tcp("nonsense").max_connections(0);
    let builder = echo().acceptors(0).watermarks(10, 11).start_timeout(Duration::ZERO);
    for (builder, all) in [(builder.listener(listener()), 4), (echo().listener(listener()).listener(listener()), 2)] {
        match builder.start().await {
            Err(StartError::Several(each)) => {
                assert!(each.iter().all(|error| matches!(error, StartError::InvalidSetting(_))));
                let of_listener = "max_connections: listener \"nonsense\": must be at least 1 (got 0)";
                let texts: Vec<_> = each.iter().map(ToString::to_string).collect();
                assert!(all == 4 || texts == [of_listener; 2], "{texts:?}");
                assert_eq!(each.len(), all);
            }
            other => panic!("{other:?}"),
        }
    }
    let listener = Listener::tcp("nonsense").name("both").backlog(0).max_connections(0);
    let error = echo().acceptors(0).listener(listener).start().await.unwrap_err().to_string();
    for setting in ["acceptors", "backlog", "max_connections"] {
        assert!(error.contains(&format!("{setting}: ")), "{error}");
    }
    let pool = echo().watermarks(10, 10).max_age(second).max_age_jitter(second).bind("127.0.0.1:0").await.unwrap();
    in_time(pool.stop(Duration::ZERO)).await;
}

/// Fails to start on a transport by script, two acceptors; then nothing may be left of it.
async fn failed_start(script: impl FnOnce(&ScriptHandle), limit: Duration) -> StartError {
    let (transport, script_handle) = ScriptedTransport::in_front_of(port());
    let address = actix_acceptor::transport::Transport::local_addr(&transport);
    script(&script_handle);
    let builder = || echo().name("a failed start").acceptors(2);
    let error = in_time(builder().start_timeout(limit).listen(transport)).await.unwrap_err();
    assert!(AcceptorPool::find("a failed start").is_none());
    let again = builder().bind(address.socket().unwrap()).await.expect("the name and the port are free at once");
    in_time(again.stop(Duration::ZERO)).await;
    error
}

const LONG: Duration = Duration::from_secs(60);

#[actix::test]
async fn a_start_fails_if_a_listener_cannot_be_shared() {
    let error =
        failed_start(|script_handle| script_handle.share(|| Err(ErrorKind::PermissionDenied.into())), LONG).await;
    match error {
        StartError::AcceptorFailed { acceptor: 0 | 1, source } => {
            assert_eq!(source.kind(), ErrorKind::PermissionDenied)
        }
        other => panic!("{other:?}"),
    }
}

#[actix::test]
async fn an_acceptor_that_crashes_fails_the_start() {
    let error = failed_start(|script_handle| script_handle.share(|| panic!("as asked")), LONG).await;
    assert!(error.to_string().ends_with("crashed before it was ready: as asked"), "{error}");
    match error {
        StartError::AcceptorCrashed { acceptor: 0 | 1, panic } => assert_eq!(panic.as_deref(), Some("as asked")),
        other => panic!("{other:?}"),
    }
    let arbiter_stops = |script_handle: &ScriptHandle| {
        script_handle.share(|| {
            actix::Arbiter::current().stop();
            panic!("with its arbiter")
        })
    };
    let error = failed_start(arbiter_stops, LONG).await;
    assert!(matches!(error, StartError::AcceptorCrashed { acceptor: 0 | 1, .. }), "{error:?}");
}

#[actix::test]
async fn an_acceptor_that_is_not_ready_in_time_fails_the_start() {
    let (transport, script_handle) = ScriptedTransport::in_front_of(port());
    let (open, gate) = mpsc::channel::<()>();
    script_handle.share(move || gate.recv().map_err(io::Error::other));
    let (limit, started) = (Duration::from_millis(100), Instant::now());
    let builder = || echo().name("a late start").acceptors(2);
    match in_time(builder().start_timeout(limit).listen(transport)).await {
        Err(StartError::AcceptorTimeout { acceptor: 0 | 1, limit: told }) => assert_eq!(told, limit),
        other => panic!("{other:?}"),
    }
    assert!(started.elapsed() >= limit);
    open.send(()).unwrap();
    let again = builder().bind("127.0.0.1:0").await.expect("the name is free");
    in_time(again.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_pool_stopped_during_its_start_reports_closed() {
    let (transport, script_handle) = ScriptedTransport::in_front_of(port());
    let (open, gate) = mpsc::channel::<()>();
    script_handle.share(move || gate.recv().map_err(io::Error::other));
    let starting = actix_rt::spawn(echo().name("half-way").acceptors(2).listen(transport));
    eventually(|| AcceptorPool::find("half-way").is_some()).await;
    let stopping = actix_rt::spawn(async { AcceptorPool::find("half-way").unwrap().stop(Duration::ZERO).await });
    eventually(|| {
        AcceptorPool::find("half-way").is_none_or(|pool| pool.status() == actix_acceptor::info::Status::Draining)
    })
    .await;
    open.send(()).unwrap();
    let started: Started = in_time(starting).await.unwrap();
    assert!(matches!(started, Err(StartError::ListenerClosed)), "{started:?}");
    in_time(stopping).await.unwrap();
    assert!(AcceptorPool::find("half-way").is_none());
}

#[actix::test]
async fn a_cancelled_start_leaves_nothing_behind() {
    let (transport, script_handle) = ScriptedTransport::in_front_of(port());
    let address = actix_acceptor::transport::Transport::local_addr(&transport).socket().unwrap();
    let (open, gate) = mpsc::channel::<()>();
    script_handle.share(move || gate.recv().map_err(io::Error::other));
    let starting = actix_rt::spawn(echo().name("given up").acceptors(2).listen(transport));
    eventually(|| AcceptorPool::find("given up").is_some()).await;
    let pool = AcceptorPool::find("given up").unwrap();
    starting.abort();
    open.send(()).unwrap();
    in_time(pool.stopped()).await.unwrap();
    assert!(AcceptorPool::find("given up").is_none());
    assert!(TcpStream::connect(address).await.is_err(), "the port is closed");
}

#[test]
fn a_start_outside_of_a_running_system_is_an_error() {
    async fn starts() -> [Result<(), StartError>; 3] {
        let builder = || AcceptorPool::with_protocol(|_| Echo);
        [
            builder().bind("127.0.0.1:0").await.map(drop),
            builder().listen(Memory::new("no system").0).await.map(drop),
            builder().listener(Listener::tcp("127.0.0.1:0")).start().await.map(drop),
        ]
    }
    let refused = |starts: [Result<(), StartError>; 3]| {
        for start in starts {
            assert!(matches!(start, Err(StartError::NoSystem)), "{start:?}");
        }
    };
    let other = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let thread = std::thread::spawn(move || {
        refused(other().block_on(starts()));
        let system = actix::System::new();
        refused(other().block_on(starts()));
        assert!(system.block_on(starts()).iter().all(Result::is_ok));
        drop(system);
        refused(other().block_on(starts()));
        // Without any runtime.
        refused(futures::FutureExt::now_or_never(starts()).unwrap());
    });
    thread.join().unwrap();
}
