//! What a pool listens on, before it is open.

mod bind;
mod hook;
mod inherited;
mod keepalive;
mod memory;
mod options;
#[cfg(unix)]
mod readiness;
mod setters;
mod state;
mod tcp;
mod transport;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
mod unix_file;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{InvalidSetting, StartError};
use crate::handshake::Handshake;
use crate::limits::{Limits, ListenerLimits};
use crate::net::Address;

use bind::open_all;
pub(crate) use bind::{open_first, resolve};
pub(crate) use hook::SocketHook;
#[cfg(all(unix, feature = "listenfd"))]
pub(crate) use inherited::activated;
pub use inherited::Inherited;
pub use keepalive::Keepalive;
pub use memory::{Memory, MemoryConnector};
pub(crate) use options::{ListenerKind, SocketOptions};
pub use state::BacklogPolicy;
pub(crate) use state::{AcceptHandle, ListenerMode, ListenerState};
pub use tcp::Tcp;
pub use transport::{Accept, Accepted, Transport};
#[cfg(unix)]
pub use unix::Unix;

/// One of the things a pool listens on, with a name and a limit of its own.
///
/// ```
/// # actix_rt::System::new().block_on(async {
/// use actix_acceptor::{AcceptorPool, Listener, Socket};
///
/// let pool = AcceptorPool::with_fn(|_: Socket| async {})
///     .listener(Listener::tcp("127.0.0.1:0").name("public").max_connections(100))
///     .listener(Listener::tcp("127.0.0.1:0").name("inside"))
///     .start()
///     .await?;
/// assert_eq!(pool.local_addrs().len(), 2);
/// assert_eq!(&*pool.listeners()[0].name, "public");
/// # pool.stop(None).await;
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
/// ```
pub struct Listener {
    name: Option<Arc<str>>,
    max_connections: Option<usize>,
    /// What goes before all steps.
    proxy: Option<Arc<dyn Handshake>>,
    invalid: Option<InvalidSetting>,
    steps: Vec<Arc<dyn Handshake>>,
    what: Source,
    pub(super) options: SocketOptions,
}

enum Source {
    Tcp(String),
    TcpAll(String),
    #[cfg(unix)]
    Unix(std::path::PathBuf),
    #[cfg(any(target_os = "linux", target_os = "android"))]
    UnixAbstract(Vec<u8>),
    Inherited(Inherited),
    Open(Box<dyn Transport>),
}

impl Listener {
    /// A TCP port: `HOST:PORT`, or a `SocketAddr`. Of several addresses that a name stands for, the first that can be bound
    /// is taken; port 0 lets the system choose one.
    pub fn tcp(address: impl fmt::Display) -> Self {
        Self::new(Source::Tcp(address.to_string()))
    }

    /// A TCP port on all addresses that a name stands for, `localhost:7000` for example: all or none of them, with an
    /// error for each that cannot be bound. Port 0 lets the system choose one, the same for all.
    ///
    /// Each address becomes a listener of its own: called after it unless there is a [`name`](Listener::name), with the
    /// [limit](Listener::max_connections) for each. IPv6 sockets take IPv6 alone here, since the others have the same
    /// port, unless [`only_v6`](Listener::only_v6) says otherwise.
    pub fn tcp_all(address: impl fmt::Display) -> Self {
        Self::new(Source::TcpAll(address.to_string()))
    }

    /// A Unix socket at this path: see [`transport::Unix`](crate::listener::Unix).
    ///
    /// ```
    /// # actix_rt::System::new().block_on(async {
    /// # let path = std::env::temp_dir().join(format!("doc-listener-{}.sock", std::process::id()));
    /// use actix_acceptor::{AcceptorPool, Listener, Socket};
    ///
    /// let pool = AcceptorPool::with_fn(|socket: Socket| async move {
    ///     let peer = socket.peer_credentials().expect("a Unix socket");
    ///     println!("user {} has connected", peer.uid);
    /// })
    /// .listener(Listener::unix(&path).mode(0o660))
    /// .start()
    /// .await?;
    /// assert_eq!(pool.local_addrs()[0].to_string(), path.display().to_string());
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    #[cfg(unix)]
    pub fn unix(path: impl Into<std::path::PathBuf>) -> Self {
        Self::new(Source::Unix(path.into()))
    }

    /// A Unix socket of an abstract name: see [`Unix::bind_abstract`](crate::listener::Unix::bind_abstract).
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn unix_abstract(name: impl AsRef<[u8]>) -> Self {
        Self::new(Source::UnixAbstract(name.as_ref().into()))
    }

    /// A socket that listens already: a [`TcpListener`](std::net::TcpListener) of `std` or, on Unix, a `UnixListener`.
    /// Source is not a stream socket that listens is refused at the start; it is set non-blocking.
    pub fn from_socket(socket: impl Into<Inherited>) -> Self {
        Self::new(Source::Inherited(socket.into()))
    }

    /// The sockets that systemd has opened for this program, each with its name (`FileDescriptorName=`): all of them,
    /// once. None if it was not started that way. Feature `listenfd`.
    ///
    /// # Errors
    /// When one of them is neither a TCP nor a Unix stream socket.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use actix_acceptor::{AcceptorPool, Listener, Socket};
    /// let mut builder = AcceptorPool::with_fn(|_: Socket| async {});
    /// for listener in Listener::from_systemd()? {
    ///     builder = builder.listener(listener);
    /// }
    /// # Ok(()) }
    /// ```
    #[cfg(all(unix, feature = "listenfd"))]
    #[cfg_attr(docsrs, doc(cfg(all(unix, feature = "listenfd"))))]
    pub fn from_systemd() -> std::io::Result<Vec<Self>> {
        let named = |(name, socket): (Option<String>, Inherited)| {
            let listener = Self::from_socket(socket);
            match name {
                Some(name) => listener.name(name),
                None => listener,
            }
        };
        Ok(crate::listener::activated()?.into_iter().map(named).collect())
    }

    /// A transport of one's own, or one that is open already.
    pub fn from_transport(transport: impl Transport) -> Self {
        Self::new(Source::Open(Box::new(transport)))
    }

    fn new(what: Source) -> Self {
        Listener {
            name: None,
            max_connections: None,
            proxy: None,
            invalid: None,
            steps: Vec::new(),
            what,
            options: SocketOptions::default(),
        }
    }

    /// The name that its connections tell. Default: the address it is bound to.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How many connections it may have, beside the limit of the pool. Default: as many as the pool.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = Some(connections);
        self
    }

    /// Has every peer go through this before it is ready; one more step each time, in the order given.
    pub fn handshake(mut self, step: impl Handshake) -> Self {
        self.steps.push(Arc::new(step));
        self
    }

    /// Speaks TLS: [`handshake`](Listener::handshake) with a [`Tls`](crate::handshake::Tls).
    #[cfg(any(feature = "native-tls", feature = "rustls"))]
    pub fn tls(self, tls: crate::handshake::Tls) -> Self {
        self.handshake(tls)
    }

    /// Has peers say first for whom they speak, before every other step of the handshake. A protocol that trusts nobody is
    /// refused at the start.
    #[cfg(feature = "proxy-protocol")]
    #[cfg_attr(docsrs, doc(cfg(feature = "proxy-protocol")))]
    pub fn proxy_protocol(mut self, proxy: crate::handshake::ProxyProtocol) -> Self {
        let why = "no sender is trusted; call `trust` or `trust_local`";
        self.invalid = (!proxy.has_trusted_senders()).then(|| InvalidSetting::new("proxy_protocol", why));
        self.proxy = Some(Arc::new(proxy));
        self
    }

    /// Source can be said before anything is opened.
    fn check(&self) -> Result<(), StartError> {
        let kind = match &self.what {
            Source::Tcp(_) | Source::TcpAll(_) => ListenerKind::Tcp,
            #[cfg(unix)]
            Source::Unix(_) => ListenerKind::UnixFile,
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Source::UnixAbstract(_) => ListenerKind::UnixOther,
            Source::Inherited(socket) => socket.opening(),
            Source::Open(_) => ListenerKind::Transport,
        };
        let no_room = || InvalidSetting::new("max_connections", "must be at least 1 (got 0)");
        let invalid = (self.max_connections == Some(0)).then(no_room);
        match invalid.or_else(|| self.invalid.clone()).or_else(|| self.options.invalid_setting(kind)) {
            Some(invalid) => Err(invalid.into()),
            None => Ok(()),
        }
    }

    /// Opens the ports; those of them that are open already, among `old`, are kept as they are.
    async fn open(
        self,
        limits: &Arc<Limits>,
        limit: Duration,
        old: &[Arc<ListenerState>],
    ) -> Result<Vec<Arc<ListenerState>>, StartError> {
        let Listener { name, max_connections, proxy, steps, what, options, .. } = self;
        let at = |address: &Address| old.iter().find(|state| state.transport.local_addr() == *address).cloned();
        // Nobody may believe that a port that was open in clear speaks TLS now.
        let keep = |kept: Vec<Arc<ListenerState>>| {
            let same = |state: &Arc<ListenerState>| {
                state.steps.len() == steps.len() + usize::from(proxy.is_some())
                    && max_connections.is_none_or(|max| state.limits.max() == Some(max))
            };
            let why = "it is open already, with another limit or another handshake";
            let refused = StartError::from(InvalidSetting::new("listener", why));
            kept.iter().all(same).then_some(kept).ok_or(refused)
        };
        let state = |transport: Box<dyn Transport>| {
            let name = name.clone().unwrap_or_else(|| transport.local_addr().to_string().into());
            let steps = proxy.clone().into_iter().chain(transport.handshake()).chain(steps.clone()).collect();
            ListenerState::new(transport, ListenerLimits::new(name, max_connections, limits.clone()), steps)
        };
        let refused = |what: String| move |source| StartError::SystemError { what, source };
        let opened: Box<dyn Transport> = match what {
            Source::Tcp(asked) => {
                let addresses = resolve(&asked, &asked, limit).await?;
                if let Some(kept) = addresses.iter().find_map(|addr| at(&Address::Tcp(*addr))) {
                    return keep(vec![kept]);
                }
                Box::new(open_first(&addresses, &asked, &options)?)
            }
            Source::TcpAll(asked) => {
                let addresses = resolve(&asked, &asked, limit).await?;
                let kept: Vec<_> = addresses.iter().filter_map(|addr| at(&Address::Tcp(*addr))).collect();
                let is_new = |addr: &std::net::SocketAddr| {
                    !kept.iter().any(|state| state.transport.local_addr() == Address::Tcp(*addr))
                };
                let new: Vec<_> = addresses.into_iter().filter(is_new).collect();
                let kept = keep(kept)?;
                let opened = open_all(&new, &asked, options)?;
                return Ok(kept.into_iter().chain(opened.into_iter().map(|tcp: Tcp| state(Box::new(tcp)))).collect());
            }
            #[cfg(unix)]
            Source::Unix(path) => {
                let refused = refused(path.display().to_string());
                let unix = std::path::absolute(&path).map(crate::net::UnixAddress::path).map(Address::Unix);
                if let Some(kept) = unix.ok().as_ref().and_then(at) {
                    return keep(vec![kept]);
                }
                Box::new(Unix::open_file(&path, options).map_err(refused)?)
            }
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Source::UnixAbstract(unix) => {
                let address = Address::Unix(crate::net::UnixAddress::abstract_name(&unix));
                if let Some(kept) = at(&address) {
                    return keep(vec![kept]);
                }
                Box::new(Unix::open_abstract(&unix, options).map_err(refused(address.to_string()))?)
            }
            Source::Inherited(socket) => {
                let refused = refused(socket.to_string());
                socket.open(options).map_err(refused)?
            }
            Source::Open(transport) => transport,
        };
        Ok(vec![state(opened)])
    }
}

/// Opens all ports, or none; every failure is named.
pub(crate) async fn open_listeners(
    listeners: Vec<Listener>,
    limits: &Arc<Limits>,
    limit: Duration,
    old: &[Arc<ListenerState>],
) -> Result<Vec<Arc<ListenerState>>, StartError> {
    let invalid = listeners.iter().filter_map(|listener| listener.check().err()).collect();
    StartError::all(invalid).map_or(Ok(()), Err)?;
    let (mut states, mut failures) = (Vec::<Arc<ListenerState>>::with_capacity(listeners.len()), Vec::new());
    for listener in listeners {
        match listener.open(limits, limit, old).await {
            // Named twice it is one all the same.
            Ok(opened) => opened.into_iter().for_each(|state| {
                if !states.iter().any(|other| Arc::ptr_eq(other, &state)) {
                    states.push(state);
                }
            }),
            Err(error) => failures.push(error),
        }
    }
    StartError::all(failures).map_or(Ok(states), Err)
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = match &self.what {
            Source::Tcp(asked) | Source::TcpAll(asked) => asked.clone(),
            #[cfg(unix)]
            Source::Unix(path) => path.display().to_string(),
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Source::UnixAbstract(name) => format!("@{}", String::from_utf8_lossy(name)),
            Source::Inherited(socket) => socket.to_string(),
            Source::Open(transport) => transport.local_addr().url(),
        };
        f.debug_struct("Listener").field("name", &self.name).field("address", &address).finish_non_exhaustive()
    }
}
