//! Runs the handshake steps of a connection in order, within one time limit and a limit on concurrent handshakes.

use std::sync::Arc;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use tokio::sync::Semaphore;

use super::{Handshake, HandshakeError, Handshaken};
use crate::net::Stream;
use crate::registry::ConnectionState;
use crate::telemetry::RefusalReason;

/// A handshake in progress.
pub(crate) type HandshakeFuture = LocalBoxFuture<'static, Result<Handshaken, HandshakeFailure>>;

/// Why a connection did not become ready.
#[derive(Debug)]
pub(crate) enum HandshakeFailure {
    Failed(HandshakeError),
    /// The limits or access rules refuse the peer that a step has reported.
    Refused(RefusalReason),
}

/// The handshake steps of a connection.
#[derive(Clone)]
pub(crate) struct HandshakeChain {
    steps: Vec<Arc<dyn Handshake>>,
    limit: Option<Duration>,
    /// One permit for each handshake that may run at the same time.
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

    pub(crate) fn begin(self, stream: Stream, entry: Arc<ConnectionState>) -> HandshakeFuture {
        let limit = self.limit;
        let steps = self.run_steps(stream, entry);
        Box::pin(async move {
            match limit {
                None => steps.await,
                Some(limit) => {
                    let timeout = Err(HandshakeFailure::Failed(HandshakeError::Timeout(limit)));
                    tokio::time::timeout(limit, steps).await.unwrap_or(timeout)
                }
            }
        })
    }

    /// A peer address that a step reports is checked before the next step: a refused peer gets no TLS handshake.
    async fn run_steps(self, stream: Stream, entry: Arc<ConnectionState>) -> Result<Handshaken, HandshakeFailure> {
        // Fails only if the semaphore is closed, which never happens.
        let _slot = self.slots.acquire_owned().await;
        let (mut done, mut has_claimed) = (Handshaken::new(stream), false);
        for step in self.steps {
            let Handshaken { stream, peer, negotiated } =
                step.handshake(done.stream, entry.peer()).await.map_err(HandshakeFailure::Failed)?;
            if peer.is_some() {
                entry.claim(peer).map_err(HandshakeFailure::Refused)?;
                has_claimed = true;
            }
            done = Handshaken { stream, peer: None, negotiated: negotiated.or(&done.negotiated) };
        }
        if !has_claimed {
            entry.claim(None).map_err(HandshakeFailure::Refused)?;
        }
        Ok(done)
    }
}
