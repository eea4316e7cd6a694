//! [`ReplyEncodings`], one reply encoded once for each format among the connections that it is sent to.

use std::any::{Any, TypeId};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio_util::codec::Encoder;

use super::PoolState;
use crate::connection::{own, Protocol, ProtocolFactory, SendError, SharedFactory};
use crate::framing::Framing;
use crate::registry::{Format, Formats, Payload};
use crate::topics::Encodings;

/// A reply, and its encodings so far. Requires a codec that implements [`EncodeOnce`](crate::messages::EncodeOnce).
pub(super) struct ReplyEncodings<'a, P: Protocol> {
    reply: P::Reply,
    formats: &'a Formats,
    /// `None` once the pool has ended.
    factory: Option<Arc<ProtocolFactory<P>>>,
    encoded: Vec<(Format, Bytes)>,
    pub(super) error: Option<SendError>,
}

impl<'a, P: Protocol<Reply: Clone>> ReplyEncodings<'a, P> {
    /// Encodes the reply for the most likely format.
    pub(super) fn new(pool: &'a PoolState, reply: P::Reply) -> Self {
        let formats = &pool.registries().shared().formats;
        let factory = pool.handler::<SharedFactory<P>>().map(|factory| factory.current());
        let mut encodings = ReplyEncodings { reply, formats, factory, encoded: Vec::new(), error: None };
        if formats.latest() != Format::OWN {
            drop(encodings.encode(formats.latest()));
        }
        encodings
    }

    /// A codec of this format. `None` if only the connection's own codec is one.
    fn codec(&self, format: Format) -> Option<P::Codec> {
        if TypeId::of::<P::Codec>() == TypeId::of::<Framing>() {
            let codec: &mut dyn Any = &mut Some(self.formats.framing(format)?);
            return codec.downcast_mut::<Option<P::Codec>>()?.take();
        }
        let factory = self.factory.as_ref().filter(|factory| factory.has_format(format))?;
        factory.make_shared_codec()
    }
}

impl<P: Protocol<Reply: Clone>> Encodings for ReplyEncodings<'_, P> {
    #[inline]
    fn encoded(&self, format: Format) -> Option<Payload<'_>> {
        self.encoded.iter().find(|(known, _)| *known == format).map(|(_, bytes)| Payload::Encoded(bytes, Some(format)))
    }

    fn encode(&mut self, format: Format) -> Option<Payload<'_>> {
        if self.error.is_some() {
            return None;
        }
        if let Some(known) = self.encoded.iter().position(|(known, _)| *known == format) {
            return Some(Payload::Encoded(&self.encoded[known].1, Some(format)));
        }
        let bytes = match self.codec(format) {
            None if format == Format::BYTES => {
                let reply: &dyn Any = &self.reply;
                own(reply.downcast_ref::<Bytes>()?.clone())
            }
            Some(mut codec) => {
                let mut wire = BytesMut::new();
                if let Err(error) = codec.encode(self.reply.clone(), &mut wire) {
                    self.error = Some(SendError::from_codec(error.into()));
                    return None;
                }
                wire.freeze()
            }
            None => {
                let reply = self.reply.clone();
                let size = P::reply_size(&reply);
                return Some(Payload::Reply(Box::new(reply), size));
            }
        };
        self.encoded.push((format, bytes));
        self.encoded(format)
    }
}

/// Bytes that are sent as they are, whatever the codec of a connection.
pub(super) struct RawBytes(pub(super) Bytes);

impl Encodings for RawBytes {
    #[inline]
    fn encoded(&self, _: Format) -> Option<Payload<'_>> {
        Some(Payload::Encoded(&self.0, None))
    }

    fn encode(&mut self, format: Format) -> Option<Payload<'_>> {
        self.encoded(format)
    }
}
