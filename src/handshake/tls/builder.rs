//! What TLS is to be made of, as the user says it.

use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::SystemTime;

#[cfg(feature = "native-tls")]
use super::native;
use super::{certificate, Config, Current, Inner, PemSource, Tls, TlsBackend, TlsError};
#[cfg(feature = "rustls")]
use super::{hello, rustls, ClientHello};
use crate::error::InvalidSetting;

/// The lowest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// Whether peers must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClientCertificates {
    /// They must, and it must be good.
    Required,
    /// They may; one that is shown must be good.
    Optional,
}

/// What TLS is to be made of; [`build`](TlsBuilder::build) reads and checks it.
#[must_use = "there is no TLS before `build`"]
pub struct TlsBuilder(TlsConfig);

#[derive(Clone)]
pub(super) struct TlsConfig {
    pub(super) backend: TlsBackend,
    pub(super) identity: Identity,
    pub(super) by_name: Vec<(String, PemSource, PemSource)>,
    pub(super) alpn: Vec<Vec<u8>>,
    pub(super) min_version: Option<TlsVersion>,
    pub(super) clients: Option<(ClientCertificates, PemSource)>,
    #[cfg(feature = "rustls")]
    pub(super) on_hello: Option<hello::OnHello>,
    #[cfg(feature = "watch")]
    pub(super) watched: bool,
}

#[derive(Clone)]
pub(super) enum Identity {
    Missing,
    /// It was made elsewhere.
    Given,
    Pair {
        certificates: PemSource,
        key: PemSource,
    },
    // Without native-tls it is only refused.
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
            by_name: Vec::new(),
            alpn: Vec::new(),
            min_version: None,
            clients: None,
            #[cfg(feature = "rustls")]
            on_hello: None,
            #[cfg(feature = "watch")]
            watched: false,
        })
    }

    /// The certificate, its chain behind it, and its key, from files: PEM, or DER where one certificate is all. The key is
    /// not encrypted; by `native-tls` it is PKCS#8 (`openssl pkcs8 -topk8 -nocrypt` makes it so).
    pub fn files(mut self, certificates: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        let (certificates, key) = (PemSource::File(certificates.into()), PemSource::File(key.into()));
        self.0.identity = Identity::Pair { certificates, key };
        self
    }

    /// The certificate, its chain behind it, and its key, as PEM from memory.
    pub fn pem(self, certificates: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.der([certificates], key)
    }

    /// The certificate, its chain behind it, and its key, as DER from memory. (PEM is understood as well.)
    pub fn der(mut self, chain: impl IntoIterator<Item = impl Into<Vec<u8>>>, key: impl Into<Vec<u8>>) -> Self {
        self.0.identity = Identity::Pair { certificates: PemSource::memory(chain), key: PemSource::memory([key]) };
        self
    }

    /// Certificate and key from a PKCS#12 archive in a file. By `native-tls` only.
    pub fn pkcs12_file(mut self, archive: impl Into<PathBuf>, password: impl Into<String>) -> Self {
        self.0.identity = Identity::Pkcs12 { archive: PemSource::File(archive.into()), password: password.into() };
        self
    }

    /// Certificate and key from a PKCS#12 archive in memory. By `native-tls` only.
    pub fn pkcs12(mut self, archive: impl Into<Vec<u8>>, password: impl Into<String>) -> Self {
        self.0.identity = Identity::Pkcs12 { archive: PemSource::memory([archive]), password: password.into() };
        self
    }

    /// Another certificate for peers that ask for this server name (SNI), or for any host of a domain: `*.example.org`, one
    /// label. Whoever asks for no name, or another one, is shown the default one. May be called again. By `rustls` only.
    pub fn sni_certificate(
        mut self,
        name: impl Into<String>,
        certificates: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.0.by_name.push((name.into(), PemSource::File(certificates.into()), PemSource::File(key.into())));
        self
    }

    /// The application protocols that are spoken (ALPN), the preferred one first, each of 1 to 255 bytes. Default: none are
    /// agreed on. A peer that speaks none of them is refused by `rustls` (RFC 7301), and served without by `native-tls`.
    pub fn alpn<N: Into<Vec<u8>>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.0.alpn = names.into_iter().map(Into::into).collect();
        self
    }

    /// The lowest version that is spoken. Default: TLS 1.2. (`native-tls` on OpenSSL speaks no other than that one.)
    pub fn min_version(mut self, version: TlsVersion) -> Self {
        self.0.min_version = Some(version);
        self
    }

    /// Peers show certificates, signed by one of those in this PEM file. They can be read in callbacks:
    /// [`TlsInfo::peer_certificates`](crate::tls::TlsInfo::peer_certificates). By `rustls` only.
    pub fn client_certificates(mut self, policy: ClientCertificates, authorities: impl Into<PathBuf>) -> Self {
        self.0.clients = Some((policy, PemSource::File(authorities.into())));
        self
    }

    /// Asks about every peer when it has said its first word: `None` goes on as it is told here, another [`Tls`] of the same
    /// back end takes this connection over (without asking its own hook; it is reloaded, and tells its expiry, by itself), an
    /// error refuses the peer (with the alert
    /// `access_denied`), as [`HandshakeError::Failed`](crate::transport::HandshakeError::Failed). By `rustls` only.
    ///
    /// It runs on the arbiter of the connection, so it must not block. A panic in it ends that connection alone.
    ///
    /// ```no_run
    /// # #[cfg(feature = "rustls")]
    /// # fn main() -> Result<(), actix_acceptor::tls::TlsError> {
    /// use actix_acceptor::tls::Tls;
    ///
    /// let inside = Tls::rustls().files("inside.pem", "inside.key").build()?;
    /// let tls = Tls::rustls().files("public.pem", "public.key").on_client_hello(move |hello| match hello.server_name() {
    ///     Some("inside.example.org") => Ok(Some(inside.clone())),
    ///     Some(_) => Ok(None),
    ///     None => Err("a server name is needed".into()),
    /// });
    /// let tls = tls.build()?;
    /// # Ok(()) }
    /// # #[cfg(not(feature = "rustls"))]
    /// # fn main() {}
    /// ```
    #[cfg(feature = "rustls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "rustls")))]
    pub fn on_client_hello(
        mut self,
        hook: impl Fn(&ClientHello<'_>) -> Result<Option<Tls>, crate::BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.0.on_hello = Some(Arc::new(hook));
        self
    }

    /// Watches the files and [reloads](Tls::reload) when they have changed, for as long as the [`Tls`] lives; a pair that is
    /// bad is told to the log, and the old one stays. Files that are replaced, or are links that come to point elsewhere in
    /// the same folder, are noticed too. Feature `watch`.
    #[cfg(feature = "watch")]
    #[cfg_attr(docsrs, doc(cfg(feature = "watch")))]
    pub fn watch(mut self) -> Self {
        self.0.watched = true;
        self
    }

    /// Reads everything, and checks it.
    ///
    /// # Errors
    /// [`TlsError`] says which file, and why: it cannot be read, holds no certificate or no key, the two do not match, or
    /// the back end cannot do what was asked for.
    pub fn build(self) -> Result<Tls, TlsError> {
        let current = self.0.make()?;
        let tls = self.of(current);
        #[cfg(feature = "watch")]
        if tls.0.settings.watched {
            tls.start_watching()?;
        }
        Ok(tls)
    }

    pub(super) fn of(self, current: Current) -> Tls {
        Tls(Arc::new(Inner {
            settings: self.0,
            current: RwLock::new(Arc::new(current)),
            #[cfg(feature = "watch")]
            watch: std::sync::OnceLock::new(),
        }))
    }

    /// By a configuration that was made elsewhere.
    pub(super) fn given(mut self, config: Config) -> Tls {
        self.0.identity = Identity::Given;
        self.of(Current { config, expires: None })
    }
}

impl TlsConfig {
    pub(super) fn make(&self) -> Result<Current, TlsError> {
        if self.alpn.iter().any(|name| name.is_empty() || name.len() > 255) {
            return Err(TlsError::Refused("alpn: a name has 1 to 255 bytes".into()));
        }
        if matches!(self.identity, Identity::Given) {
            let why = "not available for a configuration from `from_rustls` or `from_native`";
            return Err(InvalidSetting::new("reload", why).into());
        }
        #[cfg(feature = "watch")]
        if self.watched && self.files().is_empty() {
            return Err(TlsError::Refused("watch: there are no files".into()));
        }
        let config = match self.backend {
            #[cfg(feature = "native-tls")]
            TlsBackend::Native => Config::Native(native::configure(self)?),
            #[cfg(feature = "rustls")]
            TlsBackend::Rustls => Config::Rustls(rustls::configure(self)?),
        };
        Ok(Current { config, expires: self.expires()? })
    }

    /// When the first of the certificates that are shown expires.
    fn expires(&self) -> Result<Option<SystemTime>, TlsError> {
        let mut shown: Vec<&PemSource> = self.by_name.iter().map(|(_, certificates, _)| certificates).collect();
        if let Identity::Pair { certificates, .. } = &self.identity {
            shown.push(certificates);
        }
        let mut first = None;
        for source in shown {
            let expires = source.certificates()?.first().and_then(|own| certificate::expiry(own));
            first = first.into_iter().chain(expires).min();
        }
        Ok(first)
    }
}
