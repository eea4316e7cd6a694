//! What an error of `accept` means, with the manual page in hand.

use std::io;

/// What to do after `accept` failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// One peer's trouble: accept the next one.
    Ignore,
    /// The machine is out of something: pause, then try again.
    Pause,
    /// The listener itself is broken: let the supervisor decide.
    Fail,
}

impl Verdict {
    /// Follows accept(2): errors that were pending on the new socket are the peer's, and as good as `EAGAIN`.
    pub(super) fn of(error: &io::Error) -> Self {
        if let Some(code) = error.raw_os_error() {
            return Self::of_code(code);
        }
        match error.kind() {
            io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted => {
                Verdict::Ignore
            }
            io::ErrorKind::OutOfMemory => Verdict::Pause,
            _ => Verdict::Fail,
        }
    }

    #[cfg(unix)]
    fn of_code(code: i32) -> Self {
        #[cfg(target_os = "linux")]
        if code == libc::ENONET {
            return Verdict::Ignore;
        }
        match code {
            libc::ECONNABORTED | libc::ECONNRESET | libc::EINTR | libc::EPERM | libc::ETIMEDOUT => Verdict::Ignore,
            libc::ENETDOWN | libc::EPROTO | libc::ENOPROTOOPT | libc::EHOSTDOWN => Verdict::Ignore,
            libc::EHOSTUNREACH | libc::EOPNOTSUPP | libc::ENETUNREACH => Verdict::Ignore,
            libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::ENOSPC => Verdict::Pause,
            _ => Verdict::Fail,
        }
    }

    #[cfg(not(unix))]
    fn of_code(code: i32) -> Self {
        // WSAEMFILE, WSAENOBUFS; WSAECONNRESET, WSAECONNABORTED, WSAEINTR, WSAENETDOWN.
        match code {
            10024 | 10055 => Verdict::Pause,
            10054 | 10053 | 10004 | 10050 => Verdict::Ignore,
            _ => Verdict::Fail,
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn errors_are_the_peers_the_machines_or_the_listeners() {
        for (code, verdict) in [
            (libc::ECONNABORTED, Verdict::Ignore),
            (libc::EPROTO, Verdict::Ignore),
            (libc::EMFILE, Verdict::Pause),
            (libc::ENFILE, Verdict::Pause),
            (libc::ENOBUFS, Verdict::Pause),
            (libc::ENOMEM, Verdict::Pause),
            (libc::EBADF, Verdict::Fail),
            (libc::EINVAL, Verdict::Fail),
        ] {
            assert_eq!(Verdict::of(&io::Error::from_raw_os_error(code)), verdict, "{code}");
        }
    }
}
