//! From what was asked for to TCP ports: names looked up, one or all of their addresses bound.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{lookup_host, ToSocketAddrs};

use super::{SocketOptions, Tcp, Transport};
use crate::error::StartError;
use crate::net::Address;

/// How many ports of the system's choice are tried until one is free at all addresses.
const CHOICES: usize = 16;

/// The addresses that a name stands for, one at least.
pub(crate) async fn resolve(
    address: impl ToSocketAddrs,
    asked: &str,
    limit: Duration,
) -> Result<Vec<SocketAddr>, StartError> {
    let refused = |source| StartError::SystemError { what: asked.to_owned(), source };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    match tokio::time::timeout(limit, lookup_host(address)).await {
        Err(_) => return Err(StartError::ListenerTimeout { address: asked.to_owned(), limit }),
        Ok(found) => found.map_err(refused)?.for_each(|address| {
            // Some files of hosts name one twice.
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }),
    }
    if addresses.is_empty() {
        return Err(refused(io::Error::new(io::ErrorKind::AddrNotAvailable, "the name stands for no address")));
    }
    Ok(addresses)
}

/// Binds the first address that can be bound.
pub(crate) fn open_first(addresses: &[SocketAddr], asked: &str, options: &SocketOptions) -> Result<Tcp, StartError> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match Tcp::open(*address, options.clone()) {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = error,
        }
    }
    Err(StartError::SystemError { what: asked.to_owned(), source: last })
}

/// Binds every address, all or none; port 0 is the same one for all.
pub(super) fn open_all(
    addresses: &[SocketAddr],
    asked: &str,
    mut options: SocketOptions,
) -> Result<Vec<Tcp>, StartError> {
    options.only_v6.get_or_insert(true);
    let chosen = addresses.len() > 1 && addresses.iter().all(|address| address.port() == 0);
    let mut choices = if chosen { CHOICES } else { 1 };
    loop {
        choices -= 1;
        match try_all(addresses, asked, &options) {
            Err(failures) if choices > 0 && failures.iter().any(|(again, _)| *again) => {}
            Err(failures) => {
                let failures = failures.into_iter().map(|(_, error)| error).collect();
                return Err(StartError::all(failures).unwrap_or(StartError::ListenerClosed));
            }
            Ok(opened) => return Ok(opened),
        }
    }
}

/// Each failure with whether another port may do.
fn try_all(
    addresses: &[SocketAddr],
    asked: &str,
    options: &SocketOptions,
) -> Result<Vec<Tcp>, Vec<(bool, StartError)>> {
    let (mut opened, mut failures) = (Vec::<Tcp>::with_capacity(addresses.len()), Vec::new());
    for address in addresses {
        let mut address = *address;
        if let (0, Some(Address::Tcp(first))) = (address.port(), opened.first().map(Transport::local_addr)) {
            address.set_port(first.port());
        }
        match Tcp::open(address, options.clone()) {
            Ok(tcp) => opened.push(tcp),
            Err(source) => {
                let again = source.kind() == io::ErrorKind::AddrInUse;
                let what = if address.to_string() == asked { asked.to_owned() } else { format!("{asked} ({address})") };
                failures.push((again, StartError::SystemError { what, source }));
            }
        }
    }
    if failures.is_empty() {
        Ok(opened)
    } else {
        Err(failures)
    }
}
