//! The lines that a pool logs about itself.

use std::io;
use std::time::Duration;

use actix_acceptor::transport::Address;
use actix_acceptor::{AcceptorPool, Listener, StartError};
use support::logs::{self, Line};
use support::*;
use tracing::Level;

/// The lines of a pool with a message.
fn lines(pool: &str, message: &str) -> Vec<Line> {
    logs::lines(|line| line.is("pool", pool) && line.message() == message)
}

/// Some fields of a line.
fn fields<'a>(line: &'a Line, names: &[&'static str]) -> Vec<&'a str> {
    names.iter().map(|name| line.fields.get(*name).map_or("-", String::as_str)).collect()
}

#[actix::test]
async fn a_pool_logs_one_line_when_ready_and_one_at_its_end() {
    logs::listen();
    let pool = AcceptorPool::with_protocol(|_| Echo)
        .name("two lines")
        .acceptors(2)
        .max_connections(50)
        .max_per_peer(7)
        .accept_rate(100, Duration::from_secs(1))
        .idle_timeout(None)
        .listener(Listener::tcp("127.0.0.1:0"))
        .listener(Listener::tcp("127.0.0.1:0").name("inside").max_connections(3))
        .start()
        .await
        .unwrap();
    let ready = lines("two lines", "pool ready");
    assert_eq!((ready.len(), ready[0].level), (1, Level::INFO));
    let addresses: Vec<_> = pool.local_addrs().iter().map(Address::url).collect();
    assert_eq!(ready[0].fields["addresses"], addresses.join(", "));
    let limits = ["acceptors", "max_connections", "max_per_listener", "max_per_peer", "peer_rate"];
    assert_eq!(fields(&ready[0], &limits), ["2", "50", "inside: 3", "7", "-"]);
    assert_eq!(fields(&ready[0], &["idle_timeout", "packet_timeout"]), ["off", "10s"]);
    assert_eq!(ready[0].fields["accept_rate"], "Rate { burst: 100, per: 1s }");

    let mut peer = connect(&pool).await;
    peer.echo("hello").await;
    assert_eq!(lines("two lines", "pool ended").len(), 0);
    in_time(pool.stop(Duration::ZERO)).await;
    let ended = lines("two lines", "pool ended");
    assert_eq!((ended.len(), ended[0].level), (1, Level::INFO));
    let counts = ["why", "accepted", "refused", "closed", "bytes_in", "restarts", "asked", "forced"];
    assert_eq!(fields(&ended[0], &counts), ["stopped", "1", "0", "1", "5", "0", "1", "1"]);
    assert_eq!(lines("two lines", "pool ready").len(), 1);
}

#[actix::test]
async fn the_last_line_of_a_failed_pool_has_the_reason() {
    logs::listen();
    let (transport, script) = ScriptedTransport::in_memory();
    let builder =
        AcceptorPool::with_protocol(|_| Echo).acceptors(1).name("fails").max_restarts(0, Duration::from_secs(9));
    let pool = builder.listen(transport).await.unwrap();
    script.accept_fails(libc::EBADF);
    in_time(pool.stopped()).await.unwrap_err();
    let ended = lines("fails", "pool ended");
    assert_eq!((ended.len(), ended[0].level), (1, Level::WARN));
    assert!(ended[0].fields["why"].starts_with("more than 0 acceptor restarts within 9s"), "{ended:?}");
}

#[actix::test]
async fn a_pool_that_does_not_start_logs_neither_line() {
    logs::listen();
    let (transport, script) = ScriptedTransport::in_memory();
    script.share(|| Err(io::Error::other("as asked")));
    let failed = AcceptorPool::with_protocol(|_| Echo).acceptors(1).name("not ready").listen(transport).await;
    assert!(matches!(failed, Err(StartError::AcceptorFailed { .. })));
    assert_eq!((lines("not ready", "pool ready").len(), lines("not ready", "pool ended").len()), (0, 0));
}
