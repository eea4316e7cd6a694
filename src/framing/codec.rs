//! `Decoder` and `Encoder` of [`Framing`]: each call is dispatched to the chosen kind.

use bytes::{Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use super::{length, lines, Framing, FramingError, Kind};

impl Decoder for Framing {
    type Item = Bytes;
    type Error = FramingError;

    // Always inlined, also `encode`: a call costs 20 instructions per packet.
    #[inline(always)]
    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, FramingError> {
        match &self.kind {
            Kind::Length1 => length::decode::<1>(self.max_frame, src),
            Kind::Length2 => length::decode::<2>(self.max_frame, src),
            Kind::Length4 => length::decode::<4>(self.max_frame, src),
            Kind::Length8 => length::decode::<8>(self.max_frame, src),
            Kind::Raw => Ok(raw(self.max_frame, src)),
            Kind::Lines => lines::decode(self.max_frame, &mut self.scanned, src),
            Kind::Delimiter(end) => end.decode(self.max_frame, &mut self.scanned, src),
        }
    }

    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, FramingError> {
        let packet = self.decode(src)?;
        let prefixed = matches!(self.kind, Kind::Length1 | Kind::Length2 | Kind::Length4 | Kind::Length8);
        if packet.is_some() || src.is_empty() || prefixed {
            return Ok(packet);
        }
        self.scanned = 0;
        // At the end of the stream, an incomplete terminator is payload, which may exceed the limit.
        if src.len() > self.max_frame {
            return Err(FramingError::received_above(self.max_frame));
        }
        Ok(Some(src.split().freeze()))
    }
}

impl Encoder<Bytes> for Framing {
    type Error = FramingError;

    #[inline(always)]
    fn encode(&mut self, packet: Bytes, dst: &mut BytesMut) -> Result<(), FramingError> {
        match &self.kind {
            Kind::Length1 => return length::encode::<1>(&packet, dst),
            Kind::Length2 => return length::encode::<2>(&packet, dst),
            Kind::Length4 => return length::encode::<4>(&packet, dst),
            Kind::Length8 => return length::encode::<8>(&packet, dst),
            Kind::Raw => dst.extend_from_slice(&packet),
            Kind::Lines => return lines::encode(&packet, dst),
            Kind::Delimiter(end) => return end.encode(&packet, dst),
        }
        Ok(())
    }
}

#[inline]
fn raw(max: usize, src: &mut BytesMut) -> Option<Bytes> {
    if src.is_empty() {
        return None;
    }
    Some(src.split_to(src.len().min(max.max(1))).freeze())
}
