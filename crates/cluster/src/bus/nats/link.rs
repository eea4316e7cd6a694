//! Whether there is a connection to a server, and which one.
//!
//! The client says so by events, of which it drops some when there are many. So an event only means that the state of the client
//! is to be read again.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use async_nats::client::PublishError;
use async_nats::connection::State;
use async_nats::{Client, Event, ServerError};
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{info, warn};

use super::outgoing::Handed;
use super::refused::{is_of_messages, Refusal, Refused};
use crate::bus::LinkState;
use crate::counters::{Counters, Loss, Throttle};

pub(crate) struct Link {
    node: String,
    servers: String,
    client: OnceLock<Client>,
    /// The node has left: there is no connection from now on.
    is_closed: AtomicBool,
    state: watch::Sender<LinkState>,
    pub(super) handed: Handed,
    pub(super) refused: Refused,
    pub(super) counters: Arc<Counters>,
    latest: Mutex<Latest>,
    /// The attempts to connect that have failed.
    attempts: watch::Sender<u64>,
    failures: Throttle,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Latest {
    /// When the connection was made or lost.
    pub(crate) since: Option<SystemTime>,
    pub(crate) error: Option<String>,
}

/// There is no connection, or it was lost.
#[derive(Debug, thiserror::Error)]
#[error("no connection to NATS")]
pub(crate) struct Lost;

impl Link {
    pub(super) fn new(node: String, servers: String, counters: Arc<Counters>) -> Self {
        Link {
            node,
            servers,
            client: OnceLock::new(),
            is_closed: AtomicBool::new(false),
            state: watch::Sender::default(),
            handed: Handed::default(),
            refused: Refused::default(),
            counters,
            latest: Mutex::default(),
            attempts: watch::Sender::default(),
            failures: Throttle::new(Duration::from_secs(10)),
        }
    }

    pub(super) fn set_client(&self, client: Client) {
        let _ = self.client.set(client);
        self.refresh();
    }

    pub(super) fn close(&self) {
        self.is_closed.store(true, Relaxed);
        self.refresh();
        // Also wakes those that wait for a connection.
        self.state.send_modify(|_| {});
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Relaxed)
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<LinkState> {
        self.state.subscribe()
    }

    pub(crate) fn latest(&self) -> Latest {
        self.latest.lock().clone()
    }

    pub(super) fn on_event(&self, event: &Event) {
        match event {
            Event::Connected | Event::Disconnected | Event::Closed | Event::Draining => {}
            Event::SlowConsumer(_) => {
                // The capacity of a subscription is above what the client reads at once.
                self.counters.overflowed.fetch_add(1, Relaxed);
            }
            Event::LameDuckMode => info!(node = self.node, servers = self.servers, "a NATS server is shutting down"),
            error => {
                if let Event::ServerError(ServerError::Other(text)) = error {
                    self.on_refusal(text);
                }
                let error = error.to_string();
                if let Some(left_out) = self.failures.allow() {
                    warn!(node = self.node, servers = self.servers, error, left_out, "error of NATS");
                }
                self.latest.lock().error = Some(error);
                self.attempts.send_modify(|attempts| *attempts += 1);
            }
        }
        self.refresh();
    }

    /// The client has not taken an answer to a request of another node.
    pub(super) fn answer_failed(&self, error: &PublishError) {
        if let Some(left_out) = self.failures.allow() {
            warn!(node = self.node, %error, left_out, "an answer to another node was not sent");
        }
    }

    fn on_refusal(&self, text: &str) {
        match Refusal::of(text) {
            Refusal::Subscription(subject) => self.refused.add(subject),
            Refusal::AnySubscription => self.refused.add_unnamed(),
            Refusal::Publish(subject) if is_of_messages(subject) => self.counters.lose(Loss::Failed, 1),
            Refusal::Publish(_) | Refusal::Other => {}
        }
    }

    /// Reads the state of the client.
    pub(super) fn refresh(&self) -> LinkState {
        let Some(client) = self.client.get() else { return LinkState::default() };
        let read = || {
            let connects = client.statistics().connects.load(Relaxed);
            let is_connected = !self.is_closed() && client.connection_state() == State::Connected;
            LinkState { is_connected, connects }
        };
        let (mut before, mut now) = (LinkState::default(), read());
        // Nearly always.
        if *self.state.borrow() == now {
            return now;
        }
        let has_changed = self.state.send_if_modified(|state| {
            now = read();
            before = std::mem::replace(state, now);
            if before.is_connected && before != now {
                self.handed.lost(&self.counters);
            }
            before != now
        });
        if has_changed {
            self.latest.lock().since = Some(SystemTime::now());
            let (node, servers) = (&*self.node, &*self.servers);
            if before.is_connected && !self.is_closed() {
                warn!(node, servers, "the connection to NATS is lost; messages reach only members on this node");
            }
            if now.is_connected {
                info!(node, servers, connects = now.connects, "connected to NATS");
            }
        }
        now
    }

    /// Runs an operation for as long as the connection lasts.
    pub(crate) async fn during<T>(&self, operation: impl Future<Output = T>) -> Result<T, Lost> {
        let connection = self.refresh();
        if !connection.is_connected {
            return Err(Lost);
        }
        tokio::select! {
            biased;
            output = operation => Ok(output),
            () = self.lost(connection) => Err(Lost),
        }
    }

    async fn lost(&self, connection: LinkState) {
        // Cannot fail: `self` owns the sender.
        let _ = self.state.subscribe().wait_for(|state| *state != connection).await;
    }

    /// Waits for a connection, or for an attempt that has failed.
    pub(super) async fn first_attempt(&self) {
        let (mut attempts, mut state) = (self.attempts.subscribe(), self.state.subscribe());
        tokio::select! {
            _ = attempts.wait_for(|attempts| *attempts > 0) => {}
            _ = state.wait_for(|state| state.is_connected) => {}
        }
    }

    pub(super) async fn connected_or_closed(&self) {
        let _ = self.state.subscribe().wait_for(|state| state.is_connected || self.is_closed()).await;
    }
}
