//! What bounds each state once the peer has left: on real sockets, since only they have a FIN and a reset.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use actix_acceptor::telemetry::CloseReason::{self, *};
use actix_acceptor::Listener;
use futures::future::{join_all, FutureExt};
use support::{connect, Call, Folder};
use tokio::time::Instant;

use super::cell::{enter, pool, OneByte, State};

const IDLE: Duration = Duration::from_millis(400);
const SEND: Duration = Duration::from_millis(700);
const HANDSHAKE: Duration = Duration::from_millis(1_000);
/// Late on a busy machine, too.
const SOON: Duration = Duration::from_secs(10);
const AT_ONCE: Duration = Duration::ZERO;

/// The state, then how it ends after a FIN of a peer that does not read, and after a reset. Never earlier than the time given.
const BOUNDS: [(State, (CloseReason, Duration), CloseReason); 14] = [
    (State::Handshaking, (Handshake, AT_ONCE), Handshake),
    (State::InitWaiting, (Peer, AT_ONCE), Peer),
    (State::Ready, (Peer, AT_ONCE), Peer),
    (State::Waiting, (Idle, IDLE), Peer),
    (State::ContextWaiting, (Idle, IDLE), Peer),
    (State::Blocking, (Idle, IDLE), Peer),
    (State::Passive, (Idle, IDLE), Peer),
    (State::AboveMark, (SendTimeout, SEND), Peer),
    (State::SendingFile, (SendTimeout, SEND), Peer),
    (State::Upgrading, (Handshake, AT_ONCE), Handshake),
    (State::HalfClosed, (Idle, IDLE), Peer),
    (State::Slowed, (Peer, AT_ONCE), Peer),
    (State::Closing, (SendTimeout, SEND), Peer),
    (State::Lingering, (Local, AT_ONCE), Local),
];

#[actix::test]
async fn no_state_outlives_its_peer() {
    assert_eq!(BOUNDS.map(|bound| bound.0), State::ALL);
    let cells =
        BOUNDS.into_iter().flat_map(|(state, fin, reset)| [(state, "FIN", fin), (state, "RST", (reset, AT_ONCE))]);
    let walked = join_all(cells.map(|(state, how, (reason, at))| async move {
        let walk = AssertUnwindSafe(outcome(state, how)).catch_unwind().await;
        let ok = walk.as_ref().is_ok_and(|(got, took)| *got == reason && (at..at + SOON).contains(took));
        (!ok).then(|| format!("{state:?} × {how}: expected {reason:?} after {at:?}, got {:?}", walk.ok()))
    }));
    let failures: Vec<_> = walked.await.into_iter().flatten().collect();
    assert!(failures.is_empty(), "{} cells fail:\n{}", failures.len(), failures.join("\n"));
}

/// Why the connection ended, and how long after its peer had left.
async fn outcome(state: State, how: &str) -> (CloseReason, Duration) {
    let folder = Folder::create();
    let (builder, mut callbacks, release) = pool(state, None, &folder);
    let builder = builder.idle_timeout(IDLE).send_timeout(SEND).handshake_timeout(HANDSHAKE);
    let listener = Listener::tcp("127.0.0.1:0");
    let listener = if state == State::Handshaking { listener.handshake(OneByte) } else { listener };
    let pool = builder.listener(listener).start().await.unwrap();
    let mut peer = connect(&pool).await;
    let began = enter(state, false, &mut peer, &pool, &mut callbacks, &release).await;
    // A half-closed peer sent its FIN before.
    let left = if state == State::HalfClosed { began } else { Instant::now() };
    let _peer = if how == "RST" {
        peer.reset();
        None
    } else {
        if state != State::HalfClosed {
            peer.finish().await;
        }
        Some(peer)
    };
    let at = loop {
        if let (Call::Closed(reason, _), at) = callbacks.next_at().await {
            break (reason, at);
        }
    };
    (at.0, at.1.saturating_duration_since(left))
}
