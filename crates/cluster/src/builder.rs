//! [`ClusterBuilder`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::{Connection, Pool};

use crate::bus::{Bus, LocalBus, NatsNode, NatsOptions};
use crate::cluster::{Cluster, ClusterProtocol};
use crate::node::{Node, NodeParts};
use crate::runtime::Runtime;
use crate::subject::token;
use crate::{ConnectError, Format, Postcard};

/// The settings of a node, until [`connect`](ClusterBuilder::connect).
#[derive(Debug)]
#[must_use = "a node does nothing until `connect`"]
pub struct ClusterBuilder<F = Postcard> {
    engine: Engine,
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

#[derive(Debug)]
struct NatsSettings {
    servers: Vec<String>,
    queue: usize,
    starts_alone: bool,
    connect_within: Duration,
    token: Option<Secret>,
    user: Option<(String, Secret)>,
    credentials: Option<PathBuf>,
    authorities: Vec<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
    requires_tls: bool,
    replicas: usize,
}

struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("..")
    }
}

impl ClusterBuilder {
    pub(crate) fn nats(servers: Vec<String>) -> Self {
        let settings = NatsSettings {
            servers,
            queue: 8 << 20,
            starts_alone: false,
            connect_within: Duration::from_secs(5),
            token: None,
            user: None,
            credentials: None,
            authorities: Vec::new(),
            certificate: None,
            requires_tls: false,
            replicas: 1,
        };
        Self::new(Engine::Nats(Box::new(settings)))
    }

    pub(crate) fn local(bus: LocalBus) -> Self {
        Self::new(Engine::Local(bus))
    }

    fn new(engine: Engine) -> Self {
        let (ttl, request_timeout) = (Duration::from_secs(15), Duration::from_secs(5));
        ClusterBuilder { engine, node: None, prefix: "acceptor".to_owned(), ttl, request_timeout, format: Postcard }
    }
}

impl<F: Format> ClusterBuilder<F> {
    /// The name of this node, unique in the cluster. It is shown in reports and logs.
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

    /// How replies and messages are written for other nodes.
    ///
    /// Default: [`Postcard`].
    pub fn format<G: Format>(self, format: G) -> ClusterBuilder<G> {
        let ClusterBuilder { engine, node, prefix, ttl, request_timeout, .. } = self;
        ClusterBuilder { engine, node, prefix, ttl, request_timeout, format }
    }

    /// After this time without a heartbeat, the names of a node are free: 1 s to 1 h, the same on all nodes. A node sends three
    /// heartbeats in this time.
    ///
    /// Default: 15 s.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// How long [`Cluster::send`], [`notify`](Cluster::notify) and [`ask`](Cluster::ask) wait for another node.
    ///
    /// Default: 5 s.
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.request_timeout = limit;
        self
    }

    /// How many bytes may wait to be sent to NATS. Above it, [`RemoteError::Full`](crate::RemoteError::Full).
    ///
    /// Default: 8 MiB. No effect without NATS.
    pub fn queue(self, bytes: usize) -> Self {
        self.with_nats(|nats| nats.queue = bytes)
    }

    /// Whether the node starts if no server can be reached, and joins the others once one can be. Until then, only members of this
    /// node are reached.
    ///
    /// Default: false, an error.
    pub fn start_alone(self, starts_alone: bool) -> Self {
        self.with_nats(|nats| nats.starts_alone = starts_alone)
    }

    /// How long an attempt to connect may take.
    ///
    /// Default: 5 s.
    pub fn connect_timeout(self, limit: Duration) -> Self {
        self.with_nats(|nats| nats.connect_within = limit)
    }

    /// Authenticates with a token.
    pub fn token(self, token: impl Into<String>) -> Self {
        self.with_nats(|nats| nats.token = Some(Secret(token.into())))
    }

    /// Authenticates with a name and a password.
    pub fn user(self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.with_nats(|nats| nats.user = Some((name.into(), Secret(password.into()))))
    }

    /// Authenticates with a file of credentials (`.creds`), as `nsc` writes it.
    pub fn credentials_file(self, file: impl Into<PathBuf>) -> Self {
        self.with_nats(|nats| nats.credentials = Some(file.into()))
    }

    /// Trusts the authorities in this file (PEM), besides those of the system.
    pub fn authorities(self, file: impl Into<PathBuf>) -> Self {
        self.with_nats(|nats| nats.authorities.push(file.into()))
    }

    /// Shows the server a client certificate (PEM).
    pub fn client_certificate(self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.with_nats(|nats| nats.certificate = Some((certificate.into(), key.into())))
    }

    /// Connects with TLS only. A URL with `tls://` has the same effect.
    ///
    /// Default: false, TLS if the server requires it.
    pub fn require_tls(self, required: bool) -> Self {
        self.with_nats(|nats| nats.requires_tls = required)
    }

    /// How many servers of a NATS cluster keep the buckets with leases and names: 1, 3 or 5. Set when the first node makes them.
    ///
    /// Default: 1.
    pub fn replicas(self, replicas: usize) -> Self {
        self.with_nats(|nats| nats.replicas = replicas)
    }

    fn with_nats(mut self, set: impl FnOnce(&mut NatsSettings)) -> Self {
        if let Engine::Nats(nats) = &mut self.engine {
            set(nats);
        }
        self
    }

    /// Connects the pool to the cluster.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect<P: ClusterProtocol>(self, pool: &Pool<Connection<P>>) -> Result<Cluster<P, F>, ConnectError> {
        let invalid = |setting, why: String| ConnectError::InvalidSetting { setting, why };
        let node = self.node.unwrap_or_else(random_name);
        if node.is_empty() || token(&node).is_none() {
            return Err(invalid("node", format!("{node:?}; expected a name of 1 to 300 characters")));
        }
        let prefix = self.prefix;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if prefix.is_empty() || prefix.len() > 64 || !prefix.bytes().all(is_plain) {
            return Err(invalid("prefix", format!("{prefix:?}; expected 1 to 64 letters, digits, `-` and `_`")));
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(3_600)).contains(&self.ttl) {
            return Err(invalid("ttl", format!("{:?}; expected 1 s to 1 h", self.ttl)));
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
                let started = Node::start(parts(Bus::Local(bus.node()), Runtime::current()), false).await;
                let unusable = |source| ConnectError::Unusable { servers: "this process".to_owned(), source };
                started.map(Cluster).map_err(unusable)
            }
            Engine::Nats(nats) => {
                if nats.queue == 0 {
                    return Err(invalid("queue", "must be at least 1 byte".to_owned()));
                }
                let (servers, starts_alone) = (nats.servers.join(", "), nats.starts_alone);
                let options = NatsOptions {
                    servers: nats.servers,
                    node: node.clone(),
                    queue: nats.queue,
                    starts_alone,
                    connect_within: nats.connect_within,
                    token: nats.token.map(|secret| secret.0),
                    user: nats.user.map(|(name, password)| (name, password.0)),
                    credentials: nats.credentials,
                    authorities: nats.authorities,
                    certificate: nats.certificate,
                    requires_tls: nats.requires_tls,
                    replicas: nats.replicas,
                };
                let runtime = Runtime::own_thread(&node).map_err(ConnectError::Thread)?;
                let bus = runtime.run(NatsNode::connect(options)).await?;
                let started =
                    runtime.run(Node::start(parts(Bus::Nats(Box::new(bus)), runtime.clone()), starts_alone)).await;
                started.map(Cluster).map_err(|source| ConnectError::Unusable { servers, source })
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
