//! What a protocol may do about bytes that its codec cannot decode.

use std::future::pending;
use std::io;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{channel, Receiver};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_acceptor::{
    telemetry::CloseReason, AcceptorPool, BoxError, Closed, Conn, Connection, ConnectionInfo, Event, Framing, Init,
    Next, Pool, Protocol, Wait,
};
use bytes::{Buf, Bytes, BytesMut};
use support::*;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};
use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec, LinesCodec};

#[actix::test]
async fn a_packet_too_long_can_be_answered_with_any_next() {
    type Answer = fn() -> Next<Probe>;
    let answers: [(Answer, CloseReason, &[u8]); 6] = [
        (|| Next::Stop, CloseReason::TooLong, b""),
        (|| Next::SendAndStop("long".into()), CloseReason::TooLong, b"long"),
        (|| Next::fail("no good"), CloseReason::Error, b""),
        // These let the codec go on, which fails at the same byte.
        (|| Next::Continue, CloseReason::TooLong, b""),
        (|| Next::send("long"), CloseReason::TooLong, b"long"),
        (|| Next::send_all(["lo", "ng"]), CloseReason::TooLong, b""),
    ];
    for framing in [Framing::lines(), Framing::len2(), Framing::delimiter(";")] {
        let wire = |packet: &[u8]| {
            let (mut framing, mut wire) = (framing.clone(), BytesMut::new());
            framing.encode(Bytes::copy_from_slice(packet), &mut wire).unwrap();
            wire.to_vec()
        };
        for (number, (answer, reason, sent)) in answers.into_iter().enumerate() {
            let (builder, mut callbacks) = Probe::pool(move |call, _| match call {
                Call::DecodeError(_) => answer(),
                Call::Packet(packet) => Next::Send(packet.clone()),
                call => protocol_default(call),
            });
            let pool = builder.framing(framing.clone().with_max_frame(8)).bind("127.0.0.1:0").await.unwrap();
            let mut peer = connect(&pool).await;
            // More than the kernel buffers: the answer is not lost by a reset.
            peer.send([wire(b"12345678"), wire(b"123456789"), wire(&[b'x'; 60_000])].concat()).await;
            let answered = match number {
                5 => [wire(b"lo"), wire(b"ng")].concat(),
                _ if sent.is_empty() => Vec::new(),
                _ => wire(sent),
            };
            assert_eq!(peer.read_to_end().await, [wire(b"12345678"), answered].concat(), "{framing} {number}");
            assert_eq!(callbacks.closed().await.0, reason, "{framing} {number}");
            in_time(pool.stop(Duration::ZERO)).await;
            assert_eq!((pool.info().closed.get(reason), pool.info().closed.total()), (1, 1));
        }
    }
}

/// What is answered to a decode error.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Continue,
    Send,
    SendAndStop,
}

/// Sends every line back, and reports what it sees.
struct Answers<C> {
    answer: Answer,
    log: UnboundedSender<String>,
    codec: PhantomData<fn() -> C>,
}

impl<C> Protocol for Answers<C>
where
    C: Decoder<Item = String, Error: Into<BoxError>> + Encoder<String, Error: Into<BoxError>> + 'static,
{
    type Codec = C;
    type Reply = String;
    type User = ();

    fn packet(&mut self, line: String, conn: &mut Conn<Self>) -> Next<Self> {
        if line == "wait" {
            let until_peer_leaves = Wait::new().until_peer_leaves();
            return conn.wait_with(until_peer_leaves, pending::<()>(), |_, _, _| Next::send("waited"));
        }
        Next::Send(line)
    }

    fn decode_error(&mut self, error: &BoxError, _: &mut Conn<Self>) -> Next<Self> {
        self.log.send(error.to_string()).unwrap();
        match self.answer {
            Answer::Continue => Next::Continue,
            Answer::Send => Next::send(format!("error: {error}")),
            Answer::SendAndStop => Next::SendAndStop(format!("error: {error}")),
        }
    }

    fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
        self.log.send(format!("{:?}", why.reason())).unwrap();
    }
}

/// A pool of one acceptor with such protocols, and what they see.
async fn answering<C>(
    codec: impl Fn() -> C + Send + Sync + 'static,
    answer: Answer,
) -> (Pool<Connection<Answers<C>>>, UnboundedReceiver<String>)
where
    Answers<C>: Protocol<Codec = C>,
{
    let (log, seen) = unbounded_channel();
    let factory = move |_: &_| Answers { answer, log: log.clone(), codec: PhantomData };
    let builder = AcceptorPool::with_codec(factory, codec).acceptors(1).packet_timeout(None).max_read_buffer(5000);
    (builder.bind("127.0.0.1:0").await.unwrap(), seen)
}

const TOO_LONG: &str = "max line length exceeded";

#[actix::test]
async fn a_codec_that_skips_what_it_cannot_decode_goes_on() {
    let (pool, mut seen) = answering(|| LinesCodec::new_with_max_length(8), Answer::Send).await;
    let mut peer = connect(&pool).await;
    peer.send(b"one\nfar too long\ntwo\n\xff\nthree\n").await;
    peer.expect(b"one\nerror: max line length exceeded\ntwo\n").await;
    peer.expect(b"error: Unable to decode input as UTF8\nthree\n").await;
    // One line in many reads is one error.
    for _ in 0..20 {
        peer.send(vec![b'x'; 20_000]).await;
    }
    peer.send("\nfour\n").await;
    peer.expect(b"error: max line length exceeded\nfour\n").await;
    // The peer shuts down its sending side behind the error.
    peer.send("wait\nfar too long\nfive\n").await;
    peer.finish().await;
    assert_eq!(peer.read_to_end().await, b"waited\nerror: max line length exceeded\nfive\n");
    for expected in [TOO_LONG, "Unable to decode input as UTF8", TOO_LONG, TOO_LONG, "Peer"] {
        assert_eq!(in_time(seen.recv()).await.unwrap(), expected);
    }
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn above_max_read_buffer_any_answer_ends_the_connection() {
    for answer in [Answer::Continue, Answer::Send, Answer::SendAndStop] {
        let (pool, mut seen) = answering(LinesCodec::new, answer).await;
        let mut peer = connect(&pool).await;
        peer.send(vec![b'x'; 60_000]).await;
        let error = in_time(seen.recv()).await.unwrap();
        assert!(error.starts_with("received a packet") && error.ends_with("the limit is 5000"), "{error}");
        assert_eq!(in_time(seen.recv()).await.unwrap(), "TooLong");
        let sent = if let Answer::Continue = answer { String::new() } else { format!("error: {error}\n") };
        assert_eq!(peer.read_to_end().await, sent.as_bytes(), "{answer:?}");
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

/// Lines with a prefix: tokio-util's codec fails if the input ends within a packet.
struct Prefixed(LengthDelimitedCodec);

impl Decoder for Prefixed {
    type Item = String;
    type Error = io::Error;

    fn decode(&mut self, read: &mut BytesMut) -> io::Result<Option<String>> {
        Ok(self.0.decode(read)?.map(|packet| String::from_utf8_lossy(&packet).into_owned()))
    }
}

impl Encoder<String> for Prefixed {
    type Error = io::Error;

    fn encode(&mut self, reply: String, write: &mut BytesMut) -> io::Result<()> {
        self.0.encode(Bytes::from(reply), write)
    }
}

#[actix::test]
async fn a_packet_cut_off_by_the_end_of_input_is_no_decode_error() {
    let codec = || Prefixed(LengthDelimitedCodec::builder().length_field_length(1).max_frame_length(40).new_codec());
    let (pool, mut seen) = answering(codec, Answer::Send).await;
    let mut peer = connect(&pool).await;
    peer.send("\x03one\x03tw").await;
    peer.finish().await;
    assert_eq!(peer.read_to_end().await, b"\x03one");
    assert_eq!(in_time(seen.recv()).await.unwrap(), "Peer");
    // This codec does not skip what it rejects.
    let mut peer = connect(&pool).await;
    peer.send("\x03one\x29").await;
    let answer = peer.read_to_end().await;
    assert!(answer.starts_with(b"\x03one") && answer.len() > 4, "{}", answer.escape_ascii());
    assert_eq!(in_time(seen.recv()).await.unwrap(), "frame size too big");
    assert_eq!(in_time(seen.recv()).await.unwrap(), "Error");
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn decode_error_may_change_the_codec() {
    let (builder, mut callbacks) = Probe::pool(|call, conn| match call {
        Call::DecodeError(_) => {
            conn.set_framing(Framing::raw());
            Next::Continue
        }
        call => protocol_default(call),
    });
    let pool = builder.framing(Framing::lines().with_max_frame(4)).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.send("one\ntoo long").await;
    callbacks.until(&Call::packet("one")).await;
    callbacks.until(&Call::packet("too long")).await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_callback_that_panics_at_a_decode_error_ends_one_connection() {
    let (builder, mut callbacks) = Probe::pool(|call, _| match call {
        Call::DecodeError(_) => panic!("as asked"),
        Call::Packet(packet) => Next::Send(packet.clone()),
        call => protocol_default(call),
    });
    let builder = builder.framing(Framing::lines().with_max_frame(4));
    let pool = builder.acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let (mut peer, mut other) = (connect(&pool).await, connect(&pool).await);
    peer.send("too long\n").await;
    assert_eq!(callbacks.closed().await, (CloseReason::Panic, "a callback panicked: as asked".to_owned()));
    peer.until_gone().await;
    other.echo("four\n").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn with_events_gets_the_text_of_a_decode_error() {
    for (answers, sent) in [(true, "bad: received a packet of at least 9 bytes, the limit is 4"), (false, "")] {
        let pool = AcceptorPool::with_events(
            |_| Init::new(()),
            move |(), event, _| match event {
                Event::DecodeError(error) if answers => Next::SendAndStop(format!("bad: {error}").into()),
                event => event.default_next(),
            },
        );
        let pool = pool.framing(Framing::len1().with_max_frame(4)).bind("127.0.0.1:0").await.unwrap();
        let mut peer = connect(&pool).await;
        peer.send("\x09").await;
        let received = peer.read_to_end().await;
        assert_eq!(&received[usize::from(answers)..], sent.as_bytes());
        in_time(pool.stop(Duration::ZERO)).await;
        assert_eq!(pool.info().closed.get(CloseReason::TooLong), 1);
    }
}

/// Rejects every `x`, one at a time, and takes any other byte for a packet.
struct Picky;

impl Decoder for Picky {
    type Item = u8;
    type Error = BoxError;

    fn decode(&mut self, read: &mut BytesMut) -> Result<Option<u8>, BoxError> {
        match read.first().copied() {
            None => Ok(None),
            Some(byte) => {
                read.advance(1);
                if byte == b'x' {
                    Err("x".into())
                } else {
                    Ok(Some(byte))
                }
            }
        }
    }
}

impl Encoder<Bytes> for Picky {
    type Error = BoxError;

    fn encode(&mut self, reply: Bytes, write: &mut BytesMut) -> Result<(), BoxError> {
        write.extend_from_slice(&reply);
        Ok(())
    }
}

/// Counts the errors of all connections. The first one waits until it may go on.
struct CountsErrors(Arc<AtomicUsize>, Arc<Mutex<Receiver<()>>>);

impl Protocol for CountsErrors {
    type Codec = Picky;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, _: u8, _: &mut Conn<Self>) -> Next<Self> {
        Next::send(self.0.load(Relaxed).to_string())
    }

    fn decode_error(&mut self, _: &BoxError, _: &mut Conn<Self>) -> Next<Self> {
        if self.0.fetch_add(1, Relaxed) == 0 {
            self.1.lock().unwrap().recv_timeout(TIME_LIMIT).unwrap();
        }
        Next::Continue
    }
}

#[actix::test]
async fn decode_errors_count_for_the_budget_of_a_turn() {
    const ERRORS: usize = 10_000;
    let (go_on, gate) = channel();
    let (count, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(gate)));
    let shared = count.clone();
    let pool = AcceptorPool::with_codec(move |_| CountsErrors(shared.clone(), gate.clone()), || Picky).acceptors(1);
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    let (mut peer, mut other) = (connect(&pool).await, connect(&pool).await);
    eventually(|| pool.connections() == 2).await;
    peer.send(vec![b'x'; ERRORS]).await;
    eventually(|| count.load(Relaxed) == 1).await;
    // In the kernel while the arbiter is blocked.
    other.send("?").await;
    go_on.send(()).unwrap();
    let mut answer = [0; 8];
    let length = in_time(other.0.read(&mut answer)).await.unwrap();
    let errors: usize = std::str::from_utf8(&answer[..length]).unwrap().parse().unwrap();
    assert!((1..ERRORS / 10).contains(&errors), "another connection waited for {errors} errors");
    eventually(|| count.load(Relaxed) == ERRORS).await;
    in_time(pool.stop(Duration::ZERO)).await;
}
