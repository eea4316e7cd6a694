//! `Shutdown::on_signals`, in a process of its own: see `signals`.

use std::time::Duration;

use actix_acceptor::{Drain, Shutdown};
use rustix::process::{getpid, kill_process, Signal};
use support::draining::*;
use support::*;

use super::signals::Server;

/// The server's part: two pools, and something that ends after them. It prints each step.
pub(super) async fn serve(how: &str) {
    let (first, second) = (start_drain_pool(1).await, start_drain_pool(1).await);
    let stays = how.contains("then takes long");
    let shutdown = Shutdown::on_signals();
    if how.contains("too early") {
        kill_process(getpid(), Signal::TERM).unwrap();
    }
    let shutdown = shutdown
        .drain(&first.pool, Drain::grace(LONG))
        .drain(&second.pool, Drain::grace(LONG))
        .then(|| async { eprintln!("then") })
        .then(move || async move {
            if stays {
                eprintln!("takes long");
                pass(LONG).await;
            }
        })
        .then(|| async { eprintln!("last") });
    if how.contains("ends by itself") {
        let pool = first.pool.clone();
        actix_rt::spawn(async move { pool.stop(Duration::ZERO).await });
    }
    let tell = async {
        eprintln!("{}", first.pool.local_addr().unwrap());
        eprintln!("{}", second.pool.local_addr().unwrap());
    };
    let (report, ()) = tokio::join!(shutdown.into_future(), tell);
    let report = report.unwrap();
    let reports: Vec<_> = report.pools.iter().map(counts).collect();
    eprintln!("{reports:?} {}", report.was_cut_short);
}

fn ended(mut server: Server, lines: &[&str]) {
    for expected in lines {
        assert_eq!(server.line(), *expected);
    }
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[test]
fn one_signal_drains_all_pools_and_then_does_the_rest() {
    let mut server = Server::start("shutdown");
    let (mut first, mut second) = (server.greeted("hello"), server.greeted("hello"));
    server.signal("TERM");
    assert_eq!((first.read_to_end(), second.read_to_end()), (b"bye\n".to_vec(), b"bye\n".to_vec()));
    ended(server, &["then", "last", "[[1, 1, 0, 0], [1, 1, 0, 0]] false"]);
}

#[test]
fn a_second_signal_during_the_drain_ends_all_pools() {
    let mut server = Server::start("shutdown");
    let (mut first, mut second) = (server.greeted("stay"), server.greeted("hello"));
    server.signal("TERM");
    assert_eq!(second.read_to_end(), b"bye\n");
    server.signal("INT");
    assert_eq!(first.read_to_end(), b"");
    ended(server, &["[[1, 0, 1, 0], [1, 1, 0, 0]] true"]);
}

#[test]
fn a_second_signal_during_then_skips_the_rest() {
    let mut server = Server::start("shutdown, then takes long");
    let (mut first, _second) = (server.greeted("hello"), server.greeted("hello"));
    server.signal("TERM");
    assert_eq!(first.read_to_end(), b"bye\n");
    assert_eq!((server.line(), server.line()), ("then".to_owned(), "takes long".to_owned()));
    server.signal("TERM");
    ended(server, &["[[1, 1, 0, 0], [1, 1, 0, 0]] true"]);
}

#[test]
fn a_pool_that_ends_by_itself_begins_the_shutdown() {
    let mut server = Server::start("shutdown, ends by itself");
    let _addresses = (server.line(), server.line());
    ended(server, &["then", "last", "[[0, 0, 0, 0], [0, 0, 0, 0]] false"]);
}

#[test]
fn a_signal_before_the_await_begins_the_shutdown() {
    let mut server = Server::start("shutdown, too early");
    let _addresses = (server.line(), server.line());
    ended(server, &["then", "last", "[[0, 0, 0, 0], [0, 0, 0, 0]] false"]);
}
