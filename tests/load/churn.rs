//! Everything at once: acceptors die, peers come, talk, leave and are killed, limits change. Afterwards it all adds up.

use std::cell::Cell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use actix_acceptor::{
    limits::AtLimit,
    telemetry::{CloseReason, RefusalReason},
    AcceptorPool, Connection, Pool, PoolHandle, SuspendMode,
};
use futures::future::join_all;
use support::acceptors::*;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, Instant};

const CLIENTS: usize = 24;
/// In the end exactly this number is admitted.
const MAX: usize = 20;

/// How long it goes on: seconds, from the environment.
fn duration() -> Duration {
    let seconds = std::env::var("CHURN_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs_f64(seconds.unwrap_or(3.0))
}

/// A small generator of numbers (xorshift): the same for the same seed.
struct Random(Cell<u64>);

impl Random {
    fn new(seed: u64) -> Self {
        Random(Cell::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1))
    }

    fn below(&self, limit: u64) -> u64 {
        let mut state = self.0.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.0.set(state);
        (state >> 16) % limit
    }

    async fn pause(&self, at_least: u64, below: u64) {
        sleep(Duration::from_millis(at_least + self.below(below))).await;
    }
}

/// One peer after another; no connect fails. The end of a connection may come at any time.
async fn connect_repeatedly(pool: PoolHandle, random: Random, until: Instant, connects: Rc<Cell<u64>>) {
    while Instant::now() < until {
        let connected = in_time(TcpStream::connect(pool.local_addr().unwrap())).await;
        connects.set(connects.get() + 1);
        let mut peer = match connected {
            Ok(stream) => Peer(stream),
            // It was connected, and reset at the limit before this thread looked.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => continue,
            Err(error) => panic!("a connect failed: {error}"),
        };
        for _ in 0..random.below(4) {
            let mut echo = [0; 5];
            let echoed = async {
                peer.0.write_all(b"hello").await?;
                peer.0.read_exact(&mut echo).await
            };
            // At the limit one may wait for long.
            match tokio::time::timeout(Duration::from_millis(300), echoed).await {
                Ok(Ok(_)) => assert_eq!(&echo, b"hello"),
                _ => break,
            }
            random.pause(0, 4).await;
        }
        if random.below(3) == 0 {
            peer.reset();
        }
    }
}

async fn kill_acceptors(pool: PoolHandle, random: Random, until: Instant) {
    while Instant::now() < until {
        let acceptors = pool.acceptors();
        if !acceptors.is_empty() {
            acceptors[random.below(acceptors.len() as u64) as usize]
                .do_send(AcceptorFailure::ALL[random.below(3) as usize]);
        }
        random.pause(5, 40).await;
    }
}

async fn kill_connections(pool: PoolHandle, random: Random, until: Instant) {
    while Instant::now() < until {
        for connection in pool.list() {
            match random.below(8) {
                0 => drop(pool.kill(connection.id)),
                1 => drop(pool.exempt(connection.id)),
                _ => {}
            }
        }
        random.pause(10, 20).await;
    }
}

async fn change_limits(pool: Pool<Connection<Echo>>, random: Random, until: Instant) {
    while Instant::now() < until {
        let (max, acceptors, policy) = (1 + random.below(30) as usize, 1 + random.below(4) as usize, random.below(4));
        let change = pool.change(move |settings| {
            settings.max_connections = max;
            settings.acceptors = Some(acceptors);
            settings.at_limit = match policy {
                0 => AtLimit::Close,
                1 => AtLimit::Reset,
                2 => AtLimit::Hold(Duration::from_millis(20)),
                _ => AtLimit::Wait,
            };
        });
        change.await.unwrap();
        if random.below(4) == 0 {
            pool.suspend(SuspendMode::Hold).await.unwrap();
            random.pause(0, 10).await;
            pool.resume().await.unwrap();
        }
        random.pause(0, 30).await;
    }
}

#[actix::test]
async fn counters_add_up_under_churn() {
    let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(3).max_restarts(1_000_000, Duration::from_secs(1));
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    let (until, connects) = (Instant::now() + duration(), Rc::new(Cell::new(0)));
    let mut tasks: Vec<_> = (1..=CLIENTS as u64)
        .map(|seed| actix_rt::spawn(connect_repeatedly(pool.untyped(), Random::new(seed), until, connects.clone())))
        .collect();
    tasks.push(actix_rt::spawn(kill_acceptors(pool.untyped(), Random::new(101), until)));
    tasks.push(actix_rt::spawn(kill_connections(pool.untyped(), Random::new(102), until)));
    tasks.push(actix_rt::spawn(change_limits(pool.clone(), Random::new(103), until)));
    for task in tasks {
        within(duration() + TIME_LIMIT, task).await.unwrap();
    }

    let calm = pool.change(|settings| {
        settings.max_connections = MAX;
        settings.acceptors = Some(2);
        settings.at_limit = AtLimit::Wait;
    });
    calm.await.unwrap();
    eventually(|| pool.acceptors().len() == 2).await;
    assert!(pool.is_ready());
    // A peer behind all others: the queue before it is empty by then.
    connect(&pool).await.echo("last").await;
    pool.wait_for(|connections| connections == 0, TIME_LIMIT).await.unwrap();

    assert_adds_up(&pool);
    let info = pool.info();
    assert!(restarts(&pool) > 10, "{} replaced", restarts(&pool));
    // Some left the kernel's queue by a reset; none was accepted twice.
    assert!(info.accepted <= connects.get() + 1, "{} of {}", info.accepted, connects.get());
    assert!(info.closed.get(CloseReason::Peer) > 0 && info.closed.get(CloseReason::Killed) > 0, "{:?}", info.closed);
    assert!(info.refused.get(RefusalReason::Limit) > 0, "{:?}", info.refused);

    permits_are_whole(&pool).await;
    let report = in_time(pool.stop(Duration::ZERO)).await;
    assert_eq!((report.asked, report.forced), (MAX, MAX));
    assert_adds_up(&pool);
}

fn assert_adds_up<A>(pool: &Pool<A>) {
    let info = pool.info();
    let refused: u64 = info.refused.iter().map(|(_, count)| count).sum();
    assert_eq!(info.accepted, refused + info.connections + info.closed.total(), "{info:?}");
    assert_eq!(info.connections, pool.connections() as u64);
    assert_eq!(pool.list().len(), pool.connections());
}

/// Exactly this number is admitted: no permit was lost or added.
async fn permits_are_whole<A>(pool: &Pool<A>) {
    let mut inside = join_all((0..MAX).map(|_| connect(pool))).await;
    join_all(inside.iter_mut().map(|peer| peer.echo("hello"))).await;
    let accepted = pool.info().accepted;
    let mut late = connect(pool).await;
    late.send("hello").await;
    for _ in 0..20 {
        inside[0].echo("still here").await;
    }
    assert_eq!(pool.info().accepted, accepted);
    assert_eq!(pool.listeners()[0].connections, MAX);
    drop(inside.pop());
    late.expect(b"hello").await;
    pool.wait_for(|connections| connections == MAX, TIME_LIMIT).await.unwrap();
    inside.push(late);
    // They stay until the caller's stop has counted them.
    inside.into_iter().for_each(std::mem::forget);
}
