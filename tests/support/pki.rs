//! Certificates made for a test, and TLS clients that we did not write.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::TlsConnector;

use super::Folder;

/// An authority with a folder of its own for the files.
pub struct Pki {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: Folder,
}

impl Pki {
    pub fn generate() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the test's authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = Folder::create();
        std::fs::write(folder.path("ca.pem"), issuer.pem()).unwrap();
        Pki { issuer, folder }
    }

    pub fn authority(&self) -> PathBuf {
        self.folder.path("ca.pem")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path(name)
    }

    /// A certificate for this name and its key, as files.
    pub fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        self.issue_as(name, name)
    }

    pub fn issue_as(&self, name: &str, file: &str) -> (PathBuf, PathBuf) {
        self.issue_with(name, file, |_| {})
    }

    /// One that expires then.
    pub fn issue_until(&self, name: &str, expires: std::time::SystemTime) -> (PathBuf, PathBuf) {
        self.issue_with(name, name, |params| params.not_after = expires.into())
    }

    /// One with these alternative names.
    pub fn issue_for(&self, name: &str, names: &[&str], email: &str, uri: &str) -> (PathBuf, PathBuf) {
        self.issue_with(name, name, |params| {
            let hosts: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            params.subject_alt_names = CertificateParams::new(hosts).unwrap().subject_alt_names;
            params.subject_alt_names.push(rcgen::SanType::Rfc822Name(email.try_into().unwrap()));
            params.subject_alt_names.push(rcgen::SanType::URI(uri.try_into().unwrap()));
        })
    }

    fn issue_with(&self, name: &str, file: &str, adjust: impl FnOnce(&mut CertificateParams)) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        adjust(&mut params);
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = (self.folder.path(&format!("{file}.pem")), self.folder.path(&format!("{file}.key")));
        std::fs::write(&files.0, certificate.pem()).unwrap();
        std::fs::write(&files.1, key.serialize_pem()).unwrap();
        files
    }

    /// A client's settings: it trusts the authority, and shows this certificate if there is one.
    pub fn client(&self, shows: Option<&(PathBuf, PathBuf)>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        match shows {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_file_iter(certificate).unwrap().collect::<Result<_, _>>().unwrap();
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap()
            }
        }
    }

    /// Shakes hands as a client.
    pub async fn connect(&self, tcp: TcpStream, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        connect_as(self.client(None), tcp, name).await
    }
}

pub async fn connect_as(config: ClientConfig, tcp: TcpStream, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    super::in_time(TlsConnector::from(Arc::new(config)).connect(name, tcp)).await
}
