//! What is taken in, and how much at a time: marks, send timeout, fairness.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use actix_acceptor::{telemetry::CloseReason, AcceptorPool, Conn, Framing, Next, Protocol, User};
use bytes::Bytes;
use support::*;

const KIB: usize = 1024;

/// A packet of this length behind a four-byte prefix.
fn framed(payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32).to_be_bytes(), payload].concat()
}

#[actix::test]
async fn a_stalled_peer_costs_bounded_memory() {
    const PACKET: usize = 10_000;
    let most = Arc::new(AtomicUsize::new(0));
    let (builder, mut callbacks) = Probe::pool({
        let most = most.clone();
        move |call, conn| match call {
            Call::Packet(bytes) => {
                most.fetch_max(conn.unsent() + bytes.len() + 4, Relaxed);
                Next::Send(bytes.clone())
            }
            call => protocol_default(call),
        }
    });
    let pool = builder.framing(Framing::len4()).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let mut peer = BlockingPeer::connect(pool.local_addr().unwrap());
    let mut reader = BlockingPeer(peer.0.try_clone().unwrap());
    let mut number = 0u32;
    // Sends until nothing more is taken for a while.
    peer.0.set_write_timeout(Some(ms(500))).unwrap();
    let (written, mut number_sent) = tokio::task::spawn_blocking(move || {
        use std::io::Write;
        let mut packets = 0u32;
        'flood: loop {
            let mut packet = vec![b'.'; PACKET];
            packet[..4].copy_from_slice(&packets.to_be_bytes());
            let wire = framed(&packet);
            let mut left = &wire[..];
            while !left.is_empty() {
                match peer.0.write(left) {
                    Ok(bytes) => left = &left[bytes..],
                    Err(_) => break 'flood,
                }
            }
            packets += 1;
        }
        (peer, packets)
    })
    .await
    .unwrap();
    let most = most.load(Relaxed);
    assert!(most <= 64 * KIB + PACKET + 4, "{most} bytes stood unsent");
    let taken = callbacks.so_far().len();
    assert!(taken < number_sent as usize, "the connection went on taking packets in");
    // It goes on, in order, once the peer reads.
    let all = tokio::task::spawn_blocking(move || {
        while number < number_sent {
            let packet = reader.read_exact(PACKET + 4);
            assert_eq!(packet[4..8], number.to_be_bytes());
            number += 1;
        }
        number
    });
    assert_eq!(in_time(all).await.unwrap(), number_sent);
    number_sent = 0;
    drop((written, number_sent));
    pool.stop(Duration::ZERO).await;
}

#[actix::test]
async fn above_the_high_mark_input_waits_and_keeps_its_order() {
    const MUCH: usize = 8 * 1024 * KIB;
    let (builder, mut callbacks) = Probe::pool(|call, _| match call {
        Call::Packet(bytes) if bytes == "much" => Next::Send(Bytes::from(vec![b'x'; MUCH])),
        Call::Packet(bytes) | Call::User(bytes) => Next::Send(bytes.clone()),
        call => protocol_default(call),
    });
    let pool = builder.framing(Framing::lines()).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.send("much\n1\n2\n").await;
    callbacks.until(&Call::packet("much")).await;
    let address = pool.addresses().remove(0).1;
    for message in ["a", "b", "c"] {
        address.do_send(User(Bytes::from_static(message.as_bytes())));
    }
    // Another connection of the same arbiter is served meanwhile: the first one had its chance.
    let mut other = connect(&pool).await;
    for _ in 0..20 {
        other.echo("other\n").await;
    }
    let taken = callbacks.so_far();
    assert!(taken.iter().all(|call| [Call::Init, Call::Ack, Call::packet("other")].contains(call)), "{taken:?}");
    peer.read_exact(MUCH + 1).await;
    let rest = String::from_utf8(peer.read_exact(10).await).unwrap();
    let of = |wanted: &str| rest.lines().filter(|line| wanted.contains(line)).collect::<String>();
    assert_eq!((of("12"), of("abc")), ("12".into(), "abc".into()), "{rest:?}");
}

/// In memory, where the peer's side takes 64 KiB and not a byte more: what stands unsent is known exactly.
#[test]
fn input_resumes_at_the_low_mark() {
    paused(async {
        let (builder, mut callbacks) = Probe::pool(|call, conn| match call {
            Call::Packet(bytes) if bytes == "much" => Next::Send(Bytes::from(vec![b'x'; 100 * KIB - 1])),
            Call::Packet(_) => {
                assert_eq!(conn.unsent(), 8 * KIB);
                Next::Continue
            }
            call => protocol_default(call),
        });
        let (transport, script_handle) = ScriptedTransport::in_memory();
        let builder = builder.framing(Framing::lines()).watermarks(32 * KIB, 8 * KIB).send_timeout(None);
        let _pool = builder.idle_timeout(None).on_current_arbiter().listen(transport).await.unwrap();
        let mut peer = script_handle.connect();
        peer.send("much\nnext\n").await;
        callbacks.until(&Call::packet("much")).await;
        // From 36 KiB down to 32, 31, 9.
        for kib in [4, 1, 22] {
            elapse(ms(1_000)).await;
            assert_eq!(callbacks.so_far(), []);
            peer.read_exact(kib * KIB).await;
        }
        elapse(ms(1_000)).await;
        assert_eq!(callbacks.so_far(), []);
        peer.read_exact(KIB).await;
        assert_eq!(callbacks.next().await, Call::packet("next"));
    });
}

/// The peer takes some bytes every now and then: never nothing for as long as the send timeout.
#[actix::test]
async fn a_slow_reader_is_not_closed() {
    const MUCH: usize = 3 * 1024 * KIB;
    let (builder, mut callbacks) = Probe::pool(|call, _| match call {
        Call::Packet(_) => Next::SendAndStop(Bytes::from(vec![b'x'; MUCH])),
        call => protocol_default(call),
    });
    let pool = builder.send_timeout(ms(400)).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let address = pool.local_addr().unwrap();
    let read = tokio::task::spawn_blocking(move || {
        let mut peer = BlockingPeer::connect(address);
        socket2::SockRef::from(&peer.0).set_recv_buffer_size(64 * KIB).unwrap();
        peer.send("go");
        let (begun, mut read) = (Instant::now(), 0);
        while read < MUCH {
            read += peer.read_exact(32 * KIB).len();
            thread::sleep(ms(15));
        }
        assert_eq!(peer.read_to_end(), b"");
        begun.elapsed()
    });
    let took = in_time(read).await.unwrap();
    assert!(took > ms(800), "this reader was not slow: {took:?}");
    assert_eq!(callbacks.closed().await.0, CloseReason::Local);
}

#[actix::test]
async fn a_stalled_reader_is_closed_after_the_send_timeout() {
    for stops in [false, true] {
        let (builder, mut callbacks) = Probe::pool(move |call, _| match call {
            Call::Packet(_) if stops => Next::SendAndStop(Bytes::from(vec![b'x'; 16 * 1024 * KIB])),
            Call::Packet(_) => Next::Send(Bytes::from(vec![b'x'; 16 * 1024 * KIB])),
            call => protocol_default(call),
        });
        let pool = builder.send_timeout(ms(300)).acceptors(1).bind("127.0.0.1:0").await.unwrap();
        let mut peer = connect(&pool).await;
        peer.send("go").await;
        let asked = callbacks.until(&Call::packet("go")).await;
        let (call, at) = callbacks.next_at().await;
        assert!(matches!(call, Call::Closed(CloseReason::SendTimeout, _)), "{call:?}");
        assert!(at - asked >= ms(300), "early: {:?}", at - asked);
        assert!(at - asked <= ms(3_000), "late: {:?}", at - asked);
        eventually(|| pool.connections() == 0).await;
    }
}

/// Pumps bytes through an echo until it is stopped.
fn pump(address: std::net::SocketAddr, chunk: usize, stop: Arc<AtomicBool>) -> thread::JoinHandle<usize> {
    thread::spawn(move || {
        use std::io::{Read, Write};
        let mut writer = BlockingPeer::connect(address);
        let mut reader = BlockingPeer(writer.0.try_clone().unwrap());
        let stopped = stop.clone();
        let reading = thread::spawn(move || {
            let (mut total, mut buffer) = (0, vec![0; 256 * KIB]);
            while let Ok(bytes @ 1..) = reader.0.read(&mut buffer) {
                total += bytes;
            }
            assert!(stopped.load(Relaxed), "the echo ended early");
            total
        });
        let chunk = vec![b'x'; chunk];
        while !stop.load(Relaxed) {
            writer.0.write_all(&chunk).unwrap();
        }
        writer.0.shutdown(std::net::Shutdown::Write).unwrap();
        reading.join().unwrap()
    })
}

/// The time 99 of 100 echoes took at the most.
fn p99(peer: &mut BlockingPeer, echoes: usize) -> Duration {
    let mut times: Vec<_> = (0..echoes)
        .map(|_| {
            let asked = Instant::now();
            peer.echo("echo\n");
            asked.elapsed()
        })
        .collect();
    times.sort();
    times[echoes * 99 / 100]
}

#[actix::test]
async fn a_fast_peer_starves_neither_neighbours_nor_mailbox() {
    let (builder, _diary) = Probe::pool(|call, _| match call {
        Call::Packet(bytes) => Next::Send(bytes.clone()),
        call => protocol_default(call),
    });
    let pool = builder.acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let address = pool.local_addr().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let pumps: Vec<_> = (0..2).map(|_| pump(address, 64 * KIB, stop.clone())).collect();
    eventually(|| pool.connections() == 2 && pool.list().iter().all(|peer| peer.bytes_out > 1_000_000)).await;
    let mailboxes = pool.addresses();
    let p99 = tokio::task::spawn_blocking(move || p99(&mut BlockingPeer::connect(address), 200)).await.unwrap();
    assert!(p99 < ms(50), "the neighbour's echo took {p99:?}");
    for (id, mailbox) in mailboxes {
        let asked = Instant::now();
        in_time(mailbox.send(User(Bytes::new()))).await.unwrap();
        assert!(asked.elapsed() < ms(500), "{id} answered after {:?}", asked.elapsed());
    }
    stop.store(true, Relaxed);
    let pumped = tokio::task::spawn_blocking(|| pumps.into_iter().map(|pump| pump.join().unwrap()).min());
    assert!(in_time(pumped).await.unwrap().unwrap() > 1_000_000);
}

#[actix::test]
async fn a_flood_of_messages_starves_no_socket() {
    const MESSAGES: usize = 1_000_000;
    const BACKLOG: usize = 100_000;
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = taken.clone();
    let builder = AcceptorPool::with_protocol(move |_| Counted(counted.clone())).framing(Framing::lines());
    let pool = builder.acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let address = pool.local_addr().unwrap();
    let mut flooded = BlockingPeer::connect(address);
    flooded.echo("hello\n");
    // So many messages at least, and a backlog of them until both echoes are measured.
    let (flowing, measured) = (Arc::new(Barrier::new(3)), Arc::new(AtomicUsize::new(0)));
    let flood = {
        let (mailbox, taken) = (pool.addresses().remove(0).1, taken.clone());
        let (flowing, measured) = (flowing.clone(), measured.clone());
        thread::spawn(move || {
            let mut sent = 0;
            while sent < MESSAGES || measured.load(Relaxed) < 2 {
                if sent < taken.load(Relaxed) + BACKLOG {
                    mailbox.do_send(User(Bytes::new()));
                    sent += 1;
                    if sent == BACKLOG {
                        flowing.wait();
                    }
                }
            }
            sent
        })
    };
    let measure = |mut peer: BlockingPeer| {
        let (taken, flowing, measured) = (taken.clone(), flowing.clone(), measured.clone());
        tokio::task::spawn_blocking(move || {
            flowing.wait();
            let before = taken.load(Relaxed);
            let p99 = p99(&mut peer, 200);
            measured.fetch_add(1, Relaxed);
            (peer, p99, taken.load(Relaxed) - before)
        })
    };
    let (neighbour, own) = (measure(BlockingPeer::connect(address)), measure(flooded));
    let mut peers = Vec::new();
    for (who, measured) in [("the neighbour", neighbour), ("the flooded connection", own)] {
        let (peer, p99, meanwhile) = in_time(measured).await.unwrap();
        assert!(p99 < ms(50), "an echo of {who} took {p99:?}");
        assert!(meanwhile > 200, "{meanwhile} messages only were taken meanwhile");
        peers.push(peer);
    }
    let sent = tokio::task::spawn_blocking(|| flood.join().unwrap()).await.unwrap();
    eventually(|| taken.load(Relaxed) == sent).await;
}

/// Echoes packets and counts messages, slower than they come: so that they pile up.
struct Counted(Arc<AtomicUsize>);

impl Protocol for Counted {
    type Codec = Framing;
    type Reply = Bytes;
    type User = Bytes;

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(packet)
    }

    fn user(&mut self, _: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_micros(1) {}
        self.0.fetch_add(1, Relaxed);
        Next::Continue
    }
}
