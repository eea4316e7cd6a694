//! Connecting to NATS: the options of the client, and what its errors mean.

use std::error::Error as _;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_nats::rustls::crypto::{ring, CryptoProvider};
use async_nats::rustls::pki_types::pem::PemObject;
use async_nats::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use async_nats::rustls::{self, ClientConfig, RootCertStore};
use async_nats::{ConnectErrorKind, ConnectOptions};

use crate::builder::random_number;
use crate::settings::{invalid, NatsSettings, Secret, Servers, SHORTEST};
use crate::ConnectError;

/// Pauses between attempts to connect are at most this long.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// The options of the client that the settings ask for.
pub(super) fn options(
    settings: &NatsSettings,
    servers: &Servers,
    ttl: Duration,
) -> Result<ConnectOptions, ConnectError> {
    // An attempt is for one server.
    let attempt = settings.connect_timeout / u32::try_from(servers.addresses.len()).unwrap_or(u32::MAX);
    let has_begun = AtomicBool::new(false);
    let mut options = ConnectOptions::new()
        .require_tls(settings.require_tls)
        .connection_timeout(attempt.max(SHORTEST))
        // The connection is lost when the answers to two pings are missing at the third.
        .ping_interval(settings.server_timeout(ttl) / 3)
        .reconnect_delay_callback(move |attempt| match has_begun.swap(true, Relaxed) {
            false => Duration::ZERO,
            true => pause(attempt, random_number()),
        });
    if settings.start_alone {
        options = options.retry_on_initial_connect();
    }
    if let Some(Secret(token)) = &settings.token {
        options = options.token(token.clone());
    }
    if let Some((user, Secret(password))) = settings.user.as_ref().or(servers.user.as_ref()) {
        options = options.user_and_password(user.clone(), password.clone());
    }
    if let Some(file) = &settings.credentials {
        let unusable = |error: io::Error| invalid("credentials_file", format!("{}: {error}", file.display()));
        // The error of the parser does not contain the file.
        options = options.credentials(&std::fs::read_to_string(file).map_err(unusable)?).map_err(unusable)?;
    }
    Ok(options.tls_client_config(tls(settings)?))
}

/// The pause before an attempt to connect: longer each time, and different for each node, so that the nodes do not all connect at
/// once when a server is back.
fn pause(attempt: usize, random: u64) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX).min(10);
    let longest = (Duration::from_millis(100) * 2_u32.pow(doublings)).min(MAX_PAUSE);
    let half = longest / 2;
    half + half.mul_f64((random % 1_000) as f64 / 1_000.0)
}

/// TLS with the authorities and the certificate of the settings.
///
/// The provider is named, because a program may contain several, and the client would panic, also if the settings do not mention TLS:
/// the server may require it.
fn tls(settings: &NatsSettings) -> Result<ClientConfig, ConnectError> {
    let mut roots = RootCertStore::empty();
    for file in &settings.authorities {
        for certificate in certificates("authorities", file)? {
            let unusable = |error| invalid("authorities", format!("{}: {error}", file.display()));
            roots.add(certificate).map_err(unusable)?;
        }
    }
    if settings.authorities.is_empty() {
        roots.extend(system_authorities().roots.iter().cloned());
    }
    let provider = CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(ring::default_provider()));
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid("require_tls", error.to_string()))?
        .with_root_certificates(roots);
    let Some((certificate, key)) = &settings.certificate else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates("client_certificate", certificate)?;
    let unusable = |error: String| invalid("client_certificate", format!("{}: {error}", key.display()));
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(error.to_string()))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| unusable(error.to_string()))
}

/// The authorities of the system, read once. Those that cannot be read are left out.
fn system_authorities() -> &'static RootCertStore {
    static AUTHORITIES: OnceLock<RootCertStore> = OnceLock::new();
    AUTHORITIES.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    })
}

fn certificates(setting: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let at_file = |why: String| invalid(setting, format!("{}: {why}", file.display()));
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| at_file(error.to_string()))?;
    match certificates.collect::<Result<Vec<_>, _>>() {
        Ok(certificates) if certificates.is_empty() => Err(at_file("no certificates in the file".to_owned())),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(at_file(error.to_string())),
    }
}

/// The error of a connection that could not be made.
pub(super) fn failed(servers: &Servers, error: async_nats::ConnectError) -> ConnectError {
    let servers = servers.list();
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            ConnectError::Unauthorized { servers, source: error.into() }
        }
        ConnectErrorKind::Tls => ConnectError::Tls { servers, source: error.into() },
        _ if is_about_tls(&error) => ConnectError::Tls { servers, source: error.into() },
        _ => ConnectError::Unreachable { servers, source: error.into() },
    }
}

/// No answer within the time limit for all servers.
pub(super) fn too_slow(servers: &Servers, limit: Duration) -> ConnectError {
    let source = io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}"));
    ConnectError::Unreachable { servers: servers.list(), source: source.into() }
}

fn is_about_tls(error: &async_nats::ConnectError) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if error.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_two_seconds_and_differ() {
        assert_eq!(pause(1, 0), Duration::from_millis(50));
        assert_eq!(pause(1, 500), Duration::from_millis(75));
        assert_eq!(pause(3, 0), Duration::from_millis(200));
        assert_eq!(pause(usize::MAX, 0), MAX_PAUSE / 2);
        assert!(pause(usize::MAX, 999) < MAX_PAUSE);
    }
}
