//! Where a Unix socket is.

use std::fmt;
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The address of a Unix socket.
///
/// ```
/// use actix_acceptor::transport::{Address, UnixAddress};
/// let file = Address::Unix(UnixAddress::path("/run/echo.sock"));
/// assert_eq!((&*file.to_string(), &*file.url()), ("/run/echo.sock", "unix:///run/echo.sock"));
/// let name = Address::Unix(UnixAddress::abstract_name("echo"));
/// assert_eq!((&*name.to_string(), &*name.url()), ("@echo", "unix:@echo"));
/// assert_eq!(UnixAddress::Unnamed.to_string(), "unnamed");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnixAddress {
    /// A file.
    Path(Arc<Path>),
    /// A name of Linux's own, without the zero byte in front of it. No file; gone with the socket.
    Abstract(Arc<[u8]>),
    /// None: a client that has not bound its socket.
    Unnamed,
}

impl UnixAddress {
    /// That of a file.
    pub fn path(path: impl Into<PathBuf>) -> Self {
        UnixAddress::Path(path.into().into())
    }

    /// That of an abstract name, given without the zero byte.
    pub fn abstract_name(name: impl AsRef<[u8]>) -> Self {
        UnixAddress::Abstract(name.as_ref().into())
    }
}

impl From<&SocketAddr> for UnixAddress {
    fn from(address: &SocketAddr) -> Self {
        if let Some(path) = address.as_pathname() {
            return UnixAddress::path(path);
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(name) = abstract_name(address) {
            return UnixAddress::abstract_name(name);
        }
        UnixAddress::Unnamed
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn abstract_name(address: &SocketAddr) -> Option<&[u8]> {
    #[cfg(target_os = "android")]
    use std::os::android::net::SocketAddrExt;
    #[cfg(target_os = "linux")]
    use std::os::linux::net::SocketAddrExt;
    address.as_abstract_name()
}

impl fmt::Display for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnixAddress::Path(path) => path.display().fmt(f),
            UnixAddress::Abstract(name) => write!(f, "@{}", String::from_utf8_lossy(name)),
            UnixAddress::Unnamed => f.write_str("unnamed"),
        }
    }
}
