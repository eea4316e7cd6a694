//! The credentials of the peer of a Unix socket.

/// The user, group and process of the peer of a Unix socket, recorded by the kernel when it connected.
///
/// The process may have ended since, and another one may have its id: base decisions on user and group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PeerCredentials {
    /// The effective user id.
    pub uid: u32,
    /// The effective group id.
    pub gid: u32,
    /// The process id, where the system reports it.
    pub pid: Option<i32>,
}

#[cfg(unix)]
impl From<tokio::net::unix::UCred> for PeerCredentials {
    fn from(peer: tokio::net::unix::UCred) -> Self {
        PeerCredentials { uid: peer.uid(), gid: peer.gid(), pid: peer.pid() }
    }
}
