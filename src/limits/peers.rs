//! The connections and the rate of each peer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::token_bucket::TokenBucket;
use crate::config::{PeerPrefix, Rate};

/// The greatest number of peers without a connection that are remembered for their rate.
const MAX_ABSENT: usize = 16_384;

/// The peers that have a connection. If there is a rate per peer, also those that recently had one.
#[derive(Debug)]
pub(super) struct PeerTable {
    prefix: PeerPrefix,
    peers: Mutex<Peers>,
}

#[derive(Debug, Default)]
struct Peers {
    by_address: HashMap<IpAddr, Peer>,
    /// The number of peers without a connection.
    absent: usize,
}

#[derive(Debug, Default)]
struct Peer {
    connections: usize,
    bucket: TokenBucket,
}

/// Why a peer may not have one more connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PeerRefusal {
    Connections,
    Rate,
}

impl PeerTable {
    pub(super) fn new(prefix: PeerPrefix) -> Self {
        PeerTable { prefix, peers: Mutex::default() }
    }

    /// Counts one more connection of this peer if its limits allow one. `rate` includes how long the peer may wait for a token.
    /// Returns how long it must wait.
    pub(super) fn register(
        &self,
        ip: IpAddr,
        max: Option<usize>,
        rate: Option<(&Rate, Duration)>,
        now: Duration,
    ) -> Result<Duration, PeerRefusal> {
        let ip = self.prefix.of(ip);
        let mut peers = self.lock();
        let before = peers.by_address.len();
        let peer = peers.by_address.entry(ip).or_default();
        let (connections, bucket) = (peer.connections, &mut peer.bucket);
        let outcome = if max.is_some_and(|max| connections >= max) {
            Err(PeerRefusal::Connections)
        } else {
            let wait = rate.map_or(Some(Duration::ZERO), |(rate, max_wait)| bucket.reserve(rate, now, max_wait));
            peer.connections += usize::from(wait.is_some());
            wait.ok_or(PeerRefusal::Rate)
        };
        let (is_new, present) = (peers.by_address.len() > before, outcome.is_ok());
        match (is_new, connections > 0, present) {
            (true, _, false) => peers.absent += 1,
            (false, false, true) => peers.absent -= 1,
            _ => {}
        }
        if peers.absent > MAX_ABSENT {
            peers.evict(now);
        }
        outcome
    }

    /// Takes a closed connection off the count of its peer.
    pub(super) fn release(&self, ip: IpAddr, now: Duration) {
        let ip = self.prefix.of(ip);
        let mut peers = self.lock();
        let Some(peer) = peers.by_address.get_mut(&ip) else { return };
        peer.connections -= 1;
        if peer.connections > 0 {
            return;
        }
        if peer.bucket.is_full(now) {
            peers.by_address.remove(&ip);
        } else {
            peers.absent += 1;
            if peers.absent > MAX_ABSENT {
                peers.evict(now);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock()
    }
}

impl Peers {
    /// Removes the absent peers whose bucket is full: a full bucket holds no information. If more than half of the maximum is
    /// left, also removes those whose bucket fills next, down to half.
    #[cold]
    fn evict(&mut self, now: Duration) {
        self.by_address.retain(|_, peer| peer.connections > 0 || !peer.bucket.is_full(now));
        self.absent = self.by_address.values().filter(|peer| peer.connections == 0).count();
        if self.absent > MAX_ABSENT / 2 {
            let absent = self.by_address.values().filter(|peer| peer.connections == 0);
            let mut times: Vec<u128> = absent.map(|peer| peer.bucket.full_at()).collect();
            let half = times.len() / 2;
            let (_, median, _) = times.select_nth_unstable(half);
            let median = *median;
            let mut excess = self.absent - MAX_ABSENT / 2;
            self.by_address.retain(|_, peer| {
                let evicted = excess > 0 && peer.connections == 0 && peer.bucket.full_at() <= median;
                excess -= usize::from(evicted);
                !evicted
            });
            self.absent = self.by_address.values().filter(|peer| peer.connections == 0).count();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    #[test]
    fn addresses_of_one_prefix_are_one_peer() {
        let peers = PeerTable::new(PeerPrefix::default());
        let enter = |ip: &str| peers.register(ip.parse().unwrap(), Some(1), None, NOW);
        assert_eq!(enter("2001:db8::1"), Ok(Duration::ZERO));
        assert_eq!(enter("2001:db8::2"), Err(PeerRefusal::Connections));
        assert_eq!(enter("2001:db8:0:1::1"), Ok(Duration::ZERO));
        assert_eq!(enter("127.0.0.1"), Ok(Duration::ZERO));
        assert_eq!(enter("127.0.0.2"), Ok(Duration::ZERO));
        assert_eq!(enter("::ffff:127.0.0.1"), Err(PeerRefusal::Connections));
        peers.release("127.0.0.1".parse().unwrap(), NOW);
        assert_eq!(enter("::ffff:127.0.0.1"), Ok(Duration::ZERO));
        let all = PeerTable::new(PeerPrefix::new(0, 0));
        assert_eq!(all.register("1.2.3.4".parse().unwrap(), Some(1), None, NOW), Ok(Duration::ZERO));
        assert_eq!(all.register("9.8.7.6".parse().unwrap(), Some(1), None, NOW), Err(PeerRefusal::Connections));
    }

    #[test]
    fn an_absent_peer_is_removed_once_its_bucket_is_full() {
        let peers = PeerTable::new(PeerPrefix::default());
        let (ip, rate) = ("127.0.0.1".parse().unwrap(), Rate::new(2, Duration::from_secs(2)));
        for outcome in [Ok(Duration::ZERO), Ok(Duration::ZERO), Err(PeerRefusal::Rate)] {
            assert_eq!(peers.register(ip, None, Some((&rate, Duration::ZERO)), NOW), outcome);
        }
        peers.release(ip, NOW);
        peers.release(ip, NOW);
        assert_eq!(peers.register(ip, None, Some((&rate, Duration::ZERO)), NOW), Err(PeerRefusal::Rate));
        assert_eq!(peers.register(ip, None, Some((&rate, Duration::ZERO)), NOW * 2), Ok(Duration::ZERO));
        peers.release(ip, NOW * 9);
        assert!(peers.lock().by_address.is_empty());
        assert_eq!(peers.lock().absent, 0);
    }

    #[test]
    fn the_memory_for_peers_is_bounded() {
        let peers = PeerTable::new(PeerPrefix::default());
        let rate = Rate::new(1, Duration::from_secs(60));
        let here = "127.0.0.1".parse().unwrap();
        peers.register(here, Some(1), Some((&rate, Duration::ZERO)), NOW).unwrap();
        for number in 0..3 * MAX_ABSENT as u32 {
            let ip = Ipv4Addr::from(0x0a00_0000 + number).into();
            peers.register(ip, Some(1), Some((&rate, Duration::ZERO)), NOW).unwrap();
            peers.release(ip, NOW);
            assert!(peers.lock().by_address.len() <= MAX_ABSENT + 2);
        }
        let absent = peers.lock().by_address.values().filter(|peer| peer.connections == 0).count();
        assert_eq!(peers.lock().absent, absent);
        assert_eq!(peers.lock().by_address[&here].connections, 1);
    }
}
