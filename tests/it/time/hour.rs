//! An hour of a paused clock: everything in a pool that takes time follows it, at no cost.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_acceptor::info::{ConnectionInfo, DrainReport};
use actix_acceptor::telemetry::{Alarm, CloseReason, RefusalReason};
use actix_acceptor::transport::{Address, Handshake, HandshakeError, Handshaken, LocalBoxFuture, Memory};
use actix_acceptor::transport::{MemoryConnector, Stream};
use actix_acceptor::{
    AcceptorPool, Conn, Connection, Framing, Listener, Next, Pool, PoolError, Protocol, Socket, StartError,
};
use bytes::Bytes;
use nix::time::{clock_gettime, ClockId};
use support::acceptors::AcceptorFailure;
use support::*;
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;

const MINUTE: Duration = Duration::from_secs(60);
const HALF_AN_HOUR: Duration = Duration::from_secs(30 * 60);

/// Two ways to move a paused clock by this much: to sleep, and to advance it in steps.
#[derive(Clone, Copy, Debug)]
enum Move {
    Sleep,
    Advance,
}

impl Move {
    async fn by(self, time: Duration) {
        match self {
            Move::Sleep => elapse(time).await,
            Move::Advance => {
                for _ in 0..(time.as_secs() / 60) {
                    tokio::time::advance(MINUTE).await;
                    acceptors::run_local_tasks().await;
                }
            }
        }
    }
}

/// The CPU time of this thread, on which everything runs.
fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

async fn dial(connector: &MemoryConnector) -> Peer<DuplexStream> {
    Peer(connector.connect().await.unwrap())
}

#[test]
fn everything_follows_an_hour_of_a_paused_clock() {
    for way in [Move::Sleep, Move::Advance] {
        paused(async move {
            let mut timeouts = Timeouts::start().await;
            let mut rates = Rates::start().await;
            let mut alarm = AlarmPool::start().await;
            let restarts = Restarts::start().await;
            let drain = DrainingPool::start().await;
            let before = cpu();
            way.by(HALF_AN_HOUR).await;
            let spent = cpu() - before;
            timeouts.check_ages();
            let before = cpu();
            way.by(HALF_AN_HOUR).await;
            let spent = spent + cpu() - before;
            timeouts.check_ends();
            rates.check().await;
            alarm.check().await;
            restarts.check().await;
            drain.check().await;
            assert!(spent < ms(100), "{way:?} cost {spent:?}");
        });
    }
}

/// Idle, packet, send and max-age limits of 50, 40, 45 and 55 minutes; age and idle of a connection.
struct Timeouts {
    pool: Pool<Connection<Timed>>,
    _peers: Vec<Peer<DuplexStream>>,
}

struct Timed;

impl Protocol for Timed {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        match &packet[..] {
            b"flood" => Next::Send(vec![0; 1 << 20].into()),
            _ => {
                conn.set_idle_timeout(None);
                Next::Continue
            }
        }
    }
}

impl Timeouts {
    async fn start() -> Self {
        let (memory, connector) = Memory::new("timeouts");
        let builder = AcceptorPool::with_protocol(|_| Timed).framing(Framing::lines()).idle_timeout(50 * MINUTE);
        let builder = builder.packet_timeout(40 * MINUTE).send_timeout(45 * MINUTE).max_age(55 * MINUTE);
        let pool = builder.listen(memory).await.unwrap();
        let mut peers = Vec::new();
        for text in ["", "partial", "flood\n", "not idle\n"] {
            let mut peer = dial(&connector).await;
            peer.send(text).await;
            peers.push(peer);
        }
        acceptors::run_local_tasks().await;
        Timeouts { pool, _peers: peers }
    }

    fn check_ages(&mut self) {
        let list = self.pool.list();
        assert_eq!(list.len(), 4);
        for ConnectionInfo { age, idle, .. } in list {
            assert!((HALF_AN_HOUR..HALF_AN_HOUR + ms(200)).contains(&age), "{age:?}");
            assert!((HALF_AN_HOUR - ms(200)..=age).contains(&idle), "{idle:?}");
        }
    }

    fn check_ends(&mut self) {
        use CloseReason::*;
        let closed = self.pool.info().closed;
        assert_eq!([Idle, PacketTimeout, SendTimeout, MaxAge].map(|reason| closed.get(reason)), [1; 4], "{closed:?}");
    }
}

/// The rate of the pool and that of one peer: one connection in half an hour.
struct Rates {
    pool: Pool<Connection<Echo>>,
    connector: MemoryConnector,
    peers: Pool<Connection<Echo>>,
    peer: MemoryConnector,
}

/// Every connection is one of 10.0.0.1.
struct OnePeer;

impl Handshake for OnePeer {
    fn handshake(&self, stream: Stream, _: &Address) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>> {
        let peer = Address::Tcp(([10, 0, 0, 1], 1).into());
        Box::pin(async move { Ok(Handshaken::new(stream).with_peer(peer)) })
    }

    fn may_override_peer(&self, _: &Address) -> bool {
        true
    }
}

impl Rates {
    async fn start() -> Self {
        let echo = || AcceptorPool::with_protocol(|_| Echo).framing(Framing::raw());
        let (memory, connector) = Memory::new("accept rate");
        let pool = echo().accept_rate(1, HALF_AN_HOUR).listen(memory).await.unwrap();
        let (memory, peer) = Memory::new("peer rate");
        let listener = Listener::from_transport(memory).handshake(OnePeer);
        let peers = echo().peer_rate(1, HALF_AN_HOUR).listener(listener).start().await.unwrap();
        let mut rates = Rates { pool, connector, peers, peer };
        rates.check().await;
        rates
    }

    /// Each admits one connection, and refuses the next.
    async fn check(&mut self) {
        for (pool, connector) in [(&self.pool, &self.connector), (&self.peers, &self.peer)] {
            let refused = pool.info().refused.get(RefusalReason::Rate);
            dial(connector).await.echo("admitted").await;
            assert_eq!(dial(connector).await.read_to_end().await, b"", "{}", pool.name());
            assert_eq!(pool.info().refused.get(RefusalReason::Rate), refused + 1, "{}", pool.name());
        }
    }
}

/// An alarm with a cool-down of half an hour.
struct AlarmPool {
    _pool: Pool<Connection<Echo>>,
    connector: MemoryConnector,
    raised: Arc<Mutex<usize>>,
}

impl AlarmPool {
    async fn start() -> Self {
        let raised = Arc::<Mutex<usize>>::default();
        let count = raised.clone();
        let alarm = Alarm::new("busy", 1).cool_down(HALF_AN_HOUR);
        let alarm = alarm.call(move |alarm| *count.lock().unwrap() += usize::from(alarm.raised));
        let (memory, connector) = Memory::new("alarm");
        let builder = AcceptorPool::with_protocol(|_| Echo).framing(Framing::raw()).alarm(alarm);
        let mut alarm = AlarmPool { _pool: builder.listen(memory).await.unwrap(), connector, raised };
        alarm.check().await;
        alarm
    }

    /// Of two crossings, the first raises it.
    async fn check(&mut self) {
        let before = *self.raised.lock().unwrap();
        for _ in 0..2 {
            let mut peer = dial(&self.connector).await;
            peer.echo("x").await;
            peer.finish().await;
            peer.read_to_end().await;
        }
        assert_eq!(*self.raised.lock().unwrap(), before + 1);
    }
}

/// A budget of one restart in half an hour.
struct Restarts(Pool<Connection<Echo>>);

impl Restarts {
    async fn start() -> Self {
        let (memory, _) = Memory::new("restarts");
        let builder = AcceptorPool::with_protocol(|_| Echo).max_restarts(1, HALF_AN_HOUR);
        let restarts = Restarts(builder.listen(memory).await.unwrap());
        acceptors::kill(&restarts.0, AcceptorFailure::Stop).await;
        restarts
    }

    async fn check(self) {
        acceptors::kill(&self.0, AcceptorFailure::Stop).await;
        self.0.acceptors()[0].do_send(AcceptorFailure::Stop);
        assert!(matches!(self.0.stopped().await, Err(PoolError::TooManyRestarts { limit: 1, .. })));
    }
}

/// A drain with a deadline in half an hour.
struct DrainingPool {
    drain: JoinHandle<DrainReport>,
    _peer: Peer<DuplexStream>,
}

impl DrainingPool {
    async fn start() -> Self {
        let (memory, connector) = Memory::new("drain");
        // Does not end by itself.
        let serve = |socket: Socket| async move {
            std::future::pending::<()>().await;
            drop(socket);
        };
        let pool = AcceptorPool::with_fn(serve).listen(memory).await.unwrap();
        let peer = dial(&connector).await;
        pool.wait_for(|connections| connections == 1, None).await.unwrap();
        let drain = actix_rt::spawn(async move { pool.stop(HALF_AN_HOUR).await });
        DrainingPool { drain, _peer: peer }
    }

    async fn check(self) {
        assert!(self.drain.is_finished(), "the deadline has passed");
        let report = self.drain.await.unwrap();
        assert_eq!((report.asked, report.forced), (1, 1));
        assert!((HALF_AN_HOUR..HALF_AN_HOUR + 2 * MINUTE).contains(&report.took), "{report:?}");
    }
}

#[test]
fn an_hour_in_one_step_is_not_a_blocked_arbiter() {
    paused(async {
        let (memory, connector) = Memory::new("step");
        let builder = AcceptorPool::with_protocol(|_| Timed).framing(Framing::lines()).idle_timeout(59 * MINUTE);
        let pool = builder.listen(memory).await.unwrap();
        let (mut silent, mut busy) = (dial(&connector).await, dial(&connector).await);
        acceptors::run_local_tasks().await;
        tokio::time::advance(30 * MINUTE).await;
        busy.send("not idle\n").await;
        acceptors::run_local_tasks().await;
        let idle: Vec<_> = pool.list().iter().map(|connection| connection.idle).collect();
        assert_eq!(idle, [30 * MINUTE, Duration::ZERO]);
        tokio::time::advance(30 * MINUTE).await;
        assert_eq!(silent.read_to_end().await, b"");
        assert_eq!((pool.connections(), pool.info().closed.get(CloseReason::Idle)), (1, 1));
    });
}

#[test]
fn a_drain_on_a_paused_clock_does_not_spin() {
    paused(async {
        let drain = DrainingPool::start().await;
        let before = cpu();
        let report = drain.drain.await.unwrap();
        let spent = cpu() - before;
        assert_eq!(report.forced, 1);
        assert!(spent < ms(100), "{spent:?}");
    });
}

#[test]
fn a_paused_clock_and_other_arbiters_are_an_error() {
    paused(async {
        let echo = || AcceptorPool::with_protocol(|_| Echo);
        let error = echo().bind("127.0.0.1:0").await.unwrap_err();
        assert!(matches!(error, StartError::PausedClock), "{error}");
        assert!(error.to_string().contains("on_current_arbiter"), "{error}");
        let pool = echo().on_current_arbiter().bind("127.0.0.1:0").await.unwrap();
        pool.stop(Duration::ZERO).await;
    });
}
