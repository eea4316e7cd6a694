//! Where a peer or a listener is.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

#[cfg(unix)]
use super::UnixAddress;

/// The address of a peer or of a listener.
///
/// Shown as `127.0.0.1:7000`; [`Address::url`] puts the kind of transport in front.
///
/// ```
/// use actix_acceptor::transport::Address;
/// let address = Address::Tcp("127.0.0.1:7000".parse()?);
/// assert_eq!(address.to_string(), "127.0.0.1:7000");
/// assert_eq!(address.url(), "tcp://127.0.0.1:7000");
/// # Ok::<_, std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// An IPv4 or IPv6 address and a TCP port.
    Tcp(SocketAddr),
    /// Where a Unix socket is; that of a client mostly is nowhere.
    #[cfg(unix)]
    Unix(UnixAddress),
    /// Whatever a transport of one's own calls the place.
    Other(Arc<str>),
}

impl Address {
    /// The IP address and port, where there is one.
    pub fn socket(&self) -> Option<SocketAddr> {
        match self {
            Address::Tcp(addr) => Some(*addr),
            #[cfg(unix)]
            Address::Unix(_) => None,
            Address::Other(_) => None,
        }
    }

    /// The IP address, where there is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.socket().map(|addr| addr.ip())
    }

    /// The address with its kind in front: `tcp://127.0.0.1:7000`, `unix:///run/echo.sock`, `unix:@echo`.
    pub fn url(&self) -> String {
        match self {
            Address::Tcp(addr) => format!("tcp://{addr}"),
            #[cfg(unix)]
            Address::Unix(UnixAddress::Path(path)) => format!("unix://{}", path.display()),
            #[cfg(unix)]
            Address::Unix(address) => format!("unix:{address}"),
            Address::Other(name) => format!("other://{name}"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(addr) => addr.fmt(f),
            #[cfg(unix)]
            Address::Unix(address) => address.fmt(f),
            Address::Other(name) => name.fmt(f),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(addr: SocketAddr) -> Self {
        Address::Tcp(addr)
    }
}

#[cfg(unix)]
impl From<UnixAddress> for Address {
    fn from(address: UnixAddress) -> Self {
        Address::Unix(address)
    }
}

/// So that `std::net::TcpStream::connect(address)` works; yields nothing where there is no IP address.
impl ToSocketAddrs for Address {
    type Iter = std::option::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> std::io::Result<Self::Iter> {
        Ok(self.socket().into_iter())
    }
}
