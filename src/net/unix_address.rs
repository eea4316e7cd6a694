//! The address of a Unix socket.

use std::fmt::{self, Write};
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
    /// A path.
    Path(Arc<Path>),
    /// An abstract name (Linux), without the leading zero byte. It has no file and disappears with the socket.
    Abstract(Arc<[u8]>),
    /// No address: a client that has not bound its socket.
    Unnamed,
}

impl UnixAddress {
    /// The address of a path.
    pub fn path(path: impl Into<PathBuf>) -> Self {
        UnixAddress::Path(path.into().into())
    }

    /// The address of an abstract name, given without the leading zero byte.
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
            UnixAddress::Path(path) => escaped(&path.to_string_lossy(), f),
            UnixAddress::Abstract(name) => {
                f.write_char('@')?;
                escaped(&String::from_utf8_lossy(name), f)
            }
            UnixAddress::Unnamed => f.write_str("unnamed"),
        }
    }
}

/// A client chooses the name that its socket is bound to: a line break in it must not begin a line of a log.
fn escaped(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    text.chars().try_for_each(|char| {
        if char.is_control() {
            write!(f, "{}", char.escape_default())
        } else {
            f.write_char(char)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_a_path_are_escaped() {
        let path = UnixAddress::path("/tmp/a\nINFO forged\u{1b}[2J.sock");
        assert_eq!(path.to_string(), "/tmp/a\\nINFO forged\\u{1b}[2J.sock");
        assert_eq!(UnixAddress::abstract_name(b"a\rb").to_string(), "@a\\rb");
        assert_eq!(UnixAddress::path("/run/größe.sock").to_string(), "/run/größe.sock");
    }
}
