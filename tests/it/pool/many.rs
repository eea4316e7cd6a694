//! What calls on a pool cost with many connections. Measured in CPU time of the one thread on which all of it runs.

use std::time::Duration;

use actix_acceptor::{transport::Memory, AcceptorPool, Connection, Framing, Pool};
use futures::future::join_all;
use nix::time::{clock_gettime, ClockId};
use tokio::io::DuplexStream;

use support::*;

const FEW: usize = 2_000;
const MANY: usize = 8_000;

async fn pool_of(connections: usize) -> (Pool<Connection<Echo>>, Vec<DuplexStream>) {
    let (memory, connector) = Memory::new("many");
    let pool = AcceptorPool::with_protocol(|_| Echo).framing(Framing::lines()).on_current_arbiter();
    let pool = pool.idle_timeout(None).packet_timeout(None).max_connections(MANY).listen(memory).await.unwrap();
    let peers = join_all((0..connections).map(|_| connector.connect())).await;
    within(Duration::from_secs(60), pool.wait_for(|live| live == connections, None)).await.unwrap();
    (pool, peers.into_iter().map(Result::unwrap).collect())
}

fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

/// The least CPU time of several runs.
fn least(mut run: impl FnMut()) -> Duration {
    let times = (0..5).map(|_| {
        let began = cpu();
        run();
        cpu() - began
    });
    times.min().unwrap()
}

#[actix::test]
async fn finding_does_not_take_longer_among_more_connections() {
    let mut times = Vec::new();
    for connections in [FEW, MANY] {
        let (pool, _peers) = pool_of(connections).await;
        let ids: Vec<_> = pool.list().iter().map(|connection| connection.id).collect();
        assert_eq!(ids.iter().map(|id| id.get()).collect::<Vec<_>>(), (1..=connections as u64).collect::<Vec<_>>());
        // The newest ones: a search from the beginning would find them last.
        let newest = &ids[connections - 1_000..];
        times.push(least(|| assert!(newest.iter().all(|id| pool.find(*id).is_some()))));
        pool.stop(Duration::ZERO).await;
    }
    assert!(times[1] < times[0] * 2, "{times:?}");
}

#[actix::test]
async fn a_drain_takes_time_in_proportion_to_its_connections() {
    let mut times = Vec::new();
    for connections in [FEW, MANY] {
        let (pool, _peers) = pool_of(connections).await;
        let began = cpu();
        let report = within(Duration::from_secs(60), pool.stop(Duration::from_secs(60))).await;
        times.push(cpu() - began);
        assert_eq!((report.asked, report.finished), (connections, connections));
    }
    // In proportion: 4. Quadratic: 16.
    assert!(times[1] < times[0] * 8, "{times:?}");
}

#[actix::test]
async fn connections_are_listed_in_the_order_of_acceptance() {
    let (pool, mut peers) = pool_of(1_000).await;
    // Every second one ends; what is left is found all the same.
    let mut number = 0;
    peers.retain(|_| {
        number += 1;
        number % 2 == 0
    });
    pool.wait_for(|live| live == 500, TIME_LIMIT).await.unwrap();
    let listed: Vec<_> = pool.list().iter().map(|connection| connection.id).collect();
    assert!(listed.is_sorted(), "{listed:?}");
    assert_eq!(listed, pool.addresses().iter().map(|(id, _)| *id).collect::<Vec<_>>());
    for id in 1..=1_000u64 {
        assert_eq!(pool.find(id.into()).is_some(), listed.contains(&id.into()), "{id}");
    }
    assert!(pool.find(0.into()).is_none() && pool.find(1_001.into()).is_none());
    pool.stop(Duration::ZERO).await;
}
