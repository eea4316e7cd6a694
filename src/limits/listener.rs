//! What one listener's connections have in common: its name, its own limit, and what they hold of the limits.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::permits::Ticket;
use super::{AtLimit, Limits, Permits};
use crate::net::Address;
use crate::telemetry::RefusalReason;

/// A listener as the limits know it.
#[derive(Debug)]
pub(crate) struct ListenerLimits {
    name: Arc<str>,
    permits: Permits,
    /// Connections that have a permit: acceptors and held peers have some, too.
    inside: AtomicUsize,
    /// Peers turned away when it closed.
    unserved: AtomicUsize,
    limits: Arc<Limits>,
}

impl ListenerLimits {
    /// `max`: the limit of this listener alone.
    pub(crate) fn new(name: Arc<str>, max: Option<usize>, limits: Arc<Limits>) -> Arc<Self> {
        let permits = Permits::new(max.unwrap_or(usize::MAX));
        Arc::new(ListenerLimits { name, permits, inside: AtomicUsize::new(0), unserved: AtomicUsize::new(0), limits })
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// This listener's own limit, if it has one.
    pub(crate) fn max(&self) -> Option<usize> {
        Some(self.permits.max()).filter(|max| *max < usize::MAX)
    }

    /// Live connections that came by this listener and count.
    pub(crate) fn inside(&self) -> usize {
        self.inside.load(Relaxed)
    }

    /// A peer is turned away because it closes.
    pub(crate) fn turn_away(&self) {
        self.unserved.fetch_add(1, Relaxed);
    }

    pub(crate) fn unserved(&self) -> usize {
        self.unserved.load(Relaxed)
    }

    /// A permit of the listener and one of the pool, or none of either.
    pub(crate) fn try_permit(self: &Arc<Self>) -> Option<Permit> {
        if !self.permits.try_take() {
            return None;
        }
        if !self.limits.permits.try_take() {
            self.permits.give_back();
            return None;
        }
        Some(Permit::new(self.clone()))
    }

    /// A permit, waited for where that is the policy. Else `None`: it is taken once the peer is there, for one that is held
    /// in vain while another acceptor gets the peer would have somebody turned away below the limit.
    pub(crate) async fn room(self: &Arc<Self>) -> Option<Permit> {
        loop {
            if self.limits.config().load().settings.at_limit != AtLimit::Wait {
                return None;
            }
            if let Some(permit) = self.try_permit() {
                return Some(permit);
            }
            poll_fn(|cx| self.poll_free(cx)).await;
        }
    }

    fn poll_free(&self, cx: &Context<'_>) -> Poll<()> {
        match self.permits.poll_free(cx) {
            Poll::Ready(()) => self.limits.permits.poll_free(cx),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Waits in line for a permit, for so long.
    pub(crate) async fn wait_in_queue(self: &Arc<Self>, limit: Duration) -> Option<Permit> {
        let permits = async {
            let own = take_in_queue(&self.permits).await;
            let pools = take_in_queue(&self.limits.permits).await;
            own.keep();
            pools.keep();
            Permit::new(self.clone())
        };
        tokio::time::timeout(limit, permits).await.ok()
    }

    /// Counts the peer in, or says why it is refused.
    pub(crate) fn admit(self: &Arc<Self>, peer: &Address, claims: bool) -> Result<PeerPermit, RefusalReason> {
        let ip = self.limits.admit(peer, &self.name, claims)?;
        Ok(PeerPermit(ip.map(|ip| (self.clone(), ip))))
    }

    /// The same of a connection that is in already and turns out to be this peer's.
    pub(crate) fn admit_claimed(self: &Arc<Self>, peer: &Address) -> Result<PeerPermit, RefusalReason> {
        let ip = self.limits.enter(&self.limits.config().load().settings, peer, true)?;
        Ok(PeerPermit(ip.map(|ip| (self.clone(), ip))))
    }

    /// Whether a rule keeps this peer out.
    pub(crate) fn denies(&self, peer: &Address) -> bool {
        peer.ip().is_some_and(|ip| self.limits.denies(ip))
    }

    /// A connection's permit is free again.
    pub(crate) fn give_back(&self) {
        self.inside.fetch_sub(1, Relaxed);
        self.free();
    }

    fn free(&self) {
        self.limits.permits.give_back();
        self.permits.give_back();
    }

    pub(crate) fn leave(&self, ip: IpAddr) {
        self.limits.leave(ip);
    }
}

/// Room for one connection: given back when dropped, unless a connection keeps it.
#[derive(Debug)]
pub(crate) struct Permit {
    limits: Arc<ListenerLimits>,
    kept: bool,
}

impl Permit {
    fn new(limits: Arc<ListenerLimits>) -> Self {
        Permit { limits, kept: false }
    }

    /// Keeps the permit for a connection, which returns it with [`ListenerLimits::give_back`].
    pub(crate) fn keep(mut self) -> Arc<ListenerLimits> {
        self.kept = true;
        self.limits.inside.fetch_add(1, Relaxed);
        self.limits.clone()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.kept {
            self.limits.free();
        }
    }
}

/// A peer that is counted: taken off the count when dropped, unless a connection keeps it.
#[derive(Debug)]
pub(crate) struct PeerPermit(Option<(Arc<ListenerLimits>, IpAddr)>);

impl PeerPermit {
    /// Whoever keeps it gives it back by [`ListenerLimits::leave`].
    pub(crate) fn keep(mut self) -> bool {
        self.0.take().is_some()
    }
}

impl Drop for PeerPermit {
    fn drop(&mut self) {
        if let Some((limits, ip)) = &self.0 {
            limits.leave(*ip);
        }
    }
}

/// One of the two permits.
struct TakenPermit<'a>(Option<&'a Permits>);

impl TakenPermit<'_> {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for TakenPermit<'_> {
    fn drop(&mut self) {
        if let Some(permits) = self.0 {
            permits.give_back();
        }
    }
}

/// A place in a line, left when dropped.
struct QueuePosition<'a>(&'a Permits, Ticket);

impl Drop for QueuePosition<'_> {
    fn drop(&mut self) {
        self.0.leave(&self.1);
    }
}

async fn take_in_queue(permits: &Permits) -> TakenPermit<'_> {
    let line = QueuePosition(permits, permits.join());
    poll_fn(|cx| line.0.poll_take(&line.1, cx)).await;
    TakenPermit(Some(permits))
}
