//! A pool in a process that cannot start threads: what needs one fails with an error, or waits; the rest goes on.
//!
//! The limit is one of memory: there is no room for the stack of a thread. It holds for every user, root included, and for a
//! whole process, so each scenario is a process of its own.
#![cfg(target_os = "linux")]

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::limits::{AtLimit, Rate};
use actix_acceptor::telemetry::CloseReason;
use actix_acceptor::transport::{FileRange, Memory};
use actix_acceptor::{AcceptorPool, Framing, Listener, Next, Settings, Socket, StartError};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
use support::{connect, eventually, in_time, protocol_default, Call, Callbacks, Echo, Folder, Peer, Probe};

use crate::own_process::{in_own_process, inventory};

/// The size of a thread's stack.
const STACK: u64 = 2 << 20;

/// Leaves room for this many threads. Returns the limit before.
#[must_use]
fn allow_threads(threads: u64) -> Rlimit {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap().trim_end_matches("kB");
    let used = size.trim().parse::<u64>().unwrap() * 1024;
    let before = getrlimit(Resource::As);
    let limit = used + threads * STACK + STACK / 2;
    setrlimit(Resource::As, Rlimit { current: Some(limit), maximum: before.maximum }).unwrap();
    before
}

fn allow_all(before: Rlimit) {
    setrlimit(Resource::As, before).unwrap();
}

async fn ended_for_want_of_a_thread(callbacks: &mut Callbacks) {
    let (reason, text) = callbacks.closed().await;
    assert_eq!(reason, CloseReason::Error, "{text}");
    assert!(text.starts_with("cannot start a thread for blocking work: "), "{text}");
    assert!(text.contains("os error 11"), "{text}");
}

#[test]
fn a_start_without_threads_fails_and_leaves_nothing() {
    in_own_process("few_threads::a_start_without_threads_fails_and_leaves_nothing", async {
        for (watchdog, threads, failed) in [
            (Some(Duration::from_millis(100)), 0, "the watchdog's thread"),
            (None, 0, "the arbiter of acceptor 0"),
            (None, 1, "the arbiter of acceptor 1"),
        ] {
            let builder = || AcceptorPool::with_protocol(|_| Echo).acceptors(3).watchdog(watchdog);
            let before = inventory().await;
            let limit = allow_threads(threads);
            let start = in_time(builder().bind("127.0.0.1:0")).await;
            allow_all(limit);
            let Err(StartError::SystemError { what, source }) = start else { panic!("{failed}: {start:?}") };
            assert_eq!((&*what, source.raw_os_error()), (failed, Some(libc::EAGAIN)));
            assert_eq!(inventory().await, before, "{failed}");
        }
        let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(3).bind("127.0.0.1:0").await.unwrap();
        connect(&pool).await.echo("now").await;
        in_time(pool.stop(Duration::ZERO)).await;
    });
}

#[test]
fn added_acceptors_wait_for_threads() {
    in_own_process("few_threads::added_acceptors_wait_for_threads", async {
        let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(1).bind("127.0.0.1:0").await.unwrap();
        let mut peer = connect(&pool).await;
        let limit = allow_threads(0);
        pool.change(|settings| settings.acceptors = Some(3)).await.unwrap();
        peer.echo("meanwhile").await;
        assert_eq!(pool.acceptors().len(), 1);
        allow_all(limit);
        eventually(|| pool.acceptors().len() == 3).await;
        assert!(pool.is_ready());
        in_time(pool.stop(Duration::ZERO)).await;
    });
}

#[test]
fn blocking_work_without_a_thread_ends_one_connection() {
    in_own_process("few_threads::blocking_work_without_a_thread_ends_one_connection", async {
        let ran = Arc::<AtomicBool>::default();
        let has_run = ran.clone();
        let (builder, mut callbacks) = Probe::pool(move |call, conn| match call {
            Call::Packet(line) if &**line == b"first" => {
                let ran = ran.clone();
                conn.blocking(move || ran.store(true, SeqCst), |(), _, _| Next::Stop)
            }
            Call::Packet(line) if &**line == b"later" => {
                conn.blocking(|| "done".into(), |answer, _, _| Next::Send(answer))
            }
            Call::Packet(line) => Next::Send(line.clone()),
            call => protocol_default(call),
        });
        let builder = builder.framing(Framing::lines()).acceptors(1).max_blocking(1);
        let pool = builder.bind("127.0.0.1:0").await.unwrap();
        let (mut unlucky, mut other) = (connect(&pool).await, connect(&pool).await);
        other.echo("before\n").await;
        unlucky.echo("before\n").await;
        let limit = allow_threads(0);
        unlucky.send("first\n").await;
        unlucky.until_gone().await;
        ended_for_want_of_a_thread(&mut callbacks).await;
        other.echo("after\n").await;
        allow_all(limit);
        other.send("later\n").await;
        other.expect(b"done\n").await;
        assert!(!has_run.load(SeqCst), "the work of a connection that has ended has run");
        assert_eq!(pool.info().closed.total(), 1);
        in_time(pool.stop(Duration::ZERO)).await;
    });
}

#[test]
fn a_file_without_a_thread_ends_one_connection() {
    in_own_process("few_threads::a_file_without_a_thread_ends_one_connection", async {
        let folder = Folder::create();
        let path = folder.path("file");
        std::fs::write(&path, b"content\n").unwrap();
        let file = FileRange::open(&path).unwrap();
        let (builder, mut callbacks) = Probe::pool({
            let file = file.clone();
            move |call, _| match call {
                Call::Packet(line) if &**line == b"file" => Next::file(file.clone()),
                Call::Packet(line) => Next::Send(line.clone()),
                call => protocol_default(call),
            }
        });
        // In memory there is no `sendfile`.
        let (memory, connector) = Memory::new("memory");
        let pool = builder.framing(Framing::lines()).acceptors(1).listen(memory).await.unwrap();
        let (memory, of_sockets) = Memory::new("sockets");
        let sockets = AcceptorPool::with_fn(move |mut socket: Socket| {
            let file = file.clone();
            async move { socket.send_file(file).await }
        });
        let sockets = sockets.acceptors(1).listen(memory).await.unwrap();
        let mut unlucky = Peer(in_time(connector.connect()).await.unwrap());
        let mut other = Peer(in_time(connector.connect()).await.unwrap());
        unlucky.echo("before\n").await;
        other.echo("before\n").await;
        let limit = allow_threads(0);
        unlucky.send("file\n").await;
        unlucky.until_gone().await;
        ended_for_want_of_a_thread(&mut callbacks).await;
        other.echo("after\n").await;
        let mut unlucky = Peer(in_time(of_sockets.connect()).await.unwrap());
        assert_eq!(unlucky.until_gone().await, b"");
        eventually(|| sockets.info().closed.get(CloseReason::Error) == 1).await;
        allow_all(limit);
        other.send("file\n").await;
        other.expect(b"content\n").await;
        let mut lucky = Peer(in_time(of_sockets.connect()).await.unwrap());
        assert_eq!(lucky.read_to_end().await, b"content\n");
        in_time(pool.stop(Duration::ZERO)).await;
        in_time(sockets.stop(Duration::ZERO)).await;
    });
}

#[test]
fn a_name_without_a_thread_to_resolve_it_is_an_error() {
    in_own_process("few_threads::a_name_without_a_thread_to_resolve_it_is_an_error", async {
        let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(1).bind("127.0.0.1:0").await.unwrap();
        let mut peer = connect(&pool).await;
        let limit = allow_threads(0);
        let failed = in_time(pool.set_listeners(vec![Listener::tcp("localhost:0")])).await;
        let start = in_time(AcceptorPool::with_protocol(|_| Echo).bind("localhost:0")).await.map(drop);
        peer.echo("meanwhile").await;
        allow_all(limit);
        for failed in [failed.map(drop), start] {
            let Err(StartError::SystemError { what, source }) = &failed else { panic!("{failed:?}") };
            assert_eq!(what, "localhost:0");
            assert!(source.to_string().contains("os error 11"), "{source}, {:?}", source.source());
        }
        peer.echo("after").await;
        in_time(pool.set_listeners(vec![Listener::tcp("localhost:0")])).await.unwrap();
        in_time(pool.stop(Duration::ZERO)).await;
    });
}

#[test]
fn the_greatest_settings_allocate_nothing_ahead() {
    in_own_process("few_threads::the_greatest_settings_allocate_nothing_ahead", async {
        let mut settings = Settings::default();
        let all = usize::MAX;
        (settings.max_connections, settings.max_restarts, settings.max_handshakes) = (all, all, all);
        (settings.high_watermark, settings.low_watermark, settings.max_per_peer) = (all, all, Some(all));
        (settings.mailbox_capacity, settings.acceptors) = (u32::MAX as usize, Some(2));
        let rate = Rate::new(u32::MAX, Duration::MAX);
        (settings.peer_rate, settings.accept_rate) = (Some(rate), Some(rate));
        let long = Some(Duration::MAX);
        (settings.idle_timeout, settings.packet_timeout, settings.send_timeout) = (long, long, long);
        (settings.max_age, settings.max_age_jitter, settings.handshake_timeout) = (long, Duration::MAX, long);
        (settings.grace, settings.restart_window, settings.watchdog) = (long, Duration::MAX, long);
        settings.at_limit = AtLimit::Hold(Duration::MAX);
        // The greatest memory that a few threads and their small allocations need.
        let _limit = allow_threads(50);
        let builder = AcceptorPool::with_protocol(|_| Echo).framing(Framing::len8().with_max_frame(all));
        let listener = Listener::tcp("127.0.0.1:0").max_connections(all).backlog(i32::MAX as u32);
        let builder = builder.settings(settings).start_timeout(Duration::MAX).listener(listener);
        let pool = in_time(builder.start()).await.unwrap();
        let (mut peer, mut announces) = (connect(&pool).await, connect(&pool).await);
        peer.echo(b"\0\0\0\0\0\0\0\x05hello").await;
        announces.send([0xFF; 1_000]).await;
        eventually(|| pool.info().bytes_in >= 1_013).await;
        peer.echo(b"\0\0\0\0\0\0\0\x05hello").await;
        drop((peer, announces));
        eventually(|| pool.connections() == 0).await;
        in_time(pool.stop(Duration::MAX)).await;
    });
}
