//! What is known of each peer: how many connections it has, and how fast it came.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::rate::{Rate, TokenBucket};

/// How many peers without a connection are remembered for their rate at the most.
const MAX_ABSENT: usize = 16_384;

/// Which addresses count as one peer: the leading bits they have in common.
///
/// Default: 32 bits of IPv4, an address; 64 bits of IPv6, what one customer usually has (RFC 6177 gives no less).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct PeerPrefix {
    /// Bits of an IPv4 address, 32 at the most.
    pub v4: u8,
    /// Bits of an IPv6 address, 128 at the most.
    pub v6: u8,
}

impl Default for PeerPrefix {
    fn default() -> Self {
        PeerPrefix { v4: 32, v6: 64 }
    }
}

impl PeerPrefix {
    /// So many leading bits of each kind of address.
    pub const fn new(v4: u8, v6: u8) -> Self {
        PeerPrefix { v4, v6 }
    }

    /// The peer that an address stands for.
    fn of(&self, ip: IpAddr) -> IpAddr {
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

/// Everybody who has a connection, or had one lately where there is a rate per peer.
#[derive(Debug)]
pub(super) struct PeerTable {
    prefix: PeerPrefix,
    known: Mutex<Peers>,
}

#[derive(Debug, Default)]
struct Peers {
    peers: HashMap<IpAddr, Peer>,
    /// How many of them have no connection.
    absent: usize,
}

#[derive(Debug, Default)]
struct Peer {
    connections: usize,
    bucket: TokenBucket,
}

/// Why a peer may not have one more.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PeerRefusal {
    Connections,
    Rate,
}

impl PeerTable {
    pub(super) fn new(prefix: PeerPrefix) -> Self {
        PeerTable { prefix, known: Mutex::default() }
    }

    /// Counts one more connection of this peer, if it may have one.
    pub(super) fn enter(
        &self,
        ip: IpAddr,
        most: Option<usize>,
        rate: Option<&Rate>,
        now: Duration,
    ) -> Result<(), PeerRefusal> {
        let ip = self.prefix.of(ip);
        let mut known = self.lock();
        let before = known.peers.len();
        let peer = known.peers.entry(ip).or_default();
        let (connections, bucket) = (peer.connections, &mut peer.bucket);
        let outcome = if most.is_some_and(|most| connections >= most) {
            Err(PeerRefusal::Connections)
        } else if rate.is_some_and(|rate| !bucket.take(rate, now)) {
            Err(PeerRefusal::Rate)
        } else {
            peer.connections += 1;
            Ok(())
        };
        let (is_new, present) = (known.peers.len() > before, outcome.is_ok());
        match (is_new, connections > 0, present) {
            (true, _, false) => known.absent += 1,
            (false, false, true) => known.absent -= 1,
            _ => {}
        }
        if known.absent > MAX_ABSENT {
            known.forget(now);
        }
        outcome
    }

    /// One connection of this peer is over.
    pub(super) fn leave(&self, ip: IpAddr, now: Duration) {
        let ip = self.prefix.of(ip);
        let mut known = self.lock();
        let Some(peer) = known.peers.get_mut(&ip) else { return };
        peer.connections -= 1;
        if peer.connections > 0 {
            return;
        }
        if peer.bucket.is_full(now) {
            known.peers.remove(&ip);
        } else {
            known.absent += 1;
            if known.absent > MAX_ABSENT {
                known.forget(now);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Peers> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peers {
    /// Forgets whoever would be let in like a stranger; if that is too little, the half that would be so soonest.
    #[cold]
    fn forget(&mut self, now: Duration) {
        self.peers.retain(|_, peer| peer.connections > 0 || !peer.bucket.is_full(now));
        self.absent = self.peers.values().filter(|peer| peer.connections == 0).count();
        if self.absent > MAX_ABSENT / 2 {
            let absent = self.peers.values().filter(|peer| peer.connections == 0);
            let mut times: Vec<u128> = absent.map(|peer| peer.bucket.full_at()).collect();
            let half = times.len() / 2;
            let (_, median, _) = times.select_nth_unstable(half);
            let median = *median;
            let mut excess = self.absent - MAX_ABSENT / 2;
            self.peers.retain(|_, peer| {
                let forgotten = excess > 0 && peer.connections == 0 && peer.bucket.full_at() <= median;
                excess -= usize::from(forgotten);
                !forgotten
            });
            self.absent = self.peers.values().filter(|peer| peer.connections == 0).count();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    #[test]
    fn addresses_of_one_prefix_are_one_peer() {
        let peers = PeerTable::new(PeerPrefix::default());
        let enter = |ip: &str| peers.enter(ip.parse().unwrap(), Some(1), None, NOW);
        assert_eq!(enter("2001:db8::1"), Ok(()));
        assert_eq!(enter("2001:db8::2"), Err(PeerRefusal::Connections));
        assert_eq!(enter("2001:db8:0:1::1"), Ok(()));
        assert_eq!(enter("127.0.0.1"), Ok(()));
        assert_eq!(enter("127.0.0.2"), Ok(()));
        assert_eq!(enter("::ffff:127.0.0.1"), Err(PeerRefusal::Connections));
        peers.leave("127.0.0.1".parse().unwrap(), NOW);
        assert_eq!(enter("::ffff:127.0.0.1"), Ok(()));
        let all = PeerTable::new(PeerPrefix::new(0, 0));
        assert_eq!(all.enter("1.2.3.4".parse().unwrap(), Some(1), None, NOW), Ok(()));
        assert_eq!(all.enter("9.8.7.6".parse().unwrap(), Some(1), None, NOW), Err(PeerRefusal::Connections));
    }

    #[test]
    fn whoever_is_gone_is_forgotten_once_the_bucket_is_full() {
        let peers = PeerTable::new(PeerPrefix::default());
        let (ip, rate) = ("127.0.0.1".parse().unwrap(), Rate::new(2, Duration::from_secs(2)));
        for outcome in [Ok(()), Ok(()), Err(PeerRefusal::Rate)] {
            assert_eq!(peers.enter(ip, None, Some(&rate), NOW), outcome);
        }
        peers.leave(ip, NOW);
        peers.leave(ip, NOW);
        assert_eq!(peers.enter(ip, None, Some(&rate), NOW), Err(PeerRefusal::Rate));
        assert_eq!(peers.enter(ip, None, Some(&rate), NOW * 2), Ok(()));
        peers.leave(ip, NOW * 9);
        assert!(peers.lock().peers.is_empty());
        assert_eq!(peers.lock().absent, 0);
    }

    #[test]
    fn the_memory_for_peers_is_bounded() {
        let peers = PeerTable::new(PeerPrefix::default());
        let rate = Rate::new(1, Duration::from_secs(60));
        let here = "127.0.0.1".parse().unwrap();
        peers.enter(here, Some(1), Some(&rate), NOW).unwrap();
        for number in 0..3 * MAX_ABSENT as u32 {
            let ip = Ipv4Addr::from(0x0a00_0000 + number).into();
            peers.enter(ip, Some(1), Some(&rate), NOW).unwrap();
            peers.leave(ip, NOW);
            assert!(peers.lock().peers.len() <= MAX_ABSENT + 2);
        }
        let absent = peers.lock().peers.values().filter(|peer| peer.connections == 0).count();
        assert_eq!(peers.lock().absent, absent);
        assert_eq!(peers.lock().peers[&here].connections, 1);
    }
}
