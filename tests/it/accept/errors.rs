//! What an error of `accept` means: one peer's trouble, the machine's, or the listener's.
#![cfg(unix)]

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_acceptor::{AcceptorPool, Connection, Listener, Pool, SuspendMode};
use support::acceptors::{kill, AcceptorFailure};
use support::*;
use tokio::time::Instant;

async fn pool() -> (Pool<Connection<Echo>>, ScriptHandle) {
    let (transport, script_handle) = ScriptedTransport::in_memory();
    let pool =
        AcceptorPool::with_protocol(|_| Echo).idle_timeout(None).on_current_arbiter().listen(transport).await.unwrap();
    (pool, script_handle)
}

fn restarts(pool: &Pool<Connection<Echo>>) -> u64 {
    pool.info().acceptors[0].restarts
}

#[test]
fn a_peer_gone_before_accept_causes_no_pause() {
    let peers = [libc::ECONNABORTED, libc::ECONNRESET, libc::EPROTO, libc::EINTR, libc::EPERM, libc::EHOSTUNREACH];
    paused(async move {
        let (pool, script_handle) = pool().await;
        let started = Instant::now();
        peers.iter().for_each(|code| script_handle.accept_fails(*code));
        script_handle.accept(|| Err(io::ErrorKind::ConnectionAborted.into()));
        script_handle.connect().echo("next, please").await;
        assert_eq!(started.elapsed(), Duration::ZERO);
        assert_eq!(restarts(&pool), 0);
        pool.stop(Duration::ZERO).await;
    });
}

#[test]
fn the_accept_pause_doubles_from_100_to_500_ms() {
    for code in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
        paused(async move {
            let (pool, script_handle) = pool().await;
            let tries = AcceptTimes::default();
            (0..7).for_each(|_| tries.fail(&script_handle, code));
            let mut peer = script_handle.connect();
            peer.echo("at last").await;
            assert_eq!(tries.pauses(), [100, 200, 400, 500, 500, 500], "{code}");
            // A peer was accepted: the next trouble begins anew.
            let tries = AcceptTimes::default();
            (0..3).for_each(|_| tries.fail(&script_handle, code));
            script_handle.connect().echo("again").await;
            assert_eq!(tries.pauses(), [100, 200], "{code}");
            peer.echo("the first one was not touched").await;
            assert_eq!(restarts(&pool), 0);
            pool.stop(Duration::ZERO).await;
        });
    }
}

#[test]
fn other_accept_errors_restart_the_acceptor() {
    for code in [libc::EBADF, libc::EINVAL, libc::ENOTSOCK, libc::EFAULT] {
        paused(async move {
            let (pool, script_handle) = pool().await;
            let mut standing = script_handle.connect();
            standing.echo("before").await;
            script_handle.accept_fails(code);
            script_handle.connect().echo("the successor took it").await;
            standing.echo("after").await;
            assert_eq!(restarts(&pool), 1, "{code}");
            pool.stop(Duration::ZERO).await;
        });
    }
}

#[test]
fn established_connections_go_on_while_the_acceptor_pauses() {
    paused(async {
        let (pool, script_handle) = pool().await;
        let mut standing = script_handle.connect();
        standing.echo("before").await;
        let tries = AcceptTimes::default();
        (0..4).for_each(|_| tries.fail(&script_handle, libc::EMFILE));
        while script_handle.left() > 0 {
            standing.echo("meanwhile").await;
            elapse(Duration::from_millis(10)).await;
        }
        assert_eq!(tries.pauses(), [100, 200, 400]);
        pool.stop(Duration::ZERO).await;
    });
}

#[test]
fn a_pause_does_not_hold_up_a_stop() {
    paused(async {
        let (pool, script_handle) = pool().await;
        let tries = AcceptTimes::default();
        (0..10).for_each(|_| tries.fail(&script_handle, libc::EMFILE));
        let started = Instant::now();
        while script_handle.left() > 4 {
            elapse(Duration::from_millis(10)).await;
        }
        let stop = Instant::now();
        pool.stop(None).await;
        assert!(started.elapsed() > Duration::from_secs(1), "it paused");
        assert!(stop.elapsed() < Duration::from_millis(100), "the stop took {:?}", stop.elapsed());
    });
}

#[test]
fn a_listener_that_pauses_holds_no_permit() {
    paused(async {
        let (failing, failing_handle) = ScriptedTransport::in_memory();
        let (other, other_handle) = ScriptedTransport::in_memory();
        let builder = AcceptorPool::with_protocol(|_| Echo).max_connections(1).on_current_arbiter();
        let builder = builder.listener(Listener::from_transport(failing).name("failing"));
        let pool = builder.listener(Listener::from_transport(other).name("other")).start().await.unwrap();
        let tries = AcceptTimes::default();
        (0..2).for_each(|_| tries.fail(&failing_handle, libc::ENOMEM));
        eventually(|| failing_handle.left() == 1).await;
        let started = Instant::now();
        other_handle.connect().echo("the only one").await;
        assert_eq!((started.elapsed(), failing_handle.left()), (Duration::ZERO, 1));
        pool.stop(Duration::ZERO).await;
    });
}

#[test]
fn an_acceptor_waits_for_a_descriptor_for_its_listener() {
    for code in [libc::EMFILE, libc::ENFILE, libc::ENOMEM] {
        paused(async move {
            let (pool, script_handle) = pool().await;
            let tries = AcceptTimes::default();
            // An acceptor that started while the pool was suspended opens the listener at the end of the suspension.
            pool.suspend(SuspendMode::Hold).await.unwrap();
            kill(&pool, AcceptorFailure::Stop).await;
            (0..7).for_each(|_| tries.share_fails(&script_handle, code));
            pool.resume().await.unwrap();
            script_handle.connect().echo("at last").await;
            assert_eq!(tries.pauses(), [100, 200, 400, 500, 500, 500], "{code}");
            // One that starts later opens it at once.
            (0..7).for_each(|_| tries.share_fails(&script_handle, code));
            kill(&pool, AcceptorFailure::Stop).await;
            script_handle.connect().echo("again").await;
            assert_eq!(restarts(&pool), 2);
            pool.stop(Duration::ZERO).await;
        });
    }
}

#[test]
fn a_suspension_ends_the_wait_for_a_descriptor() {
    paused(async move {
        let (pool, script_handle) = pool().await;
        (0..2).for_each(|_| AcceptTimes::default().share_fails(&script_handle, libc::EMFILE));
        kill(&pool, AcceptorFailure::Stop).await;
        let started = Instant::now();
        pool.suspend(SuspendMode::Hold).await.unwrap();
        pool.resume().await.unwrap();
        script_handle.connect().echo("hello").await;
        assert_eq!((started.elapsed(), restarts(&pool)), (Duration::ZERO, 1));
        pool.stop(Duration::ZERO).await;
    });
}

/// When `accept` was tried, as the clock had it.
#[derive(Clone, Default)]
struct AcceptTimes(Arc<Mutex<Vec<Instant>>>);

impl AcceptTimes {
    fn fail(&self, script_handle: &ScriptHandle, code: i32) {
        let tries = self.0.clone();
        script_handle.accept(move || {
            tries.lock().unwrap().push(Instant::now());
            Err(io::Error::from_raw_os_error(code))
        });
    }

    fn share_fails(&self, script_handle: &ScriptHandle, code: i32) {
        let tries = self.0.clone();
        script_handle.share(move || {
            tries.lock().unwrap().push(Instant::now());
            Err(io::Error::from_raw_os_error(code))
        });
    }

    /// Milliseconds between the tries.
    fn pauses(&self) -> Vec<u128> {
        let tries = self.0.lock().unwrap();
        // Tokio's timers round up to whole milliseconds.
        tries.windows(2).map(|pair| (pair[1] - pair[0]).as_millis() / 10 * 10).collect()
    }
}

#[test]
fn a_reserve_that_finds_no_peer_causes_no_pause() {
    paused(async {
        let (transport, script_handle) = ScriptedTransport::in_memory();
        let builder = AcceptorPool::with_protocol(|_| Echo).idle_timeout(None).reserve_descriptor(true);
        let pool = builder.on_current_arbiter().listen(transport).await.unwrap();
        let started = Instant::now();
        // The peer that there was no descriptor for has left by the time that there is one.
        script_handle.accept_fails(libc::EMFILE);
        script_handle.accept(|| Err(io::ErrorKind::WouldBlock.into()));
        script_handle.connect().echo("next, please").await;
        assert_eq!((started.elapsed(), pool.info().refused.total()), (Duration::ZERO, 0));
        pool.stop(Duration::ZERO).await;
    });
}
