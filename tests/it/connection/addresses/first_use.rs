//! A connection has no mailbox until it is first addressed: who creates it, when, and what becomes of one that is not read.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Barrier, OnceLock};
use std::thread;
use std::time::Duration;

use actix_acceptor::{proxy::ProxyProtocol, Listener, Peer as PeerInfo};

use super::*;

/// Waits until the pool lists that many connections; returns the id of the latest.
async fn latest<A>(pool: &Pool<A>, connections: usize) -> ConnectionId {
    eventually(|| pool.connections() == connections).await;
    pool.list().last().unwrap().id
}

/// A pool whose connections wait in `init` for the end of the test.
async fn pool_that_never_acks() -> (Pool<Connection<ActionProtocol>>, Reports) {
    let init = Run(Arc::new(|me: &mut ActionProtocol, conn: &mut Conn<ActionProtocol>| {
        me.record("init");
        conn.wait(std::future::pending(), |(), me, _| me.say("never"))
    }));
    let (builder, words) = action_pool_with(Some(init));
    (builder.bind("127.0.0.1:0").await.unwrap(), words)
}

/// A message that owns a value and is not handled.
fn owning<T: Send + Sync + 'static>(value: T) -> User<Run> {
    to(move |me, _| {
        let _ = &value;
        me.say("handled")
    })
}

struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("in the drop of a message");
    }
}

#[actix::test]
async fn an_idle_connection_can_be_addressed_later() {
    let (builder, mut words) = action_pool();
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("hello\n").await;
    let id = latest(&pool, 1).await;
    let address = pool.find(id).unwrap();
    in_time(address.send(to(|_, _| Next::Send("from outside".into())))).await.unwrap();
    peer.expect(b"from outside\n").await;
    assert_eq!(pool.addresses(), [(id, address)]);
    words.expect(&["ack", "hello"]).await;
}

#[actix::test]
async fn a_message_to_all_reaches_those_never_addressed() {
    let (builder, mut words) = action_pool();
    let pool = builder.acceptors(2).bind("127.0.0.1:0").await.unwrap();
    let mut peers = Vec::new();
    for _ in 0..5 {
        let mut peer = connect(&pool).await;
        peer.echo("hello\n").await;
        words.expect(&["ack", "hello"]).await;
        peers.push(peer);
    }
    for _ in 0..2 {
        assert_eq!(pool.notify_all(say("told").0).delivered, 5);
        words.expect(&["told"; 5]).await;
    }
}

#[actix::test]
async fn a_factory_may_address_the_connection_it_makes() {
    let (words, reports) = unbounded_channel();
    let (known, mut reports) = (Arc::new(OnceLock::<Pool<Connection<ActionProtocol>>>::new()), Reports(reports));
    let factory = {
        let known = known.clone();
        move |peer: &PeerInfo| {
            let address = known.get().unwrap().find(peer.id).expect("its own connection");
            address.try_send(say("from the factory")).unwrap();
            ActionProtocol { words: words.clone(), init: None }
        }
    };
    let pool = AcceptorPool::with_protocol(factory).framing(Framing::lines()).bind("127.0.0.1:0").await.unwrap();
    known.set(pool.clone()).unwrap();
    let _peer = connect(&pool).await;
    reports.expect(&["ack", "from the factory"]).await;
    // The factory owns the pool that owns the factory.
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn threads_that_ask_at_once_get_the_same_mailbox() {
    const THREADS: usize = 4;
    let (builder, mut words) = action_pool();
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let mut peers = Vec::new();
    for connections in 1..=40 {
        peers.push(connect(&pool).await);
        words.expect(&["ack"]).await;
        let (id, barrier) = (latest(&pool, connections).await, Barrier::new(THREADS));
        let ask = || {
            barrier.wait();
            let address = pool.find(id).unwrap();
            address.try_send(say("asked")).unwrap();
            address
        };
        let addresses = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(addresses.iter().all(|address| *address == addresses[0]));
        words.expect(&["asked"; THREADS]).await;
    }
}

#[actix::test]
async fn no_message_outlives_a_find_that_races_the_end() {
    const CONNECTIONS: u64 = 200;
    let (builder, _words) = action_pool();
    let pool = builder.acceptors(2).bind("127.0.0.1:0").await.unwrap();
    let (owned, done) = (Arc::new(()), Arc::new(AtomicBool::new(false)));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (pool, owned, done) = (pool.clone(), owned.clone(), done.clone());
            thread::spawn(move || {
                let mut found = 0_usize;
                while !done.load(Relaxed) {
                    for address in (1..=CONNECTIONS).filter_map(|id| pool.find(id.into())) {
                        address.do_send(owning(owned.clone()));
                        found += 1;
                    }
                    thread::sleep(ms(1) / 20);
                }
                found
            })
        })
        .collect();
    for number in 1..=CONNECTIONS {
        let mut peer = connect(&pool).await;
        match number % 3 {
            0 => peer.finish().await,
            1 => peer.reset(),
            _ => {
                eventually(|| pool.connections() > 0).await;
                pool.list().iter().for_each(|connection| _ = pool.kill(connection.id));
            }
        }
    }
    in_time(pool.stop(Duration::ZERO)).await;
    assert!((1..=CONNECTIONS).all(|id| pool.find(id.into()).is_none()));
    done.store(true, Relaxed);
    let found: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert!(found > 0);
    eventually(|| Arc::strong_count(&owned) == 1).await;
}

#[actix::test]
async fn messages_in_a_mailbox_never_read_are_dropped() {
    let (pool, mut words) = pool_that_never_acks().await;
    let _peer = connect(&pool).await;
    let id = latest(&pool, 1).await;
    words.expect(&["init"]).await;
    let address = pool.find(id).unwrap();
    let owned = Arc::new(());
    address.do_send(owning(owned.clone()));
    let question = address.send(owning(owned.clone()));
    assert!(pool.kill(id));
    assert!(matches!(in_time(question).await, Err(MailboxError::Closed)));
    words.expect(&["closed: killed"]).await;
    ended(&pool, CloseReason::Killed).await;
    assert_eq!((Arc::strong_count(&owned), pool.find(id), address.connected()), (1, None, false));
    assert!(words.none());
}

#[actix::test]
async fn an_unread_message_that_panics_in_drop_costs_nothing() {
    let (pool, mut words) = pool_that_never_acks().await;
    let _peer = connect(&pool).await;
    let id = latest(&pool, 1).await;
    words.expect(&["init"]).await;
    pool.find(id).unwrap().do_send(owning(PanicsInDrop));
    assert!(pool.kill(id));
    words.expect(&["closed: killed"]).await;
    ended(&pool, CloseReason::Killed).await;
}

#[actix::test]
async fn messages_are_dropped_when_the_factory_panics() {
    let owned = Arc::new(());
    let known = Arc::new(OnceLock::<Pool<Connection<Echo>>>::new());
    let factory = {
        let (known, owned) = (known.clone(), owned.clone());
        move |peer: &PeerInfo| -> Echo {
            known.get().unwrap().find(peer.id).unwrap().do_send(Owning(owned.clone()));
            panic!("as asked")
        }
    };
    let pool = AcceptorPool::with_protocol(factory).bind("127.0.0.1:0").await.unwrap();
    known.set(pool.clone()).unwrap();
    connect(&pool).await.until_gone().await;
    eventually(|| pool.info().closed.get(CloseReason::Panic) == 1).await;
    // The factory's own one is left.
    eventually(|| Arc::strong_count(&owned) == 2).await;
    in_time(pool.stop(None)).await;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Owning(#[allow(dead_code)] Arc<()>);

impl Handler<Owning> for Connection<Echo> {
    type Result = ();

    fn handle(&mut self, _: Owning, _: &mut Self::Context) {}
}

#[actix::test]
async fn an_actor_has_no_address_before_it_is_started() {
    let start = |socket| Ok(SocketActor::start(socket, echo));
    let listener = Listener::tcp("127.0.0.1:0").proxy_protocol(ProxyProtocol::required().trust("127.0.0.0/8").unwrap());
    let pool = AcceptorPool::with_actor(start).listener(listener).start().await.unwrap();
    let mut peer = connect(&pool).await;
    let id = latest(&pool, 1).await;
    assert!(pool.find(id).is_none() && pool.addresses().is_empty());
    peer.send("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n").await;
    peer.echo("hello").await;
    assert_eq!(pool.addresses(), [(id, pool.find(id).unwrap())]);
}
