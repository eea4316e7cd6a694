//! [`ClusterBuilder`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::{Connection, Pool};

use crate::bus::{Bus, LocalBus};
use crate::cluster::{Cluster, ClusterProtocol};
use crate::node::{Node, NodeParts};
use crate::runtime::Runtime;
use crate::settings::{in_range, invalid, NatsSettings, Secret, SHORTEST};
use crate::subject::token;
use crate::{ConnectError, Format, Postcard};

/// The settings of a node, until [`connect`](ClusterBuilder::connect).
#[derive(Debug)]
#[must_use = "a node does nothing until `connect`"]
pub struct ClusterBuilder<F = Postcard> {
    engine: Engine,
    /// A setting that has no effect without NATS, but was made.
    only_for_nats: Option<&'static str>,
    node: Option<String>,
    prefix: String,
    ttl: Duration,
    request_timeout: Duration,
    format: F,
}

#[derive(Debug)]
enum Engine {
    Local(LocalBus),
    Nats(Box<NatsSettings>),
}

impl ClusterBuilder {
    pub(crate) fn nats(servers: String) -> Self {
        Self::new(Engine::Nats(Box::new(NatsSettings::new(servers))))
    }

    pub(crate) fn local(bus: LocalBus) -> Self {
        Self::new(Engine::Local(bus))
    }

    fn new(engine: Engine) -> Self {
        let (ttl, request_timeout) = (Duration::from_secs(15), Duration::from_secs(5));
        ClusterBuilder {
            engine,
            only_for_nats: None,
            node: None,
            prefix: "acceptor".to_owned(),
            ttl,
            request_timeout,
            format: Postcard,
        }
    }
}

impl<F: Format> ClusterBuilder<F> {
    /// The name of this node, unique in the cluster. It appears in reports and logs.
    ///
    /// While another process is running as this node, [`connect`](ClusterBuilder::connect) fails with
    /// [`ConnectError::NodeNameTaken`]. A process that is restarted after a crash waits until the lease of the previous process has
    /// expired, at most for the [`ttl`](ClusterBuilder::ttl); after [`Cluster::leave`] it does not have to wait.
    ///
    /// Default: a random name.
    pub fn node(mut self, name: impl Into<String>) -> Self {
        self.node = Some(name.into());
        self
    }

    /// The prefix of all subjects and buckets: 1 to 64 letters, digits, `-` and `_`, the same on all nodes. Clusters that share a
    /// server need different ones.
    ///
    /// Default: `acceptor`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The format in which replies and messages are sent to other nodes.
    ///
    /// Default: [`Postcard`].
    pub fn format<G: Format>(self, format: G) -> ClusterBuilder<G> {
        let ClusterBuilder { engine, only_for_nats, node, prefix, ttl, request_timeout, .. } = self;
        ClusterBuilder { engine, only_for_nats, node, prefix, ttl, request_timeout, format }
    }

    /// The TTL of the lease: after this time without a heartbeat, the lease expires and the names of the node are free. 1 s to 1 h,
    /// the same on all nodes. A node sends three heartbeats in this time.
    ///
    /// Default: 15 s.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// How long [`Cluster::send`], [`notify`](Cluster::notify) and [`ask`](Cluster::ask) wait for another node: 1 ms to 1 h.
    ///
    /// Default: 5 s.
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.request_timeout = limit;
        self
    }

    /// How many bytes may wait to be sent to NATS, and how many that have arrived may wait to be handled: at least 1. Above this
    /// limit, publishing fails with [`RemoteError::Full`](crate::RemoteError::Full), and arriving messages are dropped and counted.
    /// Each message counts as 64 bytes more than its size. One message has room in any case.
    ///
    /// Default: 8 MiB. Only with [`Cluster::nats`].
    pub fn queue(self, bytes: usize) -> Self {
        self.with_nats("queue", |nats| nats.queue = bytes)
    }

    /// How long a message may wait to be sent to NATS: 1 ms to 1 h. While there is no connection, nothing is queued. Messages that
    /// were queued before the connection was lost are sent in order after a reconnect, or dropped and counted after this time.
    /// Messages that the NATS client has already taken, at most 64, are sent regardless of this limit.
    ///
    /// Default: 5 s. Only with [`Cluster::nats`].
    pub fn queue_timeout(self, limit: Duration) -> Self {
        self.with_nats("queue_timeout", |nats| nats.queue_timeout = limit)
    }

    /// Whether the node starts even if no server can be reached, and joins the others once one can be. Until then, messages reach
    /// only members on this node.
    ///
    /// Default: false; [`connect`](ClusterBuilder::connect) then fails. Only with [`Cluster::nats`].
    pub fn start_alone(self, starts_alone: bool) -> Self {
        self.with_nats("start_alone", |nats| nats.start_alone = starts_alone)
    }

    /// How long connecting to NATS may take, over all servers: 1 ms to 1 h. The same limit applies to the server's answers about
    /// the buckets with leases and names.
    ///
    /// An attempt to connect to one server takes at most this time divided by the number of servers.
    ///
    /// Default: 5 s. Only with [`Cluster::nats`].
    pub fn connect_timeout(self, limit: Duration) -> Self {
        self.with_nats("connect_timeout", |nats| nats.connect_timeout = limit)
    }

    /// How long a server may be silent before the connection counts as lost: 100 ms to 1 h. The node pings a silent server three
    /// times in this time.
    ///
    /// Default: half of the [`ttl`](ClusterBuilder::ttl), at least 3 s. Only with [`Cluster::nats`].
    pub fn server_timeout(self, limit: Duration) -> Self {
        self.with_nats("server_timeout", |nats| nats.server_timeout = Some(limit))
    }

    /// Authenticates with a token. Set only one of this, [`user`](ClusterBuilder::user) and
    /// [`credentials_file`](ClusterBuilder::credentials_file).
    ///
    /// Default: none. Only with [`Cluster::nats`].
    pub fn token(self, token: impl Into<String>) -> Self {
        self.with_nats("token", |nats| nats.token = Some(Secret(token.into())))
    }

    /// Authenticates with a name and a password. They can also be a part of the URL: `nats://name:password@nats.example`.
    ///
    /// Default: none. Only with [`Cluster::nats`].
    pub fn user(self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.with_nats("user", |nats| nats.user = Some((name.into(), Secret(password.into()))))
    }

    /// Authenticates with a credentials file (`.creds`), as written by `nsc`. It is read when the node connects for the first time.
    ///
    /// Default: none. Only with [`Cluster::nats`].
    pub fn credentials_file(self, file: impl Into<PathBuf>) -> Self {
        self.with_nats("credentials_file", |nats| nats.credentials = Some(file.into()))
    }

    /// Trusts the authorities in this file (PEM), instead of those of the system. May be called repeatedly. The file is read when
    /// the node connects for the first time.
    ///
    /// Default: those of the system. Only with [`Cluster::nats`].
    pub fn authorities(self, file: impl Into<PathBuf>) -> Self {
        self.with_nats("authorities", |nats| nats.authorities.push(file.into()))
    }

    /// Presents a client certificate (PEM, with the chain that the server needs) if the server asks for one. The files are read
    /// when the node connects for the first time.
    ///
    /// Default: none. Only with [`Cluster::nats`].
    pub fn client_certificate(self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.with_nats("client_certificate", |nats| nats.certificate = Some((certificate.into(), key.into())))
    }

    /// Connects only with TLS. A URL with `tls://` has the same effect.
    ///
    /// Default: false, which uses TLS only if the server requires it. Only with [`Cluster::nats`].
    pub fn require_tls(self, required: bool) -> Self {
        self.with_nats("require_tls", |nats| nats.require_tls = required)
    }

    /// How many servers of a NATS cluster store the buckets with leases and names: 1, 3 or 5, the same on all nodes. With 3, one
    /// server may fail.
    ///
    /// Default: 1. Only with [`Cluster::nats`].
    pub fn replicas(self, replicas: usize) -> Self {
        self.with_nats("replicas", |nats| nats.replicas = replicas)
    }

    fn with_nats(mut self, setting: &'static str, set: impl FnOnce(&mut NatsSettings)) -> Self {
        match &mut self.engine {
            Engine::Nats(nats) => set(nats),
            Engine::Local(_) => self.only_for_nats = Some(setting),
        }
        self
    }

    /// Connects the pool to the cluster.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect<P: ClusterProtocol>(self, pool: &Pool<Connection<P>>) -> Result<Cluster<P, F>, ConnectError> {
        let node = self.node.unwrap_or_else(random_name);
        if node.is_empty() || token(&node).is_none() {
            let expected = "1 to 1,024 bytes, where a byte other than an ASCII letter, a digit, `-` or `_` counts as 3";
            return Err(invalid("node", format!("{node:?}; expected {expected}")));
        }
        let prefix = self.prefix;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if prefix.is_empty() || prefix.len() > 64 || !prefix.bytes().all(is_plain) {
            return Err(invalid("prefix", format!("{prefix:?}; expected 1 to 64 letters, digits, `-` and `_`")));
        }
        let hour = Duration::from_secs(3_600);
        in_range("ttl", self.ttl, Duration::from_secs(1), hour)?;
        in_range("request_timeout", self.request_timeout, SHORTEST, hour)?;
        if let Some(setting) = self.only_for_nats {
            return Err(invalid(setting, "has no effect without a server; use `Cluster::nats`, or leave it out"));
        }
        let parts = |bus, runtime| NodeParts {
            pool: pool.clone(),
            bus,
            runtime,
            format: self.format,
            name: Arc::from(&*node),
            prefix,
            ttl: self.ttl,
            request_timeout: self.request_timeout,
        };
        match self.engine {
            Engine::Local(bus) => {
                let started = Node::start(parts(Bus::local(&bus), Runtime::current()), false).await;
                started.map(Cluster::new).map_err(|error| error.at("this process".to_owned(), &node))
            }
            Engine::Nats(nats) => {
                let (starts_alone, ttl) = (nats.start_alone, self.ttl);
                let servers = nats.check()?;
                let list = servers.list();
                let runtime = Runtime::own_thread(&node).map_err(ConnectError::Thread)?;
                let name = node.clone();
                let bus = runtime.run(async move { Bus::nats(*nats, servers, &name, ttl).await }).await?;
                let started = runtime.run(Node::start(parts(bus, runtime.clone()), starts_alone)).await;
                started.map(Cluster::new).map_err(|error| error.at(list, &node))
            }
        }
    }
}

/// A name that no other node has.
fn random_name() -> String {
    format!("{}-{:08x}", std::process::id(), random_number() as u32)
}

pub(crate) fn random_number() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::time::SystemTime::now())
}
