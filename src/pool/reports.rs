//! The reports that a pool makes of its state.

use std::sync::Arc;

use super::{AcceptorInfo, ListenerInfo, PoolInfo, PoolState};
use crate::listener::ListenerState;
use crate::registry::Totals;
use crate::telemetry::Counts;

impl PoolState {
    pub(super) fn listeners(&self) -> Vec<ListenerInfo> {
        let info = |listener: &Arc<ListenerState>| {
            let current = listener.current();
            let steps = listener.handshake_infos();
            let expires = steps.iter().filter_map(|step| step.certificate_expires);
            ListenerInfo {
                name: current.limits.name().clone(),
                address: listener.address().clone(),
                connections: listener.limits.connections(),
                max_connections: listener.limits.max(),
                is_at_limit: listener.limits.is_at_limit(),
                accept_rate: listener.limits.rate(),
                options: listener.transport.options_in_force(),
                tls: steps.iter().any(|step| step.tls),
                certificate_expires: expires.min(),
            }
        };
        let listeners = self.listeners.lock().clone();
        listeners.iter().map(info).collect()
    }

    pub(super) fn info(&self) -> PoolInfo {
        let totals = self.totals();
        let (mut closed, mut refused, mut handshake_failures) =
            (Counts::default(), Counts::default(), Counts::default());
        for totals in &totals {
            closed += totals.closed;
            refused += totals.refused;
            handshake_failures += totals.handshake_failures;
        }
        let sum = |of: fn(&Totals) -> u64| totals.iter().map(of).sum();
        let certificate_expires =
            self.listeners().into_iter().filter_map(|listener| listener.certificate_expires).min();
        let waiting_acceptors = self.waiting_acceptors();
        let (blocking_running, blocking_queued) = self.limits().blocking().counts();
        let slots = self.slots.lock();
        let in_use = totals.iter().zip(slots.iter()).take(self.registries().slots_in_use());
        let acceptors = in_use.enumerate().map(|(id, (totals, slot))| AcceptorInfo {
            id,
            connections: totals.live,
            restarts: slot.restarts,
        });
        PoolInfo {
            status: self.status(),
            connections: sum(|totals| totals.live),
            max_connections: self.limits().max(),
            accepted: sum(|totals| totals.accepted),
            refused,
            closed,
            accept_errors: self.registries().shared().accept_errors(),
            held: self.limits().held(),
            waiting_acceptors,
            handshake_failures,
            handshakes: self.limits().handshakes_under_way(),
            bytes_in: sum(|totals| totals.traffic.bytes_in),
            bytes_out: sum(|totals| totals.traffic.bytes_out),
            packets: sum(|totals| totals.traffic.packets),
            unsent: sum(|totals| totals.unsent),
            blocking_running,
            blocking_queued,
            dropped: self.registries().shared().outbox_limit.dropped(),
            blocked: self.registries().shared().blocked(),
            certificate_expires,
            acceptors: acceptors.collect(),
        }
    }
}
