//! The packet timeout and the maximum age, on a paused clock over a transport in memory.

use std::time::Duration;

use actix_acceptor::{
    telemetry::CloseReason, AcceptorPool, Closed, Conn, ConnectionInfo, Framing, Next, Protocol, User,
};
use bytes::{Bytes, BytesMut};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{unbounded_channel, UnboundedSender};
use tokio::time::Instant;
use tokio_util::codec::LengthDelimitedCodec;

#[test]
fn idle_and_packet_time_pause_above_the_high_mark() {
    paused(async {
        let (builder, mut callbacks) = Probe::pool(|call, _| match call {
            Call::Packet(_) => Next::Send(Bytes::from(vec![b'x'; 200 * 1024])),
            call => protocol_default(call),
        });
        let builder = builder.framing(Framing::lines()).idle_timeout(ms(500)).packet_timeout(ms(300));
        let (_pool, script_handle) = in_memory(builder.send_timeout(None)).await;
        let mut peer = script_handle.connect();
        peer.send("go\nhal").await;
        callbacks.until(&Call::packet("go")).await;
        elapse(ms(20_000)).await;
        assert_eq!(callbacks.so_far(), []);
        assert_eq!(peer.read_exact(200 * 1024 + 1).await.len(), 200 * 1024 + 1);
        let below = Instant::now();
        assert_on_time(below, callbacks.until(&Call::partial(b"hal")).await, ms(300));
    });
}

#[test]
fn packet_time_counts_from_the_first_byte() {
    for limit in [50, 100, 200, 1_000, 10_000].map(ms) {
        paused(async move {
            let (builder, mut callbacks) = Probe::pool(|call, _| protocol_default(call));
            let (_pool, script_handle) = in_memory(builder.framing(Framing::len2()).packet_timeout(limit)).await;
            let mut peer = script_handle.connect();
            elapse(limit * 3).await;
            let begun = Instant::now();
            for byte in [0, 20, b'h', b'a', b'l', b'f'] {
                peer.send([byte]).await;
                elapse(limit / 8).await;
            }
            callbacks.until(&Call::Ack).await;
            let (call, at) = callbacks.next_ever().await;
            assert_eq!(call, Call::partial(b"\0\x14half"));
            assert_on_time(begun, at, limit);
            assert_eq!(callbacks.closed().await.0, CloseReason::PacketTimeout);
        });
    }
}

#[test]
fn every_packet_has_a_time_of_its_own() {
    paused(async {
        let (builder, mut callbacks) = Probe::pool(|call, _| protocol_default(call));
        let (_pool, script_handle) = in_memory(builder.framing(Framing::lines()).packet_timeout(ms(1_000))).await;
        let mut peer = script_handle.connect();
        // The second is begun together with the end of the first, the third as the only one.
        peer.send("fi").await;
        elapse(ms(900)).await;
        peer.send("rst\nsec").await;
        elapse(ms(900)).await;
        peer.send("ond\n").await;
        callbacks.until(&Call::packet("first")).await;
        callbacks.until(&Call::packet("second")).await;
        elapse(ms(5_000)).await;
        assert_eq!(callbacks.so_far(), []);
        let begun = Instant::now();
        peer.send("third").await;
        assert_on_time(begun, callbacks.until(&Call::partial(b"third")).await, ms(1_000));
    });
}

#[test]
fn continuing_after_a_packet_timeout_drops_the_bytes() {
    paused(async {
        let (builder, mut callbacks) = Probe::pool(|call, _| match call {
            Call::Packet(bytes) => Next::Send(bytes.clone()),
            _ => Next::Continue,
        });
        let (_pool, script_handle) = in_memory(builder.framing(Framing::len2()).packet_timeout(ms(400))).await;
        let mut peer = script_handle.connect();
        peer.send(b"\0\x09abc").await;
        callbacks.until(&Call::partial(b"\0\x09abc")).await;
        elapse(ms(5_000)).await;
        assert_eq!(callbacks.so_far(), [], "one packet times out once");
        peer.echo(b"\0\x02ok").await;
        let begun = Instant::now();
        peer.send(b"\0").await;
        assert_on_time(begun, callbacks.until(&Call::partial(b"\0")).await, ms(400));
    });
}

#[test]
fn packet_time_is_paused_during_a_wait() {
    for before in [0, 200] {
        paused(async move {
            let (builder, mut callbacks) = Probe::pool(|call, conn| match call {
                Call::User(_) => conn.wait(elapse(ms(5_000)), |_, _, _| Next::Send(Bytes::from_static(b"done"))),
                call => protocol_default(call),
            });
            let (pool, script_handle) = in_memory(builder.framing(Framing::lines()).packet_timeout(ms(500))).await;
            let mut peer = script_handle.connect();
            callbacks.until(&Call::Ack).await;
            let address = pool.addresses().remove(0).1;
            if before == 0 {
                // Begun during the wait: its time begins when the connection listens again.
                address.send(User(Bytes::new())).await.unwrap();
                elapse(ms(1_000)).await;
                peer.send("half").await;
            } else {
                peer.send("half").await;
                elapse(ms(before)).await;
                address.send(User(Bytes::new())).await.unwrap();
            }
            peer.expect(b"done\n").await;
            let went_on = Instant::now();
            let at = callbacks.until(&Call::partial(b"half")).await;
            assert!(at - went_on >= ms(500 - before), "early: {:?}", at - went_on);
            assert!(at - went_on <= ms(500 - before + 50), "late: {:?}", at - went_on);
        });
    }
}

#[test]
fn the_send_timeout_spares_slow_readers() {
    for limit in [100, 1_000, 30_000].map(ms) {
        paused(async move {
            let (builder, mut callbacks) = Probe::pool(|call, _| match call {
                Call::Packet(_) => Next::Send(Bytes::from(vec![b'x'; 200 * 1024])),
                call => protocol_default(call),
            });
            let (_pool, script_handle) = in_memory(builder.send_timeout(limit).idle_timeout(None)).await;
            let mut peer = script_handle.connect();
            peer.send("go").await;
            let mut last = callbacks.until(&Call::packet("go")).await;
            for _ in 0..5 {
                elapse(limit * 9 / 10).await;
                assert_eq!(callbacks.so_far(), []);
                peer.read_exact(1).await;
                last = Instant::now();
            }
            let (call, at) = callbacks.next_ever().await;
            assert!(matches!(call, Call::Closed(CloseReason::SendTimeout, _)), "{call:?}");
            assert_on_time(last, at, limit);
        });
    }
}

#[test]
fn max_age_applies_to_busy_connections() {
    for limit in [100, 300, 5_000].map(ms) {
        paused(async move {
            let (builder, mut callbacks) = Probe::pool(|call, _| match call {
                Call::Packet(bytes) => Next::Send(bytes.clone()),
                call => protocol_default(call),
            });
            let (_pool, script_handle) = in_memory(builder.max_age(limit)).await;
            let mut peer = script_handle.connect();
            let born = Instant::now();
            while peer.0.write_all(b"x").await.is_ok() && peer.0.read_exact(&mut [0]).await.is_ok() {
                elapse(ms(1)).await;
            }
            assert_on_time(born, Instant::now(), limit);
            drop(peer);
            assert_eq!(callbacks.closed().await.0, CloseReason::MaxAge);
        });
    }
}

#[test]
fn max_age_sends_what_is_queued_and_ends_a_wait() {
    paused(async {
        let (builder, mut callbacks) = Probe::pool(|call, conn| match call {
            Call::Packet(_) => {
                conn.send(Bytes::from_static(b"early")).unwrap();
                conn.wait(elapse(ms(3_000)), |_, _, _| Next::Send(Bytes::from_static(b"late")))
            }
            call => protocol_default(call),
        });
        let (_pool, script_handle) = in_memory(builder.max_age(ms(1_000))).await;
        let mut peer = script_handle.connect();
        let began = callbacks.until(&Call::Ack).await;
        peer.send("go").await;
        assert_eq!(peer.read_to_end().await, b"early");
        assert_on_time(began, Instant::now(), ms(1_000));
        assert_eq!(callbacks.closed().await.0, CloseReason::MaxAge);
    });
}

#[test]
fn jitter_spreads_the_ages_within_its_bounds() {
    paused(async {
        let (builder, mut callbacks) = Probe::pool(|call, _| protocol_default(call));
        let (_pool, script_handle) = in_memory(builder.max_age(ms(10_000)).max_age_jitter(ms(4_000))).await;
        let born = Instant::now();
        let peers: Vec<_> = (0..100).map(|_| script_handle.connect()).collect();
        let mut ages = Vec::new();
        while ages.len() < peers.len() {
            if let (Call::Closed(reason, _), at) = callbacks.next_ever().await {
                assert_eq!(reason, CloseReason::MaxAge);
                ages.push(at - born);
            }
        }
        let (first, last) = (ages[0], ages[99]);
        assert!(first >= ms(6_000) && first < ms(8_000), "{first:?}");
        assert!(last > ms(12_000) && last <= ms(14_000) + ms(1_400), "{last:?}");
    });
}

/// Tells how old it became.
struct ReportsAge {
    born: Instant,
    tell: UnboundedSender<(CloseReason, Duration)>,
}

impl Protocol for ReportsAge {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, _: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        Next::Continue
    }

    fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
        let _ = self.tell.send((why.reason(), self.born.elapsed()));
    }
}

/// The limit that all have allows a coarse clock, the shortest ages do not.
#[test]
fn an_age_shortened_by_jitter_is_exact() {
    paused(async {
        let (tell, mut told) = unbounded_channel();
        let (transport, script_handle) = ScriptedTransport::in_memory();
        let _pool = AcceptorPool::with_protocol(move |_| ReportsAge { born: Instant::now(), tell: tell.clone() })
            .max_age(ms(2_500))
            .max_age_jitter(ms(2_450))
            .idle_timeout(None)
            .packet_timeout(None)
            .send_timeout(None)
            .on_current_arbiter()
            .listen(transport)
            .await
            .unwrap();
        let mut peers = Vec::new();
        for _ in 0..2_000 {
            peers.push(script_handle.connect());
            // At every moment of a coarse tick.
            elapse(ms(7)).await;
            while let Ok((reason, age)) = told.try_recv() {
                assert_eq!(reason, CloseReason::MaxAge);
                assert!(age >= ms(50), "early: {age:?}");
                assert!(age <= ms(4_950 + 495), "late: {age:?}");
            }
            // Those that have certainly ended.
            peers.drain(..peers.len().saturating_sub(1_000));
        }
    });
}

#[test]
fn a_packet_timeout_set_in_a_callback_starts_next_packet() {
    paused(async {
        let (builder, mut callbacks) = Probe::pool(|call, conn| {
            match call {
                Call::Packet(bytes) if bytes == "short" => conn.set_packet_timeout(ms(80)),
                Call::Packet(bytes) if bytes == "never" => conn.set_packet_timeout(None),
                Call::Packet(bytes) if bytes == "zero" => conn.set_packet_timeout(Duration::ZERO),
                _ => {}
            }
            Next::Continue
        });
        let builder = builder.framing(Framing::lines()).packet_timeout(ms(2_000)).idle_timeout(None);
        let (_pool, script_handle) = in_memory(builder).await;
        let mut peer = script_handle.connect();
        elapse(ms(55)).await;
        peer.send("short\nhalf").await;
        let begun = callbacks.until(&Call::packet("short")).await;
        assert_on_time(begun, callbacks.until(&Call::partial(b"half")).await, ms(80));
        for (line, packet) in [("never\nhalf", "never"), ("\nzero\nhalf", "zero")] {
            peer.send(line).await;
            callbacks.until(&Call::packet(packet)).await;
            elapse(ms(100_000)).await;
            assert_eq!(callbacks.so_far(), []);
        }
    });
}

#[test]
fn timeouts_of_zero_are_disabled() {
    paused(async {
        const LENGTH: usize = 300 * 1024;
        let (builder, mut callbacks) = Probe::pool(|call, _| match call {
            Call::Packet(_) => Next::Send(Bytes::from(vec![b'x'; LENGTH])),
            other => protocol_default(other),
        });
        let builder = builder.framing(Framing::lines()).idle_timeout(ms(0)).packet_timeout(ms(0));
        let (_pool, script_handle) = in_memory(builder.send_timeout(ms(0)).max_age(ms(0))).await;
        let mut peer = script_handle.connect();
        for part in ["pack", "et\n"] {
            elapse(ms(100_000)).await;
            peer.send(part).await;
        }
        callbacks.until(&Call::packet("packet")).await;
        elapse(ms(100_000)).await;
        assert_eq!(peer.read_exact(LENGTH).await, [b'x'; LENGTH]);
        assert_eq!(callbacks.so_far(), []);
    });
}

/// Answers `LengthDelimitedCodec` packets, which have a prefix of four bytes.
struct Prefixed(Recorder);

impl Protocol for Prefixed {
    type Codec = LengthDelimitedCodec;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: BytesMut, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(packet.freeze())
    }

    fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
        self.0.note(why);
    }
}

#[test]
fn a_prefix_taken_by_the_codec_starts_the_packet_timeout() {
    const LIMIT: Duration = Duration::from_secs(1);
    for (in_one, rest) in [(true, &b""[..]), (false, b""), (false, b"ha")] {
        paused(async move {
            let (recorder, mut closings) = Recorder::new();
            let builder = AcceptorPool::with_protocol(move |_| Prefixed(recorder.clone()));
            let builder = builder.packet_timeout(LIMIT).idle_timeout(None);
            let (_pool, script_handle) = in_memory(builder).await;
            let mut peer = script_handle.connect();
            for _ in 0..3 {
                peer.echo(b"\0\0\0\x04full").await;
                elapse(2 * LIMIT).await;
            }
            if in_one {
                peer.send(b"\0\0\0\x04full").await;
                peer.send(b"\0\0\0\x04full\0\0\0\x04").await;
            } else {
                peer.send(b"\0\0\0\x04").await;
            }
            let begun = Instant::now();
            elapse(LIMIT / 2).await;
            peer.send(rest).await;
            let (reason, _) = closings.next().await;
            assert_eq!(reason, CloseReason::PacketTimeout);
            assert_on_time(begun, Instant::now(), LIMIT);
        });
    }
}

#[test]
fn a_completed_packet_ends_the_time_of_its_prefix() {
    paused(async {
        let (recorder, closings) = Recorder::new();
        let builder = AcceptorPool::with_protocol(move |_| Prefixed(recorder.clone()));
        let builder = builder.packet_timeout(ms(1_000)).idle_timeout(None);
        let (_pool, script_handle) = in_memory(builder).await;
        let mut peer = script_handle.connect();
        peer.send(b"\0\0\0\x04").await;
        elapse(ms(800)).await;
        peer.send(b"full").await;
        peer.expect(b"\0\0\0\x04full").await;
        elapse(ms(5_000)).await;
        assert!(closings.is_empty());
    });
}
