//! Resolves names and binds TCP ports: one or all addresses of a name.

use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tokio::net::{lookup_host, ToSocketAddrs};

use super::{SocketOptions, Tcp, Transport};
use crate::error::StartError;
use crate::net::{no_thread, Address};
use crate::panic::panic_text;

/// How many ports chosen by the system are tried to find one that is free at all addresses.
const MAX_PORT_ATTEMPTS: usize = 16;

/// Resolves a name to at least one address. `requested` is the name for error messages.
pub(crate) async fn resolve(
    address: impl ToSocketAddrs,
    requested: &str,
    limit: Duration,
) -> Result<Vec<SocketAddr>, StartError> {
    let failed = |source| StartError::SystemError { what: requested.to_owned(), source };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    // tokio resolves names on a thread for blocking work, and panics if it cannot start one.
    let lookup = AssertUnwindSafe(lookup_host(address)).catch_unwind();
    match tokio::time::timeout(limit, lookup).await {
        Err(_) => return Err(StartError::ListenerTimeout { address: requested.to_owned(), limit }),
        Ok(Err(panic)) => return Err(failed(no_thread(&panic_text(panic)))),
        Ok(Ok(found)) => found.map_err(failed)?.for_each(|address| {
            // A hosts file may list an address twice.
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }),
    }
    if addresses.is_empty() {
        return Err(failed(io::Error::new(io::ErrorKind::AddrNotAvailable, "the name resolves to no address")));
    }
    Ok(addresses)
}

/// Binds the first address that can be bound.
pub(crate) fn open_first(
    addresses: &[SocketAddr],
    requested: &str,
    options: &SocketOptions,
) -> Result<Tcp, StartError> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match Tcp::open(*address, options.clone()) {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = error,
        }
    }
    Err(StartError::SystemError { what: requested.to_owned(), source: last })
}

/// Binds every address, all or none. With port 0 the system chooses one port for all of them.
pub(super) fn open_all(
    addresses: &[SocketAddr],
    requested: &str,
    options: &SocketOptions,
) -> Result<Vec<Tcp>, StartError> {
    let system_chooses = addresses.len() > 1 && addresses.iter().all(|address| address.port() == 0);
    let mut attempts = if system_chooses { MAX_PORT_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        match try_open_all(addresses, requested, options) {
            Err(failures) if attempts > 0 && failures.iter().any(|failure| failure.in_use) => {}
            Err(failures) => {
                let failures = failures.into_iter().map(|failure| failure.error).collect();
                return Err(StartError::all(failures).unwrap_or(StartError::ListenerClosed));
            }
            Ok(opened) => return Ok(opened),
        }
    }
}

/// An address that could not be bound.
struct BindFailure {
    /// Whether the address is in use. Another port may be free then.
    in_use: bool,
    error: StartError,
}

fn try_open_all(
    addresses: &[SocketAddr],
    requested: &str,
    options: &SocketOptions,
) -> Result<Vec<Tcp>, Vec<BindFailure>> {
    let (mut opened, mut failures) = (Vec::<Tcp>::with_capacity(addresses.len()), Vec::new());
    for address in addresses {
        let (mut address, has_system_port) = (*address, address.port() == 0);
        if let (0, Some(Address::Tcp(first))) = (address.port(), opened.first().map(Transport::local_addr)) {
            address.set_port(first.port());
        }
        match Tcp::open(address, options.clone()) {
            Ok(tcp) if has_system_port => opened.push(tcp.with_system_port()),
            Ok(tcp) => opened.push(tcp),
            Err(source) => {
                let in_use = source.kind() == io::ErrorKind::AddrInUse;
                let what = match address.to_string() {
                    address if address == requested => address,
                    address => format!("{requested} ({address})"),
                };
                failures.push(BindFailure { in_use, error: StartError::SystemError { what, source } });
            }
        }
    }
    if failures.is_empty() {
        Ok(opened)
    } else {
        Err(failures)
    }
}
