//! The steps between accept and ready, one after the other, within one limit of time and a cap on their number.

use std::sync::Arc;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use tokio::sync::Semaphore;

use crate::transport::{Address, Handshake, HandshakeError, Shaken, Stream};

/// A handshake under way.
pub(crate) type Opening = LocalBoxFuture<'static, Result<Shaken, HandshakeError>>;

/// What a connection goes through before it is ready.
#[derive(Clone)]
pub(crate) struct Steps {
    steps: Vec<Arc<dyn Handshake>>,
    limit: Option<Duration>,
    /// One for each handshake that may be under way.
    slots: Arc<Semaphore>,
}

impl Steps {
    /// `None`: there is nothing to go through.
    pub(crate) fn new(
        steps: Vec<Arc<dyn Handshake>>,
        limit: Option<Duration>,
        slots: Arc<Semaphore>,
    ) -> Option<Box<Self>> {
        (!steps.is_empty()).then(|| Box::new(Steps { steps, limit, slots }))
    }

    pub(crate) fn begin(self, stream: Stream, peer: Address) -> Opening {
        let limit = self.limit;
        let opening = self.go_through(stream, peer);
        Box::pin(async move {
            match limit {
                None => opening.await,
                Some(limit) => {
                    tokio::time::timeout(limit, opening).await.unwrap_or(Err(HandshakeError::Timeout(limit)))
                }
            }
        })
    }

    async fn go_through(self, stream: Stream, mut peer: Address) -> Result<Shaken, HandshakeError> {
        // It is never closed, so there is always a slot to wait for.
        let _slot = self.slots.acquire_owned().await;
        let mut shaken = Shaken::new(stream);
        for step in self.steps {
            let Shaken { stream, claimed, learnt } = step.shake(shaken.stream, &peer).await?;
            if let Some(claimed) = &claimed {
                peer = claimed.clone();
            }
            shaken = Shaken { stream, claimed: claimed.or(shaken.claimed), learnt: learnt.or(&shaken.learnt) };
        }
        Ok(shaken)
    }
}
