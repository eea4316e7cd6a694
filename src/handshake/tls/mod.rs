//! TLS as a step of the handshake: what it is made of, and two back ends behind one type.
//!
//! ```text
//! TlsBuilder ── files, memory ──▶ Tls ── shake(stream) ──▶ Stream
//!                                  │ reload(): checked first, then swapped; old connections keep theirs
//! ```

mod builder;
mod certificate;
mod error;
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
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

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

/// TLS for listeners and upgrades: a cheap clone, whose certificates can be changed live.
///
/// Made by `Tls::rustls` or `Tls::native`; given to [`Listener::tls`](crate::Listener::tls) or
/// [`Next::upgrade`](crate::Next::upgrade).
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    settings: TlsConfig,
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

    /// By `rustls` as you have set it up yourself, for all that there is no setting for here: revocation lists, other
    /// ciphers, tickets, certificates from somewhere else. It cannot be [reloaded](Tls::reload), and tells no expiry.
    #[cfg(feature = "rustls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "rustls")))]
    pub fn from_rustls(config: impl Into<Arc<::rustls::ServerConfig>>) -> Self {
        TlsBuilder::new(TlsBackend::Rustls).given(Config::Rustls(config.into()))
    }

    /// By `native-tls` as you have set it up yourself. It cannot be [reloaded](Tls::reload), and tells no expiry.
    #[cfg(feature = "native-tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "native-tls")))]
    pub fn from_native(acceptor: native_tls::TlsAcceptor) -> Self {
        TlsBuilder::new(TlsBackend::Native).given(Config::Native(acceptor.into()))
    }

    /// By the back end of that name.
    pub fn builder(backend: TlsBackend) -> TlsBuilder {
        TlsBuilder::new(backend)
    }

    /// Reads the certificates and keys again. They are checked first, and swapped at once: connections that come from then
    /// on get the new ones, those that are alive keep theirs. It reads files and tries the pair out, so it may block for
    /// some milliseconds.
    ///
    /// # Errors
    /// As [`TlsBuilder::build`]; the old ones stay then.
    pub fn reload(&self) -> Result<(), TlsError> {
        let new = Arc::new(self.0.settings.make()?);
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
    fn handshake(&self, stream: Stream, peer: &Address) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>> {
        let current = self.current();
        #[cfg(feature = "rustls")]
        if let Some(hook) = &self.0.settings.on_hello {
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
        f.debug_struct("Tls").field("backend", &self.0.settings.backend).finish_non_exhaustive()
    }
}
