//! Events, counts, alarms, spans and metrics of a pool.
//!
//! An [`Observer`] receives every [`PoolEvent`]; [`Spans`] and, with feature `metrics`, `Metrics` are observers. An
//! [`Alarm`] watches the number of connections. [`Counts`] holds a number per [`CloseReason`],
//! [`RefusalReason`] or [`HandshakeFailure`].
//!
//! # Events
//!
//! Each event is reported once to each observer, after it has happened unless the table says otherwise, while the library holds
//! no lock. The events of one connection, and those of one listener, are reported in order. Packets are not reported.
//!
//! | [`PoolEvent`] | fields | reported | at most |
//! |---|---|---|---|
//! | `PoolStarted` | | when all acceptors accept. If the start fails, neither this nor `PoolDraining` and `PoolEnded` are reported | once |
//! | `PoolSuspended` | `mode` | when the pool no longer accepts, or changed to another mode | once per call |
//! | `PoolResumed` | | when a suspended pool accepts again | once per call |
//! | `SettingsChanged` | `changed` | when settings have changed | once per call |
//! | `PoolDraining` | `delay`, `grace` | when a drain begins, for any reason | once |
//! | `PoolEnded` | `outcome`, `forced`, `unserved`, `took` | when the pool has ended, before the calls that wait for its end return | once |
//! | `ListenerStarted` | `listener`, `address` | when a listener is open: at the start, by `set_listeners`, by `resume` | once per opening |
//! | `ListenerChanged` | `listener`, `previous`, `address` | when `set_listeners` changes an open listener | once per call and listener |
//! | `ListenerStopped` | `listener`, `address` | when an open listener is closed | once per `ListenerStarted` |
//! | `AcceptorStarted` | `acceptor` | when an acceptor accepts | once per start |
//! | `AcceptorStopped` | `acceptor`, `exit` | when an acceptor that has started has ended | once per `AcceptorStarted` |
//! | `AcceptError` | `listener`, `acceptor`, `error`, `kind` | when `accept` fails, or an acceptor cannot open its handle of a listener | once per failed call |
//! | `LimitReached` | `listener`, `scope`, `limit` | when a listener stops accepting at a connection limit, with `AtLimit::Wait` | once until it is cleared |
//! | `LimitCleared` | `listener` | when no acceptor of the listener has waited at a limit for a second, or the listener stops accepting for another reason | once per `LimitReached` |
//! | `PeerHeld` | `peer`, `listener`, `reason` | when a peer is held: at the connection limit, above a rate, by the overload hook | once per accepted peer |
//! | `PeerReleased` | `peer`, `listener`, `held` | before a held peer is admitted or refused | once per `PeerHeld` |
//! | `Refused` | `id`, `peer`, `listener`, `reason` | when a peer is refused; with an `id` it replaces `ConnectionStopped` | once per accepted peer |
//! | `ConnectionStarted` | `id`, `peer`, `listener` | when a peer is admitted, before any callback | once per connection |
//! | `ConnectionReady` | `id`, `peer`, `listener` | before `ack`, or before the socket is handed over | once per connection |
//! | `HandshakeFailed` | `id`, `peer`, `listener`, `kind`, `error` | before the `ConnectionStopped` of a connection whose handshake failed | once per connection |
//! | `RepliesDropped` | `id`, `peer`, `listener`, `replies` | when the outbox is empty again after replies of others were left out, and before `ConnectionStopped` | once each time an outbox is emptied |
//! | `ConnectionLabelled` | `id`, `label` | when a label is set or removed | once per call |
//! | `TopicJoined` | `id`, `topic` | when a connection joins a topic | once per membership |
//! | `TopicLeft` | `id`, `topic` | when a connection leaves a topic, or begins to close | once per `TopicJoined` |
//! | `NameRegistered` | `id`, `name` | when a connection registers a name | once per registration |
//! | `NameReleased` | `id`, `name` | when a connection releases a name or begins to close; if another connection takes the name over, before its `NameRegistered`, on its thread | once per `NameRegistered` |
//! | `ConnectionStopped` | `id`, `peer`, `listener`, `reason`, `detail`, `duration`, `bytes_in`, `bytes_out`, `packets` | when the socket is closed, after `closed` | once per `ConnectionStarted` |
//! | `Blocked` | `acceptor`, `id`, `so_far` | while an arbiter is blocked for longer than the watchdog's limit | once per block |
//! | `Alarm` | `name`, `raised`, `connections` | when an alarm is raised or cleared | twice per cool-down of the alarm |

mod accept_error;
mod alarm;
mod counts;
mod event;
mod handshake_failure;
mod id;
mod limit_scope;
mod live_list;
mod log_throttle;
#[cfg(feature = "metrics")]
mod metrics;
mod observer;
mod open_span;
mod reason;
mod refusal;
mod sample;
mod spans;

pub use accept_error::AcceptErrorKind;
pub(crate) use alarm::Alarms;
pub use alarm::{Alarm, AlarmEvent, AlarmKey};
pub use counts::{Counts, Label};
pub use event::PoolEvent;
pub use handshake_failure::HandshakeFailure;
pub use id::ConnectionId;
pub use limit_scope::LimitScope;
pub(crate) use live_list::LiveList;
pub(crate) use log_throttle::{CloseLogThrottle, LogThrottle};
#[cfg(feature = "metrics")]
pub use metrics::Metrics;
pub(crate) use observer::Observers;
pub use observer::{Observer, ObserverKey};
pub use open_span::SpanOf;
pub(crate) use open_span::{EnteredSpan, OpenSpan};
pub use reason::CloseReason;
pub use refusal::RefusalReason;
pub use sample::{ListenerSample, PoolSample};
pub use spans::Spans;
