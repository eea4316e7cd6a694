//! Other people's codecs: what they decode is a packet, what they say is how the connection ends.

mod support;

use std::io;
use std::marker::PhantomData;
use std::time::Duration;

use actix_acceptor::{AcceptorPool, BoxError, Closed, Conn, Next, Packet, Protocol, Reason, Timeout};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use support::*;
use tokio_util::codec::{AnyDelimiterCodec, BytesCodec, Decoder, Encoder, LengthDelimitedCodec, LinesCodec};

/// Echoes by any codec.
struct Mirror<C, R>(Recorder, PhantomData<fn() -> (C, R)>);

impl<C, R> Protocol for Mirror<C, R>
where
    C: Decoder<Item: Into<R>, Error: Into<BoxError>> + Encoder<R, Error: Into<BoxError>> + 'static,
    R: Send + 'static,
{
    type Codec = C;
    type Reply = R;
    type User = ();

    fn packet(&mut self, packet: Packet<Self>, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(packet.into())
    }

    fn timeout(&mut self, timeout: Timeout, _: &mut Conn<Self>) -> Next<Self> {
        match timeout {
            Timeout::Packet(_) => Next::Continue,
            _ => Next::Stop,
        }
    }

    fn closed(&mut self, why: &Closed) {
        self.0.note(why);
    }
}

/// What goes in, what comes out, and how it ends with the FIN behind it.
async fn mirror<C, R>(codec: impl Fn() -> C + Send + Sync + 'static, sent: &[u8], read: &[u8]) -> (Reason, String)
where
    C: Decoder<Item: Into<R>, Error: Into<BoxError>> + Encoder<R, Error: Into<BoxError>> + 'static,
    R: Send + 'static,
{
    let (recorder, mut closings) = Recorder::new();
    let builder =
        AcceptorPool::protocol_with_codec(move |_| Mirror(recorder.clone(), PhantomData::<fn() -> (C, R)>), codec);
    let pool = builder.acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.send(sent).await;
    peer.finish().await;
    let echoed = peer.until_gone().await;
    assert_eq!(echoed, read, "{}", echoed.escape_ascii());
    closings.next().await
}

#[actix::test]
async fn any_codec_of_tokio_util_will_do() {
    assert_eq!(mirror::<_, String>(LinesCodec::new, b"a\nb\r\nlast", b"a\nb\nlast\n").await.0, Reason::Peer);
    assert_eq!(mirror::<_, Bytes>(BytesCodec::new, b"anything", b"anything").await.0, Reason::Peer);
    let length = LengthDelimitedCodec::new;
    assert_eq!(mirror::<_, Bytes>(length, b"\0\0\0\x01a\0\0\0\0", b"\0\0\0\x01a\0\0\0\0").await.0, Reason::Peer);
    let any = || AnyDelimiterCodec::new(b",;".to_vec(), b"!".to_vec());
    assert_eq!(mirror::<_, String>(move || Text(any()), b"a,b;c", b"a!b!c!").await.0, Reason::Peer);
}

/// [`AnyDelimiterCodec`] encodes what can be seen as text.
struct Text(AnyDelimiterCodec);

impl Decoder for Text {
    type Item = String;
    type Error = <AnyDelimiterCodec as Decoder>::Error;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<String>, Self::Error> {
        Ok(self.0.decode(src)?.map(|chunk| String::from_utf8_lossy(&chunk).into()))
    }

    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<String>, Self::Error> {
        Ok(self.0.decode_eof(src)?.map(|chunk| String::from_utf8_lossy(&chunk).into()))
    }
}

impl Encoder<String> for Text {
    type Error = <AnyDelimiterCodec as Decoder>::Error;

    fn encode(&mut self, text: String, dst: &mut BytesMut) -> Result<(), Self::Error> {
        self.0.encode(text, dst)
    }
}

#[actix::test]
async fn what_a_codec_says_is_how_the_connection_ends() {
    let short = || LinesCodec::new_with_max_length(4);
    assert_eq!(mirror::<_, String>(short, b"ok\n12345\nmore\n", b"ok\n").await.0, Reason::TooLong);
    let (reason, why) = mirror::<_, String>(LinesCodec::new, b"ok\n\xff\n", b"ok\n").await;
    assert_eq!(reason, Reason::Error, "{why}");
    let (reason, why) =
        mirror::<_, Bytes>(LengthDelimitedCodec::new, b"\0\0\0\x01a\0\0\0\x09half", b"\0\0\0\x01a").await;
    assert_eq!((reason, &*why), (Reason::Error, "bytes remaining on stream"));
}

/// Numbers what it sends, expects numbers in what comes: one codec for both directions, with a memory.
#[derive(Default)]
struct Numbered {
    came: u8,
    went: u8,
}

impl Decoder for Numbered {
    type Item = u8;
    type Error = io::Error;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<u8>, io::Error> {
        if src.len() < 2 {
            return Ok(None);
        }
        let (number, payload) = (src.get_u8(), src.get_u8());
        if number != self.came {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{number} instead of {}", self.came)));
        }
        self.came += 1;
        Ok(Some(payload))
    }
}

impl Encoder<u8> for Numbered {
    type Error = io::Error;

    fn encode(&mut self, payload: u8, dst: &mut BytesMut) -> Result<(), io::Error> {
        dst.put_slice(&[self.went, payload]);
        self.went += 1;
        Ok(())
    }
}

#[actix::test]
async fn a_codec_with_a_memory_keeps_it_per_connection() {
    for _ in 0..2 {
        assert_eq!(mirror::<Numbered, u8>(Numbered::default, b"\0a\x01b\x02c", b"\0a\x01b\x02c").await.0, Reason::Peer);
    }
    let (reason, why) = mirror::<Numbered, u8>(Numbered::default, b"\0a\x05b", b"\0a").await;
    assert_eq!((reason, &*why), (Reason::Error, "5 instead of 1"));
}

#[actix::test]
async fn after_a_packet_timeout_the_codec_is_made_anew() {
    let (recorder, _closings) = Recorder::new();
    let state = move |_: &_| Mirror(recorder.clone(), PhantomData::<fn() -> (Numbered, u8)>);
    let builder =
        AcceptorPool::protocol_with_codec(state, Numbered::default).packet_timeout(Duration::from_millis(100));
    let pool = builder.acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo(b"\0a\x01b").await;
    peer.send(b"\x02").await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    peer.echo(b"\0c").await;
}
