//! A peer of a server: a blocking socket, in clear or under TLS.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::Resumption;
use rustls::crypto::{ring, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

/// Where a server is, and whether it speaks TLS there.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) addr: SocketAddr,
    pub(crate) tls: bool,
}

/// Dropping closes it, with TLS's own goodbye first where there is TLS.
pub(crate) enum Peer {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// No server is ever this slow: a benchmark that is stuck ends.
const STUCK: Duration = Duration::from_secs(20);

impl Peer {
    /// Connects. Under TLS the first word of the handshake is sent as well; the first `write` waits for the answer.
    pub(crate) fn connect(place: Place) -> io::Result<Self> {
        let mut socket = TcpStream::connect(place.addr)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(STUCK))?;
        socket.set_write_timeout(Some(STUCK))?;
        if !place.tls {
            return Ok(Peer::Clear(socket));
        }
        let name = ServerName::from(place.addr.ip());
        let mut tls = ClientConnection::new(CONFIG.clone(), name).map_err(io::Error::other)?;
        tls.write_tls(&mut socket)?;
        Ok(Peer::Tls(Box::new(StreamOwned::new(tls, socket))))
    }
}

impl Read for Peer {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Peer::Clear(socket) => socket.read(buf),
            Peer::Tls(tls) => tls.read(buf),
        }
    }
}

impl Write for Peer {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Peer::Clear(socket) => socket.write(buf),
            Peer::Tls(tls) => tls.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Peer::Clear(socket) => socket.flush(),
            Peer::Tls(tls) => tls.flush(),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Peer::Tls(tls) = self {
            tls.conn.send_close_notify();
            // Fails where the server is gone already.
            let _ = tls.conn.write_tls(&mut tls.sock);
        }
    }
}

/// Each handshake is a full one, and nothing is verified: that makes this side the cheaper one, and no server sees it.
static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let provider = Arc::new(ring::default_provider());
    let believes = Arc::new(BelievesAnybody(provider.signature_verification_algorithms));
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().expect("ring speaks them");
    let mut config = builder.dangerous().with_custom_certificate_verifier(believes).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Arc::new(config)
});

#[derive(Debug)]
struct BelievesAnybody(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for BelievesAnybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
