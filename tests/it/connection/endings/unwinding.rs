//! `closed` itself panics: at its usual place, out of `Drop` because the arbiter stopped, and while the thread unwinds.

use std::time::Duration;

use actix::prelude::*;
use actix_acceptor::{telemetry::CloseReason, AcceptorPool, Closed, Conn, ConnectionInfo, Framing, Next, Protocol};
use bytes::Bytes;

use support::*;

/// Echoes; stops its arbiter on request; panics with its text in `closed`.
struct PanicsInClosed {
    text: &'static str,
    recorder: Recorder,
}

impl Protocol for PanicsInClosed {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        match &packet[..] {
            b"panic" => panic!("before {}", self.text),
            b"stop" => Next::Stop,
            b"arbiter" => {
                actix::Arbiter::current().stop();
                Next::Continue
            }
            _ => Next::Send(packet),
        }
    }

    fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
        self.recorder.note(why);
        panic!("{}", self.text);
    }
}

/// How often that panic was logged: as what it is, with the connection's name.
fn logged(text: &str) -> usize {
    let lines = logs::lines(|line| line.is("panic", text));
    for line in &lines {
        assert_eq!((line.level, line.message()), (tracing::Level::ERROR, "the `closed` callback panicked"));
        assert!(line.fields.contains_key("id") && line.fields.contains_key("peer"), "{line:?}");
    }
    lines.len()
}

#[actix::test]
async fn a_panic_in_closed_is_logged_and_contained() {
    logs::listen();
    let text = "closed at the usual place";
    let (recorder, mut closings) = Recorder::new();
    let pool = AcceptorPool::with_protocol(move |_| PanicsInClosed { text, recorder: recorder.clone() })
        .framing(Framing::lines())
        .on_current_arbiter()
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let mut good = connect(&pool).await;
    good.echo("hello\n").await;
    for (words, reason) in [("hello\nstop\n", CloseReason::Local), ("panic\n", CloseReason::Panic)] {
        let mut bad = connect(&pool).await;
        bad.send(words).await;
        assert_eq!(bad.read_to_end().await, if reason == CloseReason::Local { &b"hello\n"[..] } else { b"" });
        assert_eq!(closings.reason().await, reason);
    }
    good.echo("hello\n").await;
    eventually(|| pool.connections() == 1).await;
    assert_eq!(logged(text), 2);
    let report = in_time(pool.stop(None)).await;
    assert_eq!((report.asked, report.finished, report.forced), (1, 1, 0));
    let closed = pool.info().closed;
    let counts = [CloseReason::Local, CloseReason::Panic, CloseReason::Shutdown].map(|reason| closed.get(reason));
    assert_eq!((counts, closed.total(), logged(text)), ([1, 1, 1], 3, 3));
    drop(pool);
    assert_eq!(closings.rest().await, [CloseReason::Shutdown]);
}

#[actix::test]
async fn a_panic_in_closed_is_contained_when_an_arbiter_stops() {
    logs::listen();
    let text = "closed at the arbiter's end";
    let (recorder, mut closings) = Recorder::new();
    let pool = AcceptorPool::with_protocol(move |_| PanicsInClosed { text, recorder: recorder.clone() })
        .framing(Framing::lines())
        .acceptors(1)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let mut peers = Vec::new();
    for _ in 0..10 {
        let mut peer = connect(&pool).await;
        peer.echo("hello\n").await;
        peers.push(peer);
    }
    peers[3].send("arbiter\n").await;
    for peer in &mut peers {
        assert_eq!(peer.until_gone().await, b"");
        assert_eq!(closings.reason().await, CloseReason::Killed);
    }
    // A new arbiter, a new acceptor.
    connect(&pool).await.echo("hello\n").await;
    assert_eq!(closings.reason().await, CloseReason::Peer);
    eventually(|| pool.connections() == 0).await;
    let closed = pool.info().closed;
    assert_eq!((closed.get(CloseReason::Killed), closed.get(CloseReason::Peer), closed.total()), (10, 1, 11));
    assert_eq!(logged(text), 11);
    in_time(pool.stop(Duration::ZERO)).await;
    drop(pool);
    assert!(closings.rest().await.is_empty());
}

#[test]
fn a_panic_in_closed_while_the_thread_unwinds_does_not_abort() {
    logs::listen();
    let text = "closed while unwinding";
    let (recorder, closings) = Recorder::new();
    let unwound = std::thread::spawn(move || {
        System::new().block_on(async move {
            let pool = AcceptorPool::with_protocol(move |_| PanicsInClosed { text, recorder: recorder.clone() })
                .on_current_arbiter()
                .bind("127.0.0.1:0")
                .await
                .unwrap();
            let mut peers = [connect(&pool).await, connect(&pool).await];
            for peer in &mut peers {
                peer.echo("hello").await;
            }
            std::panic::panic_any("the program's own");
        });
    });
    let panic = unwound.join().unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"the program's own"));
    assert_eq!(logged(text), 2);
    let reasons = System::new().block_on(closings.rest());
    assert_eq!(reasons, [CloseReason::Killed; 2]);
}
