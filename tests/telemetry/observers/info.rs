//! `info` of a pool answers at once and stops no connection.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use actix_acceptor::{
    telemetry::{Alarm, Observer, PoolEvent},
    AcceptorPool, PoolHandle,
};

use support::*;

#[actix::test]
async fn info_neither_waits_nor_makes_anyone_wait() {
    let (open, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let (builder, mut callbacks) = Probe::pool(move |call, _| match call {
        Call::Packet(word) if &**word == b"block" => {
            gate.lock().unwrap().recv_timeout(TIME_LIMIT).expect("released before the time limit");
            protocol_default(call)
        }
        Call::Packet(word) => actix_acceptor::Next::Send(word.clone()),
        call => protocol_default(call),
    });
    let pool = builder.acceptors(2).watchdog(None).bind("127.0.0.1:0").await.unwrap();
    let mut blocked = connect(&pool).await;
    blocked.echo("hello").await;
    let place = |pool: &PoolHandle| pool.info().acceptors.iter().position(|one| one.connections == 1).unwrap();
    let (busy, handle) = (place(&pool.untyped()), pool.untyped());
    blocked.send("block").await;
    callbacks.until(&Call::packet("block")).await;
    let looker = thread::spawn(move || {
        let (begun, mut looks) = (Instant::now(), 0);
        while begun.elapsed() < Duration::from_millis(200) {
            let (info, list) = (handle.info(), handle.list());
            assert_eq!(info.accepted, info.connections + info.closed.total());
            let own = list.iter().find(|info| info.id.get() == 1).expect("the busy one is in the list");
            assert_eq!((own.bytes_in, info.acceptors[busy].connections), (10, 1));
            looks += 1;
        }
        looks
    });
    // The other acceptor serves its peers meanwhile.
    while !looker.is_finished() {
        connect(&pool).await.echo("served").await;
    }
    let looks: u64 = looker.join().unwrap();
    open.send(()).unwrap();
    assert!(looks > 0);
    blocked.echo("and on it goes").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

/// Calls `info` on the pool at every event.
#[derive(Clone, Default)]
struct CallsInfo {
    pool: Arc<OnceLock<PoolHandle>>,
    looks: Arc<Mutex<Vec<(u64, usize)>>>,
}

impl CallsInfo {
    fn look(&self) {
        if let Some(pool) = self.pool.get() {
            let look = (pool.info().connections, pool.list().len());
            self.looks.lock().unwrap().push(look);
        }
    }
}

impl Observer for CallsInfo {
    fn observe(&self, _: &str, _: &PoolEvent<'_>) {
        self.look();
    }
}

#[actix::test]
async fn observers_alarms_and_callbacks_may_call_info() {
    let curious = CallsInfo::default();
    let (in_alarm, in_callback) = (curious.clone(), curious.clone());
    let (builder, _diary) = Probe::pool(move |call, _| {
        in_callback.look();
        protocol_default(call)
    });
    let alarm = Alarm::new("look", 1).cool_down(Duration::ZERO).call(move |_| in_alarm.look());
    let pool =
        builder.acceptors(1).watchdog(None).alarm(alarm).observer(curious.clone()).bind("127.0.0.1:0").await.unwrap();
    curious.pool.set(pool.untyped()).unwrap();
    let mut peer = connect(&pool).await;
    peer.finish().await;
    peer.until_gone().await;
    // Started, the alarm twice, init, ready, ack, half-closed; then stopped, and the alarm twice.
    eventually(|| curious.looks.lock().unwrap().len() == 10).await;
    let looks = curious.looks.lock().unwrap().clone();
    assert_eq!(looks[..7], [(1, 1); 7]);
    assert_eq!(looks[7..], [(0, 0); 3]);
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn a_pool_without_observers_counts_too() {
    let pool = AcceptorPool::with_protocol(|_| Echo).bind("127.0.0.1:0").await.unwrap();
    connect(&pool).await.echo("hello").await;
    eventually(|| pool.info().closed.total() == 1).await;
    in_time(pool.stop(None)).await;
    assert_eq!((pool.info().accepted, pool.info().bytes_in), (1, 5));
}
