//! Replaces the listeners of a running pool, all or none.
//!
//! ```text
//! open the new ones ─▶ check the open ones ─▶ set socket options ─▶ name, limit, steps ─▶ close those not in the list
//! └──────────────── any error: nothing has changed ──────────────┘ └───────────────── cannot fail ─────────────────┘
//! ```

use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use actix::prelude::*;
use futures::future::{join_all, ready, select, Either, LocalBoxFuture};
use futures::FutureExt;
use tracing::info;

use super::suspend::{close_all, RELEASE_TIMEOUT};
use super::{AcceptorPool, ListenersChanged, Status};
use crate::acceptor::AddListeners;
use crate::error::{InvalidSetting, StartError};
use crate::listener::{open_listeners, set_all_options, Listener, ListenerChange, ListenerMode, ListenerState, Opened};
use crate::panic::{catch_panic, panic_text};

/// Replaces the listeners.
#[derive(Message)]
#[rtype(result = "Result<ListenersChanged, StartError>")]
pub(super) struct SetListeners(pub(super) Vec<Listener>);

/// The listeners of the list, all open.
pub(super) struct Replacement {
    all: Vec<Arc<ListenerState>>,
    added: Vec<Arc<ListenerState>>,
    kept: Vec<ListenerChange>,
}

/// Resolves when removed listeners are closed.
pub(super) type Closing = LocalBoxFuture<'static, ()>;

impl Replacement {
    fn of(opened: Vec<Opened>) -> Self {
        let all = opened.iter().map(|opened| opened.listener().clone()).collect();
        let (mut added, mut kept) = (Vec::new(), Vec::new());
        opened.into_iter().for_each(|opened| match opened {
            Opened::New(listener) => added.push(listener),
            Opened::Kept(change) => kept.push(*change),
        });
        Replacement { all, added, kept }
    }
}

impl Handler<SetListeners> for AcceptorPool {
    type Result = AtomicResponse<Self, Result<ListenersChanged, StartError>>;

    fn handle(&mut self, message: SetListeners, _: &mut Context<Self>) -> Self::Result {
        let opening = self.open_replacement(message.0, self.shared.registries().slots_in_use());
        let replaced =
            opening.into_actor(self).map(|opened, pool, _| opened.map(|opened| pool.replace_listeners(opened)));
        AtomicResponse::new(Box::pin(replaced.then(|replaced, pool, _| when_closed(replaced).into_actor(pool))))
    }
}

impl AcceptorPool {
    /// Opens the listeners that are not open yet and sets the options of the others, all or none. `slots` is the number of
    /// acceptors that they are opened for.
    pub(super) fn open_replacement(
        &self,
        listeners: Vec<Listener>,
        slots: usize,
    ) -> impl Future<Output = Result<Replacement, StartError>> + 'static {
        let acceptors = self.acceptors.clone().filter(|_| self.draining.is_none());
        let services = self.shared.services().choices();
        let (limits, limit, status) = (self.shared.limits().clone(), self.start_timeout, self.shared.status());
        let mut stopping = self.shared.stopping.subscribe();
        async move {
            let (Some(acceptors), Some(services)) = (acceptors, services) else {
                return Err(StartError::ListenerClosed);
            };
            if listeners.is_empty() {
                let invalid = InvalidSetting::new("listener", "at least one is required (got none)");
                return Err(StartError::InvalidSetting(invalid));
            }
            let old = acceptors.listeners();
            let opening =
                AssertUnwindSafe(open_listeners(listeners, &services, &limits, limit, &old, slots)).catch_unwind();
            let stopped = pin!(async { drop(stopping.wait_for(|stopping| *stopping).await) });
            let opened = match select(Box::pin(opening), stopped).await {
                Either::Left((opened, _)) => opened.unwrap_or_else(|panic| Err(panicked(panic_text(panic))))?,
                // A name that is slow to resolve does not hold up the stop.
                Either::Right(((), opening)) => {
                    let _ = catch_panic(|| drop(opening));
                    return Err(StartError::ListenerClosed);
                }
            };
            let replacement = Replacement::of(opened);
            if let Status::Suspended(mode) = status {
                close_all(replacement.added.clone(), mode, ListenerMode::Accepting).await?;
            }
            set_all_options(&replacement.kept)?;
            Ok(replacement)
        }
    }

    /// Applies the remaining changes, which cannot fail. Also returns a future that resolves when the old listeners are
    /// closed.
    pub(super) fn replace_listeners(&mut self, replacement: Replacement) -> (ListenersChanged, Closing) {
        let Replacement { all, added, kept } = replacement;
        let Some(acceptors) = &self.acceptors else { return (ListenersChanged::default(), Box::pin(ready(()))) };
        let old = acceptors.listeners();
        let removed: Vec<_> = old.iter().filter(|listener| !contains(&all, listener)).cloned().collect();
        let mut report =
            ListenersChanged { added: names(&added), removed: names(&removed), ..ListenersChanged::default() };
        for change in kept {
            let listener = change.listener().clone();
            let names = if change.apply() { &mut report.changed } else { &mut report.unchanged };
            names.push(listener.name().to_string());
        }
        acceptors.set_listeners(all.clone());
        for acceptor in self.shared.acceptor_addresses() {
            acceptor.do_send(AddListeners(all.clone()));
        }
        let backlog_on_close = self.shared.settings().backlog_on_close;
        for listener in &removed {
            listener.set_mode(ListenerMode::Removed(backlog_on_close));
        }
        if self.shared.status() == Status::Running {
            added.iter().for_each(|listener| self.shared.emit_opened(listener));
        }
        self.shared.set_listeners(all);
        if !report.is_empty() {
            let (added, removed, changed) = (report.added.len(), report.removed.len(), report.changed.len());
            info!(pool = self.shared.name(), added, removed, changed, "listeners replaced");
        }
        let closed = join_all(removed.iter().map(|listener| listener.closed()).collect::<Vec<_>>());
        // After the timeout a socket closes with the last acceptor's handle to it.
        (report, Box::pin(async { drop(tokio::time::timeout(RELEASE_TIMEOUT, closed).await) }))
    }
}

/// Waits until the removed listeners are closed, so that their addresses are free when the call returns.
pub(super) async fn when_closed<R, E>(replaced: Result<(R, Closing), E>) -> Result<R, E> {
    let (changed, closing) = replaced?;
    closing.await;
    Ok(changed)
}

fn names(listeners: &[Arc<ListenerState>]) -> Vec<String> {
    listeners.iter().map(|listener| listener.name().to_string()).collect()
}

fn contains(listeners: &[Arc<ListenerState>], listener: &Arc<ListenerState>) -> bool {
    listeners.iter().any(|other| Arc::ptr_eq(other, listener))
}

/// A transport or a handshake step panicked while its listener was opened.
fn panicked(text: String) -> StartError {
    let source = io::Error::other(format!("it panicked: {text}"));
    StartError::SystemError { what: "a listener".into(), source }
}
