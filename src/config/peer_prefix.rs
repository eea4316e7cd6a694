//! Which addresses count as one peer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which addresses count as one peer: those that share this many leading bits.
///
/// Default: 32 bits of IPv4, a single address; 64 bits of IPv6, the smallest block that a customer is usually assigned
/// (RFC 6177).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields, expecting = "a table such as { v4 = 32, v6 = 64 }")
)]
#[non_exhaustive]
pub struct PeerPrefix {
    /// Leading bits of an IPv4 address, at most 32.
    #[cfg_attr(feature = "serde", serde(with = "super::representation::whole"))]
    pub v4: u8,
    /// Leading bits of an IPv6 address, at most 128.
    #[cfg_attr(feature = "serde", serde(with = "super::representation::whole"))]
    pub v6: u8,
}

impl Default for PeerPrefix {
    fn default() -> Self {
        PeerPrefix { v4: 32, v6: 64 }
    }
}

impl PeerPrefix {
    /// Creates a prefix from the number of leading bits of IPv4 and of IPv6 addresses.
    pub const fn new(v4: u8, v6: u8) -> Self {
        PeerPrefix { v4, v6 }
    }

    /// The peer to which an address belongs.
    pub(crate) fn of(&self, ip: IpAddr) -> IpAddr {
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.v4.min(32))).unwrap_or(0);
                Ipv4Addr::from(u32::from(ip) & mask).into()
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.v6.min(128))).unwrap_or(0);
                Ipv6Addr::from(u128::from(ip) & mask).into()
            }
        }
    }
}
