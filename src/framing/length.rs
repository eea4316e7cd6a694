//! Packets with a length prefix.

use bytes::{Buf, Bytes, BytesMut};

use super::FramingError;

/// The step in bytes by which buffer space is reserved for an announced packet.
const RESERVE_STEP: usize = 64 * 1024;

/// The size of a length prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// One byte.
    One,
    /// Two bytes.
    Two,
    /// Four bytes.
    Four,
    /// Eight bytes.
    Eight,
}

impl Width {
    /// The size of the prefix, in bytes: 1, 2, 4 or 8.
    #[inline]
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Width::One => 1,
            Width::Two => 2,
            Width::Four => 4,
            Width::Eight => 8,
        }
    }

    /// The greatest packet length that the prefix can express, in bytes.
    ///
    /// ```
    /// use actix_acceptor::framing::Width;
    /// assert_eq!(Width::One.max_length(), 255);
    /// assert_eq!(Width::Two.max_length(), 65_535);
    /// assert_eq!(Width::Four.max_length(), u64::from(u32::MAX));
    /// assert_eq!(Width::Eight.max_length(), u64::MAX);
    /// ```
    #[inline]
    #[must_use]
    pub const fn max_length(self) -> u64 {
        u64::MAX >> (64 - 8 * self.bytes())
    }
}

/// Decodes the next packet with a length prefix of `N` bytes. Until it is complete, the prefix stays in the buffer.
#[inline]
pub(super) fn decode<const N: usize>(max: usize, src: &mut BytesMut) -> Result<Option<Bytes>, FramingError> {
    let Some(prefix) = src.first_chunk::<N>() else {
        return Ok(None);
    };
    let mut wide = [0; 8];
    wide[8 - N..].copy_from_slice(prefix);
    let announced = u64::from_be_bytes(wide);
    if announced > max as u64 {
        return Err(FramingError::announced(announced, max));
    }
    // At most `max`, so it fits in a `usize`.
    let length = announced as usize;
    let arrived = src.len() - N;
    if arrived < length {
        reserve(arrived, length, src);
        return Ok(None);
    }
    let mut packet = src.split_to(N + length).freeze();
    packet.advance(N);
    Ok(Some(packet))
}

/// Reserves up to the next multiple of [`RESERVE_STEP`], so that a peer that sends slowly does not make the
/// buffer grow with each read.
#[cold]
fn reserve(arrived: usize, length: usize, src: &mut BytesMut) {
    src.reserve((length - arrived).min(RESERVE_STEP - arrived % RESERVE_STEP));
}

/// Appends `packet` with a length prefix of `N` bytes. Appends nothing on error.
#[inline]
pub(super) fn encode<const N: usize>(packet: &[u8], dst: &mut BytesMut) -> Result<(), FramingError> {
    let (length, limit) = (packet.len() as u64, u64::MAX >> (64 - 8 * N));
    if length > limit {
        return Err(FramingError::ReplyTooLong { length, limit });
    }
    // An array of known size compiles to a plain store, a slice to a call.
    if let Some(prefix) = length.to_be_bytes().last_chunk::<N>() {
        dst.extend_from_slice(prefix);
    }
    dst.extend_from_slice(packet);
    Ok(())
}
