//! Lines that end with LF or CR LF.

use std::mem;

use bytes::{Bytes, BytesMut};
use memchr::memchr;

use super::FramingError;

/// Decodes the next line. `scanned`: the number of leading bytes that contain no LF.
pub(super) fn decode(max: usize, scanned: &mut usize, src: &mut BytesMut) -> Result<Option<Bytes>, FramingError> {
    // The longest line with its CR LF ends within this window.
    let window = src.len().min(max.saturating_add(2));
    // If more was scanned than there is, the buffer has been replaced.
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

/// Appends `line` and LF. Appends nothing on error.
pub(super) fn encode(line: &[u8], dst: &mut BytesMut) -> Result<(), FramingError> {
    if let Some(at) = memchr(b'\n', line) {
        return Err(FramingError::delimiter_at(at));
    }
    dst.reserve(line.len() + 1);
    dst.extend_from_slice(line);
    dst.extend_from_slice(b"\n");
    Ok(())
}

/// Whether the line can still end within `max` bytes. One more byte may be the CR before the LF.
fn may_still_fit(max: usize, src: &[u8]) -> bool {
    src.len() <= max || src[max..] == *b"\r"
}
