//! The PROXY protocol, versions 1 and 2, with all handlers.

mod addresses;
mod headers;
mod refused;
mod together;

use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::client::Client;
use crate::process::Playground;

/// The trusted sender: the clients of these tests connect from 127.0.0.1 by default.
const REQUIRE: &str = "--framing lines --proxy-protocol require --trusted-proxy 127.0.0.1";
const OPTIONAL: &str = "--framing lines --proxy-protocol optional --trusted-proxy 127.0.0.1";

const CLAIMED: &str = "203.0.113.7:4711";

/// A header of version 1 that claims this address.
pub fn line(claimed: &str) -> Vec<u8> {
    let (family, to) = if claimed.starts_with('[') { ("TCP6", "2001:db8::1") } else { ("TCP4", "198.51.100.1") };
    let claimed: SocketAddr = claimed.parse().unwrap();
    format!("PROXY {family} {} {to} {} 443\r\n", claimed.ip(), claimed.port()).into_bytes()
}

/// A header of version 2 that claims this address, with `rest` after the addresses.
pub fn binary_with(claimed: &str, rest: &[u8]) -> Vec<u8> {
    let (family, addresses) = match claimed.parse().unwrap() {
        SocketAddr::V4(claimed) => (0x11, v4(claimed)),
        SocketAddr::V6(claimed) => (0x21, v6(claimed)),
    };
    version_2(0x21, family, &[&addresses, rest].concat())
}

pub fn binary(claimed: &str) -> Vec<u8> {
    binary_with(claimed, b"")
}

fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = (rest.len() as u16).to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, rest].concat()
}

fn v4(claimed: SocketAddrV4) -> Vec<u8> {
    [&claimed.ip().octets()[..], &[198, 51, 100, 1], &claimed.port().to_be_bytes(), &443u16.to_be_bytes()].concat()
}

fn v6(claimed: SocketAddrV6) -> Vec<u8> {
    [&claimed.ip().octets()[..], &[0; 16], &claimed.port().to_be_bytes(), &443u16.to_be_bytes()].concat()
}

/// A client behind a load balancer.
fn connect_behind(playground: &Playground, header: &[u8]) -> Client {
    let mut client = playground.connect();
    client.send_wire(header);
    client
}
