//! The spans of listeners, acceptors and connections, as a `tracing` subscriber sees them.

mod callbacks;
mod handlers;
mod panics;
mod parents;

use std::sync::{Arc, Mutex};

use actix_acceptor::{
    telemetry::{CloseReason, Observer, PoolEvent, Spans},
    AcceptorPool, Conn, Framing, Next, Protocol, SuspendMode,
};
use bytes::Bytes;
use support::acceptors::AcceptorFailure;
use support::logs::{self, listen};
use support::spans::{of, Span};
use support::*;
use tracing::Level;

#[actix::test]
async fn a_connection_span_closes_with_the_final_counts() {
    listen();
    let builder = AcceptorPool::with_protocol(|_| Echo).framing(Framing::lines()).name("lives").observer(Spans::new());
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("hello\n").await;
    let span = of("lives", "connection").remove(0);
    assert!(!span.closed && span.level == Level::INFO, "{span:?}");
    let address = peer.address().to_string();
    assert_eq!([span.field("id"), span.field("peer"), span.field("listener")], ["1", &address, "lives"]);
    assert_eq!(span.field("reason"), "");
    eventually(|| pool.list()[0].age >= ms(150)).await;
    peer.echo("there\n").await;
    peer.finish().await;
    peer.until_gone().await;
    eventually(|| of("lives", "connection")[0].closed).await;
    let span = of("lives", "connection").remove(0);
    let numbers = ["reason", "bytes_in", "bytes_out", "packets"].map(|field| span.field(field));
    assert_eq!(numbers, ["peer", "12", "12", "2"]);
    let lived: u64 = span.field("duration_ms").parse().unwrap();
    assert!((150..TIME_LIMIT.as_millis() as u64).contains(&lived), "{lived}");
    assert!(span.entered);
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn every_span_closes_with_its_subject() {
    listen();
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(2).name("ends").observer(Spans::new());
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let mut peers = Vec::new();
    for _ in 0..20 {
        let mut peer = connect(&pool).await;
        peer.echo("hello").await;
        peers.push(peer);
    }
    let all = || ["listener", "acceptor", "connection"].map(|name| of("ends", name));
    assert_eq!(all().map(|spans| spans.len()), [1, 2, 20]);
    assert!(all().iter().flatten().all(|span| !span.closed));
    assert!(all()[..2].iter().flatten().all(|span| span.level == Level::INFO));
    assert_eq!(all()[0][0].field("address"), pool.local_addr().unwrap().to_string());
    in_time(pool.stop(None)).await;
    let [listeners, acceptors, connections] = all();
    assert!(listeners.iter().chain(&acceptors).chain(&connections).all(|span| span.closed));
    assert!(connections.iter().all(|span| span.entered));
    assert!(acceptors.iter().all(|span| span.field("exit") == "stopped"), "{acceptors:?}");
    let shut = |span: &Span| span.field("reason") == CloseReason::Shutdown.name() && span.field("packets") == "1";
    assert!(connections.iter().all(shut), "{connections:?}");
}

#[actix::test]
async fn a_restarted_acceptor_has_a_new_span() {
    listen();
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(1).name("replaced").observer(Spans::new());
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    pool.acceptors()[0].do_send(AcceptorFailure::Panic);
    eventually(|| of("replaced", "acceptor").len() == 2).await;
    let acceptors = of("replaced", "acceptor");
    assert!(
        acceptors[0].closed
            && acceptors[0].field("exit") == "panicked: an acceptor dies"
            && acceptors[0].field("acceptor") == "0"
    );
    assert!(!acceptors[1].closed && acceptors[1].field("acceptor") == "0");
    in_time(pool.stop(None)).await;
    assert!(of("replaced", "acceptor")[1].closed);
}

#[actix::test]
async fn a_resumed_listener_has_a_new_span() {
    listen();
    let builder = AcceptorPool::with_protocol(|_| Echo).name("suspended").observer(Spans::new());
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    in_time(pool.suspend(SuspendMode::Close)).await.unwrap();
    assert!(of("suspended", "listener").iter().all(|span| span.closed));
    in_time(pool.resume()).await.unwrap();
    let closed: Vec<_> = of("suspended", "listener").iter().map(|span| span.closed).collect();
    assert_eq!(closed, [true, false]);
    in_time(pool.stop(None)).await;
}

/// Takes each packet as its label.
struct Labelled;

impl Protocol for Labelled {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        conn.set_label(std::str::from_utf8(&packet).unwrap());
        Next::Send(packet)
    }
}

#[derive(Clone, Default)]
struct Labels(Arc<Mutex<Vec<String>>>);

impl Observer for Labels {
    fn observe(&self, _: &str, event: &PoolEvent<'_>) {
        if let PoolEvent::ConnectionLabelled { id, label } = event {
            self.0.lock().unwrap().push(format!("{id} {label}"));
        }
    }
}

#[actix::test]
async fn a_label_is_in_the_span_the_log_line_and_an_event() {
    listen();
    let labels = Labels::default();
    let builder = AcceptorPool::with_protocol(|_| Labelled).framing(Framing::lines()).name("labels");
    let pool = builder.observer(Spans::new()).observer(labels.clone()).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    eventually(|| of("labels", "connection").len() == 1).await;
    assert_eq!(of("labels", "connection")[0].field("label"), "");
    for label in ["ann\n", "bob\n"] {
        peer.echo(label).await;
    }
    assert_eq!(of("labels", "connection")[0].field("label"), "bob");
    assert_eq!(*labels.0.lock().unwrap(), ["1 ann", "1 bob"]);
    let address = peer.address().to_string();
    drop(peer);
    eventually(|| pool.connections() == 0).await;
    let lines =
        logs::lines(|line| line.is("listener", "labels") && line.is("peer", &address) && line.is("label", "bob"));
    assert_eq!(lines.iter().map(|line| line.message()).collect::<Vec<_>>(), ["connection closed"]);
    in_time(pool.stop(None)).await;
}
