//! TLS by `rustls`.

use std::collections::HashMap;
use std::io::{self, BufRead};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer};
use rustls::server::{ClientHello as RawHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ProtocolVersion, RootCertStore, ServerConfig};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWriteExt, ReadBuf};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

use super::hello::{ClientHello, OnHello};
use super::pem::is_pem;
use super::{ClientCertificates, Config, Identity, PemSource, Tls, TlsConfig, TlsError, TlsVersion};
use crate::error::InvalidSetting;
use crate::handshake::{HandshakeError, Handshaken, TlsInfo};
use crate::net::{Address, Io, PeerCredentials, Stream, TransportKind};

pub(super) fn configure(settings: &TlsConfig) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = provider();
    let certificates = Certificates::read(settings, &provider)?;
    let versions: &[_] = match settings.min_version {
        Some(TlsVersion::V1_3) => &[&rustls::version::TLS13],
        _ => &[&rustls::version::TLS13, &rustls::version::TLS12],
    };
    let refused = |error: rustls::Error| TlsError::Refused(error.into());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions);
    let builder = builder.map_err(refused)?;
    let builder = match &settings.clients {
        None => builder.with_no_client_auth(),
        Some((policy, authorities)) => {
            let mut roots = RootCertStore::empty();
            for authority in read_certificates(authorities)? {
                roots.add(authority).map_err(|error| authorities.wrong(error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            let verifier = match policy {
                ClientCertificates::Required => verifier,
                ClientCertificates::Optional => verifier.allow_unauthenticated(),
            };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| authorities.wrong(error))?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = settings.alpn.clone();
    Ok(Arc::new(config))
}

/// The one that the program has chosen, else `ring`.
fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()))
}

/// Which certificate is shown to whom.
#[derive(Debug)]
struct Certificates {
    default: Arc<CertifiedKey>,
    by_name: HashMap<String, Arc<CertifiedKey>>,
}

impl Certificates {
    fn read(settings: &TlsConfig, provider: &CryptoProvider) -> Result<Self, TlsError> {
        let default = match &settings.identity {
            Identity::Missing | Identity::Given => return Err(TlsError::Refused("there is no certificate".into())),
            Identity::Pkcs12 { .. } => {
                return Err(InvalidSetting::new("pkcs12", "rustls does not read PKCS#12; use PEM or DER").into());
            }
            Identity::Pair { certificates, key } => certified(certificates, key, provider)?,
        };
        let mut by_name = HashMap::new();
        for (name, certificates, key) in &settings.by_name {
            if DnsName::try_from(name.strip_prefix("*.").unwrap_or(name)).is_err() {
                return Err(TlsError::Refused(format!("sni_certificate: {name:?} is no DNS name").into()));
            }
            by_name.insert(name.to_ascii_lowercase(), certified(certificates, key, provider)?);
        }
        Ok(Certificates { default, by_name })
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: RawHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| {
            let name = name.to_ascii_lowercase();
            let any_host = || self.by_name.get(&format!("*.{}", name.split_once('.')?.1));
            self.by_name.get(&name).or_else(any_host)
        });
        Some(named.unwrap_or(&self.default).clone())
    }
}

fn certified(
    certificates: &PemSource,
    key: &PemSource,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = read_certificates(certificates)?;
    let private = match key.bytes()? {
        private if is_pem(&private) => PrivateKeyDer::from_pem_slice(&private).map_err(|error| key.wrong(error))?,
        private => PrivateKeyDer::try_from(private).map_err(|why| key.wrong(why))?,
    };
    let certified = CertifiedKey::from_der(chain, private, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::Mismatch { certificates: certificates.to_string(), key: key.to_string() }
        }
        error => key.wrong(error),
    })?;
    Ok(Arc::new(certified))
}

fn read_certificates(source: &PemSource) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    Ok(source.certificates()?.into_iter().map(CertificateDer::from).collect())
}

/// The alert that tells a peer that it is refused: fatal, `access_denied` (RFC 8446, 6.2), in a record of its own.
const ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];

/// Waits for the peer's first word, and asks the user about it.
pub(super) async fn ask(tls: Tls, hook: OnHello, stream: Stream, peer: Address) -> Result<Handshaken, HandshakeError> {
    let mut begun = LazyConfigAcceptor::new(Default::default(), stream).await.map_err(failed)?;
    let asked = hook(&ClientHello { hello: begun.client_hello(), peer: &peer });
    let chosen = match asked {
        Ok(chosen) => chosen.unwrap_or(tls).current(),
        Err(why) => {
            // Whether the peer reads it or not, it is refused.
            let _ = begun.io.write_all(&ACCESS_DENIED).await;
            let _ = begun.io.shutdown().await;
            return Err(HandshakeError::Failed(why));
        }
    };
    match &chosen.config {
        Config::Rustls(config) => begun.into_stream(config.clone()).await.map(shaken).map_err(failed),
        #[cfg(feature = "native-tls")]
        Config::Native(_) => Err(HandshakeError::failed("the hook has chosen TLS of another back end")),
    }
}

pub(super) async fn accept(config: Arc<ServerConfig>, stream: Stream) -> Result<Handshaken, HandshakeError> {
    TlsAcceptor::from(config).accept(stream).await.map(shaken).map_err(failed)
}

/// What the peer said made no sense, or it left.
fn failed(error: io::Error) -> HandshakeError {
    match error.kind() {
        io::ErrorKind::InvalidData => HandshakeError::Failed(error.into()),
        _ => HandshakeError::Io(error),
    }
}

fn shaken(tls: TlsStream<Stream>) -> Handshaken {
    let session = tls.get_ref().1;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let info = TlsInfo {
        version: match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2".to_owned(),
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3".to_owned(),
            other => other.map(|version| format!("{version:?}")).unwrap_or_default(),
        },
        alpn: session.alpn_protocol().map(text),
        server_name: session.server_name().map(str::to_owned),
        peer_certificates: session.peer_certificates().into_iter().flatten().map(|cert| cert.to_vec()).collect(),
    };
    Handshaken::new(Stream::from_io(RustlsStream(tls))).with_tls(info)
}

/// A TLS session of `rustls` over an accepted stream.
struct RustlsStream(TlsStream<Stream>);

impl Io for RustlsStream {
    fn kind(&self) -> TransportKind {
        TransportKind::Tls
    }

    fn local_addr(&self) -> io::Result<Address> {
        self.0.get_ref().0.local_addr()
    }

    fn peer_credentials(&self) -> Option<PeerCredentials> {
        self.0.get_ref().0.peer_credentials()
    }

    fn take_error(&self) -> Option<io::Error> {
        self.0.get_ref().0.take_error()
    }

    /// Everything received is decrypted and read when the session wants more input. A received `close_notify` counts as
    /// something to read.
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let (stream, session) = self.0.get_ref();
        if session.wants_read() {
            stream.poll_read_ready(cx)
        } else {
            Poll::Ready(())
        }
    }
}

impl AsyncRead for RustlsStream {
    /// Returns what one read of the underlying stream yields.
    ///
    /// The library's own `poll_read` reads until the underlying stream has nothing left; `poll_read_ready` answers that
    /// without a read.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let tls = &mut self.get_mut().0;
        let mut bytes = put(ready!(Pin::new(&mut *tls).poll_fill_buf(cx))?, buf);
        Pin::new(&mut *tls).consume(bytes);
        // One read may yield several records.
        let session = tls.get_mut().1;
        while bytes > 0 && buf.remaining() > 0 && !session.wants_read() {
            let mut reader = session.reader();
            let Ok(chunk) = reader.fill_buf() else { break };
            bytes = put(chunk, buf);
            reader.consume(bytes);
        }
        Poll::Ready(Ok(()))
    }
}

fn put(chunk: &[u8], buf: &mut ReadBuf<'_>) -> usize {
    let bytes = chunk.len().min(buf.remaining());
    buf.put_slice(&chunk[..bytes]);
    bytes
}

super::delegate_write!(RustlsStream);
