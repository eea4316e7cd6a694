//! Blocks of IP addresses.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// An IP address or a block of them in CIDR notation (RFC 4632).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Cidr(IpNet);

impl Cidr {
    /// Whether the block contains the address. An IPv4 address mapped into IPv6 counts as IPv4.
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        self.0.contains(&ip.to_canonical())
    }
}

impl FromStr for Cidr {
    type Err = ParseCidrError;

    fn from_str(text: &str) -> Result<Self, ParseCidrError> {
        let block = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        block.map(|block| Cidr(canonical(block.trunc()))).map_err(|_| ParseCidrError(text.to_owned()))
    }
}

/// A block of IPv4-mapped IPv6 addresses as the IPv4 block that it stands for: addresses are compared in that form.
fn canonical(block: IpNet) -> IpNet {
    let IpNet::V6(v6) = block else { return block };
    let mapped = v6.prefix_len().checked_sub(96).zip(v6.addr().to_ipv4_mapped());
    let v4 = mapped.and_then(|(prefix, address)| Ipv4Net::new(address, prefix).ok());
    v4.map_or(block, IpNet::V4)
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text is neither an IP address nor a CIDR block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid address {0:?}: expected an IP address or a CIDR block")]
pub struct ParseCidrError(pub(crate) String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_mapped_addresses_is_the_ipv4_block() {
        for (text, inside, outside) in [
            ("::ffff:10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("::ffff:10.1.0.0/112", "::ffff:10.1.9.9", "10.2.0.0"),
            ("::ffff:0:0/96", "192.0.2.1", "2001:db8::1"),
        ] {
            let block: Cidr = text.parse().unwrap();
            assert!(block.contains(inside.parse().unwrap()), "{text} {inside}");
            assert!(!block.contains(outside.parse().unwrap()), "{text} {outside}");
        }
    }
}
