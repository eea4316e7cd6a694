//! TLS in a configuration.

use std::path::{Path, PathBuf};

use super::Password;
use crate::error::ConfigError;
use crate::listener::Listener;

/// TLS of a listener: the files and options of a `tls::TlsBuilder`. Feature `rustls` or `native-tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(deny_unknown_fields, expecting = "a table with at least `cert` and `key`")
)]
#[non_exhaustive]
pub struct TlsConfig {
    /// The library. `None`: `rustls` if its feature is enabled, else `native-tls`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub backend: Option<TlsBackendName>,
    /// The file with the certificate and its chain.
    pub cert: PathBuf,
    /// The file with the key.
    pub key: PathBuf,
    /// The password of the keys, if they are encrypted. The configuration file is then a secret: only the user that runs the server
    /// should be able to read it.
    #[cfg_attr(feature = "serde", serde(default))]
    pub key_password: Option<Password>,
    /// Certificates for other server names.
    #[cfg_attr(feature = "serde", serde(default))]
    pub sni: Vec<SniCertificate>,
    /// The file with the authorities of client certificates.
    #[cfg_attr(feature = "serde", serde(default))]
    pub client_ca: Option<PathBuf>,
    /// Whether peers must present a certificate that `client_ca` has signed. `None`: they must.
    #[cfg_attr(feature = "serde", serde(default))]
    pub client_certificates: Option<ClientCertificatesConfig>,
    /// The application protocols (ALPN), the preferred one first.
    #[cfg_attr(feature = "serde", serde(default))]
    pub alpn: Vec<String>,
    /// The lowest version. `None`: TLS 1.2.
    #[cfg_attr(feature = "serde", serde(default))]
    pub min_version: Option<TlsVersionName>,
    /// Whether the files are read again when they change. Feature `watch`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub watch: bool,
}

/// A certificate for a server name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(deny_unknown_fields, expecting = "a table with `name`, `cert` and `key`")
)]
#[non_exhaustive]
pub struct SniCertificate {
    /// The server name, or `*.` and a domain.
    pub name: String,
    /// The file with the certificate and its chain.
    pub cert: PathBuf,
    /// The file with the key.
    pub key: PathBuf,
}

/// A library that implements TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum TlsBackendName {
    /// `rustls`.
    Rustls,
    /// The system's library, `native-tls`.
    #[cfg_attr(feature = "serde", serde(alias = "native"))]
    NativeTls,
}

/// Whether peers must present a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ClientCertificatesConfig {
    /// They must present a valid one.
    Required,
    /// They may present one, which must then be valid.
    Optional,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize))]
#[non_exhaustive]
pub enum TlsVersionName {
    /// TLS 1.2.
    #[cfg_attr(feature = "serde", serde(rename = "1.2"))]
    V1_2,
    /// TLS 1.3.
    #[cfg_attr(feature = "serde", serde(rename = "1.3"))]
    V1_3,
}

/// TLS whose files are loaded.
#[cfg(any(feature = "native-tls", feature = "rustls-no-provider"))]
pub(super) struct Loaded(crate::handshake::Tls);

#[cfg(any(feature = "native-tls", feature = "rustls-no-provider"))]
impl Loaded {
    pub(super) fn add_to(self, listener: Listener) -> Listener {
        listener.tls(self.0)
    }
}

#[cfg(any(feature = "native-tls", feature = "rustls-no-provider"))]
impl TlsConfig {
    /// Reads the files and checks the values. Relative paths refer to the directory.
    pub(super) fn load(&self, directory: Option<&Path>) -> Result<Loaded, ConfigError> {
        use crate::handshake::{ClientCertificates, Tls, TlsVersion};

        let path = |path: &PathBuf| directory.map_or_else(|| path.clone(), |directory| directory.join(path));
        let mut tls = Tls::builder(self.backend()?).files(path(&self.cert), path(&self.key));
        if let Some(password) = &self.key_password {
            tls = tls.key_password(password.expose());
        }
        for other in &self.sni {
            tls = tls.sni_certificate(&other.name, path(&other.cert), path(&other.key));
        }
        let policy = match self.client_certificates {
            Some(ClientCertificatesConfig::Optional) => ClientCertificates::Optional,
            Some(ClientCertificatesConfig::Required) | None => ClientCertificates::Required,
        };
        match &self.client_ca {
            Some(authorities) => tls = tls.client_certificates(policy, path(authorities)),
            None if self.client_certificates.is_some() => {
                let why = "has no effect without `client_ca`; name the file with the authorities";
                return Err(ConfigError::new("tls.client_certificates", why));
            }
            None => {}
        }
        if !self.alpn.is_empty() {
            tls = tls.alpn(self.alpn.iter().cloned());
        }
        tls = match self.min_version {
            Some(TlsVersionName::V1_2) => tls.min_version(TlsVersion::V1_2),
            Some(TlsVersionName::V1_3) => tls.min_version(TlsVersion::V1_3),
            None => tls,
        };
        if self.watch {
            #[cfg(feature = "watch")]
            {
                tls = tls.watch();
            }
            #[cfg(not(feature = "watch"))]
            return Err(ConfigError::without_feature("tls.watch", "`watch`"));
        }
        tls.build().map(Loaded).map_err(|error| ConfigError::caused("tls", error))
    }

    fn backend(&self) -> Result<crate::handshake::TlsBackend, ConfigError> {
        use crate::handshake::TlsBackend;

        match self.backend {
            #[cfg(feature = "rustls-no-provider")]
            None | Some(TlsBackendName::Rustls) => Ok(TlsBackend::Rustls),
            #[cfg(not(feature = "rustls-no-provider"))]
            None => Ok(TlsBackend::Native),
            #[cfg(feature = "native-tls")]
            Some(TlsBackendName::NativeTls) => Ok(TlsBackend::Native),
            #[cfg(not(feature = "rustls-no-provider"))]
            Some(TlsBackendName::Rustls) => Err(ConfigError::without_feature("tls.backend", "`rustls`")),
            #[cfg(not(feature = "native-tls"))]
            Some(TlsBackendName::NativeTls) => Err(ConfigError::without_feature("tls.backend", "`native-tls`")),
        }
    }
}

#[cfg(not(any(feature = "native-tls", feature = "rustls-no-provider")))]
pub(super) enum Loaded {}

#[cfg(not(any(feature = "native-tls", feature = "rustls-no-provider")))]
impl Loaded {
    pub(super) fn add_to(self, _: Listener) -> Listener {
        match self {}
    }
}

#[cfg(not(any(feature = "native-tls", feature = "rustls-no-provider")))]
impl TlsConfig {
    pub(super) fn load(&self, _: Option<&Path>) -> Result<Loaded, ConfigError> {
        Err(ConfigError::without_feature("tls", "`rustls` or `native-tls`"))
    }
}
