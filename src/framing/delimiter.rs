//! Packets that end in a delimiter of any length.

use std::{fmt, mem, sync::Arc};

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

use super::FramingError;

/// The bytes that end a packet, with the search for them prepared once for all clones.
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

    /// The next packet. `scanned`: the delimiter is known not to begin in so many bytes.
    pub(super) fn decode(
        &self,
        max: usize,
        scanned: &mut usize,
        src: &mut BytesMut,
    ) -> Result<Option<Bytes>, FramingError> {
        let size = self.bytes().len();
        // Beyond the longest packet with its delimiter there is nothing to look for.
        let window = src.len().min(max.saturating_add(size));
        // More was searched than there is: these are other bytes.
        let from = Some(mem::take(scanned)).filter(|&from| from <= window).unwrap_or(0);

        let Some(at) = self.0.find(&src[from..window]) else {
            if !self.may_still_fit(max, src) {
                return Err(FramingError::received_above(max));
            }
            *scanned = self.undecided(src);
            return Ok(None);
        };
        let length = from + at;
        let mut packet = src.split_to(length + size).freeze();
        packet.truncate(length);
        Ok(Some(packet))
    }

    /// Whether a delimiter that is not whole yet can end this at `max` bytes: it has begun by then.
    fn may_still_fit(&self, max: usize, src: &[u8]) -> bool {
        src.len() <= max || (self.undecided(src)..=max).any(|start| self.bytes().starts_with(&src[start..]))
    }

    /// Where a delimiter that is not whole yet can begin at the earliest.
    fn undecided(&self, src: &[u8]) -> usize {
        src.len().saturating_sub(self.bytes().len() - 1)
    }
}

impl fmt::Debug for Delimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.bytes().escape_ascii())
    }
}
