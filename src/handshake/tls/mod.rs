//! TLS as a handshake step: its settings, and one type for two back ends.
//!
//! ```text
//! TlsBuilder ── files, memory ──▶ Tls ── handshake(stream) ──▶ Stream
//!                                  │ reload(), replace(): checked first, then swapped; live connections keep theirs
//! ```

mod builder;
mod certificate;
mod cipher_suite;
mod encrypted_key;
mod error;
mod fingerprint;
#[cfg(feature = "rustls-no-provider")]
mod hello;
#[cfg(feature = "native-tls")]
mod hello_capture;
#[cfg(feature = "native-tls")]
mod native;
#[cfg(feature = "native-tls")]
mod native_io;
#[cfg(feature = "native-tls")]
mod native_pair;
mod pem;
#[cfg(feature = "rustls-no-provider")]
mod rustls;
#[cfg(feature = "watch")]
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use futures::future::LocalBoxFuture;
use parking_lot::Mutex;
use tracing::warn;

use super::{Handshake, HandshakeError, HandshakeInfo, Handshaken};
use crate::net::{Address, Stream};

pub use builder::{ClientCertificates, TlsBuilder, TlsVersion};
use builder::{Identity, TlsConfig};
pub use certificate::SubjectAltNames;
use encrypted_key::Password;
pub use error::TlsError;
#[cfg(feature = "rustls-no-provider")]
pub use hello::ClientHello;
use pem::PemSource;

/// The library that implements TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsBackend {
    /// The library of the system, through `native-tls`: OpenSSL, Secure Transport or SChannel. Feature `native-tls`.
    #[cfg(feature = "native-tls")]
    Native,
    /// `rustls`. Feature `rustls`.
    #[cfg(feature = "rustls-no-provider")]
    Rustls,
}

/// TLS for listeners and upgrades.
///
/// Built by `Tls::rustls` or `Tls::native`; passed to [`Listener::tls`](crate::Listener::tls) or
/// [`Next::upgrade`](crate::Next::upgrade). A clone is cheap and shares the certificates, which can be
/// [reloaded](Tls::reload) or [replaced](Tls::replace) while the pool runs.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    current: ArcSwap<Current>,
    /// Held while certificates are read and stored: of two changes, the one that began later takes effect last.
    changing: Mutex<()>,
    #[cfg(feature = "watch")]
    watch: Mutex<Option<watch::Watch>>,
}

/// The configuration of new connections.
struct Current {
    settings: Arc<TlsConfig>,
    config: Config,
    expires: Option<SystemTime>,
    /// See [`TlsConfig::fingerprint`]. `None` if the files changed while they were read.
    fingerprint: Option<u64>,
}

/// A configuration, and when the first of its certificates expires.
type Loaded<C> = (C, Option<SystemTime>);

enum Config {
    #[cfg(feature = "native-tls")]
    Native(tokio_native_tls::TlsAcceptor),
    #[cfg(feature = "rustls-no-provider")]
    Rustls(Arc<::rustls::ServerConfig>),
}

impl Tls {
    /// Starts building TLS with `rustls`.
    ///
    /// The cryptography is that of the [`CryptoProvider`](::rustls::crypto::CryptoProvider) that is installed for the process when
    /// [`TlsBuilder::build`] is called. If there is none, the features decide: `aws-lc-rs` with `rustls-aws-lc-rs`, even if
    /// `rustls-ring` is enabled as well, or else `ring` with `rustls-ring`, which `rustls` includes. With feature
    /// `rustls-no-provider` alone, the program must install a provider; otherwise `build` returns
    /// [`TlsError::NoCryptoProvider`].
    #[cfg(feature = "rustls-no-provider")]
    pub fn rustls() -> TlsBuilder {
        TlsBuilder::new(TlsBackend::Rustls)
    }

    /// Starts building TLS with the library of the system, through `native-tls`.
    ///
    /// [`TlsBuilder::build`] rejects settings that the library does not support.
    #[cfg(feature = "native-tls")]
    pub fn native() -> TlsBuilder {
        TlsBuilder::new(TlsBackend::Native)
    }

    /// Uses your own `rustls` configuration, for everything without a setting in [`TlsBuilder`]: revocation lists, other
    /// ciphers, tickets, certificates from other sources.
    ///
    /// It cannot be [reloaded](Tls::reload) and has no [expiry](Tls::expires).
    #[cfg(feature = "rustls-no-provider")]
    #[cfg_attr(docsrs, doc(cfg(feature = "rustls")))]
    pub fn from_rustls(config: impl Into<Arc<::rustls::ServerConfig>>) -> Self {
        TlsBuilder::new(TlsBackend::Rustls).external(Config::Rustls(config.into()))
    }

    /// Uses your own `native-tls` acceptor.
    ///
    /// It cannot be [reloaded](Tls::reload) and has no [expiry](Tls::expires).
    #[cfg(feature = "native-tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "native-tls")))]
    pub fn from_native(acceptor: native_tls::TlsAcceptor) -> Self {
        TlsBuilder::new(TlsBackend::Native).external(Config::Native(acceptor.into()))
    }

    /// Starts building TLS with this back end.
    pub fn builder(backend: TlsBackend) -> TlsBuilder {
        TlsBuilder::new(backend)
    }

    fn new(current: Current) -> Self {
        Tls(Arc::new(Inner {
            current: ArcSwap::from_pointee(current),
            changing: Mutex::default(),
            #[cfg(feature = "watch")]
            watch: Mutex::default(),
        }))
    }

    /// Reads the certificates and keys again from their files. [`replace`](Tls::replace) replaces those in memory.
    ///
    /// They are checked first, then replaced together. Live connections keep the certificates that they have. This
    /// reads files and tests whether certificate and key match, so it may block for some milliseconds. Of several concurrent
    /// calls, the one that began last determines the certificates.
    ///
    /// # Errors
    /// The errors of [`TlsBuilder::build`]. The current certificates stay in place.
    pub fn reload(&self) -> Result<(), TlsError> {
        let _changing = self.0.changing.lock();
        let settings = self.current().settings.clone();
        self.0.current.store(Arc::new(Current::load(settings)?));
        Ok(())
    }

    /// Replaces the certificates and all other settings for new connections, in every clone.
    ///
    /// The new settings are checked first, then all are replaced together. Live connections keep their certificates. A later
    /// [`reload`](Tls::reload) reads the files of the new settings; they are watched if [`TlsBuilder::watch`] was called.
    /// Like `reload`, this may block for some milliseconds.
    ///
    /// # Errors
    /// The errors of [`TlsBuilder::build`]. The current settings stay in place.
    ///
    /// ```no_run
    /// # #[cfg(feature = "rustls")]
    /// # fn main() -> Result<(), actix_acceptor::tls::TlsError> {
    /// use actix_acceptor::{tls::Tls, Listener};
    ///
    /// # let (certificate, key, renewed, renewed_key) = ("", "", "", "");
    /// let tls = Tls::rustls().pem(certificate, key).build()?;
    /// let listener = Listener::tcp("0.0.0.0:443").tls(tls.clone());
    /// // Later, while the pool runs:
    /// tls.replace(Tls::rustls().pem(renewed, renewed_key))?;
    /// # Ok(()) }
    /// # #[cfg(not(feature = "rustls"))]
    /// # fn main() {}
    /// ```
    pub fn replace(&self, settings: TlsBuilder) -> Result<(), TlsError> {
        let settings = settings.into_config();
        let _changing = self.0.changing.lock();
        #[cfg(feature = "watch")]
        let seen = watch::Seen::of(&settings);
        let current = Current::load(settings)?;
        #[cfg(feature = "watch")]
        let watch = watch::Watch::start(self, &current.settings, seen)?;
        self.0.current.store(Arc::new(current));
        #[cfg(feature = "watch")]
        let before = std::mem::replace(&mut *self.0.watch.lock(), watch);
        #[cfg(feature = "watch")]
        drop(before);
        Ok(())
    }

    /// When the first of the server's certificates expires; `None` for one from a PKCS#12 archive.
    pub fn expires(&self) -> Option<SystemTime> {
        self.current().expires
    }

    /// Whether this is a clone of the other.
    pub(super) fn is_same(&self, other: &Tls) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether both have the same settings, certificates and keys, even if these were read separately.
    pub(super) fn is_alike(&self, other: &Tls) -> bool {
        let (one, other_one) = (self.current().fingerprint, other.current().fingerprint);
        self.is_same(other) || (one.is_some() && one == other_one)
    }

    fn current(&self) -> Arc<Current> {
        self.0.current.load_full()
    }
}

impl Current {
    fn load(settings: Arc<TlsConfig>) -> Result<Self, TlsError> {
        let fingerprint = settings.fingerprint();
        let (config, expires) = settings.load()?;
        let fingerprint = fingerprint.filter(|before| settings.fingerprint() == Some(*before));
        if expires.is_some_and(|expires| expires <= SystemTime::now()) {
            warn!(?expires, "a certificate has expired; peers will reject it");
        }
        Ok(Current { settings, config, expires, fingerprint })
    }
}

impl Handshake for Tls {
    fn handshake(&self, stream: Stream, peer: &Address) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>> {
        let current = self.current();
        #[cfg(feature = "rustls-no-provider")]
        if let Some(hook) = &current.settings.on_hello {
            return Box::pin(rustls::accept_with_hook(self.clone(), hook.clone(), stream, peer.clone()));
        }
        let _ = peer;
        Box::pin(async move {
            match &current.config {
                #[cfg(feature = "native-tls")]
                Config::Native(acceptor) => native::accept(acceptor, stream).await,
                #[cfg(feature = "rustls-no-provider")]
                Config::Rustls(config) => rustls::accept(config.clone(), stream).await,
            }
        })
    }

    fn waits_for_peer(&self, _: &Address) -> bool {
        true
    }

    fn info(&self) -> HandshakeInfo {
        HandshakeInfo { tls: true, certificate_expires: self.expires(), ..HandshakeInfo::default() }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("backend", &self.current().settings.backend).finish_non_exhaustive()
    }
}
