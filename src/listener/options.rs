//! How a listening socket and those accepted from it are to be set: what a [`Listener`](crate::Listener) was told.

use std::io;

use socket2::{SockRef, Socket};

use super::{Keepalive, SocketHook};
use crate::error::InvalidSetting;

/// How many peers the kernel queues before an acceptor takes them.
const BACKLOG: i32 = 1024;

/// Unsent bytes above which the kernel says "no room": makes the progress of a slow reader visible.
#[cfg(target_os = "linux")]
const NOTSENT_LOWAT: u32 = 64 * 1024;

/// What was asked for; what was not is the default.
#[derive(Clone, Debug, Default)]
pub(crate) struct SocketOptions {
    pub(crate) backlog: Option<u32>,
    pub(crate) nodelay: Option<bool>,
    pub(crate) keepalive: Option<Keepalive>,
    pub(crate) send_buffer: Option<usize>,
    pub(crate) receive_buffer: Option<usize>,
    pub(crate) reuse_port: Option<bool>,
    pub(crate) only_v6: Option<bool>,
    pub(crate) mode: Option<u32>,
    pub(crate) owner: Option<(Option<u32>, Option<u32>)>,
    /// Sees the socket once it is bound, before it listens.
    pub(crate) bound: Option<SocketHook>,
    /// Sees every accepted socket.
    pub(crate) accepted: Option<SocketHook>,
}

/// How a port comes to be, as far as options go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListenerKind {
    Tcp,
    TcpInherited,
    #[cfg(unix)]
    UnixFile,
    #[cfg(unix)]
    UnixOther,
    /// A transport that is open already.
    Transport,
}

impl SocketOptions {
    /// The first option that makes no sense, by itself or for this kind of port, and why.
    pub(crate) fn invalid_setting(&self, kind: ListenerKind) -> Option<InvalidSetting> {
        let (none, zero) = (kind == ListenerKind::Transport, "must be at least 1 (got 0)");
        let tcp = matches!(kind, ListenerKind::Tcp | ListenerKind::TcpInherited);
        #[cfg(unix)]
        let file = kind == ListenerKind::UnixFile;
        #[cfg(not(unix))]
        let file = false;
        let fits = [
            ("backlog", self.backlog.is_some(), !none),
            ("nodelay", self.nodelay.is_some(), tcp),
            ("keepalive", self.keepalive.is_some(), tcp),
            ("send_buffer", self.send_buffer.is_some(), !none),
            ("receive_buffer", self.receive_buffer.is_some(), !none),
            ("reuse_port", self.reuse_port.is_some(), kind == ListenerKind::Tcp),
            ("only_v6", self.only_v6.is_some(), kind == ListenerKind::Tcp),
            ("mode", self.mode.is_some(), file),
            ("owner", self.owner.is_some(), file),
            ("on_bind", self.bound.is_some(), !none),
            ("on_accept", self.accepted.is_some(), !none),
        ];
        let misplaced = |(name, asked, fits): &(&'static str, bool, bool)| {
            (*asked && !*fits).then(|| InvalidSetting::new(name, "not available for this kind of listener"))
        };
        let wrong = [
            ("backlog", self.backlog == Some(0), zero),
            ("backlog", self.backlog.is_some_and(|peers| i32::try_from(peers).is_err()), "must be at most 2147483647"),
            (
                "keepalive",
                self.keepalive.is_some_and(|keepalive| !keepalive.is_valid()),
                "time, interval and retries must be at least 1",
            ),
            ("send_buffer", self.send_buffer == Some(0), zero),
            ("receive_buffer", self.receive_buffer == Some(0), zero),
            ("reuse_port", self.reuse_port == Some(true) && cfg!(not(unix)), "not available on this system"),
            ("mode", self.mode.is_some_and(|mode| mode > 0o777), "must be at most 0o777"),
        ];
        let unsound =
            |(name, wrong, why): &(&'static str, bool, &'static str)| wrong.then(|| InvalidSetting::new(name, *why));
        fits.iter().find_map(misplaced).or_else(|| wrong.iter().find_map(unsound))
    }

    pub(super) fn backlog(&self) -> i32 {
        self.backlog.and_then(|peers| i32::try_from(peers).ok()).unwrap_or(BACKLOG)
    }

    /// The end of every kind: the socket is bound, and takes peers from now on.
    pub(super) fn listen(&self, socket: &Socket) -> io::Result<()> {
        if let Some(hook) = &self.bound {
            hook.call(SockRef::from(socket))?;
        }
        socket.listen(self.backlog())
    }

    /// The same for a socket that others have bound and that listens already.
    pub(super) fn take_over(&self, socket: SockRef<'_>) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        if self.backlog.is_some() {
            socket.listen(self.backlog())?;
        }
        self.bound.as_ref().map_or(Ok(()), |hook| hook.call(socket))
    }

    /// What a TCP connection has. On Linux accepted sockets take it over from the listening one, so that `accept` costs no
    /// further system call.
    pub(super) fn set_tcp(&self, socket: &SockRef<'_>) -> io::Result<()> {
        socket.set_tcp_nodelay(self.nodelay.unwrap_or(true))?;
        if let Some(keepalive) = self.keepalive {
            socket.set_tcp_keepalive(&keepalive.params())?;
        }
        #[cfg(target_os = "linux")]
        socket.set_tcp_notsent_lowat(NOTSENT_LOWAT)?;
        self.set_buffers(socket)
    }

    pub(super) fn set_buffers(&self, socket: &SockRef<'_>) -> io::Result<()> {
        if let Some(bytes) = self.send_buffer {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        Ok(())
    }

    /// Shows an accepted socket to the hook. What that refuses is that peer's trouble, not the listener's.
    #[inline]
    pub(super) fn show_accepted<'s, S>(&self, socket: &'s S) -> io::Result<()>
    where
        SockRef<'s>: From<&'s S>,
    {
        match &self.accepted {
            None => Ok(()),
            Some(hook) => hook.call(SockRef::from(socket)).map_err(|error| {
                tracing::debug!(%error, "the hook on accepted sockets has refused one");
                io::Error::new(io::ErrorKind::ConnectionAborted, error)
            }),
        }
    }
}
