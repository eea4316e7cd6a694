//! Source can be set for a listener's sockets.

use std::io;

use super::Listener;
use super::{Keepalive, SocketHook};
use socket2::SockRef;

/// Settings of the socket that is listened on, and of those accepted from it. Source a kind of listener does not have is
/// refused at the start, before anything is opened; so is every setting here with [`from_transport`](Listener::from_transport), whose transport is
/// open already.
impl Listener {
    /// How many peers the kernel queues before an acceptor takes them; the system may lower it (on Linux to
    /// `net.core.somaxconn`). 0 is refused.
    ///
    /// Default: 1,024; of an [inherited](Listener::from_socket) socket what it has.
    pub fn backlog(mut self, peers: u32) -> Self {
        self.options.backlog = Some(peers);
        self
    }

    /// TCP: whether small packets leave at once, instead of being held back until the last one is acknowledged.
    ///
    /// Default: on.
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.options.nodelay = Some(nodelay);
        self
    }

    /// TCP: whether and how the kernel asks silent peers whether they are still there.
    ///
    /// Default: off. The [idle timeout](crate::Builder::idle_timeout) ends silent connections in any case.
    pub fn keepalive(mut self, keepalive: Keepalive) -> Self {
        self.options.keepalive = Some(keepalive);
        self
    }

    /// How many bytes the kernel keeps of what is sent and not yet acknowledged, for each connection (`SO_SNDBUF`; Linux
    /// doubles it). 0 is refused.
    ///
    /// Default: the system's; TCP sizes it by itself.
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.options.send_buffer = Some(bytes);
        self
    }

    /// How many bytes the kernel keeps of what was received and not yet read, for each connection (`SO_RCVBUF`; Linux
    /// doubles it). 0 is refused.
    ///
    /// Default: the system's; TCP sizes it by itself.
    pub fn receive_buffer(mut self, bytes: usize) -> Self {
        self.options.receive_buffer = Some(bytes);
        self
    }

    /// TCP on Unix: whether other sockets that want it as well may be bound to the same port, those of another process of
    /// the same user for example (`SO_REUSEPORT`). On Linux each gets a part of the peers, and those in the queue of a
    /// socket that closes are lost. Refused where there is no such thing.
    ///
    /// Default: off.
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.options.reuse_port = Some(reuse);
        self
    }

    /// TCP: whether an IPv6 socket takes IPv6 peers alone, or IPv4 peers as well ("dual stack": `[::]:7000` is then all
    /// there is of port 7000). IPv4 addresses are not concerned.
    ///
    /// Default: the system's; on Linux dual stack unless `net.ipv6.bindv6only` is set. With
    /// [`tcp_all`](Listener::tcp_all): IPv6 alone.
    pub fn only_v6(mut self, only: bool) -> Self {
        self.options.only_v6 = Some(only);
        self
    }

    /// Unix sockets at a path: the file's permissions, set before anybody can connect; whoever may write may connect. More
    /// than the nine bits is refused.
    ///
    /// Default: 0o777 without what the process's umask takes away.
    #[cfg(unix)]
    pub fn mode(mut self, mode: u32) -> Self {
        self.options.mode = Some(mode);
        self
    }

    /// Unix sockets at a path: the file's owner and group, set before anybody can connect; `None` leaves one as it is.
    ///
    /// Default: as for every file that the process makes.
    #[cfg(unix)]
    pub fn owner(mut self, user: impl Into<Option<u32>>, group: impl Into<Option<u32>>) -> Self {
        self.options.owner = Some((user.into(), group.into()));
        self
    }

    /// Sees the socket once it is bound and before anybody can connect, for what there is no setting for; again whenever
    /// it is opened anew, by a [resume](crate::PoolHandle::resume). An inherited one is bound already.
    ///
    /// An error, or a panic, is that of the start, or of the resume.
    pub fn on_bind(mut self, hook: impl Fn(SockRef<'_>) -> io::Result<()> + Send + Sync + 'static) -> Self {
        self.options.bound = Some(SocketHook::new(hook));
        self
    }

    /// Sees every accepted socket, for what there is no setting for; on the arbiter of its acceptor, so it must not block.
    ///
    /// An error, or a panic, closes that socket, which is then not counted, and nothing else.
    ///
    /// ```
    /// use actix_acceptor::Listener;
    /// let listener = Listener::tcp("127.0.0.1:7000").on_accept(|socket| socket.set_tos_v4(0x10));
    /// ```
    pub fn on_accept(mut self, hook: impl Fn(SockRef<'_>) -> io::Result<()> + Send + Sync + 'static) -> Self {
        self.options.accepted = Some(SocketHook::new(hook));
        self
    }
}
