//! A permit returns whatever ends: a connection with any handler, its peer, its acceptor, its whole arbiter.

use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::prelude::*;
use actix_acceptor::{
    limits::AtLimit, AcceptorPool, Ack, Closed, Conn, ConnectionInfo, Framing, Next, Pool, PoolHandle, Protocol,
    Socket, SuspendMode,
};
use bytes::Bytes;
use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::counting::*;
use support::acceptors::*;
use support::*;

const MAX: usize = 3;

/// What the next connections die of.
#[derive(Clone, Default)]
struct EndCause(Arc<Mutex<&'static str>>);

impl EndCause {
    fn get(&self) -> &'static str {
        *self.0.lock().unwrap()
    }

    fn is(&self, what: &str) -> bool {
        self.get() == what
    }

    /// More than there are permits die of it, then exactly as many as there are permits get in.
    async fn end_connection<A>(&self, pool: &Pool<A>, what: &'static str) {
        *self.0.lock().unwrap() = what;
        for _ in 0..2 * MAX + 1 {
            let mut peer = connect(pool).await;
            // It may be gone before it hears anything.
            let _ = peer.0.write_all(b"die").await;
            if what.starts_with("killed") {
                let its = Some(peer.address());
                eventually(|| pool.list().iter().any(|other| other.peer.socket() == its && pool.kill(other.id))).await;
            }
            let _ = in_time(peer.0.read_to_end(&mut Vec::new())).await;
        }
        *self.0.lock().unwrap() = "nothing";
        assert_capacity(pool, MAX).await;
        assert_adds_up(pool);
    }
}

/// An echo, while its fate lets it.
struct EndsByCause(EndCause);

impl EndsByCause {
    fn act_at(&self, place: &str) {
        assert!(!self.0.is(place), "its fate");
    }
}

impl Protocol for EndsByCause {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn init(&mut self, _: &mut Conn<Self>) -> Next<Self> {
        self.act_at("init");
        if self.0.is("stop in init") {
            return Next::Stop;
        }
        Next::Continue
    }

    fn ack(&mut self, _: &mut Conn<Self>) -> Next<Self> {
        self.act_at("ack");
        Next::Continue
    }

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        self.act_at("packet");
        match self.0.get() {
            "fail" => Next::fail("its fate"),
            "stop" => Next::Stop,
            "killed while it waits" => conn.wait(pending::<()>(), |(), _, _| Next::Continue),
            "killed" => Next::Continue,
            "closed" => Next::Stop,
            _ => Next::Send(packet),
        }
    }

    fn closed(&mut self, _: &Closed, _: &ConnectionInfo) {
        self.act_at("closed");
    }
}

#[actix::test]
async fn permits_return_however_a_protocol_ends() {
    let cause = EndCause::default();
    let its = cause.clone();
    let pool = AcceptorPool::with_protocol(move |_| {
        assert!(!its.is("factory"), "its fate");
        EndsByCause(its.clone())
    });
    let pool = pool.acceptors(2).max_connections(MAX).bind("127.0.0.1:0").await.unwrap();
    for what in [
        "factory",
        "init",
        "stop in init",
        "ack",
        "packet",
        "fail",
        "stop",
        "closed",
        "killed",
        "killed while it waits",
    ] {
        cause.end_connection(&pool, what).await;
    }
    ends(&pool).await;
}

#[actix::test]
async fn permits_return_however_an_async_fn_ends() {
    let cause = EndCause::default();
    let its = cause.clone();
    let pool = AcceptorPool::with_fn(move |socket: Socket| {
        let what = its.get();
        assert_ne!(what, "panic at once");
        async move {
            match what {
                "panic" => panic!("its fate"),
                "return" => Ok(()),
                "error" => Err(io::Error::other("its fate")),
                "killed and does not look" => {
                    let _held = socket;
                    pending().await
                }
                _ => echo(socket).await,
            }
        }
    });
    let pool = pool.acceptors(2).max_connections(MAX).bind("127.0.0.1:0").await.unwrap();
    for what in ["panic at once", "panic", "return", "error", "killed", "killed and does not look"] {
        cause.end_connection(&pool, what).await;
    }
    ends(&pool).await;
}

/// An echo by an actor.
struct EndsByCauseActor(EndCause, Option<Socket>);

impl Actor for EndsByCauseActor {
    type Context = Context<Self>;
}

impl Handler<Ack> for EndsByCauseActor {
    type Result = ();

    fn handle(&mut self, _: Ack, ctx: &mut Context<Self>) {
        match self.0.get() {
            "panic in Ack" => panic!("its fate"),
            "stop in Ack" => ctx.stop(),
            "drop the socket" => drop(self.1.take()),
            _ => {
                let echo = echo(self.1.take().unwrap());
                ctx.spawn(echo.into_actor(self).map(|_, _, ctx| ctx.stop()));
            }
        }
    }
}

#[actix::test]
async fn permits_return_however_an_actor_ends() {
    let cause = EndCause::default();
    let its = cause.clone();
    let pool = AcceptorPool::with_actor(move |socket| match its.get() {
        "panic" => panic!("its fate"),
        "refuse" => Err("its fate".into()),
        _ => Ok(EndsByCauseActor(its.clone(), Some(socket)).start()),
    });
    let pool = pool.acceptors(2).max_connections(MAX).bind("127.0.0.1:0").await.unwrap();
    for what in ["panic", "refuse", "panic in Ack", "stop in Ack", "drop the socket"] {
        cause.end_connection(&pool, what).await;
    }
    ends(&pool).await;
}

#[actix::test]
async fn permits_return_when_peers_leave_before_accept() {
    for policy in [AtLimit::Wait, AtLimit::Hold(TIME_LIMIT)] {
        let counter = ConnectionCounter::default();
        let pool = counter.pool().acceptors(2).max_connections(MAX).at_limit(policy).bind("127.0.0.1:0").await.unwrap();
        // In the queue of a port that accepts no peer, and in that of a full pool.
        for full in [false, true] {
            let inside = fill(&pool, if full { MAX } else { 0 }).await;
            if !full {
                in_time(pool.suspend(SuspendMode::Hold)).await.unwrap();
            }
            for number in 0..20 {
                let peer = connect(&pool).await;
                if number % 2 == 0 {
                    peer.reset();
                }
            }
            drop(inside);
            in_time(pool.resume()).await.unwrap();
            eventually(|| pool.connections() == 0).await;
            assert_capacity(&pool, MAX).await;
        }
        assert_eq!(counter.most(), MAX);
        ends(&pool).await;
    }
}

/// Each time another one.
async fn fail_in_turn<A>(pool: &Pool<A>, failure: AcceptorFailure) {
    fail_acceptor_at(pool, restarts(pool) as usize, failure).await;
}

#[actix::test]
async fn permits_return_when_acceptors_die_at_the_limit() {
    for policy in [AtLimit::Wait, AtLimit::Hold(TIME_LIMIT)] {
        for failure in [AcceptorFailure::Stop, AcceptorFailure::Panic] {
            let counter = ConnectionCounter::default();
            let pool = counter.pool().acceptors(2).max_connections(MAX).at_limit(policy).max_restarts(100, TIME_LIMIT);
            let pool = pool.bind("127.0.0.1:0").await.unwrap();
            let mut inside = fill(&pool, MAX).await;
            let mut waiting = Vec::new();
            for _ in 0..5 {
                waiting.push(unserved_peer(&pool).await);
                fail_in_turn(&pool, failure).await;
            }
            for peer in &mut inside {
                peer.echo("alive").await;
            }
            assert_eq!((counter.served(), counter.most()), (MAX, MAX), "{policy:?} {failure:?}");
            drop(inside);
            // Nobody's place was lost: all five come in one after the other, three at a time.
            for mut peer in waiting {
                peer.expect_served().await;
            }
            eventually(|| pool.connections() == 0).await;
            assert_eq!(counter.most(), MAX);
            assert_capacity(&pool, MAX).await;
            ends(&pool).await;
        }
    }
}

#[actix::test]
async fn when_an_arbiter_dies_with_connections_and_held_peers() {
    for policy in [AtLimit::Wait, AtLimit::Hold(TIME_LIMIT)] {
        let counter = ConnectionCounter::default();
        let pool = counter.pool().acceptors(2).max_connections(MAX).at_limit(policy).max_restarts(100, TIME_LIMIT);
        let pool = pool.bind("127.0.0.1:0").await.unwrap();
        for _ in 0..4 {
            let inside = fill(&pool, MAX).await;
            let mut waiting = Vec::new();
            for _ in 0..6 {
                waiting.push(unserved_peer(&pool).await);
            }
            waiting[5].expect_waiting().await;
            fail_in_turn(&pool, AcceptorFailure::WithArbiter).await;
            fail_in_turn(&pool, AcceptorFailure::WithArbiter).await;
            drop((inside, waiting));
            eventually(|| pool.connections() == 0).await;
            assert_capacity(&pool, MAX).await;
        }
        assert_eq!(counter.most(), MAX);
        ends(&pool).await;
    }
}

/// Connects and echoes until it is stopped; an arbiter that dies may end it early.
async fn connect_repeatedly(pool: PoolHandle, stop: Arc<AtomicBool>) {
    while !stop.load(Relaxed) {
        let mut peer = connect(&pool).await;
        let _ = peer.0.write_all(b"hello").await;
        peer.until_gone_or_served().await;
    }
}

#[actix::test]
async fn permits_return_when_acceptors_die_under_load() {
    for policy in [AtLimit::Wait, AtLimit::Close, AtLimit::Hold(Duration::from_millis(5))] {
        let counter = ConnectionCounter::default();
        let pool = counter.pool().acceptors(3).max_connections(MAX).at_limit(policy).max_restarts(1_000, TIME_LIMIT);
        let pool = pool.bind("127.0.0.1:0").await.unwrap();
        let stop = Arc::<AtomicBool>::default();
        let clients = (0..30).map(|_| actix::spawn(connect_repeatedly(pool.untyped(), stop.clone())));
        let clients = join_all(clients.collect::<Vec<_>>());
        for round in 0..60 {
            let failure = [
                AcceptorFailure::Stop,
                AcceptorFailure::Panic,
                AcceptorFailure::Stop,
                AcceptorFailure::Panic,
                AcceptorFailure::WithArbiter,
            ][round % 5];
            fail_in_turn(&pool, failure).await;
            assert_adds_up(&pool);
        }
        stop.store(true, Relaxed);
        in_time(clients).await.into_iter().for_each(|client| client.unwrap());
        eventually(|| pool.connections() == 0).await;
        in_time(pool.change(|settings| settings.at_limit = AtLimit::Wait)).await.unwrap();
        assert_capacity(&pool, MAX).await;
        assert_eq!(counter.most(), MAX, "{policy:?}");
        eventually(|| pool.info().connections == 0).await;
        ends(&pool).await;
    }
}
