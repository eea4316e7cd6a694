//! Multipath TCP: whether a TCP listener accepts connections that use several paths.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

use super::SocketOptions;

/// Whether a TCP listener accepts Multipath TCP connections, whose peers may use several paths at a time, for example Wi-Fi and a
/// mobile network. Peers with plain TCP are always served. A value of
/// [`Listener::multipath_tcp`](crate::Listener::multipath_tcp); Linux only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum MultipathTcp {
    /// Plain TCP.
    #[default]
    Off,
    /// Multipath TCP if the kernel supports it, else plain TCP. The fallback is logged at info.
    Try,
    /// Multipath TCP. If the kernel does not support it, opening the listener fails.
    Require,
}

/// The error of a kernel without Multipath TCP.
#[derive(Debug, thiserror::Error)]
#[error("multipath_tcp: the kernel has no Multipath TCP; use `Try`, or set net.mptcp.enabled to 1")]
struct Unavailable(#[source] io::Error);

impl SocketOptions {
    /// A TCP socket for this address.
    pub(super) fn tcp_socket(&self, addr: SocketAddr) -> io::Result<Socket> {
        let socket = |protocol| Socket::new(Domain::for_address(addr), Type::STREAM, Some(protocol));
        match self.multipath_tcp.unwrap_or_default() {
            MultipathTcp::Off => socket(Protocol::TCP),
            asked => match multipath(socket) {
                Err(error) if asked == MultipathTcp::Try => {
                    tracing::info!(address = %addr, %error, "Multipath TCP is not available; listening with plain TCP");
                    socket(Protocol::TCP)
                }
                opened => opened.map_err(|error| io::Error::new(error.kind(), Unavailable(error))),
            },
        }
    }
}

#[cfg(target_os = "linux")]
fn multipath(socket: impl Fn(Protocol) -> io::Result<Socket>) -> io::Result<Socket> {
    socket(Protocol::MPTCP)
}

/// Not reached: the setting is rejected before.
#[cfg(not(target_os = "linux"))]
fn multipath(_: impl Fn(Protocol) -> io::Result<Socket>) -> io::Result<Socket> {
    Err(io::ErrorKind::Unsupported.into())
}
