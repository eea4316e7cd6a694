//! The options of a listening socket and of the sockets accepted from it.

use std::fmt;
use std::io;

use socket2::{SockRef, Socket};

use super::{Keepalive, MultipathTcp, SocketHook};
use crate::error::InvalidSetting;

/// How many connections the kernel queues before an acceptor accepts them.
const BACKLOG: i32 = 1024;

/// The number of unsent bytes above which the kernel reports a socket as not writable. It makes the progress of a slow reader
/// visible.
#[cfg(target_os = "linux")]
const NOTSENT_LOWAT: u32 = 64 * 1024;

/// The options that the user has set; `None` means the default.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SocketOptions {
    pub(crate) backlog: Option<u32>,
    pub(crate) nodelay: Option<bool>,
    pub(crate) keepalive: Option<Keepalive>,
    pub(crate) send_buffer: Option<usize>,
    pub(crate) receive_buffer: Option<usize>,
    pub(crate) reuse_port: Option<bool>,
    /// A listening socket for each acceptor.
    pub(crate) reuse_port_per_acceptor: Option<bool>,
    pub(crate) multipath_tcp: Option<MultipathTcp>,
    pub(crate) only_v6: Option<bool>,
    pub(crate) mode: Option<u32>,
    pub(crate) owner: Option<(Option<u32>, Option<u32>)>,
    /// Called once the socket is bound, before it listens.
    pub(crate) on_bind: Option<SocketHook>,
    /// Called with every accepted socket.
    pub(crate) on_accept: Option<SocketHook>,
}

/// The kinds of listeners that differ in their options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListenerKind {
    Tcp,
    TcpInherited,
    #[cfg(unix)]
    UnixFile,
    #[cfg(unix)]
    UnixOther,
    /// A transport that is already open.
    Transport,
}

impl fmt::Display for ListenerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ListenerKind::Tcp => "a TCP listener",
            ListenerKind::TcpInherited => "an inherited TCP socket",
            #[cfg(unix)]
            ListenerKind::UnixFile => "a Unix socket at a path",
            #[cfg(unix)]
            ListenerKind::UnixOther => "an abstract or inherited Unix socket",
            ListenerKind::Transport => "a transport that is already open",
        })
    }
}

impl SocketOptions {
    /// The options that this kind of listener does not have, or whose value is invalid.
    pub(super) fn invalid_settings(&self, kind: ListenerKind) -> Vec<InvalidSetting> {
        let mut invalid = self.unavailable_settings(kind);
        let mut values = self.invalid_values();
        values.retain(|value| !invalid.iter().any(|unavailable| unavailable.setting == value.setting));
        invalid.append(&mut values);
        invalid
    }

    pub(super) fn unavailable_settings(&self, kind: ListenerKind) -> Vec<InvalidSetting> {
        let is_socket = kind != ListenerKind::Transport;
        let is_tcp = matches!(kind, ListenerKind::Tcp | ListenerKind::TcpInherited);
        let is_bound_tcp = kind == ListenerKind::Tcp;
        #[cfg(unix)]
        let is_file = kind == ListenerKind::UnixFile;
        #[cfg(not(unix))]
        let is_file = false;
        let settings = [
            ("backlog", self.backlog.is_some(), is_socket),
            ("nodelay", self.nodelay.is_some(), is_tcp),
            ("keepalive", self.keepalive.is_some(), is_tcp),
            ("send_buffer", self.send_buffer.is_some(), is_socket),
            ("receive_buffer", self.receive_buffer.is_some(), is_socket),
            ("reuse_port", self.reuse_port.is_some(), is_bound_tcp),
            ("reuse_port_per_acceptor", self.reuse_port_per_acceptor.is_some(), is_bound_tcp),
            ("multipath_tcp", self.multipath_tcp.is_some(), is_bound_tcp),
            ("only_v6", self.only_v6.is_some(), is_bound_tcp),
            ("mode", self.mode.is_some(), is_file),
            ("owner", self.owner.is_some(), is_file),
            ("on_bind", self.on_bind.is_some(), is_socket),
            ("on_accept", self.on_accept.is_some(), is_socket),
        ];
        let unavailable = settings.into_iter().filter(|(_, is_set, available)| *is_set && !available);
        unavailable.map(|(setting, ..)| InvalidSetting::new(setting, format!("not available for {kind}"))).collect()
    }

    fn invalid_values(&self) -> Vec<InvalidSetting> {
        let at_least_1 =
            |setting, is_zero: bool| is_zero.then(|| InvalidSetting::new(setting, "must be at least 1 (got 0)"));
        [
            at_least_1("backlog", self.backlog == Some(0)),
            self.backlog.filter(|connections| i32::try_from(*connections).is_err()).map(|connections| {
                InvalidSetting::new("backlog", format!("must be at most {} (got {connections})", i32::MAX))
            }),
            self.keepalive.and_then(|keepalive| keepalive.invalid_setting()),
            at_least_1("send_buffer", self.send_buffer == Some(0)),
            at_least_1("receive_buffer", self.receive_buffer == Some(0)),
            (self.reuse_port == Some(true) && cfg!(not(unix)))
                .then(|| InvalidSetting::new("reuse_port", "not available on this system")),
            (self.has_socket_per_acceptor() && cfg!(not(any(target_os = "linux", target_os = "android")))).then(|| {
                InvalidSetting::new("reuse_port_per_acceptor", "only available on Linux and Android; do not set it")
            }),
            (self.multipath_tcp.unwrap_or_default() != MultipathTcp::Off && cfg!(not(target_os = "linux")))
                .then(|| InvalidSetting::new("multipath_tcp", "not available on this system; use `Off`")),
            self.mode
                .filter(|mode| *mode > 0o777)
                .map(|mode| InvalidSetting::new("mode", format!("must be at most 0o777 (got {mode:#o})"))),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Whether the listener has a socket for each acceptor.
    pub(super) fn has_socket_per_acceptor(&self) -> bool {
        self.reuse_port_per_acceptor == Some(true)
    }

    pub(super) fn backlog(&self) -> i32 {
        self.backlog.and_then(|connections| i32::try_from(connections).ok()).unwrap_or(BACKLOG)
    }

    /// Calls the hook, then listens. The last step of Unix sockets that are bound here.
    #[cfg(unix)]
    pub(super) fn listen(&self, socket: &Socket) -> io::Result<()> {
        self.call_on_bind(socket)?;
        socket.listen(self.backlog())
    }

    pub(super) fn call_on_bind(&self, socket: &Socket) -> io::Result<()> {
        self.on_bind.as_ref().map_or(Ok(()), |hook| hook.call(SockRef::from(socket)))
    }

    /// Sets the backlog of an inherited socket, which already listens, and calls the hook.
    pub(super) fn take_over(&self, socket: SockRef<'_>) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        if self.backlog.is_some() {
            socket.listen(self.backlog())?;
        }
        self.on_bind.as_ref().map_or(Ok(()), |hook| hook.call(socket))
    }

    /// Sets the options of TCP connections. On Linux accepted sockets inherit them from the listening socket, so that an
    /// accept costs no further system call.
    pub(super) fn set_tcp(&self, socket: &SockRef<'_>) -> io::Result<()> {
        socket.set_tcp_nodelay(self.nodelay.unwrap_or(true))?;
        if let Some(keepalive) = self.keepalive {
            socket.set_tcp_keepalive(&keepalive.params())?;
        }
        #[cfg(target_os = "linux")]
        match socket.set_tcp_notsent_lowat(NOTSENT_LOWAT) {
            // Older kernels do not have it for Multipath TCP.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOPROTOOPT | libc::EOPNOTSUPP)) => {}
            set => set?,
        }
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

    /// Calls the hook for accepted sockets. Its error concerns that connection, not the listener.
    #[inline]
    pub(super) fn call_on_accept<'s, S>(&self, socket: &'s S) -> io::Result<()>
    where
        SockRef<'s>: From<&'s S>,
    {
        match &self.on_accept {
            None => Ok(()),
            Some(hook) => hook.call(SockRef::from(socket)).map_err(|error| {
                tracing::debug!(error = crate::panic::text_of(&error), "accepted socket rejected by the hook");
                io::Error::new(io::ErrorKind::ConnectionAborted, error)
            }),
        }
    }
}
