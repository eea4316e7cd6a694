//! The watchdog's thread: it lives as long as its pool, and is awake while there are connections.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::time::Duration;

use actix::System;
use actix_acceptor::{handlers::ProtocolService, AcceptorPool, Builder, Connection, Pool, StartError};
use support::*;

/// The watchdogs of this process, by their threads: how often each has gone to sleep so far.
fn watchdogs() -> BTreeMap<OsString, u64> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let of = |task: std::fs::DirEntry| {
        let status = std::fs::read_to_string(task.path().join("status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let sleeps = field("voluntary_ctxt_switches:")?.parse().ok()?;
        field("Name:")?.ends_with("-watch").then(|| (task.file_name(), sleeps))
    };
    tasks.filter_map(|task| of(task.ok()?)).collect()
}

fn pool() -> Builder<ProtocolService<Echo>> {
    AcceptorPool::with_protocol(|_| Echo).acceptors(2).watchdog(Duration::from_millis(20))
}

/// With its watchdog at work.
async fn pool_with_a_peer() -> (Pool<Connection<Echo>>, Peer) {
    let pool = pool().bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("hello").await;
    eventually(|| watchdogs().len() == 1).await;
    (pool, peer)
}

/// One test, for there is one process to look at.
#[actix::test]
async fn the_watchdog_thread_lives_with_its_pool() {
    let _exclusive = crate::exclusive().await;
    it_ends_when_the_pool_is_stopped().await;
    the_watchdog_sleeps_while_there_are_no_connections().await;
    it_does_not_outlive_a_failed_start().await;
    the_watchdog_ends_with_a_system_whose_pool_was_not_stopped().await;
}

async fn it_ends_when_the_pool_is_stopped() {
    let unwatched = pool().watchdog(None).bind("127.0.0.1:0").await.unwrap();
    assert_eq!(watchdogs().len(), 0, "none was asked for");
    let (pool, _stays) = pool_with_a_peer().await;
    in_time(pool.stop(Duration::ZERO)).await;
    // The handle is still held: it keeps no thread.
    eventually(|| watchdogs().is_empty()).await;
    assert_eq!(pool.info().blocked, 0);
    in_time(unwatched.stop(None)).await;
}

async fn the_watchdog_sleeps_while_there_are_no_connections() {
    let (awake, mut stays) = pool_with_a_peer().await;
    let its_thread = watchdogs().into_keys().next().unwrap();
    let pool = pool().bind("127.0.0.1:0").await.unwrap();
    eventually(|| watchdogs().len() == 2).await;
    let thread = watchdogs().into_keys().find(|thread| *thread != its_thread).unwrap();
    for _ in 0..2 {
        // A round may have been on its way; then there is quiet, while the other one looks many times.
        goes_to_sleep(&its_thread, 20).await;
        let before = watchdogs()[&thread];
        goes_to_sleep(&its_thread, 50).await;
        assert_eq!(watchdogs()[&thread], before, "nobody is there");
        let mut peer = connect(&pool).await;
        peer.echo("hello").await;
        goes_to_sleep(&thread, 10).await;
        drop(peer);
        eventually(|| pool.connections() == 0).await;
    }
    stays.echo("still watched").await;
    in_time(awake.stop(None)).await;
    in_time(pool.stop(None)).await;
    eventually(|| watchdogs().is_empty()).await;
}

/// Waits until it has done so this many times more.
async fn goes_to_sleep(thread: &OsString, times: u64) {
    let before = watchdogs()[thread];
    eventually(|| watchdogs()[thread] > before + times).await;
}

async fn it_does_not_outlive_a_failed_start() {
    let (transport, script_handle) = ScriptedTransport::in_memory();
    script_handle.share(|| Err(io::Error::other("as asked")));
    let failed = in_time(pool().listen(transport)).await;
    assert!(matches!(failed, Err(StartError::AcceptorFailed { .. })));
    let first = pool().name("taken").watchdog(None).bind("127.0.0.1:0").await.unwrap();
    let second = in_time(pool().name("taken").bind("127.0.0.1:0")).await;
    assert!(matches!(second, Err(StartError::NameTaken { .. })));
    eventually(|| watchdogs().is_empty()).await;
    in_time(first.stop(None)).await;
}

async fn the_watchdog_ends_with_a_system_whose_pool_was_not_stopped() {
    let other = std::thread::spawn(|| {
        System::new().block_on(async {
            let _kept = pool_with_a_peer().await;
        });
    });
    eventually(|| other.is_finished()).await;
    other.join().unwrap();
    eventually(|| watchdogs().is_empty()).await;
}
