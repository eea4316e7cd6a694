//! The listener URLs of the command line.

use std::str::FromStr;

use actix_acceptor::Listener;

#[derive(Clone, Debug)]
pub enum Url {
    Tcp(String),
    Tls(String),
    #[cfg(unix)]
    Unix(std::path::PathBuf),
    /// An abstract name, on Linux only.
    #[cfg(target_os = "linux")]
    Abstract(String),
}

impl Url {
    pub fn is_tls(&self) -> bool {
        matches!(self, Url::Tls(_))
    }

    /// The listener without TLS.
    pub fn listener(&self) -> Listener {
        match self {
            Url::Tcp(address) | Url::Tls(address) => Listener::tcp(address),
            #[cfg(unix)]
            Url::Unix(path) => Listener::unix(path),
            #[cfg(target_os = "linux")]
            Url::Abstract(name) => Listener::unix_abstract(name),
        }
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        match url.split_once(':') {
            Some((kind @ ("tcp" | "tls"), rest)) => {
                let address = rest.strip_prefix("//").ok_or("expected tcp://HOST:PORT or tls://HOST:PORT")?;
                host_and_port(address).map(if kind == "tls" { Url::Tls } else { Url::Tcp })
            }
            #[cfg(target_os = "linux")]
            Some(("unix", rest)) if rest.len() > 1 && rest.starts_with('@') => Ok(Url::Abstract(rest[1..].into())),
            #[cfg(unix)]
            Some(("unix", rest)) => match rest.strip_prefix("//") {
                Some(path) if path.len() > 1 && path.starts_with('/') => Ok(Url::Unix(path.into())),
                _ => Err("expected unix:///PATH, or on Linux unix:@NAME".into()),
            },
            _ => Err("expected tcp://HOST:PORT, tls://HOST:PORT, unix:///PATH or unix:@NAME".into()),
        }
    }
}

pub fn host_and_port(address: &str) -> Result<String, String> {
    let (host, port) = address.rsplit_once(':').ok_or("expected HOST:PORT")?;
    let is_bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    if host.is_empty() || is_bare_v6 || port.parse::<u16>().is_err() {
        return Err("expected HOST:PORT, an IPv6 address in brackets".into());
    }
    Ok(address.into())
}
