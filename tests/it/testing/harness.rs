//! The harness: the pool, the clock, addresses, accept errors, the end.

use std::io::{self, ErrorKind};
use std::time::Duration;

use actix_acceptor::testing::Harness;
use actix_acceptor::{limits::Rule, telemetry::RefusalReason, AcceptorPool, Event, Init, Next, SuspendMode, Timeout};
use bytes::Bytes;
use support::*;
use tokio::time::Instant;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

#[actix::test]
async fn a_harness_runs_all_four_handlers() {
    let protocol = echo_harness().await;
    let mut client = protocol.connect().await;
    client.say("protocol\n").await;
    client.expect("protocol\n").await;
    protocol.end().await;

    let events = AcceptorPool::with_events(
        |_| Init::new(()),
        |(), event, _| match event {
            Event::Packet(packet) => Next::Send(packet),
            event => event.default_next(),
        },
    )
    .framing(Framing::lines());
    let events = Harness::start(events).await;
    let mut client = events.connect().await;
    client.say("events\n").await;
    client.expect("events\n").await;
    events.end().await;

    let function = Harness::start(AcceptorPool::with_fn(support::echo)).await;
    let mut client = function.connect().await;
    client.say("fn").await;
    client.finish().await;
    assert_eq!(client.end().await, "fn");
    function.end().await;

    let start = |socket| Ok(SocketActor::start(socket, support::echo));
    let actor = Harness::start(AcceptorPool::with_actor(start)).await;
    let mut client = actor.connect().await;
    client.say("actor").await;
    client.finish().await;
    assert_eq!(client.end().await, "actor");
    actor.end().await;
}

#[actix::test]
async fn time_passes_at_once_and_only_when_it_is_asked_to() {
    let (builder, mut callbacks) = Probe::pool(|call, conn| {
        if *call == Call::Ack {
            conn.after(HOUR, Bytes::from_static(b"an hour"));
        }
        protocol_default(call)
    });
    let real = std::time::Instant::now();
    let harness = Harness::start(builder.idle_timeout(2 * HOUR)).await;
    let began = Instant::now();
    let _client = harness.connect().await;
    assert_eq!(callbacks.so_far(), [Call::Init, Call::Ack]);
    harness.advance(HOUR - ms(1)).await;
    assert_eq!(callbacks.so_far(), []);
    harness.advance(ms(2)).await;
    assert_eq!(callbacks.so_far(), [Call::user("an hour")]);
    assert_eq!(began.elapsed(), HOUR + ms(1));
    harness.advance(HOUR).await;
    assert_eq!(callbacks.so_far(), []);
    harness.advance(HOUR / 5).await;
    assert_eq!(callbacks.so_far()[0], Call::Timeout(Timeout::Idle));
    assert!(real.elapsed() < TIME_LIMIT);
}

#[actix::test]
async fn a_clock_that_is_paused_already_stays_paused() {
    tokio::time::pause();
    let first = echo_harness().await;
    // Several pools in one test.
    let second = echo_harness().await;
    let began = Instant::now();
    first.advance(HOUR).await;
    second.settle().await;
    assert_eq!(began.elapsed(), HOUR);
}

#[actix::test]
async fn clients_have_the_addresses_that_they_connect_from() {
    let rules = [Rule::deny("192.0.2.0/24").unwrap()];
    let harness = Harness::start(echoes().rules(rules).max_per_peer(1)).await;
    let clients = (
        harness.connect_from("10.0.0.7:1").await,
        harness.connect_from(std::net::Ipv6Addr::LOCALHOST).await,
        harness.connect().await,
    );
    let peers: Vec<_> = harness.pool().list().iter().map(|one| one.peer.to_string()).collect();
    assert_eq!(peers, ["10.0.0.7:1", "[::1]:1", "harness/3"]);
    assert_eq!(harness.connect_from("10.0.0.7:2").await.end().await, "");
    assert_eq!(harness.connect_from("192.0.2.1").await.end().await, "");
    let refused = harness.pool().info().refused;
    assert_eq!((refused.get(RefusalReason::PerPeer), refused.get(RefusalReason::Denied)), (1, 1));
    drop(clients);
    harness.settle().await;
    assert_eq!(harness.pool().connections(), 0);
    harness.end().await;
}

#[cfg(feature = "proxy-protocol")]
#[actix::test]
async fn a_trusted_proxy_names_the_peer() {
    let proxy = actix_acceptor::proxy::ProxyProtocol::required().trust("10.0.0.0/8").unwrap();
    let harness = Harness::start_with(echoes(), |listener| listener.name("public").proxy_protocol(proxy)).await;
    let mut client = harness.connect_from("10.0.0.7:1").await;
    client.say("PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\r\nhello\n").await;
    client.expect("hello\n").await;
    let info = harness.pool().list().remove(0);
    assert_eq!((info.peer.to_string(), &*info.listener), ("203.0.113.7:4711".to_owned(), "public"));
    assert_eq!(harness.connect_from("203.0.113.7:1").await.end().await, "", "not trusted");
    harness.end().await;
}

#[actix::test]
async fn accepts_fail_on_demand() {
    let harness = echo_harness().await;
    harness.fail_accept(ErrorKind::OutOfMemory.into());
    let mut client = harness.connect().await;
    assert_eq!(harness.pool().connections(), 0, "the acceptor pauses");
    client.silence(ms(90)).await;
    client.say("hello\n").await;
    client.expect("hello\n").await;
    assert_eq!(harness.pool().info().accept_errors, 1);
    harness.fail_accept(io::Error::from(ErrorKind::NotConnected));
    harness.settle().await;
    assert_eq!(harness.pool().info().acceptors[0].restarts, 1);
    harness.connect().await.say("hello\n").await;
    assert_eq!(harness.pool().connections(), 2);
    harness.end().await;
}

#[actix::test]
async fn the_end_asks_connections_and_returns_the_report() {
    let harness = echo_harness().await;
    let mut clients = (harness.connect().await, harness.connect().await);
    assert_eq!(harness.pool().name(), "harness");
    let report = harness.end().await;
    assert_eq!((report.asked, report.finished), (2, 2));
    assert_eq!((clients.0.end().await, clients.1.end().await), (Bytes::new(), Bytes::new()));
}

#[actix::test]
async fn the_connector_reports_refusals_as_errors() {
    let harness = echo_harness().await;
    harness.pool().suspend(SuspendMode::Close).await.unwrap();
    assert_eq!(harness.connector().connect().await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    harness.pool().resume().await.unwrap();
    harness.connect().await.say("hello\n").await;
    harness.end().await;
}
