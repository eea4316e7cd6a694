//! The peer shuts its side, or is gone: at rest, during a wait, while passive, above the mark.

use std::future::{pending, Future};
use std::sync::Mutex;
use std::time::Duration;

use actix_acceptor::{
    handlers::ProtocolService, telemetry::CloseReason, Active, Builder, Conn, Connection, Framing, Next, Pool, User,
};
use bytes::Bytes;
use support::*;
use tokio::sync::oneshot;

const FIN: &str = "closed by the peer";

/// A pool of probes that speak lines on one arbiter.
async fn lines(
    act: impl Fn(&Call, &mut Conn<Probe>) -> Next<Probe> + Send + Sync + 'static,
    set: impl FnOnce(Builder<ProtocolService<Probe>>) -> Builder<ProtocolService<Probe>>,
) -> (Pool<Connection<Probe>>, Callbacks) {
    let (builder, callbacks) = Probe::pool(act);
    let pool = set(builder.framing(Framing::lines()).acceptors(1)).bind("127.0.0.1:0").await.unwrap();
    (pool, callbacks)
}

fn echo(call: &Call) -> Next<Probe> {
    match call {
        Call::Packet(bytes) | Call::User(bytes) => Next::Send(bytes.clone()),
        call => protocol_default(call),
    }
}

/// A future that tells when it is dropped, and whether it had come to its end.
fn telling<F: Future>(future: F) -> (impl Future<Output = F::Output>, oneshot::Receiver<bool>) {
    struct Tell(Option<oneshot::Sender<bool>>);
    impl Tell {
        fn tell(&mut self, done: bool) {
            let _ = self.0.take().map(|sender| sender.send(done));
        }
    }
    impl Drop for Tell {
        fn drop(&mut self) {
            self.tell(false);
        }
    }
    let (sender, receiver) = oneshot::channel();
    let mut tell = Tell(Some(sender));
    let future = async move {
        let output = future.await;
        tell.tell(true);
        output
    };
    (future, receiver)
}

/// What is handed to the one callback that asks first.
fn once<T>(value: T) -> impl Fn() -> T {
    let value = Mutex::new(Some(value));
    move || value.lock().unwrap().take().expect("asked once")
}

#[actix::test]
async fn packets_before_a_fin_are_answered_first() {
    let (pool, mut callbacks) = lines(|call, _| echo(call), |builder| builder).await;
    let mut peer = connect(&pool).await;
    peer.send("1\n2\nrest").await;
    peer.finish().await;
    assert_eq!(peer.read_to_end().await, b"1\n2\nrest\n");
    let calls = [Call::Init, Call::Ack, Call::packet("1"), Call::packet("2"), Call::packet("rest"), Call::HalfClosed];
    for call in calls {
        assert_eq!(callbacks.next().await, call);
    }
    assert_eq!(callbacks.next().await, Call::Closed(CloseReason::Peer, FIN.into()));
}

#[actix::test]
async fn by_default_a_half_closed_connection_replies_and_ends() {
    for (answers, says) in
        [("continue", ""), ("send", "bye\n"), ("stop", ""), ("send and stop", "bye\n"), ("wait", "bye\n")]
    {
        let (open, gate) = oneshot::channel::<()>();
        let gate = once(gate);
        let act = move |call: &Call, conn: &mut Conn<Probe>| match call {
            Call::HalfClosed => match answers {
                "send" => Next::Send(Bytes::from_static(b"bye")),
                "stop" => Next::Stop,
                "send and stop" => Next::SendAndStop(Bytes::from_static(b"bye")),
                "wait" => conn.wait(gate(), |_, _, _| Next::Send(Bytes::from_static(b"bye"))),
                _ => Next::Continue,
            },
            call => echo(call),
        };
        let (pool, mut callbacks) = lines(act, |builder| builder).await;
        let (mut peer, mut other) = (connect(&pool).await, connect(&pool).await);
        other.echo("hello\n").await;
        peer.finish().await;
        callbacks.until(&Call::HalfClosed).await;
        // Its arbiter has come round: whatever ends at once has ended.
        for _ in 0..20 {
            other.echo("meanwhile\n").await;
        }
        let _ = open.send(());
        assert_eq!(peer.read_to_end().await, says.as_bytes(), "{answers}");
        assert_eq!(callbacks.closed().await, (CloseReason::Peer, FIN.into()), "{answers}");
    }
}

#[actix::test]
async fn with_half_close_the_connection_goes_on() {
    let (pool, mut callbacks) = lines(|call, _| echo(call), |builder| builder.half_close(true)).await;
    let mut peer = connect(&pool).await;
    peer.send("last\n").await;
    peer.finish().await;
    callbacks.until(&Call::HalfClosed).await;
    let address = pool.addresses().remove(0).1;
    for word in ["still", "here"] {
        address.send(User(Bytes::from_static(word.as_bytes()))).await.unwrap();
    }
    peer.expect(b"last\nstill\nhere\n").await;
    address.do_send(actix_acceptor::messages::Close);
    assert_eq!(peer.read_to_end().await, b"");
    let rest = [callbacks.next().await, callbacks.next().await, callbacks.next().await];
    let local = Call::Closed(CloseReason::Local, "closed by the program".into());
    assert_eq!(rest, [Call::user("still"), Call::user("here"), local], "half_closed comes once");
}

#[actix::test]
async fn with_half_close_a_reset_ends_the_connection() {
    let act = |call: &Call, _: &mut Conn<Probe>| protocol_default(call);
    let (pool, mut callbacks) = lines(act, |builder| builder.half_close(true).idle_timeout(None)).await;
    let mut peer = connect(&pool).await;
    peer.finish().await;
    callbacks.until_half_closed().await;
    peer.reset();
    assert_eq!(callbacks.closed().await.0, CloseReason::Peer);
}

#[actix::test]
async fn with_half_close_a_wait_outlives_the_fin() {
    let (open, gate) = oneshot::channel::<()>();
    let gate = once(gate);
    let act = move |call: &Call, conn: &mut Conn<Probe>| match call {
        Call::Packet(_) => conn.wait(gate(), |_, _, _| Next::Send(Bytes::from_static(b"waited"))),
        Call::HalfClosed => Next::Stop,
        call => protocol_default(call),
    };
    let (pool, mut callbacks) = lines(act, |builder| builder.half_close(true)).await;
    let mut peer = connect(&pool).await;
    peer.send("wait\n").await;
    callbacks.until(&Call::packet("wait")).await;
    peer.finish().await;
    eventually(|| pool.list()[0].bytes_in == 5).await;
    tokio::task::yield_now().await;
    open.send(()).unwrap();
    assert_eq!(peer.read_to_end().await, b"waited\n");
    assert_eq!(callbacks.next().await, Call::HalfClosed);
    assert_eq!(callbacks.next().await, Call::Closed(CloseReason::Peer, FIN.into()));
}

/// However much lies unread behind it: also more than is read ahead.
#[actix::test]
async fn a_reset_during_a_wait_drops_it_at_once() {
    for half_close in [false, true] {
        for behind in [0, 100, 200_000] {
            let (future, dropped) = telling(pending::<()>());
            let future = once(future);
            let act = move |call: &Call, conn: &mut Conn<Probe>| match call {
                Call::Packet(_) => conn.wait(future(), |(), _, _| Next::Continue),
                call => protocol_default(call),
            };
            let (pool, mut callbacks) = lines(act, |builder| builder.half_close(half_close)).await;
            let mut peer = connect(&pool).await;
            peer.send([b"go\n".to_vec(), vec![b'x'; behind]].concat()).await;
            callbacks.until(&Call::packet("go")).await;
            let begun = tokio::time::Instant::now();
            peer.reset();
            assert!(!in_time(dropped).await.unwrap());
            assert!(begun.elapsed() < Duration::from_secs(2), "after {:?}", begun.elapsed());
            let (reason, why) = callbacks.closed().await;
            assert!(reason == CloseReason::Peer && why != FIN, "{behind} bytes behind: {reason:?}, {why}");
        }
    }
}

#[actix::test]
async fn a_reset_ends_a_passive_connection() {
    let act = |call: &Call, conn: &mut Conn<Probe>| {
        conn.set_active(Active::Passive);
        protocol_default(call)
    };
    for unread in ["", "never read\n"] {
        let (pool, mut callbacks) = lines(act, |builder| builder).await;
        let mut peer = connect(&pool).await;
        peer.send(unread).await;
        callbacks.until(&Call::Ack).await;
        peer.reset();
        let (reason, why) = callbacks.closed().await;
        assert!(reason == CloseReason::Peer && why != FIN, "{reason:?}: {why}");
    }
}

#[actix::test]
async fn a_reset_ends_a_connection_above_its_mark() {
    let act = |call: &Call, _: &mut Conn<Probe>| match call {
        Call::Packet(_) => Next::Send(Bytes::from(vec![b'x'; 16 << 20])),
        call => protocol_default(call),
    };
    for stops in [false, true] {
        let act = move |call: &Call, conn: &mut Conn<Probe>| match (act(call, conn), stops) {
            (Next::Send(reply), true) => Next::SendAndStop(reply),
            (next, _) => next,
        };
        let (pool, mut callbacks) = lines(act, |builder| builder.send_timeout(None)).await;
        let mut peer = connect(&pool).await;
        peer.send("go\n").await;
        callbacks.until(&Call::packet("go")).await;
        peer.reset();
        let (reason, why) = callbacks.closed().await;
        assert!(reason == CloseReason::Peer && why != FIN, "{reason:?}: {why}");
    }
}

#[actix::test]
async fn a_passive_connection_gets_packets_and_fin_later() {
    let act = |call: &Call, conn: &mut Conn<Probe>| {
        match call {
            Call::Ack => conn.set_active(Active::Passive),
            Call::User(_) => conn.set_active(Active::Always),
            _ => {}
        }
        protocol_default(call)
    };
    let (pool, mut callbacks) = lines(act, |builder| builder).await;
    let mut peer = connect(&pool).await;
    peer.send("1\n2\n").await;
    peer.finish().await;
    callbacks.until(&Call::Ack).await;
    pool.addresses()[0].1.send(User(Bytes::new())).await.unwrap();
    let calls = [Call::user(""), Call::packet("1"), Call::packet("2"), Call::HalfClosed];
    for call in calls {
        assert_eq!(callbacks.next().await, call);
    }
    assert_eq!(callbacks.closed().await, (CloseReason::Peer, FIN.into()));
}

#[actix::test]
async fn a_peer_that_leaves_while_init_waits_is_noticed() {
    let (future, dropped) = telling(pending::<()>());
    let future = once(future);
    let act = move |call: &Call, conn: &mut Conn<Probe>| match call {
        Call::Init => conn.wait(future(), |(), _, _| Next::Continue),
        call => protocol_default(call),
    };
    let (pool, mut callbacks) = lines(act, |builder| builder).await;
    let mut peer = connect(&pool).await;
    assert_eq!(callbacks.next().await, Call::Init);
    peer.finish().await;
    assert!(!in_time(dropped).await.unwrap());
    assert_eq!(callbacks.next().await, Call::Closed(CloseReason::Peer, FIN.into()));
}

/// A wait holds back its own connection, in order, and no other one.
#[actix::test]
async fn a_wait_holds_back_only_its_own_connection() {
    let (open, gate) = oneshot::channel::<()>();
    let gate = once(gate);
    let act = move |call: &Call, conn: &mut Conn<Probe>| match call {
        Call::Packet(bytes) if bytes == "wait" => {
            conn.wait(gate(), |_, _, _| Next::Send(Bytes::from_static(b"waited")))
        }
        call => echo(call),
    };
    let (pool, mut callbacks) = lines(act, |builder| builder).await;
    let mut peer = connect(&pool).await;
    peer.send("0\nwait\n1\n2\n").await;
    callbacks.until(&Call::packet("wait")).await;
    let address = pool.addresses().remove(0).1;
    for message in ["a", "b", "c"] {
        address.do_send(User(Bytes::from_static(message.as_bytes())));
    }
    peer.send("3\n").await;
    let mut other = connect(&pool).await;
    for _ in 0..20 {
        other.echo("other\n").await;
    }
    peer.expect(b"0\n").await;
    open.send(()).unwrap();
    peer.expect(b"waited\n").await;
    let rest = String::from_utf8(peer.read_exact(12).await).unwrap();
    let of = |wanted: &str| rest.lines().filter(|line| wanted.contains(line)).collect::<String>();
    assert_eq!((of("123"), of("abc")), ("123".into(), "abc".into()), "{rest:?}");
}

#[actix::test]
async fn signals_during_a_wait_are_kept() {
    let observer = EventRecorder::new();
    let (open, gate) = oneshot::channel::<()>();
    let gate = once(gate);
    let act = move |call: &Call, conn: &mut Conn<Probe>| match call {
        Call::Packet(bytes) if bytes == "wait" => {
            conn.wait(gate(), |_, _, _| Next::Send(Bytes::from_static(b"waited")))
        }
        Call::Shutdown => Next::SendAndStop(Bytes::from_static(b"bye")),
        call => echo(call),
    };
    let (pool, mut callbacks) = lines(act, |builder| builder.observer(observer.clone())).await;
    let mut peer = connect(&pool).await;
    peer.send("wait\n").await;
    callbacks.until(&Call::packet("wait")).await;
    let stopping = actix_rt::spawn({
        let pool = pool.clone();
        async move { pool.stop(None).await }
    });
    eventually(|| pool.status() == actix_acceptor::info::Status::Draining).await;
    let is_closed = |event: &RecordedEvent| matches!(event, RecordedEvent::ListenerStopped { .. });
    eventually(|| observer.seen().iter().any(is_closed)).await;
    assert_eq!(callbacks.so_far(), [], "told in the middle of a wait");
    open.send(()).unwrap();
    assert_eq!(peer.read_to_end().await, b"waited\nbye\n");
    assert_eq!(callbacks.next().await, Call::Shutdown);
    assert_eq!(callbacks.closed().await.0, CloseReason::Shutdown);
    let report = in_time(stopping).await.unwrap();
    assert_eq!((report.asked, report.finished, report.forced), (1, 1, 0));
}

#[actix::test]
async fn a_kill_works_during_waits_and_with_full_sockets() {
    for state in ["waiting", "above the mark", "stopping", "passive"] {
        let act = move |call: &Call, conn: &mut Conn<Probe>| match call {
            Call::Packet(_) if state == "waiting" => conn.wait(pending::<()>(), |(), _, _| Next::Continue),
            Call::Packet(_) if state == "passive" => {
                conn.set_active(Active::Passive);
                Next::Continue
            }
            Call::Packet(_) if state == "stopping" => Next::SendAndStop(Bytes::from(vec![b'x'; 16 << 20])),
            Call::Packet(_) => Next::Send(Bytes::from(vec![b'x'; 16 << 20])),
            call => protocol_default(call),
        };
        let (pool, mut callbacks) = lines(act, |builder| builder).await;
        let mut peer = connect(&pool).await;
        peer.send("go\n").await;
        callbacks.until(&Call::packet("go")).await;
        let id = pool.list()[0].id;
        assert!(pool.kill(id), "{state}");
        assert_eq!(callbacks.closed().await.0, CloseReason::Killed, "{state}");
        let read = peer.until_gone().await;
        assert!(read.len() < 16 << 20, "{state}: what is queued is not sent");
        eventually(|| pool.connections() == 0).await;
        assert!(!pool.kill(id), "{state}: there is none of that number now");
    }
}
