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
    pool: &'a PoolState,
    /// The first of the factories of this protocol. `None` once the pool has ended.
    factory: Option<Arc<ProtocolFactory<P>>>,
    /// An error is moved to `error` when a connection with its format is reached.
    encoded: Vec<(Format, Result<Bytes, Option<SendError>>)>,
    pub(super) error: Option<SendError>,
}

impl<'a, P: Protocol<Reply: Clone>> ReplyEncodings<'a, P> {
    /// Encodes the reply for the most likely format.
    pub(super) fn new(pool: &'a PoolState, reply: P::Reply) -> Self {
        let factory = pool.factory::<SharedFactory<P>>().map(|factory| factory.current());
        let mut encodings = ReplyEncodings { reply, pool, factory, encoded: Vec::new(), error: None };
        let latest = encodings.formats().latest();
        if latest != Format::OWN {
            encodings.encode_for(latest);
        }
        encodings
    }

    /// As [`new`](Self::new); an error if the pool has ended.
    pub(super) fn running(pool: &'a PoolState, reply: P::Reply) -> Result<Self, SendError> {
        let encodings = Self::new(pool, reply);
        if encodings.factory.is_none() {
            return Err(SendError::Closed);
        }
        Ok(encodings)
    }

    fn formats(&self) -> &'a Formats {
        &self.pool.registries().shared().formats
    }

    /// A codec of this format. `None` if only the connection's own codec is one.
    fn codec(&self, format: Format) -> Option<P::Codec> {
        if TypeId::of::<P::Codec>() == TypeId::of::<Framing>() {
            let codec: &mut dyn Any = &mut Some(self.formats().framing(format)?);
            return codec.downcast_mut::<Option<P::Codec>>()?.take();
        }
        let id = self.formats().factory(format)?;
        if let Some(factory) = self.factory.as_ref().filter(|factory| factory.id() == id) {
            return factory.make_shared_codec();
        }
        // Several listeners may have a service for this protocol, each with a codec factory.
        let mut factories = self.pool.factories::<SharedFactory<P>>().map(|factory| factory.current());
        factories.find(|factory| factory.id() == id)?.make_shared_codec()
    }

    /// Encodes the reply for a format for which it was not encoded before. False if only the connection's own codec can.
    fn encode_for(&mut self, format: Format) -> bool {
        let bytes = match self.codec(format) {
            Some(mut codec) => {
                let mut wire = BytesMut::new();
                let encoded = codec.encode(self.reply.clone(), &mut wire);
                encoded.map(|()| wire.freeze()).map_err(|error| Some(SendError::from_codec(error.into())))
            }
            // A socket does not receive replies of another type.
            None if format == Format::BYTES => match (&self.reply as &dyn Any).downcast_ref::<Bytes>() {
                Some(reply) => Ok(own(reply.clone())),
                None => Err(None),
            },
            None => return false,
        };
        self.encoded.push((format, bytes));
        true
    }
}

impl<P: Protocol<Reply: Clone>> Encodings for ReplyEncodings<'_, P> {
    #[inline]
    fn encoded(&self, format: Format) -> Option<Payload<'_>> {
        let (_, encoded) = self.encoded.iter().find(|(known, _)| *known == format)?;
        encoded.as_ref().ok().map(|bytes| Payload::Encoded(bytes, Some(format)))
    }

    fn encode(&mut self, format: Format) -> Option<Payload<'_>> {
        let is_known = self.encoded.iter().any(|(known, _)| *known == format);
        if !is_known && !self.encode_for(format) {
            let reply = self.reply.clone();
            let size = P::reply_size(&reply);
            return Some(Payload::Reply(Box::new(reply), size));
        }
        match &mut self.encoded.iter_mut().find(|(known, _)| *known == format)?.1 {
            Ok(bytes) => Some(Payload::Encoded(bytes, Some(format))),
            Err(error) => {
                self.error = self.error.take().or(error.take());
                None
            }
        }
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
