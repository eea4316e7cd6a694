//! The settings of TLS.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

#[cfg(feature = "native-tls")]
use super::native;
#[cfg(feature = "watch")]
use super::watch;
#[cfg(feature = "rustls-no-provider")]
use super::{hello, rustls, ClientHello};
use super::{Config, Current, Loaded, Password, PemSource, Tls, TlsBackend, TlsError};
use crate::error::InvalidSetting;

/// A version of TLS, for [`TlsBuilder::min_version`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// Whether peers must present a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClientCertificates {
    /// Peers must present a valid certificate.
    Required,
    /// Peers may present a certificate, which must then be valid.
    Optional,
}

/// The settings of [`Tls`]. [`build`](TlsBuilder::build) reads and checks everything.
#[must_use = "call `build` to get a `Tls`"]
pub struct TlsBuilder(TlsConfig);

#[derive(Clone)]
pub(super) struct TlsConfig {
    pub(super) backend: TlsBackend,
    pub(super) identity: Identity,
    pub(super) key_password: Option<Password>,
    pub(super) by_name: Vec<(String, PemSource, PemSource)>,
    pub(super) alpn: Vec<Vec<u8>>,
    pub(super) min_version: Option<TlsVersion>,
    pub(super) clients: Option<(ClientCertificates, PemSource)>,
    #[cfg(feature = "rustls-no-provider")]
    pub(super) on_hello: Option<hello::OnHello>,
    #[cfg(feature = "watch")]
    pub(super) watched: bool,
}

#[derive(Clone)]
pub(super) enum Identity {
    Missing,
    /// Contained in a user-defined configuration.
    External,
    Pair {
        certificates: PemSource,
        key: PemSource,
    },
    // Without feature `native-tls`, this source is only rejected.
    #[cfg_attr(not(feature = "native-tls"), allow(dead_code))]
    Pkcs12 {
        archive: PemSource,
        password: String,
    },
}

impl TlsBuilder {
    pub(super) fn new(backend: TlsBackend) -> Self {
        TlsBuilder(TlsConfig {
            backend,
            identity: Identity::Missing,
            key_password: None,
            by_name: Vec::new(),
            alpn: Vec::new(),
            min_version: None,
            clients: None,
            #[cfg(feature = "rustls-no-provider")]
            on_hello: None,
            #[cfg(feature = "watch")]
            watched: false,
        })
    }

    /// Sets the certificate, followed by its chain, and its key, from files in PEM, or in DER for a single certificate.
    ///
    /// An encrypted key needs a [`key_password`](TlsBuilder::key_password). With `native-tls` the key must be PKCS#8;
    /// `openssl pkcs8 -topk8 -nocrypt` converts it.
    pub fn files(mut self, certificates: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        let (certificates, key) = (PemSource::File(certificates.into()), PemSource::File(key.into()));
        self.0.identity = Identity::Pair { certificates, key };
        self
    }

    /// Sets the certificate, followed by its chain, and its key, as PEM from memory.
    pub fn pem(self, certificates: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.der([certificates], key)
    }

    /// Sets the certificate, followed by its chain, and its key, as DER from memory. PEM is accepted as well.
    pub fn der(mut self, chain: impl IntoIterator<Item = impl Into<Vec<u8>>>, key: impl Into<Vec<u8>>) -> Self {
        self.0.identity = Identity::Pair { certificates: PemSource::memory(chain), key: PemSource::memory([key]) };
        self
    }

    /// Sets the password of encrypted keys, both of the default certificate and of those for server names. They must be PKCS#8
    /// (`BEGIN ENCRYPTED PRIVATE KEY`) with a cipher of PBES2, as `openssl pkcs8 -topk8 -v2 aes-256-cbc` writes them. Keys that are
    /// not encrypted are read as they are. [`Tls::reload`] uses the same password; [`Tls::replace`] can set another one.
    ///
    /// The password is kept in memory as long as the [`Tls`] exists, and is never logged.
    ///
    /// Without a password, an encrypted key is a [`TlsError::PasswordMissing`]; with a wrong one, a [`TlsError::PasswordWrong`].
    ///
    /// Default: none.
    pub fn key_password(mut self, password: impl Into<String>) -> Self {
        self.0.key_password = Some(Password::new(password.into()));
        self
    }

    /// Sets certificate and key from a PKCS#12 archive in a file. `native-tls` only.
    pub fn pkcs12_file(mut self, archive: impl Into<PathBuf>, password: impl Into<String>) -> Self {
        self.0.identity = Identity::Pkcs12 { archive: PemSource::File(archive.into()), password: password.into() };
        self
    }

    /// Sets certificate and key from a PKCS#12 archive in memory. `native-tls` only.
    pub fn pkcs12(mut self, archive: impl Into<Vec<u8>>, password: impl Into<String>) -> Self {
        self.0.identity = Identity::Pkcs12 { archive: PemSource::memory([archive]), password: password.into() };
        self
    }

    /// Adds a certificate for peers that request this server name (SNI). May be called repeatedly. `rustls` only.
    ///
    /// `*.example.org` matches every host of the domain, with one label in place of the `*`. Peers that request no name or an
    /// unknown one get the default certificate.
    pub fn sni_certificate(
        mut self,
        name: impl Into<String>,
        certificates: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.0.by_name.push((name.into(), PemSource::File(certificates.into()), PemSource::File(key.into())));
        self
    }

    /// Adds a certificate for a server name as [`sni_certificate`](TlsBuilder::sni_certificate) does, with certificate, chain
    /// and key as PEM from memory. `rustls` only.
    pub fn sni_certificate_pem(
        mut self,
        name: impl Into<String>,
        certificates: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        self.0.by_name.push((name.into(), PemSource::memory([certificates]), PemSource::memory([key])));
        self
    }

    /// Sets the application protocols to negotiate (ALPN), the preferred one first, each of 1 to 255 bytes.
    ///
    /// A peer that offers only other protocols is rejected by `rustls` (RFC 7301) and served without one by `native-tls`.
    ///
    /// Default: none.
    pub fn alpn<N: Into<Vec<u8>>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.0.alpn = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the lowest version to accept. With `native-tls` it can only be TLS 1.2; on OpenSSL that is also the highest.
    ///
    /// Default: TLS 1.2.
    pub fn min_version(mut self, version: TlsVersion) -> Self {
        self.0.min_version = Some(version);
        self
    }

    /// Requests certificates from peers, signed by one of the authorities in this PEM file. `rustls` only.
    ///
    /// Callbacks can read them: [`TlsInfo::peer_certificates`](crate::tls::TlsInfo::peer_certificates).
    ///
    /// Default: no certificates are requested.
    pub fn client_certificates(mut self, policy: ClientCertificates, authorities: impl Into<PathBuf>) -> Self {
        self.0.clients = Some((policy, PemSource::File(authorities.into())));
        self
    }

    /// Like [`client_certificates`](TlsBuilder::client_certificates), with the authorities as PEM in memory. `rustls` only.
    /// [`Tls::reload`] keeps them, [`Tls::replace`] replaces them. Of the two methods, the last call wins.
    pub fn client_certificates_pem(mut self, policy: ClientCertificates, authorities: impl Into<Vec<u8>>) -> Self {
        self.0.clients = Some((policy, PemSource::memory([authorities])));
        self
    }

    /// Registers a hook that is called with the ClientHello of every peer. `rustls` only.
    ///
    /// | result | effect |
    /// |---|---|
    /// | `Ok(None)` | The handshake continues with these settings. |
    /// | `Ok(Some(tls))` | The handshake continues with another [`Tls`] of the same back end, without calling its hook. Its reload and its expiry are separate. |
    /// | `Err(error)` | The peer gets the alert `access_denied`; the connection ends with [`HandshakeError::Failed`](crate::transport::HandshakeError::Failed). |
    ///
    /// It runs on the arbiter of the connection, so it must not block. A panic in it ends only that connection.
    ///
    /// ```no_run
    /// # #[cfg(feature = "rustls")]
    /// # fn main() -> Result<(), actix_acceptor::tls::TlsError> {
    /// use actix_acceptor::tls::Tls;
    ///
    /// let internal = Tls::rustls().files("internal.pem", "internal.key").build()?;
    /// let tls = Tls::rustls().files("public.pem", "public.key").on_client_hello(move |hello| match hello.server_name() {
    ///     Some("internal.example.org") => Ok(Some(internal.clone())),
    ///     Some(_) => Ok(None),
    ///     None => Err("a server name is required".into()),
    /// });
    /// let tls = tls.build()?;
    /// # Ok(()) }
    /// # #[cfg(not(feature = "rustls"))]
    /// # fn main() {}
    /// ```
    #[cfg(feature = "rustls-no-provider")]
    #[cfg_attr(docsrs, doc(cfg(feature = "rustls")))]
    pub fn on_client_hello(
        mut self,
        hook: impl Fn(&ClientHello<'_>) -> Result<Option<Tls>, crate::BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.0.on_hello = Some(Arc::new(hook));
        self
    }

    /// Watches the files and [reloads](Tls::reload) them when they change, until the [`Tls`] is dropped. Feature `watch`.
    ///
    /// If the new files cannot be read or are invalid, a warning is logged and the current certificates stay. The files are
    /// read again after 250 ms, then after pauses that double up to 30 seconds, until they are valid. Replaced files, and
    /// symbolic links whose target changes within the same directory, are detected too.
    ///
    /// Default: off.
    #[cfg(feature = "watch")]
    #[cfg_attr(docsrs, doc(cfg(feature = "watch")))]
    pub fn watch(mut self) -> Self {
        self.0.watched = true;
        self
    }

    /// Reads the certificates and keys and checks all settings.
    ///
    /// # Errors
    /// A file cannot be read, is longer than 4 MiB, or has no certificate or key; a key is encrypted, and the password is
    /// missing or wrong; certificate and key do not match; the
    /// files cannot be watched; or a setting is invalid or not supported by the back end. [`TlsError`] names the file or the
    /// setting.
    pub fn build(self) -> Result<Tls, TlsError> {
        let settings = self.into_config();
        #[cfg(feature = "watch")]
        let seen = watch::Seen::of(&settings);
        let tls = Tls::new(Current::load(settings)?);
        #[cfg(feature = "watch")]
        {
            let watch = watch::Watch::start(&tls, &tls.current().settings, seen)?;
            *tls.0.watch.lock() = watch;
        }
        Ok(tls)
    }

    pub(super) fn into_config(self) -> Arc<TlsConfig> {
        Arc::new(self.0)
    }

    /// Uses a user-defined configuration.
    pub(super) fn external(mut self, config: Config) -> Tls {
        self.0.identity = Identity::External;
        Tls::new(Current { settings: self.into_config(), config, expires: None, fingerprint: None })
    }
}

/// Does not show keys and passwords.
impl fmt::Debug for TlsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsBuilder").field("backend", &self.0.backend).finish_non_exhaustive()
    }
}

/// The error of settings without a certificate.
pub(super) fn no_certificate() -> TlsError {
    InvalidSetting::new("files", "no certificate; call `files`, `pem`, `der` or `pkcs12`").into()
}

impl TlsConfig {
    /// Reads the certificates and keys.
    pub(super) fn load(&self) -> Result<Loaded<Config>, TlsError> {
        if let Some(name) = self.alpn.iter().find(|name| name.is_empty() || name.len() > 255) {
            let why = format!("each name must have 1 to 255 bytes (got {})", name.len());
            return Err(InvalidSetting::new("alpn", why).into());
        }
        if matches!(self.identity, Identity::External) {
            let why = "not available for a configuration from `from_rustls` or `from_native`";
            return Err(InvalidSetting::new("reload", why).into());
        }
        #[cfg(feature = "watch")]
        if self.watched && self.files().is_empty() {
            return Err(InvalidSetting::new("watch", "no files to watch; call `files` or `pkcs12_file`").into());
        }
        match self.backend {
            #[cfg(feature = "native-tls")]
            TlsBackend::Native => native::configure(self).map(|(config, expires)| (Config::Native(config), expires)),
            #[cfg(feature = "rustls-no-provider")]
            TlsBackend::Rustls => rustls::configure(self).map(|(config, expires)| (Config::Rustls(config), expires)),
        }
    }
}
