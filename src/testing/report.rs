//! The messages of failed expectations.

use std::fmt;
use std::panic::Location;

use super::client::End;

/// More bytes than this are not shown.
const MAX_SHOWN: usize = 200;

/// Fails the test. The message begins with the line of the test, since the panic itself happens in a future.
#[track_caller]
pub(super) fn fail(caller: &Location<'_>, message: impl fmt::Display) -> ! {
    panic!("{caller}: {message}")
}

/// Bytes as a string literal.
pub(super) fn bytes_text(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(MAX_SHOWN)];
    let left_out = match bytes.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} bytes more"),
    };
    format!("\"{}\"{left_out}", shown.escape_ascii())
}

/// How the connection has ended, after these bytes.
pub(super) fn ended_text(end: End, received: &[u8]) -> String {
    let ended = match end {
        End::Orderly => "the connection ended",
        End::Reset => "the connection was reset",
    };
    if received.is_empty() {
        ended.to_owned()
    } else {
        format!("{ended} after {}", bytes_text(received))
    }
}
