//! The connections of the handlers `async` and `actor`, as the console sees them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_acceptor::info::{ConnectionInfo, ConnectionPhase};
use actix_acceptor::ConnectionId;
use tokio::sync::mpsc;

use crate::session::Command;

/// All sessions.
#[derive(Clone, Debug, Default)]
pub struct Sessions(Arc<Mutex<BTreeMap<ConnectionId, SessionHandle>>>);

/// A session as others see it.
#[derive(Clone, Debug)]
pub struct SessionHandle {
    /// An async fn has no address, so it gets its messages through a channel.
    pub commands: mpsc::UnboundedSender<Command>,
    pub status: Arc<SessionStatus>,
}

/// What the library does not know of a handler that drives its socket by itself.
#[derive(Debug, Default)]
pub struct SessionStatus {
    pub waiting: AtomicBool,
    /// Bytes in the buffer of the session.
    pub unsent: AtomicUsize,
}

impl SessionStatus {
    pub fn set_waiting(&self, waiting: bool) {
        self.waiting.store(waiting, Relaxed);
    }

    pub fn set_unsent(&self, bytes: usize) {
        self.unsent.store(bytes, Relaxed);
    }
}

impl Sessions {
    /// Adds a session. Dropping the entry removes it.
    pub fn add(&self, id: ConnectionId) -> (SessionEntry, mpsc::UnboundedReceiver<Command>) {
        let (commands, receiver) = mpsc::unbounded_channel();
        let status = Arc::new(SessionStatus::default());
        self.all().insert(id, SessionHandle { commands, status: status.clone() });
        (SessionEntry { id, status, sessions: self.clone() }, receiver)
    }

    pub fn get(&self, id: ConnectionId) -> Option<SessionHandle> {
        self.all().get(&id).cloned()
    }

    /// Adds what the library does not know of a session.
    pub fn complete(&self, connection: &mut ConnectionInfo) {
        let Some(SessionHandle { status, .. }) = self.get(connection.id) else { return };
        if status.waiting.load(Relaxed) && connection.state == ConnectionPhase::Open {
            connection.state = ConnectionPhase::Waiting;
        }
        connection.unsent += status.unsent.load(Relaxed) as u64;
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<ConnectionId, SessionHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a session among all.
#[derive(Debug)]
pub struct SessionEntry {
    id: ConnectionId,
    pub status: Arc<SessionStatus>,
    sessions: Sessions,
}

impl Drop for SessionEntry {
    fn drop(&mut self) {
        self.sessions.all().remove(&self.id);
    }
}
