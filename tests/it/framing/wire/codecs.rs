//! Codecs of tokio-util, and two custom ones with state.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use actix_acceptor::Active;
use tokio::sync::Semaphore;
use tokio_util::codec::{AnyDelimiterCodec, BytesCodec, Decoder, LengthDelimitedCodec, LinesCodec};

use super::*;

/// Sends back what its codec yields, whatever that is.
struct CodecEcho<C, R>(Recorder, std::marker::PhantomData<fn() -> (C, R)>);

impl<C, R> Protocol for CodecEcho<C, R>
where
    C: Decoder<Item: Into<R>, Error: Into<actix_acceptor::BoxError>>,
    C: Encoder<R, Error: Into<actix_acceptor::BoxError>> + 'static,
    R: Send + 'static,
{
    type Codec = C;
    type Reply = R;
    type User = ();

    fn packet(&mut self, packet: C::Item, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(packet.into())
    }

    fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
        self.0.note(why);
    }
}

async fn echo_pool<C, R>(codec: impl Fn() -> C + Send + Sync + 'static) -> (Pool<Connection<CodecEcho<C, R>>>, Closings)
where
    CodecEcho<C, R>: Protocol<Codec = C>,
{
    let (recorder, closings) = Recorder::new();
    let parrot = move |_: &_| CodecEcho(recorder.clone(), std::marker::PhantomData);
    let pool = AcceptorPool::with_codec(parrot, codec).packet_timeout(Duration::from_millis(300));
    (pool.acceptors(1).bind("127.0.0.1:0").await.unwrap(), closings)
}

#[actix::test]
async fn lines_codec_yields_strings_and_limits_length() {
    let (pool, mut closings) = echo_pool::<_, String>(|| LinesCodec::new_with_max_length(8)).await;
    let mut peer = connect(&pool).await;
    peer.echo("one\ntwo\n").await;
    peer.echo("\u{e4}\u{f6}\u{fc}\n").await;
    peer.send("12345678\n123456789\n").await;
    assert_eq!(peer.read_to_end().await, b"12345678\n");
    assert_eq!(closings.reason().await, CloseReason::TooLong);
    let mut peer = connect(&pool).await;
    peer.send(b"\xff\n").await;
    assert_eq!(peer.read_to_end().await, b"");
    assert_eq!(closings.reason().await, CloseReason::Error);
}

/// Sends pieces back as text, which is what their codec takes.
struct Pieces(Recorder);

impl Protocol for Pieces {
    type Codec = AnyDelimiterCodec;
    type Reply = String;
    type User = ();

    fn packet(&mut self, piece: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(String::from_utf8_lossy(&piece).into_owned())
    }

    fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
        self.0.note(why);
    }
}

#[actix::test]
async fn any_delimiters_codec_splits_and_limits() {
    let codec = || AnyDelimiterCodec::new_with_max_length(b",;".to_vec(), b";".to_vec(), 8);
    let (recorder, mut closings) = Recorder::new();
    let pool = AcceptorPool::with_codec(move |_| Pieces(recorder.clone()), codec);
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.send("one,two;").await;
    peer.expect(b"one;two;").await;
    peer.send("123456789,").await;
    assert_eq!(peer.read_to_end().await, b"");
    assert_eq!(closings.reason().await, CloseReason::TooLong);
}

#[actix::test]
async fn length_delimited_codec_works_with_all_options() {
    let codec =
        || LengthDelimitedCodec::builder().little_endian().length_field_length(3).max_frame_length(10).new_codec();
    let (pool, mut closings) = echo_pool::<_, Bytes>(codec).await;
    let mut peer = connect(&pool).await;
    peer.echo(b"\x05\0\0hello\0\0\0\x0a\0\x000123456789").await;
    peer.send(b"\x01\0\0.\x0b\0\0").await;
    assert_eq!(peer.read_to_end().await, b"\x01\0\0.");
    // The codec does not say how long: it is an error of its own.
    let (reason, text) = closings.next().await;
    assert!(matches!(reason, CloseReason::Error | CloseReason::TooLong), "{reason:?}: {text}");
}

#[actix::test]
async fn bytes_codec_passes_bytes_through() {
    let (pool, mut closings) = echo_pool::<_, Bytes>(BytesCodec::new).await;
    let mut peer = connect(&pool).await;
    peer.echo(b"any\0thing").await;
    peer.echo(vec![7; 100_000]).await;
    peer.finish().await;
    assert_eq!(peer.read_to_end().await, b"");
    assert_eq!(closings.reason().await, CloseReason::Peer);
}

/// Pieces up to a dot; each is numbered by those before it, in both directions.
#[derive(Default)]
struct NumberingCodec {
    come: u32,
    gone: u32,
}

impl Decoder for NumberingCodec {
    type Item = String;
    type Error = io::Error;

    fn decode(&mut self, src: &mut BytesMut) -> io::Result<Option<String>> {
        let Some(dot) = src.iter().position(|byte| *byte == b'.') else { return Ok(None) };
        self.come += 1;
        let piece = src.split_to(dot + 1);
        Ok(Some(format!("{}{}", self.come, std::str::from_utf8(&piece[..dot]).unwrap())))
    }
}

impl Encoder<String> for NumberingCodec {
    type Error = io::Error;

    fn encode(&mut self, piece: String, dst: &mut BytesMut) -> io::Result<()> {
        self.gone += 1;
        dst.extend_from_slice(format!("{}{piece}.", self.gone).as_bytes());
        Ok(())
    }
}

#[actix::test]
async fn a_stateful_codec_serves_one_connection_both_ways() {
    let (pool, mut closings) = echo_pool::<_, String>(NumberingCodec::default).await;
    let (mut one, mut other) = (connect(&pool).await, connect(&pool).await);
    one.send("a.b.").await;
    one.expect(b"11a.22b.").await;
    other.send("c.").await;
    other.expect(b"11c.").await;
    one.send("d.").await;
    one.expect(b"33d.").await;
    other.send("half").await;
    other.finish().await;
    assert_eq!(other.read_to_end().await, b"");
    assert_eq!(closings.reason().await, CloseReason::Peer);
}

/// Pieces up to a dot, numbered; after a packet timeout it goes on.
struct ContinuesAfterTimeout(UnboundedSender<Bytes>);

impl Protocol for ContinuesAfterTimeout {
    type Codec = NumberingCodec;
    type Reply = String;
    type User = ();

    fn packet(&mut self, piece: String, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(piece)
    }

    fn timeout(&mut self, timeout: Timeout, _: &mut Conn<Self>) -> Next<Self> {
        if let Timeout::Packet(partial) = timeout {
            self.0.send(partial).unwrap();
        }
        Next::Continue
    }
}

#[actix::test]
async fn a_packet_timeout_recreates_the_codec() {
    let (partial, mut partials) = unbounded_channel();
    let pool = AcceptorPool::with_protocol(move |_| ContinuesAfterTimeout(partial.clone()))
        .packet_timeout(Duration::from_millis(100));
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.send("a.b.half").await;
    peer.expect(b"11a.22b.").await;
    assert_eq!(in_time(partials.recv()).await.unwrap(), "half");
    peer.send("c.").await;
    peer.expect(b"11c.").await;
}

/// Takes all that is there at once, and yields it byte by byte with nothing left in the buffer.
#[derive(Default)]
struct BufferingCodec(VecDeque<u8>);

impl Decoder for BufferingCodec {
    type Item = u8;
    type Error = io::Error;

    fn decode(&mut self, src: &mut BytesMut) -> io::Result<Option<u8>> {
        self.0.extend(src.split());
        Ok(self.0.pop_front())
    }
}

impl Encoder<u8> for BufferingCodec {
    type Error = io::Error;

    fn encode(&mut self, byte: u8, dst: &mut BytesMut) -> io::Result<()> {
        dst.extend_from_slice(&[byte]);
        Ok(())
    }
}

#[actix::test]
async fn a_codec_may_yield_packets_from_an_empty_buffer() {
    let (pool, mut closings) = echo_pool::<_, u8>(BufferingCodec::default).await;
    let mut peer = connect(&pool).await;
    let all: Vec<u8> = (0..1000).map(|at| at as u8).collect();
    peer.echo(&all).await;
    peer.send(&all).await;
    peer.finish().await;
    assert_eq!(peer.read_to_end().await, all);
    assert_eq!(closings.reason().await, CloseReason::Peer);
}

/// Takes one byte at a time when asked to; `w` waits at the gate.
struct Slow(Arc<Semaphore>, UnboundedSender<u8>);

impl Protocol for Slow {
    type Codec = BufferingCodec;
    type Reply = u8;
    type User = Active;

    fn packet(&mut self, byte: u8, conn: &mut Conn<Self>) -> Next<Self> {
        self.1.send(byte).unwrap();
        if byte != b'w' {
            return Next::Send(byte);
        }
        let gate = self.0.clone();
        let opened = async move { gate.acquire().await.unwrap().forget() };
        conn.wait(opened, move |(), _, _| Next::Send(byte))
    }
}

#[actix::test]
async fn packets_kept_in_a_codec_wait_while_passive() {
    let (gate, (seen, mut bytes)) = (Arc::new(Semaphore::new(0)), unbounded_channel());
    let open = gate.clone();
    let pool = AcceptorPool::with_protocol(move |_| Slow(gate.clone(), seen.clone())).active(Active::Once);
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.send("abcwde").await;
    let mut next = async || in_time(bytes.recv()).await.unwrap();
    assert_eq!(next().await, b'a');
    let address = pool.find(pool.list()[0].id).unwrap();
    let set = async |mode| in_time(address.send(actix_acceptor::messages::SetActive(mode))).await.unwrap();
    set(Active::Once).await;
    assert_eq!(next().await, b'b');
    peer.expect(b"ab").await;
    set(Active::Always).await;
    assert_eq!((next().await, next().await), (b'c', b'w'));
    peer.expect(b"c").await;
    open.add_permits(1);
    assert_eq!((next().await, next().await), (b'd', b'e'));
    peer.expect(b"wde").await;
}

/// Numbers that end with a dot, with an error type of its own and tokio-util's default `decode_eof`.
#[derive(Default)]
struct NumberCodec;

#[derive(Debug)]
enum NumberError {
    NotANumber,
    Io(io::Error),
}

impl From<io::Error> for NumberError {
    fn from(error: io::Error) -> Self {
        NumberError::Io(error)
    }
}

impl std::fmt::Display for NumberError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NumberError::NotANumber => f.write_str("not a number"),
            NumberError::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NumberError {}

impl Decoder for NumberCodec {
    type Item = u64;
    type Error = NumberError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<u64>, NumberError> {
        let Some(dot) = src.iter().position(|byte| *byte == b'.') else { return Ok(None) };
        let number = src.split_to(dot + 1);
        let number = std::str::from_utf8(&number[..dot]).ok().and_then(|number| number.parse().ok());
        number.map(Some).ok_or(NumberError::NotANumber)
    }
}

impl Encoder<u64> for NumberCodec {
    type Error = NumberError;

    fn encode(&mut self, number: u64, dst: &mut BytesMut) -> Result<(), NumberError> {
        dst.extend_from_slice(format!("{number}.").as_bytes());
        Ok(())
    }
}

#[actix::test]
async fn leaving_inside_a_packet_is_the_peers_end_for_any_codec() {
    let (pool, mut closings) = echo_pool::<_, u64>(NumberCodec::default).await;
    for (sent, received, reason) in [
        ("12.34", &b"12."[..], CloseReason::Peer),
        ("12.", b"12.", CloseReason::Peer),
        // Malformed whether or not more follows.
        ("12.x.34", b"12.", CloseReason::Error),
    ] {
        let mut peer = connect(&pool).await;
        peer.send(sent).await;
        peer.finish().await;
        assert_eq!(peer.read_to_end().await, received, "{sent}");
        assert_eq!(closings.reason().await, reason, "{sent}");
    }
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn leaving_inside_a_packet_keeps_the_codecs_error() {
    let (pool, mut closings) = echo_pool::<_, u64>(NumberCodec::default).await;
    let mut peer = connect(&pool).await;
    peer.send("34").await;
    peer.finish().await;
    assert_eq!(peer.read_to_end().await, b"");
    assert_eq!(closings.next().await.1, "lost the peer: bytes remaining on stream");
    in_time(pool.stop(None)).await;
}
