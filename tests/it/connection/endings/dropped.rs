//! Panics in drops, also after the end was reported.

use std::future::pending;
use std::time::Duration;

use actix::prelude::*;
use actix_acceptor::{
    telemetry::CloseReason, AcceptorPool, Closed, Conn, Connection, ConnectionContext, ConnectionInfo, Framing, Next,
    Protocol,
};
use bytes::Bytes;
use futures::{stream, StreamExt};

use support::*;

/// A value whose end is a panic.
struct PanicOnDrop;

impl Drop for PanicOnDrop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("in drop");
        }
    }
}

/// Two of these that are dropped by the same panic abort the process.
struct AlwaysPanicsOnDrop;

impl Drop for AlwaysPanicsOnDrop {
    fn drop(&mut self) {
        panic!("in drop");
    }
}

/// Echoes, and keeps a [`PanicOnDrop`] in the place that a packet names.
struct PanicsInDrop {
    bomb: Option<PanicOnDrop>,
    recorder: Recorder,
}

impl Protocol for PanicsInDrop {
    type Codec = Framing;
    type Reply = Bytes;
    type User = Bytes;

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        let bomb = PanicOnDrop;
        match &packet[..] {
            b"payload" => std::panic::panic_any(bomb),
            b"state" => self.bomb = Some(bomb),
            b"stream" => add_stream(bomb, conn),
            b"several" => {
                std::mem::forget(bomb);
                for _ in 0..2 {
                    add_stream(AlwaysPanicsOnDrop, conn);
                    conn.spawn(holding(AlwaysPanicsOnDrop), |(), _, _| Next::Continue);
                }
            }
            b"spawned" => conn.address().do_send(Spawn(bomb)),
            b"waited for" => return conn.wait(holding(bomb), |(), _, _| Next::Continue),
            _ => std::mem::forget(bomb),
        }
        Next::Send(packet)
    }

    fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
        self.recorder.note(why);
    }
}

fn add_stream(bomb: impl Sized + 'static, conn: &mut Conn<PanicsInDrop>) {
    conn.add_stream(stream::pending().map(move |item| {
        let _ = &bomb;
        item
    }));
}

async fn holding(_bomb: impl Sized + 'static) {
    pending().await
}

#[derive(Message)]
#[rtype(result = "()")]
struct Spawn(PanicOnDrop);

impl Handler<Spawn> for Connection<PanicsInDrop> {
    type Result = ();

    fn handle(&mut self, Spawn(bomb): Spawn, ctx: &mut ConnectionContext<PanicsInDrop>) {
        ctx.spawn(holding(bomb).into_actor(self));
    }
}

#[actix::test]
async fn a_panic_in_drop_ends_one_connection() {
    let (recorder, mut closings) = Recorder::new();
    let pool = AcceptorPool::with_protocol(move |_| PanicsInDrop { bomb: None, recorder: recorder.clone() })
        .framing(Framing::lines())
        .acceptors(1)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let mut good = connect(&pool).await;
    good.echo("hello\n").await;
    let places = ["payload", "state", "stream", "several", "spawned", "waited for"];
    for (number, place) in places.into_iter().enumerate() {
        let mut bad = connect(&pool).await;
        bad.echo("hello\n").await;
        bad.send(format!("{place}\n")).await;
        if ["state", "stream", "several", "spawned"].contains(&place) {
            bad.expect(format!("{place}\n").as_bytes()).await;
            // What was sent to the connection itself is taken by now.
            bad.echo("armed\n").await;
        }
        if place == "waited for" {
            bad.reset();
        } else {
            bad.finish().await;
            bad.until_gone().await;
        }
        closings.next().await;
        eventually(|| pool.connections() == 1).await;
        good.echo("still here\n").await;
        assert!(closings.is_empty(), "{place}: closed came twice");
        assert_eq!(pool.info().closed.total(), number as u64 + 1, "{place}");
    }
    assert_eq!(pool.info().acceptors[0].restarts, 0, "an acceptor paid for it");
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn a_panic_payload_that_panics_is_reported_as_a_panic() {
    let (recorder, mut closings) = Recorder::new();
    let pool = AcceptorPool::with_protocol(move |_| PanicsInDrop { bomb: None, recorder: recorder.clone() })
        .on_current_arbiter()
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let mut bad = connect(&pool).await;
    bad.send("payload").await;
    assert_eq!(bad.until_gone().await, b"");
    assert_eq!(closings.next().await, (CloseReason::Panic, "a callback panicked: payload is not a string".into()));
    connect(&pool).await.echo("the next one").await;
    in_time(pool.stop(Duration::ZERO)).await;
}
