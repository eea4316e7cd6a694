//! TLS by the system's own library.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use native_tls::{Identity as NativeIdentity, Protocol, TlsAcceptor as Blocking};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_native_tls::{TlsAcceptor, TlsStream};

use super::pem::is_pem;
use super::{Identity, NativeIo, TlsConfig, TlsError, TlsVersion};
use crate::error::InvalidSetting;
use crate::handshake::{HandshakeError, Handshaken, TlsInfo};
use crate::net::Stream;

pub(super) fn configure(settings: &TlsConfig) -> Result<TlsAcceptor, TlsError> {
    let cannot = |setting, why| Err(InvalidSetting::new(setting, why).into());
    if settings.clients.is_some() {
        return cannot("client_certificates", "native-tls does not ask for them");
    }
    if !settings.by_name.is_empty() {
        return cannot("sni_certificate", "native-tls has one certificate");
    }
    #[cfg(feature = "rustls")]
    if settings.on_hello.is_some() {
        return cannot("on_client_hello", "native-tls does not show it");
    }
    if settings.min_version == Some(TlsVersion::V1_3) {
        return cannot("min_version", "native-tls knows no lowest version above TLS 1.2");
    }
    let refused = |error: native_tls::Error| TlsError::Refused(error.into());
    let identity = match &settings.identity {
        Identity::Missing | Identity::Given => return Err(TlsError::Refused("there is no certificate".into())),
        Identity::Pair { certificates, key } => {
            let chain: String =
                certificates.certificates()?.into_iter().map(|der| as_pem("CERTIFICATE", der)).collect();
            let private = match key.bytes()? {
                private if is_pem(&private) => private,
                private => as_pem("PRIVATE KEY", private).into_bytes(),
            };
            NativeIdentity::from_pkcs8(chain.as_bytes(), &private).map_err(|error| key.wrong(error))?
        }
        Identity::Pkcs12 { archive, password } => {
            NativeIdentity::from_pkcs12(&archive.bytes()?, password).map_err(|error| archive.wrong(error))?
        }
    };
    let mut builder = Blocking::builder(identity);
    builder.min_protocol_version(Some(Protocol::Tlsv12));
    if !settings.alpn.is_empty() {
        let names: Result<Vec<&str>, _> = settings.alpn.iter().map(|name| std::str::from_utf8(name)).collect();
        match names {
            Ok(names) => builder.accept_alpn(&names),
            Err(_) => return cannot("alpn", "native-tls takes names that are text"),
        };
    }
    let acceptor = builder.build().map_err(refused)?;
    if let Identity::Pair { certificates, key } = &settings.identity
        && !belong_together(&acceptor)
    {
        return Err(TlsError::Mismatch { certificates: certificates.to_string(), key: key.to_string() });
    }
    Ok(acceptor.into())
}

/// The library takes PEM alone.
fn as_pem(label: &str, der: Vec<u8>) -> String {
    pem::encode(&pem::Pem::new(label, der))
}

/// The library does not say whether key and certificate match; a handshake with ourselves does.
#[cfg(unix)]
fn belong_together(acceptor: &Blocking) -> bool {
    use std::os::unix::net::UnixStream;
    let Ok((ours, theirs)) = UnixStream::pair() else { return true };
    let connector = native_tls::TlsConnector::builder()
        .danger_accept_invalid_certs(true)
        .danger_accept_invalid_hostnames(true)
        .use_sni(false)
        .build();
    let Ok(connector) = connector else { return true };
    let asking = std::thread::spawn(move || connector.connect("localhost", theirs).is_ok());
    let accepted = acceptor.accept(ours).is_ok();
    asking.join().unwrap_or(false) && accepted
}

#[cfg(not(unix))]
fn belong_together(_: &Blocking) -> bool {
    true
}

pub(super) async fn accept(acceptor: &TlsAcceptor, stream: Stream) -> Result<Handshaken, HandshakeError> {
    let mut tls = acceptor.accept(NativeIo::new(stream)).await.map_err(HandshakeError::failed)?;
    let capture = tls.get_mut().get_mut().get_mut().capture();
    let info = TlsInfo {
        version: capture.version().unwrap_or_default().to_owned(),
        server_name: capture.server_name(),
        alpn: tls.get_ref().negotiated_alpn().ok().flatten().map(|name| String::from_utf8_lossy(&name).into_owned()),
        ..TlsInfo::default()
    };
    Ok(Handshaken::new(Stream::native(tls)).with_tls(info))
}

/// What is lent to the library before it has told how much there is.
const FIRST: usize = 1024;

/// One record, or what there is room for of it.
///
/// The library wipes all that it is lent before it reads: the shared buffer with every message would be a third of an
/// echo's cost.
pub(crate) fn poll_read(
    tls: &mut TlsStream<NativeIo>,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    let (before, mut there) = (buf.filled().len(), FIRST);
    while there > 0 && buf.remaining() > 0 {
        let mut lent = ReadBuf::new(buf.initialize_unfilled_to(there.min(buf.remaining())));
        let outcome = Pin::new(&mut *tls).poll_read(cx, &mut lent);
        let bytes = lent.filled().len();
        buf.advance(bytes);
        match outcome {
            Poll::Ready(Ok(())) if bytes > 0 => there = tls.get_ref().buffered_read_size().unwrap_or(0),
            _ if buf.filled().len() > before => break,
            Poll::Ready(Ok(())) if tls.get_ref().get_ref().get_ref().ended => {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            _ => return outcome,
        }
    }
    Poll::Ready(Ok(()))
}

/// Whether all that came is taken, and more wakes us. OpenSSL keeps nothing but the record it is at; others may.
pub(crate) fn is_drained(tls: &TlsStream<NativeIo>, cx: &mut Context<'_>) -> bool {
    let is_openssl = cfg!(not(any(windows, target_vendor = "apple")));
    let tls = tls.get_ref();
    is_openssl && tls.buffered_read_size().is_ok_and(|left| left == 0) && tls.get_ref().get_ref().is_drained(cx)
}
