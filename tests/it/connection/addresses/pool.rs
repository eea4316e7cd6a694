//! Connections by way of the pool's handle: found, listed, sent to all together.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use actix_acceptor::messages::{EncodeOnce, StatelessEncoder};
use actix_acceptor::{handlers::NoActor, info::BroadcastReport, limits::NewConnection};
use bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec};

use super::*;

#[actix::test]
async fn connections_are_found_by_id_and_listed_in_order() {
    let (builder, _words) = action_pool();
    let pool = builder.acceptors(2).bind("127.0.0.1:0").await.unwrap();
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(connect_with_address(&pool).await);
    }
    let met: Vec<_> = all.iter().map(|(_, id, address)| (*id, address.clone())).collect();
    assert_eq!(pool.addresses(), met);
    assert_eq!(pool.list().iter().map(|info| info.id.get()).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert!(met.iter().all(|(id, address)| pool.find(*id).as_ref() == Some(address)));
    assert_eq!(pool.find(99.into()), None);
    assert!(!pool.kill(99.into()));
    assert!(pool.kill(met[2].0));
    all[2].0.until_gone().await;
    eventually(|| pool.connections() == 4).await;
    assert_eq!(pool.find(met[2].0), None);
    assert_eq!(pool.addresses().len(), 4);
    all[3].0.echo("no other is touched\n").await;
}

#[actix::test]
async fn a_handle_can_be_asked_for_its_type() {
    let (pool, mut peer, address, _words) = action_connection().await;
    let untyped = pool.untyped();
    assert!(untyped.typed::<Connection<Echo>>().is_none() && untyped.typed::<NoActor>().is_none());
    let typed: Pool<Connection<ActionProtocol>> = untyped.typed().unwrap();
    assert_eq!(typed.addresses(), [(typed.list()[0].id, address)]);
    assert_eq!(typed.broadcast("typed".into()).unwrap().delivered, 1);
    peer.expect(b"typed\n").await;
}

/// Counts what it encodes; refuses `bad`.
struct Counting(Arc<AtomicUsize>);

impl EncodeOnce for Counting {}

impl Encoder<&'static str> for Counting {
    type Error = io::Error;

    fn encode(&mut self, reply: &'static str, dst: &mut BytesMut) -> io::Result<()> {
        self.0.fetch_add(1, Relaxed);
        dst.extend_from_slice(reply.as_bytes());
        if reply == "bad" {
            return Err(io::Error::other("refused"));
        }
        Ok(())
    }
}

impl Decoder for Counting {
    type Item = BytesMut;
    type Error = io::Error;

    fn decode(&mut self, _: &mut BytesMut) -> io::Result<Option<BytesMut>> {
        Ok(None)
    }
}

struct Listener;

impl Protocol for Listener {
    type Codec = Counting;
    type Reply = &'static str;
    type User = ();

    fn packet(&mut self, _: BytesMut, _: &mut Conn<Self>) -> Next<Self> {
        Next::Continue
    }
}

#[actix::test]
async fn a_broadcast_is_encoded_once() {
    let encoded = Arc::new(AtomicUsize::new(0));
    let count = encoded.clone();
    let pool = AcceptorPool::with_codec(|_| Listener, move || Counting(count.clone()));
    let pool = pool.acceptors(2).bind("127.0.0.1:0").await.unwrap();
    assert_eq!(pool.broadcast("nobody hears").unwrap(), BroadcastReport::default());
    encoded.store(0, Relaxed);
    let mut peers = Vec::new();
    for _ in 0..6 {
        peers.push(connect_with_address(&pool).await.0);
    }
    let delivered = pool.broadcast("to all of you").unwrap();
    assert_eq!((delivered.delivered, delivered.full.len()), (6, 0));
    for peer in &mut peers {
        peer.expect(b"to all of you").await;
    }
    assert_eq!(encoded.load(Relaxed), 1);
    // A reply that the codec refuses is not sent at all, not even the half that was written.
    assert_eq!(pool.broadcast("bad").unwrap_err().to_string(), "refused");
    assert_eq!(pool.broadcast("next").unwrap().delivered, 6);
    for peer in &mut peers {
        peer.expect(b"next").await;
    }
}

#[actix::test]
async fn notify_all_reaches_every_connection() {
    let (builder, mut words) = action_pool();
    let pool = builder.acceptors(2).bind("127.0.0.1:0").await.unwrap();
    let mut peers = Vec::new();
    for _ in 0..4 {
        peers.push(connect_with_address(&pool).await);
        words.expect(&["ack"]).await;
    }
    assert_eq!(pool.notify_all(say("told").0).delivered, 4);
    words.expect(&["told"; 4]).await;
}

#[actix::test]
async fn a_full_mailbox_is_reported_and_skipped() {
    const CAPACITY: usize = 3;
    let (builder, mut words) = action_pool();
    let pool = builder.mailbox_capacity(CAPACITY).bind("127.0.0.1:0").await.unwrap();
    let (mut waiting, id, address) = connect_with_address(&pool).await;
    let (mut free, ..) = connect_with_address(&pool).await;
    words.expect(&["ack", "ack"]).await;
    let gate = Gate::new();
    in_time(address.send(wait_at(&gate, "done"))).await.unwrap();
    // One at a time, so that the other's mailbox is empty again.
    for _ in 0..CAPACITY {
        let delivered = pool.notify_all(say("told").0);
        assert_eq!((delivered.delivered, &delivered.full[..]), (2, &[][..]));
        words.expect(&["told"]).await;
        free.echo("through\n").await;
        words.expect(&["through"]).await;
    }
    for _ in 0..3 {
        let delivered = pool.notify_all(say("told").0);
        assert_eq!((delivered.delivered, &delivered.full[..]), (1, &[id][..]));
        words.expect(&["told"]).await;
        // Replies do not pass through the mailbox.
        assert_eq!(pool.broadcast("to all".into()).unwrap().delivered, 2);
        free.expect(b"to all\n").await;
        waiting.expect(b"to all\n").await;
    }
    gate.open();
    words.expect(&["done"]).await;
    words.expect(&["told"; CAPACITY]).await;
    // Once it has taken its mail there is room again.
    in_time(address.send(say("room"))).await.unwrap();
    words.expect(&["room"]).await;
    assert_eq!(pool.notify_all(say("told").0).delivered, 2);
    words.expect(&["told"; 2]).await;
    assert!(words.none());
}

#[actix::test]
async fn a_connection_that_got_a_broadcast_is_freed() {
    let owned = Arc::new(());
    let alive = Arc::downgrade(&owned);
    let overload = move |_: &NewConnection<'_>| Arc::strong_count(&owned) == 0;
    let pool = AcceptorPool::with_protocol(|_| Echo).overload(overload).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("hello").await;
    assert_eq!(pool.broadcast("all".into()).unwrap().delivered, 1);
    peer.expect(b"all").await;
    in_time(pool.stop(None)).await;
    drop(pool);
    // Each connection keeps the limits of its pool alive, and thus the hook.
    eventually(|| alive.upgrade().is_none()).await;
}

/// Speaks a codec of another crate.
struct Foreign;

impl Protocol for Foreign {
    type Codec = StatelessEncoder<LengthDelimitedCodec>;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: BytesMut, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(packet.freeze())
    }
}

#[actix::test]
async fn a_codec_of_another_crate_can_broadcast() {
    let pool = AcceptorPool::with_protocol(|_| Foreign).acceptors(2).bind("127.0.0.1:0").await.unwrap();
    let mut peers = Vec::new();
    for _ in 0..3 {
        let mut peer = connect(&pool).await;
        peer.echo(b"\0\0\0\x05hello").await;
        peers.push(peer);
    }
    assert_eq!(pool.broadcast("news".into()).unwrap().delivered, 3);
    for peer in &mut peers {
        peer.expect(b"\0\0\0\x04news").await;
    }
    let encoded = pool.encode("for one".into()).unwrap();
    let one = pool.find(pool.list()[1].id).unwrap();
    in_time(one.send(encoded)).await.unwrap().unwrap();
    peers[1].expect(b"\0\0\0\x07for one").await;
    assert!(pool.encode(vec![0; 9 << 20].into()).is_err());
    in_time(pool.stop(None)).await;
    assert!(matches!(pool.encode("late".into()), Err(actix_acceptor::SendError::Closed)));
}

/// A message whose third clone panics.
struct Fragile(Arc<AtomicUsize>);

impl Clone for Fragile {
    fn clone(&self) -> Self {
        assert!(self.0.fetch_add(1, Relaxed) < 2, "the third clone");
        Fragile(self.0.clone())
    }
}

/// Joins a topic, and reports each message.
struct Member(UnboundedSender<()>);

impl Protocol for Member {
    type Codec = Framing;
    type Reply = Bytes;
    type User = Fragile;

    fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        conn.join(&conn.pool().topic("all"));
        Next::Continue
    }

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(packet)
    }

    fn user(&mut self, _: Fragile, _: &mut Conn<Self>) -> Next<Self> {
        let _ = self.0.send(());
        Next::Continue
    }
}

#[actix::test]
async fn a_panicking_clone_delays_no_message_before_it() {
    let (words, mut received) = unbounded_channel();
    let pool =
        AcceptorPool::with_protocol(move |_| Member(words.clone())).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let mut peers = Vec::new();
    for _ in 0..3 {
        let mut peer = connect(&pool).await;
        peer.echo("hello").await;
        peers.push(peer);
    }
    let topic = pool.topic("all");
    let sends: [&dyn Fn(Fragile) -> BroadcastReport; 2] =
        [&|message| pool.notify_all(message), &|message| topic.notify(message)];
    for send in sends {
        let message = Fragile(Arc::default());
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| send(message))).unwrap_err();
        for _ in 0..2 {
            in_time(received.recv()).await.unwrap();
        }
    }
}
