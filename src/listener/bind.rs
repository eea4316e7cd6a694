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
    let what = if requested.is_empty() { "an empty address" } else { requested };
    let failed = |source| StartError::SystemError { what: what.to_owned(), source };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    // tokio resolves names on a thread for blocking work, and panics if it cannot start one.
    let lookup = AssertUnwindSafe(lookup_host(address)).catch_unwind();
    match tokio::time::timeout(limit, lookup).await {
        Err(_) => return Err(StartError::ListenerTimeout { address: requested.to_owned(), limit }),
        Ok(Err(panic)) => return Err(failed(no_thread(&panic_text(panic)))),
        Ok(Ok(found)) => found.map_err(expected_address).map_err(failed)?.for_each(|address| {
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

/// Adds what is expected to the errors for text that is not an address, and for names that cannot be resolved.
fn expected_address(error: io::Error) -> io::Error {
    if error.raw_os_error().is_some() {
        return error;
    }
    let examples = "127.0.0.1:7878 or localhost:7878; 0.0.0.0:7878 stands for all addresses";
    io::Error::new(error.kind(), format!("{error}; expected a host and a port, such as {examples}"))
}

/// Binds the first address that can be bound.
pub(crate) fn open_first(
    addresses: &[SocketAddr],
    requested: &str,
    options: &SocketOptions,
    acceptors: usize,
) -> Result<Tcp, StartError> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match Tcp::open(*address, options.clone(), acceptors) {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = error,
        }
    }
    Err(StartError::SystemError { what: requested.to_owned(), source: last })
}

/// Binds every address, and returns the errors of those that cannot be bound. With port 0 the system chooses one port for all
/// of them.
pub(super) fn open_all(
    addresses: &[SocketAddr],
    requested: &str,
    options: &SocketOptions,
    acceptors: usize,
) -> (Vec<Tcp>, Vec<StartError>) {
    let system_chooses = addresses.len() > 1 && addresses.iter().all(|address| address.port() == 0);
    let mut attempts = if system_chooses { MAX_PORT_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        let (opened, failures) = try_open_all(addresses, requested, options, acceptors);
        if attempts == 0 || !failures.iter().any(|failure| failure.in_use) {
            return (opened, failures.into_iter().map(|failure| failure.error).collect());
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
    acceptors: usize,
) -> (Vec<Tcp>, Vec<BindFailure>) {
    let (mut opened, mut failures) = (Vec::<Tcp>::with_capacity(addresses.len()), Vec::new());
    for address in addresses {
        let (mut address, has_system_port) = (*address, address.port() == 0);
        if let (0, Some(Address::Tcp(first))) = (address.port(), opened.first().map(Transport::local_addr)) {
            address.set_port(first.port());
        }
        match Tcp::open(address, options.clone(), acceptors) {
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
    (opened, failures)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_bound_is_bound_and_the_rest_is_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = taken.local_addr().expect("bound").port();
        let address = |last: u8| SocketAddr::from(([127, 0, 0, last], port));
        let options = SocketOptions::default();
        let (opened, failures) = open_all(&[address(1), address(2), address(3)], "name", &options, 1);
        let opened: Vec<_> = opened.iter().filter_map(|tcp| tcp.local_addr().socket()).collect();
        assert_eq!(opened, [address(2), address(3)]);
        assert_eq!(failures.len(), 1);
        let expected = format!("cannot set up name ({}) (pass another address, or", address(1));
        assert!(failures[0].to_string().starts_with(&expected), "{}", failures[0]);
    }
}
