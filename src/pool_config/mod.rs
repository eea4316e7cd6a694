//! [`PoolConfig`], the configuration of a pool in one file, and [`Pool::reload`](crate::Pool::reload), which applies it to a
//! running pool.
//!
//! ```text
//! file ── load() ──▶ PoolConfig ──▶ Builder::config ──▶ start
//!                         └───────▶ Pool::reload ──▶ Reloaded, or nothing has changed
//! ```

mod address;
#[cfg(feature = "config")]
mod file;
mod framing;
mod listener;
mod password;
mod proxy;
mod reload;
mod tls;

use std::path::{Path, PathBuf};

pub use address::{ListenAddress, ParseListenAddressError};
pub use framing::FramingConfig;
pub use listener::{KeepaliveConfig, ListenerConfig};
pub use password::Password;
pub use proxy::{ProxyConfig, ProxyMode};
pub use tls::{ClientCertificatesConfig, SniCertificate, TlsBackendName, TlsConfig, TlsVersionName};

pub use crate::config::DrainConfig;
use crate::config::SettingsPatch;
use crate::error::ConfigError;
use crate::framing::Framing;
use crate::listener::Listener;

/// The configuration of a pool: its settings, listeners with TLS and PROXY protocol, framing, and drain.
///
/// [`Builder::config`](crate::Builder::config) starts a pool with it, [`Pool::reload`](crate::Pool::reload) applies it to a
/// running pool. What it leaves out stays as it is: at the start as set in the builder, at a reload as currently in force.
/// Removing a key from a file therefore resets nothing at a reload; write the value that you want. Programs in which a missing key
/// means the value of the start keep the [`Settings`](crate::Settings) of the start, and merge the patch of each file into a
/// [`SettingsPatch`] made of them.
///
/// Feature `serde` makes it deserializable from any self-describing format. Feature `config` adds
/// [`load`](PoolConfig::load), [`from_toml`](PoolConfig::from_toml) and [`from_json`](PoolConfig::from_json), whose errors
/// name the file and the key. Unknown keys are rejected. As TOML:
///
/// ```toml
/// [settings]                                # any of `Settings`
/// max_connections = 10_000
/// idle_timeout = "5m"
/// rules = ["allow 10.0.0.0/8", "deny 0.0.0.0/0", "deny ::/0"]
///
/// [framing]                                 # for pools whose codec is `Framing`
/// name = "lines"                            # or: delimiter = "\r\n.\r\n"
/// max_frame = 65536
///
/// [drain]                                   # for `Drain::configured`
/// grace = "30s"
/// delay = "3s"
///
/// [[listeners]]
/// address = "tls://0.0.0.0:7443"            # tcp://HOST:PORT, tls://HOST:PORT, unix:///PATH, unix:@NAME
/// name = "public"
/// max_connections = 9_000
/// keepalive = { time = "60s", interval = "10s", retries = 4 }
/// proxy_protocol = { mode = "required", trusted = ["10.0.0.0/24"] }
///
/// [listeners.tls]
/// cert = "cert.pem"                         # relative to the directory of the file
/// key = "key.pem"
/// alpn = ["echo/1"]
/// sni = [{ name = "*.example.org", cert = "example.pem", key = "example.key" }]
///
/// [[listeners]]
/// address = "tcp://127.0.0.1:7878"
/// service = "admin"                         # added with `Builder::named_service`
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(default, deny_unknown_fields, expecting = "a table"))]
#[non_exhaustive]
pub struct PoolConfig {
    /// New values of settings. The others stay as they are.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::config::deserialize_unnamed"))]
    pub settings: SettingsPatch,
    /// The listeners of the pool, at least one. `None` leaves them as they are; a list replaces all of them.
    pub listeners: Option<Vec<ListenerConfig>>,
    /// How bytes are split into packets. `None` leaves it as it is.
    pub framing: Option<FramingConfig>,
    /// How the pool drains, for [`Drain::configured`](crate::Drain::configured).
    pub drain: DrainConfig,
    /// The file that it was read from, which errors name and relative paths refer to.
    #[cfg_attr(feature = "serde", serde(skip))]
    file: Option<PathBuf>,
}

/// A configuration whose certificates are loaded and whose values are checked as far as they can be without a pool.
pub(crate) struct Checked {
    pub(crate) settings: SettingsPatch,
    pub(crate) listeners: Option<Vec<Listener>>,
    pub(crate) framing: Option<ChangeFraming>,
    pub(crate) drain: DrainConfig,
}

/// Why a configuration with a framing is refused.
pub(crate) const NO_FRAMING: &str =
    "not available: the handler of this pool splits bytes by itself, or with another codec, or with one that depends on the peer; remove the key";

/// Makes the new framing from the current one.
pub(crate) type ChangeFraming = Box<dyn FnOnce(Framing) -> Framing + Send>;

impl PoolConfig {
    /// Checks everything that needs no pool, and loads the certificates. The error names every key that is invalid.
    pub(crate) fn check(&self) -> Result<Checked, Vec<ConfigError>> {
        let mut errors = Vec::new();
        if self.listeners.as_ref().is_some_and(Vec::is_empty) {
            let why = "at least one is required (got none); leave the key out to keep the listeners";
            errors.push(ConfigError::new("listeners", why));
        }
        let mut listeners = Vec::new();
        for (at, listener) in self.listeners.iter().flatten().enumerate() {
            let key = format!("listeners[{at}]");
            match listener.listener(&key, self.directory()) {
                Ok(listener) => listeners.push(listener.at_key(self.file.clone(), key)),
                Err(found) => errors.extend(found),
            }
        }
        let framing = self.framing.as_ref().map(FramingConfig::change).transpose();
        let framing = framing.unwrap_or_else(|error| {
            errors.push(error);
            None
        });
        if errors.is_empty() {
            let (settings, drain) = (self.settings.clone(), self.drain);
            let listeners = self.listeners.is_some().then_some(listeners);
            return Ok(Checked { settings, listeners, framing, drain });
        }
        Err(errors.into_iter().map(|error| self.locate(error)).collect())
    }

    /// States the file that this configuration is a part of: errors about its listeners name the file, and relative paths refer to
    /// its directory. [`load`](PoolConfig::load) does that by itself. For programs that keep settings of their own in the same file:
    ///
    /// ```
    /// # #[cfg(feature = "config")] {
    /// use actix_acceptor::{AcceptorPool, PoolConfig, Socket};
    /// use serde::Deserialize;
    ///
    /// #[derive(Deserialize)]
    /// #[serde(deny_unknown_fields)]
    /// struct Config {
    ///     greeting: String,
    ///     chat: PoolConfig,
    /// }
    ///
    /// # actix_rt::System::new().block_on(async {
    /// # let text = "greeting = 'hello'\n[chat.settings]\nmax_connections = 10";
    /// let config: Config = toml::from_str(text)?; // The text of /etc/chat.toml.
    /// let chat = config.chat.in_file("/etc/chat.toml");
    /// let pool = AcceptorPool::with_fn(|_: Socket| async {}).config(&chat).bind("127.0.0.1:0").await?;
    /// assert_eq!((&*config.greeting, pool.settings().max_connections), ("hello", 10));
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// # }
    /// ```
    pub fn in_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// The error with the name of the file.
    pub(crate) fn locate(&self, error: ConfigError) -> ConfigError {
        match &self.file {
            Some(file) => error.in_file(file),
            None => error,
        }
    }

    fn directory(&self) -> Option<&Path> {
        self.file.as_ref()?.parent()
    }
}
