//! Supervised acceptor pools and connection actors for [actix](https://docs.rs/actix): what ranch, reagent, condor and
//! glisten are to Erlang, Elixir and Gleam.
//!
//! ```text
//! AcceptorPool              actor on the caller's arbiter: supervisor, owns the listening sockets
//! ├── Acceptor 0            actor on its own arbiter (one thread): readable → room → accept → hand over
//! │   ├── Connection<P>     actor, same arbiter: socket + codec + your Protocol
//! │   ├── async fn          task, same arbiter: owns its Socket
//! │   └── your own actor    whatever you start: owns its Socket
//! └── Acceptor N-1
//! restart: an acceptor always, however it died, within a budget
//!          a connection never: its peer is gone
//! ```
//!
//! ```
//! use actix_acceptor::{AcceptorPool, Conn, Framing, Next, Protocol};
//! use bytes::Bytes;
//!
//! struct Echo;
//!
//! impl Protocol for Echo {
//!     type Codec = Framing;
//!     type Reply = Bytes;
//!     type User = ();
//!
//!     fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
//!         Next::Send(packet)
//!     }
//! }
//!
//! # actix_rt::System::new().block_on(async {
//! let pool = AcceptorPool::with_protocol(|_| Echo).framing(Framing::lines()).bind("127.0.0.1:0").await?;
//! println!("listening on {}", pool.name());
//! # use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! # let mut peer = tokio::net::TcpStream::connect(pool.local_addr().expect("TCP")).await?;
//! # peer.write_all(b"hi\n").await?;
//! # let mut answer = [0; 3];
//! # peer.read_exact(&mut answer).await?;
//! # assert_eq!(&answer, b"hi\n");
//! pool.stop(std::time::Duration::from_secs(5)).await;
//! # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
//! ```
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | what it brings |
//! |---|---|
//! | `rustls` | TLS by rustls: `Tls::rustls` |
//! | `native-tls` | TLS by the system's library: `Tls::native` |
//! | `watch` | certificates that are read again when their files change: `TlsBuilder::watch` |
//! | `proxy-protocol` | whom a load balancer speaks for: `Listener::proxy_protocol` |
//! | `listenfd` | sockets that systemd has opened: `Listener::from_systemd` |
//! | `serde` | [`Settings`] from a file |
//! | `metrics` | `Metrics`, an observer that counts by the `metrics` facade |
//!
//! # The doors
//!
//! Four lead in, by what you would rather write: [`AcceptorPool::with_protocol`] (callbacks),
//! [`AcceptorPool::with_events`] (a closure pair), [`AcceptorPool::with_fn`] (an async fn), [`AcceptorPool::with_actor`] (an actor of
//! your own). Every door counts, lists, drains and isolates panics alike.
//!
//! # How it is built
//!
//! Each room may look only into those below it; a test holds the list.
//!
//! | room | what is in it |
//! |---|---|
//! | `builder` | every setting; where a pool is made |
//! | `doors` | turns what you wrote into what an acceptor calls |
//! | `pool` | the supervisor, its handle, restarts, suspension, change, the drain and its report |
//! | `settings` | every setting as a plain value; what would be refused |
//! | `watchdog` | sees which arbiters are blocked, and by whom |
//! | `connection` | the actor and its driver |
//! | `acceptor` | the accept loop; what an accept error means; who is turned away, and how |
//! | `protocol` | what you write: `Protocol`, `Event`, `Next`, `Closed`, `Conn` |
//! | `socket` | an accepted socket, as async fns and actors of your own hold it |
//! | `timer` | the times of one connection: pure arithmetic |
//! | `table` | an arbiter's live connections, its tick, its spare buffers |
//! | `limits` | permits, connections and rates per peer, access rules |
//! | `framing` | bytes ↔ packets: no I/O, no clock |
//! | `transport` | addresses, streams, what is listened on |
//! | `telemetry` | what happened: counts, observers, spans, metrics, alarms |
//! | `guard`, `error` | the panic guard; what can stop a pool |

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod acceptor;
mod builder;
mod config;
mod connection;
mod error;
mod framing;
mod handlers;
mod handshake;
mod limits;
mod listener;
mod net;
mod panic;
mod pool;
mod registry;
mod socket;
mod telemetry;
mod time;
mod watchdog;

/// What is listened on, what carries the bytes, and the steps between accept and the first packet.
pub mod transport {
    #[cfg(feature = "rustls")]
    pub use crate::handshake::ClientHello;
    #[cfg(any(feature = "native-tls", feature = "rustls"))]
    pub use crate::handshake::{ClientCertificates, Tls, TlsBackend, TlsBuilder, TlsError, TlsVersion};
    pub use crate::handshake::{Handshake, HandshakeError, HandshakeInfo, Handshaken, LocalBoxFuture, TlsInfo};
    #[cfg(feature = "proxy-protocol")]
    pub use crate::handshake::{ProxyHeader, ProxyProtocol, ProxyTls};
    #[cfg(unix)]
    pub use crate::listener::Unix;
    pub use crate::listener::{Accept, Accepted, Inherited, Keepalive, Memory, MemoryConnector, Tcp, Transport};
    #[cfg(unix)]
    pub use crate::net::UnixAddress;
    pub use crate::net::{Address, FileRange, Io, ParseCidrError, PeerCredentials, Stream, TransportKind};
    pub use socket2::SockRef;
}

pub use acceptor::Acceptor;
pub use builder::Builder;
pub use config::{InvalidSetting, Settings, SettingsError};
pub use connection::{
    Active, Close, Closed, Conn, Connection, ConnectionContext, EncodeOnce, Encoded, Event, Info, Next, Packet, Peer,
    Protocol, Reply, SendError, SetActive, Timeout, User, Wait,
};
pub use error::{BoxError, Exit, PoolError, StartError};
pub use framing::{Framing, FramingError, ParseFramingError, Width};
pub use handlers::{Ack, ActorService, EventLoop, FnService, Init, IntoServeResult, NoActor, ProtocolService, Service};
#[cfg(feature = "rustls")]
#[cfg_attr(docsrs, doc(cfg(feature = "rustls")))]
pub use handshake::ClientHello;
#[cfg(any(feature = "native-tls", feature = "rustls"))]
pub use handshake::{ClientCertificates, Tls, TlsBackend, TlsBuilder, TlsError, TlsVersion};
pub use handshake::{HandshakeError, TlsInfo};
#[cfg(feature = "proxy-protocol")]
#[cfg_attr(docsrs, doc(cfg(feature = "proxy-protocol")))]
pub use handshake::{ProxyHeader, ProxyProtocol, ProxyTls};
pub use limits::{AtLimit, NewConnection, ParseRateError, ParseRuleError, PeerPrefix, Rate, Rule};
pub use listener::{BacklogPolicy, Listener};
pub use net::{Address, FileRange, ParseCidrError};
pub use pool::{
    AcceptorInfo, AcceptorPool, BroadcastReport, Drain, DrainReport, ListenerInfo, Pool, PoolHandle, PoolInfo, Status,
    SuspendError, SuspendMode, WaitError,
};
pub use registry::ConnectionInfo;
pub use socket::Socket;
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub use telemetry::Metrics;
pub use telemetry::{
    Alarm, AlarmEvent, CloseReason, ConnectionId, Counts, Label, Observer, PoolEvent, RefusalReason, Spans,
};
