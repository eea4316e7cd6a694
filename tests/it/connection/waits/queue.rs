//! The queue of blocking closures, over all connections of a pool.

use std::sync::{Arc, Mutex};

use actix_acceptor::{Conn, Next, Pool, Wait};
use support::*;

use super::*;

/// The lines whose closures have started, in order.
type Started = Arc<Mutex<Vec<Bytes>>>;

type Setup = (Pool<Connection<Probe>>, Started, std::sync::mpsc::Sender<()>, Callbacks);

async fn blocking(max: usize) -> Setup {
    blocking_with(Wait::new(), max).await
}

/// A closure for each line, which is the answer once the gate lets it pass.
async fn blocking_with(options: Wait, max: usize) -> Setup {
    let (gate, open) = support::Gate::new();
    let started = Started::default();
    let log = started.clone();
    let act = move |call: &Call, conn: &mut Conn<Probe>| match call {
        Call::Packet(bytes) => {
            let (bytes, gate, log) = (bytes.clone(), gate.clone(), log.clone());
            let work = move || {
                log.lock().unwrap().push(bytes.clone());
                gate.pass();
                bytes
            };
            conn.blocking_with(options, work, |outcome, _, _| match outcome {
                Ok(bytes) => Next::Send(bytes),
                Err(why) => Next::SendAndStop(Bytes::from(why.to_string())),
            })
        }
        call => protocol_default(call),
    };
    let (pool, callbacks) = lines(act, |builder| builder.acceptors(2).max_blocking(max)).await;
    (pool, started, open, callbacks)
}

fn counts(pool: &Pool<Connection<Probe>>) -> (usize, usize) {
    let info = pool.info();
    (info.blocking_running, info.blocking_queued)
}

async fn ask(pool: &Pool<Connection<Probe>>, line: &str) -> Peer {
    let before = counts(pool);
    let mut peer = connect(pool).await;
    peer.send(format!("{line}\n")).await;
    eventually(|| counts(pool) != before).await;
    peer
}

#[actix::test]
async fn blocking_work_above_the_limit_queues_in_order() {
    let (pool, started, open, _callbacks) = blocking(1).await;
    let mut peers = Vec::new();
    for line in ["1", "2", "3", "4", "5", "6"] {
        peers.push(ask(&pool, line).await);
    }
    assert_eq!(counts(&pool), (1, 5));
    // A connection that ends leaves the queue.
    peers.remove(3).reset();
    eventually(|| counts(&pool) == (1, 4)).await;
    for _ in 0..5 {
        open.send(()).unwrap();
    }
    eventually(|| counts(&pool) == (0, 0)).await;
    assert_eq!(started.lock().unwrap().concat(), b"12356");
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn the_limit_of_blocking_work_changes_at_once() {
    let (pool, started, open, _callbacks) = blocking(1).await;
    let mut peers = Vec::new();
    for line in ["1", "2", "3"] {
        peers.push(ask(&pool, line).await);
    }
    assert_eq!(counts(&pool), (1, 2));
    pool.change(|settings| settings.max_blocking = 3).await.unwrap();
    assert_eq!(counts(&pool), (3, 0));
    pool.change(|settings| settings.max_blocking = 1).await.unwrap();
    peers.push(ask(&pool, "4").await);
    assert_eq!(counts(&pool), (3, 1), "those that run go on, and count");
    eventually(|| started.lock().unwrap().len() == 3).await;
    open.send(()).unwrap();
    open.send(()).unwrap();
    eventually(|| counts(&pool) == (1, 1)).await;
    assert_eq!(started.lock().unwrap().len(), 3);
    open.send(()).unwrap();
    eventually(|| started.lock().unwrap().len() == 4).await;
    open.send(()).unwrap();
    peers[3].expect(b"4\n").await;
    let none = pool.change(|settings| settings.max_blocking = 0).await.unwrap_err();
    assert!(none.to_string().contains("max_blocking: must be at least 1"), "{none}");
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn a_killed_connections_closure_keeps_its_place() {
    let (pool, started, open, mut callbacks) = blocking(1).await;
    let _killed = ask(&pool, "1").await;
    eventually(|| started.lock().unwrap().len() == 1).await;
    let mut next = ask(&pool, "2").await;
    assert!(pool.kill(pool.list()[0].id));
    callbacks.closed().await;
    assert_eq!(counts(&pool), (1, 1));
    open.send(()).unwrap();
    eventually(|| started.lock().unwrap().len() == 2).await;
    open.send(()).unwrap();
    next.expect(b"2\n").await;
    in_time(pool.stop(None)).await;
}

/// A closure whose wait ends before its turn has come never runs.
#[actix::test]
async fn blocking_work_of_a_peer_that_has_left_is_not_started() {
    let (pool, started, open, _callbacks) = blocking_with(Wait::new().until_peer_leaves(), 1).await;
    let mut first = ask(&pool, "first").await;
    let mut leaves = ask(&pool, "leaves").await;
    assert_eq!(counts(&pool), (1, 1));
    leaves.finish().await;
    leaves.expect(b"the peer left during the wait\n").await;
    eventually(|| counts(&pool) == (1, 0)).await;
    open.send(()).unwrap();
    first.expect(b"first\n").await;
    eventually(|| counts(&pool) == (0, 0)).await;
    assert_eq!(started.lock().unwrap()[..], [Bytes::from("first")]);
    in_time(pool.stop(None)).await;
}
