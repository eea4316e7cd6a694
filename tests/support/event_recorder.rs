//! An observer that records events.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix_acceptor::telemetry::{CloseReason, HandshakeFailure, LimitScope, Observer, PoolEvent, RefusalReason};

/// One happening, as values of its own.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordedEvent {
    ListenerStarted {
        listener: String,
        address: String,
    },
    ListenerChanged {
        listener: String,
        previous: String,
        address: String,
    },
    ListenerStopped {
        listener: String,
        address: String,
    },
    AcceptorStarted(usize),
    AcceptorStopped(usize, String),
    AcceptError {
        listener: String,
        acceptor: usize,
        code: Option<i32>,
    },
    Refused {
        peer: String,
        listener: String,
        reason: RefusalReason,
    },
    Started(ConnectionKey),
    Ready(ConnectionKey),
    LimitReached {
        listener: String,
        scope: LimitScope,
        limit: usize,
    },
    LimitCleared {
        listener: String,
    },
    HandshakeFailed {
        key: ConnectionKey,
        kind: HandshakeFailure,
        error: String,
    },
    Stopped(ConnectionKey, Ending),
    Blocked {
        acceptor: Option<usize>,
        id: Option<u64>,
        so_far: Duration,
    },
    Alarm {
        name: String,
        raised: bool,
        connections: usize,
    },
    /// An event of the pool as a whole, or of a held peer: only in [`EventRecorder::of_pool`].
    OfPool(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionKey {
    pub id: u64,
    pub peer: String,
    pub listener: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    pub reason: CloseReason,
    pub detail: Option<String>,
    pub duration: Duration,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub packets: u64,
}

struct Note {
    at: Instant,
    pool: String,
    seen: RecordedEvent,
    /// What its `Debug` shows.
    text: String,
}

impl Note {
    fn is_of_pool(&self) -> bool {
        matches!(self.seen, RecordedEvent::OfPool(_))
    }
}

#[derive(Clone, Default)]
pub struct EventRecorder(Arc<Mutex<Vec<Note>>>);

impl EventRecorder {
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything so far about listeners, acceptors and connections, in order.
    pub fn seen(&self) -> Vec<RecordedEvent> {
        self.seen_at().into_iter().map(|(_, seen)| seen).collect()
    }

    /// The same events with their times.
    pub fn seen_at(&self) -> Vec<(Instant, RecordedEvent)> {
        let notes = self.0.lock().unwrap();
        notes.iter().filter(|note| !note.is_of_pool()).map(|note| (note.at, note.seen.clone())).collect()
    }

    /// The events of the pool as a whole and of held peers so far.
    pub fn of_pool(&self) -> Vec<String> {
        let of_pool = |note: &Note| match &note.seen {
            RecordedEvent::OfPool(event) => Some(event.clone()),
            _ => None,
        };
        self.0.lock().unwrap().iter().filter_map(of_pool).collect()
    }

    /// What `Debug` shows of everything so far.
    pub fn texts(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().filter(|note| !note.is_of_pool()).map(|note| note.text.clone()).collect()
    }

    /// The pools of the events, once each.
    pub fn pools(&self) -> Vec<String> {
        let mut pools: Vec<_> = self.0.lock().unwrap().iter().map(|note| note.pool.clone()).collect();
        pools.dedup();
        pools
    }

    /// The events of connections.
    pub fn connections(&self) -> Vec<RecordedEvent> {
        let of_one = |seen: &RecordedEvent| {
            matches!(seen, RecordedEvent::Started(_) | RecordedEvent::Ready(_) | RecordedEvent::Stopped(..))
        };
        self.seen().into_iter().filter(of_one).collect()
    }

    /// How connections ended so far.
    pub fn ends(&self) -> Vec<(ConnectionKey, Ending)> {
        let end = |seen| match seen {
            RecordedEvent::Stopped(who, end) => Some((who, end)),
            _ => None,
        };
        self.seen().into_iter().filter_map(end).collect()
    }

    /// Raised or cleared, and at how many connections.
    pub fn alarms(&self, wanted: &str) -> Vec<(bool, usize)> {
        let alarm = |seen| match seen {
            RecordedEvent::Alarm { name, raised, connections } if name == wanted => Some((raised, connections)),
            _ => None,
        };
        self.seen().into_iter().filter_map(alarm).collect()
    }
}

impl Observer for EventRecorder {
    fn observe(&self, pool: &str, event: &PoolEvent<'_>) {
        let who = |id: actix_acceptor::ConnectionId, peer: &actix_acceptor::transport::Address, listener: &str| {
            ConnectionKey { id: id.get(), peer: peer.to_string(), listener: listener.to_owned() }
        };
        let seen = match *event {
            PoolEvent::ListenerStarted { listener, address } => {
                RecordedEvent::ListenerStarted { listener: listener.to_owned(), address: address.to_string() }
            }
            PoolEvent::ListenerChanged { listener, previous, address } => RecordedEvent::ListenerChanged {
                listener: listener.to_owned(),
                previous: previous.to_owned(),
                address: address.to_string(),
            },
            PoolEvent::ListenerStopped { listener, address } => {
                RecordedEvent::ListenerStopped { listener: listener.to_owned(), address: address.to_string() }
            }
            PoolEvent::AcceptorStarted { acceptor } => RecordedEvent::AcceptorStarted(acceptor),
            PoolEvent::AcceptorStopped { acceptor, exit } => RecordedEvent::AcceptorStopped(acceptor, exit.to_string()),
            PoolEvent::PoolStarted => RecordedEvent::OfPool("started".to_owned()),
            PoolEvent::PoolSuspended { mode } => RecordedEvent::OfPool(format!("suspended {mode:?}")),
            PoolEvent::PoolResumed => RecordedEvent::OfPool("resumed".to_owned()),
            PoolEvent::SettingsChanged { changed } => RecordedEvent::OfPool(format!("changed {changed}")),
            PoolEvent::PoolDraining { delay, grace } => RecordedEvent::OfPool(format!("draining {delay:?} {grace:?}")),
            PoolEvent::PoolEnded { outcome, forced, unserved, .. } => {
                let outcome = outcome.as_ref().map_or_else(|error| error.to_string(), |()| "ok".to_owned());
                RecordedEvent::OfPool(format!("ended {outcome}, {forced} forced, {unserved} unserved"))
            }
            PoolEvent::PeerHeld { peer, listener, reason } => {
                RecordedEvent::OfPool(format!("held {peer} at {listener}: {reason}"))
            }
            PoolEvent::PeerReleased { peer, listener, .. } => {
                RecordedEvent::OfPool(format!("released {peer} at {listener}"))
            }
            PoolEvent::AcceptError { listener, acceptor, error, .. } => {
                RecordedEvent::AcceptError { listener: listener.to_owned(), acceptor, code: error.raw_os_error() }
            }
            PoolEvent::Refused { peer, listener, reason, .. } => {
                RecordedEvent::Refused { peer: peer.to_string(), listener: listener.to_owned(), reason }
            }
            PoolEvent::ConnectionStarted { id, peer, listener } => RecordedEvent::Started(who(id, peer, listener)),
            PoolEvent::ConnectionReady { id, peer, listener } => RecordedEvent::Ready(who(id, peer, listener)),
            PoolEvent::LimitReached { listener, scope, limit } => {
                RecordedEvent::LimitReached { listener: listener.to_owned(), scope, limit }
            }
            PoolEvent::LimitCleared { listener } => RecordedEvent::LimitCleared { listener: listener.to_owned() },
            PoolEvent::HandshakeFailed { id, peer, listener, kind, error } => {
                RecordedEvent::HandshakeFailed { key: who(id, peer, listener), kind, error: error.to_owned() }
            }
            PoolEvent::ConnectionStopped {
                id,
                peer,
                listener,
                reason,
                detail,
                duration,
                bytes_in,
                bytes_out,
                packets,
            } => {
                let detail = detail.map(str::to_owned);
                let ending = Ending { reason, detail, duration, bytes_in, bytes_out, packets };
                RecordedEvent::Stopped(who(id, peer, listener), ending)
            }
            PoolEvent::Blocked { acceptor, id, so_far } => {
                RecordedEvent::Blocked { acceptor, id: id.map(|id| id.get()), so_far }
            }
            PoolEvent::Alarm { name, raised, connections } => {
                RecordedEvent::Alarm { name: name.to_owned(), raised, connections }
            }
            // Tested on their own.
            PoolEvent::TopicJoined { .. }
            | PoolEvent::TopicLeft { .. }
            | PoolEvent::NameRegistered { .. }
            | PoolEvent::NameReleased { .. } => return,
            ref other => panic!("an event that this recorder does not know: {other:?}"),
        };
        let text = format!("{event:?}");
        self.0.lock().unwrap().push(Note { at: Instant::now(), pool: pool.to_owned(), seen, text });
    }
}
