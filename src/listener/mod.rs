//! Listeners: the sources of a pool's connections.
//!
//! | type | what it is |
//! |---|---|
//! | [`Listener`] | The description that the user builds: a source, a name, limits, handshake steps, socket options. Nothing is open. |
//! | [`Transport`] | An open socket, or a user-defined equivalent. |
//! | `ListenerState` | A listener of a running pool: a transport with its limits, handshake steps and mode. |
//! | `AcceptHandle` | One acceptor's handle of a `ListenerState`; it wraps the [`Accept`] of the transport. |
//! | `ListenerLimits` | The limits and counts of a `ListenerState`; in the module `limits`. |
//!
//! ```text
//! Listener ── open_listeners() ──▶ ListenerState ── AcceptHandle::of() ──▶ AcceptHandle ──▶ Accepted
//!  checked first                    one per address   one per acceptor
//! ```

mod bind;
mod change;
mod change_options;
mod hand_over;
mod hook;
mod inherited;
mod keepalive;
mod listen;
mod memory;
mod multipath;
mod open;
mod open_transport;
mod options;
mod options_info;
mod own_sockets;
mod place;
#[cfg(unix)]
mod readiness;
mod service;
mod setters;
mod state;
mod steps;
#[cfg(all(unix, feature = "listenfd"))]
mod systemd;
mod tcp;
mod transport;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
mod unix_file;

use std::fmt;
use std::sync::Arc;

use crate::config::Rate;
use crate::error::InvalidSetting;
use crate::handshake::Step;
use crate::limits::Env;
use crate::net::Address;

pub(crate) use bind::{open_first, resolve};
pub(crate) use change::{set_all_options, ListenerChange};
pub use hand_over::{ListeningSocket, OwnedListener};
pub(crate) use hook::SocketHook;
pub use inherited::Inherited;
pub use keepalive::Keepalive;
pub use memory::{Memory, MemoryConnector};
pub use multipath::MultipathTcp;
pub(crate) use open::{open_listeners, Opened};
use open_transport::OpenTransport;
pub(crate) use options::{ListenerKind, SocketOptions};
pub use options_info::{KeepaliveOptions, ListenerOptions};
use place::Place;
use service::ServiceChoice;
pub(crate) use service::{BuilderServices, ConnectionSpawner, ListenerService, NamedServices};
pub(crate) use state::{AcceptHandle, ForNewConnections, ListenerMode, ListenerState};
use steps::Steps;
#[cfg(all(unix, feature = "listenfd"))]
pub use systemd::SystemdError;
pub use tcp::Tcp;
pub use transport::{Accept, Accepted, Transport};
#[cfg(unix)]
pub use unix::Unix;

/// A source of connections for a pool, with a name, a limit and handshake steps of its own.
///
/// It only describes the listener; [`Builder::start`](crate::Builder::start) opens it.
///
/// ```
/// # actix_rt::System::new().block_on(async {
/// use actix_acceptor::{AcceptorPool, Listener, Socket};
///
/// let pool = AcceptorPool::with_fn(|_: Socket| async {})
///     .listener(Listener::tcp("127.0.0.1:0").name("public").max_connections(100))
///     .listener(Listener::tcp("127.0.0.1:0").name("internal"))
///     .start()
///     .await?;
/// assert_eq!(pool.local_addrs().len(), 2);
/// assert_eq!(&*pool.listeners()[0].name, "public");
/// # pool.stop(None).await;
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
/// ```
#[must_use = "a listener is opened by the pool that it is added to"]
pub struct Listener {
    name: Option<Arc<str>>,
    max_connections: Option<usize>,
    accept_rate: Option<Rate>,
    /// The first handshake step, before those of the transport and of the user.
    proxy: Option<Step>,
    /// Invalid settings, reported at the start.
    invalid: Vec<InvalidSetting>,
    /// The key in a configuration, if it is from one.
    key: Option<Place>,
    steps: Vec<Step>,
    source: Source,
    options: SocketOptions,
    service: ServiceChoice,
    /// A value for its connections.
    env: Option<Env>,
    /// Whether addresses that cannot be bound are skipped.
    best_effort: bool,
}

/// Where the transport of a listener comes from.
enum Source {
    Tcp(String),
    TcpAll(String),
    #[cfg(unix)]
    Unix(std::path::PathBuf),
    #[cfg(any(target_os = "linux", target_os = "android"))]
    UnixAbstract(Vec<u8>),
    Inherited(Inherited),
    Transport(OpenTransport),
}

impl Listener {
    /// Whether its peers come without a socket, as with [`Memory`].
    pub(crate) fn is_in_process(&self) -> bool {
        matches!(&self.source, Source::Transport(transport) if matches!(transport.local_addr(), Address::Other(_)))
    }

    /// Listens on a TCP port: `HOST:PORT`, or a `SocketAddr`.
    ///
    /// Of several addresses that a name resolves to, the first one that can be bound is used. With port 0 the system
    /// chooses a port.
    pub fn tcp(address: impl fmt::Display) -> Self {
        Self::new(Source::Tcp(address.to_string()))
    }

    /// Listens on a TCP port at every address that a name resolves to, for example `localhost:7878`.
    ///
    /// All addresses are bound or none; the error names each address that cannot be bound. With
    /// [`best_effort`](Listener::best_effort), those are skipped. With port 0 the system chooses one port for all addresses.
    ///
    /// Each address becomes a listener of its own. Its name is the address unless [`name`](Listener::name) sets one, and
    /// the [limit](Listener::max_connections) applies to each. IPv6 sockets accept only IPv6 here, because the IPv4
    /// addresses use the same port, unless [`only_v6`](Listener::only_v6) says otherwise.
    pub fn tcp_all(address: impl fmt::Display) -> Self {
        Self::new(Source::TcpAll(address.to_string()))
    }

    /// Listens on a Unix socket at this path: see [`transport::Unix`](crate::transport::Unix).
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

    /// Listens on a Unix socket with an abstract name: see
    /// [`Unix::bind_abstract`](crate::transport::Unix::bind_abstract).
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn unix_abstract(name: impl AsRef<[u8]>) -> Self {
        Self::new(Source::UnixAbstract(name.as_ref().into()))
    }

    /// Uses a socket that already listens: a [`TcpListener`](std::net::TcpListener) of `std` or, on Unix, a
    /// `UnixListener`.
    ///
    /// The socket is set to non-blocking. A descriptor that is not a listening stream socket fails the start.
    ///
    /// `Listener::from` does the same. For sockets that were opened with tokio, use `Listener::try_from`.
    pub fn from_socket(socket: impl Into<Inherited>) -> Self {
        Self::new(Source::Inherited(socket.into()))
    }

    /// Uses a transport that is already open, for example a user-defined one.
    pub fn from_transport(transport: impl Transport) -> Self {
        Self::new(Source::Transport(OpenTransport::of(transport)))
    }

    /// Sets the service of its connections. An invalid setting of the service fails the start.
    pub(crate) fn served_by(mut self, service: Arc<ListenerService>, invalid: Option<InvalidSetting>) -> Self {
        self.invalid.retain(|invalid| invalid.setting != "max_frame");
        self.invalid.extend(invalid);
        self.service = ServiceChoice::Own(service);
        self
    }

    /// Serves its connections with the service that was added to the builder under this name.
    pub(crate) fn served_by_named(mut self, name: impl Into<String>) -> Self {
        self.service = ServiceChoice::Named(name.into());
        self
    }

    fn new(source: Source) -> Self {
        Listener {
            name: None,
            max_connections: None,
            accept_rate: None,
            proxy: None,
            invalid: Vec::new(),
            key: None,
            steps: Vec::new(),
            source,
            options: SocketOptions::default(),
            service: ServiceChoice::default(),
            env: None,
            best_effort: false,
        }
    }
}

impl Source {
    fn kind(&self) -> ListenerKind {
        match self {
            Source::Tcp(_) | Source::TcpAll(_) => ListenerKind::Tcp,
            #[cfg(unix)]
            Source::Unix(_) => ListenerKind::UnixFile,
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Source::UnixAbstract(_) => ListenerKind::UnixOther,
            Source::Inherited(socket) => socket.kind(),
            Source::Transport(_) => ListenerKind::Transport,
        }
    }
}

/// As error messages name it.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Tcp(requested) | Source::TcpAll(requested) => f.write_str(requested),
            #[cfg(unix)]
            Source::Unix(path) => path.display().fmt(f),
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Source::UnixAbstract(name) => write!(f, "@{}", String::from_utf8_lossy(name)),
            Source::Inherited(socket) => socket.fmt(f),
            Source::Transport(transport) => f.write_str(&transport.local_addr().url()),
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.source.to_string();
        f.debug_struct("Listener").field("name", &self.name).field("address", &address).finish_non_exhaustive()
    }
}
