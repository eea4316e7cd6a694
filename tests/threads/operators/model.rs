//! What the calls do to a pool, one after the other.

use actix_acceptor::{info::Status, SuspendMode};

use super::calls::{Call, Outcome};

/// The state of a pool as far as the calls change it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct State {
    pub(super) status: Status,
    pub(super) max_connections: usize,
    pub(super) acceptors: usize,
    /// Whether the listeners were replaced.
    pub(super) replaced: bool,
    /// What greets new connections: the protocol, and the end of its lines.
    pub(super) greeting: [u8; 2],
    /// Whether the first connection was killed or closed, whether it was closed, and whether it is exempt.
    pub(super) killed: bool,
    pub(super) closing: bool,
    pub(super) exempt: bool,
}

impl State {
    pub(super) fn new(status: Status) -> Self {
        State {
            status,
            max_connections: 100,
            acceptors: 2,
            replaced: false,
            greeting: *b"0\n",
            killed: false,
            closing: false,
            exempt: false,
        }
    }

    /// Applies a call, and returns what it returns.
    pub(super) fn apply(&mut self, call: Call) -> Outcome {
        match call {
            _ if call.stops() => self.status = Status::Ended,
            Call::SuspendClose => return self.in_a_running_pool(|state| state.suspend(SuspendMode::Close)),
            Call::SuspendHold => return self.in_a_running_pool(|state| state.suspend(SuspendMode::Hold)),
            Call::Resume => return self.in_a_running_pool(|state| state.status = Status::Running),
            Call::Change => return self.in_a_running_pool(|state| state.max_connections = 7),
            Call::Apply => return self.in_a_running_pool(|state| state.max_connections = 5),
            Call::Shrink => return self.in_a_running_pool(|state| state.acceptors = 1),
            Call::SetListeners => return self.in_a_running_pool(|state| state.replaced = true),
            Call::KeepListeners => return self.in_a_running_pool(|state| state.replaced = false),
            Call::SetProtocol => return self.unless_ended(|state| state.greeting[0] = b'1'),
            Call::SetCodec => return self.unless_ended(|state| state.greeting[1] = b';'),
            Call::SetFraming => return self.unless_ended(|state| state.greeting[1] = b'|'),
            Call::Broadcast => return self.unless_ended(|_| {}),
            Call::Kill | Call::Close | Call::Exempt | Call::Find | Call::ConnectionInfo
                if self.status == Status::Ended =>
            {
                return Outcome::No
            }
            // The connection may not be gone yet.
            Call::Kill | Call::Close if self.closing => return Outcome::Either,
            Call::Exempt | Call::Find | Call::ConnectionInfo if self.killed => return Outcome::Either,
            Call::Kill | Call::Close if self.killed => return Outcome::No,
            Call::Kill | Call::Close => {
                (self.killed, self.closing) = (true, call == Call::Close);
                return Outcome::Yes;
            }
            Call::Exempt => {
                self.exempt = true;
                return Outcome::Yes;
            }
            Call::Find | Call::ConnectionInfo => return Outcome::Yes,
            _ => {}
        }
        Outcome::Ok
    }

    fn suspend(&mut self, mode: SuspendMode) {
        self.status = Status::Suspended(mode);
    }

    fn in_a_running_pool(&mut self, change: impl FnOnce(&mut Self)) -> Outcome {
        match self.status {
            Status::Draining | Status::Ended => Outcome::NotRunning,
            _ => {
                change(self);
                Outcome::Ok
            }
        }
    }

    fn unless_ended(&mut self, change: impl FnOnce(&mut Self)) -> Outcome {
        match self.status {
            Status::Ended => Outcome::NotRunning,
            _ => {
                change(self);
                Outcome::Ok
            }
        }
    }

    /// Whether another state looks the same from outside. Of a pool that has ended only that is left.
    pub(super) fn matches(&self, seen: &State) -> bool {
        if self.status == Status::Ended {
            return seen.status == Status::Ended;
        }
        // Exempt or not: one that is gone does not tell.
        let exempt = if self.killed { seen.exempt } else { self.exempt };
        // Only a running pool has new connections.
        let greeting = if self.status == Status::Running { self.greeting } else { seen.greeting };
        State { exempt, greeting, closing: seen.closing, ..self.clone() } == *seen
    }
}
