//! Packets behind their length.

use bytes::{Buf, Bytes, BytesMut};

use super::FramingError;

/// So much room is reserved at a time, in bytes, for a packet that was only announced.
const ROOM: usize = 64 * 1024;

/// How many bytes the length before a packet takes.
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

    /// The longest packet whose length such a prefix can tell, in bytes.
    ///
    /// ```
    /// use actix_acceptor::Width;
    /// assert_eq!(Width::One.max_length(), 255);
    /// assert_eq!(Width::Two.max_length(), 65_535);
    /// assert_eq!(Width::Four.max_length(), u32::MAX.into());
    /// assert_eq!(Width::Eight.max_length(), u64::MAX);
    /// ```
    #[inline]
    #[must_use]
    pub const fn max_length(self) -> u64 {
        u64::MAX >> (64 - 8 * self.bytes())
    }

    /// The length in front of `src`, if it has arrived.
    #[inline]
    fn read(self, src: &[u8]) -> Option<u64> {
        match self {
            Width::One => src.first().map(|&byte| byte.into()),
            Width::Two => src.first_chunk().map(|&prefix| u16::from_be_bytes(prefix).into()),
            Width::Four => src.first_chunk().map(|&prefix| u32::from_be_bytes(prefix).into()),
            Width::Eight => src.first_chunk().map(|&prefix| u64::from_be_bytes(prefix)),
        }
    }
}

/// The next packet, once it is whole; until then the prefix stays.
#[inline]
pub(super) fn decode(width: Width, max: usize, src: &mut BytesMut) -> Result<Option<Bytes>, FramingError> {
    let Some(announced) = width.read(src) else {
        return Ok(None);
    };
    if announced > max as u64 {
        return Err(FramingError::announced(announced, max));
    }
    // Not above `max`, so it fits a `usize`.
    let length = announced as usize;
    let arrived = src.len() - width.bytes();
    if arrived < length {
        make_room(arrived, length, src);
        return Ok(None);
    }
    let mut packet = src.split_to(width.bytes() + length).freeze();
    packet.advance(width.bytes());
    Ok(Some(packet))
}

/// Reserves up to the next multiple of [`ROOM`], so that a peer that dribbles does not make the
/// buffer grow each time.
#[cold]
fn make_room(arrived: usize, length: usize, src: &mut BytesMut) {
    src.reserve((length - arrived).min(ROOM - arrived % ROOM));
}

/// Appends `packet` behind its length, or nothing.
#[inline]
pub(super) fn encode(width: Width, packet: &[u8], dst: &mut BytesMut) -> Result<(), FramingError> {
    let length = packet.len() as u64;
    if length > width.max_length() {
        return Err(FramingError::ReplyTooLong { length, limit: width.max_length() });
    }
    // An array of known size is a plain store, where a slice would be a call.
    match width {
        Width::One => dst.extend_from_slice(&(length as u8).to_be_bytes()),
        Width::Two => dst.extend_from_slice(&(length as u16).to_be_bytes()),
        Width::Four => dst.extend_from_slice(&(length as u32).to_be_bytes()),
        Width::Eight => dst.extend_from_slice(&length.to_be_bytes()),
    }
    dst.extend_from_slice(packet);
    Ok(())
}
