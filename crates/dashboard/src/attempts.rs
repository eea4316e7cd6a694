//! The limit on wrong tokens.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

const PERIOD: Duration = Duration::from_secs(60);
/// How many wrong tokens an address may send within the period.
pub(crate) const PER_ADDRESS: u32 = 5;
/// How many wrong tokens the uncounted addresses of a larger network may send within the period.
const PER_NETWORK: u32 = 60;
/// How many wrong tokens are logged within the period.
const LOGGED: u32 = 60;
/// How many networks of a size are counted, for each version of IP.
const MAX_NETWORKS: usize = 4_096;
/// The sizes of the networks that are counted, as prefix lengths of IPv4 and IPv6, and their limits. The first is an address: a
/// site has at least 64 bits of IPv6.
const SIZES: [(u32, u32, u32); 3] = [(32, 64, PER_ADDRESS), (16, 32, PER_NETWORK), (0, 0, PER_NETWORK)];

/// The wrong tokens of the current period.
///
/// Each address is counted separately, so that wrong tokens of one address do not lock out another. If more addresses send wrong
/// tokens than can be counted, further ones are counted by their larger network.
#[derive(Default)]
pub(crate) struct Attempts(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    since: Option<Instant>,
    total: u32,
    ipv4: Networks,
    ipv6: Networks,
    /// The same for peers without an address.
    unknown: Networks,
}

/// The wrong tokens by size and address of the network.
type Networks = [HashMap<u128, u32>; SIZES.len()];

impl Attempts {
    /// Whether an address may send a token.
    ///
    /// # Errors
    /// The seconds until another attempt is allowed.
    pub(crate) fn check(&self, address: Option<IpAddr>, now: Instant) -> Result<(), u64> {
        let mut counted = self.0.lock();
        let left = counted.current(now);
        let (networks, size, network) = counted.place(address);
        let is_limited = networks[size].get(&network).is_some_and(|count| *count >= SIZES[size].2);
        if is_limited {
            Err(left.as_secs() + 1)
        } else {
            Ok(())
        }
    }

    /// Counts a wrong token. Returns whether it is to be logged.
    pub(crate) fn count(&self, address: Option<IpAddr>, now: Instant) -> bool {
        let mut counted = self.0.lock();
        counted.current(now);
        counted.total = counted.total.saturating_add(1);
        let (networks, size, network) = counted.place(address);
        *networks[size].entry(network).or_default() += 1;
        counted.total <= LOGGED
    }
}

impl Counted {
    /// Begins another period if the current one has passed. Returns what is left of it.
    fn current(&mut self, now: Instant) -> Duration {
        let passed = self.since.map(|since| now.saturating_duration_since(since)).filter(|passed| *passed < PERIOD);
        match passed {
            Some(passed) => PERIOD - passed,
            None => {
                *self = Counted { since: Some(now), ..Counted::default() };
                PERIOD
            }
        }
    }

    /// The networks of an address's version, and the size and bits of the smallest one that is counted or can be.
    fn place(&mut self, address: Option<IpAddr>) -> (&mut Networks, usize, u128) {
        let (networks, bits, prefixes) = match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(ip)) => (&mut self.ipv4, u128::from(ip.to_bits()) << 96, SIZES.map(|(ipv4, ..)| ipv4)),
            Some(IpAddr::V6(ip)) => (&mut self.ipv6, ip.to_bits(), SIZES.map(|(_, ipv6, _)| ipv6)),
            None => (&mut self.unknown, 0, [0; SIZES.len()]),
        };
        let network = |size: usize| bits.checked_shr(128 - prefixes[size]).unwrap_or(0);
        let has_place =
            |size: &usize| networks[*size].len() < MAX_NETWORKS || networks[*size].contains_key(&network(*size));
        let size = (0..SIZES.len()).find(has_place).unwrap_or(SIZES.len() - 1);
        (networks, size, network(size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    /// Sends as many wrong tokens as the limit allows, at most `max`.
    fn guess(attempts: &Attempts, address: Option<IpAddr>, max: usize, now: Instant) -> usize {
        let mut sent = 0;
        while sent < max && attempts.check(address, now).is_ok() {
            attempts.count(address, now);
            sent += 1;
        }
        sent
    }

    #[test]
    fn wrong_tokens_are_limited_per_address() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        // The last one is the peer of a Unix socket.
        for address in [ip("192.0.2.1"), ip("192.0.2.2"), ip("2001:db8::1"), ip("2001:db8:0:1::1"), None] {
            assert_eq!(guess(&attempts, address, 100, now), PER_ADDRESS as usize, "{address:?}");
            assert_eq!(attempts.check(address, now), Err(61));
        }
        assert_eq!(attempts.check(ip("::ffff:192.0.2.1"), now), Err(61));
        assert_eq!(attempts.check(ip("2001:db8::2"), now), Err(61), "the same network of 64 bits");
        assert_eq!(attempts.check(ip("192.0.2.1"), now + PERIOD), Ok(()));
    }

    #[test]
    fn wrong_tokens_lock_out_no_other_address() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let logged = (0..MAX_NETWORKS as u32 - 1).map(|n| IpAddr::V4((0x0a00_0000 + n).into()));
        let logged = logged.filter(|address| attempts.count(Some(*address), now)).count();
        assert_eq!(logged as u32, LOGGED);
        // A network of 48 bits has more networks of 64 bits than can be counted, and one of 32 bits even more.
        let mut guesses = 0;
        for n in 0..20_000_u128 {
            guesses += guess(&attempts, Some(IpAddr::V6(((0x2001_0db8 << 96) + (n << 64)).into())), 1, now);
        }
        assert_eq!(guesses, MAX_NETWORKS + PER_NETWORK as usize);
        for other in [ip("192.0.2.1"), ip("10.255.255.1"), ip("2001:db9::1"), None] {
            assert_eq!(attempts.check(other, now), Ok(()), "{other:?}");
        }
    }

    #[test]
    fn addresses_above_the_bound_share_their_network() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let address = |n: u32| Some(IpAddr::V4(n.into()));
        for n in 0..20_000_u32 {
            attempts.count(address(n << 12), now);
        }
        let counted = attempts.0.lock();
        assert!(counted.ipv4.iter().all(|networks| networks.len() <= MAX_NETWORKS));
        drop(counted);
        // Counted before: with its own limit.
        assert_eq!(guess(&attempts, address(0), 100, now), PER_ADDRESS as usize - 1);
        // Not counted: the limit of its network is for all of them.
        let network = ip("192.0.2.1");
        assert_eq!(guess(&attempts, network, 100, now), PER_NETWORK as usize);
        assert!(attempts.check(ip("192.0.99.1"), now).is_err() && attempts.check(ip("192.1.2.1"), now).is_ok());
        assert_eq!(attempts.check(network, now + PERIOD), Ok(()));
    }
}
