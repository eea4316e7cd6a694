//! Functions that make codecs, with and without the peer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_acceptor::error::ReloadError;
use actix_acceptor::messages::StatelessEncoder;
use actix_acceptor::pool_config::FramingConfig;
use actix_acceptor::{
    AcceptorPool, Conn, Connection, Framing, Listener, Next, Peer as NewPeer, Pool, PoolConfig, Protocol, SendError,
    StartError, Timeout,
};
use bytes::{Bytes, BytesMut};
use support::*;
use tokio::net::TcpStream;
use tokio_util::codec::LengthDelimitedCodec;

/// The framing is named after the listener.
fn by_listener(peer: &NewPeer) -> Framing {
    peer.listener.parse().unwrap()
}

fn listeners() -> [Listener; 2] {
    ["lines", "len2"].map(|name| Listener::tcp("127.0.0.1:0").name(name))
}

async fn connect_to<A>(pool: &Pool<A>, listener: usize) -> Peer {
    let address = pool.listeners()[listener].address.socket().unwrap();
    Peer(in_time(TcpStream::connect(address)).await.unwrap())
}

/// Joins a topic, and sends packets back.
struct Member;

impl Protocol for Member {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        let topic = conn.pool().topic("all");
        conn.join(&topic);
        Next::send("hello")
    }

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(packet)
    }
}

#[actix::test]
async fn a_codec_that_depends_on_the_peer_is_used_for_all_its_replies() {
    let [one, two] = listeners();
    let pool = AcceptorPool::with_codec(|_| Member, by_listener).listener(one).listener(two).start().await.unwrap();
    let (mut lines, mut len2) = (connect_to(&pool, 0).await, connect_to(&pool, 1).await);
    lines.expect(b"hello\n").await;
    len2.expect(b"\0\x05hello").await;
    lines.echo("one\n").await;
    len2.echo("\0\x03two").await;
    assert_eq!(pool.broadcast("all".into()).unwrap().delivered, 2);
    assert_eq!(pool.topic("all").publish("topic").members, 2);
    let ids: Vec<_> = pool.list().iter().map(|connection| connection.id).collect();
    assert_eq!(pool.send_to(ids.clone(), "some").unwrap().delivered, 2);
    for id in ids {
        pool.connection(id).unwrap().outbox().send("one").unwrap();
    }
    lines.expect(b"all\ntopic\nsome\none\n").await;
    len2.expect(b"\0\x03all\0\x05topic\0\x04some\0\x03one").await;
    // No bytes would be right for both.
    assert!(matches!(pool.encode("all".into()), Err(SendError::PeerDependentCodec)));
    pool.set_codec(Framing::len1).unwrap();
    assert_eq!(pool.encode("all".into()).unwrap().0, "\x03all");
    connect_to(&pool, 0).await.expect(b"\x05hello").await;
    pool.set_codec(|peer: &NewPeer| if &*peer.listener == "lines" { Framing::len4() } else { by_listener(peer) })
        .unwrap();
    assert!(matches!(pool.encode("all".into()), Err(SendError::PeerDependentCodec)));
    connect_to(&pool, 0).await.expect(b"\0\0\0\x05hello").await;
    lines.echo("as before\n").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn max_frame_applies_to_codecs_that_depend_on_the_peer() {
    let [one, two] = listeners();
    let builder = AcceptorPool::with_codec(|_| Member, by_listener).max_frame(3);
    let pool = builder.listener(one).listener(two).start().await.unwrap();
    for (listener, hello, fits, too_long) in
        [(0, &b"hello\n"[..], &b"123\n"[..], &b"1234\n"[..]), (1, b"\0\x05hello", b"\0\x03123", b"\0\x041234")]
    {
        let mut peer = connect_to(&pool, listener).await;
        peer.expect(hello).await;
        peer.echo(fits).await;
        peer.send(too_long).await;
        assert_eq!(peer.read_to_end().await, b"");
    }
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_configured_framing_is_refused_where_the_peer_decides() {
    let mut config = PoolConfig::default();
    let mut framing = FramingConfig::default();
    framing.max_frame = Some(100);
    config.framing = Some(framing);
    let builder = || AcceptorPool::with_codec(|_| Member, by_listener);
    let [one, _] = listeners();
    let error = builder().config(&config).listener(one).start().await.unwrap_err();
    assert!(matches!(&error, StartError::Config(_)), "{error}");
    assert!(format!("{error:?}").contains("depends on the peer"), "{error:?}");
    let [one, _] = listeners();
    let pool = builder().listener(one).start().await.unwrap();
    let error = in_time(pool.reload(&config)).await.unwrap_err();
    assert!(matches!(&error, ReloadError::Invalid(_)), "{error}");
    in_time(pool.stop(Duration::ZERO)).await;
}

type Prefixed = StatelessEncoder<LengthDelimitedCodec>;

fn prefixed(bytes: usize) -> Prefixed {
    StatelessEncoder(LengthDelimitedCodec::builder().length_field_length(bytes).new_codec())
}

struct Foreign;

impl Protocol for Foreign {
    type Codec = Prefixed;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: BytesMut, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(packet.freeze())
    }

    fn timeout(&mut self, timeout: Timeout, _: &mut Conn<Self>) -> Next<Self> {
        match timeout {
            Timeout::Packet(_) => Next::send("timeout"),
            _ => Next::Stop,
        }
    }
}

#[actix::test]
async fn codecs_of_other_crates_may_depend_on_the_peer() {
    let peers = Arc::new(Mutex::new(Vec::new()));
    let made = peers.clone();
    let codec = move |peer: &NewPeer| {
        made.lock().unwrap().push(format!("{} {} {}", peer.id, peer.address, peer.listener));
        prefixed(if &*peer.listener == "lines" { 1 } else { 2 })
    };
    let [one, two] = listeners();
    let builder = AcceptorPool::with_codec(|_| Foreign, codec).packet_timeout(ms(50));
    let pool: Pool<Connection<Foreign>> = builder.listener(one).listener(two).start().await.unwrap();
    let (mut one, mut two) = (connect_to(&pool, 0).await, connect_to(&pool, 1).await);
    one.echo("\x03one").await;
    two.echo("\0\x03two").await;
    assert_eq!(pool.broadcast("all".into()).unwrap().delivered, 2);
    one.expect(b"\x03all").await;
    two.expect(b"\0\x03all").await;
    assert!(matches!(pool.encode("all".into()), Err(SendError::PeerDependentCodec)));
    // After a packet timeout, the codec is made anew for the same peer.
    one.send("\x09par").await;
    one.expect(b"\x07timeout").await;
    one.echo("\x03one").await;
    let peers = peers.lock().unwrap().clone();
    assert_eq!(peers.len(), 3, "none for a reply to all");
    assert_eq!(peers.iter().filter(|peer| **peer == peers[2]).count(), 2, "{peers:?}");
    assert!(peers[2].ends_with(&format!("{} lines", one.address())), "{peers:?}");
    in_time(pool.stop(Duration::ZERO)).await;
}
