//! What an error of `accept` means, with the manual page in hand.

use std::io;

/// What to do after `accept` failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AcceptErrorKind {
    /// One peer's trouble: accept the next one.
    Connection,
    /// The machine is out of something: pause, then try again.
    Resource,
    /// The listener itself is broken: let the supervisor decide.
    Listener,
}

impl AcceptErrorKind {
    /// Follows accept(2): errors that were pending on the new socket are the peer's, and as good as `EAGAIN`.
    pub(super) fn of(error: &io::Error) -> Self {
        if let Some(code) = error.raw_os_error() {
            return Self::of_code(code);
        }
        match error.kind() {
            io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted => {
                AcceptErrorKind::Connection
            }
            io::ErrorKind::OutOfMemory => AcceptErrorKind::Resource,
            _ => AcceptErrorKind::Listener,
        }
    }

    #[cfg(unix)]
    fn of_code(code: i32) -> Self {
        #[cfg(target_os = "linux")]
        if code == libc::ENONET {
            return AcceptErrorKind::Connection;
        }
        match code {
            libc::ECONNABORTED | libc::ECONNRESET | libc::EINTR | libc::EPERM | libc::ETIMEDOUT => {
                AcceptErrorKind::Connection
            }
            libc::ENETDOWN | libc::EPROTO | libc::ENOPROTOOPT | libc::EHOSTDOWN => AcceptErrorKind::Connection,
            libc::EHOSTUNREACH | libc::EOPNOTSUPP | libc::ENETUNREACH => AcceptErrorKind::Connection,
            libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::ENOSPC => AcceptErrorKind::Resource,
            _ => AcceptErrorKind::Listener,
        }
    }

    #[cfg(not(unix))]
    fn of_code(code: i32) -> Self {
        // WSAEMFILE, WSAENOBUFS; WSAECONNRESET, WSAECONNABORTED, WSAEINTR, WSAENETDOWN.
        match code {
            10024 | 10055 => AcceptErrorKind::Resource,
            10054 | 10053 | 10004 | 10050 => AcceptErrorKind::Connection,
            _ => AcceptErrorKind::Listener,
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn errors_are_the_peers_the_machines_or_the_listeners() {
        for (code, kind) in [
            (libc::ECONNABORTED, AcceptErrorKind::Connection),
            (libc::EPROTO, AcceptErrorKind::Connection),
            (libc::EMFILE, AcceptErrorKind::Resource),
            (libc::ENFILE, AcceptErrorKind::Resource),
            (libc::ENOBUFS, AcceptErrorKind::Resource),
            (libc::ENOMEM, AcceptErrorKind::Resource),
            (libc::EBADF, AcceptErrorKind::Listener),
            (libc::EINVAL, AcceptErrorKind::Listener),
        ] {
            assert_eq!(AcceptErrorKind::of(&io::Error::from_raw_os_error(code)), kind, "{code}");
        }
    }
}
