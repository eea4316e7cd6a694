//! The threads of a pool: their names, and that they have ended when a stop returns.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{mpsc, Arc};
use std::time::{Duration, Instant};

use actix_acceptor::{AcceptorPool, Socket};
use support::*;

/// The names of this process's threads that begin with this one, sorted.
fn threads(prefix: &str) -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
    let names = tasks.filter_map(|task| Some(name(task.ok()?)?.trim_end().to_owned()));
    let mut names: Vec<_> = names.filter(|name| name.starts_with(prefix)).collect();
    names.sort();
    names
}

/// The kernel lists a thread for an instant after it was joined.
fn are_gone(prefix: &str) -> bool {
    (0..1_000).any(|_| {
        std::thread::yield_now();
        threads(prefix).is_empty()
    })
}

#[actix::test]
async fn threads_are_named_after_their_pool() {
    let _exclusive = crate::exclusive().await;
    let builder = || AcceptorPool::with_protocol(|_| Echo).acceptors(2);
    let named = builder().name("chat").bind("127.0.0.1:0").await.unwrap();
    eventually(|| threads("chat-") == ["chat-acc-0", "chat-acc-1", "chat-watch"]).await;
    let unnamed = builder().watchdog(None).bind("127.0.0.1:0").await.unwrap();
    let port = unnamed.local_addr().unwrap().port();
    eventually(|| threads(":") == [format!(":{port}-acc-0"), format!(":{port}-acc-1")]).await;
    in_time(named.stop(None)).await;
    in_time(unnamed.stop(None)).await;
}

#[actix::test]
async fn no_thread_of_a_pool_is_left_when_a_stop_returns() {
    let _exclusive = crate::exclusive().await;
    for round in 0..50 {
        let builder = AcceptorPool::with_protocol(|_| Echo).name("leaves").acceptors(1 + round % 3);
        let pool = builder.bind("127.0.0.1:0").await.unwrap();
        let mut peer = connect(&pool).await;
        peer.echo("hello").await;
        if round % 2 == 0 {
            pool.acceptors()[0].do_send(acceptors::AcceptorFailure::WithArbiter);
            eventually(|| pool.info().acceptors[0].restarts == 1).await;
        }
        in_time(pool.stop(Duration::ZERO)).await;
        assert!(are_gone("leaves-"), "{:?}", threads("leaves-"));
    }
}

/// What an arbiter drops when it ends. It takes a while.
struct Slow(Arc<AtomicUsize>);

impl Drop for Slow {
    fn drop(&mut self) {
        std::thread::sleep(Duration::from_millis(50));
        self.0.fetch_add(1, SeqCst);
    }
}

#[actix::test]
async fn a_stop_waits_for_what_its_arbiters_drop() {
    let _exclusive = crate::exclusive().await;
    let dropped = Arc::new(AtomicUsize::new(0));
    let for_handler = dropped.clone();
    let handler = move |_: Socket| {
        let slow = Slow(for_handler.clone());
        actix_rt::spawn(async move {
            let _slow = slow;
            std::future::pending::<()>().await;
        });
        async {}
    };
    let pool = AcceptorPool::with_fn(handler).name("slow").acceptors(1).bind("127.0.0.1:0").await.unwrap();
    connect(&pool).await.until_gone().await;
    in_time(pool.stop(None)).await;
    assert_eq!(dropped.load(SeqCst), 1);
    assert!(are_gone("slow-"));
}

/// Blocks the thread that drops it until the gate opens.
struct Blocks(mpsc::Receiver<()>, Arc<AtomicBool>);

impl Drop for Blocks {
    fn drop(&mut self) {
        let _ = self.0.recv();
        self.1.store(true, SeqCst);
    }
}

#[actix::test]
async fn a_stop_waits_a_second_for_a_blocked_arbiter() {
    let _exclusive = crate::exclusive().await;
    let (gate, closed) = mpsc::channel();
    let unblocked = Arc::new(AtomicBool::new(false));
    let blocks = std::sync::Mutex::new(Some(Blocks(closed, unblocked.clone())));
    let handler = move |_: Socket| {
        let blocks = blocks.lock().unwrap().take();
        actix_rt::spawn(async move {
            let _blocks = blocks;
            std::future::pending::<()>().await;
        });
        async {}
    };
    let pool = AcceptorPool::with_fn(handler).name("blocks").acceptors(1).bind("127.0.0.1:0").await.unwrap();
    connect(&pool).await.until_gone().await;
    let (started, mut turns) = (Instant::now(), 0);
    let stop = async {
        in_time(pool.stop(None)).await;
        started.elapsed()
    };
    let others = async {
        loop {
            turns += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let took = tokio::select! { took = stop => took, () = others => unreachable!() };
    assert!((Duration::from_secs(1)..Duration::from_secs(10)).contains(&took), "{took:?}");
    assert!(turns > 10, "the caller's arbiter is not blocked");
    assert_eq!((threads("blocks-").len(), unblocked.load(SeqCst)), (1, false));
    gate.send(()).unwrap();
    eventually(|| threads("blocks-").is_empty()).await;
}

#[actix::test]
async fn a_failed_start_leaves_no_thread() {
    let _exclusive = crate::exclusive().await;
    let (transport, script_handle) = ScriptedTransport::in_memory();
    script_handle.share(|| Err(std::io::Error::other("as asked")));
    let failed = in_time(AcceptorPool::with_protocol(|_| Echo).name("fails").acceptors(3).listen(transport)).await;
    assert!(failed.is_err());
    assert!(are_gone("fails-"), "{:?}", threads("fails-"));
}
