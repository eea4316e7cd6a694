//! TLS as a step of the handshake: what it is made of, and two back ends behind one type.
//!
//! ```text
//! TlsBuilder ── files, memory ──▶ Tls ── shake(stream) ──▶ Stream
//!                                  │ reload(): checked first, then swapped; old connections keep theirs
//! ```

#[cfg(feature = "native-tls")]
mod below;
mod certificate;
mod error;
#[cfg(feature = "rustls")]
mod hello;
#[cfg(feature = "native-tls")]
mod native;
#[cfg(feature = "rustls")]
mod rustls;
mod source;
#[cfg(feature = "watch")]
mod watch;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use futures::future::LocalBoxFuture;

use super::{Address, Handshake, HandshakeError, HandshakeInfo, Shaken, Stream};

#[cfg(feature = "native-tls")]
pub(super) use below::Below;
pub use error::TlsError;
#[cfg(feature = "rustls")]
pub use hello::ClientHello;
use source::Source;

/// The library that does TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsBackend {
    /// The system's own, by `native-tls`: OpenSSL, Secure Transport or SChannel. Feature `native-tls`.
    #[cfg(feature = "native-tls")]
    Native,
    /// `rustls`. Feature `rustls`.
    #[cfg(feature = "rustls")]
    Rustls,
}

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

/// TLS for listeners and upgrades: a cheap clone, whose certificates can be changed live.
///
/// Made by [`Tls::rustls`] or [`Tls::native`]; given to [`Listener::tls`](crate::Listener::tls) or
/// [`Next::upgrade`](crate::Next::upgrade).
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    plan: Plan,
    current: RwLock<Arc<Current>>,
    #[cfg(feature = "watch")]
    watch: std::sync::OnceLock<watch::Watch>,
}

/// What connections that come now get.
struct Current {
    config: Config,
    expires: Option<SystemTime>,
}

enum Config {
    #[cfg(feature = "native-tls")]
    Native(tokio_native_tls::TlsAcceptor),
    #[cfg(feature = "rustls")]
    Rustls(Arc<::rustls::ServerConfig>),
}

/// What TLS is to be made of; [`build`](TlsBuilder::build) reads and checks it.
#[must_use = "there is no TLS before `build`"]
pub struct TlsBuilder(Plan);

#[derive(Clone)]
struct Plan {
    backend: TlsBackend,
    identity: Identity,
    by_name: Vec<(String, Source, Source)>,
    alpn: Vec<Vec<u8>>,
    min_version: Option<TlsVersion>,
    clients: Option<(ClientCertificates, Source)>,
    #[cfg(feature = "rustls")]
    on_hello: Option<hello::OnHello>,
    #[cfg(feature = "watch")]
    watched: bool,
}

#[derive(Clone)]
enum Identity {
    Missing,
    Pair {
        certificates: Source,
        key: Source,
    },
    // Without native-tls it is only refused.
    #[cfg_attr(not(feature = "native-tls"), allow(dead_code))]
    Pkcs12 {
        archive: Source,
        password: String,
    },
}

impl Tls {
    /// TLS by `rustls`.
    #[cfg(feature = "rustls")]
    pub fn rustls() -> TlsBuilder {
        TlsBuilder::new(TlsBackend::Rustls)
    }

    /// TLS by the system's own library, `native-tls`. What that cannot do is refused by [`TlsBuilder::build`].
    #[cfg(feature = "native-tls")]
    pub fn native() -> TlsBuilder {
        TlsBuilder::new(TlsBackend::Native)
    }

    /// By the back end of that name.
    pub fn by(backend: TlsBackend) -> TlsBuilder {
        TlsBuilder::new(backend)
    }

    /// Reads the certificates and keys again. They are checked first, and swapped at once: connections that come from then
    /// on get the new ones, those that are alive keep theirs.
    ///
    /// # Errors
    /// As [`TlsBuilder::build`]; the old ones stay then.
    pub fn reload(&self) -> Result<(), TlsError> {
        let new = Arc::new(self.0.plan.make()?);
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// When the first of the certificates that are shown expires; `None` for one from a PKCS#12 archive.
    pub fn expires(&self) -> Option<SystemTime> {
        self.current().expires
    }

    fn current(&self) -> Arc<Current> {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Handshake for Tls {
    fn shake(&self, stream: Stream, peer: &Address) -> LocalBoxFuture<'static, Result<Shaken, HandshakeError>> {
        let current = self.current();
        #[cfg(feature = "rustls")]
        if let Some(hook) = &self.0.plan.on_hello {
            return Box::pin(rustls::ask(self.clone(), hook.clone(), stream, peer.clone()));
        }
        let _ = peer;
        Box::pin(async move {
            match &current.config {
                #[cfg(feature = "native-tls")]
                Config::Native(acceptor) => native::accept(acceptor, stream).await,
                #[cfg(feature = "rustls")]
                Config::Rustls(config) => rustls::accept(config.clone(), stream).await,
            }
        })
    }

    fn info(&self) -> HandshakeInfo {
        HandshakeInfo { tls: true, certificate_expires: self.expires(), ..HandshakeInfo::default() }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("backend", &self.0.plan.backend).finish_non_exhaustive()
    }
}

impl TlsBuilder {
    fn new(backend: TlsBackend) -> Self {
        TlsBuilder(Plan {
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

    /// The certificate, its chain behind it, and its key, from files: PEM, or DER where one certificate is all.
    pub fn files(mut self, certificates: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        let (certificates, key) = (Source::File(certificates.into()), Source::File(key.into()));
        self.0.identity = Identity::Pair { certificates, key };
        self
    }

    /// The certificate, its chain behind it, and its key, as PEM from memory.
    pub fn pem(self, certificates: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.der([certificates], key)
    }

    /// The certificate, its chain behind it, and its key, as DER from memory. (PEM is understood as well.)
    pub fn der(mut self, chain: impl IntoIterator<Item = impl Into<Vec<u8>>>, key: impl Into<Vec<u8>>) -> Self {
        self.0.identity = Identity::Pair { certificates: Source::memory(chain), key: Source::memory([key]) };
        self
    }

    /// Certificate and key from a PKCS#12 archive in a file. By `native-tls` only.
    pub fn pkcs12_file(mut self, archive: impl Into<PathBuf>, password: impl Into<String>) -> Self {
        self.0.identity = Identity::Pkcs12 { archive: Source::File(archive.into()), password: password.into() };
        self
    }

    /// Certificate and key from a PKCS#12 archive in memory. By `native-tls` only.
    pub fn pkcs12(mut self, archive: impl Into<Vec<u8>>, password: impl Into<String>) -> Self {
        self.0.identity = Identity::Pkcs12 { archive: Source::memory([archive]), password: password.into() };
        self
    }

    /// Another certificate for peers that ask for this server name (SNI); may be called again. By `rustls` only.
    pub fn for_name(
        mut self,
        name: impl Into<String>,
        certificates: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.0.by_name.push((name.into(), Source::File(certificates.into()), Source::File(key.into())));
        self
    }

    /// The application protocols that are spoken (ALPN), the preferred one first. Default: none are agreed on.
    pub fn alpn<N: Into<Vec<u8>>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.0.alpn = names.into_iter().map(Into::into).collect();
        self
    }

    /// The lowest version that is spoken. Default: TLS 1.2.
    pub fn min_version(mut self, version: TlsVersion) -> Self {
        self.0.min_version = Some(version);
        self
    }

    /// Peers show certificates, signed by one of those in this PEM file. They can be read in callbacks:
    /// [`TlsInfo::peer_certificates`](super::TlsInfo::peer_certificates). By `rustls` only.
    pub fn client_certificates(mut self, policy: ClientCertificates, authorities: impl Into<PathBuf>) -> Self {
        self.0.clients = Some((policy, Source::File(authorities.into())));
        self
    }

    /// Asks about every peer when it has said its first word: `None` goes on as it is told here, another [`Tls`] of the same
    /// back end takes this connection over (without asking its own hook), an error refuses the peer (with the alert
    /// `access_denied`), as [`HandshakeError::Failed`]. By `rustls` only.
    ///
    /// It runs on the arbiter of the connection, so it must not block. A panic in it ends that connection alone.
    ///
    /// ```no_run
    /// # #[cfg(feature = "rustls")]
    /// # fn main() -> Result<(), actix_acceptor::TlsError> {
    /// use actix_acceptor::Tls;
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
        let current = RwLock::new(Arc::new(self.0.make()?));
        let tls = Tls(Arc::new(Inner {
            plan: self.0,
            current,
            #[cfg(feature = "watch")]
            watch: std::sync::OnceLock::new(),
        }));
        #[cfg(feature = "watch")]
        if tls.0.plan.watched {
            tls.start_watching()?;
        }
        Ok(tls)
    }
}

impl Plan {
    fn make(&self) -> Result<Current, TlsError> {
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
        let mut shown: Vec<&Source> = self.by_name.iter().map(|(_, certificates, _)| certificates).collect();
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
