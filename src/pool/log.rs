//! The two lines that a pool logs about itself: when it is ready, and when it has ended.

use std::sync::atomic::Ordering::Acquire;
use std::time::Duration;

use tracing::{field, info, warn};

use super::{DrainReport, PoolInfo, PoolState};
use crate::config::Settings;
use crate::error::{with_sources, PoolError};

impl PoolState {
    /// The addresses, and the limits in force. Those that are not set are left out.
    pub(super) fn log_ready(&self) {
        let listeners = self.listeners();
        let addresses: Vec<_> = listeners.iter().map(|listener| listener.url()).collect();
        let limits = listeners.iter().filter_map(|listener| Some((&listener.name, listener.max_connections?)));
        let limits: Vec<_> = limits.map(|(name, limit)| format!("{name}: {limit}")).collect();
        let acceptors = self.registries().slots_in_use();
        let Settings {
            at_limit,
            max_per_peer,
            accept_rate,
            peer_rate,
            max_handshakes,
            idle_timeout,
            packet_timeout,
            max_age,
            rules,
            ..
        } = self.settings();
        info!(
            pool = self.name(),
            addresses = addresses.join(", "),
            acceptors,
            max_connections = self.limits().max(),
            ?at_limit,
            max_per_listener = (!limits.is_empty()).then(|| limits.join(", ")),
            max_per_peer,
            accept_rate = accept_rate.map(field::debug),
            peer_rate = peer_rate.map(field::debug),
            max_handshakes,
            idle_timeout = in_force(idle_timeout),
            packet_timeout = in_force(packet_timeout),
            max_age = max_age.map(field::debug),
            rules = rules.len(),
            "pool ready"
        );
    }

    /// Why the pool has ended, and its counts. Nothing if its start has failed: the caller has the error.
    pub(super) fn log_ended(&self, outcome: &Result<(), PoolError>) {
        if !self.is_started.load(Acquire) {
            return;
        }
        let why = outcome.as_ref().map_or_else(|error| with_sources(error), |()| "stopped".to_owned());
        let PoolInfo { accepted, refused, closed, acceptors, bytes_in, bytes_out, .. } = self.info();
        let restarts: u64 = acceptors.iter().map(|acceptor| acceptor.restarts).sum();
        let DrainReport { asked, finished, forced, unserved, took, .. } = self.report();
        macro_rules! log {
            ($level:ident) => {
                $level!(
                    pool = self.name(),
                    why,
                    accepted,
                    refused = refused.total(),
                    closed = closed.total(),
                    bytes_in,
                    bytes_out,
                    restarts,
                    asked,
                    finished,
                    forced,
                    unserved,
                    ?took,
                    "pool ended"
                )
            };
        }
        match outcome {
            Ok(()) => log!(info),
            Err(_) => log!(warn),
        }
    }
}

/// A time limit, or `off`: a protection that is missing should be seen.
fn in_force(limit: Option<Duration>) -> String {
    limit.filter(|limit| !limit.is_zero()).map_or_else(|| "off".to_owned(), |limit| format!("{limit:?}"))
}
