//! TLS as a handshake step: its settings, and one type for two back ends.
//!
//! ```text
//! TlsBuilder ── files, memory ──▶ Tls ── handshake(stream) ──▶ Stream
//!                                  │ reload(): checked first, then swapped; live connections keep theirs
//! ```

mod builder;
mod certificate;
mod error;
mod fingerprint;
#[cfg(feature = "rustls")]
mod hello;
#[cfg(feature = "native-tls")]
mod hello_capture;
#[cfg(feature = "native-tls")]
mod native;
#[cfg(feature = "native-tls")]
mod native_io;
mod pem;
#[cfg(feature = "rustls")]
mod rustls;
#[cfg(feature = "watch")]
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use futures::future::LocalBoxFuture;

use super::{Handshake, HandshakeError, HandshakeInfo, Handshaken};
use crate::net::{Address, Stream};

pub use builder::{ClientCertificates, TlsBuilder, TlsVersion};
use builder::{Identity, TlsConfig};
pub use error::TlsError;
#[cfg(feature = "rustls")]
pub use hello::ClientHello;
#[cfg(feature = "native-tls")]
use native_io::NativeIo;
use pem::PemSource;

/// Implements `AsyncWrite` for a newtype around a TLS stream.
macro_rules! delegate_write {
    ($stream:ty) => {
        impl tokio::io::AsyncWrite for $stream {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.get_mut().0).poll_write_vectored(cx, bufs)
            }

            fn is_write_vectored(&self) -> bool {
                self.0.is_write_vectored()
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.get_mut().0).poll_flush(cx)
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
            }
        }
    };
}
use delegate_write;

/// The library that implements TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsBackend {
    /// The library of the system, through `native-tls`: OpenSSL, Secure Transport or SChannel. Feature `native-tls`.
    #[cfg(feature = "native-tls")]
    Native,
    /// `rustls`. Feature `rustls`.
    #[cfg(feature = "rustls")]
    Rustls,
}

/// TLS for listeners and upgrades.
///
/// Built by `Tls::rustls` or `Tls::native`; passed to [`Listener::tls`](crate::Listener::tls) or
/// [`Next::upgrade`](crate::Next::upgrade). A clone is cheap and shares the certificates, which can be
/// [reloaded](Tls::reload) while the pool runs.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    settings: TlsConfig,
    current: ArcSwap<Current>,
    #[cfg(feature = "watch")]
    watch: std::sync::OnceLock<watch::Watch>,
}

/// The configuration of new connections.
struct Current {
    config: Config,
    expires: Option<SystemTime>,
    /// See [`TlsConfig::fingerprint`]. `None` if the files changed while they were read.
    fingerprint: Option<u64>,
}

enum Config {
    #[cfg(feature = "native-tls")]
    Native(tokio_native_tls::TlsAcceptor),
    #[cfg(feature = "rustls")]
    Rustls(Arc<::rustls::ServerConfig>),
}

impl Tls {
    /// Starts building TLS with `rustls`.
    #[cfg(feature = "rustls")]
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
    #[cfg(feature = "rustls")]
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

    /// Reads the certificates and keys again.
    ///
    /// They are checked first, then replaced together. Live connections keep the certificates that they have. This
    /// reads files and tests whether certificate and key match, so it may block for some milliseconds.
    ///
    /// # Errors
    /// As [`TlsBuilder::build`]; then the current certificates stay.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.0.current.store(Arc::new(self.0.settings.load()?));
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

    /// Whether this presents the same as the other: the same settings, certificates and keys, also if they were read again.
    pub(super) fn is_alike(&self, other: &Tls) -> bool {
        let (one, other_one) = (self.current().fingerprint, other.current().fingerprint);
        self.is_same(other) || (one.is_some() && one == other_one)
    }

    fn current(&self) -> Arc<Current> {
        self.0.current.load_full()
    }
}

impl Handshake for Tls {
    fn handshake(&self, stream: Stream, peer: &Address) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>> {
        let current = self.current();
        #[cfg(feature = "rustls")]
        if let Some(hook) = &self.0.settings.on_hello {
            return Box::pin(rustls::accept_with_hook(self.clone(), hook.clone(), stream, peer.clone()));
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

    fn waits_for_peer(&self, _: &Address) -> bool {
        true
    }

    fn info(&self) -> HandshakeInfo {
        HandshakeInfo { tls: true, certificate_expires: self.expires(), ..HandshakeInfo::default() }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("backend", &self.0.settings.backend).finish_non_exhaustive()
    }
}
