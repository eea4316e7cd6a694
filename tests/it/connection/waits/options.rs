//! The options of `wait_with`.

use std::future::{pending, ready};

use actix_acceptor::{telemetry::CloseReason, Conn, Next, Reply, User, Wait, WaitEnded};
use support::*;
use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::oneshot;

use super::*;

fn report(outcome: Result<(), WaitEnded>) -> Next<Probe> {
    Next::Send(Bytes::from(format!("{outcome:?}")))
}

/// A line is answered with how the wait for a future that is never done ended.
fn waits(options: Wait) -> impl Fn(&Call, &mut Conn<Probe>) -> Next<Probe> + Send + Sync {
    move |call: &Call, conn: &mut Conn<Probe>| match call {
        Call::Packet(bytes) if bytes == "wait" => conn.wait_with(options, pending(), |outcome, _, _| report(outcome)),
        call => echoed(call),
    }
}

#[test]
fn a_wait_ends_at_its_limit() {
    paused(async {
        let (builder, mut callbacks) = Probe::pool(waits(Wait::new().within(ms(1_000))));
        let (_pool, script_handle) = in_memory(builder.framing(Framing::lines())).await;
        let mut peer = script_handle.connect();
        peer.send("wait\nnext\n").await;
        let began = callbacks.until(&Call::packet("wait")).await;
        peer.expect(b"Err(TimedOut)\nnext\n").await;
        assert_on_time(began, tokio::time::Instant::now(), ms(1_000));
    });
}

/// The second one's time counts from its start.
#[test]
fn a_limit_counts_from_the_start_of_its_wait() {
    paused(async {
        let (builder, mut callbacks) = Probe::pool(waits(Wait::new().within(ms(1_000))));
        let (_pool, script_handle) = in_memory(builder.framing(Framing::lines())).await;
        let mut peer = script_handle.connect();
        peer.send("wait\nwait\n").await;
        let began = callbacks.until(&Call::packet("wait")).await;
        peer.expect(b"Err(TimedOut)\n").await;
        peer.expect(b"Err(TimedOut)\n").await;
        assert_on_time(began, tokio::time::Instant::now(), ms(2_000));
    });
}

#[actix::test]
async fn a_future_that_is_done_ends_its_wait() {
    let all = Wait::new().within(ms(10_000)).until_peer_leaves().until_draining().with_messages();
    let act = move |call: &Call, conn: &mut Conn<Probe>| match call {
        Call::Packet(_) => conn.wait_with(all, ready(()), |outcome, _, _| report(outcome)),
        call => protocol_default(call),
    };
    let (pool, _callbacks) = lines(act, |builder| builder).await;
    let mut peer = connect(&pool).await;
    peer.send("wait\n").await;
    peer.expect(b"Ok(())\n").await;
}

#[actix::test]
async fn a_fin_ends_a_wait_until_the_peer_leaves() {
    for half_close in [false, true] {
        for behind in ["", "x", "1\n2\n"] {
            let set = |builder: Builder<ProtocolService<Probe>>| builder.half_close(half_close);
            let (pool, mut callbacks) = lines(waits(Wait::new().until_peer_leaves()), set).await;
            let mut peer = connect(&pool).await;
            peer.send(format!("wait\n{behind}")).await;
            callbacks.until(&Call::packet("wait")).await;
            peer.finish().await;
            let answers = peer.read_exact(14 + behind.len()).await;
            assert!(answers.starts_with(b"Err(PeerLeft)\n"));
        }
    }
}

/// The FIN lies behind more than is read ahead.
#[actix::test]
async fn a_hidden_fin_ends_a_wait_until_the_peer_leaves() {
    let (pool, mut callbacks) = lines(waits(Wait::new().until_peer_leaves()), |builder| builder).await;
    let mut peer = connect(&pool).await;
    peer.send([b"wait\n".to_vec(), vec![b'x'; 100_000]].concat()).await;
    callbacks.until(&Call::packet("wait")).await;
    peer.finish().await;
    peer.expect(b"Err(PeerLeft)\nxxx").await;
}

#[actix::test]
async fn a_wait_undoes_its_work_after_a_reset() {
    for behind in [0, 100, 100_000] {
        let (told, mut undone) = unbounded_channel();
        let act = move |call: &Call, conn: &mut Conn<Probe>| match call {
            Call::Packet(_) => {
                let told = told.clone();
                conn.wait_with(Wait::new().until_peer_leaves(), pending::<()>(), move |outcome, _, _| {
                    told.send(outcome.unwrap_err()).unwrap();
                    text("is lost")
                })
            }
            call => protocol_default(call),
        };
        let (pool, mut callbacks) = lines(act, |builder| builder).await;
        let mut peer = connect(&pool).await;
        peer.send([b"wait\n".to_vec(), vec![b'x'; behind]].concat()).await;
        callbacks.until(&Call::packet("wait")).await;
        peer.reset();
        assert_eq!(in_time(undone.recv()).await, Some(WaitEnded::PeerLeft));
        let (reason, why) = callbacks.closed().await;
        assert!(reason == CloseReason::Peer && why != "closed by the peer", "{why}");
    }
}

#[actix::test]
async fn a_drain_ends_a_wait_until_draining() {
    for (options, begun) in [(Wait::new().until_draining(), true), (Wait::new().until_draining(), false)] {
        let act = move |call: &Call, conn: &mut Conn<Probe>| match call {
            Call::Packet(bytes) if bytes == "wait" => {
                conn.wait_with(options, pending(), |outcome, _, _| report(outcome))
            }
            // Stays open: a later wait ends at once.
            Call::Shutdown if !begun => Next::Continue,
            Call::Shutdown => Next::SendAndStop(Bytes::from_static(b"bye")),
            call => echoed(call),
        };
        let (pool, mut callbacks) = lines(act, |builder| builder).await;
        let mut peer = connect(&pool).await;
        callbacks.until(&Call::Ack).await;
        if begun {
            peer.send("wait\n").await;
            callbacks.until(&Call::packet("wait")).await;
        }
        let stopped = actix_rt::spawn({
            let pool = pool.clone();
            async move { pool.stop(TIME_LIMIT).await }
        });
        if begun {
            assert_eq!(peer.read_to_end().await, b"Err(Draining)\nbye\n");
            assert_eq!(callbacks.next().await, Call::Shutdown);
        } else {
            callbacks.until(&Call::Shutdown).await;
            peer.send("wait\n").await;
            peer.expect(b"Err(Draining)\n").await;
            peer.finish().await;
        }
        assert_eq!(in_time(stopped).await.unwrap().forced, 0);
    }
}

#[derive(actix::Message)]
#[rtype(result = "u32")]
struct Own;

impl actix::Handler<Own> for Connection<Probe> {
    type Result = u32;

    fn handle(&mut self, _: Own, _: &mut actix_acceptor::ConnectionContext<Probe>) -> u32 {
        self.with(|_, _| (7, text("own")))
    }
}

#[actix::test]
async fn messages_are_handled_during_a_wait_that_allows_them() {
    let (pool, mut callbacks) = lines(waits(Wait::new().with_messages()), |builder| builder).await;
    let mut peer = connect(&pool).await;
    peer.send("wait\npacket\n").await;
    callbacks.until(&Call::packet("wait")).await;
    let address = pool.addresses().remove(0).1;
    in_time(address.send(User(Bytes::from_static(b"user")))).await.unwrap();
    in_time(address.send(Reply(Bytes::from_static(b"reply")))).await.unwrap().unwrap();
    assert_eq!(in_time(address.send(Own)).await.unwrap(), 7);
    peer.expect(b"user\nreply\nown\n").await;
    assert_eq!(callbacks.so_far(), [Call::user("user")], "packets are held back");
}

/// A wait that a message asks for is queued, and holds back what follows until it is over.
#[actix::test]
async fn a_message_during_a_wait_may_wait() {
    let (open, gate) = oneshot::channel::<()>();
    let gate = once(gate);
    let act = move |call: &Call, conn: &mut Conn<Probe>| match call {
        Call::Packet(bytes) if bytes == "wait" => {
            conn.wait_with(Wait::new().with_messages(), gate(), |_, _, _| text("waited"))
        }
        Call::User(bytes) if bytes == "wait" => conn.wait(tokio::time::sleep(ms(20)), |(), _, _| text("message")),
        call => echoed(call),
    };
    let (pool, mut callbacks) = lines(act, |builder| builder).await;
    let mut peer = connect(&pool).await;
    peer.send("wait\npacket\n").await;
    callbacks.until(&Call::packet("wait")).await;
    let address = pool.addresses().remove(0).1;
    in_time(address.send(User(Bytes::from_static(b"wait")))).await.unwrap();
    address.do_send(User(Bytes::from_static(b"later")));
    tokio::time::sleep(ms(50)).await;
    assert_eq!(callbacks.so_far(), [Call::user("wait")]);
    open.send(()).unwrap();
    peer.expect(b"waited\nmessage\n").await;
    let rest = peer.read_exact(13).await;
    assert!(rest == b"later\npacket\n" || rest == b"packet\nlater\n", "{}", rest.escape_ascii());
}

/// Above the mark nothing is handled, whatever the wait allows.
#[actix::test]
async fn a_wait_with_messages_holds_them_above_the_mark() {
    let act = |call: &Call, conn: &mut Conn<Probe>| match call {
        Call::Packet(_) => conn.wait_with(Wait::new().with_messages(), pending::<()>(), |_, _, _| Next::Continue),
        Call::User(_) => Next::Send(Bytes::from(vec![b'x'; 16 << 20])),
        call => protocol_default(call),
    };
    let (pool, mut callbacks) = lines(act, |builder| builder).await;
    let mut peer = connect(&pool).await;
    peer.send("wait\n").await;
    callbacks.until(&Call::packet("wait")).await;
    let address = pool.addresses().remove(0).1;
    in_time(address.send(User(Bytes::new()))).await.unwrap();
    address.do_send(User(Bytes::new()));
    tokio::time::sleep(ms(50)).await;
    assert_eq!(callbacks.so_far(), [Call::user("")]);
    peer.read_exact((16 << 20) + 1).await;
    callbacks.until(&Call::user("")).await;
}
