//! TCP and TLS servers for [actix](https://docs.rs/actix): a supervised pool of acceptors, in which each accepted socket
//! becomes an actor. The design follows the acceptor pools of Erlang, Elixir and Gleam: ranch, reagent, condor and glisten.
//!
//! ```text
//! AcceptorPool              actor on the caller's arbiter: supervisor, owns the listening sockets
//! ├── Acceptor 0            actor on its own arbiter (one thread): readable → permit → accept → hand over
//! │   ├── Connection<P>     actor, same arbiter: socket + codec + your Protocol
//! │   ├── async fn          task, same arbiter: owns its Socket
//! │   └── your own actor    any actor that you start: owns its Socket
//! └── Acceptor N-1
//! restart: an acceptor always, within a budget of restarts; then the pool ends with an error
//!          a pool with AcceptorPool::supervised
//!          a connection never: its peer is gone
//! ```
//!
//! # Example
//!
//! ```no_run
//! use actix_acceptor::prelude::*;
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
//! #[actix::main]
//! async fn main() -> Result<(), MainError> {
//!     let pool = AcceptorPool::with_protocol(|_| Echo).framing(Framing::lines()).bind("127.0.0.1:7878").await?;
//!     println!("listening on {}", pool.local_addrs()[0]);
//!     Ok(pool.stopped().await?)
//! }
//! ```
//!
//! In `Cargo.toml`: `actix = "0.13"`, `actix-acceptor = "0.1"` and `bytes = "1"`. A pool needs an actix system, which
//! `#[actix::main]` starts; for `#[tokio::main]` there is [`Builder::start_on_own_thread`].
//!
//! # Handlers
//!
//! A handler defines how a connection is served. There are four:
//!
//! | constructor | you write | model |
//! |---|---|---|
//! | [`AcceptorPool::with_protocol`] | a struct with callbacks: [`Protocol`] | gen_server, condor, thousand_island |
//! | [`AcceptorPool::with_events`] | two closures, `on_init` and `on_event` | glisten |
//! | [`AcceptorPool::with_fn`] | an `async fn(Socket)` | reagent's `handle` |
//! | [`AcceptorPool::with_actor`] | an actor that owns the [`Socket`] | reagent's `start` |
//!
//! Connections of all four kinds are counted, listed, limited and drained alike, and a panic in one connection ends only that
//! connection. The first two add framing, back-pressure, packet timeouts and an address that receives messages.
//!
//! One pool can have several handlers: see [`Listener::service`]. Streams can join it ([`Pool::adopt`]) and leave it
//! ([`Next::detach`], [`Socket::into_inner`]).
//!
//! # The life of a connection
//!
//! ```text
//! kernel queue ─▶ permit ─▶ accept ─▶ admission ─▶ init ─▶ PROXY header, TLS handshake ─▶ ack
//!   ─▶ packet | decode_error | user | timeout | half_closed | passive | shutdown ─▶ ... ─▶ closed
//! ```
//!
//! | step | what happens |
//! |---|---|
//! | permit | Taken before `accept`: at the connection limit, peers wait in the kernel's queue. |
//! | admission | Access rules, per-peer limits, rates and the overload hook; a refused peer is counted and closed. |
//! | [`init`](Protocol::init) | The socket was accepted. Nothing has been read yet. |
//! | handshake | The PROXY header, then TLS, within [`handshake_timeout`](Builder::handshake_timeout). |
//! | [`ack`](Protocol::ack) | The connection is ready. |
//! | [`packet`](Protocol::packet), [`user`](Protocol::user), ... | Each callback returns a [`Next`]. |
//! | [`closed`](Protocol::closed) | Called exactly once, last, with the reason and the final numbers, on every path. |
//!
//! # Messages
//!
//! What is sent to a connection is a *reply*, which its peer receives, or a *message*, which its callbacks handle.
//!
//! | way | for | bound | at the bound | during a wait |
//! |---|---|---|---|---|
//! | [`Next::Send`], [`Conn::send`], [`Conn::push`] | an answer of the connection itself | the high [watermark](Builder::watermarks), in bytes | no packets and messages are handled until the peer has read | – |
//! | [`Outbox::send`], [`ConnectionRef::send`] | a reply to one connection | [`Builder::outbox`], in bytes | [`SlowConsumer`](limits::SlowConsumer): the connection ends, or the reply is left out | sent |
//! | [`Topic::publish`], [`Pool::broadcast`], [`Pool::send_to`] | a reply to several | the outbox of each | the same; counted in the result | sent |
//! | [`Topic::notify`], [`Pool::notify_all`] | a message to several, for [`Protocol::user`] | [`Builder::mailbox_capacity`], in messages | left out; listed in the result | handled afterwards |
//! | `Addr::try_send` | a message to one, or of a type of your own | the same, and one message per further sender | an error with the message | handled afterwards |
//! | `Addr::send` | a message whose answer you await | the same, and one message per `send` in progress | – | handled afterwards |
//! | `Addr::do_send` | nothing that a peer can cause | none | – | handled afterwards |
//!
//! - To send what is ready, use a topic or an outbox: no callback runs, the bound is in bytes, and one slow peer does not
//!   affect the others. Use a message if the state of the connection decides what is sent.
//! - All ways except the first work from any thread, and none of them blocks.
//! - The replies of one sender arrive in the order in which they were sent, across all topics and outboxes; the messages of one
//!   sender are handled in the order in which they were sent. Between replies, messages and packets no order is defined, and
//!   none between what a callback publishes and the reply that it returns. A reply that must follow what was published is sent
//!   through [`Conn::outbox`].
//! - With [`Wait::with_messages`], messages are handled during a wait as well.
//! - [`messages`](messages#the-mailbox) defines what a sender of messages is, and what that means for the bound.
//! - [`Conn::after`] and [`Conn::every`] deliver a message of the connection to itself later. [`Pool::close`] sends a last reply
//!   and ends the connection, whatever it is doing.
//! - A [`Socket`] receives no messages. Its owner takes what others send to it from [`Socket::pushes`], and writes it.
//!
//! # Tasks
//!
//! The [guide](guide#by-task) has an index of tasks with the items for them. Its pages explain subjects that concern several items,
//! such as the [life of a connection](guide::life), [shared state](guide::sharing), or servers
//! [behind a load balancer](guide::load_balancer).
//!
//! # Modules
//!
//! | module | contents |
//! |---|---|
//! | [`guide`] | pages about subjects and tasks: which item to use, and what it costs |
//! | [`prelude`] | the types that most programs import |
//! | [`limits`] | connection limits, rates, access rules, refusals |
//! | [`transport`] | addresses, streams, transports, handshakes |
//! | `tls` | TLS for listeners and upgrades, with feature `rustls` or `native-tls` |
//! | `proxy` | the PROXY protocol, with feature `proxy-protocol` |
//! | `testing` | tools for tests of a server, with feature `testing` |
//! | [`telemetry`] | observers, alarms, counts, spans, metrics |
//! | [`info`] | information about a pool, its listeners, acceptors and connections |
//! | [`messages`] | messages that every [`Connection`] handles |
//! | [`pool_config`] | the configuration of a pool in a file |
//! | [`reexports`] | the packages whose types are in the public API |
//! | [`framing`], [`handlers`], [`error`] | the remaining types of these subjects |
//!
//! # Logs
//!
//! The crate logs with [`tracing`](https://docs.rs/tracing): install a subscriber to see the logs. When a pool is ready, it
//! logs its name, its addresses and the limits in force ("pool ready"); when it has ended, the reason and its counts ("pool
//! ended"). If a signal ends the process without [`Pool::drain_on_signal`], nothing more is logged. These lines, drains, refusals and
//! failed handshakes are logged at info; connection limits that are reached or lowered, restarts, and pools that have ended with
//! an error, at warn; most ends of connections at debug, and so are handshakes that fail because the peer leaves, as port
//! scanners do. Logs contain addresses and reasons, never transferred data.
//!
//! Lines at info and above about peers are limited: refusals to one per second, ends of connections to ten per second and
//! reason, failed handshakes to ten per second and kind. The field `left_out` is the number of lines that were left out before.
//!
//! With [`Spans`](telemetry::Spans), what callbacks log carries the id and the peer of the connection.
//!
//! # Features
//!
//! None is enabled by default.
//!
//! | feature | what it adds |
//! |---|---|
//! | `rustls` | TLS with rustls and ring: `Tls::rustls`. The same as `rustls-ring` |
//! | `rustls-ring`, `rustls-aws-lc-rs` | TLS with rustls, and the crypto provider: `ring` or `aws-lc-rs`. With both it is `aws-lc-rs` |
//! | `rustls-no-provider` | TLS with rustls and the provider that the program installs with `CryptoProvider::install_default`, which takes precedence over the others |
//! | `native-tls` | TLS with the system's library: `Tls::native` |
//! | `watch` | certificates are reloaded when their files change: `TlsBuilder::watch` |
//! | `proxy-protocol` | the PROXY protocol: `Listener::proxy_protocol` |
//! | `listenfd` | sockets passed by systemd: `Listener::from_systemd`, `Listener::from_systemd_named` |
//! | `sd-notify` | the state of pools is reported to systemd (`Type=notify`, `WatchdogSec`): `SystemdNotify` |
//! | `config` | [`PoolConfig`] is read from a file in TOML or JSON |
//! | `serde` | [`Settings`] and [`SettingsPatch`] can be read and written, [`PoolConfig`] read, reports ([`info`]) written |
//! | `metrics` | `Metrics`, an observer that reports to the `metrics` facade |
//! | `testing` | `testing`, tools for tests without ports, on a paused clock; for `[dev-dependencies]` |

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod acceptor;
mod builder;
mod config;
mod connection;
mod detached;
pub mod error;
pub mod framing;
#[cfg(all(doc, not(doctest)))]
// The pages link to items of all features.
#[cfg_attr(
    not(all(
        feature = "config",
        feature = "metrics",
        feature = "proxy-protocol",
        feature = "rustls",
        feature = "sd-notify",
        feature = "watch"
    )),
    allow(rustdoc::broken_intra_doc_links)
)]
pub mod guide;
pub mod handlers;
mod handshake;
pub mod limits;
mod listener;
mod names;
mod net;
mod panic;
mod pool;
pub mod pool_config;
pub mod reexports;
mod registry;
mod shutdown;
mod socket;
mod supervised;
mod sync;
#[cfg(all(unix, feature = "sd-notify"))]
mod systemd;
pub mod telemetry;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
mod thread_name;
mod time;
mod topics;
mod watchdog;

pub use acceptor::Acceptor;
pub use builder::{Builder, PoolStart, PoolThread};
pub use config::{Active, Settings, SettingsPatch, SuspendMode};
pub use connection::{
    Closed, Conn, Connection, ConnectionContext, Event, FlushError, Flushed, Next, Outbox, OutboxError, Packet, Peer,
    PendingWait, Protocol, Reply, SendError, StreamKey, Timeout, TimerKey, User, Wait, WaitEnded,
};
pub use detached::Detached;
#[doc(inline)]
pub use error::{BoxError, MainError, PoolError, StartError};
#[doc(inline)]
pub use framing::Framing;
#[doc(inline)]
pub use handlers::{Ack, Init};
#[doc(inline)]
pub use info::ConnectionInfo;
pub use listener::Listener;
pub use names::NameTaken;
pub use pool::{AcceptorPool, AdoptError, ConnectionRef, Drain, Pool, PoolHandle, Topic, Untyped};
#[doc(inline)]
pub use pool_config::PoolConfig;
pub use shutdown::{Drainable, Shutdown, ShutdownReport};
pub use socket::{Pushes, Socket};
pub use supervised::{SupervisedBuilder, SupervisedError, SupervisedPool};
#[cfg(all(unix, feature = "sd-notify"))]
#[cfg_attr(docsrs, doc(cfg(all(unix, feature = "sd-notify"))))]
pub use systemd::{SystemdNotify, SystemdPool};
#[doc(inline)]
pub use telemetry::ConnectionId;

/// The types that most programs import: `use actix_acceptor::prelude::*;`.
pub mod prelude {
    pub use crate::{
        AcceptorPool, Ack, Active, BoxError, Builder, Closed, Conn, Connection, ConnectionContext, ConnectionId,
        ConnectionInfo, ConnectionRef, Drain, Event, Framing, Init, Listener, MainError, NameTaken, Next, Outbox,
        Packet, Peer, Pool, PoolHandle, Protocol, Pushes, Reply, Socket, Timeout, Topic, User,
    };
}

/// Messages that every [`Connection`] handles, besides [`User`] and [`Reply`].
///
/// # The mailbox
/// The mailbox is created when the connection is first addressed. Its messages are handled in the order in which they were
/// sent, after [`ack`](Protocol::ack), while the connection handles packets. Messages that are left when the connection ends
/// are dropped, and `send` returns an error.
///
/// The mailbox holds [`mailbox_capacity`](Builder::mailbox_capacity) messages (default: 256), and one more for each further
/// sender. A sender is an address or a recipient; each clone is another sender. What actix does with a message for a full
/// mailbox depends on the method:
///
/// | method | when the mailbox is full | bound |
/// |---|---|---|
/// | `try_send` | fails, and returns the message | the capacity, and one message per further sender |
/// | `send` | its future makes a sender of its own and puts the message into the mailbox when it is first polled | the capacity, and the number of `send` futures that have not completed |
/// | `do_send` | puts the message into the mailbox | none |
///
/// [`Pool::find`], [`Pool::addresses`], [`ConnectionRef::address`] and [`Conn::address`] return a new sender at each call. If a
/// program calls one of them for each message, there is no bound with any of the methods: keep the address and use `try_send`,
/// or await the answer of each `send` before the next.
///
/// [`Pool::notify_all`] and [`Topic::notify`] use one sender per connection for all calls, so their messages are bounded.
///
/// ```
/// # use actix::prelude::*;
/// # use actix_acceptor::{AcceptorPool, Conn, Framing, Next, Protocol, User};
/// # use bytes::Bytes;
/// # use std::time::Duration;
/// # struct Quiet;
/// # impl Protocol for Quiet {
/// #     type Codec = Framing; type Reply = Bytes; type User = u32;
/// #     fn init(&mut self, conn: &mut Conn<Self>) -> Next<Self> { conn.wait(std::future::pending(), |(), _, _| Next::Continue) }
/// #     fn packet(&mut self, _: Bytes, _: &mut Conn<Self>) -> Next<Self> { Next::Continue }
/// # }
/// # actix_rt::System::new().block_on(async {
/// let pool = AcceptorPool::with_protocol(|_| Quiet).mailbox_capacity(10).bind("127.0.0.1:0").await?;
/// # let _peer = std::net::TcpStream::connect(pool.local_addr().expect("TCP"))?;
/// # while pool.addresses().is_empty() { tokio::task::yield_now().await }
/// // A connection that handles no messages, since it waits for something.
/// let id = pool.list()[0].id;
/// let address = pool.find(id).expect("a live connection");
/// let taken = (0..1000).take_while(|n| address.try_send(User(*n)).is_ok()).count();
/// assert_eq!(taken, 10);
/// // A new sender has a slot of its own, and `do_send` has no bound.
/// assert!(pool.find(id).expect("a live connection").try_send(User(11)).is_ok());
/// (0..1000).for_each(|n| address.do_send(User(n)));
/// # pool.stop(Duration::ZERO).await;
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
/// ```
pub mod messages {
    pub use crate::connection::{Close, EncodeOnce, Encoded, Info, SetActive, StatelessEncoder};
}

/// Information about a pool, its listeners, acceptors and connections.
///
/// With feature `serde` it can be written, for example as JSON: durations as a number of seconds with a fraction (`0.162512`),
/// points in time as in RFC 3339 (`"2030-01-31T12:00:00Z"`), addresses as strings, reasons and states in snake case, and a
/// `None` as null. [`Changed`](info::Changed) has the format of [`Settings`], where a duration is a string such as `"1m"`.
pub mod info {
    pub use crate::config::{Changed, SettingChange, SettingDescription, SettingUnit, TakesEffect};
    pub use crate::listener::{KeepaliveOptions, ListenerOptions};
    pub use crate::pool::{
        AcceptorInfo, BroadcastReport, DrainReport, Draining, ListenerInfo, ListenersChanged, PoolInfo, Published,
        Reloaded, Status,
    };
    pub use crate::registry::{ConnectionInfo, ConnectionPhase, TlsSummary};
}

/// Transports, addresses, byte streams, and the handshakes between the accept and the first packet.
pub mod transport {
    pub use crate::handshake::{
        Direction, Handshake, HandshakeError, HandshakeInfo, Handshaken, Inspect, Inspected, LocalBoxFuture,
    };
    #[cfg(all(unix, feature = "listenfd"))]
    #[cfg_attr(docsrs, doc(cfg(all(unix, feature = "listenfd"))))]
    pub use crate::listener::SystemdError;
    #[cfg(unix)]
    pub use crate::listener::Unix;
    pub use crate::listener::{
        Accept, Accepted, Inherited, Keepalive, ListeningSocket, Memory, MemoryConnector, MultipathTcp, OwnedListener,
        Tcp, Transport,
    };
    #[cfg(unix)]
    pub use crate::net::UnixAddress;
    pub use crate::net::{Address, FileRange, Io, ParseCidrError, PeerCredentials, Stream, TransportKind};
    pub use socket2::SockRef;
}

/// TLS for listeners and upgrades.
pub mod tls {
    #[cfg(feature = "rustls-no-provider")]
    #[cfg_attr(docsrs, doc(cfg(feature = "rustls")))]
    pub use crate::handshake::ClientHello;
    pub use crate::handshake::TlsInfo;
    #[cfg(any(feature = "native-tls", feature = "rustls-no-provider"))]
    pub use crate::handshake::{
        ClientCertificates, SubjectAltNames, Tls, TlsBackend, TlsBuilder, TlsError, TlsVersion,
    };
}

/// The PROXY protocol: the address of the peer behind a load balancer.
#[cfg(feature = "proxy-protocol")]
#[cfg_attr(docsrs, doc(cfg(feature = "proxy-protocol")))]
pub mod proxy {
    pub use crate::handshake::{ProxyEncodeError, ProxyHeader, ProxyProtocol, ProxyTls};
}
