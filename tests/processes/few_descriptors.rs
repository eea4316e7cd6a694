//! A pool in a process whose limit of open files is reached: it waits for descriptors, and goes on.
//!
//! The limit holds for a whole process, so each scenario is a process of its own: this program, started once more.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::future::Future;
use std::os::fd::AsRawFd;
use std::time::Duration;

use actix_acceptor::{AcceptorPool, Pool, SuspendMode};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
use support::acceptors::{one_peer_per_acceptor, restarts, AcceptorFailure};
use support::{connect, eventually, in_time, program, Echo};

/// Set where the program is to run a scenario.
const SCENARIO: &str = "ACTIX_ACCEPTOR_TEST_SCENARIO";

/// Runs this test once more as a process of its own, where `scenario` is run.
fn in_own_process(name: &str, scenario: impl Future<Output = ()>) {
    if std::env::var(SCENARIO).is_ok_and(|scenario| scenario == name) {
        return actix::System::new().block_on(scenario);
    }
    let mut command = program(std::env::current_exe().unwrap().to_str().unwrap());
    command.args(["--exact", &format!("few_descriptors::{name}"), "--nocapture"]).env(SCENARIO, name);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

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
    in_own_process("a_resume_without_descriptors_waits_for_them", async {
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
fn an_arbiter_that_cannot_start_is_tried_again() {
    in_own_process("an_arbiter_that_cannot_start_is_tried_again", async {
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
