//! Observers and alarms that are added to a running pool, and removed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

use actix_acceptor::telemetry::{Alarm, Observer, ObserverKey, PoolEvent, Spans};
use actix_acceptor::{AcceptorPool, PoolHandle};
use support::logs::listen;
use support::spans::of;
use support::*;

async fn pool(name: &str) -> PoolHandle {
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(1).name(name);
    builder.bind("127.0.0.1:0").await.unwrap().untyped()
}

async fn greeted(pool: &PoolHandle) -> Peer {
    let mut peer = connect(pool).await;
    peer.echo("hello").await;
    peer
}

#[actix::test]
async fn an_added_observer_sees_what_follows_until_it_is_removed() {
    let pool = pool("live-observer").await;
    let (first, second, third) = (EventRecorder::new(), EventRecorder::new(), EventRecorder::new());
    let before = greeted(&pool).await;
    let key = pool.add_observer(first.clone());
    let other = pool.add_observer(second.clone());
    assert_ne!(key, other);
    assert_eq!(first.seen(), [], "nothing about the past");
    drop(before);
    eventually(|| pool.connections() == 0).await;
    assert_eq!((first.ends().len(), second.ends().len()), (1, 1), "but ends of connections that were alive");
    assert!(pool.remove_observer(key) && !pool.remove_observer(key));
    drop(greeted(&pool).await);
    eventually(|| pool.connections() == 0).await;
    eventually(|| second.ends().len() == 2).await;
    assert_eq!(first.ends().len(), 1);
    let elsewhere = self::pool("live-elsewhere").await;
    assert!(!elsewhere.remove_observer(other), "a key is valid for one pool");
    in_time(pool.stop(None)).await;
    in_time(elsewhere.stop(None)).await;
    pool.add_observer(third.clone());
    assert_eq!(third.seen(), [], "a pool that has ended reports nothing");
}

/// Removes itself at its first event; counts them, and whether it was dropped.
struct Once(Arc<Mutex<Option<(PoolHandle, ObserverKey)>>>, Arc<(AtomicUsize, AtomicBool)>);

impl Observer for Once {
    fn observe(&self, _: &str, _: &PoolEvent<'_>) {
        self.1 .0.fetch_add(1, SeqCst);
        let (pool, key) = self.0.lock().unwrap().take().expect("removed once");
        assert!(pool.remove_observer(key));
        assert!(!self.1 .1.load(SeqCst), "not dropped while it is called");
        pool.add_observer(EventRecorder::new());
    }
}

impl Drop for Once {
    fn drop(&mut self) {
        self.1 .1.store(true, SeqCst);
        panic!("the observer's own fault");
    }
}

#[actix::test]
async fn an_observer_may_remove_itself() {
    let pool = pool("live-itself").await;
    let (own, counts) = (Arc::default(), Arc::<(AtomicUsize, AtomicBool)>::default());
    let key = pool.add_observer(Once(Arc::clone(&own), counts.clone()));
    *own.lock().unwrap() = Some((pool.clone(), key));
    let mut peer = greeted(&pool).await;
    eventually(|| counts.1.load(SeqCst)).await;
    assert_eq!(counts.0.load(SeqCst), 1);
    peer.echo("still there").await;
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn observers_come_and_go_while_connections_do() {
    let pool = pool("live-races").await;
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (pool, stop) = (pool.clone(), stop.clone());
            thread::spawn(move || {
                while !stop.load(SeqCst) {
                    let key = pool.add_observer(EventRecorder::new());
                    assert!(pool.remove_observer(key));
                }
            })
        })
        .collect();
    let observer = EventRecorder::new();
    pool.add_observer(observer.clone());
    for _ in 0..50 {
        drop(greeted(&pool).await);
    }
    eventually(|| pool.connections() == 0).await;
    stop.store(true, SeqCst);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    eventually(|| observer.ends().len() == 50).await;
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn added_spans_cover_the_pool_and_new_connections() {
    listen();
    let pool = pool("live-spans").await;
    let _before = greeted(&pool).await;
    pool.add_observer(Spans::new());
    let _after = greeted(&pool).await;
    let counts = ["pool", "listener", "acceptor", "connection"].map(|name| of("live-spans", name).len());
    assert_eq!(counts, [1, 1, 1, 1]);
    let connection = of("live-spans", "connection").remove(0);
    assert_eq!(connection.field("id"), "2");
    assert_eq!(connection.parents.iter().map(|parent| parent.0).collect::<Vec<_>>(), ["pool", "listener"]);
    in_time(pool.stop(None)).await;
    for name in ["pool", "listener", "acceptor", "connection"] {
        assert!(of("live-spans", name).iter().all(|span| span.closed), "{name}");
    }
    pool.add_observer(Spans::new());
    assert_eq!(of("live-spans", "pool").len(), 1, "a pool that has ended has no new span");
}

#[actix::test]
async fn an_added_alarm_is_raised_at_once_if_due() {
    let pool = pool("live-alarm").await;
    let observer = EventRecorder::new();
    pool.add_observer(observer.clone());
    let peers = [greeted(&pool).await, greeted(&pool).await];
    let key = pool.add_alarm(Alarm::new("two", 2)).unwrap();
    let other = pool.add_alarm(Alarm::new("three", 3)).unwrap();
    assert_eq!((observer.alarms("two"), observer.alarms("three")), (vec![(true, 2)], vec![]));
    let third = greeted(&pool).await;
    assert_eq!(observer.alarms("three"), [(true, 3)]);
    assert!(pool.remove_alarm(key) && !pool.remove_alarm(key) && pool.remove_alarm(other));
    drop((peers, third));
    eventually(|| pool.connections() == 0).await;
    assert_eq!((observer.alarms("two").len(), observer.alarms("three").len()), (1, 1));
    let invalid = pool.add_alarm(Alarm::new("invalid", 2).low(2)).unwrap_err();
    assert_eq!(invalid.setting, "alarm");
    in_time(pool.stop(None)).await;
}
