//! Adoption of streams that the pool did not accept. They pass the same limits as accepted peers.

use std::io;
use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::oneshot;
use tracing::error;

use super::{Acceptor, AcceptorContext};
use crate::limits::ListenerLimits;
use crate::listener::{Accepted, ListenerService};
use crate::net::{Address, Stream};
use crate::panic::{catch_panic, Guarded};
use crate::telemetry::{ConnectionId, RefusalReason};

/// The name of the listener in reports.
const LISTENER: &str = "adopted";

/// Creates the stream, on the arbiter that serves it.
pub(crate) type MakeStream = Box<dyn FnOnce() -> io::Result<Stream> + Send>;

/// Serves a stream on the arbiter of this acceptor.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Adopt {
    pub(crate) stream: Guarded<Option<MakeStream>>,
    pub(crate) peer: Address,
    pub(crate) service: Arc<ListenerService>,
    /// Receives the outcome. If the receiver is gone, the stream is dropped.
    pub(crate) outcome: oneshot::Sender<Result<ConnectionId, NotAdopted>>,
}

/// Why a stream was not adopted.
#[derive(Debug)]
pub(crate) enum NotAdopted {
    Refused(RefusalReason),
    Failed(io::Error),
}

/// The limits that adopted connections have in place of those of a listener: one value per service.
pub(super) type AdoptedLimits = Vec<(Arc<ListenerService>, Arc<ListenerLimits>)>;

impl Handler<Adopt> for Acceptor {
    type Result = ();

    fn handle(&mut self, adopt: Adopt, _: &mut Context<Self>) {
        let Adopt { mut stream, peer, service, outcome } = adopt;
        if outcome.is_closed() {
            return;
        }
        let Some(stream) = stream.take() else { return };
        let adopted = catch_panic(|| self.context.adopt(self.slot, stream, peer, &service));
        let adopted = adopted.unwrap_or_else(|panic| {
            self.context.panic_log.log(|left_out| error!(panic, left_out, "panic while a stream was adopted"));
            Err(NotAdopted::Failed(io::Error::other(panic)))
        });
        let _ = outcome.send(adopted);
    }
}

impl AcceptorContext {
    fn adopt(
        &self,
        slot: usize,
        stream: MakeStream,
        peer: Address,
        service: &Arc<ListenerService>,
    ) -> Result<ConnectionId, NotAdopted> {
        let stream = stream().map_err(NotAdopted::Failed)?;
        let limits = self.adopted_limits(service);
        let admit = || {
            if self.is_stopping() {
                return Err(RefusalReason::Draining);
            }
            let permit = limits.try_acquire();
            let peer_permit = limits.count_peer(&peer, false)?;
            let permit = permit.ok_or(RefusalReason::Limit)?;
            limits.check_pool(&peer)?;
            Ok((permit, peer_permit))
        };
        match admit() {
            Ok(permits) => {
                let config = limits.limits().config().load_full();
                Ok(self.start(slot, service, Accepted { stream, peer }, permits, None, config))
            }
            Err(reason) => {
                self.turn_away(slot, LISTENER, Accepted { stream, peer }, reason, true);
                Err(NotAdopted::Refused(reason))
            }
        }
    }

    fn adopted_limits(&self, service: &Arc<ListenerService>) -> Arc<ListenerLimits> {
        let mut adopted = self.adopted.lock();
        let known = adopted.iter().find(|(of, _)| Arc::ptr_eq(of, service));
        if let Some((_, limits)) = known {
            return limits.clone();
        }
        let limits = ListenerLimits::new(LISTENER.into(), service.kind, None, self.limits.clone());
        // Services that nothing else uses. Dropped outside the lock: they own values of the user.
        let unused: Vec<_> = adopted.extract_if(.., |(of, _)| Arc::strong_count(of) == 1).collect();
        adopted.push((service.clone(), limits.clone()));
        drop(adopted);
        drop(unused);
        limits
    }
}
