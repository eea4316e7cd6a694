//! Detaching while something else happens to the connection.

use actix_acceptor::Drain;

use super::*;

async fn memory() -> (Pool<Connection<Upgrade>>, ScriptHandle, Reports) {
    let (builder, reports) = builder();
    let (pool, script) = in_memory(builder).await;
    (pool, script, reports)
}

#[actix::test]
async fn queued_replies_are_sent_before_the_stream_is_detached() {
    let (_pool, script, mut reports) = memory().await;
    let mut peer = script.connect();
    // Above the high-water mark, with replies of others behind.
    peer.send("large\nrest\n").await;
    let received = peer.read_exact(3_000_000).await;
    assert!(received.iter().rev().skip(1).all(|byte| *byte == b'x'));
    peer.expect(b"and that of others\nrest\n").await;
    assert_eq!(until_detached(&mut reports).await, 5);
    peer.echo("more").await;
}

#[test]
fn a_peer_that_does_not_read_is_not_detached() {
    paused(async {
        let (builder, mut reports) = builder();
        let (pool, script) = in_memory(builder.send_timeout(ms(1_000))).await;
        let mut peer = script.connect();
        peer.send("large\n").await;
        assert_eq!(next(&mut reports).await, Report::Dropped);
        assert_eq!(next(&mut reports).await, Report::Closed(CloseReason::SendTimeout));
        // Killed, and closed with too little time.
        let mut peers = [script.connect(), script.connect()];
        for peer in &mut peers {
            peer.send("large\n").await;
        }
        eventually(|| pool.list().iter().filter(|info| info.bytes_out > 0).count() == 2).await;
        assert!(pool.kill(pool.list()[0].id));
        assert_eq!(next(&mut reports).await, Report::Dropped);
        assert_eq!(next(&mut reports).await, Report::Closed(CloseReason::Killed));
        assert!(pool.close(pool.list()[0].id, None, ms(10)));
        assert_eq!(next(&mut reports).await, Report::Dropped);
        assert_eq!(next(&mut reports).await, Report::Closed(CloseReason::Local));
        assert_eq!(pool.info().closed.get(CloseReason::Detached), 0);
    });
}

#[actix::test]
async fn a_wait_can_detach_with_what_was_read_ahead() {
    let (_pool, script, mut reports) = memory().await;
    for end in [false, true] {
        let mut peer = script.connect();
        peer.send("wait\nahead\nof the wait").await;
        // Without `half_close`, a FIN right behind does not end the connection.
        if end {
            peer.finish().await;
        }
        peer.expect(b"switching\nahead\nof the wait").await;
        until_detached(&mut reports).await;
        peer.finish().await;
        assert!(peer.read_to_end().await.is_empty());
    }
}

#[actix::test]
async fn a_fin_behind_the_request_reaches_the_stream() {
    let (builder, mut reports) = builder();
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    for _ in 0..20 {
        let mut peer = connect(&pool).await;
        peer.send("upgrade\nlast words").await;
        peer.finish().await;
        assert_eq!(peer.read_to_end().await, b"switching\nlast words");
        until_detached(&mut reports).await;
    }
}

#[actix::test]
async fn a_message_during_a_wait_can_detach() {
    let (_pool, script, mut reports) = memory().await;
    let mut peer = script.connect();
    peer.send("message\nahead").await;
    peer.expect(b"ahead").await;
    assert_eq!(until_detached(&mut reports).await, 5);
}

#[actix::test]
async fn a_drain_does_not_wait_for_a_detached_stream() {
    let (pool, script, mut reports) = memory().await;
    let mut peer = script.connect();
    peer.echo("hello\n").await;
    let report = in_time(pool.drain(Drain::grace(TIME_LIMIT))).await;
    assert_eq!((report.asked, report.finished, report.closed.get(CloseReason::Detached)), (1, 1, 1));
    assert_eq!(until_detached(&mut reports).await, 0);
    peer.echo("after the drain").await;
}

#[actix::test]
async fn init_can_detach_after_the_handshake() {
    let pki = Pki::generate();
    let (certificate, key) = pki.issue("localhost");
    let (builder, mut callbacks) = Probe::pool(|call, conn| match call {
        Call::Init => {
            conn.push("hello");
            Next::detach(|stream| {
                assert!(stream.tls().is_some());
                actix_rt::spawn(echo_to_end(stream));
            })
        }
        call => panic!("{call:?}"),
    });
    let tls = Tls::rustls().files(&certificate, &key).build().unwrap();
    let builder = builder.framing(Framing::lines()).listener(Listener::tcp("127.0.0.1:0").tls(tls));
    let pool = builder.start().await.unwrap();
    let mut peer = Peer(pki.connect(connect(&pool).await.0, "localhost").await.unwrap());
    peer.expect(b"hello\n").await;
    peer.echo("hi").await;
    assert_eq!(callbacks.next().await, Call::Init);
    assert_eq!(callbacks.next().await, Call::Closed(CloseReason::Detached, "detached by the program".into()));
}

#[actix::test]
async fn a_panic_in_the_closure_costs_one_connection() {
    let (pool, script, mut reports) = memory().await;
    let (mut peer, mut other) = (script.connect(), script.connect());
    other.echo("hello\n").await;
    peer.send("panic\n").await;
    assert!(peer.read_to_end().await.is_empty());
    assert_eq!(next(&mut reports).await, Report::Closed(CloseReason::Detached));
    other.echo("hello\n").await;
    assert_eq!(pool.connections(), 1);
}
