//! Runs the handshake steps of a connection in order, within one time limit and a limit on concurrent handshakes.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use futures::FutureExt;
use tokio::sync::Semaphore;

use super::{Handshake, HandshakeError, Handshaken};
use crate::net::{Address, Stream};
use crate::panic::{catch_panic, panic_text};
use crate::registry::ConnectionState;
use crate::telemetry::RefusalReason;

/// A handshake in progress.
pub(crate) type HandshakeFuture = LocalBoxFuture<'static, Result<Handshaken, HandshakeEnd>>;

/// How an unsuccessful handshake ended.
#[derive(Debug)]
pub(crate) enum HandshakeEnd {
    Failed(HandshakeError),
    /// The limits or access rules refused the peer that a step reported.
    Refused(RefusalReason),
    /// A step panicked, with this text.
    Panicked(String),
}

/// The handshake steps of a connection.
#[derive(Clone)]
pub(crate) struct HandshakeChain {
    steps: Vec<Arc<dyn Handshake>>,
    limit: Option<Duration>,
    /// One permit for each handshake that may run at the same time. A step takes one when it may begin.
    slots: Arc<Semaphore>,
}

impl HandshakeChain {
    /// Returns `None` if there are no steps.
    pub(crate) fn new(
        steps: Vec<Arc<dyn Handshake>>,
        limit: Option<Duration>,
        slots: Arc<Semaphore>,
    ) -> Option<Box<Self>> {
        (!steps.is_empty()).then(|| Box::new(HandshakeChain { steps, limit, slots }))
    }

    /// Adds a step after the others.
    pub(crate) fn add(&mut self, step: Arc<dyn Handshake>) {
        self.steps.push(step);
    }

    /// Begins the handshake. `spent` is how much of the time limit has passed.
    pub(crate) fn begin(self, stream: Stream, state: Arc<ConnectionState>, spent: Duration) -> HandshakeFuture {
        let limit = self.limit;
        let mut steps = Box::pin(AssertUnwindSafe(self.run_steps(stream, state)).catch_unwind());
        Box::pin(async move {
            let outcome = match limit {
                None => steps.await,
                Some(limit) => match tokio::time::timeout(limit.saturating_sub(spent), steps.as_mut()).await {
                    Ok(outcome) => outcome,
                    // The drop of a step's future is user code, too.
                    Err(_) => {
                        let timeout = HandshakeEnd::Failed(HandshakeError::Timeout(limit));
                        return Err(catch_panic(|| drop(steps)).map_or_else(HandshakeEnd::Panicked, |()| timeout));
                    }
                },
            };
            outcome.unwrap_or_else(|panic| Err(HandshakeEnd::Panicked(panic_text(panic))))
        })
    }

    /// Runs the steps. A peer address that a step reports is checked before the next step, so that a refused peer gets no TLS
    /// handshake.
    async fn run_steps(self, stream: Stream, state: Arc<ConnectionState>) -> Result<Handshaken, HandshakeEnd> {
        let (mut done, mut has_claimed, mut slot) = (Handshaken::new(stream), false, None);
        for step in self.steps {
            if !step.applies_to(state.peer()) {
                continue;
            }
            if step.waits_for_peer(state.peer()) {
                // A peer that sends nothing takes up no slot.
                slot = None;
                poll_fn(|cx| done.stream.poll_read_ready(cx)).await;
            }
            if slot.is_none() {
                // Cannot fail: the semaphore is never closed.
                slot = self.slots.clone().acquire_owned().await.ok();
            }
            let Handshaken { stream, peer, negotiated } =
                step.handshake(done.stream, state.peer()).await.map_err(HandshakeEnd::Failed)?;
            if peer.is_some() {
                claim(&state, peer, &stream)?;
                has_claimed = true;
            }
            done = Handshaken { stream, peer: None, negotiated: negotiated.or(&done.negotiated) };
        }
        if !has_claimed {
            claim(&state, None, &done.stream)?;
        }
        if let Some(tls) = &done.negotiated.tls {
            state.set_tls(tls.version.clone(), tls.alpn.clone());
        }
        Ok(done)
    }
}

/// Sets the peer that a step has reported. If that peer is refused, the stream is reset if the settings say so.
fn claim(state: &ConnectionState, peer: Option<Address>, stream: &Stream) -> Result<(), HandshakeEnd> {
    state.claim_peer(peer).map_err(|reason| {
        if state.listener().resets_refused() {
            stream.reset_on_drop();
        }
        HandshakeEnd::Refused(reason)
    })
}
