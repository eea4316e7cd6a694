//! The settings of whoever lets peers in: how many, how fast, from where.

use std::time::Duration;

use super::Builder;
use crate::limits::{AtLimit, NewConnection, PeerPrefix, Rate, Rule};
use crate::listener::BacklogPolicy;

impl<D> Builder<D> {
    /// How many connections the pool may have: a hard limit, exact at any moment. 0 is refused. Where the limit of open
    /// files leaves less room it is lowered, with a warning; [`PoolInfo::max_connections`] tells the one in force.
    ///
    /// Default: 16,384.
    ///
    /// [`PoolInfo::max_connections`]: crate::info::PoolInfo::max_connections
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.settings.max_connections = connections;
        self
    }

    /// What happens to peers while there are as many connections as there may be.
    ///
    /// Default: [`AtLimit::Wait`].
    pub fn at_limit(mut self, policy: AtLimit) -> Self {
        self.settings.at_limit = policy;
        self
    }

    /// What refused peers are sent before they are closed, exactly as it goes over the wire. Peers that a rule keeps out,
    /// those that are reset, and those refused for want of descriptors get nothing. It takes a peer a second at the most,
    /// and 64 at a time on each arbiter.
    ///
    /// Default: nothing.
    pub fn refusal_message(mut self, refusal_message: impl Into<Vec<u8>>) -> Self {
        self.settings.refusal_message = refusal_message.into();
        self
    }

    /// How many connections one peer may have: see [`peer_prefix`](Builder::peer_prefix). One more is closed at once.
    /// `None`: as many as there is room for. 0 is refused.
    ///
    /// Default: `None`.
    pub fn max_per_peer(mut self, connections: impl Into<Option<usize>>) -> Self {
        self.settings.max_per_peer = connections.into();
        self
    }

    /// Which addresses count as one peer: so many leading bits.
    ///
    /// Default: an IPv4 address (32), 64 bits of an IPv6 one.
    pub fn peer_prefix(mut self, v4: u8, v6: u8) -> Self {
        self.settings.peer_prefix = PeerPrefix::new(v4, v6);
        self
    }

    /// How fast peers may come, all together: a token bucket, full at the start. What comes faster is closed at once.
    ///
    /// Default: `None`, as fast as they like.
    pub fn accept_rate(mut self, burst: u32, per: Duration) -> Self {
        self.settings.accept_rate = Some(Rate::new(burst, per));
        self
    }

    /// How fast one peer may come: a token bucket for each. Of peers without a connection 16,384 are remembered; past that
    /// those are forgotten whose bucket is fullest.
    ///
    /// Default: `None`, as fast as it likes.
    pub fn peer_rate(mut self, burst: u32, per: Duration) -> Self {
        self.settings.peer_rate = Some(Rate::new(burst, per));
        self
    }

    /// Who may connect at all, at every listener of the pool: the first rule about a peer's address decides; where there is
    /// none it may. Others are closed at once. Peers without an IP address always may. `0.0.0.0/0` is about IPv4 only: to
    /// keep everybody out deny `::/0` as well.
    ///
    /// Default: no rules.
    pub fn rules(mut self, rules: impl IntoIterator<Item = Rule>) -> Self {
        self.settings.rules = rules.into_iter().collect();
        self
    }

    /// Asked before a connection is started, last of all: true refuses the peer, which is closed at once. It is called on
    /// an acceptor's arbiter and must not block. One that panics refuses.
    ///
    /// ```
    /// use actix_acceptor::{AcceptorPool, Socket};
    ///
    /// let builder = AcceptorPool::with_fn(|_: Socket| async {})
    ///     .overload(|newcomer| newcomer.connections * 10 > newcomer.max_connections * 9);
    /// ```
    pub fn overload(mut self, is_overloaded: impl Fn(&NewConnection<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.overload = Some(Box::new(is_overloaded));
        self
    }

    /// Whether a descriptor is kept in reserve. Out of descriptors, peers are then accepted with it and closed at once,
    /// instead of being left in the kernel's queue until descriptors are back.
    ///
    /// Default: no.
    pub fn reserve_descriptor(mut self, reserve: bool) -> Self {
        self.settings.reserve_descriptor = reserve;
        self
    }

    /// What becomes of peers that are in the kernel's queue when the pool drains, or [`set_listeners`] closes a port. (A
    /// suspension serves them.)
    ///
    /// [`set_listeners`]: crate::PoolHandle::set_listeners
    ///
    /// Default: [`BacklogPolicy::Accept`].
    pub fn backlog_on_close(mut self, backlog_on_close: BacklogPolicy) -> Self {
        self.settings.backlog_on_close = backlog_on_close;
        self
    }
}
