//! Bytes to packets and back over real sockets: condor's suite, every framing.

mod support;

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_acceptor::transport::{Accepted, Stream};
use actix_acceptor::{Address, Framing, Next, Reason, SendError};
use bytes::{Bytes, BytesMut};
use support::*;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::codec::Encoder;

const KIB: usize = 1024;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn echo(call: &Call) -> Next<Probe> {
    match call {
        Call::Packet(bytes) => Next::Send(bytes.clone()),
        call => otherwise(call),
    }
}

/// A packet as it goes over the wire.
fn wire(framing: &Framing, packet: &[u8]) -> Vec<u8> {
    let mut wire = BytesMut::new();
    framing.clone().encode(Bytes::copy_from_slice(packet), &mut wire).unwrap();
    wire.to_vec()
}

#[actix::test]
async fn every_framing_echoes_every_length_however_it_is_cut() {
    let framings = ["lines", "len1", "len2", "len4", "len8"].map(|name| name.parse::<Framing>().unwrap());
    for framing in framings.into_iter().chain([Framing::delimiter("\r\n.\r\n")]) {
        let (builder, mut diary) = Probe::pool(|call, _| echo(call));
        let pool = builder.framing(framing.clone()).acceptors(1).bind("127.0.0.1:0").await.unwrap();
        let mut peer = connect(&pool).await;
        for length in [0, 1, 2, 255, KIB, 30 * KIB, 65_535] {
            if length > 255 && framing.to_string() == "len1" {
                continue;
            }
            let packet = vec![b'x'; length];
            let wire = wire(&framing, &packet);
            let third = wire.len() / 3;
            // In one segment, twice in one, in three pieces, and byte by byte around the prefix or terminator.
            let twice = [&wire[..], &wire].concat();
            let cuts =
                [vec![&wire[..]], vec![&twice], vec![&wire[..third], &wire[third..2 * third], &wire[2 * third..]], {
                    let ends = wire.len().min(8);
                    let mut pieces: Vec<_> = wire[..ends].chunks(1).collect();
                    let (body, tail) = wire[ends..].split_at((wire.len() - ends).saturating_sub(8));
                    pieces.push(body);
                    pieces.extend(tail.chunks(1));
                    pieces
                }];
            for pieces in cuts {
                for piece in &pieces {
                    peer.send(piece).await;
                }
                peer.expect(&pieces.concat()).await;
            }
        }
        assert!(diary.so_far().iter().all(|call| !matches!(call, Call::Closed(..))));
    }
}

#[actix::test]
async fn raw_delivers_what_comes() {
    let (builder, mut diary) = Probe::pool(|call, _| echo(call));
    let pool = builder.max_frame(4).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("a").await;
    peer.echo("bcdefg").await;
    diary.until(&Call::packet("a")).await;
    assert_eq!(diary.next().await, Call::packet("bcde"), "cut at max_frame");
    assert_eq!(diary.next().await, Call::packet("fg"));
}

#[actix::test]
async fn two_frames_in_one_segment_and_half_a_third_are_told_apart() {
    let (builder, mut diary) = Probe::pool(|call, _| echo(call));
    let pool = builder.framing(Framing::len2()).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.send(b"\0\x03one\0\x03two\0\x05th").await;
    peer.expect(b"\0\x03one\0\x03two").await;
    peer.send(b"ree").await;
    peer.expect(b"\0\x05three").await;
    for call in [Call::Init, Call::Ack, Call::packet("one"), Call::packet("two"), Call::packet("three")] {
        assert_eq!(diary.next().await, call);
    }
}

#[actix::test]
async fn a_packet_that_is_not_finished_in_time_is_told_with_its_bytes() {
    let partials: [(Framing, &[u8]); 4] = [
        (Framing::len2(), b"\0\x14half"),
        (Framing::len4(), b"\0\0"),
        (Framing::lines(), b"half a li"),
        (Framing::delimiter("END"), b"half EN"),
    ];
    for (framing, partial) in partials {
        let (builder, mut diary) = Probe::pool(|call, _| echo(call));
        let builder = builder.framing(framing).packet_timeout(ms(120)).acceptors(1);
        let pool = builder.bind("127.0.0.1:0").await.unwrap();
        let mut peer = connect(&pool).await;
        let begun = tokio::time::Instant::now();
        peer.send(partial).await;
        let at = diary.until(&Call::partial(partial)).await;
        assert!(at - begun >= ms(120), "early: {:?}", at - begun);
        assert_eq!(peer.read_to_end().await, b"");
        assert_eq!(diary.closed().await.0, Reason::PacketTimeout);
    }
}

#[actix::test]
async fn no_timer_runs_on_into_the_next_client() {
    let (builder, mut diary) = Probe::pool(|call, _| echo(call));
    let builder = builder.framing(Framing::len2()).packet_timeout(ms(80)).acceptors(1);
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    for _ in 0..3 {
        let mut first = connect(&pool).await;
        first.send(b"\0\x09half").await;
        eventually(|| pool.list().first().is_some_and(|first| first.bytes_in == 6)).await;
        drop(first);
        let mut next = connect(&pool).await;
        tokio::time::sleep(ms(200)).await;
        next.echo(b"\0\x02ok").await;
        drop(next);
        eventually(|| pool.connections() == 0).await;
    }
    assert!(diary.so_far().iter().all(|call| !matches!(call, Call::Timeout(_))));
}

#[actix::test]
async fn a_packet_of_max_frame_passes_and_one_byte_more_ends_the_connection() {
    const MAX: usize = 20_000;
    for name in ["lines", "len2", "len4", "len8"] {
        let framing: Framing = name.parse().unwrap();
        let (builder, mut diary) = Probe::pool(|call, _| echo(call));
        let pool = builder.framing(framing.clone()).max_frame(MAX).acceptors(1).bind("127.0.0.1:0").await.unwrap();
        let mut peer = connect(&pool).await;
        peer.echo(wire(&framing, &[b'x'; MAX])).await;
        peer.send(wire(&framing, &[b'x'; MAX + 1])).await;
        assert_eq!(peer.until_gone().await, b"", "{name}");
        let told = (Reason::TooLong, "a packet of 20001 bytes, 20000 are allowed".to_owned());
        assert_eq!(diary.closed().await, told, "{name}");
    }
}

#[actix::test]
async fn the_default_limit_is_a_mebibyte() {
    let (builder, mut diary) = Probe::pool(|call, _| echo(call));
    let pool = builder.framing(Framing::len4()).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let mut peer = BlockingPeer::connect(pool.local_addr().unwrap());
    let echoed = tokio::task::spawn_blocking(move || {
        let packet = [&(1u32 << 20).to_be_bytes()[..], &[7; 1 << 20]].concat();
        let mut writer = BlockingPeer(peer.0.try_clone().unwrap());
        let written = std::thread::spawn(move || writer.send([&packet[..], &(1u32 << 20 | 1).to_be_bytes()].concat()));
        let echoed = peer.read_to_end().len();
        written.join().unwrap();
        echoed
    });
    assert_eq!(soon(echoed).await.unwrap(), (1 << 20) + 4);
    assert_eq!(diary.closed().await.0, Reason::TooLong);
}

/// Condor sends a truncated length instead.
#[actix::test]
async fn a_reply_too_long_for_its_prefix_is_an_error_to_the_sender() {
    let (builder, mut diary) = Probe::pool(|call, conn| match call {
        Call::Packet(bytes) if bytes == "try" => match conn.send(Bytes::from(vec![b'x'; 256])) {
            Err(SendError::TooLong { length: 256, limit: 255 }) => Next::Send(Bytes::from_static(b"too long")),
            other => panic!("{other:?}"),
        },
        Call::Packet(_) => Next::Send(Bytes::from(vec![b'x'; 256])),
        call => otherwise(call),
    });
    let pool = builder.framing(Framing::len1()).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.send(b"\x03try").await;
    peer.expect(b"\x08too long").await;
    let address = pool.addresses().remove(0).1;
    let sent = address.send(actix_acceptor::Reply(Bytes::from(vec![b'x'; 300]))).await.unwrap();
    assert!(matches!(sent, Err(SendError::TooLong { length: 300, limit: 255 })), "{sent:?}");
    peer.send(b"\x03try\x02do").await;
    assert_eq!(peer.read_to_end().await, b"\x08too long");
    let (reason, why) = diary.closed().await;
    assert_eq!(
        (reason, &*why),
        (Reason::Error, "a packet of 256 bytes does not fit its prefix, which can tell up to 255")
    );
}

#[actix::test]
async fn all_whole_packets_of_one_read_come_before_the_next_read() {
    /// Yields a chunk a read, and checks before the next how many packets were delivered.
    struct Chunks(VecDeque<(&'static str, usize)>, Arc<AtomicUsize>);

    impl AsyncRead for Chunks {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            if let Some((chunk, before)) = self.0.pop_front() {
                assert_eq!(self.1.load(Relaxed), before, "before {chunk:?}");
                buf.put_slice(chunk.as_bytes());
            }
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Chunks {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    let delivered = Arc::new(AtomicUsize::new(0));
    let counted = delivered.clone();
    let (builder, mut diary) = Probe::pool(move |call, _| {
        counted.fetch_add(usize::from(matches!(call, Call::Packet(_))), Relaxed);
        otherwise(call)
    });
    let (transport, director) = Scripted::in_memory();
    let _pool = builder.framing(Framing::lines()).on_current_arbiter().listen(transport).await.unwrap();
    director.accept(move || {
        let chunks = [("a\nb\nc", 0), ("\nd\n", 2), ("e", 4), ("f\n\n", 4), ("rest", 6)];
        let stream = Stream::other(Chunks(chunks.into(), delivered));
        Ok(Accepted { stream, peer: Address::Other("script".into()) })
    });
    let mut packets = Vec::new();
    loop {
        match diary.next().await {
            Call::Packet(packet) => packets.push(packet),
            Call::Closed(reason, why) => break assert_eq!(reason, Reason::Peer, "{why}"),
            _ => {}
        }
    }
    assert_eq!(packets, ["a", "b", "c", "d", "ef", "", "rest"]);
}
