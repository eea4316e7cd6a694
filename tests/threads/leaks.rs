//! A thousand starts and stops leave neither descriptors nor threads.

use std::io;
use std::time::Duration;

use actix_acceptor::{AcceptorPool, StartError};
use support::*;

/// Descriptors and threads of this process.
fn inventory() -> (usize, usize) {
    let count = |directory| std::fs::read_dir(directory).unwrap().count();
    (count("/proc/self/fd"), count("/proc/self/task"))
}

#[actix::test]
async fn starts_and_stops_leak_neither_descriptors_nor_threads() {
    let _exclusive = crate::exclusive().await;
    once(0).await;
    // Threads and sockets may be a moment behind the stop that ended them.
    let mut before = inventory();
    eventually(|| std::mem::replace(&mut before, inventory()) == before).await;
    for round in 0..1_000 {
        once(round).await;
    }
    eventually(|| {
        let (descriptors, threads) = inventory();
        descriptors <= before.0 && threads <= before.1
    })
    .await;
}

/// A pool's whole life: with a peer that leaves, one that is shut down, one that is killed; or a start that fails.
async fn once(round: usize) {
    let builder = || AcceptorPool::with_protocol(|_| Echo).name("leaky?").acceptors(2);
    if round % 10 == 9 {
        let (transport, script_handle) = ScriptedTransport::in_memory();
        script_handle.share(|| Err(io::Error::other("as asked")));
        let failed = in_time(builder().name("fails").listen(transport)).await;
        assert!(matches!(failed, Err(StartError::AcceptorFailed { .. })));
        eventually(|| AcceptorPool::find("fails").is_none()).await;
    }
    let pool = in_time(builder().bind("127.0.0.1:0")).await.unwrap();
    let (mut leaves, mut stays) = (connect(&pool).await, connect(&pool).await);
    leaves.echo("hello").await;
    stays.echo("hello").await;
    drop(leaves);
    let grace = if round.is_multiple_of(2) { TIME_LIMIT } else { Duration::ZERO };
    in_time(pool.stop(grace)).await;
    stays.until_gone().await;
}

#[test]
fn a_handle_of_an_ended_pool_keeps_no_descriptor() {
    let _exclusive = crate::COUNTING.blocking_lock();
    let whole_life = || {
        let system = std::thread::spawn(|| {
            actix::System::new().block_on(async {
                let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(1).bind("127.0.0.1:0").await.unwrap();
                connect(&pool).await.echo("hello").await;
                in_time(pool.stop(Duration::ZERO)).await;
                pool
            })
        });
        system.join().unwrap()
    };
    // What the process opens once, and for a moment longer than the pool.
    drop(whole_life());
    let mut before = inventory();
    eventually_blocking(|| std::mem::replace(&mut before, inventory()) == before);
    let _handles: Vec<_> = (0..10).map(|_| whole_life()).collect();
    eventually_blocking(|| inventory().0 <= before.0);
}
