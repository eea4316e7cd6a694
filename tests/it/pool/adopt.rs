//! Connections whose streams the pool did not accept.

use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::handlers::{NoActor, ProtocolService};
use actix_acceptor::limits::{AtLimit, Rule};
use actix_acceptor::telemetry::RefusalReason;
use actix_acceptor::transport::Address;
use actix_acceptor::{
    info::Status, AcceptorPool, AdoptError, Conn, Connection, Detached, Drain, Framing, Listener, Next, Protocol,
    SuspendMode,
};
use bytes::Bytes;
use futures::FutureExt;
use support::*;
use tokio::io::{duplex, AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};

use crate::messaging::{ask, member, start, start_with, Member, Members};

fn named(name: &str) -> Address {
    Address::Other(name.into())
}

/// Sends a line, and reads one.
async fn exchange(peer: &mut DuplexStream, line: &str) -> String {
    peer.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while answer.last() != Some(&b'\n') {
        answer.push(in_time(peer.read_u8()).await.unwrap());
    }
    String::from_utf8(answer).unwrap().trim_end().to_owned()
}

/// Adopts a stream and returns its other end.
async fn adopt(pool: &Members, name: &str) -> Result<DuplexStream, AdoptError> {
    let (peer, stream) = duplex(1024);
    pool.adopt(stream, named(name)).await.map(|_| peer)
}

#[actix::test]
async fn an_adopted_stream_is_served_counted_and_listed() {
    let pool = start().await;
    let mut peer = adopt(&pool, "guest").await.unwrap();
    assert_eq!(exchange(&mut peer, "hello").await, "hello");
    let list = pool.list();
    assert_eq!((list[0].peer.to_string(), &*list[0].listener), ("guest".to_owned(), "adopted"));
    assert_eq!((pool.connections(), pool.info().accepted), (1, 1));
    let report = pool.stop(Duration::ZERO).await;
    assert_eq!((report.asked, pool.info().closed.total()), (1, 1));
    assert_eq!(peer.read(&mut [0]).await.unwrap(), 0);
}

#[actix::test]
async fn adopted_and_accepted_connections_share_topics_and_names() {
    let pool = start().await;
    let mut accepted = member(&pool).await;
    let mut adopted = adopt(&pool, "guest").await.unwrap();
    assert_eq!(exchange(&mut adopted, "join lobby").await, "true");
    assert_eq!(exchange(&mut adopted, "register ann").await, "true");
    assert_eq!(ask(&mut accepted, "register ann").await, "false");
    assert_eq!(exchange(&mut adopted, "others lobby hello").await, "1");
    accepted.expect(b"hello\n").await;
    assert_eq!(ask(&mut accepted, "tell ann hi").await, "true");
    adopted.read_exact(&mut [0; 3]).await.unwrap();
}

/// Returns whether its connection has a socket, and the port of its peer.
struct Inspect;

impl Protocol for Inspect {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, _: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        Next::send(format!("{} {} {name}", conn.socket_ref().is_some(), conn.peer()))
    }
}

#[actix::test]
async fn an_adopted_tcp_stream_moves_to_its_arbiter() {
    let pool = AcceptorPool::with_protocol(|_| Inspect).framing(Framing::lines()).bind("127.0.0.1:0").await.unwrap();
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut peer = Peer(TcpStream::connect(server.local_addr().unwrap()).await.unwrap());
    let (stream, address) = server.accept().await.unwrap();
    pool.adopt(stream, address).await.unwrap();
    let answer = ask(&mut peer, "?").await;
    assert!(answer.starts_with(&format!("true {address} ")) && answer.contains("|arbiter:"), "{answer}");
    // The kernel reports that the peer has left, as for an accepted stream.
    peer.reset();
    eventually(|| pool.connections() == 0).await;
}

#[cfg(unix)]
#[actix::test]
async fn an_adopted_unix_stream_moves_to_its_arbiter() {
    let pool = AcceptorPool::with_protocol(|_| Inspect).framing(Framing::lines()).bind("127.0.0.1:0").await.unwrap();
    let (peer, stream) = tokio::net::UnixStream::pair().unwrap();
    pool.adopt(stream, named("pair")).await.unwrap();
    let mut peer = Peer(peer);
    peer.send("?\n").await;
    peer.expect(b"true pair ").await;
}

#[actix::test]
async fn adopted_streams_pass_the_limits() {
    let pool = start_with(|builder| {
        let denied = Rule::deny("10.0.0.0/8").unwrap();
        builder.max_connections(2).max_per_peer(1).rules([denied]).refusal_message("no\n").at_limit(AtLimit::Wait)
    });
    let pool = pool.await;
    let one: std::net::SocketAddr = "192.0.2.1:1".parse().unwrap();
    let refused = async |address: &str| {
        let (mut peer, stream) = duplex(1024);
        let address: std::net::SocketAddr = address.parse().unwrap();
        let Err(AdoptError::Refused(reason)) = pool.adopt(stream, address).await else { panic!("adopted {address}") };
        let mut message = String::new();
        peer.read_to_string(&mut message).await.unwrap();
        assert_eq!(message, if reason == RefusalReason::Denied { "" } else { "no\n" });
        reason
    };
    let (_one, stream) = duplex(1024);
    pool.adopt(stream, one).await.unwrap();
    assert_eq!(refused("10.1.2.3:1").await, RefusalReason::Denied);
    assert_eq!(refused("192.0.2.1:2").await, RefusalReason::PerPeer);
    let _two = adopt(&pool, "two").await.unwrap();
    assert_eq!(refused("192.0.2.2:1").await, RefusalReason::Limit);
    let info = pool.info();
    assert_eq!((info.accepted, info.refused.total(), info.connections), (5, 3, 2));
    // The permits are given back.
    assert!(pool.kill(pool.list()[0].id));
    eventually(|| pool.connections() == 1).await;
    let (_again, stream) = duplex(1024);
    pool.adopt(stream, one).await.unwrap();
}

#[actix::test]
async fn a_pool_that_does_not_accept_does_not_adopt() {
    let pool = start().await;
    pool.suspend(SuspendMode::Hold).await.unwrap();
    let status = async || match adopt(&pool, "guest").await {
        Err(AdoptError::NotAccepting(status)) => status,
        other => panic!("{other:?}"),
    };
    assert_eq!(status().await, Status::Suspended(SuspendMode::Hold));
    pool.resume().await.unwrap();
    let _peer = adopt(&pool, "guest").await.unwrap();
    pool.stop(Duration::ZERO).await;
    assert_eq!(status().await, Status::Ended);
    assert_eq!(pool.info().accepted, 1);
}

#[actix::test]
async fn the_type_of_the_handle_chooses_the_service() {
    let inspect = ProtocolService::new(|_| Inspect).framing(Framing::lines());
    let pool = AcceptorPool::with_fn(echo).listener(Listener::tcp("127.0.0.1:0"));
    let pool = pool.listener(Listener::tcp("127.0.0.1:0").service(inspect)).start().await.unwrap();
    let mut peers = Vec::new();
    let inspecting = pool.typed::<Connection<Inspect>>().unwrap();
    for (typed, expected) in [(true, "false guest"), (false, "hello")] {
        let (mut peer, stream) = duplex(1024);
        match typed {
            true => inspecting.adopt(stream, named("guest")).await.unwrap(),
            false => pool.adopt(stream, named("guest")).await.unwrap(),
        };
        let answer = exchange(&mut peer, "hello").await;
        assert!(answer.starts_with(expected), "{answer}");
        peers.push(peer);
    }
    let (mut peer, stream) = duplex(1024);
    pool.untyped().adopt(stream, named("guest")).await.unwrap();
    assert_eq!(exchange(&mut peer, "echo").await, "echo");
    let _: Option<actix_acceptor::Pool<NoActor>> = pool.typed();
}

#[actix::test]
async fn adopted_streams_are_spread_over_the_acceptors() {
    let pool = start().await;
    let all = (0..40).map(|number| adopt(&pool, if number % 2 == 0 { "even" } else { "odd" })).collect::<Vec<_>>();
    let _peers: Vec<_> = futures::future::join_all(all).await.into_iter().map(Result::unwrap).collect();
    let connections: Vec<_> = pool.info().acceptors.iter().map(|acceptor| acceptor.connections).collect();
    assert!(connections.iter().all(|connections| (10..=30).contains(connections)), "{connections:?}");
}

#[actix::test]
async fn the_counts_add_up_if_an_adoption_is_not_awaited() {
    let pool = start().await;
    for number in 0..50 {
        let (mut peer, stream) = duplex(64);
        let mut adopting = Box::pin(pool.adopt(stream, named("guest")));
        for _ in 0..number % 5 {
            if adopting.as_mut().now_or_never().is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(adopting);
        peer.write_all(b"quit\n").await.ok();
        let mut answer = String::new();
        in_time(peer.read_to_string(&mut answer)).await.unwrap();
        assert!(["", "bye\n"].contains(&&*answer), "{answer}");
    }
    eventually(|| pool.connections() == 0).await;
    assert_eq!(pool.info().accepted, pool.info().closed.total());
}

#[actix::test]
async fn a_named_service_may_serve_adopted_streams_only() {
    let pool =
        AcceptorPool::with_fn(echo).named_service("lines", ProtocolService::new(|_| Inspect).framing(Framing::lines()));
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    let (mut peer, stream) = duplex(1024);
    pool.typed::<Connection<Inspect>>().unwrap().adopt(stream, named("guest")).await.unwrap();
    let answer = exchange(&mut peer, "hello").await;
    assert!(answer.starts_with("false guest"), "{answer}");
}

#[actix::test]
async fn a_stream_adopted_while_a_drain_begins_is_refused() {
    let (pool, _script) = in_memory(AcceptorPool::with_protocol(|_| Inspect).framing(Framing::lines())).await;
    let mut draining = Box::pin(pool.drain(Drain::immediate()));
    // Requested, and not yet begun.
    assert!(draining.as_mut().now_or_never().is_none());
    assert_eq!(pool.status(), Status::Running);
    let (mut peer, stream) = duplex(64);
    let refused = in_time(pool.adopt(stream, named("guest"))).await.unwrap_err();
    assert!(matches!(refused, AdoptError::Refused(RefusalReason::Draining)), "{refused}");
    assert_eq!(peer.read(&mut [0]).await.unwrap(), 0);
    in_time(draining).await;
    assert_eq!((pool.info().accepted, pool.info().refused.get(RefusalReason::Draining)), (1, 1));
}

#[actix::test]
async fn a_service_that_no_longer_adopts_is_dropped() {
    let listener = |captured: &Arc<()>| {
        let captured = captured.clone();
        let factory = move |_: &_| {
            let _ = &captured;
            Inspect
        };
        let service = ProtocolService::new(factory).framing(Framing::lines());
        Listener::tcp("127.0.0.1:0").name("own").service(service)
    };
    let (first, second) = (Arc::new(()), Arc::new(()));
    let pool = AcceptorPool::with_fn(echo).acceptors(1).listener(listener(&first)).start().await.unwrap();
    let inspecting = pool.typed::<Connection<Inspect>>().unwrap();
    let (peer, stream) = duplex(64);
    inspecting.adopt(stream, named("guest")).await.unwrap();
    in_time(pool.set_listeners(vec![listener(&second)])).await.unwrap();
    drop(peer);
    eventually(|| pool.connections() == 0).await;
    // The next service that adopts takes the place of those that nothing else uses.
    let (_peer, stream) = duplex(64);
    inspecting.adopt(stream, named("guest")).await.unwrap();
    eventually(|| Arc::strong_count(&first) == 1).await;
    assert!(Arc::strong_count(&second) > 1);
}

/// Hands its stream over when it is asked to.
struct Leaving(tokio::sync::mpsc::UnboundedSender<Detached>);

impl Protocol for Leaving {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, _: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        let sender = self.0.clone();
        Next::detach(move |detached| drop(sender.send(detached)))
    }
}

#[actix::test]
async fn a_detached_stream_outlives_its_pool_in_another() {
    let (sender, mut detached) = tokio::sync::mpsc::unbounded_channel();
    let first = AcceptorPool::with_protocol(move |_| Leaving(sender.clone())).framing(Framing::lines());
    let first = first.bind("127.0.0.1:0").await.unwrap();
    let second = start().await;
    let mut peer = connect(&first).await;
    // What was sent behind the line that ends the first protocol is for the next one.
    peer.send("leave\none\ntw").await;
    let stream = in_time(detached.recv()).await.unwrap();
    let address = stream.peer().clone();
    second.adopt(stream, address.clone()).await.unwrap();
    in_time(first.stop(Duration::ZERO)).await;
    peer.send("o\n").await;
    peer.expect(b"one\ntwo\n").await;
    assert_eq!(ask(&mut peer, "three").await, "three");
    assert_eq!(second.list()[0].peer, address);
}

#[actix::test]
async fn a_pool_without_listeners_serves_adopted_streams() {
    let builder = AcceptorPool::with_protocol(|_| Member::default()).framing(Framing::lines());
    let pool = builder.start_without_listeners().await.unwrap();
    assert_eq!((pool.name(), pool.is_ready(), pool.local_addr()), ("pool", true, None));
    let mut adopted = adopt(&pool, "guest").await.unwrap();
    assert_eq!(exchange(&mut adopted, "hello").await, "hello");
    in_time(pool.suspend(SuspendMode::Close)).await.unwrap();
    in_time(pool.resume()).await.unwrap();
    // Its first listener.
    in_time(pool.set_listeners(vec![Listener::tcp("127.0.0.1:0")])).await.unwrap();
    let mut accepted = connect(&pool).await;
    accepted.echo("accepted\n").await;
    assert_eq!(exchange(&mut adopted, "still here").await, "still here");
    assert_eq!(in_time(pool.stop(Duration::ZERO)).await.asked, 2);
}
