//! The accept loop: readable, room, accept, admit, hand over.
//!
//! ```text
//! AcceptorPool ── starts, replaces ──▶ Acceptor ── Incoming ──▶ ConnectionSpawner (a door)
//!       ▲    └─── opens, holds, shuts ──▶ ListenerState, one per listener
//!       └──────────── Exited ─────────────┘   however it died: a value's Drop tells
//! ```

mod accept_error;
mod admission;
mod exit_guard;
mod refuse;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::watch;
use tracing::{debug, warn};

use crate::listener::Accepted;

pub(crate) use admission::{AcceptorContext, ConnectionSpawner};
pub(crate) use exit_guard::{ExitGuard, Exited, Ready};

use crate::listener::{AcceptHandle, BacklogPolicy, ListenerMode, ListenerState};
use accept_error::AcceptErrorKind;

/// How many peers are taken in a row before others on the thread have their turn.
const MAX_BATCH: usize = 32;
/// How often an acceptor that is ahead of the others lets them go first, before it takes a peer all the same.
const MAX_YIELDS: usize = 4;
/// The first pause when the machine is out of something; doubled up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// So that peers are served within a second of there being room again.
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// An acceptor: takes peers from the pool's listening sockets and hands them to where they are served, on its own arbiter.
///
/// Pools start and replace them. The address of one, from [`PoolHandle::acceptors`](crate::PoolHandle::acceptors), takes
/// messages for which you write a handler.
pub struct Acceptor {
    slot: usize,
    acceptors: Arc<AcceptorContext>,
    /// The listeners it attends to.
    states: Vec<Arc<ListenerState>>,
    exit_guard: Rc<RefCell<ExitGuard>>,
}

impl Acceptor {
    pub(crate) fn new(slot: usize, acceptors: Arc<AcceptorContext>, exit_guard: ExitGuard) -> Self {
        Acceptor { slot, acceptors, states: Vec::new(), exit_guard: Rc::new(RefCell::new(exit_guard)) }
    }

    /// Which place of the pool it fills, counted from 0.
    pub fn id(&self) -> usize {
        self.slot
    }

    /// Takes the peers of one more listener.
    fn add_listener(&mut self, state: Arc<ListenerState>, ctx: &mut Context<Self>) {
        if self.states.iter().any(|known| Arc::ptr_eq(known, &state)) {
            return;
        }
        let mode_changes = state.mode_changes();
        // Looked at and let go of: to take a share may take long, and nobody may wait for it to give new orders.
        let mode = *mode_changes.borrow();
        let handle = match mode {
            ListenerMode::Accepting => match AcceptHandle::of(&state) {
                Ok(handle) => Some(handle),
                Err(error) => return self.fail(error, ctx),
            },
            _ => None,
        };
        self.states.push(state.clone());
        let exit_guard = self.exit_guard.clone();
        let task = ListenerTask {
            handle,
            mode_changes,
            state,
            slot: self.slot,
            acceptors: self.acceptors.clone(),
            _exit_guard: exit_guard,
        };
        ctx.spawn(run(task).into_actor(self).map(|end, acceptor, ctx| match end {
            TaskEnd::Failed(error) => acceptor.fail(error, ctx),
            TaskEnd::Over(state) => {
                acceptor.states.retain(|other| !Arc::ptr_eq(other, &state));
                // Of the listeners of a pool that goes on another one may be on its way here.
                if acceptor.states.is_empty() && acceptor.acceptors.is_leaving() {
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
        for state in self.acceptors.states() {
            self.add_listener(state, ctx);
        }
        if self.exit_guard.borrow().has_failed() {
            return;
        }
        debug!(acceptor = self.slot, pool = &*self.acceptors.name, "acceptor ready");
        self.exit_guard.borrow().ready(ctx.address());
    }
}

/// Tells an acceptor to go, for good.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Retire;

impl Handler<Retire> for Acceptor {
    type Result = ();

    fn handle(&mut self, _: Retire, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

/// Tells an acceptor to attend to these listeners, those among them that it does not know yet.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct AddListeners(pub(crate) Vec<Arc<ListenerState>>);

impl Handler<AddListeners> for Acceptor {
    type Result = ();

    fn handle(&mut self, message: AddListeners, ctx: &mut Context<Self>) {
        message.0.into_iter().for_each(|state| self.add_listener(state, ctx));
    }
}

/// What an acceptor works with at one listener. The fields are dropped in their order: the pool hears that it is gone when
/// its share of the port is.
struct ListenerTask {
    handle: Option<AcceptHandle>,
    mode_changes: watch::Receiver<ListenerMode>,
    state: Arc<ListenerState>,
    slot: usize,
    acceptors: Arc<AcceptorContext>,
    _exit_guard: Rc<RefCell<ExitGuard>>,
}

/// How a shift ended.
enum TaskEnd {
    /// The listener is gone.
    Over(Arc<ListenerState>),
    Failed(io::Error),
}

/// Attends to a listener as it is told to, until that is gone.
async fn run(mut task: ListenerTask) -> TaskEnd {
    let ListenerTask { handle, mode_changes, state, slot, acceptors, .. } = &mut task;
    loop {
        let mode = *mode_changes.borrow_and_update();
        match mode {
            ListenerMode::Accepting => {
                let handle = match handle {
                    Some(handle) => handle,
                    None => match AcceptHandle::of(state) {
                        Ok(new) => handle.insert(new),
                        Err(error) => return TaskEnd::Failed(error),
                    },
                };
                let accepting = state.accepting();
                // An order from before the mark is seen here, one from after it waits for the mark to go.
                if mode_changes.has_changed().unwrap_or(true) {
                    continue;
                }
                // Dropped wherever it waits: a permit in hand goes back by itself.
                tokio::select! {
                    biased;
                    told = mode_changes.changed() => if told.is_err() { return TaskEnd::Over(state.clone()) },
                    error = accept_peers(handle, *slot, acceptors) => return TaskEnd::Failed(error),
                }
                drop(accepting);
                continue;
            }
            ListenerMode::Paused => {}
            ListenerMode::Closed(backlog_on_close) => {
                if let Some(handle) = handle.take() {
                    empty_queue(handle, backlog_on_close, *slot, acceptors).await;
                }
            }
            ListenerMode::Removed(backlog_on_close) => {
                // One that began while the port was held has no share yet, and there may be a queue.
                if let Some(handle) = handle.take().or_else(|| AcceptHandle::of(state).ok()) {
                    empty_queue(handle, backlog_on_close, *slot, acceptors).await;
                }
                return TaskEnd::Over(state.clone());
            }
        }
        if mode_changes.changed().await.is_err() {
            return TaskEnd::Over(state.clone());
        }
    }
}

/// Takes peers until the listener fails, and returns how.
async fn accept_peers(handle: &mut AcceptHandle, slot: usize, acceptors: &Arc<AcceptorContext>) -> io::Error {
    let state = handle.state().clone();
    let mut pause = FIRST_PAUSE;
    let mut batch = 0;
    loop {
        if let Err(error) = poll_fn(|cx| handle.accept.poll_ready(cx)).await {
            return error;
        }
        for _ in 0..MAX_YIELDS {
            if !acceptors.is_ahead(slot) {
                break;
            }
            // The thread gives way, not the task alone: on a full machine the others may not have had the processor.
            std::thread::yield_now();
            tokio::task::yield_now().await;
        }
        if batch == MAX_BATCH {
            batch = 0;
            tokio::task::yield_now().await;
        }
        // Room comes first: while there is none, peers queue in the kernel, not here.
        let permit = state.port.acquire().await;
        match handle.accept.try_accept() {
            Ok(accepted) => {
                (pause, batch) = (FIRST_PAUSE, batch + 1);
                acceptors.receive(slot, &state, accepted, permit);
            }
            // Someone else was faster: the permit goes back.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => batch = 0,
            Err(error) => match AcceptErrorKind::of(&error) {
                AcceptErrorKind::Connection => debug!(%error, "a peer left before it was accepted"),
                AcceptErrorKind::Resource => {
                    drop(permit);
                    acceptors.log_error(&error, slot, &state, pause);
                    if !acceptors.use_reserve(&error, slot, &state, || handle.accept.try_accept()) {
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(MAX_PAUSE);
                    }
                }
                AcceptErrorKind::Listener => {
                    acceptors.tell(&error, slot, &state);
                    return error;
                }
            },
        }
    }
}

/// The last call: takes what the kernel has queued, until it says that there is no more. Then the share is closed.
async fn empty_queue(
    mut handle: AcceptHandle,
    backlog_on_close: BacklogPolicy,
    slot: usize,
    acceptors: &Arc<AcceptorContext>,
) {
    if backlog_on_close == BacklogPolicy::Drop {
        return;
    }
    let state = handle.state().clone();
    // So that the arbiter has looked at the socket once more. In a task of its own: this one may be polled again before.
    let _ = actix_rt::spawn(tokio::task::yield_now()).await;
    let mut batch = 0;
    loop {
        match next_queued(&mut handle) {
            None => return,
            Some(Ok(accepted)) => acceptors.receive_last(slot, &state, accepted, backlog_on_close),
            Some(Err(error)) if AcceptErrorKind::of(&error) == AcceptErrorKind::Connection => {}
            Some(Err(error)) => return warn!(%error, listener = &**state.port.name(), "the queue could not be emptied"),
        }
        batch += 1;
        if batch % MAX_BATCH == 0 {
            tokio::task::yield_now().await;
        }
    }
}

fn next_queued(handle: &mut AcceptHandle) -> Option<io::Result<Accepted>> {
    match handle.accept.try_accept() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        accepted => Some(accepted),
    }
}
