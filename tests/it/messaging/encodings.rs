//! How often and by whom a reply is encoded that others send.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;

use actix_acceptor::messages::EncodeOnce;
use actix_acceptor::telemetry::CloseReason;
use actix_acceptor::{limits::SlowConsumer, BoxError, Outbox, SendError};
use bytes::BytesMut;
use support::*;
use tokio_util::codec::{Decoder, Encoder};

use super::*;

/// Lines of text. Counts how often it encodes; `poison` makes it panic, and `unencodable` is an error.
#[derive(Clone)]
struct Counting {
    lines: Framing,
    encoded: Arc<AtomicUsize>,
}

impl Decoder for Counting {
    type Item = Bytes;
    type Error = BoxError;

    fn decode(&mut self, read: &mut BytesMut) -> Result<Option<Bytes>, BoxError> {
        Ok(self.lines.decode(read)?)
    }
}

impl Encoder<String> for Counting {
    type Error = BoxError;

    fn encode(&mut self, reply: String, write: &mut BytesMut) -> Result<(), BoxError> {
        self.encoded.fetch_add(1, Relaxed);
        assert!(reply != "poison", "poison in encode");
        write.extend_from_slice(b"half");
        write.truncate(write.len() - b"half".len());
        match reply.as_str() {
            "unencodable" => Err("not to be encoded".into()),
            text => Ok(self.lines.encode(text.to_owned().into(), write)?),
        }
    }
}

impl EncodeOnce for Counting {}

/// A member of `lobby`. `change` makes its codec its own, `leave` ends the membership.
struct Subscriber;

impl Protocol for Subscriber {
    type Codec = Counting;
    type Reply = String;
    type User = String;

    fn packet(&mut self, line: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        let lobby = conn.pool().topic("lobby");
        match &line[..] {
            b"join" => Next::send(conn.join(&lobby).to_string()),
            b"leave" => Next::send(conn.leave(&lobby).to_string()),
            b"change" => {
                conn.codec_mut();
                Next::send("changed")
            }
            _ => Next::send(String::from_utf8_lossy(&line)),
        }
    }

    fn user(&mut self, message: String, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(message)
    }

    fn reply_size(reply: &String) -> usize {
        reply.len() * 100
    }
}

type Subscribers = Pool<Connection<Subscriber>>;

/// A pool on this thread: connections run only while the test awaits something.
async fn subscribers() -> (Subscribers, impl Fn() -> usize) {
    let encoded = Arc::new(AtomicUsize::new(0));
    let codec = Counting { lines: Framing::lines(), encoded: encoded.clone() };
    let pool = AcceptorPool::with_codec(|_| Subscriber, move || codec.clone());
    let pool = pool.on_current_arbiter().outbox(10_000, SlowConsumer::DropNewest).bind("127.0.0.1:0").await.unwrap();
    (pool, move || encoded.swap(0, Relaxed))
}

async fn subscriber(pool: &Subscribers) -> Peer<TcpStream> {
    let mut peer = connect(pool).await;
    assert_eq!(ask(&mut peer, "join").await, "true");
    peer
}

fn outbox(pool: &Subscribers, at: usize) -> Outbox<Subscriber> {
    pool.connection(pool.list()[at].id).unwrap().outbox()
}

#[actix::test]
async fn a_published_reply_is_encoded_once() {
    let (pool, encoded) = subscribers().await;
    let mut peers = [subscriber(&pool).await, subscriber(&pool).await, subscriber(&pool).await];
    encoded();
    assert_eq!(pool.topic("lobby").publish("hello").members, 3);
    assert_eq!(pool.send_to(pool.topic("lobby").members(), "hello").unwrap().delivered, 3);
    assert_eq!(encoded(), 2);
    for peer in &mut peers {
        assert_eq!((line(peer).await, line(peer).await), ("hello".into(), "hello".into()));
    }
    assert_eq!(encoded(), 0);
}

#[actix::test]
async fn members_with_a_codec_of_their_own_encode_it_themselves() {
    let (pool, encoded) = subscribers().await;
    let mut former = subscriber(&pool).await;
    let codec = Counting { lines: Framing::len2(), encoded: Arc::default() };
    pool.set_codec(move || codec.clone()).unwrap();
    let mut current = connect(&pool).await;
    current.send("\0\x04join").await;
    current.expect(b"\0\x04true").await;
    encoded();
    assert_eq!(pool.topic("lobby").publish("hello").members, 2);
    assert_eq!(line(&mut former).await, "hello");
    current.expect(b"\0\x05hello").await;
    assert_eq!(encoded(), 1);
}

/// The reply is queued before `leave`, and encoded by the connection.
#[actix::test]
async fn a_reply_of_its_own_codec_comes_before_a_confirmed_leave() {
    let (pool, _) = subscribers().await;
    let mut peer = subscriber(&pool).await;
    assert_eq!(ask(&mut peer, "change").await, "changed");
    for round in 0..50 {
        peer.send("leave\njoin\n").await;
        assert_eq!(pool.topic("lobby").publish(round.to_string()).members, 1);
        for expected in [round.to_string(), "true".into(), "true".into()] {
            assert_eq!(line(&mut peer).await, expected);
        }
    }
}

#[actix::test]
async fn a_reply_is_queued_before_publish_returns() {
    let (pool, _) = subscribers().await;
    let mut peer = subscriber(&pool).await;
    let outbox = outbox(&pool, 0);
    assert_eq!(outbox.pending(), 0);
    pool.topic("lobby").publish("hello");
    assert_eq!(outbox.pending(), 6);
    assert_eq!(line(&mut peer).await, "hello");
    eventually(|| outbox.pending() == 0).await;
}

#[actix::test]
async fn an_unencoded_reply_counts_with_its_reply_size() {
    let (pool, encoded) = subscribers().await;
    let mut peer = subscriber(&pool).await;
    let outbox = outbox(&pool, 0);
    encoded();
    outbox.send("hello").unwrap();
    assert_eq!((outbox.pending(), encoded()), (500, 0));
    let error = outbox.send("x".repeat(96)).unwrap_err();
    assert_eq!(error.into_reply().unwrap().len(), 96);
    assert_eq!(line(&mut peer).await, "hello");
    assert_eq!(encoded(), 1);
    eventually(|| outbox.pending() == 0).await;
}

#[actix::test]
async fn bytes_that_the_pool_has_encoded_are_sent() {
    let (pool, encoded) = subscribers().await;
    let mut peer = subscriber(&pool).await;
    encoded();
    let hello = pool.encode("hello".into()).unwrap();
    let outbox = outbox(&pool, 0);
    (0..3).for_each(|_| outbox.send_encoded(hello.clone()).unwrap());
    assert_eq!(peer.read_exact(18).await, b"hello\nhello\nhello\n");
    assert_eq!(encoded(), 1);
    drop(peer);
    eventually(|| pool.connections() == 0).await;
    assert_eq!(outbox.send_encoded(hello.clone()).unwrap_err().into_reply().unwrap().0, hello.0);
}

#[actix::test]
async fn an_outbox_reply_that_cannot_be_encoded_ends_the_connection() {
    let (pool, _) = subscribers().await;
    let mut peer = subscriber(&pool).await;
    let outbox = outbox(&pool, 0);
    outbox.send("before").unwrap();
    outbox.send("unencodable").unwrap();
    outbox.send("after").unwrap();
    assert_eq!(peer.read_to_end().await, b"before\nafter\n");
    eventually(|| pool.info().closed.get(CloseReason::Error) == 1).await;
}

#[actix::test]
async fn a_published_reply_that_cannot_be_encoded_ends_no_member() {
    let (pool, _) = subscribers().await;
    let mut peer = subscriber(&pool).await;
    let lobby = pool.topic("lobby");
    let published = lobby.publish("unencodable");
    assert_eq!((published.members, published.dropped), (0, 0));
    assert_eq!(published.error.unwrap().to_string(), "not to be encoded");
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| lobby.publish("poison")));
    assert!(panicked.is_err());
    assert_eq!(lobby.publish("hello").members, 1);
    assert_eq!(line(&mut peer).await, "hello");
}

/// Whichever framing the pool tries first.
#[actix::test]
async fn an_encoding_error_concerns_members_with_that_encoding() {
    for last in ["lines", "len2"] {
        let pool = start().await;
        let mut lines = member(&pool).await;
        pool.set_framing(Framing::len2()).unwrap();
        let mut prefixed = connect(&pool).await;
        prefixed.send(b"\0\x0ajoin lobby").await;
        prefixed.expect(b"\0\x04true").await;
        if last == "lines" {
            pool.set_framing(Framing::lines()).unwrap();
            assert_eq!(ask(&mut connect(&pool).await, "x").await, "x");
        }
        let published = pool.topic("lobby").publish("two\nlines");
        assert_eq!((published.members, published.dropped), (1, 0), "{last}");
        assert!(matches!(published.error, Some(SendError::Delimiter { position: 3 })), "{last}");
        prefixed.expect(b"\0\x09two\nlines").await;
        // Without a member that has it, there is no error.
        assert_eq!(ask(&mut lines, "leave lobby").await, "true");
        let published = pool.topic("lobby").publish("two\nlines");
        assert!(published.members == 1 && published.error.is_none(), "{last}");
    }
}

/// One sender's replies, of which only the connection can encode some.
#[actix::test]
async fn encoded_and_unencoded_replies_keep_their_order() {
    let (pool, _) = subscribers().await;
    let mut peer = subscriber(&pool).await;
    let outbox = outbox(&pool, 0);
    let bytes = pool.untyped().connection(outbox.id()).unwrap();
    for n in 0..5 {
        outbox.send_encoded(pool.encode(format!("encoded {n}")).unwrap()).unwrap();
        outbox.send(format!("unencoded {n}")).unwrap();
        bytes.send(format!("bytes {n}\n")).unwrap();
    }
    for n in 0..5 {
        for kind in ["encoded", "unencoded", "bytes"] {
            assert_eq!(line(&mut peer).await, format!("{kind} {n}"));
        }
    }
}
