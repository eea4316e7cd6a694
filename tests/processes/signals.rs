//! `drain_on_signal`, in a process of its own: this test program is started again as a server.

use std::io::{BufRead, BufReader, Lines};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use actix_acceptor::{info::Status, AcceptorPool, Drain, Listener, Pool};
use tokio::sync::mpsc::unbounded_channel;

use super::shutdown;
use support::acceptors::AcceptorFailure;
use support::draining::*;
use support::*;

/// Set for the process that is to serve: its grace in milliseconds, or how else it is to end. `stays ..`: it goes on after the
/// drain.
const SERVE: &str = "SERVE_AND_DRAIN_ON_SIGNAL";

/// The server's part; nothing to do in the test run itself.
#[test]
fn server_process() {
    let Ok(how) = std::env::var(SERVE) else { return };
    actix::System::new().block_on(async {
        if how.starts_with("shutdown") {
            return shutdown::serve(&how).await;
        }
        if how.starts_with("supervised") {
            return serve_supervised(&how).await;
        }
        let drained = start_drain_pool(2).await;
        if how == "ends by itself" {
            let pool = drained.pool.clone();
            actix_rt::spawn(async move { pool.stop(Duration::ZERO).await });
        }
        let other = start_drain_pool(1).await;
        if how == "stays with two pools" {
            let pool = other.pool.clone();
            eprintln!("{}", pool.local_addr().unwrap());
            actix_rt::spawn(async move {
                let report = pool.drain_on_signal(Drain::grace(LONG)).await.unwrap();
                eprintln!("{:?}", counts(&report));
            });
            tokio::task::yield_now().await;
        }
        let grace = how.parse().map_or(LONG, Duration::from_millis);
        // Told once the signals are listened for.
        let tell = async { eprintln!("{}", drained.pool.local_addr().unwrap()) };
        let (report, ()) = tokio::join!(drained.pool.drain_on_signal(Drain::grace(grace)), tell);
        eprintln!("{:?}", counts(&report.unwrap()));
        if how.starts_with("stays") {
            pass(LONG).await;
        }
    });
    std::process::exit(0);
}

/// A supervised pool whose first pool fails: serves with the second one, or pauses before it.
async fn serve_supervised(how: &str) {
    let (shutdowns, _calls) = unbounded_channel();
    let make = move || {
        let pool = drain_builder(1, shutdowns.clone()).grace(Duration::ZERO).max_restarts(0, LONG);
        pool.listener(Listener::tcp("127.0.0.1:0"))
    };
    let pause = if how == "supervised, pauses" { LONG } else { Duration::from_millis(1) };
    let supervised = AcceptorPool::supervised(make).backoff(pause, pause).start().await.unwrap();
    let tell = async {
        let mut pools = supervised.subscribe();
        let failed = supervised.pool().unwrap();
        failed.acceptors()[0].do_send(AcceptorFailure::Stop);
        failed.stopped().await.unwrap_err();
        match how {
            "supervised, pauses" => {
                drop(pools.wait_for(Option::is_none).await.unwrap());
                eprintln!("no pool");
            }
            "supervised, ends by itself" => drop(supervised.stop(Duration::ZERO).await),
            _ => {
                let runs = |pool: &Option<Pool<_>>| pool.as_ref().is_some_and(|pool| pool.status() == Status::Running);
                let address = pools.wait_for(runs).await.unwrap().as_ref().unwrap().local_addr();
                eprintln!("{}", address.unwrap());
            }
        }
    };
    let (report, ()) = tokio::join!(supervised.drain_on_signal(Drain::grace(LONG)), tell);
    supervised.stopped().await.unwrap();
    eprintln!("{:?}", counts(&report.unwrap()));
}

pub(super) struct Server {
    pub(super) child: Child,
    lines: Lines<BufReader<ChildStderr>>,
}

impl Server {
    pub(super) fn start(how: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "signals::server_process", "--nocapture"]).env(SERVE, how);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Server { child, lines }
    }

    /// The next thing it says. (It says nothing that is not waited for, and ends by itself in the end.)
    pub(super) fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    pub(super) fn greeted(&mut self, word: &str) -> BlockingPeer {
        let mut peer = BlockingPeer::connect(self.line().parse().unwrap());
        peer.echo(format!("{word}\n"));
        peer
    }

    pub(super) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(program("kill").args([&format!("-{name}"), &*pid]).status().unwrap().success());
    }

    fn ended(mut self, report: [usize; 4]) {
        assert_eq!(self.line(), format!("{report:?}"));
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn sigterm_and_sigint_drain_the_pool() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start("");
        let mut peer = server.greeted("hello");
        server.signal(signal);
        assert_eq!(peer.read_to_end(), b"bye\n", "{signal}");
        server.ended([1, 1, 0, 0]);
    }
}

#[test]
fn a_signal_drains_with_the_given_grace() {
    let mut server = Server::start("300");
    let mut peer = server.greeted("stay");
    let began = Instant::now();
    server.signal("TERM");
    assert_eq!(peer.read_to_end(), b"");
    assert!(began.elapsed() >= Duration::from_millis(300));
    server.ended([1, 0, 1, 0]);
}

#[test]
fn a_second_signal_ends_the_drain_at_once() {
    let mut server = Server::start("");
    let mut stays = server.greeted("stay");
    // A peer that is closed by the drain: then the first signal has arrived.
    let mut leaves = BlockingPeer::connect(stays.0.peer_addr().unwrap());
    leaves.echo("hello\n");
    server.signal("TERM");
    assert_eq!(leaves.read_to_end(), b"bye\n");
    stays.echo("still served\n");
    server.signal("INT");
    server.ended([2, 1, 1, 0]);
}

#[test]
fn a_signal_drains_the_pool_that_was_restarted() {
    let mut server = Server::start("supervised");
    let mut peer = server.greeted("hello");
    server.signal("TERM");
    assert_eq!(peer.read_to_end(), b"bye\n");
    server.ended([1, 1, 0, 0]);
}

#[test]
fn a_second_signal_ends_a_restarted_pool_at_once() {
    let mut server = Server::start("supervised");
    let mut stays = server.greeted("stay");
    let mut leaves = BlockingPeer::connect(stays.0.peer_addr().unwrap());
    leaves.echo("hello\n");
    server.signal("INT");
    assert_eq!(leaves.read_to_end(), b"bye\n");
    stays.echo("still served\n");
    server.signal("TERM");
    server.ended([2, 1, 1, 0]);
}

#[test]
fn a_signal_between_two_pools_ends_the_supervision() {
    let mut server = Server::start("supervised, pauses");
    assert_eq!(server.line(), "no pool");
    server.signal("TERM");
    server.ended([0, 0, 0, 0]);
}

#[test]
fn supervision_that_ends_stops_waiting_for_signals() {
    Server::start("supervised, ends by itself").ended([0, 0, 0, 0]);
}

#[test]
fn a_pool_that_ends_stops_waiting_for_signals() {
    let mut server = Server::start("ends by itself");
    server.line();
    server.ended([0, 0, 0, 0]);
}

/// It ends by the signal, as a program without a handler.
fn terminated_by(mut server: Server, name: &str, number: i32) {
    server.signal(name);
    assert_eq!(server.child.wait().unwrap().signal(), Some(number));
}

#[test]
fn after_the_drain_a_signal_ends_the_process() {
    for (name, number) in [("TERM", libc::SIGTERM), ("INT", libc::SIGINT)] {
        let mut server = Server::start("stays");
        server.line();
        server.signal("TERM");
        assert_eq!(server.line(), "[0, 0, 0, 0]");
        terminated_by(server, name, number);
    }
}

#[test]
fn a_pool_that_still_drains_gets_the_second_signal() {
    let mut server = Server::start("stays with two pools");
    let mut stays = server.greeted("stay");
    server.line();
    server.signal("TERM");
    // The other pool, which has no connection, is drained. A signal is still for this one.
    assert_eq!(server.line(), "[0, 0, 0, 0]");
    stays.echo("still served\n");
    server.signal("TERM");
    assert_eq!(server.line(), "[1, 0, 1, 0]");
    terminated_by(server, "TERM", libc::SIGTERM);
}
