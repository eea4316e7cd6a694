//! The life of a pool beside its start and stop: handles, names, actix systems, its own arbiter.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use actix::prelude::*;
use actix_acceptor::{
    handlers::NoActor, telemetry::CloseReason, AcceptorPool, Closed, Conn, Connection, ConnectionInfo, Framing, Next,
    Pool, PoolError, PoolHandle, Protocol,
};
use bytes::Bytes;
use support::*;
use tokio::net::TcpStream;
use tokio::time::Instant;

#[actix::test]
async fn dropping_every_handle_stops_nothing() {
    let pool = AcceptorPool::with_protocol(|_| Echo).name("nobody's").bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("before").await;
    let address = pool.local_addr().unwrap();
    drop(pool.clone());
    drop(pool);
    peer.echo("after").await;
    let mut other = Peer(TcpStream::connect(address).await.unwrap());
    other.echo("and for others").await;
    let pool = AcceptorPool::find("nobody's").unwrap();
    assert_eq!(pool.connections(), 2);
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_handle_works_from_any_thread() {
    let pool = AcceptorPool::with_protocol(|_| Echo).name("asked").bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("hello").await;
    let handle = pool.untyped();
    // The thread of the pool's own arbiter does nothing but wait here.
    let (connections, killed) = std::thread::spawn(move || {
        assert_eq!((handle.name(), handle.info().accepted), ("asked", 1));
        let list = handle.list();
        (list.len(), handle.kill(list[0].id))
    })
    .join()
    .unwrap();
    assert_eq!((connections, killed), (1, true));
    peer.until_gone().await;
    let handle = pool.untyped();
    let stopped = tokio::task::spawn_blocking(move || {
        // From a plain thread as well: neither an actix system nor a runtime of tokio's with timers.
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(handle.stop(Duration::ZERO))
    });
    in_time(stopped).await.unwrap();
}

#[actix::test]
async fn pools_are_found_and_stopped_by_name_and_typed() {
    let typed = |handle: &PoolHandle| {
        (
            handle.typed::<Connection<Echo>>().is_some(),
            handle.typed::<Connection<Told>>().is_some(),
            handle.typed::<NoActor>().is_some(),
        )
    };
    AcceptorPool::with_protocol(|_| Echo).name("echo").bind("127.0.0.1:0").await.unwrap();
    AcceptorPool::with_fn(|socket| async { drop(socket) }).name("serve").bind("127.0.0.1:0").await.unwrap();
    let unnamed = AcceptorPool::with_protocol(|_| Echo).bind("127.0.0.1:0").await.unwrap();
    assert_eq!(typed(&AcceptorPool::find("echo").unwrap()), (true, false, false));
    assert_eq!(typed(&AcceptorPool::find("serve").unwrap()), (false, false, true));
    assert!(AcceptorPool::find("nobody").is_none());
    let address = unnamed.local_addr().unwrap().to_string();
    assert_eq!(AcceptorPool::find(&address).unwrap().local_addr(), unnamed.local_addr());
    let mut peer = connect(&AcceptorPool::find("echo").unwrap()).await;
    peer.echo("hello").await;
    let found: Pool<Connection<Echo>> = AcceptorPool::find("echo").unwrap().typed().unwrap();
    assert_eq!(found.addresses().len(), 1);
    in_time(found.stop(Duration::from_secs(60))).await;
    assert_eq!(peer.read_to_end().await, b"");
    assert!(AcceptorPool::find("echo").is_none());
    assert!(AcceptorPool::find("serve").is_some());
    for name in ["serve", &address] {
        in_time(AcceptorPool::find(name).unwrap().stop(None)).await;
    }
}

#[actix::test]
async fn all_pools_of_a_system_can_be_listed() {
    let names = || -> Vec<String> { AcceptorPool::all().iter().map(|pool| pool.name().to_owned()).collect() };
    assert!(names().is_empty());
    let builder = || AcceptorPool::with_protocol(|_| Echo);
    let second = builder().name("second").bind("127.0.0.1:0").await.unwrap();
    let first = builder().name("first").bind("127.0.0.1:0").await.unwrap();
    let memory = || actix_acceptor::transport::Memory::new("memory").0;
    // Two with the same default name, of which `find` knows one.
    let unnamed = [builder().listen(memory()).await.unwrap(), builder().listen(memory()).await.unwrap()];
    assert_eq!(names(), ["first", unnamed[0].name(), unnamed[1].name(), "second"]);
    let elsewhere = std::thread::spawn(|| actix::System::new().block_on(async { AcceptorPool::all().len() }));
    assert_eq!(elsewhere.join().unwrap(), 0);
    assert!(builder().name("first").bind("127.0.0.1:0").await.is_err());
    assert_eq!(AcceptorPool::all().len(), 4);
    for pool in AcceptorPool::all() {
        in_time(pool.stop(None)).await;
    }
    assert!(names().is_empty());
    drop((first, second));
    assert_eq!(std::thread::spawn(|| AcceptorPool::all().len()).join().unwrap(), 0, "without a system");
}

#[test]
fn pool_names_are_unique_per_system() {
    fn system(met: std::sync::Arc<std::sync::Barrier>) -> std::thread::JoinHandle<SocketAddr> {
        std::thread::spawn(move || {
            System::new().block_on(async {
                let pool = AcceptorPool::with_protocol(|_| Echo).name("same").bind("127.0.0.1:0").await.unwrap();
                met.wait();
                let found = AcceptorPool::find("same").unwrap();
                assert_eq!(found.local_addr(), pool.local_addr());
                connect(&found).await.echo("each its own").await;
                met.wait();
                in_time(found.stop(Duration::ZERO)).await;
                pool.local_addr().unwrap()
            })
        })
    }
    let met = std::sync::Arc::new(std::sync::Barrier::new(2));
    let systems = [system(met.clone()), system(met)];
    let [one, other] = systems.map(|system| system.join().unwrap());
    assert_ne!(one, other);
}

#[test]
fn a_name_is_freed_with_its_system() {
    let start = || async {
        AcceptorPool::with_protocol(|_| Echo).name("again").bind("127.0.0.1:0").await.unwrap();
    };
    for _ in 0..3 {
        let system = System::new();
        system.block_on(async move {
            start().await;
            assert!(AcceptorPool::find("again").is_some());
        });
    }
}

/// Reports the shutdown and its end; ignores the shutdown.
struct Told(mpsc::Sender<Option<CloseReason>>);

impl Protocol for Told {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(packet)
    }

    fn shutdown(&mut self, _: Option<Instant>, _: &mut Conn<Self>) -> Next<Self> {
        self.0.send(None).unwrap();
        Next::Continue
    }

    fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
        self.0.send(Some(why.reason())).unwrap();
    }
}

#[test]
fn system_stop_closes_every_connection() {
    for here in [false, true] {
        let (tell, told) = mpsc::channel();
        let (hand, handed) = mpsc::channel();
        let system = std::thread::spawn(move || {
            let system = System::new();
            system.block_on(async move {
                let builder = AcceptorPool::with_protocol(move |_| Told(tell.clone())).acceptors(2);
                let builder = if here { builder.on_current_arbiter() } else { builder };
                let pool = builder.bind("127.0.0.1:0").await.unwrap();
                hand.send((pool.untyped(), System::current())).unwrap();
            });
            system.run()
        });
        let (pool, running) = handed.recv().unwrap();
        let mut peers: Vec<_> = (0..20).map(|_| BlockingPeer::connect(pool.local_addr().unwrap())).collect();
        peers.iter_mut().for_each(|peer| peer.echo("hello"));
        let waiter = std::thread::spawn({
            let pool = pool.clone();
            move || tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(pool.stopped())
        });
        running.stop();
        system.join().unwrap().unwrap();
        for _ in 0..20 {
            let ending = loop {
                if let Some(reason) = told.recv_timeout(TIME_LIMIT).expect("one `closed` for each") {
                    break reason;
                }
            };
            assert_eq!(ending, CloseReason::Killed, "here: {here}");
        }
        assert!(matches!(waiter.join().unwrap(), Err(PoolError::Orphaned)), "whoever waited for the end is told");
        for peer in &mut peers {
            use std::io::Read;
            assert!(matches!(peer.0.read(&mut [0]), Ok(0) | Err(_)), "the peer sees the end");
        }
        assert!(told.recv().is_err(), "nothing is left that could tell");
        // The place is given back last, after the protocol's state is dropped.
        let ended = || (pool.info().connections, pool.info().accepted, pool.info().closed.get(CloseReason::Killed));
        let limit = Instant::now() + TIME_LIMIT;
        while ended() != (0, 20, 20) && Instant::now() < limit {
            std::thread::yield_now();
        }
        assert_eq!(ended(), (0, 20, 20));
        assert!(std::net::TcpStream::connect(pool.local_addr().unwrap()).is_err(), "the port is closed");
    }
}

#[actix::test]
async fn connections_end_in_grace_when_the_pools_arbiter_stops() {
    let (tell, told) = mpsc::channel();
    let (hand, handed) = tokio::sync::oneshot::channel();
    let grace = Duration::from_millis(300);
    let home = Arbiter::new();
    home.spawn(async move {
        let builder = AcceptorPool::with_protocol(move |_| Told(tell.clone())).acceptors(2).grace(grace).name("orphan");
        let _ = hand.send(builder.bind("127.0.0.1:0").await.unwrap());
    });
    let pool = in_time(handed).await.unwrap();
    let mut peers = Vec::new();
    for _ in 0..10 {
        let mut peer = connect(&pool).await;
        peer.echo("hello").await;
        peers.push(peer);
    }
    let stopped = Instant::now();
    home.stop();
    assert!(matches!(in_time(pool.stopped()).await, Err(PoolError::Orphaned)));
    assert!(AcceptorPool::find("orphan").is_none());
    for peer in &mut peers {
        peer.until_gone().await;
    }
    assert!(stopped.elapsed() >= grace);
    let mut words: Vec<_> =
        in_time(tokio::task::spawn_blocking(move || told.into_iter().collect::<Vec<_>>())).await.unwrap();
    assert_eq!(words.drain(..10).collect::<Vec<_>>(), [None; 10], "told");
    assert_eq!(words, [Some(CloseReason::Killed); 10], "ended");
    eventually(|| std::net::TcpStream::connect(pool.local_addr().unwrap()).is_err()).await;
    assert_eq!(pool.status(), actix_acceptor::info::Status::Ended);
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn a_wait_for_connections_ends_with_the_pool() {
    let pool = AcceptorPool::with_protocol(|_| Echo).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("hello").await;
    let waiting = actix_rt::spawn({
        let pool = pool.clone();
        async move { pool.wait_for(|connections| connections > 5, None).await }
    });
    // The wait has begun, and a change of the number does not end it.
    let _second = connect(&pool).await;
    pool.wait_for(|connections| connections == 2, TIME_LIMIT).await.unwrap();
    assert!(!waiting.is_finished());
    in_time(pool.stop(Duration::ZERO)).await;
    let ended = in_time(waiting).await.unwrap().unwrap_err();
    assert_eq!((ended.connections, ended.ended), (0, true));
    assert_eq!(ended.to_string(), "the pool has ended while waiting for the number of connections: there are 0");
    // Later, too, and what is true already stays true.
    assert!(in_time(pool.wait_for(|connections| connections > 5, None)).await.unwrap_err().ended);
    assert_eq!(pool.wait_for(|connections| connections == 0, None).await, Ok(0));
}
