//! `Pool::close` and `Pool::connection_info`: past the mailbox, in any state.

use std::future::pending;
use std::time::Duration;

use actix_acceptor::{telemetry::CloseReason, Active, Conn, ConnectionId, Next};
use support::*;
use tokio::time::Instant;

use super::*;

const FLOOD: usize = 16 << 20;

/// What a line brings about.
fn states(call: &Call, conn: &mut Conn<Probe>) -> Next<Probe> {
    match call {
        Call::Packet(bytes) if bytes == "wait" => {
            conn.send(Bytes::from_static(b"before")).unwrap();
            conn.wait(pending::<()>(), |(), _, _| text("never"))
        }
        Call::Packet(bytes) if bytes == "block" => {
            conn.send(Bytes::from_static(b"before")).unwrap();
            conn.blocking(|| std::thread::sleep(ms(300)), |(), _, _| text("never"))
        }
        Call::Packet(bytes) if bytes == "passive" => {
            conn.set_active(Active::Passive);
            text("before")
        }
        Call::Packet(bytes) if bytes == "flood" => Next::Send(Bytes::from(vec![b'x'; FLOOD])),
        call => echoed(call),
    }
}

fn only_id(pool: &Pool<Connection<Probe>>) -> ConnectionId {
    pool.list()[0].id
}

fn last() -> Option<Bytes> {
    Some(Bytes::from_static(b"last"))
}

const LOCAL: (CloseReason, &str) = (CloseReason::Local, "closed by the program");

#[actix::test]
async fn close_acts_in_any_state_and_keeps_the_order() {
    for state in ["wait", "block", "passive", "before"] {
        for behind in ["", "packet\n"] {
            let (pool, mut callbacks) = lines(states, |builder| builder).await;
            let mut peer = connect(&pool).await;
            peer.send(format!("{state}\n{behind}")).await;
            peer.expect(b"before\n").await;
            if state == "before" && !behind.is_empty() {
                peer.expect(behind.as_bytes()).await;
            }
            assert!(pool.close(only_id(&pool), last(), TIME_LIMIT));
            assert_eq!(peer.read_to_end().await, b"last\n", "{state}");
            let (reason, why) = callbacks.closed().await;
            assert_eq!((reason, &*why), LOCAL, "{state}");
            eventually(|| pool.connections() == 0).await;
        }
    }
}

/// The last reply is the only thing that is sent, or nothing at all.
#[actix::test]
async fn close_needs_no_last_reply() {
    let (pool, _callbacks) = lines(states, |builder| builder).await;
    let mut peer = connect(&pool).await;
    peer.echo("hello\n").await;
    assert!(pool.close(only_id(&pool), None, TIME_LIMIT));
    assert_eq!(peer.read_to_end().await, b"");
}

#[actix::test]
async fn close_above_the_mark_sends_all_and_then_the_reply() {
    let (pool, mut callbacks) = lines(states, |builder| builder).await;
    let mut peer = connect(&pool).await;
    peer.send("flood\npacket\n").await;
    callbacks.until(&Call::packet("flood")).await;
    assert!(pool.close(only_id(&pool), last(), TIME_LIMIT));
    let read = peer.read_to_end().await;
    assert_eq!(read.len(), FLOOD + 1 + 5);
    assert!(read.ends_with(b"x\nlast\n"));
    assert_eq!(callbacks.closed().await.0, CloseReason::Local);
}

/// On time, and counted as local.
#[test]
fn a_close_is_cut_after_its_grace() {
    for earlier in [None, Some(ms(60_000)), Some(ms(1_000))] {
        paused(async move {
            let (builder, mut callbacks) = Probe::pool(states);
            let (pool, script_handle) = in_memory(builder.framing(Framing::lines())).await;
            let mut peer = script_handle.connect();
            peer.send("flood\n").await;
            callbacks.until(&Call::packet("flood")).await;
            let began = Instant::now();
            if let Some(earlier) = earlier {
                assert!(pool.close(only_id(&pool), last(), earlier));
                elapse(ms(1)).await;
            }
            assert!(pool.close(only_id(&pool), last(), ms(2_000)));
            let limit = earlier.unwrap_or(ms(2_000)).min(ms(2_000));
            let (call, at) = callbacks.next_ever().await;
            assert!(matches!(&call, Call::Closed(CloseReason::Local, _)), "{call:?}");
            let late = Duration::max(limit / 10, ms(10)) + ms(1);
            assert!((limit..=limit + late).contains(&(at - began)), "{:?} for {limit:?}", at - began);
        });
    }
}

#[actix::test]
async fn close_is_false_for_a_connection_that_is_gone() {
    let (pool, mut callbacks) = lines(states, |builder| builder).await;
    let mut peer = connect(&pool).await;
    peer.send("flood\n").await;
    callbacks.until(&Call::packet("flood")).await;
    let id = only_id(&pool);
    pool.kill(id);
    assert!(!pool.close(id, last(), TIME_LIMIT), "it is being killed");
    callbacks.closed().await;
    eventually(|| pool.connections() == 0).await;
    assert!(!pool.close(id, last(), TIME_LIMIT));
    assert!(pool.connection_info(id).is_none());
}

/// Nothing is sent in plaintext before TLS.
#[actix::test]
async fn close_during_a_handshake_sends_nothing() {
    struct Endless;

    impl actix_acceptor::transport::Handshake for Endless {
        fn handshake(
            &self,
            stream: actix_acceptor::transport::Stream,
            _: &actix_acceptor::transport::Address,
        ) -> actix_acceptor::transport::LocalBoxFuture<
            'static,
            Result<actix_acceptor::transport::Handshaken, actix_acceptor::transport::HandshakeError>,
        > {
            Box::pin(async move {
                pending::<()>().await;
                Ok(actix_acceptor::transport::Handshaken::new(stream))
            })
        }
    }

    for upgrades in [false, true] {
        let act = move |call: &Call, _: &mut Conn<Probe>| match call {
            Call::Init if !upgrades => Next::upgrade(Endless),
            Call::Packet(_) => Next::upgrade(Endless),
            call => protocol_default(call),
        };
        let (pool, mut callbacks) = lines(act, |builder| builder).await;
        let mut peer = connect(&pool).await;
        callbacks.until(&Call::Init).await;
        if upgrades {
            peer.send("upgrade\n").await;
            callbacks.until(&Call::packet("upgrade")).await;
        }
        tokio::time::sleep(ms(20)).await;
        assert!(pool.close(only_id(&pool), last(), TIME_LIMIT));
        assert_eq!(peer.until_gone().await, b"");
        assert_eq!(callbacks.closed().await.0, CloseReason::Local);
    }
}

#[actix::test]
async fn close_drops_a_wait_under_the_panic_guard() {
    let act = |call: &Call, conn: &mut Conn<Probe>| match call {
        Call::Packet(_) => {
            let bomb = PanicOnDrop;
            let future = async move {
                let _bomb = bomb;
                pending::<()>().await;
            };
            conn.wait(future, |(), _, _| Next::Continue)
        }
        call => protocol_default(call),
    };
    let (pool, mut callbacks) = lines(act, |builder| builder).await;
    let mut peer = connect(&pool).await;
    peer.send("wait\n").await;
    callbacks.until(&Call::packet("wait")).await;
    assert!(pool.close(only_id(&pool), last(), TIME_LIMIT));
    assert_eq!(peer.read_to_end().await, b"last\n");
    assert_eq!(callbacks.closed().await.0, CloseReason::Panic);
}

#[actix::test]
async fn the_info_of_a_connection_does_not_wait_for_it() {
    for state in ["wait", "flood"] {
        let (pool, mut callbacks) = lines(states, |builder| builder).await;
        let mut peer = connect(&pool).await;
        peer.send(format!("{state}\nmore\n")).await;
        callbacks.until(&Call::Packet(Bytes::from(state))).await;
        let id = only_id(&pool);
        eventually(|| pool.connection_info(id).is_some_and(|info| info.bytes_in == state.len() as u64 + 6)).await;
        let info = pool.untyped().connection_info(id).unwrap();
        assert_eq!((info.id, info.peer.to_string()), (id, peer.address().to_string()));
    }
}
