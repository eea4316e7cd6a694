//! The limits of one listener, and the permits that its connections hold.

use std::any::TypeId;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;

use super::permits::GroupId;
use super::queue::{QueuePosition, TurnWatch};
use super::waiting::WaitingAcceptors;
use super::{AtLimit, Env, Limits, Rate, RefuseWith, TokenBucket};
use crate::net::Address;
use crate::telemetry::{OpenSpan, RefusalReason};

/// The name and the span of a listener, the kind of its connections, its own connection limit, and the limits of its pool.
///
/// A connection keeps the name, the kind and the user's value with which it was accepted: a listener that is changed gets
/// another `ListenerLimits` that shares the counts.
#[derive(Debug)]
pub(crate) struct ListenerLimits {
    name: Arc<str>,
    kind: ConnectionKind,
    env: Option<Env>,
    /// The parent of the spans of connections. `None` while the listener is closed.
    span: Mutex<Option<Arc<OpenSpan>>>,
    shared: Arc<Shared>,
}

/// The types that a typed handle needs to reach a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionKind {
    /// The actor behind the connection.
    pub(crate) actor: TypeId,
    /// The replies that its outbox accepts: `Bytes` for a socket.
    pub(crate) reply: TypeId,
}

impl ConnectionKind {
    pub(crate) fn of<A: 'static, R: 'static>() -> Self {
        ConnectionKind { actor: TypeId::of::<A>(), reply: TypeId::of::<R>() }
    }
}

#[derive(Debug)]
struct Shared {
    /// `usize::MAX` if the listener has no limit of its own.
    max: AtomicUsize,
    /// Its permits, among those of the pool.
    group: GroupId,
    /// Live connections that hold a permit. Acceptors and held peers hold permits as well, which are not counted here.
    connections: AtomicUsize,
    /// Peers refused because the listener closed.
    unserved: AtomicUsize,
    waiting: WaitingAcceptors,
    /// The rate of new connections of this listener alone, and its bucket.
    rate: Mutex<(Option<Rate>, TokenBucket)>,
    limits: Arc<Limits>,
}

impl ListenerLimits {
    /// `max` is the connection limit of this listener alone.
    pub(crate) fn new(name: Arc<str>, kind: ConnectionKind, max: Option<usize>, limits: Arc<Limits>) -> Arc<Self> {
        let max = max.unwrap_or(usize::MAX);
        let group = limits.permits.add_group(max);
        let (connections, unserved, waiting) = (AtomicUsize::new(0), AtomicUsize::new(0), WaitingAcceptors::new());
        let shared = Shared {
            max: AtomicUsize::new(max),
            group,
            connections,
            unserved,
            waiting,
            rate: Mutex::default(),
            limits,
        };
        Arc::new(ListenerLimits { name, kind, env: None, span: Mutex::default(), shared: Arc::new(shared) })
    }

    /// The same limits and counts, for connections that are accepted under another name, as another kind, or with another
    /// value.
    pub(crate) fn replaced(&self, name: Arc<str>, kind: ConnectionKind, env: Option<Env>) -> Arc<Self> {
        Arc::new(ListenerLimits { name, kind, env, span: Mutex::default(), shared: self.shared.clone() })
    }

    /// The value that the user has given to the listener, if it is of this type.
    pub(crate) fn env<T: 'static>(&self) -> Option<&T> {
        self.env.as_ref()?.get()
    }

    /// Whether the user's value is this one.
    pub(crate) fn has_env(&self, env: &Option<Env>) -> bool {
        Env::is_same(&self.env, env)
    }

    /// The span of the listener.
    pub(crate) fn span(&self) -> Option<Arc<OpenSpan>> {
        self.span.lock().clone()
    }

    /// Sets the span of the listener. Returns the previous one.
    pub(crate) fn set_span(&self, span: Option<Arc<OpenSpan>>) -> Option<Arc<OpenSpan>> {
        std::mem::replace(&mut *self.span.lock(), span)
    }

    /// Sets the connection limit of this listener alone. Lowering it ends no connection.
    pub(crate) fn set_max(&self, max: Option<usize>) {
        let max = max.unwrap_or(usize::MAX);
        self.shared.max.store(max, Relaxed);
        self.shared.limits.permits.set_group_max(self.shared.group, max);
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The kind of the connections that are accepted with this value.
    pub(crate) fn kind(&self) -> ConnectionKind {
        self.kind
    }

    pub(crate) fn limits(&self) -> &Arc<Limits> {
        &self.shared.limits
    }

    /// The connection limit of this listener alone, if it has one.
    pub(crate) fn max(&self) -> Option<usize> {
        Some(self.shared.max.load(Relaxed)).filter(|max| *max < usize::MAX)
    }

    /// The number of live connections of this listener that hold a permit. Exempt ones do not.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Relaxed)
    }

    /// Counts a peer that is refused because the listener closes.
    pub(crate) fn count_unserved(&self) {
        self.shared.unserved.fetch_add(1, Relaxed);
    }

    /// Peers refused because the listener closed.
    pub(crate) fn unserved(&self) -> usize {
        self.shared.unserved.load(Relaxed)
    }

    /// Takes a permit, if the limit of the listener and that of the pool allow one more.
    pub(crate) fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        self.shared.limits.permits.try_take(self.shared.group).then(|| Permit::new(self.clone()))
    }

    pub(super) fn waiting_acceptors(&self) -> &WaitingAcceptors {
        &self.shared.waiting
    }

    /// Whether the limit of this listener alone is reached.
    pub(super) fn is_group_full(&self) -> bool {
        self.shared.limits.permits.is_group_full(self.shared.group)
    }

    /// What [`acquire`](Self::acquire) returns, if it would not wait.
    pub(crate) fn acquire_now(self: &Arc<Self>) -> Option<Option<Permit>> {
        if self.shared.limits.config().load().settings.at_limit != AtLimit::Wait {
            return Some(None);
        }
        self.try_acquire().map(Some)
    }

    /// Waits for a permit before `accept`, with [`AtLimit::Wait`].
    ///
    /// `None` with every other policy, where the permit is taken after `accept`: if an acceptor held a permit while another
    /// one accepted the peer, that peer could be refused below the limit.
    ///
    /// `slot` is that of the acceptor. While a listener has a socket for each acceptor, acceptors wait in the queue: otherwise
    /// one of them could take every permit, and the peers of another one would wait without end.
    pub(crate) async fn acquire(self: &Arc<Self>, slot: usize) -> Option<Permit> {
        let Limits { permits, fair_acceptors, .. } = &*self.shared.limits;
        loop {
            if let Some(permit) = self.acquire_now() {
                return permit;
            }
            if fair_acceptors.is_on() {
                return self.acquire_queued(slot, None).await;
            }
            let mut turn = TurnWatch::new(permits, None);
            let free = |cx: &mut Context<'_>| match fair_acceptors.is_on() {
                true => Poll::Ready(()),
                false => permits.poll_free(self.shared.group, cx),
            };
            poll_fn(|cx| turn.poll(cx, free)).await;
        }
    }

    /// Waits in the queue for a permit, for at most `limit` if there is one. `slot` is that of the acceptor on whose arbiter it
    /// waits.
    pub(crate) async fn acquire_queued(self: &Arc<Self>, slot: usize, limit: Option<Duration>) -> Option<Permit> {
        let permits = &self.shared.limits.permits;
        let permit = async {
            let position = QueuePosition::join(permits, self.shared.group, slot);
            let mut turn = TurnWatch::new(permits, Some(slot));
            poll_fn(|cx| turn.poll(cx, |cx| position.poll_take(cx))).await;
            Permit::new(self.clone())
        };
        match limit {
            Some(limit) => tokio::time::timeout(limit, permit).await.ok(),
            None => Some(permit.await),
        }
    }

    /// Checks the peer against its own limits and counts it.
    ///
    /// `claims` is true for a proxy, which is not counted. The peer that it names is counted by
    /// [`admit_claimed`](Self::admit_claimed).
    pub(crate) fn count_peer(self: &Arc<Self>, peer: &Address, claims: bool) -> Result<PeerPermit, RefusalReason> {
        self.count_peer_to_hold(peer, claims, false).map(|(permit, _)| permit)
    }

    /// The rate of new connections of this listener alone, if it has one.
    pub(crate) fn rate(&self) -> Option<Rate> {
        self.shared.rate.lock().0
    }

    /// Sets the rate of this listener alone. With another rate the bucket starts full.
    pub(crate) fn set_rate(&self, rate: Option<Rate>) {
        self.shared.rate.lock().0 = rate;
    }

    /// Takes a token of this listener that is there or becomes due within `max_wait`. Returns how long the peer must wait for
    /// it, or `None` if the rate is exceeded.
    pub(super) fn reserve_token(&self, max_wait: Duration) -> Option<Duration> {
        let (rate, bucket) = &mut *self.shared.rate.lock();
        let Some(rate) = rate else { return Some(Duration::ZERO) };
        bucket.reserve(rate, self.shared.limits.now(), max_wait)
    }

    /// Checks the peer that a PROXY header names, for a connection that has been admitted, and counts it if `counts`. An
    /// exempt connection is only checked against the access rules.
    pub(crate) fn admit_claimed(self: &Arc<Self>, peer: &Address, counts: bool) -> Result<PeerPermit, RefusalReason> {
        self.count_peer(peer, !counts)
    }

    /// Whether refused peers are reset, unless they are refused for the connection limit.
    pub(crate) fn resets_refused(&self) -> bool {
        self.shared.limits.config().load().settings.refuse_with == RefuseWith::Reset
    }

    /// Whether an access rule denies this peer.
    pub(crate) fn denies(&self, peer: &Address) -> bool {
        peer.ip().is_some_and(|ip| self.shared.limits.denies(ip))
    }

    /// Gives back the permit of a connection, which it took over by [`Permit::keep`].
    pub(crate) fn release(&self) {
        self.shared.connections.fetch_sub(1, Relaxed);
        self.release_permits();
    }

    fn release_permits(&self) {
        self.shared.limits.permits.give_back(self.shared.group);
    }

    /// Takes a connection of this peer off the count, which it took over by [`PeerPermit::keep`].
    pub(crate) fn release_peer(&self, ip: IpAddr) {
        self.shared.limits.release_peer(ip);
    }
}

impl Drop for Shared {
    // Each permit owns the limits of its listener, so all are given back.
    fn drop(&mut self) {
        self.limits.permits.remove_group(self.group);
    }
}

/// A permit for one connection. Dropping it gives it back, unless a connection keeps it.
#[derive(Debug)]
pub(crate) struct Permit {
    limits: Arc<ListenerLimits>,
    kept: bool,
}

impl Permit {
    fn new(limits: Arc<ListenerLimits>) -> Self {
        Permit { limits, kept: false }
    }

    /// The permit with the current name of its listener, which may have been renamed since the permit was taken.
    pub(crate) fn under(mut self, limits: &Arc<ListenerLimits>) -> Self {
        debug_assert!(Arc::ptr_eq(&self.limits.shared, &limits.shared));
        self.limits = limits.clone();
        self
    }

    /// Transfers the permit to a connection, which gives it back by [`ListenerLimits::release`].
    pub(crate) fn keep(mut self) -> Arc<ListenerLimits> {
        self.kept = true;
        self.limits.shared.connections.fetch_add(1, Relaxed);
        self.limits.clone()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.kept {
            self.limits.release_permits();
        }
    }
}

/// The count of one connection for its peer. Dropping it takes it off, unless a connection keeps it.
#[derive(Debug)]
pub(crate) struct PeerPermit(Option<(Arc<ListenerLimits>, IpAddr)>);

impl PeerPermit {
    /// Without an address, the peer has no count.
    pub(super) fn new(limits: &Arc<ListenerLimits>, ip: Option<IpAddr>) -> Self {
        PeerPermit(ip.map(|ip| (limits.clone(), ip)))
    }

    /// Transfers the count to a connection, which takes it off by [`ListenerLimits::release_peer`]. False if the peer has
    /// no count.
    pub(crate) fn keep(mut self) -> bool {
        self.0.take().is_some()
    }
}

impl Drop for PeerPermit {
    fn drop(&mut self) {
        if let Some((limits, ip)) = &self.0 {
            limits.release_peer(*ip);
        }
    }
}
