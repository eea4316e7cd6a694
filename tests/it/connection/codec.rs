//! Callbacks that change the codec of their connection.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_acceptor::{
    handlers::ProtocolService, Active, Builder, Conn, Connection, Framing, Next, Pool, Timeout, User,
};
use support::*;

/// A pool of probes with one acceptor.
async fn started(builder: Builder<ProtocolService<Probe>>) -> Pool<Connection<Probe>> {
    builder.acceptors(1).bind("127.0.0.1:0").await.unwrap()
}

/// Waits until so many bytes of the only connection are read, and decoded as far as possible.
async fn has_read(pool: &Pool<Connection<Probe>>, bytes: u64) {
    eventually(|| pool.list().first().is_some_and(|connection| connection.bytes_in == bytes)).await;
}

/// Makes the callback `user` of the only connection run.
fn notify(pool: &Pool<Connection<Probe>>, message: &'static str) {
    pool.addresses()[0].1.do_send(User(message.into()));
}

#[actix::test]
async fn set_framing_works_in_every_callback() {
    for at in ["init", "ack", "packet", "user", "timeout", "passive", "wait", "spawn"] {
        let (builder, mut callbacks) = Probe::pool(move |call, conn: &mut Conn<Probe>| {
            let is_at = match call {
                Call::Init => at == "init",
                Call::Ack => at == "ack",
                Call::Packet(packet) if packet == "old" && at == "wait" => {
                    return conn.wait(tokio::task::yield_now(), |(), _, conn| {
                        conn.set_framing(Framing::len1());
                        Next::send("changed")
                    });
                }
                Call::Packet(packet) if packet == "old" && at == "spawn" => {
                    conn.spawn(tokio::task::yield_now(), |(), _, conn| {
                        conn.set_framing(Framing::len1());
                        Next::send("changed")
                    });
                    false
                }
                Call::Packet(packet) => at == "packet" && packet == "old",
                Call::User(_) => at == "user",
                Call::Timeout(_) => at == "timeout",
                Call::Passive => at == "passive",
                _ => false,
            };
            if is_at {
                conn.set_framing(Framing::len1());
                conn.set_active(Active::Always);
                return Next::send("changed");
            }
            match call {
                Call::Timeout(_) => Next::Continue,
                call => protocol_default(call),
            }
        });
        let idle = (at == "timeout").then_some(ms(50));
        let active = if at == "passive" { Active::Count(1) } else { Active::Always };
        let pool = started(builder.framing(Framing::lines()).idle_timeout(idle).active(active)).await;
        let mut peer = connect(&pool).await;
        if !matches!(at, "init" | "ack") {
            peer.send("old\n").await;
            callbacks.until(&Call::packet("old")).await;
        }
        if at == "user" {
            notify(&pool, "");
        }
        peer.expect(b"\x07changed").await;
        peer.send("\x03new").await;
        callbacks.until(&Call::packet("new")).await;
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

#[actix::test]
async fn bytes_of_an_incomplete_packet_go_to_the_new_codec() {
    for in_place in [false, true] {
        let (builder, mut callbacks) = Probe::pool(move |call, conn: &mut Conn<Probe>| match call {
            Call::User(_) => {
                let unlimited = Framing::raw();
                if in_place {
                    *conn.codec_mut() = unlimited;
                } else {
                    conn.set_framing(unlimited);
                }
                Next::Continue
            }
            call => protocol_default(call),
        });
        let pool = started(builder.framing(Framing::lines())).await;
        let mut peer = connect(&pool).await;
        peer.send("one\ntw").await;
        callbacks.until(&Call::packet("one")).await;
        has_read(&pool, 6).await;
        notify(&pool, "change");
        // No other byte comes.
        callbacks.until(&Call::packet("tw")).await;
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

#[actix::test]
async fn queued_replies_keep_the_codec_that_encoded_them() {
    let (builder, _callbacks) = Probe::pool(|call, conn: &mut Conn<Probe>| match call {
        Call::Packet(_) => {
            conn.send("one".into()).unwrap();
            conn.set_framing(Framing::len1());
            conn.send("two".into()).unwrap();
            conn.set_framing(Framing::lines());
            Next::send("three")
        }
        call => protocol_default(call),
    });
    let pool = started(builder.framing(Framing::lines())).await;
    let (mut peer, mut other) = (connect(&pool).await, connect(&pool).await);
    for peer in [&mut peer, &mut other] {
        peer.send("go\n").await;
        peer.expect(b"one\n\x03twothree\n").await;
    }
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_framing_set_on_a_connection_survives_a_packet_timeout() {
    let (builder, mut callbacks) = Probe::pool(|call, conn: &mut Conn<Probe>| match call {
        Call::Packet(packet) if packet == "change" => {
            conn.set_framing(Framing::delimiter(";"));
            Next::Continue
        }
        Call::Timeout(Timeout::Packet(_)) => Next::send("timeout"),
        call => protocol_default(call),
    });
    let pool = started(builder.framing(Framing::lines()).packet_timeout(ms(50))).await;
    let mut peer = connect(&pool).await;
    peer.send("change\nabc").await;
    callbacks.until(&Call::partial(b"abc")).await;
    peer.expect(b"timeout;").await;
    // Of what was discarded, nothing counts as searched.
    peer.send("d;ef;").await;
    callbacks.until(&Call::packet("d")).await;
    callbacks.until(&Call::packet("ef")).await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn half_closed_may_take_the_rest_with_another_framing() {
    let (builder, mut callbacks) = Probe::pool(|call, conn: &mut Conn<Probe>| match call {
        Call::HalfClosed => {
            conn.set_framing(Framing::lines());
            Next::Continue
        }
        Call::Packet(packet) if packet == "rest" => Next::SendAndStop("got it".into()),
        call => protocol_default(call),
    });
    let pool = started(builder.framing(Framing::len1()).half_close(true)).await;
    let mut peer = connect(&pool).await;
    // The length that this announces never comes.
    peer.send("\x03one\nrest").await;
    peer.finish().await;
    callbacks.until(&Call::packet("one")).await;
    callbacks.until(&Call::HalfClosed).await;
    callbacks.until(&Call::packet("rest")).await;
    assert_eq!(peer.read_to_end().await, b"got it\n");
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_framing_of_another_connection_starts_anew() {
    let shared = Arc::new(Mutex::new(None));
    let (builder, mut callbacks) = Probe::pool(move |call, conn: &mut Conn<Probe>| match call {
        // It has searched four bytes in vain.
        Call::User(text) if text == "give" => {
            *shared.lock().unwrap() = Some(conn.codec_mut().clone());
            Next::Stop
        }
        Call::User(_) => {
            conn.set_framing(shared.lock().unwrap().take().unwrap());
            Next::Continue
        }
        Call::Packet(packet) if packet == "len1" => {
            conn.set_framing(Framing::len1());
            Next::Continue
        }
        call => protocol_default(call),
    });
    let pool = started(builder.framing(Framing::lines())).await;
    let mut gives = connect(&pool).await;
    gives.send("aaaa").await;
    has_read(&pool, 4).await;
    notify(&pool, "give");
    callbacks.closed().await;
    eventually(|| pool.connections() == 0).await;
    let mut takes = connect(&pool).await;
    takes.send("len1\n|x\n|y").await;
    has_read(&pool, 10).await;
    notify(&pool, "take");
    callbacks.until(&Call::packet("|x")).await;
    in_time(pool.stop(Duration::ZERO)).await;
}
