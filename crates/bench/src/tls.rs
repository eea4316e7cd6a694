//! The servers with TLS. They share one certificate and use the default settings of this library.

use std::env;
use std::io;
use std::sync::LazyLock;

use actix_acceptor::{tls::Tls, Listener};
use rcgen::{generate_simple_self_signed, CertifiedKey};
use tokio::net::TcpStream;

/// The TLS library of a server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Rustls,
    Native,
}

/// A certificate and its key in PEM. Generated once, in memory.
struct Identity {
    certificate: String,
    key: String,
}

const CERTIFICATE: &str = "RATIOS_CERTIFICATE";
const KEY: &str = "RATIOS_KEY";

/// The environment variables of a server: the certificate and the key.
pub(crate) fn environment() -> [(&'static str, &'static str); 2] {
    static GENERATED: LazyLock<Identity> = LazyLock::new(|| {
        let generated = generate_simple_self_signed(["localhost".to_owned()]);
        let CertifiedKey { cert, signing_key } = generated.expect("a self-signed certificate");
        Identity { certificate: cert.pem(), key: signing_key.serialize_pem() }
    });
    [(CERTIFICATE, &GENERATED.certificate), (KEY, &GENERATED.key)]
}

fn identity() -> io::Result<Identity> {
    let variable = |name| env::var(name).map_err(io::Error::other);
    Ok(Identity { certificate: variable(CERTIFICATE)?, key: variable(KEY)? })
}

/// A server without this library: one task per connection with a buffer of 8 KiB.
pub(crate) fn tokio(backend: Backend) -> io::Result<Box<dyn Fn(TcpStream)>> {
    match backend {
        Backend::Rustls => tokio_servers::rustls(&identity()?),
        Backend::Native => tokio_servers::native(&identity()?),
    }
}

/// The TLS listener of this library.
pub(crate) fn ours(backend: Backend) -> io::Result<Listener> {
    let Identity { certificate, key } = identity()?;
    let tls = match backend {
        Backend::Rustls => Tls::rustls(),
        Backend::Native => Tls::native(),
    };
    let tls = tls.pem(certificate, key).build().map_err(io::Error::other)?;
    Ok(Listener::tcp("127.0.0.1:0").tls(tls))
}

mod tokio_servers {
    use std::future::Future;

    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

    use super::{io, Identity, TcpStream};

    pub(super) fn rustls(identity: &Identity) -> io::Result<Box<dyn Fn(TcpStream)>> {
        use rustls::crypto::ring::default_provider;
        use rustls::pki_types::{pem::PemObject, CertificateDer, PrivateKeyDer};
        let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).map_err(io::Error::other)?;
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).map_err(io::Error::other)?;
        let builder = rustls::ServerConfig::builder_with_provider(std::sync::Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
        let config = builder.with_no_client_auth().with_single_cert(vec![certificate], key);
        let tls = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config.map_err(io::Error::other)?));
        Ok(Box::new(move |stream| echo(tls.accept(stream))))
    }

    pub(super) fn native(identity: &Identity) -> io::Result<Box<dyn Fn(TcpStream)>> {
        let identity = native_tls::Identity::from_pkcs8(identity.certificate.as_bytes(), identity.key.as_bytes());
        let mut builder = native_tls::TlsAcceptor::builder(identity.map_err(io::Error::other)?);
        builder.min_protocol_version(Some(native_tls::Protocol::Tlsv12));
        let tls = tokio_native_tls::TlsAcceptor::from(builder.build().map_err(io::Error::other)?);
        Ok(Box::new(move |stream| {
            let tls = tls.clone();
            echo(async move { tls.accept(stream).await.map_err(io::Error::other) });
        }))
    }

    fn echo<S>(handshake: impl Future<Output = io::Result<S>> + Send + 'static)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        tokio::spawn(async move {
            let mut stream = handshake.await?;
            let mut buffer = vec![0; 8 * 1024];
            loop {
                let read = stream.read(&mut buffer).await?;
                if read == 0 {
                    // `close_notify` is answered by `close_notify`.
                    return stream.shutdown().await;
                }
                stream.write_all(&buffer[..read]).await?;
                // The TLS layer may hold bytes back until it is flushed.
                stream.flush().await?;
            }
        });
    }
}
