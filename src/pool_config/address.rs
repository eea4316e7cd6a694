//! The address of a listener in a configuration.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::ConfigError;
use crate::listener::Listener;

/// The address of a listener, as a URL: `tcp://HOST:PORT`, `tls://HOST:PORT`, `unix:///PATH` or `unix:@NAME`.
///
/// An IPv6 address is written in brackets. With port 0 the system chooses one.
///
/// ```
/// use actix_acceptor::pool_config::ListenAddress;
///
/// let address: ListenAddress = "tls://[::1]:7443".parse()?;
/// assert_eq!(address, ListenAddress::Tls("[::1]:7443".into()));
/// assert_eq!(address.to_string(), "tls://[::1]:7443");
/// assert!("127.0.0.1:7878".parse::<ListenAddress>().is_err());
/// # Ok::<_, actix_acceptor::pool_config::ParseListenAddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(try_from = "String"))]
#[non_exhaustive]
pub enum ListenAddress {
    /// A TCP port.
    Tcp(String),
    /// A TCP port whose peers use TLS from the first byte on.
    Tls(String),
    /// A Unix socket at this path.
    Unix(PathBuf),
    /// A Unix socket with an abstract name (Linux).
    UnixAbstract(String),
}

impl ListenAddress {
    pub(super) fn listener(&self) -> Result<Listener, ConfigError> {
        match self {
            ListenAddress::Tcp(address) | ListenAddress::Tls(address) => Ok(Listener::tcp(address)),
            #[cfg(unix)]
            ListenAddress::Unix(path) => Ok(Listener::unix(path)),
            #[cfg(any(target_os = "linux", target_os = "android"))]
            ListenAddress::UnixAbstract(name) => Ok(Listener::unix_abstract(name)),
            #[allow(unreachable_patterns)]
            other => Err(ConfigError::new("address", format!("{other}: not available on this system; use tcp://"))),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = ParseListenAddressError;

    fn from_str(url: &str) -> Result<Self, ParseListenAddressError> {
        let invalid = || ParseListenAddressError(url.to_owned());
        let (kind, rest) = url.split_once(':').ok_or_else(invalid)?;
        match (kind, rest.strip_prefix("//"), rest.strip_prefix('@')) {
            ("tcp", Some(address), _) if has_port(address) => Ok(ListenAddress::Tcp(address.into())),
            ("tls", Some(address), _) if has_port(address) => Ok(ListenAddress::Tls(address.into())),
            ("unix", Some(path), _) if path.starts_with('/') && path.len() > 1 => Ok(ListenAddress::Unix(path.into())),
            ("unix", _, Some(name)) if !name.is_empty() => Ok(ListenAddress::UnixAbstract(name.into())),
            _ => Err(invalid()),
        }
    }
}

/// Whether the text has the form `HOST:PORT`.
fn has_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| {
        let is_bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
        !host.is_empty() && !is_bare_v6 && port.parse::<u16>().is_ok()
    })
}

impl TryFrom<String> for ListenAddress {
    type Error = ParseListenAddressError;

    fn try_from(url: String) -> Result<Self, ParseListenAddressError> {
        url.parse()
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => write!(f, "tcp://{address}"),
            ListenAddress::Tls(address) => write!(f, "tls://{address}"),
            ListenAddress::Unix(path) => write!(f, "unix://{}", path.display()),
            ListenAddress::UnixAbstract(name) => write!(f, "unix:@{name}"),
        }
    }
}

/// The text is not a valid [`ListenAddress`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid address {0:?}: expected tcp://HOST:PORT, tls://HOST:PORT, unix:///PATH or unix:@NAME, an IPv6 address in brackets"
)]
pub struct ParseListenAddressError(String);
