//! The PROXY protocol in a configuration.

use crate::error::ConfigError;
use crate::listener::Listener;

/// The PROXY protocol of a listener: see `proxy::ProxyProtocol`. Feature `proxy-protocol`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(deny_unknown_fields, expecting = "a table with at least `mode`")
)]
#[non_exhaustive]
pub struct ProxyConfig {
    /// Whether every connection must start with a header.
    pub mode: ProxyMode,
    /// The senders whose header is accepted: IP addresses and CIDR blocks.
    #[cfg_attr(feature = "serde", serde(default))]
    pub trusted: Vec<String>,
    /// Whether the peers of Unix sockets are trusted.
    #[cfg_attr(feature = "serde", serde(default))]
    pub trust_local: bool,
    /// The maximum length of a header of version 2, in bytes. `None`: 4,096.
    #[cfg_attr(feature = "serde", serde(default, deserialize_with = "crate::config::representation::whole::given"))]
    pub max_header: Option<usize>,
}

/// Whether a header of the PROXY protocol is required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ProxyMode {
    /// Senders that are not trusted are refused.
    Required,
    /// What senders that are not trusted send is data.
    Optional,
}

impl ProxyConfig {
    #[cfg(feature = "proxy-protocol")]
    pub(super) fn add_to(&self, listener: Listener) -> Result<Listener, ConfigError> {
        use crate::handshake::ProxyProtocol;

        if self.trusted.is_empty() && !self.trust_local {
            let why = "no sender is trusted; list their addresses, or set `trust_local`";
            return Err(ConfigError::new("proxy_protocol.trusted", why));
        }
        let mut proxy = match self.mode {
            ProxyMode::Required => ProxyProtocol::required(),
            ProxyMode::Optional => ProxyProtocol::optional(),
        };
        for senders in &self.trusted {
            proxy = proxy.trust(senders).map_err(|error| ConfigError::caused("proxy_protocol.trusted", error))?;
        }
        if self.trust_local {
            proxy = proxy.trust_local();
        }
        if let Some(bytes) = self.max_header {
            proxy = proxy.max_header(bytes);
        }
        Ok(listener.proxy_protocol(proxy))
    }

    #[cfg(not(feature = "proxy-protocol"))]
    pub(super) fn add_to(&self, _: Listener) -> Result<Listener, ConfigError> {
        Err(ConfigError::without_feature("proxy_protocol", "`proxy-protocol`"))
    }
}
