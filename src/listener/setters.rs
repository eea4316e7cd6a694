//! The settings of a listener.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;

use super::{Keepalive, Listener, MultipathTcp, SocketHook};
use crate::config::Rate;
#[cfg(feature = "proxy-protocol")]
use crate::error::InvalidSetting;
use crate::handshake::{Handshake, Step};
use crate::limits::Env;

/// Settings of every kind of listener.
impl Listener {
    /// Sets the name that connections, logs and [`listeners`](crate::PoolHandle::listeners) report.
    ///
    /// Default: the address that the listener is bound to. The only listener of [`bind`](crate::Builder::bind) has the name
    /// of its pool.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Limits the number of connections of this listener, in addition to the limit of the pool. 0 is rejected at the start.
    ///
    /// Default: the limit of the pool.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = Some(connections);
        self
    }

    /// Limits the rate of new connections of this listener, in addition to the rates of the pool: a token bucket that starts
    /// with `burst` tokens and refills within `per`. It is checked after the peer's own limits and before
    /// [`Builder::accept_rate`](crate::Builder::accept_rate). Peers above it count as
    /// [`Rate`](crate::telemetry::RefusalReason::Rate) and are refused, or held with [`at_rate`](crate::Builder::at_rate). Both
    /// values must be greater than zero.
    ///
    /// [`set_listeners`](crate::Pool::set_listeners) can change it while the listener is open; a changed rate starts with a full
    /// bucket.
    ///
    /// Default: no limit.
    pub fn accept_rate(mut self, burst: u32, per: Duration) -> Self {
        self.accept_rate = Some(Rate::new(burst, per));
        self
    }

    /// Gives the connections of this listener a value, such as the configuration of a tenant, as ranch's `ProtoOpts` does.
    /// Connections read it with [`Conn::env`](crate::Conn::env) and [`Socket::env`](crate::Socket::env), factories with
    /// [`Peer::env`](crate::Peer::env). A listener has one value, of any type; a second call replaces it.
    ///
    /// [`set_listeners`](crate::Pool::set_listeners) replaces it for new connections. The listener then counts as changed, since
    /// values cannot be compared. Live connections keep the value with which they were accepted; it is dropped with the last of
    /// them. Listeners of a [`PoolConfig`](crate::PoolConfig) have none.
    ///
    /// Default: none.
    ///
    /// ```
    /// # use std::io::Read;
    /// # actix_rt::System::new().block_on(async {
    /// use actix_acceptor::{AcceptorPool, Listener, Socket};
    /// use tokio::io::AsyncWriteExt;
    ///
    /// struct Greeting(&'static str);
    ///
    /// let handler = |mut socket: Socket| async move {
    ///     let greeting = socket.env::<Greeting>().map_or("", |greeting| greeting.0);
    ///     let _ = socket.write_all(greeting.as_bytes()).await;
    /// };
    /// let pool = AcceptorPool::with_fn(handler)
    ///     .listener(Listener::tcp("127.0.0.1:0").env(Greeting("hello")))
    ///     .listener(Listener::tcp("127.0.0.1:0").env(Greeting("bonjour")))
    ///     .start()
    ///     .await?;
    /// # let addresses: Vec<_> = pool.local_addrs().iter().filter_map(|address| address.socket()).collect();
    /// # let read = tokio::task::spawn_blocking(move || -> std::io::Result<String> {
    /// #     let mut read = String::new();
    /// #     for address in addresses {
    /// #         std::net::TcpStream::connect(address)?.read_to_string(&mut read)?;
    /// #     }
    /// #     Ok(read)
    /// # }).await??;
    /// # assert_eq!(read, "hellobonjour");
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn env<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.env = Some(Env::new(value));
        self
    }

    /// Adds a handshake step that every connection passes before it is ready. Steps run in the order of the calls.
    pub fn handshake(mut self, step: impl Handshake) -> Self {
        self.steps.push(Step::new(step));
        self
    }

    /// For [`tcp_all`](Listener::tcp_all): whether to skip addresses that cannot be bound. Each is logged with its error. If none
    /// can be bound, the start fails with an error that names them all. An invalid setting for other kinds of listeners.
    ///
    /// [`set_listeners`](crate::Pool::set_listeners) with the same listener tries the skipped addresses again; those that are
    /// open stay open.
    ///
    /// Default: `false`: all addresses are bound, or none.
    pub fn best_effort(mut self, best_effort: bool) -> Self {
        self.best_effort = best_effort;
        self
    }

    /// Enables TLS: a [`handshake`](Listener::handshake) step with a [`Tls`](crate::tls::Tls).
    #[cfg(any(feature = "native-tls", feature = "rustls-no-provider"))]
    pub fn tls(self, tls: crate::handshake::Tls) -> Self {
        self.handshake(tls)
    }

    /// Enables the PROXY protocol. The header comes before every other handshake step.
    ///
    /// A [`ProxyProtocol`](crate::proxy::ProxyProtocol) that trusts no sender fails the start.
    #[cfg(feature = "proxy-protocol")]
    #[cfg_attr(docsrs, doc(cfg(feature = "proxy-protocol")))]
    pub fn proxy_protocol(mut self, proxy: crate::handshake::ProxyProtocol) -> Self {
        let why = "no sender is trusted; call `trust` or `trust_local`";
        self.invalid.retain(|invalid| invalid.setting != "proxy_protocol");
        if !proxy.has_trusted_senders() {
            self.invalid.push(InvalidSetting::new("proxy_protocol", why));
        }
        self.proxy = Some(Step::new(proxy));
        self
    }
}

/// Settings of the listening socket and of the sockets accepted from it.
///
/// A setting that this kind of listener does not support fails the start before anything is opened. With
/// [`from_transport`](Listener::from_transport) none is supported, because the transport is already open.
impl Listener {
    /// Sets how many connections the kernel queues before an acceptor accepts them. The system may lower it (on Linux to
    /// `net.core.somaxconn`). 0 is rejected at the start.
    ///
    /// Default: 1,024. An [inherited](Listener::from_socket) socket keeps its own.
    pub fn backlog(mut self, connections: u32) -> Self {
        self.options.backlog = Some(connections);
        self
    }

    /// TCP: whether small packets are sent at once (`TCP_NODELAY`), instead of being held back until the previous one is
    /// acknowledged.
    ///
    /// Default: on.
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.options.nodelay = Some(nodelay);
        self
    }

    /// TCP: enables keepalive probes, by which the kernel detects peers that have vanished.
    ///
    /// Default: off. The [idle timeout](crate::Builder::idle_timeout) ends silent connections in any case.
    pub fn keepalive(mut self, keepalive: Keepalive) -> Self {
        self.options.keepalive = Some(keepalive);
        self
    }

    /// Sets the size in bytes of each connection's kernel buffer for data that is sent and not yet acknowledged
    /// (`SO_SNDBUF`; Linux doubles it). 0 is rejected at the start.
    ///
    /// Default: the system's; TCP adjusts it automatically.
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.options.send_buffer = Some(bytes);
        self
    }

    /// Sets the size in bytes of each connection's kernel buffer for data that is received and not yet read (`SO_RCVBUF`;
    /// Linux doubles it). 0 is rejected at the start.
    ///
    /// Default: the system's; TCP adjusts it automatically.
    pub fn receive_buffer(mut self, bytes: usize) -> Self {
        self.options.receive_buffer = Some(bytes);
        self
    }

    /// TCP on Unix: whether other sockets with the same option may be bound to the same port, for example those of another
    /// process of the same user (`SO_REUSEPORT`).
    ///
    /// On Linux each socket gets a share of the connections, and those in the queue of a socket that closes are lost. Fails
    /// the start on systems without this option.
    ///
    /// Default: off.
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.options.reuse_port = Some(reuse);
        self
    }

    /// TCP on Linux and Android: whether each acceptor accepts from a listening socket of its own, with its own queue, instead of
    /// one that all share (`SO_REUSEPORT` within the pool). The kernel assigns peers to the sockets by a hash of their address.
    ///
    /// This helps when many short connections arrive on a machine with many cores and the acceptors contend for the one queue.
    /// It is not an advantage with long connections or few acceptors, since it has a price:
    ///
    /// - Acceptors no longer leave peers to those with fewer connections, so the arbiters may be loaded unevenly.
    /// - The peers of an acceptor whose arbiter is blocked wait in its queue, although others could serve them. While an acceptor
    ///   is restarted, its peers wait as well.
    /// - The [backlog](Listener::backlog) applies to each socket.
    ///
    /// The number of sockets is the number of acceptors when the listener is added. If the pool has fewer acceptors later, each
    /// accepts from several sockets; if it has more, they share the sockets. No socket is closed before the listener, so no
    /// queue is lost when acceptors are stopped or restarted. When the listener closes, the queues of all sockets are handled as
    /// [`backlog_on_close`](crate::Builder::backlog_on_close) says. At the connection limit, acceptors take turns in accepting a
    /// peer. The hook [`on_bind`](Listener::on_bind) is called for each socket.
    ///
    /// The port is not shared with a program that already listens on it, unless [`reuse_port`](Listener::reuse_port) is on as
    /// well. Another process of the same user that sets `SO_REUSEPORT` can bind it afterwards, and then gets a share of the
    /// peers.
    ///
    /// Fails the start on other systems. It cannot be changed by [`set_listeners`](crate::PoolHandle::set_listeners).
    ///
    /// Default: off.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")]
    /// # actix_rt::System::new().block_on(async {
    /// use actix_acceptor::{AcceptorPool, Listener, Socket};
    ///
    /// let pool = AcceptorPool::with_fn(|_: Socket| async {})
    ///     .acceptors(4)
    ///     .listener(Listener::tcp("127.0.0.1:0").reuse_port_per_acceptor(true))
    ///     .start()
    ///     .await?;
    /// assert_eq!(pool.listeners()[0].options.sockets, Some(4));
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn reuse_port_per_acceptor(mut self, per_acceptor: bool) -> Self {
        self.options.reuse_port_per_acceptor = Some(per_acceptor);
        self
    }

    /// TCP on Linux: whether connections may use several paths at a time (Multipath TCP). Peers with plain TCP are always
    /// served. [`ListenerOptions::multipath_tcp`](crate::info::ListenerOptions::multipath_tcp) reports the result.
    ///
    /// If the kernel does not support it, [`Try`](MultipathTcp::Try) falls back to plain TCP, and
    /// [`Require`](MultipathTcp::Require) is an error. On systems other than Linux, both are errors at the start. Cannot change while
    /// the listener is open.
    ///
    /// Default: [`Off`](MultipathTcp::Off).
    pub fn multipath_tcp(mut self, multipath: MultipathTcp) -> Self {
        self.options.multipath_tcp = Some(multipath);
        self
    }

    /// TCP: whether an IPv6 socket accepts only IPv6 peers, or IPv4 peers as well ("dual stack": `[::]:7878` then occupies
    /// port 7878 of all addresses). Has no effect on IPv4 addresses.
    ///
    /// Default: the system's; on Linux dual stack unless `net.ipv6.bindv6only` is set. With
    /// [`tcp_all`](Listener::tcp_all): IPv6 only.
    pub fn only_v6(mut self, only: bool) -> Self {
        self.options.only_v6 = Some(only);
        self
    }

    /// Unix sockets at a path: sets the permissions of the file before any peer can connect. Connecting requires write
    /// permission. A mode above 0o777 fails the start.
    ///
    /// Default: 0o777 minus the umask of the process.
    #[cfg(unix)]
    pub fn mode(mut self, mode: u32) -> Self {
        self.options.mode = Some(mode);
        self
    }

    /// Unix sockets at a path: sets the owner and group of the file before any peer can connect. `None` leaves that one
    /// unchanged.
    ///
    /// Default: as for every file that the process creates.
    #[cfg(unix)]
    pub fn owner(mut self, user: impl Into<Option<u32>>, group: impl Into<Option<u32>>) -> Self {
        self.options.owner = Some((user.into(), group.into()));
        self
    }

    /// Registers a hook for the socket once it is bound and before any peer can connect, for options without a setting
    /// here.
    ///
    /// The hook runs again whenever a [resume](crate::PoolHandle::resume) opens a new socket. An inherited socket is
    /// already bound and may already have connections in its queue.
    ///
    /// An error or a panic of the hook fails the start or the resume.
    pub fn on_bind(mut self, hook: impl Fn(SockRef<'_>) -> io::Result<()> + Send + Sync + 'static) -> Self {
        self.options.on_bind = Some(SocketHook::new(hook));
        self
    }

    /// Registers a hook for every accepted socket, for options without a setting here. It runs on the arbiter of the
    /// acceptor, so it must not block.
    ///
    /// An error or a panic of the hook closes that socket only; it is then not counted.
    ///
    /// ```
    /// use actix_acceptor::Listener;
    /// let listener = Listener::tcp("127.0.0.1:7878").on_accept(|socket| socket.set_tos_v4(0x10));
    /// ```
    pub fn on_accept(mut self, hook: impl Fn(SockRef<'_>) -> io::Result<()> + Send + Sync + 'static) -> Self {
        self.options.on_accept = Some(SocketHook::new(hook));
        self
    }
}
