//! A callback blocks its arbiter's thread: what the others see of it, and how a pool ends all the same.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use actix_acceptor::transport::{Accepted, Stream};
use actix_acceptor::{
    handlers::ProtocolService, telemetry::CloseReason, transport::Address, Builder, Framing, Next, Timeout,
};
use support::*;
use tokio::io::duplex;

/// Probes that block their arbiter at the word "block", until something is sent or the sender is dropped.
fn blocking() -> (Builder<ProtocolService<Probe>>, Callbacks, mpsc::Sender<()>) {
    let (gate, open) = Gate::new();
    let (builder, callbacks) = Probe::pool(move |call, conn| match call {
        Call::Packet(packet) if packet == "block" => {
            conn.set_idle_timeout(None);
            gate.pass();
            Next::Continue
        }
        call => protocol_default(call),
    });
    (builder.framing(Framing::lines()), callbacks, open)
}

#[actix::test]
async fn time_on_a_blocked_arbiter_is_not_peer_silence() {
    let limit = Duration::from_millis(200);
    let (builder, mut callbacks, open) = blocking();
    let builder = builder.idle_timeout(limit).watchdog(3 * limit).acceptors(1);
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let (mut blocker, mut speaker) = (connect(&pool).await, connect(&pool).await);
    blocker.send("block\n").await;
    callbacks.until(&Call::packet("block")).await;
    // It has been blocked for longer than the limit.
    eventually(|| pool.info().blocked == 1).await;
    speaker.send("hello\n").await;
    // It is read after this moment only.
    let released = tokio::time::Instant::now();
    open.send(()).unwrap();
    callbacks.until(&Call::packet("hello")).await;
    let idle = callbacks.until(&Call::Timeout(Timeout::Idle)).await;
    assert!(idle - released >= limit, "early: {:?}", idle - released);
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_stop_waits_a_limited_time_for_a_blocked_arbiter() {
    let (builder, mut callbacks, open) = blocking();
    let pool = builder.acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.send("block\n").await;
    callbacks.until(&Call::packet("block")).await;
    let (grace, asked) = (Duration::from_millis(100), Instant::now());
    // A second for the acceptor, the grace, and a second for the connection.
    let report = within(Duration::from_secs(15), pool.stop(grace)).await;
    assert!(asked.elapsed() >= grace);
    assert_eq!((report.asked, report.finished, report.forced), (1, 0, 1));
    assert_eq!(pool.connections(), 1, "it is blocked still");
    open.send(()).unwrap();
    assert_eq!(callbacks.closed().await.0, CloseReason::Killed);
    peer.until_gone().await;
    eventually(|| pool.connections() == 0).await;
}

#[actix::test]
async fn a_peer_accepted_during_a_stop_is_stopped_too() {
    let (transport, script_handle) = ScriptedTransport::in_memory();
    let (builder, mut callbacks) = Probe::pool(|call, _| match call {
        Call::Shutdown => Next::Continue,
        call => protocol_default(call),
    });
    let pool = builder.acceptors(2).listen(transport).await.unwrap();
    let mut peers = Vec::new();
    while pool.info().acceptors.iter().any(|acceptor| acceptor.connections == 0) {
        peers.push(script_handle.connect());
        callbacks.until(&Call::Ack).await;
    }
    let (theirs, ours) = duplex(1024);
    let (gate, open) = Gate::new();
    let (began, begun) = tokio::sync::oneshot::channel();
    script_handle.accept(move || {
        began.send(()).unwrap();
        gate.pass();
        Ok(Accepted { stream: Stream::other(ours), peer: Address::Other("memory".into()) })
    });
    in_time(begun).await.unwrap();
    let stopping = actix_rt::spawn({
        let pool = pool.clone();
        async move { pool.stop(Duration::from_secs(60)).await }
    });
    // The pool no longer waits for the acceptor: shutdown reaches the other arbiter's connections.
    callbacks.until(&Call::Shutdown).await;
    open.send(()).unwrap();
    for _ in 0..peers.len() {
        callbacks.until(&Call::Shutdown).await;
    }
    let asked = peers.len() as u64 + 1;
    drop((peers, theirs));
    let report = in_time(stopping).await.unwrap();
    assert_eq!((report.asked as u64, report.finished as u64, report.forced), (asked, asked, 0));
}
