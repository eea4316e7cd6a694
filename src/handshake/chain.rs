//! The steps between accept and ready, one after the other, within one limit of time and a cap on their number.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use futures::FutureExt;
use tokio::sync::Semaphore;

use super::{Handshake, HandshakeError, Handshaken};
use crate::net::Stream;
use crate::panic::panic_text;
use crate::registry::ConnectionState;
use crate::telemetry::RefusalReason;

/// A handshake under way.
pub(crate) type HandshakeFuture = LocalBoxFuture<'static, Result<Handshaken, HandshakeFailure>>;

/// Why a connection did not become ready.
#[derive(Debug)]
pub(crate) enum HandshakeFailure {
    Failed(HandshakeError),
    /// The peer named by the PROXY header is refused.
    Refused(RefusalReason),
    /// A step panicked, with this text.
    Panicked(String),
}

/// What a connection goes through before it is ready.
#[derive(Clone)]
pub(crate) struct HandshakeChain {
    steps: Vec<Arc<dyn Handshake>>,
    limit: Option<Duration>,
    /// One for each handshake that may be under way.
    slots: Arc<Semaphore>,
}

impl HandshakeChain {
    /// `None`: there is nothing to go through.
    pub(crate) fn new(
        steps: Vec<Arc<dyn Handshake>>,
        limit: Option<Duration>,
        slots: Arc<Semaphore>,
    ) -> Option<Box<Self>> {
        (!steps.is_empty()).then(|| Box::new(HandshakeChain { steps, limit, slots }))
    }

    pub(crate) fn begin(self, stream: Stream, entry: Arc<ConnectionState>) -> HandshakeFuture {
        let limit = self.limit;
        let steps = AssertUnwindSafe(self.go_through(stream, entry)).catch_unwind();
        Box::pin(async move {
            let outcome = match limit {
                None => steps.await,
                Some(limit) => match tokio::time::timeout(limit, steps).await {
                    Ok(outcome) => outcome,
                    Err(_) => return Err(HandshakeFailure::Failed(HandshakeError::Timeout(limit))),
                },
            };
            outcome.unwrap_or_else(|panic| Err(HandshakeFailure::Panicked(panic_text(panic))))
        })
    }

    /// Whom the peer claims to be is known, and judged, before the next step: nobody is kept waiting, or shown anything,
    /// for somebody who may not come.
    async fn go_through(self, stream: Stream, entry: Arc<ConnectionState>) -> Result<Handshaken, HandshakeFailure> {
        // It is never closed, so there is always a slot to wait for.
        let _slot = self.slots.acquire_owned().await;
        let (mut shaken, mut has_claimed) = (Handshaken::new(stream), false);
        for step in self.steps {
            let Handshaken { stream, claimed, negotiated } =
                step.handshake(shaken.stream, entry.peer()).await.map_err(HandshakeFailure::Failed)?;
            if claimed.is_some() {
                entry.claim_peer(claimed).map_err(HandshakeFailure::Refused)?;
                has_claimed = true;
            }
            shaken = Handshaken { stream, claimed: None, negotiated: negotiated.or(&shaken.negotiated) };
        }
        if !has_claimed {
            entry.claim_peer(None).map_err(HandshakeFailure::Refused)?;
        }
        Ok(shaken)
    }
}
