//! A pool in a process whose limit of open files is reached: it waits for descriptors, and goes on.
//!
//! The limit holds for a whole process, so each scenario is a process of its own.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::Duration;

use actix_acceptor::{AcceptorPool, Listener, Pool, StartError, SuspendMode};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
use support::acceptors::{one_peer_per_acceptor, restarts, AcceptorFailure};
use support::{connect, eventually, in_time, Echo, Peer};
use tokio::net::TcpStream;

use crate::own_process::{in_own_process, inventory};

/// The lowest number that a new descriptor can have, with all gaps among the open ones filled.
fn next_descriptor() -> u64 {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    loop {
        let file = File::open("/dev/null").unwrap();
        let next = file.as_raw_fd() as u64;
        if next >= open {
            return next;
        }
        std::mem::forget(file);
    }
}

/// Allows only new descriptors below this number. Returns the limit before.
#[must_use]
fn allow_below(number: u64) -> Rlimit {
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(number), maximum: before.maximum }).unwrap();
    before
}

fn allow_all(before: Rlimit) {
    setrlimit(Resource::Nofile, before).unwrap();
}

async fn is_alive<A>(pool: &Pool<A>) {
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(pool.is_ready(), "{:?}", pool.info());
}

#[test]
fn a_resume_without_descriptors_waits_for_them() {
    in_own_process("few_descriptors::a_resume_without_descriptors_waits_for_them", async {
        let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(3).bind("127.0.0.1:0").await.unwrap();
        pool.suspend(SuspendMode::Close).await.unwrap();
        // One for the port, none for the handles of the acceptors.
        let limit = allow_below(next_descriptor() + 1);
        pool.resume().await.unwrap();
        is_alive(&pool).await;
        allow_all(limit);
        in_time(one_peer_per_acceptor(&pool)).await;
        assert_eq!(restarts(&pool), 0);
        in_time(pool.stop(Duration::ZERO)).await;
    });
}

#[test]
fn a_refused_suspension_without_descriptors_closes_no_port() {
    in_own_process("few_descriptors::a_refused_suspension_without_descriptors_closes_no_port", async {
        // One that can be closed, before one that cannot.
        let inherited = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(2).listener(Listener::tcp("127.0.0.1:0"));
        let pool = builder.listener(Listener::from_socket(inherited)).start().await.unwrap();
        // Only those that are open all the time. Below 4, the system reports an invalid argument.
        let limit = allow_below(4);
        pool.suspend(SuspendMode::Close).await.unwrap_err();
        is_alive(&pool).await;
        allow_all(limit);
        for address in pool.local_addrs() {
            let mut peer = Peer(in_time(TcpStream::connect(address.socket().unwrap())).await.unwrap());
            peer.echo("hello").await;
        }
        assert_eq!(restarts(&pool), 0);
        in_time(pool.stop(Duration::ZERO)).await;
    });
}

#[test]
fn an_arbiter_that_cannot_start_is_tried_again() {
    in_own_process("few_descriptors::an_arbiter_that_cannot_start_is_tried_again", async {
        let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(2).bind("127.0.0.1:0").await.unwrap();
        let mut peer = connect(&pool).await;
        peer.echo("before").await;
        let of_peer = pool.info().acceptors.iter().position(|acceptor| acceptor.connections == 1).unwrap();
        // Not even those that the arbiter closes.
        let limit = allow_below(0);
        pool.acceptors()[1 - of_peer].do_send(AcceptorFailure::WithArbiter);
        eventually(|| pool.acceptors().len() == 1).await;
        is_alive(&pool).await;
        peer.echo("meanwhile").await;
        allow_all(limit);
        eventually(|| pool.acceptors().len() == 2).await;
        in_time(one_peer_per_acceptor(&pool)).await;
        assert_eq!(restarts(&pool), 1);
        in_time(pool.stop(Duration::ZERO)).await;
    });
}

#[test]
fn an_added_listener_waits_for_descriptors() {
    in_own_process("few_descriptors::an_added_listener_waits_for_descriptors", async {
        let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(3).bind("127.0.0.1:0").await.unwrap();
        let mut peer = connect(&pool).await;
        peer.echo("before").await;
        let first = Listener::tcp(pool.local_addr().unwrap().to_string());
        // One for the port, none for the handles of the acceptors.
        let limit = allow_below(next_descriptor() + 1);
        pool.set_listeners(vec![first, Listener::tcp("127.0.0.1:0").name("added")]).await.unwrap();
        is_alive(&pool).await;
        peer.echo("meanwhile").await;
        allow_all(limit);
        let added = pool.local_addrs()[1].socket().unwrap();
        let mut served = Peer(in_time(TcpStream::connect(added)).await.unwrap());
        served.echo("by the listener that was added").await;
        assert_eq!(restarts(&pool), 0);
        in_time(pool.stop(Duration::ZERO)).await;
    });
}

#[test]
fn a_start_without_descriptors_fails_and_leaves_nothing() {
    in_own_process("few_descriptors::a_start_without_descriptors_fails_and_leaves_nothing", async {
        let builder = || AcceptorPool::with_protocol(|_| Echo).acceptors(2).watchdog(None);
        in_time(builder().bind("127.0.0.1:0").await.unwrap().stop(None)).await;
        inventory().await;
        let next = next_descriptor();
        let before = inventory().await;
        // One for the port, none for the arbiter of an acceptor.
        let limit = allow_below(next + 1);
        let failed = in_time(builder().bind("127.0.0.1:0")).await;
        allow_all(limit);
        assert!(
            matches!(&failed, Err(StartError::SystemError { what, source })
                if what == "the arbiter of acceptor 0" && source.raw_os_error() == Some(libc::EMFILE)),
            "{failed:?}"
        );
        assert_eq!(inventory().await, before);
        in_time(builder().bind("127.0.0.1:0").await.unwrap().stop(None)).await;
    });
}
