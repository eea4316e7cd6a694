//! Streams that callbacks add are polled at once, whatever else the connection does, and can be removed by their key.

use std::sync::Mutex;

use actix_acceptor::{AcceptorPool, Active, Conn, Connection, Framing, Next, Pool, Protocol, StreamKey};
use bytes::Bytes;
use futures::stream::{self, Stream};
use support::*;
use tokio::io::DuplexStream;
use tokio::sync::mpsc::{unbounded_channel, UnboundedSender};

/// Answers a packet by way of a stream.
struct RepliesByStream {
    passive: bool,
}

impl Protocol for RepliesByStream {
    type Codec = Framing;
    type Reply = Bytes;
    type User = Bytes;

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        if self.passive {
            conn.set_active(Active::Passive);
        }
        conn.add_stream(stream::iter([packet]));
        Next::Continue
    }

    fn user(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        conn.set_active(Active::Always);
        Next::Send(packet)
    }
}

#[actix::test]
async fn a_stream_added_in_packet_is_polled_at_once() {
    for passive in [false, true] {
        // Without time limits there is no tick that could wake the connection.
        let pool = AcceptorPool::with_protocol(move |_| RepliesByStream { passive })
            .idle_timeout(None)
            .packet_timeout(None)
            .send_timeout(None)
            .bind("127.0.0.1:0")
            .await
            .unwrap();
        let mut peer = connect(&pool).await;
        peer.echo("one").await;
        peer.echo("two").await;
        pool.stop(None).await;
    }
}

/// A stream of what is sent to it. Sending fails once the stream was dropped.
fn channel_stream() -> (UnboundedSender<Bytes>, impl Stream<Item = Bytes>) {
    let (sender, mut receiver) = unbounded_channel();
    (sender, stream::poll_fn(move |cx| receiver.poll_recv(cx)))
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// A peer in memory whose connection answers packets so, and sends back messages.
async fn peer_of(
    act: impl Fn(&[u8], &mut Conn<Probe>) -> String + Send + Sync + 'static,
) -> (Served, Peer<DuplexStream>) {
    let (builder, _callbacks) = Probe::pool(move |call, conn| match call {
        Call::Packet(packet) => Next::Send(Bytes::from(act(packet, conn))),
        Call::User(message) => Next::Send(message.clone()),
        call => protocol_default(call),
    });
    let (pool, script_handle) = in_memory(builder).await;
    let peer = script_handle.connect();
    ((pool, script_handle), peer)
}

type Served = (Pool<Connection<Probe>>, ScriptHandle);

#[actix::test]
async fn a_removed_stream_is_dropped_at_once() {
    let ((sender, stream), (other, others)) = (channel_stream(), channel_stream());
    let (streams, key, ready) = (Mutex::new(Some((stream, others))), Mutex::new(None), sender.clone());
    let (_served, mut peer) = peer_of(move |_, conn| {
        if let Some((stream, others)) = streams.lock().unwrap().take() {
            *key.lock().unwrap() = Some(conn.add_stream(stream));
            conn.add_stream(others);
            return "added".into();
        }
        let key = key.lock().unwrap().unwrap();
        // Ready, but not delivered.
        let sent = ready.send(bytes("late")).is_ok();
        let removed = conn.remove_stream(key);
        format!("{sent} {removed} {} {}", ready.is_closed(), conn.remove_stream(key))
    })
    .await;
    peer.send("add").await;
    peer.expect(b"added").await;
    sender.send(bytes("item")).unwrap();
    peer.expect(b"item").await;
    peer.send("remove").await;
    peer.expect(b"true true true false").await;
    other.send(bytes("the other one goes on")).unwrap();
    peer.expect(b"the other one goes on").await;
}

#[actix::test]
async fn a_stream_may_be_removed_by_its_own_item() {
    let (sender, stream) = channel_stream();
    let (stream, key, left) = (Mutex::new(Some(stream)), Mutex::new(None), sender.clone());
    let (builder, _callbacks) = Probe::pool(move |call, conn| match call {
        Call::Ack => {
            *key.lock().unwrap() = stream.lock().unwrap().take().map(|stream| conn.add_stream(stream));
            Next::Continue
        }
        Call::User(message) => {
            assert!(conn.remove_stream(key.lock().unwrap().unwrap()));
            assert!(left.is_closed());
            Next::Send(message.clone())
        }
        call => protocol_default(call),
    });
    let items = ["first", "never", "never"];
    items.into_iter().for_each(|item| sender.send(bytes(item)).unwrap());
    let (pool, script_handle) = in_memory(builder).await;
    let mut peer = script_handle.connect();
    peer.expect(b"first").await;
    peer.finish().await;
    assert_eq!(peer.read_to_end().await, b"");
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn the_key_of_a_stream_is_never_reused() {
    let keys = Mutex::new(Vec::<StreamKey>::new());
    let (_served, mut peer) = peer_of(move |packet, conn| {
        let mut keys = keys.lock().unwrap();
        let removed: Vec<_> = keys.iter().filter(|key| conn.remove_stream(**key)).collect();
        assert!(removed.is_empty());
        // With its last stream the connection forgets all of them. One that is not polled before it is removed is no
        // exception.
        let unpolled = conn.add_stream(stream::pending());
        assert!(conn.remove_stream(unpolled) && !conn.remove_stream(unpolled));
        let added = conn.add_stream(stream::iter([Bytes::copy_from_slice(packet)]));
        for key in [unpolled, added] {
            assert!(!keys.contains(&key));
            keys.push(key);
        }
        "added ".into()
    })
    .await;
    for packet in ["one", "two", "three"] {
        peer.send(packet).await;
        peer.expect(format!("added {packet}").as_bytes()).await;
    }
}

#[actix::test]
async fn the_key_of_a_stream_that_has_ended_removes_nothing() {
    let key = Mutex::new(None);
    let (_served, mut peer) = peer_of(move |packet, conn| match packet {
        b"add" => {
            conn.add_stream(stream::pending());
            *key.lock().unwrap() = Some(conn.add_stream(stream::iter([bytes("item")])));
            "added ".into()
        }
        _ => conn.remove_stream(key.lock().unwrap().unwrap()).to_string(),
    })
    .await;
    peer.send("add").await;
    peer.expect(b"added item").await;
    peer.send("remove").await;
    peer.expect(b"false").await;
}
