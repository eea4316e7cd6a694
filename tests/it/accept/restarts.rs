//! Acceptors die and are replaced; neither peers nor connections notice. Past the budget the pool ends.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{mpsc, Arc};
use std::time::Duration;

use actix::prelude::*;
use actix_acceptor::transport::Tcp;
use actix_acceptor::{
    error::Exit, telemetry::CloseReason, Acceptor, AcceptorPool, Closed, Conn, ConnectionInfo, Next, Pool, PoolError,
    PoolHandle, Protocol,
};
use support::acceptors::*;
use support::*;
use tokio::time::Instant;

const EBADF: i32 = 9;

/// Which place an acceptor fills.
#[derive(Message)]
#[rtype(result = "usize")]
struct StreamEcho;

impl Handler<StreamEcho> for Acceptor {
    type Result = usize;

    fn handle(&mut self, _: StreamEcho, _: &mut Context<Self>) -> usize {
        self.id()
    }
}

fn port() -> Tcp {
    Tcp::bind("127.0.0.1:0".parse().unwrap()).unwrap()
}

#[actix::test]
async fn connections_survive_the_death_of_their_acceptor() {
    for die in [AcceptorFailure::Stop, AcceptorFailure::Panic] {
        for here in [false, true] {
            let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(1);
            let pool = if here { pool.on_current_arbiter() } else { pool };
            let pool = pool.bind("127.0.0.1:0").await.unwrap();
            let mut old = connect(&pool).await;
            old.echo("before").await;
            kill(&pool.untyped(), die).await;
            old.echo("after").await;
            connect(&pool).await.echo("new").await;
            assert_eq!(pool.info().closed.get(CloseReason::Panic), 0, "{die:?}");
            in_time(pool.stop(Duration::ZERO)).await;
        }
    }
}

#[actix::test]
async fn connections_survive_a_listener_failure() {
    let failures: [fn(&ScriptHandle); 4] = [
        |script_handle| script_handle.accept_fails(EBADF),
        |script_handle| script_handle.ready_fails(io::Error::other("the listener broke")),
        |script_handle| script_handle.accept(|| panic!("a transport panics")),
        |script_handle| script_handle.accept(|| Err(io::Error::other("nobody knows this one"))),
    ];
    for fail in failures {
        let (transport, script_handle) = ScriptedTransport::in_front_of(port());
        let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(1).listen(transport).await.unwrap();
        let mut old = connect(&pool).await;
        old.echo("before").await;
        fail(&script_handle);
        eventually(|| restarts(&pool) == 1 && pool.acceptors().len() == 1).await;
        old.echo("after").await;
        connect(&pool).await.echo("new").await;
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

/// One more connection; there are enough long before this many.
async fn served<A>(pool: &Pool<A>) -> Peer {
    assert!(pool.connections() < 2_000, "an arbiter serves nobody: {:?}", pool.info());
    let mut peer = connect(pool).await;
    peer.echo("hello").await;
    peer
}

#[actix::test]
async fn a_stopped_arbiter_is_replaced() {
    let (recorder, mut closings) = Recorder::new();
    let pool = AcceptorPool::with_protocol(move |_| Recorded(recorder.clone()))
        .acceptors(2)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let mut peers = Vec::new();
    while peers.len() < 20 || pool.info().acceptors.iter().any(|acceptor| acceptor.connections == 0) {
        peers.push(served(&pool).await);
    }
    let doomed = in_time(pool.acceptors()[0].send(StreamEcho)).await.unwrap();
    let lost = pool.info().acceptors[doomed].connections as usize;
    kill(&pool.untyped(), AcceptorFailure::WithArbiter).await;
    for _ in 0..lost {
        assert_eq!(closings.reason().await, CloseReason::Killed);
    }
    assert_eq!(pool.connections(), peers.len() - lost);
    let survivors: Vec<_> = pool.list().into_iter().map(|connection| connection.peer.socket().unwrap()).collect();
    for peer in &mut peers {
        if survivors.contains(&peer.address()) {
            peer.echo("after").await;
        } else {
            peer.until_gone().await;
        }
    }
    let mut new = Vec::new();
    while pool.info().acceptors[doomed].connections == 0 {
        new.push(served(&pool).await);
    }
    assert!(closings.is_empty());
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn all_arbiters_may_stop_at_once() {
    let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(3).bind("127.0.0.1:0").await.unwrap();
    for acceptor in pool.acceptors() {
        acceptor.do_send(AcceptorFailure::WithArbiter);
    }
    eventually(|| restarts(&pool) == 3 && pool.acceptors().len() == 3).await;
    connect(&pool).await.echo("new").await;
    assert!(pool.info().acceptors.iter().all(|acceptor| acceptor.restarts == 1));
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn peers_wait_while_their_acceptor_is_restarted() {
    let (transport, script_handle) = ScriptedTransport::in_front_of(port());
    let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(1).listen(transport).await.unwrap();
    let (open, gate) = mpsc::channel::<()>();
    script_handle.share(move || gate.recv().map_err(io::Error::other));
    pool.acceptors()[0].do_send(AcceptorFailure::Stop);
    eventually(|| pool.acceptors().is_empty()).await;
    let mut peers = Vec::new();
    for _ in 0..20 {
        let mut peer = connect(&pool).await;
        peer.send("is anybody there?").await;
        peers.push(peer);
    }
    assert_eq!(pool.info().accepted, 0);
    open.send(()).unwrap();
    for peer in &mut peers {
        peer.expect(b"is anybody there?").await;
    }
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn four_restarts_under_load_lose_no_connection() {
    let (transport, script_handle) = ScriptedTransport::in_front_of(port());
    let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(1).listen(transport).await.unwrap();
    let (address, done) = (pool.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
    let served = Arc::new(AtomicUsize::new(0));
    let mut standing = connect(&pool).await;
    standing.echo("before").await;
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (done, served) = (done.clone(), served.clone());
            std::thread::spawn(move || {
                while !done.load(Relaxed) {
                    BlockingPeer::connect(address).echo("hello");
                    served.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    for death in 0..4 {
        let before = served.load(Relaxed);
        eventually(|| served.load(Relaxed) > before + 50).await;
        match death {
            0 => kill(&pool.untyped(), AcceptorFailure::Stop).await,
            1 => kill(&pool.untyped(), AcceptorFailure::Panic).await,
            2 => script_handle.accept_fails(EBADF),
            _ => script_handle.ready_fails(io::Error::other("the listener broke")),
        }
        eventually(|| restarts(&pool) == death + 1).await;
    }
    let before = served.load(Relaxed);
    eventually(|| served.load(Relaxed) > before + 50).await;
    done.store(true, Relaxed);
    for thread in load {
        in_time(tokio::task::spawn_blocking(move || thread.join())).await.unwrap().expect("not one failed");
    }
    standing.echo("after").await;
    eventually(|| pool.connections() == 1).await;
    in_time(pool.stop(Duration::ZERO)).await;
    let info = pool.info();
    assert_eq!(info.accepted as usize, served.load(Relaxed) + 1);
    assert_eq!(info.closed.get(CloseReason::Peer) as usize, served.load(Relaxed));
}

/// Ignores the shutdown, and tells when it came.
struct IgnoresShutdown(Recorder, mpsc::Sender<Option<Instant>>);

impl Protocol for IgnoresShutdown {
    type Codec = actix_acceptor::Framing;
    type Reply = bytes::Bytes;
    type User = ();

    fn packet(&mut self, packet: bytes::Bytes, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(packet)
    }

    fn shutdown(&mut self, deadline: Option<Instant>, _: &mut Conn<Self>) -> Next<Self> {
        self.1.send(deadline).unwrap();
        Next::Continue
    }

    fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
        self.0.note(why);
    }
}

#[actix::test]
async fn past_the_budget_the_pool_ends_with_an_error_and_its_grace() {
    let (recorder, mut closings) = Recorder::new();
    let (telling, told) = mpsc::channel();
    let grace = Duration::from_millis(200);
    let pool = AcceptorPool::with_protocol(move |_| IgnoresShutdown(recorder.clone(), telling.clone()))
        .acceptors(1)
        .max_restarts(2, Duration::from_secs(60))
        .grace(grace)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let owners = [pool.untyped(), pool.untyped()].map(|owner| actix_rt::spawn(async move { owner.stopped().await }));
    let mut peer = connect(&pool).await;
    peer.echo("before").await;
    kill(&pool.untyped(), AcceptorFailure::Stop).await;
    kill(&pool.untyped(), AcceptorFailure::Stop).await;
    assert!(pool.is_ready());
    let third = Instant::now();
    pool.acceptors()[0].do_send(AcceptorFailure::Panic);
    for owner in owners {
        match in_time(owner).await.unwrap() {
            Err(PoolError::TooManyRestarts { limit, within, last: Exit::Panicked(_) }) => {
                assert_eq!((limit, within), (2, Duration::from_secs(60)));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(third.elapsed() >= grace, "the connection had its grace");
    assert!(told.recv().unwrap().unwrap() >= third + grace);
    assert_eq!(closings.reason().await, CloseReason::Killed);
    peer.until_gone().await;
    assert_eq!(pool.status(), actix_acceptor::info::Status::Ended);
    assert!(AcceptorPool::find(pool.name()).is_none());
    assert!(tokio::net::TcpStream::connect(pool.local_addr().unwrap()).await.is_err(), "the port is closed");
}

#[actix::test]
async fn the_pool_error_names_the_last_acceptor_exit() {
    async fn outcome(kill: impl FnOnce(&PoolHandle, &ScriptHandle)) -> Exit {
        let (transport, script_handle) = ScriptedTransport::in_front_of(port());
        let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(1).max_restarts(0, Duration::from_secs(1));
        let pool = builder.listen(transport).await.unwrap();
        kill(&pool.untyped(), &script_handle);
        match in_time(pool.stopped()).await {
            Err(PoolError::TooManyRestarts { last, .. }) => last,
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(outcome(|pool, _| pool.acceptors()[0].do_send(AcceptorFailure::Stop)).await, Exit::Stopped));
    let panicked = outcome(|pool, _| pool.acceptors()[0].do_send(AcceptorFailure::Panic)).await;
    assert_eq!(panicked.to_string(), "panicked: an acceptor dies");
    assert!(matches!(
        outcome(|pool, _| pool.acceptors()[0].do_send(AcceptorFailure::WithArbiter)).await,
        Exit::Stopped
    ));
    match outcome(|_, script_handle| script_handle.accept_fails(EBADF)).await {
        Exit::Failed(error) => assert_eq!(error.raw_os_error(), Some(EBADF)),
        other => panic!("{other:?}"),
    }
}

#[actix::test]
async fn the_default_budget_is_five_restarts_in_ten_seconds() {
    let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(2).bind("127.0.0.1:0").await.unwrap();
    for _ in 0..5 {
        kill(&pool.untyped(), AcceptorFailure::Stop).await;
    }
    connect(&pool).await.echo("still here").await;
    pool.acceptors()[0].do_send(AcceptorFailure::Stop);
    match in_time(pool.stopped()).await {
        Err(PoolError::TooManyRestarts { limit: 5, within, .. }) => assert_eq!(within, Duration::from_secs(10)),
        other => panic!("{other:?}"),
    }
}

#[actix::test]
async fn restarts_outside_the_window_do_not_add_up() {
    let window = Duration::from_millis(20);
    let pool =
        AcceptorPool::with_protocol(|_| Echo).acceptors(1).max_restarts(1, window).bind("127.0.0.1:0").await.unwrap();
    for _ in 0..4 {
        kill(&pool.untyped(), AcceptorFailure::Stop).await;
        pass(window).await;
    }
    connect(&pool).await.echo("still here").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_failed_restart_counts_against_the_budget() {
    let (transport, script_handle) = ScriptedTransport::in_front_of(port());
    let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(1).listen(transport).await.unwrap();
    script_handle.share(|| Err(io::Error::other("no share")));
    script_handle.share(|| panic!("no share either"));
    pool.acceptors()[0].do_send(AcceptorFailure::Stop);
    eventually(|| restarts(&pool) == 3 && pool.acceptors().len() == 1).await;
    connect(&pool).await.echo("the third successor").await;
    in_time(pool.stop(Duration::ZERO)).await;
}
