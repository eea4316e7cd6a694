//! The limits on wrong tokens.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

const PERIOD: Duration = Duration::from_secs(60);
/// How many wrong tokens an address may send within the period.
pub(crate) const PER_ADDRESS: u32 = 5;
/// How many wrong tokens all addresses may send within the period.
pub(crate) const IN_TOTAL: u32 = 60;
/// At most this many addresses are counted. While the table is full, other addresses have to wait.
const MAX_ADDRESSES: usize = 4_096;

/// The wrong tokens of the current period.
#[derive(Default)]
pub(crate) struct Attempts(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    since: Option<Instant>,
    total: u32,
    addresses: HashMap<IpAddr, u32>,
}

impl Attempts {
    /// Whether an address may send a token. The limit in total is for the login form only: otherwise, wrong tokens of others would
    /// stop a script that has the token.
    ///
    /// # Errors
    /// The seconds until another attempt is allowed.
    pub(crate) fn check(&self, address: Option<IpAddr>, is_form: bool, now: Instant) -> Result<(), u64> {
        let mut counted = self.0.lock();
        let left = counted.current(now);
        let of_address = address.and_then(|address| counted.addresses.get(&network(address))).copied();
        let is_uncounted = of_address.is_none() && counted.addresses.len() >= MAX_ADDRESSES;
        let is_limited = of_address >= Some(PER_ADDRESS) || is_uncounted || is_form && counted.total >= IN_TOTAL;
        if is_limited {
            Err(left.as_secs() + 1)
        } else {
            Ok(())
        }
    }

    /// Counts a wrong token. Returns whether it is to be logged: those above the limit in total are not.
    pub(crate) fn count(&self, address: Option<IpAddr>, now: Instant) -> bool {
        let mut counted = self.0.lock();
        counted.current(now);
        counted.total = counted.total.saturating_add(1);
        if let Some(address) = address.map(network)
            && (counted.addresses.len() < MAX_ADDRESSES || counted.addresses.contains_key(&address))
        {
            *counted.addresses.entry(address).or_default() += 1;
        }
        counted.total <= IN_TOTAL
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
}

/// What counts as one address: for IPv6 its network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_tokens_are_limited_per_address() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let [bad, good] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().ok());
        for _ in 0..PER_ADDRESS {
            assert_eq!(attempts.check(bad, false, now), Ok(()));
            attempts.count(bad, now);
        }
        assert_eq!(attempts.check(bad, false, now), Err(61));
        assert_eq!(attempts.check(good, true, now), Ok(()));
        assert_eq!(attempts.check(bad, false, now + PERIOD), Ok(()));
    }

    #[test]
    fn wrong_tokens_are_limited_in_total() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let logged = (0..1_000_u32).filter(|n| attempts.count(Some(IpAddr::V4((*n).into())), now)).count();
        assert_eq!(logged as u32, IN_TOTAL);
        let other = "192.0.2.1".parse().ok();
        assert!(attempts.check(other, true, now).is_err() && attempts.check(other, false, now).is_ok());
    }

    #[test]
    fn the_addresses_of_wrong_tokens_are_bounded() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for n in 0..10_000_u32 {
            attempts.count(Some(IpAddr::V4(n.into())), now);
        }
        assert_eq!(attempts.0.lock().addresses.len(), MAX_ADDRESSES);
        let other = "192.0.2.1".parse().ok();
        assert!(attempts.check(other, false, now).is_err() && attempts.check(other, true, now + PERIOD).is_ok());
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for n in 0..PER_ADDRESS {
            attempts.count(format!("2001:db8::{n}").parse().ok(), now);
        }
        assert!(attempts.check("2001:db8::ffff".parse().ok(), false, now).is_err());
        assert!(attempts.check("2001:db8:0:1::1".parse().ok(), false, now).is_ok());
    }
}
