//! What to do about errors of the system, as a part of the messages of this crate.

use std::fmt;
use std::io;

/// The way out of an error of the system, in parentheses. Displayed as nothing if none is known.
///
/// The error itself is the source of the one whose message contains this.
pub(crate) struct WayOut<'a>(pub(crate) &'a io::Error);

impl fmt::Display for WayOut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match way_out(self.0) {
            Some(way_out) => write!(f, " ({way_out})"),
            None => Ok(()),
        }
    }
}

fn way_out(error: &io::Error) -> Option<&'static str> {
    if is_out_of_descriptors(error) {
        return Some("raise the limit of open files, for example with `ulimit -n`");
    }
    match error.kind() {
        io::ErrorKind::AddrInUse => Some("pass another address, or stop the program that uses this one"),
        io::ErrorKind::AddrNotAvailable => Some("pass an address of this machine; 0.0.0.0 and [::] stand for all"),
        io::ErrorKind::PermissionDenied => {
            Some("pass a port above 1023, or a path that this user may write, or run as a user with the privilege")
        }
        io::ErrorKind::NotFound => Some("create the directory first"),
        io::ErrorKind::WouldBlock => Some("raise the limit of threads and memory, or use fewer acceptors"),
        _ => None,
    }
}

#[cfg(unix)]
fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

#[cfg(not(unix))]
fn is_out_of_descriptors(_: &io::Error) -> bool {
    false
}
