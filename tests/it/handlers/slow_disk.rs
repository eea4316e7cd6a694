//! Files that are read through the blocking pool, which is busy: the peer does not pay for that.

use std::future::Future;
use std::sync::mpsc::{channel, Sender};
use std::time::Duration;

use actix::System;
use actix_acceptor::{
    handlers::Service, telemetry::CloseReason, transport::FileRange, AcceptorPool, Builder, Framing, Next, Pool, Socket,
};
use support::*;
use tokio::runtime;

const LIMIT: Duration = Duration::from_secs(1);
/// More than the transport holds.
const LARGE: usize = 200 * 1024;

/// Runs a test on a paused clock whose runtime has one blocking thread.
fn with_one_blocking_thread(test: impl Future<Output = ()> + 'static) {
    let runtime = || {
        runtime::Builder::new_current_thread().enable_all().start_paused(true).max_blocking_threads(1).build().unwrap()
    };
    System::with_tokio_rt(runtime).block_on(test);
}

/// Keeps the blocking thread busy until the sender is dropped.
fn busy_blocking_pool() -> Sender<()> {
    let (sender, receiver) = channel::<()>();
    drop(tokio::task::spawn_blocking(move || receiver.recv()));
    sender
}

/// Lets time pass, although the clock does not jump while the blocking pool is busy.
async fn advance(time: Duration) {
    for _ in 0..time.as_millis() / 20 {
        tokio::time::advance(ms(20)).await;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
}

fn large_file(folder: &Folder) -> FileRange {
    let path = folder.path("large");
    std::fs::write(&path, vec![b'x'; LARGE]).unwrap();
    FileRange::open(path).unwrap()
}

async fn check<S: Service>(builder: Builder<S>) {
    let builder = builder.send_timeout(LIMIT).idle_timeout(None);
    let (pool, script_handle): (Pool<S::Actor>, _) = in_memory(builder).await;
    let mut peer = script_handle.connect();
    let busy = busy_blocking_pool();
    peer.send("file\n").await;
    advance(5 * LIMIT).await;
    assert_eq!((pool.connections(), pool.info().closed.total()), (1, 0));
    drop(busy);
    assert_eq!(peer.read_exact(LARGE).await, vec![b'x'; LARGE]);
    // From here on, a peer that accepts nothing is too slow.
    peer.send("file\n").await;
    eventually(|| pool.info().bytes_out > LARGE as u64).await;
    elapse(2 * LIMIT).await;
    eventually(|| pool.info().closed.get(CloseReason::SendTimeout) == 1).await;
}

#[test]
fn a_slow_disk_does_not_end_a_connection() {
    with_one_blocking_thread(async {
        let folder = Folder::create();
        let file = large_file(&folder);
        let (builder, _callbacks) = Probe::pool(move |call, _| match call {
            Call::Packet(_) => Next::file(file.clone()),
            call => protocol_default(call),
        });
        check(builder.framing(Framing::lines())).await;
    });
}

#[test]
fn a_slow_disk_does_not_end_a_socket() {
    with_one_blocking_thread(async {
        let folder = Folder::create();
        let file = large_file(&folder);
        let serve = move |mut socket: Socket| {
            let file = file.clone();
            async move {
                loop {
                    tokio::io::AsyncReadExt::read_exact(&mut socket, &mut [0; 5]).await?;
                    socket.send_file(file.clone()).await?;
                }
                #[allow(unreachable_code)]
                std::io::Result::Ok(())
            }
        };
        check(AcceptorPool::with_fn(serve)).await;
    });
}
