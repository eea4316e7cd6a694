//! TLS with the library of the system.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use native_tls::{Identity as NativeIdentity, Protocol, TlsAcceptor as Blocking};
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_native_tls::{TlsAcceptor, TlsStream};

use super::builder::no_certificate;
use super::hello_capture::CONTENT_HANDSHAKE;
use super::native_io::{NativeIo, Seen};
use super::pem::is_pem;
use super::{certificate, cipher_suite, native_pair, Identity, Loaded, TlsConfig, TlsError, TlsVersion};
use crate::error::InvalidSetting;
use crate::handshake::{HandshakeError, Handshaken, TlsInfo};
use crate::net::{delegate_write, Address, Io, PeerCredentials, Stream, TransportKind};
use crate::telemetry::HandshakeFailure;

pub(super) fn configure(settings: &TlsConfig) -> Result<Loaded<TlsAcceptor>, TlsError> {
    let unsupported = |setting, why| Err(InvalidSetting::new(setting, why).into());
    if settings.clients.is_some() {
        return unsupported("client_certificates", "not supported by native-tls; use rustls");
    }
    if !settings.by_name.is_empty() {
        return unsupported("sni_certificate", "not supported by native-tls; use rustls");
    }
    #[cfg(feature = "rustls-no-provider")]
    if settings.on_hello.is_some() {
        return unsupported("on_client_hello", "not supported by native-tls; use rustls");
    }
    if settings.min_version == Some(TlsVersion::V1_3) {
        return unsupported("min_version", "native-tls supports only TLS 1.2 as the lowest version; use rustls");
    }
    let rejected = |error: native_tls::Error| TlsError::Refused(error.into());
    let mut expires = None;
    let identity = match &settings.identity {
        Identity::Missing | Identity::External => return Err(no_certificate()),
        Identity::Pair { certificates, key } => {
            let chain = certificates.certificates()?;
            expires = chain.first().and_then(|own| certificate::expiry(own));
            let chain: String = chain.into_iter().map(|der| as_pem("CERTIFICATE", der)).collect();
            let private = match key.key(settings.key_password.as_ref())? {
                private if is_pem(&private) => private,
                private => as_pem("PRIVATE KEY", private).into_bytes(),
            };
            NativeIdentity::from_pkcs8(chain.as_bytes(), &private).map_err(|error| key.invalid(error))?
        }
        Identity::Pkcs12 { archive, password } => {
            NativeIdentity::from_pkcs12(&archive.bytes()?, password).map_err(|error| archive.invalid(error))?
        }
    };
    let mut builder = Blocking::builder(identity);
    builder.min_protocol_version(Some(Protocol::Tlsv12));
    if !settings.alpn.is_empty() {
        let names: Result<Vec<&str>, _> = settings.alpn.iter().map(|name| std::str::from_utf8(name)).collect();
        match names {
            Ok(names) => builder.accept_alpn(&names),
            Err(_) => return unsupported("alpn", "native-tls supports only UTF-8 names; use rustls"),
        };
    }
    let acceptor = builder.build().map_err(rejected)?;
    if let Identity::Pair { certificates, key } = &settings.identity
        && !native_pair::is_matching(&acceptor).map_err(rejected)?
    {
        return Err(TlsError::Mismatch { certificates: certificates.to_string(), key: key.to_string() });
    }
    Ok((acceptor.into(), expires))
}

/// The library accepts only PEM.
fn as_pem(label: &str, der: Vec<u8>) -> String {
    pem::encode(&pem::Pem::new(label, der))
}

pub(super) async fn accept(acceptor: &TlsAcceptor, stream: Stream) -> Result<Handshaken, HandshakeError> {
    let seen = Arc::<Mutex<Seen>>::default();
    let accepted = acceptor.accept(NativeIo::new(stream, seen.clone())).await;
    let mut tls = accepted.map_err(|error| failed(error, *seen.lock()))?;
    let capture = tls.get_mut().get_mut().get_mut().take_capture();
    let info = TlsInfo {
        version: capture.version().unwrap_or_default().to_owned(),
        cipher_suite: capture.cipher_suite().map(cipher_suite::name),
        server_name: capture.server_name(),
        alpn: tls.get_ref().negotiated_alpn().ok().flatten().map(|name| String::from_utf8_lossy(&name).into_owned()),
        ..TlsInfo::default()
    };
    Ok(Handshaken::new(Stream::from_io(NativeStream(tls))).with_tls(info))
}

/// Converts an error of a handshake. The library reports no kind, so the kind is derived from the texts of OpenSSL.
fn failed(error: native_tls::Error, seen: Seen) -> HandshakeError {
    if seen.first.is_some_and(|first| first != CONTENT_HANDSHAKE) {
        return HandshakeError::of_kind(HandshakeFailure::NotTls, error);
    }
    if let Some(lost) = socket_error(&error) {
        return HandshakeError::Io(io::Error::new(lost, error));
    }
    let text = error.to_string();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if has(&["alert"]) {
        let kind = match has(&["certificate", "unknown ca"]) {
            true => HandshakeFailure::CertificateRejected,
            false => HandshakeFailure::Tls,
        };
        return HandshakeError::of_kind(kind, error);
    }
    if has(&["no shared cipher", "unsupported protocol", "no suitable", "no application protocol"]) {
        return HandshakeError::of_kind(HandshakeFailure::TlsParameters, error);
    }
    if seen.ended {
        return HandshakeError::Io(io::Error::new(io::ErrorKind::UnexpectedEof, error));
    }
    HandshakeError::of_kind(HandshakeFailure::Tls, error)
}

/// The kind of the error of the socket, if that is among the sources.
fn socket_error(error: &native_tls::Error) -> Option<io::ErrorKind> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        source = error.source();
    }
    None
}

/// The size of the first buffer that is passed to the library, before it knows how much it has.
const FIRST_READ: usize = 1024;

/// A TLS session of the system's library over an accepted stream.
struct NativeStream(TlsStream<NativeIo>);

impl NativeStream {
    fn io(&self) -> &NativeIo {
        self.0.get_ref().get_ref().get_ref()
    }
}

impl Io for NativeStream {
    fn kind(&self) -> TransportKind {
        TransportKind::Tls
    }

    fn local_addr(&self) -> io::Result<Address> {
        self.io().stream.local_addr()
    }

    fn peer_credentials(&self) -> Option<PeerCredentials> {
        self.io().stream.peer_credentials()
    }

    fn socket_ref(&self) -> Option<SockRef<'_>> {
        self.io().stream.socket_ref()
    }

    fn take_error(&self) -> Option<io::Error> {
        self.io().stream.take_error()
    }

    fn is_read_closed(&self) -> Option<bool> {
        self.io().stream.is_read_closed()
    }

    /// OpenSSL holds no bytes but those of the current record. Other libraries may hold more.
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let is_openssl = cfg!(not(any(windows, target_vendor = "apple")));
        if is_openssl && self.0.get_ref().buffered_read_size().is_ok_and(|left| left == 0) {
            self.io().poll_read_ready(cx)
        } else {
            Poll::Ready(())
        }
    }
}

impl AsyncRead for NativeStream {
    /// Reads one record, or the part of it that fits.
    ///
    /// The library zeroes the whole buffer before each read. With the arbiter's shared buffer, that would be a third of
    /// the cost of an echo.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let tls = &mut self.get_mut().0;
        let (before, mut available) = (buf.filled().len(), FIRST_READ);
        while available > 0 && buf.remaining() > 0 {
            let mut chunk = ReadBuf::new(buf.initialize_unfilled_to(available.min(buf.remaining())));
            let outcome = Pin::new(&mut *tls).poll_read(cx, &mut chunk);
            let bytes = chunk.filled().len();
            buf.advance(bytes);
            match outcome {
                Poll::Ready(Ok(())) if bytes > 0 => available = tls.get_ref().buffered_read_size().unwrap_or(0),
                _ if buf.filled().len() > before => break,
                Poll::Ready(Ok(())) if tls.get_ref().get_ref().get_ref().ended => {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                _ => return outcome,
            }
        }
        Poll::Ready(Ok(()))
    }
}

delegate_write!([] NativeStream);
