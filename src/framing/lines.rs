//! Lines: up to LF, without the CR that may stand before it.

use std::mem;

use bytes::{Bytes, BytesMut};
use memchr::memchr;

use super::FramingError;

/// The next line. `scanned`: so many bytes are known to hold no LF.
pub(super) fn decode(max: usize, scanned: &mut usize, src: &mut BytesMut) -> Result<Option<Bytes>, FramingError> {
    // Beyond the longest line with its CR LF there is nothing to look for.
    let window = src.len().min(max.saturating_add(2));
    // More was searched than there is: these are other bytes.
    let from = Some(mem::take(scanned)).filter(|&from| from <= window).unwrap_or(0);

    let Some(at) = memchr(b'\n', &src[from..window]) else {
        if !may_still_fit(max, src) {
            return Err(FramingError::received_above(max));
        }
        *scanned = src.len();
        return Ok(None);
    };
    let lf = from + at;
    let length = lf - usize::from(src[..lf].ends_with(b"\r"));
    if length > max {
        return Err(FramingError::received_above(max));
    }
    let mut line = src.split_to(lf + 1).freeze();
    line.truncate(length);
    Ok(Some(line))
}

/// Whether an LF can still end this at `max` bytes. One byte more may be the CR before it.
fn may_still_fit(max: usize, src: &[u8]) -> bool {
    src.len() <= max || src[max..] == *b"\r"
}
