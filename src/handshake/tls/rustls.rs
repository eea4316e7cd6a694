//! TLS with `rustls`.

use std::collections::HashMap;
use std::io::{self, BufRead};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer};
use rustls::server::{ClientHello as RawHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ProtocolVersion, RootCertStore, ServerConfig};
use socket2::SockRef;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWriteExt, ReadBuf};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

use super::builder::no_certificate;
use super::hello::{ClientHello, OnHello};
use super::pem::is_pem;
use super::{
    certificate, cipher_suite, ClientCertificates, Config, Identity, Loaded, Password, PemSource, Tls, TlsConfig,
    TlsError, TlsVersion,
};
use crate::error::InvalidSetting;
use crate::handshake::{HandshakeError, Handshaken, TlsInfo};
use crate::net::{delegate_write, Address, Io, PeerCredentials, Stream, TransportKind};
use crate::telemetry::HandshakeFailure;

pub(super) fn configure(settings: &TlsConfig) -> Result<Loaded<Arc<ServerConfig>>, TlsError> {
    let provider = provider()?;
    let certificates = Certificates::read(settings, &provider)?;
    let versions: &[_] = match settings.min_version {
        Some(TlsVersion::V1_3) => &[&rustls::version::TLS13],
        _ => &[&rustls::version::TLS13, &rustls::version::TLS12],
    };
    let rejected = |error: rustls::Error| TlsError::Refused(error.into());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions);
    let builder = builder.map_err(rejected)?;
    let builder = match &settings.clients {
        None => builder.with_no_client_auth(),
        Some((policy, authorities)) => {
            let mut roots = RootCertStore::empty();
            for authority in read_certificates(authorities)? {
                roots.add(authority).map_err(|error| authorities.invalid(error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            let verifier = match policy {
                ClientCertificates::Required => verifier,
                ClientCertificates::Optional => verifier.allow_unauthenticated(),
            };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| authorities.invalid(error))?)
        }
    };
    let expires = certificates.expires;
    let mut config = builder.with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = settings.alpn.clone();
    Ok((Arc::new(config), expires))
}

/// The provider that the program installed, or else that of a feature. `aws-lc-rs` takes precedence over `ring`: it is never enabled by
/// another feature.
fn provider() -> Result<Arc<CryptoProvider>, TlsError> {
    if let Some(installed) = CryptoProvider::get_default() {
        return Ok(installed.clone());
    }
    #[cfg(feature = "rustls-aws-lc-rs")]
    return Ok(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    #[cfg(all(feature = "rustls-ring", not(feature = "rustls-aws-lc-rs")))]
    return Ok(Arc::new(rustls::crypto::ring::default_provider()));
    #[cfg(not(any(feature = "rustls-aws-lc-rs", feature = "rustls-ring")))]
    Err(TlsError::NoCryptoProvider)
}

/// The certificates by server name.
#[derive(Debug)]
struct Certificates {
    /// When the first of them expires.
    expires: Option<SystemTime>,
    default: Arc<CertifiedKey>,
    by_name: HashMap<String, Arc<CertifiedKey>>,
}

impl Certificates {
    fn read(settings: &TlsConfig, provider: &CryptoProvider) -> Result<Self, TlsError> {
        let password = settings.key_password.as_ref();
        let default = match &settings.identity {
            Identity::Missing | Identity::External => return Err(no_certificate()),
            Identity::Pkcs12 { .. } => {
                return Err(InvalidSetting::new("pkcs12", "not supported by rustls; use PEM or DER").into());
            }
            Identity::Pair { certificates, key } => certified(certificates, key, password, provider)?,
        };
        let mut by_name = HashMap::new();
        for (name, certificates, key) in &settings.by_name {
            if DnsName::try_from(name.strip_prefix("*.").unwrap_or(name)).is_err() {
                let why =
                    format!("{name:?} is not a DNS name; expected one such as \"example.org\" or \"*.example.org\"");
                return Err(InvalidSetting::new("sni_certificate", why).into());
            }
            by_name.insert(name.to_ascii_lowercase(), certified(certificates, key, password, provider)?);
        }
        let all = by_name.values().chain([&default]);
        let expires = all.filter_map(|certified| certificate::expiry(certified.cert.first()?)).min();
        Ok(Certificates { expires, default, by_name })
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
    password: Option<&Password>,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = read_certificates(certificates)?;
    let private = match key.key(password)? {
        private if is_pem(&private) => PrivateKeyDer::from_pem_slice(&private).map_err(|error| key.invalid(error))?,
        private => PrivateKeyDer::try_from(private).map_err(|why| key.invalid(why))?,
    };
    let certified = CertifiedKey::from_der(chain, private, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::Mismatch { certificates: certificates.to_string(), key: key.to_string() }
        }
        error => key.invalid(error),
    })?;
    Ok(Arc::new(certified))
}

fn read_certificates(source: &PemSource) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    Ok(source.certificates()?.into_iter().map(CertificateDer::from).collect())
}

/// A record with the fatal alert `access_denied` (RFC 8446, section 6.2).
const ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];

/// Reads the ClientHello and lets the user's hook choose the configuration.
pub(super) async fn accept_with_hook(
    tls: Tls,
    hook: OnHello,
    stream: Stream,
    peer: Address,
) -> Result<Handshaken, HandshakeError> {
    let mut start = LazyConfigAcceptor::new(Default::default(), stream).await.map_err(failed)?;
    let chosen = match hook(&ClientHello { hello: start.client_hello(), peer: &peer }) {
        Ok(chosen) => chosen.unwrap_or(tls).current(),
        Err(why) => {
            // The error does not matter: the peer is rejected whether it reads the alert or not.
            let _ = start.io.write_all(&ACCESS_DENIED).await;
            let _ = start.io.shutdown().await;
            return Err(HandshakeError::Failed(why));
        }
    };
    match &chosen.config {
        Config::Rustls(config) => start.into_stream(config.clone()).await.map(handshaken).map_err(failed),
        #[cfg(feature = "native-tls")]
        Config::Native(_) => Err(HandshakeError::failed("`on_client_hello` returned a `Tls` of another back end")),
    }
}

pub(super) async fn accept(config: Arc<ServerConfig>, stream: Stream) -> Result<Handshaken, HandshakeError> {
    TlsAcceptor::from(config).accept(stream).await.map(handshaken).map_err(failed)
}

/// Converts an error of a handshake. `InvalidData` means that the peer violated the protocol; other errors concern the
/// connection.
fn failed(error: io::Error) -> HandshakeError {
    match error.kind() {
        io::ErrorKind::InvalidData => HandshakeError::of_kind(kind_of(&error), error),
        _ => HandshakeError::Io(error),
    }
}

fn kind_of(error: &io::Error) -> HandshakeFailure {
    use rustls::{AlertDescription as Alert, Error, InvalidMessage};

    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => HandshakeFailure::NotTls,
        Some(Error::PeerIncompatible(_) | Error::NoApplicationProtocol) => HandshakeFailure::TlsParameters,
        Some(Error::NoCertificatesPresented | Error::InvalidCertificate(_)) => HandshakeFailure::ClientCertificate,
        Some(Error::AlertReceived(
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA,
        )) => HandshakeFailure::CertificateRejected,
        _ => HandshakeFailure::Tls,
    }
}

fn handshaken(tls: TlsStream<Stream>) -> Handshaken {
    let session = tls.get_ref().1;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let info = TlsInfo {
        version: match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2".to_owned(),
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3".to_owned(),
            other => other.map(|version| format!("{version:?}")).unwrap_or_default(),
        },
        cipher_suite: session.negotiated_cipher_suite().map(|suite| cipher_suite::name(suite.suite().into())),
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

    fn socket_ref(&self) -> Option<SockRef<'_>> {
        self.0.get_ref().0.socket_ref()
    }

    fn take_error(&self) -> Option<io::Error> {
        self.0.get_ref().0.take_error()
    }

    fn is_read_closed(&self) -> Option<bool> {
        self.0.get_ref().0.is_read_closed()
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

delegate_write!([] RustlsStream);
