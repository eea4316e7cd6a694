//! A listener in a configuration.

use std::path::Path;
use std::time::Duration;

use super::{ListenAddress, ProxyConfig, TlsConfig};
use crate::config::Rate;
use crate::error::ConfigError;
use crate::listener::{Keepalive, Listener, MultipathTcp};

/// A listener: its address and the options of a [`Listener`].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(deny_unknown_fields, expecting = "a table with at least `address`")
)]
#[non_exhaustive]
pub struct ListenerConfig {
    /// Where it listens.
    pub address: ListenAddress,
    /// Its name: [`Listener::name`].
    #[cfg_attr(feature = "serde", serde(default))]
    pub name: Option<String>,
    /// The name of the service of its connections, added with [`Builder::named_service`](crate::Builder::named_service). `None`:
    /// the service of the builder.
    #[cfg_attr(feature = "serde", serde(default))]
    pub service: Option<String>,
    /// A connection limit of its own: [`Listener::max_connections`].
    #[cfg_attr(feature = "serde", serde(default, deserialize_with = "crate::config::representation::whole::given"))]
    pub max_connections: Option<usize>,
    /// A rate of new connections of its own: [`Listener::accept_rate`].
    #[cfg_attr(feature = "serde", serde(default))]
    pub accept_rate: Option<Rate>,
    /// TLS. Required with `tls://`, not available with `tcp://`. Feature `rustls` or `native-tls`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub tls: Option<TlsConfig>,
    /// The PROXY protocol. Feature `proxy-protocol`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub proxy_protocol: Option<ProxyConfig>,
    /// The length of the kernel's queue: [`Listener::backlog`].
    #[cfg_attr(feature = "serde", serde(default, deserialize_with = "crate::config::representation::whole::given"))]
    pub backlog: Option<u32>,
    /// `TCP_NODELAY`: [`Listener::nodelay`].
    #[cfg_attr(feature = "serde", serde(default))]
    pub nodelay: Option<bool>,
    /// Keepalive probes: [`Listener::keepalive`].
    #[cfg_attr(feature = "serde", serde(default))]
    pub keepalive: Option<KeepaliveConfig>,
    /// `SO_SNDBUF`, in bytes: [`Listener::send_buffer`].
    #[cfg_attr(feature = "serde", serde(default, deserialize_with = "crate::config::representation::whole::given"))]
    pub send_buffer: Option<usize>,
    /// `SO_RCVBUF`, in bytes: [`Listener::receive_buffer`].
    #[cfg_attr(feature = "serde", serde(default, deserialize_with = "crate::config::representation::whole::given"))]
    pub receive_buffer: Option<usize>,
    /// `SO_REUSEPORT`: [`Listener::reuse_port`].
    #[cfg_attr(feature = "serde", serde(default))]
    pub reuse_port: Option<bool>,
    /// A listening socket for each acceptor: [`Listener::reuse_port_per_acceptor`].
    #[cfg_attr(feature = "serde", serde(default))]
    pub reuse_port_per_acceptor: Option<bool>,
    /// Multipath TCP, `"off"`, `"try"` or `"require"`: [`Listener::multipath_tcp`].
    #[cfg_attr(feature = "serde", serde(default))]
    pub multipath_tcp: Option<MultipathTcp>,
    /// Whether an IPv6 socket accepts only IPv6 peers: [`Listener::only_v6`].
    #[cfg_attr(feature = "serde", serde(default))]
    pub only_v6: Option<bool>,
    /// The permissions of a Unix socket's file, in octal as text, such as `"660"`: `Listener::mode`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub mode: Option<String>,
}

/// TCP keepalive: a [`Keepalive`](crate::transport::Keepalive).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(deny_unknown_fields, expecting = "a table with at least `time`")
)]
#[non_exhaustive]
pub struct KeepaliveConfig {
    /// How long a connection is silent before the first probe.
    #[cfg_attr(feature = "serde", serde(with = "crate::config::representation::time"))]
    pub time: Duration,
    /// The time between two probes. `None`: the system's.
    #[cfg_attr(feature = "serde", serde(default, deserialize_with = "crate::config::representation::time::given"))]
    pub interval: Option<Duration>,
    /// How many unanswered probes end the connection. `None`: the system's.
    #[cfg_attr(feature = "serde", serde(default, deserialize_with = "crate::config::representation::whole::given"))]
    pub retries: Option<u32>,
}

impl ListenerConfig {
    /// A listener at this address, with the default options.
    pub fn new(address: ListenAddress) -> Self {
        ListenerConfig {
            address,
            name: None,
            service: None,
            max_connections: None,
            accept_rate: None,
            tls: None,
            proxy_protocol: None,
            backlog: None,
            nodelay: None,
            keepalive: None,
            send_buffer: None,
            receive_buffer: None,
            reuse_port: None,
            reuse_port_per_acceptor: None,
            multipath_tcp: None,
            only_v6: None,
            mode: None,
        }
    }

    /// The listener. `at` is its key, which errors name; relative paths refer to the directory.
    pub(super) fn listener(&self, at: &str, directory: Option<&Path>) -> Result<Listener, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let with_options = self.address.listener().and_then(|listener| self.with_options(listener));
        let listener = with_options.and_then(|listener| match &self.proxy_protocol {
            Some(proxy) => proxy.add_to(listener),
            None => Ok(listener),
        });
        let listener = listener.map_err(|error| errors.push(error.below(at))).ok();
        let listener = match (self.tls_section(), listener) {
            (Ok(Some(tls)), listener) => {
                // The certificates are read even if the listener is invalid, so that the error names everything.
                let loaded = tls.load(directory).map_err(|error| errors.push(error.below(at))).ok();
                listener.zip(loaded).map(|(listener, loaded)| loaded.add_to(listener))
            }
            (Ok(None), listener) => listener,
            (Err(error), _) => {
                errors.push(error.below(at));
                None
            }
        };
        listener.filter(|_| errors.is_empty()).ok_or(errors)
    }

    fn tls_section(&self) -> Result<Option<&TlsConfig>, ConfigError> {
        match (&self.address, &self.tls) {
            (ListenAddress::Tls(_), None) => {
                let why = format!("missing for {}; add `cert` and `key`, or use tcp://", self.address);
                Err(ConfigError::new("tls", why))
            }
            (ListenAddress::Tcp(address), Some(_)) => {
                let why = format!("not used by {}; write tls://{address}, or remove the section", self.address);
                Err(ConfigError::new("tls", why))
            }
            (_, tls) => Ok(tls.as_ref()),
        }
    }

    fn with_options(&self, mut listener: Listener) -> Result<Listener, ConfigError> {
        if let Some(name) = &self.name {
            listener = listener.name(name.clone());
        }
        if let Some(service) = &self.service {
            listener = listener.served_by_named(service.clone());
        }
        if let Some(connections) = self.max_connections {
            listener = listener.max_connections(connections);
        }
        if let Some(Rate { burst, per, .. }) = self.accept_rate {
            listener = listener.accept_rate(burst, per);
        }
        if let Some(connections) = self.backlog {
            listener = listener.backlog(connections);
        }
        if let Some(nodelay) = self.nodelay {
            listener = listener.nodelay(nodelay);
        }
        if let Some(KeepaliveConfig { time, interval, retries }) = self.keepalive {
            let keepalive = Keepalive::time(time);
            let keepalive = interval.map_or(keepalive, |interval| keepalive.interval(interval));
            listener = listener.keepalive(retries.map_or(keepalive, |retries| keepalive.retries(retries)));
        }
        if let Some(bytes) = self.send_buffer {
            listener = listener.send_buffer(bytes);
        }
        if let Some(bytes) = self.receive_buffer {
            listener = listener.receive_buffer(bytes);
        }
        if let Some(reuse) = self.reuse_port {
            listener = listener.reuse_port(reuse);
        }
        if let Some(per_acceptor) = self.reuse_port_per_acceptor {
            listener = listener.reuse_port_per_acceptor(per_acceptor);
        }
        if let Some(multipath) = self.multipath_tcp {
            listener = listener.multipath_tcp(multipath);
        }
        if let Some(only) = self.only_v6 {
            listener = listener.only_v6(only);
        }
        match &self.mode {
            Some(mode) => with_mode(listener, mode),
            None => Ok(listener),
        }
    }
}

#[cfg(unix)]
fn with_mode(listener: Listener, mode: &str) -> Result<Listener, ConfigError> {
    let bits = u32::from_str_radix(mode, 8);
    let invalid = |_| ConfigError::new("mode", format!("invalid mode {mode:?}: expected octal digits such as \"660\""));
    bits.map(|bits| listener.mode(bits)).map_err(invalid)
}

#[cfg(not(unix))]
fn with_mode(_: Listener, _: &str) -> Result<Listener, ConfigError> {
    Err(ConfigError::new("mode", "not available on this system; remove it"))
}
