//! What a pool listens on, before it is open.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{lookup_host, ToSocketAddrs};

use crate::acceptor::Inlet;
use crate::error::StartError;
use crate::limits::{Limits, Port};
use crate::transport::{Address, Handshake, Tcp, Transport};

/// One of the things a pool listens on, with a name and a limit of its own.
///
/// ```
/// # actix_rt::System::new().block_on(async {
/// use actix_acceptor::{AcceptorPool, Listener, Socket};
///
/// let pool = AcceptorPool::serve(|_: Socket| async {})
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
    steps: Vec<Arc<dyn Handshake>>,
    what: What,
}

enum What {
    Tcp(String),
    Open(Box<dyn Transport>),
}

impl Listener {
    /// A TCP port: `HOST:PORT`, or a `SocketAddr`. Of several addresses that a name stands for, the first that can be bound
    /// is taken; port 0 lets the system choose one.
    pub fn tcp(address: impl fmt::Display) -> Self {
        Self::new(What::Tcp(address.to_string()))
    }

    /// A transport of one's own, or one that is open already.
    pub fn on(transport: impl Transport) -> Self {
        Self::new(What::Open(Box::new(transport)))
    }

    fn new(what: What) -> Self {
        Listener { name: None, max_connections: None, steps: Vec::new(), what }
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

    /// Speaks TLS: [`handshake`](Listener::handshake) with a [`Tls`](crate::transport::Tls).
    #[cfg(any(feature = "native-tls", feature = "rustls"))]
    pub fn tls(self, tls: crate::transport::Tls) -> Self {
        self.handshake(tls)
    }

    /// The address it stands for already, if it is the one of a listener that is open.
    pub(super) fn is_at(&self, address: &Address) -> bool {
        match (&self.what, address) {
            (What::Tcp(asked), Address::Tcp(at)) => asked.parse() == Ok(*at),
            _ => false,
        }
    }

    /// Opens the port.
    pub(crate) async fn open(self, limits: &Arc<Limits>, limit: Duration) -> Result<Arc<Inlet>, StartError> {
        if self.max_connections == Some(0) {
            let (setting, why) = ("max_connections", "a listener needs room for one connection");
            return Err(StartError::InvalidSetting { setting, why });
        }
        let transport: Box<dyn Transport> = match self.what {
            What::Open(transport) => transport,
            What::Tcp(asked) => Box::new(open_port(&asked, &asked, limit).await?),
        };
        let name = self.name.unwrap_or_else(|| transport.local_addr().to_string().into());
        let steps = transport.handshake().into_iter().chain(self.steps).collect();
        Ok(Inlet::new(transport, Port::new(name, self.max_connections, limits.clone()), steps))
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = match &self.what {
            What::Tcp(asked) => asked.clone(),
            What::Open(transport) => transport.local_addr().url(),
        };
        f.debug_struct("Listener").field("name", &self.name).field("address", &address).finish_non_exhaustive()
    }
}

/// Resolves the address and binds the first one that can be bound.
pub(crate) async fn open_port(address: impl ToSocketAddrs, asked: &str, limit: Duration) -> Result<Tcp, StartError> {
    let system = |source| StartError::SystemError { what: asked.to_owned(), source };
    let addresses: Vec<SocketAddr> = match tokio::time::timeout(limit, lookup_host(address)).await {
        Err(_) => return Err(StartError::ListenerTimeout { address: asked.to_owned(), limit }),
        Ok(resolved) => resolved.map_err(system)?.collect(),
    };
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name stands for no address");
    for address in addresses {
        match Tcp::bind(address) {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = error,
        }
    }
    Err(system(last))
}
