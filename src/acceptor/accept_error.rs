//! Classifies errors of `accept`, following accept(2).

use std::io;

use crate::telemetry::AcceptErrorKind;

/// Errors pending on the new socket concern one connection, as if `accept` had returned `EAGAIN`: see accept(2).
pub(super) fn kind_of(error: &io::Error) -> AcceptErrorKind {
    if let Some(code) = error.raw_os_error() {
        return kind_of_code(code);
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
fn kind_of_code(code: i32) -> AcceptErrorKind {
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
fn kind_of_code(code: i32) -> AcceptErrorKind {
    // WSAEMFILE, WSAENOBUFS; WSAECONNRESET, WSAECONNABORTED, WSAEINTR, WSAENETDOWN.
    match code {
        10024 | 10055 => AcceptErrorKind::Resource,
        10054 | 10053 | 10004 | 10050 => AcceptErrorKind::Connection,
        _ => AcceptErrorKind::Listener,
    }
}

/// Whether an acceptor, or its arbiter, could not start because a resource of the machine or the process was exhausted.
pub(crate) fn is_out_of_resources(error: &io::Error) -> bool {
    // EAGAIN: too many threads.
    error.kind() == io::ErrorKind::WouldBlock || kind_of(error) == AcceptErrorKind::Resource
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn errors_are_classified_by_what_they_concern() {
        for (code, kind) in [
            (libc::ECONNABORTED, AcceptErrorKind::Connection),
            (libc::EPROTO, AcceptErrorKind::Connection),
            (libc::EMFILE, AcceptErrorKind::Resource),
            (libc::ENFILE, AcceptErrorKind::Resource),
            (libc::ENOBUFS, AcceptErrorKind::Resource),
            (libc::ENOMEM, AcceptErrorKind::Resource),
            (libc::ENOSPC, AcceptErrorKind::Resource),
            (libc::EBADF, AcceptErrorKind::Listener),
            (libc::EINVAL, AcceptErrorKind::Listener),
        ] {
            assert_eq!(kind_of(&io::Error::from_raw_os_error(code)), kind, "{code}");
        }
    }
}
