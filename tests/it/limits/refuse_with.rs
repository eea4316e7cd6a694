//! How refused peers are closed: by a FIN after the message, or by a reset, for every reason but the limit.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use actix_acceptor::handlers::ProtocolService;
use actix_acceptor::limits::{AtLimit, RefuseWith, Rule};
use actix_acceptor::telemetry::RefusalReason;
use actix_acceptor::{Builder, Drain, Listener};
use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;

use super::counting::*;
use support::*;

const HOUR: Duration = Duration::from_secs(3_600);
const MESSAGE: &str = "not now\n";

/// Connects from here and waits for the end: what was sent before, or the kind of the error.
async fn end_from<A>(pool: &actix_acceptor::Pool<A>, ip: &str, sends: &[u8]) -> Result<String, ErrorKind> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(ip.parse().unwrap(), 0)).unwrap();
    // The reset may come before the connection was looked at.
    let end = async {
        let mut peer = Peer(socket.connect(pool.local_addr().unwrap()).await?);
        if !sends.is_empty() {
            peer.send(sends).await;
        }
        let mut text = String::new();
        peer.0.read_to_string(&mut text).await.map(|_| text)
    };
    in_time(end).await.map_err(|error| error.kind())
}

type Setup = fn(Builder<ProtocolService<Counted>>) -> Builder<ProtocolService<Counted>>;

/// A peer at 127.0.0.1 is served, the next one there is refused for this reason.
const CASES: [(RefusalReason, Setup, &str); 6] = [
    (RefusalReason::PerPeer, |builder| builder.max_per_peer(1), MESSAGE),
    (RefusalReason::Rate, |builder| builder.peer_rate(1, HOUR), MESSAGE),
    (RefusalReason::Rate, |builder| builder.accept_rate(1, HOUR), MESSAGE),
    (RefusalReason::Overload, |builder| builder.overload(|new| new.connections > 0), MESSAGE),
    (RefusalReason::Denied, |builder| builder.rules([Rule::deny("127.0.0.2").unwrap()]), ""),
    (RefusalReason::Limit, |builder| builder.max_connections(1).at_limit(AtLimit::Close), MESSAGE),
];

#[actix::test]
async fn refused_peers_are_reset_for_every_reason_but_the_limit() {
    for (reason, setup, message) in CASES {
        let counter = ConnectionCounter::default();
        let pool = setup(counter.pool()).refusal_message(MESSAGE).bind("127.0.0.1:0").await.unwrap();
        let inside = served(&pool).await;
        let ip = if reason == RefusalReason::Denied { "127.0.0.2" } else { "127.0.0.1" };
        assert_eq!(end_from(&pool, ip, b"").await, Ok(message.to_owned()), "{reason:?}");
        in_time(pool.change(|settings| settings.refuse_with = RefuseWith::Reset)).await.unwrap();
        let expected =
            if reason == RefusalReason::Limit { Ok(message.to_owned()) } else { Err(ErrorKind::ConnectionReset) };
        assert_eq!(end_from(&pool, ip, b"").await, expected, "{reason:?}");
        in_time(pool.change(|settings| settings.refuse_with = RefuseWith::Close)).await.unwrap();
        assert_eq!(end_from(&pool, ip, b"").await, Ok(message.to_owned()), "{reason:?}");
        eventually(|| refused(&pool, reason) == 3).await;
        drop(inside);
        ends(&pool).await;
    }
}

#[actix::test]
async fn a_limit_that_resets_leaves_other_refusals_as_they_are() {
    let counter = ConnectionCounter::default();
    let pool = counter.pool().at_limit(AtLimit::Reset).max_connections(2).max_per_peer(1).refusal_message(MESSAGE);
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    let _first = served_from(&pool, "127.0.0.1").await;
    assert_eq!(end_from(&pool, "127.0.0.1", b"").await, Ok(MESSAGE.to_owned()));
    let _second = served_from(&pool, "127.0.0.2").await;
    assert_eq!(end_from(&pool, "127.0.0.3", b"").await, Err(ErrorKind::ConnectionReset));
    ends(&pool).await;
}

#[actix::test]
async fn held_peers_of_a_closing_listener_are_reset() {
    let counter = ConnectionCounter::default();
    let pool = counter.pool().max_connections(1).at_limit(AtLimit::Hold(HOUR)).refuse_with(RefuseWith::Reset);
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    let inside = served(&pool).await;
    let mut held = unserved_peer(&pool).await;
    held.expect_waiting().await;
    let drained = async { in_time(pool.drain(Drain::grace(HOUR))).await };
    let end = async {
        let end = in_time(held.0.read(&mut [0])).await.map_err(|error| error.kind());
        drop(inside);
        end
    };
    let (report, end) = tokio::join!(drained, end);
    assert_eq!((end, report.unserved), (Err(ErrorKind::ConnectionReset), 1));
    assert_adds_up(&pool);
}

#[cfg(feature = "proxy-protocol")]
#[actix::test]
async fn peers_refused_by_their_proxy_header_are_reset() {
    use actix_acceptor::proxy::ProxyProtocol;

    let claim = |host: u8| format!("PROXY TCP4 203.0.113.{host} 198.51.100.1 1 443\r\n").into_bytes();
    for reset in [false, true] {
        let listener = || {
            let proxy = ProxyProtocol::required().trust("127.0.0.0/8").unwrap();
            Listener::tcp("127.0.0.1:0").proxy_protocol(proxy)
        };
        let how = if reset { RefuseWith::Reset } else { RefuseWith::Close };
        let expected = if reset { Err(ErrorKind::ConnectionReset) } else { Ok(String::new()) };
        let rules = || [Rule::deny("203.0.113.66").unwrap()];
        let counter = ConnectionCounter::default();
        let protocol = counter.pool().rules(rules()).refuse_with(how).listener(listener()).start().await.unwrap();
        let function = actix_acceptor::AcceptorPool::with_fn(|_| async {}).rules(rules()).refuse_with(how);
        let function = function.listener(listener()).start().await.unwrap();
        for pool in [protocol.untyped(), function.untyped()] {
            assert_eq!(end_from(&pool, "127.0.0.1", &claim(66)).await, expected);
            eventually(|| refused(&pool, RefusalReason::Denied) == 1).await;
            ends(&pool).await;
        }
    }
}
