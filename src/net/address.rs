//! The address of a peer or a listener.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

#[cfg(unix)]
use super::UnixAddress;

/// The address of a peer or of a listener.
///
/// Displayed as `127.0.0.1:7878`; [`Address::url`] adds the kind of transport.
///
/// ```
/// use actix_acceptor::transport::Address;
/// let address = Address::Tcp("127.0.0.1:7878".parse()?);
/// assert_eq!(address.to_string(), "127.0.0.1:7878");
/// assert_eq!(address.url(), "tcp://127.0.0.1:7878");
/// # Ok::<_, std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// An IPv4 or IPv6 address and a TCP port.
    Tcp(SocketAddr),
    /// The address of a Unix socket. Clients are usually unnamed.
    #[cfg(unix)]
    Unix(UnixAddress),
    /// A name given by a user-defined transport.
    Other(Arc<str>),
}

/// Writes what is displayed.
#[cfg(feature = "serde")]
impl serde::Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Address {
    /// The IP address and port of a TCP address.
    pub fn socket(&self) -> Option<SocketAddr> {
        match self {
            Address::Tcp(addr) => Some(*addr),
            #[cfg(unix)]
            Address::Unix(_) => None,
            Address::Other(_) => None,
        }
    }

    /// The IP address of a TCP address.
    pub fn ip(&self) -> Option<IpAddr> {
        self.socket().map(|addr| addr.ip())
    }

    /// The address with its kind as the scheme: `tcp://127.0.0.1:7878`, `unix:///run/echo.sock`, `unix:@echo`.
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

/// Makes `std::net::TcpStream::connect(address)` work. Yields no address for transports other than TCP.
impl ToSocketAddrs for Address {
    type Iter = std::option::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> std::io::Result<Self::Iter> {
        Ok(self.socket().into_iter())
    }
}
