//! Requests of an operator to close one connection.

use std::any::Any;
use std::collections::hash_map::Entry;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::{ConnectionState, Registry, Signals};
use crate::time::millis;

/// How a connection is to be closed. The connection takes it when it handles [`Signals::CLOSE_REQUESTED`].
pub(crate) struct CloseRequest {
    pub(crate) last_reply: Option<LastReply>,
    /// The latest end of the connection, in milliseconds of the registry's clock.
    pub(crate) by: u64,
}

/// What a connection sends last.
pub(crate) enum LastReply {
    /// A reply of the connection's protocol.
    Reply(Box<dyn Any + Send>),
    /// Bytes that are sent as they are.
    Encoded(Bytes),
}

impl fmt::Debug for CloseRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloseRequest").field("by", &self.by).finish_non_exhaustive()
    }
}

impl Registry {
    /// Asks a connection to close within `grace`. Returns false if it has ended or is being killed.
    ///
    /// Of several requests, the first reply and the earliest end count.
    pub(crate) fn request_close(
        &self,
        state: &ConnectionState,
        last_reply: Option<LastReply>,
        grace: Duration,
    ) -> bool {
        let by = self.clock.exact() + u64::from(millis(grace));
        let mut contents = self.contents.lock();
        let is_live = contents.connections.get(state.id()).is_some();
        let accepted = is_live && !state.signals().contains(Signals::KILL);
        let unused = match contents.close_requests.entry(state.id()) {
            Entry::Vacant(vacant) if accepted => {
                vacant.insert(CloseRequest { last_reply, by });
                None
            }
            Entry::Occupied(mut earlier) if accepted => {
                let by = earlier.get().by.min(by);
                earlier.get_mut().by = by;
                last_reply
            }
            _ => last_reply,
        };
        drop(contents);
        // Outside the lock: the reply is user code.
        drop(unused);
        if accepted {
            state.set_asked_to_close();
            state.signal(Signals::CLOSE_REQUESTED);
        }
        accepted
    }

    pub(super) fn take_close_request(&self, state: &ConnectionState) -> Option<CloseRequest> {
        self.contents.lock().close_requests.remove(&state.id())
    }
}
