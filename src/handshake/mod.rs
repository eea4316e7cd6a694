//! What comes between the accept and the first packet: a PROXY header, TLS, or a step of one's own.

mod chain;
#[cfg(feature = "proxy-protocol")]
mod proxy;
#[cfg(any(feature = "native-tls", feature = "rustls"))]
mod tls;

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::error::BoxError;
use crate::net::{Address, Stream};

pub(crate) use chain::{HandshakeChain, HandshakeFailure, HandshakeFuture};
/// A boxed future that stays on its thread, as [`Handshake::handshake`] returns it.
pub use futures::future::LocalBoxFuture;
#[cfg(feature = "proxy-protocol")]
pub use proxy::{ProxyHeader, ProxyProtocol, ProxyTls};
#[cfg(feature = "rustls")]
pub use tls::ClientHello;
#[cfg(any(feature = "native-tls", feature = "rustls"))]
pub use tls::{ClientCertificates, Tls, TlsBackend, TlsBuilder, TlsError, TlsVersion};

/// A step between the accept and the first packet. It runs in the connection, never in the acceptor, within the pool's
/// [`handshake_timeout`](crate::Builder::handshake_timeout) and its cap on handshakes under way.
///
/// ```
/// use actix_acceptor::transport::{Address, Handshake, Handshaken, LocalBoxFuture, Stream};
/// use actix_acceptor::transport::HandshakeError;
/// use tokio::io::AsyncReadExt;
///
/// /// Peers must begin with four bytes that we know.
/// struct Magic;
///
/// impl Handshake for Magic {
///     fn handshake(&self, mut stream: Stream, _: &Address) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>> {
///         Box::pin(async move {
///             let mut magic = [0; 4];
///             stream.read_exact(&mut magic).await?;
///             match &magic {
///                 b"HELO" => Ok(Handshaken::new(stream)),
///                 _ => Err(HandshakeError::failed("not one of us")),
///             }
///         })
///     }
/// }
/// ```
pub trait Handshake: Send + Sync + 'static {
    /// Takes the stream as the step before has left it, and gives it back as the next one is to see it.
    ///
    /// # Errors
    /// End this connection, as [`Closed::Handshake`](crate::Closed::Handshake).
    fn handshake(&self, stream: Stream, peer: &Address) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>>;

    /// Whether this peer may come at all. Asked by the acceptor, before anything else is done for the peer; whoever may not
    /// is refused as [`Denied`](crate::telemetry::RefusalReason::Denied).
    fn allows(&self, peer: &Address) -> bool {
        let _ = peer;
        true
    }

    /// Whether it may turn out that this peer speaks for another one: then that one is counted per peer, not this.
    fn may_override_peer(&self, peer: &Address) -> bool {
        let _ = peer;
        false
    }

    /// What can be said of it beforehand, for [`listeners`](crate::PoolHandle::listeners).
    fn info(&self) -> HandshakeInfo {
        HandshakeInfo::default()
    }
}

/// What can be said of a step before anybody goes through it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandshakeInfo {
    /// There is TLS behind it.
    pub tls: bool,
    /// When the first of the certificates that it shows expires, as far as is known.
    pub certificate_expires: Option<SystemTime>,
}

/// A stream after a step of its handshake, and what that has learnt.
#[derive(Debug)]
pub struct Handshaken {
    pub(crate) stream: Stream,
    pub(crate) claimed: Option<Address>,
    pub(crate) negotiated: Negotiated,
}

/// What steps have learnt and callbacks may ask for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Negotiated {
    pub(crate) tls: Option<Arc<TlsInfo>>,
    #[cfg(feature = "proxy-protocol")]
    pub(crate) proxy: Option<Arc<ProxyHeader>>,
}

impl Negotiated {
    /// And, where this is silent, what was learnt before.
    pub(crate) fn or(self, before: &Negotiated) -> Self {
        Negotiated {
            tls: self.tls.or_else(|| before.tls.clone()),
            #[cfg(feature = "proxy-protocol")]
            proxy: self.proxy.or_else(|| before.proxy.clone()),
        }
    }
}

impl Handshaken {
    /// The stream, ready for the next step or for packets.
    pub fn new(stream: Stream) -> Self {
        Handshaken { stream, claimed: None, negotiated: Negotiated::default() }
    }

    /// The peer is somebody else than the socket says, and is believed: limits and rules look at it, logs show it.
    pub fn with_peer(mut self, peer: Address) -> Self {
        self.claimed = Some(peer);
        self
    }

    /// There is TLS on the stream now.
    pub fn with_tls(mut self, tls: TlsInfo) -> Self {
        self.negotiated.tls = Some(Arc::new(tls));
        self
    }

    /// A PROXY header was read and believed.
    #[cfg(feature = "proxy-protocol")]
    pub(super) fn with_proxy(mut self, header: ProxyHeader) -> Self {
        self.negotiated.proxy = Some(Arc::new(header));
        self
    }
}

/// What a TLS handshake has agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The version as it is usually written, `TLSv1.3`; empty where it could not be learnt.
    pub version: String,
    /// The application protocol agreed on (ALPN).
    pub alpn: Option<String>,
    /// The server name the peer asked for (SNI).
    pub server_name: Option<String>,
    /// The certificates the peer has shown, its own first, in DER; empty where it has shown none.
    pub peer_certificates: Vec<Vec<u8>>,
}

/// Why a connection did not become ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The handshake took longer than it may, PROXY header and TLS together.
    #[error("not done within {0:?}")]
    Timeout(Duration),
    /// The peer left, or the socket failed, in the middle of it.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The peer sent bytes in clear behind its wish for TLS: they are not taken for what it sends under TLS.
    #[error("{0} bytes in clear behind the upgrade")]
    PlaintextAfterStartTls(usize),
    /// What was said made no sense, or was refused.
    #[error("{0}")]
    Failed(#[source] BoxError),
}

impl HandshakeError {
    /// [`HandshakeError::Failed`] of anything that is or makes an error.
    pub fn failed(error: impl Into<BoxError>) -> Self {
        HandshakeError::Failed(error.into())
    }
}
