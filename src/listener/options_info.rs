//! The options of an open listening socket, as the system reports them.

use std::io;
use std::time::Duration;

use socket2::SockRef;

use super::SocketOptions;

/// The socket options of a listener that are in force, as the system reports them. `None` if this kind of listener does not have
/// the option, if the system does not report it, or if the listener is closed because its pool is suspended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ListenerOptions {
    /// The requested length of the kernel's queue; the system may have lowered it. `None` if an inherited socket keeps its own.
    pub backlog: Option<u32>,
    /// TCP: `TCP_NODELAY`.
    pub nodelay: Option<bool>,
    /// TCP: keepalive probes. `None` if they are off.
    pub keepalive: Option<KeepaliveOptions>,
    /// `SO_SNDBUF` of connections, in bytes. Linux reports twice the requested size. For Unix sockets, the requested size, if any.
    pub send_buffer: Option<usize>,
    /// `SO_RCVBUF` of connections, in bytes, as `send_buffer`.
    pub receive_buffer: Option<usize>,
    /// TCP: `SO_REUSEPORT`.
    pub reuse_port: Option<bool>,
    /// TCP: the number of listening sockets. More than one with
    /// [`reuse_port_per_acceptor`](crate::Listener::reuse_port_per_acceptor).
    pub sockets: Option<usize>,
    /// TCP on Linux: whether connections may use several paths (Multipath TCP). False if the kernel does not support it and the
    /// listener uses plain TCP instead.
    pub multipath_tcp: Option<bool>,
    /// TCP over IPv6: whether only IPv6 peers are accepted.
    pub only_v6: Option<bool>,
    /// The requested permissions of a Unix socket's file.
    pub mode: Option<u32>,
}

/// The keepalive probes of a listener's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct KeepaliveOptions {
    /// How long a connection is silent before the first probe.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::time::seconds"))]
    pub time: Duration,
    /// The time between two probes.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::time::seconds"))]
    pub interval: Duration,
    /// The number of unanswered probes after which the connection ends.
    pub retries: u32,
}

impl ListenerOptions {
    /// The options of a TCP socket. An option that the system does not report is left out.
    pub(super) fn of_tcp(socket: &SockRef<'_>, options: &SocketOptions, is_inherited: bool) -> Self {
        ListenerOptions {
            nodelay: socket.tcp_nodelay().ok(),
            keepalive: keepalive(socket).ok(),
            send_buffer: socket.send_buffer_size().ok(),
            receive_buffer: socket.recv_buffer_size().ok(),
            reuse_port: reuse_port(socket).ok(),
            multipath_tcp: is_multipath(socket).ok(),
            only_v6: socket.only_v6().ok(),
            ..Self::requested(options, is_inherited)
        }
    }

    /// The options of a Unix socket: it has none that its connections inherit.
    pub(super) fn requested(options: &SocketOptions, is_inherited: bool) -> Self {
        ListenerOptions {
            backlog: options.backlog.or(u32::try_from(options.backlog()).ok().filter(|_| !is_inherited)),
            send_buffer: options.send_buffer,
            receive_buffer: options.receive_buffer,
            mode: options.mode,
            ..ListenerOptions::default()
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "macos", target_os = "freebsd"))]
fn keepalive(socket: &SockRef<'_>) -> io::Result<KeepaliveOptions> {
    if !socket.keepalive()? {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(KeepaliveOptions {
        time: socket.tcp_keepalive_time()?,
        interval: socket.tcp_keepalive_interval()?,
        retries: socket.tcp_keepalive_retries()?,
    })
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "macos", target_os = "freebsd")))]
fn keepalive(_: &SockRef<'_>) -> io::Result<KeepaliveOptions> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
fn reuse_port(socket: &SockRef<'_>) -> io::Result<bool> {
    socket.reuse_port()
}

#[cfg(not(all(unix, not(any(target_os = "solaris", target_os = "illumos")))))]
fn reuse_port(_: &SockRef<'_>) -> io::Result<bool> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(target_os = "linux")]
fn is_multipath(socket: &SockRef<'_>) -> io::Result<bool> {
    Ok(socket.protocol()? == Some(socket2::Protocol::MPTCP))
}

#[cfg(not(target_os = "linux"))]
fn is_multipath(_: &SockRef<'_>) -> io::Result<bool> {
    Err(io::ErrorKind::Unsupported.into())
}
