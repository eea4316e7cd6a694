//! [`EncodeOnce`], implemented by codecs whose output may be sent to many connections.

use bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder};

use crate::framing::Framing;

/// An encoder whose output depends only on the reply, not on earlier replies, so that bytes encoded once may be sent to many
/// connections.
///
/// Implement it for a codec of your own. For a codec of another crate, use [`StatelessEncoder`].
#[diagnostic::on_unimplemented(
    message = "the output of codec `{Self}` may depend on earlier replies, so it cannot be sent to many connections",
    note = "wrap the codec in `messages::StatelessEncoder`, or implement `EncodeOnce` for a codec of your own, if its encoder \
            keeps no state"
)]
pub trait EncodeOnce {}

impl EncodeOnce for Framing {}

/// Wraps a codec of another crate whose encoder keeps no state: the output of `encode` depends only on the reply.
///
/// It decodes and encodes as the inner codec does, and implements [`EncodeOnce`], which
/// [`Pool::broadcast`](crate::Pool::broadcast) requires and which cannot be implemented for a type of another crate. Do not
/// use it for a codec that numbers, compresses or encrypts its output across replies: peers could not decode a broadcast.
///
/// It does not check replies: only [`Framing`] rejects a reply that contains its delimiter. With `LinesCodec`, for example, a
/// reply with a line feed arrives as two lines.
///
/// ```
/// use actix_acceptor::{messages::StatelessEncoder, AcceptorPool, Conn, Next, Protocol};
/// use bytes::{Bytes, BytesMut};
/// use tokio_util::codec::LengthDelimitedCodec;
///
/// struct Subscriber;
///
/// impl Protocol for Subscriber {
///     type Codec = StatelessEncoder<LengthDelimitedCodec>;
///     type Reply = Bytes;
///     type User = ();
///
///     fn packet(&mut self, _: BytesMut, _: &mut Conn<Self>) -> Next<Self> {
///         Next::Continue
///     }
/// }
///
/// # use std::io::Read;
/// # actix_rt::System::new().block_on(async {
/// let codec = || StatelessEncoder(LengthDelimitedCodec::builder().length_field_length(2).new_codec());
/// let pool = AcceptorPool::with_codec(|_| Subscriber, codec).bind("127.0.0.1:0").await?;
/// # let addr = pool.local_addr().expect("TCP");
/// # let mut peer = std::net::TcpStream::connect(addr)?;
/// # while pool.addresses().is_empty() { tokio::task::yield_now().await }
/// assert_eq!(pool.broadcast(Bytes::from_static(b"news"))?.delivered, 1);
/// # let received = tokio::task::spawn_blocking(move || {
/// #     let mut received = [0; 6];
/// #     peer.read_exact(&mut received).map(|()| received)
/// # }).await??;
/// // The peer receives:
/// assert_eq!(&received, b"\0\x04news");
/// # pool.stop(None).await;
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct StatelessEncoder<C>(pub C);

impl<C> EncodeOnce for StatelessEncoder<C> {}

impl<C: Decoder> Decoder for StatelessEncoder<C> {
    type Item = C::Item;
    type Error = C::Error;

    #[inline]
    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<C::Item>, C::Error> {
        self.0.decode(src)
    }

    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<C::Item>, C::Error> {
        self.0.decode_eof(src)
    }
}

impl<C: Encoder<R>, R> Encoder<R> for StatelessEncoder<C> {
    type Error = C::Error;

    #[inline]
    fn encode(&mut self, reply: R, dst: &mut BytesMut) -> Result<(), C::Error> {
        self.0.encode(reply, dst)
    }
}
