//! `Outbox::send_acknowledged`: replies of others.

use actix_acceptor::{Flushed, Outbox, OutboxError};
use tokio_util::codec::{Decoder, Encoder, LinesCodec, LinesCodecError};

use super::*;

#[actix::test]
async fn an_acknowledged_reply_is_with_the_kernel() {
    let (flushes, _) = Flushes::new();
    let (pool, mut peer) = memory(&flushes).await;
    eventually(|| pool.connections() == 1).await;
    let outbox = pool.connection(pool.list()[0].id).unwrap().outbox();
    // Small replies before it share its segment.
    outbox.send("a").unwrap();
    let first = outbox.send_acknowledged("b").unwrap();
    let mut last = outbox.send_acknowledged(vec![b'x'; 299_999]).unwrap();
    assert_eq!(in_time(first).await, Ok(()));
    assert!((&mut last).now_or_never().is_none());
    peer.expect(b"a\nb\n").await;
    flushes.read(&mut peer, 300_000).await;
    assert_eq!(in_time(last).await, Ok(()));
    assert_eq!(outbox.pending(), 0);
    let error = outbox.send_acknowledged("two\nlines").unwrap_err();
    assert!(matches!(error, OutboxError::Encode(_)));
    let left = outbox.send_acknowledged(vec![b'x'; 500_000]).unwrap();
    assert!(pool.kill(outbox.id()));
    assert_eq!(in_time(left).await, Err(FlushError));
    assert!(matches!(outbox.send_acknowledged("late").unwrap_err(), OutboxError::Closed(reply) if reply == "late"));
}

/// A codec that only the connection itself can use: it numbers its lines.
#[derive(Default)]
struct Numbered(u32, LinesCodec);

impl Decoder for Numbered {
    type Item = String;
    type Error = LinesCodecError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<String>, LinesCodecError> {
        self.1.decode(src)
    }
}

impl Encoder<String> for Numbered {
    type Error = LinesCodecError;

    fn encode(&mut self, line: String, dst: &mut BytesMut) -> Result<(), LinesCodecError> {
        self.0 += 1;
        self.1.encode(format!("{} {line}", self.0), dst)
    }
}

/// Waits for the flush of what others have sent to its outbox.
struct Waiting(UnboundedSender<Outbox<Waiting>>);

impl Protocol for Waiting {
    type Codec = Numbered;
    type Reply = String;
    type User = ();

    fn packet(&mut self, line: String, conn: &mut Conn<Self>) -> Next<Self> {
        match &line[..] {
            "ready" => {
                let _ = self.0.send(conn.outbox());
                Next::Continue
            }
            _ => {
                // Queued behind what the turn has taken already.
                conn.outbox().send(line).unwrap();
                conn.push("mine");
                conn.wait(conn.flushed(), |flushed, _, conn| Next::send(format!("{flushed:?} {}", conn.unsent())))
            }
        }
    }
}

#[actix::test]
async fn replies_of_any_codec_are_acknowledged() {
    let (outboxes, mut received) = unbounded_channel();
    let builder = AcceptorPool::with_codec(move |_| Waiting(outboxes.clone()), Numbered::default);
    let (_pool, script) = in_memory(builder).await;
    let mut peer = script.connect();
    peer.send("ready\n").await;
    let outbox = in_time(received.recv()).await.unwrap();
    assert_eq!(in_time(outbox.send_acknowledged("a").unwrap()).await, Ok(()));
    peer.expect(b"1 a\n").await;
    peer.send("b\n").await;
    peer.expect(b"2 mine\n3 b\n4 Ok(()) 0\n").await;
}

#[actix::test]
async fn bytes_without_content_are_acknowledged() {
    let (flushes, _) = Flushes::new();
    let (pool, mut peer) = memory(&flushes).await;
    let pool = pool.untyped();
    eventually(|| pool.connections() == 1).await;
    let outbox = pool.connection(pool.list()[0].id).unwrap().outbox();
    outbox.send("").unwrap();
    peer.send("wait 2\n").await;
    peer.expect(b"x\nflushed\n").await;
    assert_eq!(in_time(outbox.send_acknowledged("").unwrap()).await, Ok(()));
    assert_eq!(outbox.pending(), 0);
}

#[actix::test]
async fn a_push_is_acknowledged_when_its_owner_takes_it() {
    let (taken, mut received) = unbounded_channel();
    let serve = move |socket: Socket| {
        let taken = taken.clone();
        async move {
            let mut pushes = socket.pushes();
            while let Some(bytes) = pushes.recv().await {
                taken.send(bytes).unwrap();
            }
        }
    };
    let pool = AcceptorPool::with_fn(serve).on_current_arbiter().bind("127.0.0.1:0").await.unwrap().untyped();
    let _peer = connect(&pool).await;
    eventually(|| pool.connections() == 1).await;
    let outbox = pool.connection(pool.list()[0].id).unwrap().outbox();
    outbox.send("a").unwrap();
    let flushed = outbox.send_acknowledged("b").unwrap();
    assert_eq!(in_time(flushed).await, Ok(()));
    assert_eq!(received.try_recv().unwrap(), "ab");
    assert_eq!(outbox.pending(), 0);
    let flushed: Flushed = outbox.send_acknowledged("never taken").unwrap();
    assert!(pool.kill(outbox.id()));
    assert_eq!(in_time(flushed).await, Err(FlushError));
}
