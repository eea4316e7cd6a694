//! The steps between the accept and the first packet: a PROXY header, TLS, user-defined steps.

mod chain;
mod failure;
mod inspect;
#[cfg(feature = "proxy-protocol")]
mod proxy;
mod step;
#[cfg(any(feature = "native-tls", feature = "rustls-no-provider"))]
mod tls;

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::error::BoxError;
use crate::net::{Address, Stream};

pub(crate) use chain::{HandshakeChain, HandshakeEnd, HandshakeFuture};
/// A boxed future that stays on its thread, as [`Handshake::handshake`] returns it.
pub use futures::future::LocalBoxFuture;
pub use inspect::{Direction, Inspect, Inspected};
#[cfg(feature = "proxy-protocol")]
pub use proxy::{ProxyEncodeError, ProxyHeader, ProxyProtocol, ProxyTls};
pub(crate) use step::Step;
#[cfg(feature = "rustls-no-provider")]
pub use tls::ClientHello;
#[cfg(any(feature = "native-tls", feature = "rustls-no-provider"))]
pub use tls::{ClientCertificates, SubjectAltNames, Tls, TlsBackend, TlsBuilder, TlsError, TlsVersion};

/// A step between the accept and the first packet.
///
/// It runs in the connection, never in the acceptor, within the pool's
/// [`handshake_timeout`](crate::Builder::handshake_timeout) and its limit on concurrent handshakes.
///
/// ```
/// use actix_acceptor::transport::{Address, Handshake, Handshaken, LocalBoxFuture, Stream};
/// use actix_acceptor::transport::HandshakeError;
/// use tokio::io::AsyncReadExt;
///
/// /// Requires that peers begin with four known bytes.
/// struct Magic;
///
/// impl Handshake for Magic {
///     fn handshake(&self, mut stream: Stream, _: &Address) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>> {
///         Box::pin(async move {
///             let mut magic = [0; 4];
///             stream.read_exact(&mut magic).await?;
///             match &magic {
///                 b"HELO" => Ok(Handshaken::new(stream)),
///                 _ => Err(HandshakeError::failed("unknown protocol")),
///             }
///         })
///     }
///
///     fn waits_for_peer(&self, _: &Address) -> bool {
///         true
///     }
/// }
/// ```
pub trait Handshake: Send + Sync + 'static {
    /// Runs the step on the stream of the previous step, and returns the stream for the next step.
    ///
    /// # Errors
    /// An error ends this connection with [`Closed::Handshake`](crate::Closed::Handshake).
    fn handshake(&self, stream: Stream, peer: &Address) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>>;

    /// Whether this peer may connect.
    ///
    /// Acceptors call it before the connection starts. `false` refuses the peer as
    /// [`Denied`](crate::telemetry::RefusalReason::Denied), and so does a panic.
    ///
    /// Default: `true`.
    fn allows(&self, peer: &Address) -> bool {
        let _ = peer;
        true
    }

    /// Whether the step applies to this peer. If not, it is skipped.
    ///
    /// Default: `true`.
    fn applies_to(&self, peer: &Address) -> bool {
        let _ = peer;
        true
    }

    /// Whether the step sends nothing before the peer has sent something.
    ///
    /// If so, it begins when the first byte of the peer has arrived, and counts towards
    /// [`max_handshakes`](crate::Builder::max_handshakes) only from then on, so that peers that send nothing do not delay
    /// others. The handshake timeout includes the wait. Do not return `true` for a step that sends first: it would wait until
    /// the timeout.
    ///
    /// Default: `false`.
    fn waits_for_peer(&self, peer: &Address) -> bool {
        let _ = peer;
        false
    }

    /// Whether this peer may be a proxy for another peer.
    ///
    /// If so, the limits per peer apply to the peer that the handshake reports, not to the proxy.
    ///
    /// Default: `false`.
    fn may_override_peer(&self, peer: &Address) -> bool {
        let _ = peer;
        false
    }

    /// The information that [`listeners`](crate::PoolHandle::listeners) reports about this step.
    ///
    /// Default: no TLS.
    fn info(&self) -> HandshakeInfo {
        HandshakeInfo::default()
    }
}

/// Information about a handshake step that does not depend on a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandshakeInfo {
    /// Whether the step establishes TLS.
    pub tls: bool,
    /// When the first of its certificates expires, if that is known.
    pub certificate_expires: Option<SystemTime>,
}

/// The result of a handshake step: the stream, and what the step learned about the peer.
#[derive(Debug)]
#[must_use = "return it from `Handshake::handshake`"]
pub struct Handshaken {
    pub(crate) stream: Stream,
    /// The peer that connected through a proxy.
    pub(crate) peer: Option<Address>,
    pub(crate) negotiated: Negotiated,
}

/// The results of handshake steps that callbacks can read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Negotiated {
    pub(crate) tls: Option<Arc<TlsInfo>>,
    #[cfg(feature = "proxy-protocol")]
    pub(crate) proxy: Option<Arc<ProxyHeader>>,
}

impl Negotiated {
    /// Fills the empty fields from an earlier step.
    pub(crate) fn or(self, before: &Negotiated) -> Self {
        Negotiated {
            tls: self.tls.or_else(|| before.tls.clone()),
            #[cfg(feature = "proxy-protocol")]
            proxy: self.proxy.or_else(|| before.proxy.clone()),
        }
    }
}

impl Handshaken {
    /// Creates the result with a stream that is ready for the next step or for packets.
    pub fn new(stream: Stream) -> Self {
        Handshaken { stream, peer: None, negotiated: Negotiated::default() }
    }

    /// Sets the address of the peer, for example of one that connected through a proxy. Limits, access rules and logs use it.
    pub fn with_peer(mut self, peer: Address) -> Self {
        self.peer = Some(peer);
        self
    }

    /// Reports that the stream is now TLS.
    pub fn with_tls(mut self, tls: TlsInfo) -> Self {
        self.negotiated.tls = Some(Arc::new(tls));
        self
    }

    /// Reports a PROXY header of a trusted sender.
    #[cfg(feature = "proxy-protocol")]
    pub(super) fn with_proxy(mut self, header: ProxyHeader) -> Self {
        self.negotiated.proxy = Some(Arc::new(header));
        self
    }
}

/// The result of a TLS handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The version as it is usually written, for example `TLSv1.3`. Empty if it is not known.
    pub version: String,
    /// The IANA name of the negotiated cipher suite, for example `TLS_AES_128_GCM_SHA256`, or its number (`0x00ff`) if this crate
    /// does not have its name. `None` if it is not known.
    pub cipher_suite: Option<String>,
    /// The negotiated application protocol (ALPN).
    pub alpn: Option<String>,
    /// The server name that the peer requested (SNI).
    pub server_name: Option<String>,
    /// The certificates of the peer in DER, its own first. Empty if it sent none.
    pub peer_certificates: Vec<Vec<u8>>,
}

/// Why a connection did not become ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The handshake took longer than the limit, which covers PROXY header and TLS together.
    #[error("timed out after {0:?}")]
    Timeout(Duration),
    /// The peer closed the connection, or the socket failed, during the handshake.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer sent this many bytes of plaintext after its request for TLS.
    ///
    /// They are rejected, because they must not be mistaken for bytes sent under TLS.
    #[error("{0} bytes of plaintext follow the request for TLS")]
    PlaintextAfterStartTls(usize),
    /// The peer violated the protocol, or was rejected.
    #[error(transparent)]
    Failed(BoxError),
}

impl HandshakeError {
    /// Creates a [`HandshakeError::Failed`] from an error or a text.
    pub fn failed(error: impl Into<BoxError>) -> Self {
        HandshakeError::Failed(error.into())
    }
}
