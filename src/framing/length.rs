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
    /// use actix_acceptor::framing::Width;
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
}

/// The next packet behind a length of `N` bytes, once it is whole; until then the prefix stays.
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
    // Not above `max`, so it fits a `usize`.
    let length = announced as usize;
    let arrived = src.len() - N;
    if arrived < length {
        make_room(arrived, length, src);
        return Ok(None);
    }
    let mut packet = src.split_to(N + length).freeze();
    packet.advance(N);
    Ok(Some(packet))
}

/// Reserves up to the next multiple of [`ROOM`], so that a peer that dribbles does not make the
/// buffer grow each time.
#[cold]
fn make_room(arrived: usize, length: usize, src: &mut BytesMut) {
    src.reserve((length - arrived).min(ROOM - arrived % ROOM));
}

/// Appends `packet` behind its length in `N` bytes, or nothing.
#[inline]
pub(super) fn encode<const N: usize>(packet: &[u8], dst: &mut BytesMut) -> Result<(), FramingError> {
    let (length, limit) = (packet.len() as u64, u64::MAX >> (64 - 8 * N));
    if length > limit {
        return Err(FramingError::ReplyTooLong { length, limit });
    }
    // An array of known size is a plain store, where a slice would be a call.
    if let Some(prefix) = length.to_be_bytes().last_chunk::<N>() {
        dst.extend_from_slice(prefix);
    }
    dst.extend_from_slice(packet);
    Ok(())
}
