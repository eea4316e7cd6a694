//! The samples that observers receive once a second, if one wants them.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::{AcceptorPool, PoolState, Status};
use crate::telemetry::{ListenerSample, PoolSample};

/// How often observers receive a sample.
const PERIOD: Duration = Duration::from_secs(1);

/// Starts the samples, if an observer wants them and they have not been started.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct StartSamples;

impl Handler<StartSamples> for AcceptorPool {
    type Result = ();

    fn handle(&mut self, _: StartSamples, ctx: &mut Context<Self>) {
        if self.samples || !self.shared.registries().shared().observers.want_samples() {
            return;
        }
        self.samples = true;
        self.shared.sample();
        ctx.run_interval(PERIOD, |pool, _| pool.shared.sample());
    }
}

impl PoolState {
    /// Passes a sample to the observers that want them.
    pub(super) fn sample(&self) {
        let observers = &self.registries().shared().observers;
        if !observers.want_samples() {
            return;
        }
        let has_ended = self.status() == Status::Ended;
        let limits = self.limits();
        let listeners = || self.sample_listeners();
        let (blocking_running, blocking_queued) = if has_ended { (0, 0) } else { limits.blocking().counts() };
        observers.sample(&PoolSample {
            is_ready: self.status() == Status::Running,
            max_connections: if has_ended { 0 } else { limits.max() },
            held: limits.held(),
            waiting_acceptors: self.waiting_acceptors(),
            handshakes: limits.handshakes_under_way(),
            max_handshakes: if has_ended { 0 } else { limits.max_handshakes() },
            blocking_running,
            blocking_queued,
            dropped: self.registries().shared().outbox_limit.dropped(),
            listeners: &listeners,
        });
    }

    /// How many acceptors wait for a permit.
    pub(super) fn waiting_acceptors(&self) -> usize {
        self.listeners.lock().iter().map(|listener| listener.limits.waiting()).sum()
    }

    fn sample_listeners(&self) -> Vec<ListenerSample> {
        let sample = |name: Arc<str>| ListenerSample { name, ..ListenerSample::default() };
        let mut samples: Vec<_> = self
            .listeners()
            .into_iter()
            .map(|listener| ListenerSample {
                is_at_limit: listener.is_at_limit,
                certificate_expires: listener.certificate_expires,
                ..sample(listener.name)
            })
            .collect();
        let mut at = 0;
        for registry in self.registries().all() {
            registry.for_each(|state| {
                let name = state.listener_name();
                // Mostly the listener of the previous connection.
                if samples.get(at).is_none_or(|sample| sample.name != *name) {
                    at = samples.iter().position(|sample| sample.name == *name).unwrap_or_else(|| {
                        samples.push(sample(name.clone()));
                        samples.len() - 1
                    });
                }
                let sample = &mut samples[at];
                sample.bytes_in += state.bytes_in();
                sample.bytes_out += state.bytes_out();
                sample.packets += state.packets();
                sample.unsent += state.unsent();
            });
        }
        samples
    }
}
