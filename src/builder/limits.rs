//! The settings of admission: limits, rates and access rules.

use std::time::Duration;

use super::Builder;
use crate::config::{
    AtLimit, AtRate, BacklogPolicy, OverRate, PacketRate, PeerPrefix, Rate, RefuseWith, Rule, SlowConsumer,
};
use crate::limits::{NewConnection, Verdict};

impl<S> Builder<S> {
    /// How many connections the pool may have: a hard limit that is never exceeded. At least 1. If the limit of open files
    /// allows fewer, it is lowered with a warning; [`PoolInfo::max_connections`] is the limit in force.
    ///
    /// Default: 16,384.
    ///
    /// [`PoolInfo::max_connections`]: crate::info::PoolInfo::max_connections
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.settings.max_connections = connections;
        self
    }

    /// What happens to new peers at the connection limit. The events and metrics that report the limit depend on it:
    /// [`AtLimit`] lists them.
    ///
    /// Default: [`AtLimit::Wait`].
    pub fn at_limit(mut self, policy: AtLimit) -> Self {
        self.settings.at_limit = policy;
        self
    }

    /// How a peer is closed that is refused because of an access rule, its own limits, a rate, the overload hook, a listener
    /// that closes, or a lack of descriptors; also a peer that a PROXY header names. At the connection limit,
    /// [`at_limit`](Builder::at_limit) decides instead. A change takes effect at once.
    ///
    /// Default: [`RefuseWith::Close`].
    pub fn refuse_with(mut self, how: RefuseWith) -> Self {
        self.settings.refuse_with = how;
        self
    }

    /// The bytes sent to a refused peer before it is closed, without framing.
    ///
    /// Not sent to peers that a rule denies, that are reset, or that are refused for lack of descriptors. Sending is limited
    /// to 1 second per peer, and to 64 peers at a time per arbiter; beyond that, peers are closed without the message.
    ///
    /// Default: empty; no message is sent.
    pub fn refusal_message(mut self, refusal_message: impl Into<Vec<u8>>) -> Self {
        self.settings.refusal_message = refusal_message.into();
        self
    }

    /// The size of each connection's [`Outbox`](crate::Outbox), and what happens when it is full. The size is the number of
    /// bytes, over all senders, that may be queued and not yet with the kernel. At least 1.
    ///
    /// A connection to which nothing is sent needs no memory for its outbox. A reply of more than 1 KiB to many connections is
    /// in memory once; shorter ones are copied. A change takes effect at once.
    ///
    /// Default: 1 MiB, [`SlowConsumer::Close`].
    pub fn outbox(mut self, bytes: usize, slow_consumer: SlowConsumer) -> Self {
        (self.settings.outbox, self.settings.slow_consumer) = (bytes, slow_consumer);
        self
    }

    /// How many connections one peer may have. [`peer_prefix`](Builder::peer_prefix) defines which addresses are one peer.
    /// Further connections are closed at once. At least 1. `None` sets no limit other than the pool's.
    ///
    /// Default: `None`.
    pub fn max_per_peer(mut self, connections: impl Into<Option<usize>>) -> Self {
        self.settings.max_per_peer = connections.into();
        self
    }

    /// How many leading bits of an address identify a peer: at most 32 for IPv4, 128 for IPv6.
    ///
    /// Default: 32 for IPv4 (the whole address), 64 for IPv6.
    pub fn peer_prefix(mut self, v4: u8, v6: u8) -> Self {
        self.settings.peer_prefix = PeerPrefix::new(v4, v6);
        self
    }

    /// The rate of new connections of all peers: a token bucket that starts with `burst` tokens and refills within `per`.
    /// Peers above the rate are refused, unless [`at_rate`](Builder::at_rate) holds them. Both values must be greater than zero.
    /// For the rate of one listener, see [`Listener::accept_rate`](crate::Listener::accept_rate).
    ///
    /// Default: no limit.
    pub fn accept_rate(mut self, burst: u32, per: Duration) -> Self {
        self.settings.accept_rate = Some(Rate::new(burst, per));
        self
    }

    /// The rate of new connections of one peer: as [`accept_rate`](Builder::accept_rate), with a token bucket per peer.
    ///
    /// At most 16,384 peers without a connection are remembered; beyond that, those with the fullest buckets are forgotten.
    ///
    /// Default: no limit.
    pub fn peer_rate(mut self, burst: u32, per: Duration) -> Self {
        self.settings.peer_rate = Some(Rate::new(burst, per));
        self
    }

    /// What happens to new peers above a rate: [`accept_rate`](Builder::accept_rate), [`peer_rate`](Builder::peer_rate) or
    /// [`Listener::accept_rate`](crate::Listener::accept_rate). A change takes effect for peers that are accepted afterwards.
    ///
    /// Default: [`AtRate::Refuse`].
    ///
    /// ```
    /// # use actix_acceptor::{limits::AtRate, AcceptorPool, Socket};
    /// # use std::time::{Duration, Instant};
    /// # use tokio::io::AsyncReadExt;
    /// # actix_rt::System::new().block_on(async {
    /// let pool = AcceptorPool::with_fn(|_: Socket| async {})
    ///     .accept_rate(1, Duration::from_millis(100))
    ///     .at_rate(AtRate::Hold(Duration::from_secs(5)))
    ///     .bind("127.0.0.1:0")
    ///     .await?;
    /// # let address = pool.local_addr().expect("TCP");
    /// let begun = Instant::now();
    /// for _ in 0..3 {
    ///     let mut peer = tokio::net::TcpStream::connect(address).await?;
    ///     assert_eq!(peer.read(&mut [0]).await?, 0);
    /// }
    /// assert!(begun.elapsed() >= Duration::from_millis(200));
    /// assert_eq!(pool.info().refused.total(), 0);
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn at_rate(mut self, policy: AtRate) -> Self {
        self.settings.at_rate = policy;
        self
    }

    /// The rate of packets of one connection: a token bucket that starts with `burst` tokens and refills within `per`. Each
    /// packet takes a token, and so do bytes that the codec cannot decode. Both values must be greater than zero.
    ///
    /// With [`OverRate::Slow`] the socket is not read while there is no token, so that TCP slows the peer down. All packets of
    /// one read are delivered at once. Those that exceed the tokens take future ones, so the next read waits longer. Only
    /// packets are slowed down: messages, replies from elsewhere, waits, timers, a close and a drain are not. While a
    /// connection is slowed, its idle and packet timeouts are paused. A FIN is handled after the packets before it. If some of
    /// these have not been delivered when the [`idle_timeout`](Builder::idle_timeout) has passed since the FIN, the connection
    /// ends with [`Closed::Idle`].
    ///
    /// With [`OverRate::Close`] the connection closes with [`Closed::PacketRate`] at the first packet for which there is no
    /// token. That packet is not delivered; the answers to the packets before it are sent.
    ///
    /// It has no effect with the handlers [`with_fn`] and [`with_actor`], whose packets the crate does not see. A change takes
    /// effect for new connections.
    ///
    /// Default: no limit.
    ///
    /// [`Closed::Idle`]: crate::Closed::Idle
    /// [`Closed::PacketRate`]: crate::Closed::PacketRate
    /// [`with_fn`]: crate::AcceptorPool::with_fn
    /// [`with_actor`]: crate::AcceptorPool::with_actor
    ///
    /// ```
    /// # use actix_acceptor::{limits::OverRate, AcceptorPool, Conn, Framing, Next, Protocol};
    /// # use bytes::Bytes;
    /// # use std::time::Duration;
    /// # struct Echo;
    /// # impl Protocol for Echo {
    /// #     type Codec = Framing; type Reply = Bytes; type User = ();
    /// #     fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> { Next::Send(packet) }
    /// # }
    /// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
    /// # actix_rt::System::new().block_on(async {
    /// let pool = AcceptorPool::with_protocol(|_| Echo)
    ///     .framing(Framing::lines())
    ///     .packet_rate(2, Duration::from_secs(60), OverRate::Close)
    ///     .bind("127.0.0.1:0")
    ///     .await?;
    /// # let mut peer = tokio::net::TcpStream::connect(pool.local_addr().expect("TCP")).await?;
    /// peer.write_all(b"one\ntwo\nthree\n").await?;
    /// let mut answers = String::new();
    /// peer.read_to_string(&mut answers).await?;
    /// assert_eq!(answers, "one\ntwo\n");
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn packet_rate(mut self, burst: u32, per: Duration, over: OverRate) -> Self {
        self.settings.packet_rate = Some(PacketRate::new(burst, per, over));
        self
    }

    /// Access rules for every listener of the pool. The first rule that matches a peer's address decides; a peer that no
    /// rule matches is allowed. Denied peers are closed at once.
    ///
    /// Peers without an IP address are always allowed. `0.0.0.0/0` matches IPv4 only: to deny all peers, deny `::/0` as
    /// well.
    ///
    /// Default: no rules.
    pub fn rules(mut self, rules: impl IntoIterator<Item = Rule>) -> Self {
        self.settings.rules = rules.into_iter().collect();
        self
    }

    /// A hook that admits, holds or refuses a new connection. It returns a [`Verdict`], or a `bool`: `true` refuses the peer.
    /// For a held peer it is called again. It is called after all other checks, before the connection starts, on an acceptor's
    /// arbiter, and must not block. A panic refuses the peer.
    ///
    /// Default: no hook.
    ///
    /// ```
    /// use actix_acceptor::{AcceptorPool, Socket};
    ///
    /// let builder = AcceptorPool::with_fn(|_: Socket| async {})
    ///     .overload(|new| new.connections * 10 > new.max_connections * 9);
    /// ```
    ///
    /// To hold peers while the machine is busy, each for at most about three seconds:
    ///
    /// ```
    /// # use actix_acceptor::{limits::Verdict, AcceptorPool, Socket};
    /// # use std::time::Duration;
    /// # fn is_busy() -> bool { true }
    /// let builder = AcceptorPool::with_fn(|_: Socket| async {}).overload(|new| match is_busy() {
    ///     false => Verdict::Admit,
    ///     true if new.held < Duration::from_secs(3) => Verdict::Hold(Duration::from_millis(100)),
    ///     true => Verdict::Refuse,
    /// });
    /// ```
    pub fn overload<V: Into<Verdict>>(
        mut self,
        verdict: impl Fn(&NewConnection<'_>) -> V + Send + Sync + 'static,
    ) -> Self {
        self.overload = Some(Box::new(move |new| verdict(new).into()));
        self
    }

    /// Whether to keep a file descriptor in reserve. When the process runs out of descriptors, it is used to accept peers and
    /// close them at once, instead of leaving them in the kernel's queue until descriptors are free.
    ///
    /// Default: `false`.
    pub fn reserve_descriptor(mut self, reserve: bool) -> Self {
        self.settings.reserve_descriptor = reserve;
        self
    }

    /// What happens to the peers in the kernel's queue when the pool drains, or when
    /// [`set_listeners`](crate::Pool::set_listeners) removes a listener. A suspension always serves them.
    ///
    /// Default: [`BacklogPolicy::Accept`].
    pub fn backlog_on_close(mut self, policy: BacklogPolicy) -> Self {
        self.settings.backlog_on_close = policy;
        self
    }
}
