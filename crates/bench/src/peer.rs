//! A peer of a server: a blocking socket, in plaintext or with TLS.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::Resumption;
use rustls::crypto::{ring, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use socket2::SockRef;

/// The address of a server and whether it uses TLS.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) addr: SocketAddr,
    pub(crate) tls: bool,
}

/// Dropping it closes the connection. With TLS it sends `close_notify` first.
pub(crate) enum Peer {
    Plaintext(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// The limit of each read and write: ends a benchmark that is stuck.
const IO_TIMEOUT: Duration = Duration::from_secs(20);

impl Peer {
    /// Connects. With TLS it also sends the ClientHello; the first `write` waits for the answer.
    pub(crate) fn connect(place: Place) -> io::Result<Self> {
        let mut socket = TcpStream::connect(place.addr)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(IO_TIMEOUT))?;
        socket.set_write_timeout(Some(IO_TIMEOUT))?;
        if !place.tls {
            return Ok(Peer::Plaintext(socket));
        }
        let name = ServerName::from(place.addr.ip());
        let mut tls = ClientConnection::new(CONFIG.clone(), name).map_err(io::Error::other)?;
        tls.write_tls(&mut socket)?;
        Ok(Peer::Tls(Box::new(StreamOwned::new(tls, socket))))
    }

    /// Acknowledges what has been received, now, and leaves the next acknowledgement to the next call, if that comes within
    /// 40 ms.
    ///
    /// The kernel decides otherwise from the times between packets whether it acknowledges each at once. On the loopback
    /// interface the sender of the packet pays for that, a quarter of the cost of a short packet.
    pub(crate) fn acknowledge(&self) -> io::Result<()> {
        if let Peer::Plaintext(socket) = self {
            let socket = SockRef::from(socket);
            socket.set_tcp_quickack(true)?;
            socket.set_tcp_quickack(false)?;
        }
        Ok(())
    }

    /// Reads and writes fail from now on instead of waiting.
    pub(crate) fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Peer::Plaintext(socket) => socket.set_nonblocking(true),
            Peer::Tls(tls) => tls.sock.set_nonblocking(true),
        }
    }
}

impl Read for Peer {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Peer::Plaintext(socket) => socket.read(buf),
            Peer::Tls(tls) => tls.read(buf),
        }
    }
}

impl Write for Peer {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Peer::Plaintext(socket) => socket.write(buf),
            Peer::Tls(tls) => tls.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Peer::Plaintext(socket) => socket.flush(),
            Peer::Tls(tls) => tls.flush(),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Peer::Tls(tls) = self {
            tls.conn.send_close_notify();
            // Fails if the server has closed the connection already.
            let _ = tls.conn.write_tls(&mut tls.sock);
        }
    }
}

/// Every handshake is a full one. Nothing is verified, which makes this side cheaper and is invisible to the server.
static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(NoVerification(provider.signature_verification_algorithms));
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().expect("ring supports the default versions");
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Arc::new(config)
});

#[derive(Debug)]
struct NoVerification(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for NoVerification {
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
