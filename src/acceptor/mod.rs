//! The acceptors: actors that accept peers and start serving them.
//!
//! ```text
//! AcceptorPool ── starts, replaces ──▶ Acceptor ── per listener ──▶ accept loop ──▶ admission ──▶ ConnectionSpawner
//!       ▲    └─── sets the mode ─────▶ ListenerState ──────────────────┘
//!       └──────────── Exited ── ExitGuard: reports stop, panic and a stopped arbiter alike
//! ```

mod accept_error;
mod accept_loop;
mod admission;
mod adopt;
mod exit_guard;
mod held_peer;
mod hold;
mod limit_report;
mod refuse;

use std::cell::RefCell;
use std::io;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;

use actix::prelude::*;
use futures::FutureExt;
use tracing::debug;

use crate::listener::ListenerState;
use crate::panic::{catch_panic, panic_text};

pub(crate) use accept_error::is_out_of_resources;
pub(crate) use admission::AcceptorContext;
pub(crate) use adopt::{Adopt, MakeStream, NotAdopted};
pub(crate) use exit_guard::{ExitGuard, Exited, Ready};

use accept_loop::{ListenerTask, TaskEnd};

/// An acceptor: accepts peers from the pool's listeners and starts serving them, on its own arbiter.
///
/// Pools start and replace them. The addresses come from [`Pool::acceptors`](crate::Pool::acceptors); an acceptor handles
/// the messages for which you implement `Handler`.
pub struct Acceptor {
    slot: usize,
    context: Arc<AcceptorContext>,
    /// The listeners it accepts from.
    listeners: Vec<Arc<ListenerState>>,
    exit_guard: Rc<RefCell<ExitGuard>>,
}

impl Acceptor {
    pub(crate) fn new(slot: usize, context: Arc<AcceptorContext>, exit_guard: ExitGuard) -> Self {
        Acceptor { slot, context, listeners: Vec::new(), exit_guard: Rc::new(RefCell::new(exit_guard)) }
    }

    /// Starts the actor on the current arbiter, as [`Actor::start`] does. If it panics, it ends, and the exit guard reports the
    /// message.
    pub(crate) fn spawn(self) {
        let exit_guard = self.exit_guard.clone();
        actix_rt::spawn(async move {
            let mut actor = Box::pin(AssertUnwindSafe(Context::new().into_future(self)).catch_unwind());
            if let Err(panic) = actor.as_mut().await {
                exit_guard.borrow_mut().panicked(panic_text(panic));
            }
            // Dropping the context of an actor that has panicked calls the actor once more.
            let _ = catch_panic(|| drop(actor));
        });
    }

    /// The number of the acceptor's slot in the pool, counted from 0. A replacement has the same number.
    pub fn id(&self) -> usize {
        self.slot
    }

    fn add_listener(&mut self, listener: Arc<ListenerState>, ctx: &mut Context<Self>) {
        if self.listeners.iter().any(|known| Arc::ptr_eq(known, &listener)) {
            return;
        }
        let task = match ListenerTask::new(self.slot, self.context.clone(), listener.clone(), self.exit_guard.clone()) {
            Ok(task) => task,
            Err(error) => return self.fail(error, ctx),
        };
        self.listeners.push(listener);
        ctx.spawn(task.run().into_actor(self).map(|end, acceptor, ctx| match end {
            TaskEnd::Failed(error) => acceptor.fail(error, ctx),
            TaskEnd::Removed(listener) => {
                acceptor.listeners.retain(|other| !Arc::ptr_eq(other, &listener));
                // In a running pool, another listener may be about to be added.
                if acceptor.listeners.is_empty() && acceptor.context.is_stopping() {
                    ctx.stop();
                }
            }
        }));
    }

    fn fail(&mut self, error: io::Error, ctx: &mut Context<Self>) {
        self.exit_guard.borrow_mut().fail(error);
        ctx.stop();
    }
}

impl Actor for Acceptor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        for listener in self.context.listeners() {
            self.add_listener(listener, ctx);
        }
        if self.exit_guard.borrow().has_failed() {
            return;
        }
        debug!(acceptor = self.slot, pool = &*self.context.name, "acceptor ready");
        self.exit_guard.borrow().report_ready(ctx.address());
    }
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").field("id", &self.slot).finish_non_exhaustive()
    }
}

/// Stops an acceptor permanently.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Retire;

impl Handler<Retire> for Acceptor {
    type Result = ();

    fn handle(&mut self, _: Retire, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

/// Answered by an acceptor whose arbiter is not blocked.
#[cfg(all(unix, feature = "sd-notify"))]
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Ping;

#[cfg(all(unix, feature = "sd-notify"))]
impl Handler<Ping> for Acceptor {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Context<Self>) {}
}

/// Makes an acceptor accept from these listeners, except from those that it has already.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct AddListeners(pub(crate) Vec<Arc<ListenerState>>);

impl Handler<AddListeners> for Acceptor {
    type Result = ();

    fn handle(&mut self, message: AddListeners, ctx: &mut Context<Self>) {
        message.0.into_iter().for_each(|listener| self.add_listener(listener, ctx));
    }
}
