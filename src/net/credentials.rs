//! Who is at the other end of a Unix socket.

/// The user, group and process at the other end of a Unix socket, as the kernel knew them when it connected.
///
/// The process may have ended since, and its number may be another's by now: decide by user and group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PeerCredentials {
    /// The effective user.
    pub uid: u32,
    /// The effective group.
    pub gid: u32,
    /// The process, where the system tells it.
    pub pid: Option<i32>,
}

#[cfg(unix)]
impl From<tokio::net::unix::UCred> for PeerCredentials {
    fn from(peer: tokio::net::unix::UCred) -> Self {
        PeerCredentials { uid: peer.uid(), gid: peer.gid(), pid: peer.pid() }
    }
}
