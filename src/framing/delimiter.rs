//! Packets that end with a delimiter of any length.

use std::{fmt, mem, sync::Arc};

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

use super::FramingError;

/// The bytes that end a packet. The searcher is built once and shared by all clones.
#[derive(Clone)]
pub(super) struct Delimiter(Arc<Finder<'static>>);

impl Delimiter {
    /// `bytes` must not be empty.
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self(Arc::new(Finder::new(bytes).into_owned()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.needle()
    }

    /// Decodes the next packet. `scanned`: the number of leading bytes in which no delimiter begins.
    pub(super) fn decode(
        &self,
        max: usize,
        scanned: &mut usize,
        src: &mut BytesMut,
    ) -> Result<Option<Bytes>, FramingError> {
        let size = self.bytes().len();
        // The longest packet with its delimiter ends within this window.
        let window = src.len().min(max.saturating_add(size));
        // If more was scanned than there is, the buffer has been replaced.
        let from = Some(mem::take(scanned)).filter(|&from| from <= window).unwrap_or(0);

        let Some(at) = self.0.find(&src[from..window]) else {
            if !self.may_still_fit(max, src) {
                return Err(FramingError::received_above(max));
            }
            *scanned = self.incomplete_from(src);
            return Ok(None);
        };
        let length = from + at;
        let mut packet = src.split_to(length + size).freeze();
        packet.truncate(length);
        Ok(Some(packet))
    }

    /// Appends `packet` and the delimiter. Appends nothing on error.
    pub(super) fn encode(&self, packet: &[u8], dst: &mut BytesMut) -> Result<(), FramingError> {
        let start = dst.len();
        dst.reserve(packet.len() + self.bytes().len());
        dst.extend_from_slice(packet);
        dst.extend_from_slice(self.bytes());
        match self.0.find(&dst[start..]) {
            Some(at) if at < packet.len() => {
                dst.truncate(start);
                Err(FramingError::delimiter_at(at))
            }
            _ => Ok(()),
        }
    }

    /// Whether the packet can still end within `max` bytes: an incomplete delimiter begins at `max` or before.
    fn may_still_fit(&self, max: usize, src: &[u8]) -> bool {
        src.len() <= max || (self.incomplete_from(src)..=max).any(|start| self.bytes().starts_with(&src[start..]))
    }

    /// The earliest position at which an incomplete delimiter can begin.
    fn incomplete_from(&self, src: &[u8]) -> usize {
        src.len().saturating_sub(self.bytes().len() - 1)
    }
}

impl fmt::Debug for Delimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.bytes().escape_ascii())
    }
}
