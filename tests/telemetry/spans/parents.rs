//! How spans nest, and when those of pools and listeners close.

use actix_acceptor::{telemetry::Spans, transport::Address, AcceptorPool, Listener, SuspendMode};
use support::logs::listen;
use support::spans::of;
use support::*;

#[actix::test]
async fn spans_nest_as_the_pool_does() {
    listen();
    let builder = AcceptorPool::with_protocol(|_| Echo).name("nested").acceptors(2).observer(Spans::new());
    let listeners = [("a", "127.0.0.1:0"), ("b", "127.0.0.1:0")];
    let pool = listeners
        .into_iter()
        .fold(builder, |builder, (name, address)| builder.listener(Listener::tcp(address).name(name)))
        .start()
        .await
        .unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("hello").await;
    let root = of("nested", "pool").remove(0);
    assert_eq!((root.parents.len(), root.closed), (0, false));
    let under_root = vec![("pool", root.id)];
    for span in of("nested", "listener").iter().chain(&of("nested", "acceptor")) {
        assert_eq!(span.parents, under_root, "{span:?}");
    }
    let (connection, listeners) = (of("nested", "connection").remove(0), of("nested", "listener"));
    let accepted_by = listeners.iter().find(|span| span.field("listener") == connection.field("listener")).unwrap();
    assert_eq!(connection.parents, [("pool", root.id), ("listener", accepted_by.id)]);
    in_time(pool.stop(None)).await;
    for name in ["pool", "listener", "acceptor", "connection"] {
        assert!(of("nested", name).iter().all(|span| span.closed), "{name}");
    }
}

#[actix::test]
async fn a_renamed_listener_has_a_new_span() {
    listen();
    let listener = |name: &str| Listener::tcp("127.0.0.1:0").name(name);
    let builder = AcceptorPool::with_protocol(|_| Echo).name("renamed").acceptors(1).observer(Spans::new());
    let pool = builder.listener(listener("before")).start().await.unwrap();
    let port = pool.local_addr().unwrap();
    let mut old = connect(&pool).await;
    old.echo("hello").await;
    let renamed = Listener::tcp(port.to_string()).name("after");
    in_time(pool.set_listeners(vec![renamed])).await.unwrap();
    let mut new = connect(&pool).await;
    new.echo("hello").await;
    let names = |spans: Vec<spans::Span>| -> Vec<_> {
        spans.iter().map(|span| (span.field("listener").to_owned(), span.closed)).collect()
    };
    // A span that contains another one is open until that is closed.
    assert_eq!(names(of("renamed", "listener")), [("before".to_owned(), false), ("after".to_owned(), false)]);
    let [before, after] = of("renamed", "listener").try_into().unwrap();
    let parents: Vec<_> = of("renamed", "connection").iter().map(|span| span.parents[1].1).collect();
    assert_eq!(parents, [before.id, after.id]);
    drop(old);
    eventually(|| of("renamed", "listener")[0].closed).await;
    assert!(!of("renamed", "listener")[1].closed);
    // Without another name, the span stays the same one.
    let unchanged = Listener::tcp(port.to_string()).name("after").max_connections(9);
    in_time(pool.set_listeners(vec![unchanged])).await.unwrap();
    connect(&pool).await.echo("hello").await;
    assert_eq!(of("renamed", "listener").len(), 2);
    assert_eq!(of("renamed", "connection")[2].parents[1].1, after.id);
    in_time(pool.stop(None)).await;
    assert!(of("renamed", "listener").iter().chain(&of("renamed", "pool")).all(|span| span.closed));
}

#[actix::test]
async fn connections_of_a_resumed_pool_have_its_new_span() {
    listen();
    let builder = AcceptorPool::with_protocol(|_| Echo).name("resumed").acceptors(1).observer(Spans::new());
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    connect(&pool).await.echo("hello").await;
    in_time(pool.suspend(SuspendMode::Close)).await.unwrap();
    in_time(pool.resume()).await.unwrap();
    in_time(pool.suspend(SuspendMode::Hold)).await.unwrap();
    in_time(pool.resume()).await.unwrap();
    connect(&pool).await.echo("hello").await;
    let listeners: Vec<_> = of("resumed", "listener").iter().map(|span| span.id).collect();
    let parents: Vec<_> = of("resumed", "connection").iter().map(|span| span.parents[1].1).collect();
    assert_eq!((listeners.len(), parents), (2, listeners));
    in_time(pool.stop(None)).await;
}

#[cfg(feature = "proxy-protocol")]
#[actix::test]
async fn the_peer_of_a_proxy_header_is_recorded() {
    use actix_acceptor::{proxy::ProxyProtocol, transport::Memory};
    listen();
    let (memory, connector) = Memory::new("proxied");
    let proxy = ProxyProtocol::required().trust_local();
    let builder = AcceptorPool::with_protocol(|_| Echo).framing(actix_acceptor::Framing::lines()).acceptors(1);
    let builder = builder.name("proxied").observer(Spans::new());
    let listener = Listener::from_transport(memory).proxy_protocol(proxy);
    let pool = builder.listener(listener).start().await.unwrap();
    let mut peer = Peer(in_time(connector.connect()).await.unwrap());
    peer.send("PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\r\nhello\n").await;
    peer.expect(b"hello\n").await;
    assert_eq!(of("proxied", "connection")[0].field("peer"), "192.0.2.1:1234");
    drop(peer);
    eventually(|| support::spans::said_in("proxied").iter().any(|said| said.message == "connection closed")).await;
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn an_adopted_connection_is_below_its_pool() {
    listen();
    let builder = AcceptorPool::with_protocol(|_| Echo).name("adopts").observer(Spans::new());
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let (peer, stream) = tokio::io::duplex(64);
    pool.adopt(stream, Address::Other("guest".into())).await.unwrap();
    Peer(peer).echo("hello").await;
    let (root, connection) = (of("adopts", "pool").remove(0), of("adopts", "connection").remove(0));
    assert_eq!((connection.parents, connection.id == root.id), (vec![("pool", root.id)], false));
    in_time(pool.stop(None)).await;
}
