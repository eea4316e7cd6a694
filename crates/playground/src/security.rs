//! The options for TLS and the PROXY protocol.

use std::path::PathBuf;
use std::str::FromStr;

use actix_acceptor::error::InvalidSetting;
use actix_acceptor::{
    proxy::ProxyProtocol,
    tls::{ClientCertificates, Tls, TlsBackend, TlsError, TlsInfo},
    Listener,
};
use clap::{Args, ValueEnum};

use crate::url::Url;

#[derive(Clone, Debug, Args)]
pub struct SecurityOptions {
    /// Certificate chain of tls:// listeners and of !starttls (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// Key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// TLS library
    #[arg(long, value_name = "NAME", value_enum, default_value_t = Backend::Native)]
    tls_backend: Backend,

    /// Authorities of client certificates, which become required (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    client_ca: Option<PathBuf>,

    /// ALPN protocols in order of preference
    #[arg(long, value_name = "A,B", value_delimiter = ',', requires = "tls_cert", value_parser = protocol_name)]
    alpn: Vec<String>,

    /// Certificate for another server name
    #[arg(long, value_name = "NAME=CERT,KEY", requires = "tls_cert")]
    sni: Vec<SniCertificate>,

    /// Whether connections start with a header of the PROXY protocol, version 1 or 2
    #[arg(long, value_name = "P", value_enum, default_value_t = Proxy::Off)]
    proxy_protocol: Proxy,

    /// Senders whose PROXY header is trusted; `unix:` trusts the peers of Unix sockets
    #[arg(long, value_name = "CIDR")]
    trusted_proxy: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Backend {
    Native,
    Rustls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Proxy {
    Off,
    Optional,
    Require,
}

#[derive(Clone, Debug)]
struct SniCertificate {
    name: String,
    certificates: PathBuf,
    key: PathBuf,
}

impl FromStr for SniCertificate {
    type Err = String;

    fn from_str(named: &str) -> Result<Self, String> {
        let parts = named.split_once('=').and_then(|(name, pair)| Some((name, pair.split_once(',')?)));
        match parts {
            Some((name, (certificates, key))) if !name.is_empty() && !certificates.is_empty() && !key.is_empty() => {
                Ok(SniCertificate { name: name.into(), certificates: certificates.into(), key: key.into() })
            }
            _ => Err("expected NAME=CERT,KEY".into()),
        }
    }
}

/// Parses an ALPN name. Its length is one byte and must not be 0.
fn protocol_name(name: &str) -> Result<String, String> {
    if (1..=255).contains(&name.len()) {
        Ok(name.into())
    } else {
        Err("expected names of 1 to 255 bytes, separated by commas".into())
    }
}

/// What the listeners use.
#[derive(Clone, Debug, Default)]
pub struct Security {
    pub tls: Option<Tls>,
    proxy: Option<ProxyProtocol>,
}

impl Security {
    /// Reads the options. An error names the option.
    pub fn new(options: &SecurityOptions, listen: &[Url]) -> Result<Self, String> {
        let security = Security { tls: options.tls()?, proxy: options.proxy()? };
        match listen.iter().find(|url| url.is_tls()) {
            Some(_) if security.tls.is_none() => Err("tls:// needs --tls-cert and --tls-key".into()),
            _ => Ok(security),
        }
    }

    /// A listener with TLS and the PROXY protocol as configured.
    pub fn listener(&self, url: &Url) -> Listener {
        let mut listener = url.listener();
        if let Some(proxy) = &self.proxy {
            listener = listener.proxy_protocol(proxy.clone());
        }
        match &self.tls {
            Some(tls) if url.is_tls() => listener.tls(tls.clone()),
            _ => listener,
        }
    }

    /// Reloads the certificates.
    pub fn reload(&self) -> Result<(), String> {
        let tls = self.tls.as_ref().ok_or("there is no certificate: --tls-cert was not given")?;
        tls.reload().map_err(|error| crate::with_sources(&error))
    }
}

impl SecurityOptions {
    fn tls(&self) -> Result<Option<Tls>, String> {
        let (Some(certificates), Some(key)) = (&self.tls_cert, &self.tls_key) else { return Ok(None) };
        let backend = match self.tls_backend {
            Backend::Native => TlsBackend::Native,
            Backend::Rustls => TlsBackend::Rustls,
        };
        let mut builder = Tls::builder(backend).files(certificates, key).alpn(self.alpn.clone());
        for named in &self.sni {
            builder = builder.sni_certificate(&named.name, &named.certificates, &named.key);
        }
        if let Some(authorities) = &self.client_ca {
            builder = builder.client_certificates(ClientCertificates::Required, authorities);
        }
        builder
            .build()
            .map(Some)
            .map_err(|error| format!("{}: {}", self.option_of(&error), crate::with_sources(&error)))
    }

    /// The option that an error is about.
    fn option_of(&self, error: &TlsError) -> &'static str {
        let is =
            |path: &str, file: &Option<PathBuf>| file.as_ref().is_some_and(|file| file.display().to_string() == path);
        match error {
            TlsError::InvalidSetting(InvalidSetting { setting: "client_certificates", .. }) => "--client-ca",
            TlsError::InvalidSetting(InvalidSetting { setting: "sni_certificate", .. }) => "--sni",
            TlsError::InvalidSetting(InvalidSetting { setting: "alpn", .. }) => "--alpn",
            TlsError::Mismatch { certificates, .. } if is(certificates, &self.tls_cert) => "--tls-cert, --tls-key",
            TlsError::Mismatch { .. } => "--sni",
            TlsError::File { path, .. } | TlsError::Content { path, .. } => match path {
                path if is(path, &self.tls_cert) => "--tls-cert",
                path if is(path, &self.tls_key) => "--tls-key",
                path if is(path, &self.client_ca) => "--client-ca",
                _ => "--sni",
            },
            _ => "--tls-cert, --tls-key",
        }
    }

    fn proxy(&self) -> Result<Option<ProxyProtocol>, String> {
        let proxy = match self.proxy_protocol {
            Proxy::Require => ProxyProtocol::required(),
            Proxy::Optional | Proxy::Off => ProxyProtocol::optional(),
        };
        let is_off = self.proxy_protocol == Proxy::Off;
        if self.trusted_proxy.is_empty() && !is_off {
            return Err("--proxy-protocol needs at least one --trusted-proxy".into());
        }
        let trust = |proxy: ProxyProtocol, who: &String| match &**who {
            "unix:" => Ok(proxy.trust_local()),
            block => proxy.trust(block).map_err(|error| format!("--trusted-proxy: {error}")),
        };
        // Checked even if the protocol is off.
        let proxy = self.trusted_proxy.iter().try_fold(proxy, trust)?;
        Ok(Some(proxy).filter(|_| !is_off))
    }
}

/// The answer to the verb `!tls`.
pub fn describe(tls: Option<&TlsInfo>) -> String {
    let Some(tls) = tls else { return "none".into() };
    let or_dash = |text: Option<String>| text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".into());
    let version = or_dash(Some(tls.version.clone()));
    let (alpn, sni) = (or_dash(tls.alpn.clone()), or_dash(tls.server_name.clone()));
    format!("{version} alpn={alpn} sni={sni} subject={}", or_dash(tls.peer_subject()))
}
