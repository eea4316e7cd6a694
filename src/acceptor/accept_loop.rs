//! The accept loop of one acceptor at one listener: readable, permit, accept, admission.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::accept_error::{is_out_of_resources, kind_of};
use super::{AcceptorContext, ExitGuard};
use crate::config::BacklogPolicy;
use crate::listener::{AcceptHandle, Accepted, ListenerMode, ListenerState};
use crate::panic::text_of;
use crate::telemetry::AcceptErrorKind;

/// How many peers are accepted in a row before other tasks of the thread run.
const MAX_BATCH: usize = 32;
/// How often an acceptor with more connections than others yields to them before it accepts anyway.
const MAX_YIELDS: usize = 4;
/// The first pause when a resource is exhausted; doubled up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Peers are served within a second after the resource is available again.
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// How long the kernel's queue is handled when a listener closes, since peers that keep arriving fill it again. Less than the
/// time that a suspension or a drain waits for acceptors.
const BACKLOG_TIME: Duration = Duration::from_millis(900);

/// One acceptor at one listener. Fields are dropped in their order: the handle is closed before the exit is reported.
pub(super) struct ListenerTask {
    handle: Option<AcceptHandle>,
    mode_changes: watch::Receiver<ListenerMode>,
    listener: Arc<ListenerState>,
    slot: usize,
    context: Arc<AcceptorContext>,
    _exit_guard: Rc<RefCell<ExitGuard>>,
}

/// How a listener task ended.
pub(super) enum TaskEnd {
    Removed(Arc<ListenerState>),
    Failed(io::Error),
}

impl ListenerTask {
    /// Opens the acceptor's handle to the listener, if the listener is accepting.
    ///
    /// Once the pool has started, a lack of resources is not an error: [`run`](Self::run) tries again.
    pub(super) fn new(
        slot: usize,
        context: Arc<AcceptorContext>,
        listener: Arc<ListenerState>,
        exit_guard: Rc<RefCell<ExitGuard>>,
    ) -> io::Result<Self> {
        let mode_changes = listener.mode_changes();
        // Copied out of the lock: opening a handle may take long, and the mode may change meanwhile.
        let mode = *mode_changes.borrow();
        let handle = match mode {
            ListenerMode::Accepting => match AcceptHandle::of(&listener, slot, context.acceptors()) {
                Err(error) if context.is_started() && is_out_of_resources(&error) => None,
                handle => Some(handle?),
            },
            _ => None,
        };
        Ok(ListenerTask { handle, mode_changes, listener, slot, context, _exit_guard: exit_guard })
    }

    /// Follows the listener's mode until the listener is removed or fails.
    pub(super) async fn run(mut self) -> TaskEnd {
        loop {
            let mode = *self.mode_changes.borrow_and_update();
            match mode {
                ListenerMode::Accepting => match self.accept_until_mode_changes().await {
                    Ok(()) => continue,
                    Err(end) => return end,
                },
                ListenerMode::Paused => {}
                ListenerMode::Closed(backlog) => {
                    if let Some(handle) = self.handle.take() {
                        let handle = AcceptHandle::of_all_queues(&self.listener, self.slot).unwrap_or(handle);
                        self.empty_backlog(handle, backlog).await;
                    }
                }
                ListenerMode::Removed(backlog) => {
                    // An acceptor that started while the listener was paused has no handle yet, and there may be a backlog.
                    let handle = AcceptHandle::of_all_queues(&self.listener, self.slot).or_else(|| self.handle.take());
                    if let Some(handle) = handle.or_else(|| self.new_handle().ok()) {
                        self.empty_backlog(handle, backlog).await;
                    }
                    return TaskEnd::Removed(self.listener);
                }
            }
            if self.mode_changes.changed().await.is_err() {
                return TaskEnd::Removed(self.listener);
            }
        }
    }

    async fn accept_until_mode_changes(&mut self) -> Result<(), TaskEnd> {
        if self.handle.as_ref().is_some_and(|handle| handle.is_outdated(self.slot, self.context.acceptors())) {
            self.handle = match self.new_handle() {
                Err(error) if is_out_of_resources(&error) => None,
                // The former handle is open until here, so that the listener is not closed meanwhile.
                handle => Some(handle.map_err(TaskEnd::Failed)?),
            };
        }
        if self.handle.is_none() {
            self.handle = self.open_handle().await.map_err(TaskEnd::Failed)?;
        }
        let ListenerTask { handle: Some(handle), mode_changes, listener, slot, context, .. } = self else {
            return Ok(());
        };
        let _accepting = listener.accepting();
        // A mode set before this mark is seen here. One set later waits until the mark is removed.
        if mode_changes.has_changed().unwrap_or(true) {
            return Ok(());
        }
        // `select!` may drop `accept_peers` at any await. A permit that it holds is given back then.
        tokio::select! {
            biased;
            changed = mode_changes.changed() => match changed {
                Ok(()) => Ok(()),
                Err(_) => Err(TaskEnd::Removed(listener.clone())),
            },
            error = accept_peers(handle, listener, *slot, context) => Err(TaskEnd::Failed(error)),
        }
    }

    fn new_handle(&self) -> io::Result<AcceptHandle> {
        AcceptHandle::of(&self.listener, self.slot, self.context.acceptors())
    }

    /// Opens the handle as soon as there are resources for it. Returns `None` if the mode changes first.
    async fn open_handle(&mut self) -> io::Result<Option<AcceptHandle>> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.new_handle() {
                Err(error) if is_out_of_resources(&error) => {
                    self.context.report_open_error(&error, self.slot, &self.listener, pause);
                }
                handle => return handle.map(Some),
            }
            // The caller handles the change.
            let mut mode_changes = self.mode_changes.clone();
            tokio::select! {
                biased;
                _ = mode_changes.changed() => return Ok(None),
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(MAX_PAUSE),
            }
        }
    }

    /// Accepts the peers in the kernel's queue until it is empty, then closes the handle. Peers that still arrive after
    /// [`BACKLOG_TIME`] are left to the kernel.
    async fn empty_backlog(&self, mut handle: AcceptHandle, backlog: BacklogPolicy) {
        if backlog == BacklogPolicy::Drop {
            return;
        }
        // Lets the arbiter poll the socket once more. A separate task is needed: this one may be polled again before that.
        let _ = actix_rt::spawn(tokio::task::yield_now()).await;
        let (name, until) = (self.listener.name(), Instant::now() + BACKLOG_TIME);
        let listener = &*name;
        let mut batch = 0;
        loop {
            match next_queued(&mut handle) {
                None => return,
                Some(Ok(accepted)) => {
                    self.context.receive_from_backlog(self.slot, &self.listener, accepted, backlog);
                }
                Some(Err(error)) if kind_of(&error) == AcceptErrorKind::Connection => {
                    self.context.emit_accept_error(&error, self.slot, &self.listener);
                }
                Some(Err(error)) => {
                    self.context.emit_accept_error(&error, self.slot, &self.listener);
                    return warn!(
                        error = text_of(&error),
                        listener, "accept failed while closing the listener; queued peers are dropped"
                    );
                }
            }
            batch += 1;
            if batch % MAX_BATCH == 0 {
                if Instant::now() >= until {
                    return warn!(
                        listener,
                        "peers keep arriving while the listener closes; those in the queue are dropped"
                    );
                }
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Accepts peers until the listener fails, and returns the error.
async fn accept_peers(
    handle: &mut AcceptHandle,
    listener: &Arc<ListenerState>,
    slot: usize,
    context: &Arc<AcceptorContext>,
) -> io::Error {
    let mut pause = FIRST_PAUSE;
    let mut batch = 0;
    loop {
        if let Err(error) = poll_fn(|cx| handle.accept.poll_ready(cx)).await {
            return error;
        }
        for _ in 0..MAX_YIELDS {
            // Peers in a queue of its own are not left to other acceptors.
            if handle.is_own() || !context.is_ahead(slot) {
                break;
            }
            // Yields the thread, not only the task: on a busy machine the other acceptors may not have run yet.
            std::thread::yield_now();
            tokio::task::yield_now().await;
        }
        if batch == MAX_BATCH {
            batch = 0;
            tokio::task::yield_now().await;
        }
        // The permit comes first: without one, peers wait in the kernel's queue, not here.
        let permit = match listener.limits.acquire_now() {
            Some(permit) => permit,
            None => {
                let _waiting = context.begin_waiting(listener);
                listener.limits.acquire(slot).await
            }
        };
        match handle.accept.try_accept() {
            Ok(accepted) => {
                (pause, batch) = (FIRST_PAUSE, batch + 1);
                context.receive(slot, listener, accepted, permit);
            }
            // Another acceptor was faster: the permit is dropped.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => batch = 0,
            Err(error) => match kind_of(&error) {
                AcceptErrorKind::Connection => {
                    context.emit_accept_error(&error, slot, listener);
                    debug!(error = text_of(&error), "a peer left before it was accepted");
                }
                AcceptErrorKind::Resource => {
                    drop(permit);
                    context.report_accept_error(&error, slot, listener, pause);
                    if !context.refuse_with_reserve(&error, slot, listener, || handle.accept.try_accept()) {
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(MAX_PAUSE);
                    }
                }
                AcceptErrorKind::Listener => {
                    context.emit_accept_error(&error, slot, listener);
                    return error;
                }
            },
        }
    }
}

fn next_queued(handle: &mut AcceptHandle) -> Option<io::Result<Accepted>> {
    match handle.accept.try_accept() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        accepted => Some(accepted),
    }
}
