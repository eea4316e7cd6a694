//! The accept loop: readable, room, accept, admit, hand over.
//!
//! ```text
//! AcceptorPool ── starts, replaces ──▶ Acceptor ── Incoming ──▶ Seam (a door)
//!       ▲    └─── opens, holds, shuts ──▶ Inlet, one per listener
//!       └──────────── Exited ─────────────┘   however it died: a value's Drop tells
//! ```

mod admission;
mod exit;
mod inlet;
mod refuse;
mod reserve;
mod verdict;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::watch;
use tracing::{debug, warn};

use crate::transport::Accepted;

pub(crate) use admission::{Crew, Seam};
pub(crate) use exit::{Exited, Notice, Ready};
pub use inlet::BacklogPolicy;
pub(crate) use inlet::{Inlet, Mode};
pub(crate) use reserve::Reserve;

use inlet::Share;
use verdict::Verdict;

/// How many peers are taken in a row before others on the thread have their turn.
const ROW: usize = 32;
/// How often an acceptor that is ahead of the others lets them go first, before it takes a peer all the same.
const GIVE_WAY: usize = 4;
/// The first pause when the machine is out of something; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// So that peers are served within a second of there being room again.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// An acceptor: takes peers from the pool's listening sockets and hands them to where they are served, on its own arbiter.
///
/// Pools start and replace them. The address of one, from [`PoolHandle::acceptors`](crate::PoolHandle::acceptors), takes
/// messages for which you write a handler.
pub struct Acceptor {
    place: usize,
    crew: Arc<Crew>,
    /// The listeners it attends to.
    inlets: Vec<Arc<Inlet>>,
    notice: Rc<RefCell<Notice>>,
}

impl Acceptor {
    pub(crate) fn new(place: usize, crew: Arc<Crew>, notice: Notice) -> Self {
        Acceptor { place, crew, inlets: Vec::new(), notice: Rc::new(RefCell::new(notice)) }
    }

    /// Which place of the pool it fills, counted from 0.
    pub fn place(&self) -> usize {
        self.place
    }

    /// Takes the peers of one more listener.
    fn attend(&mut self, inlet: Arc<Inlet>, ctx: &mut Context<Self>) {
        if self.inlets.iter().any(|known| Arc::ptr_eq(known, &inlet)) {
            return;
        }
        let orders = inlet.orders();
        // Looked at and let go of: to take a share may take long, and nobody may wait for it to give new orders.
        let mode = *orders.borrow();
        let share = match mode {
            Mode::Open => match Share::of(&inlet) {
                Ok(share) => Some(share),
                Err(error) => return self.fail(error, ctx),
            },
            _ => None,
        };
        self.inlets.push(inlet.clone());
        let notice = self.notice.clone();
        let shift = Shift { share, orders, inlet, place: self.place, crew: self.crew.clone(), _notice: notice };
        ctx.spawn(attend(shift).into_actor(self).map(|end, acceptor, ctx| match end {
            End::Failed(error) => acceptor.fail(error, ctx),
            End::Over(inlet) => {
                acceptor.inlets.retain(|other| !Arc::ptr_eq(other, &inlet));
                // Of the listeners of a pool that goes on another one may be on its way here.
                if acceptor.inlets.is_empty() && acceptor.crew.is_leaving() {
                    ctx.stop();
                }
            }
        }));
    }

    fn fail(&mut self, error: io::Error, ctx: &mut Context<Self>) {
        self.notice.borrow_mut().fail(error);
        ctx.stop();
    }
}

impl Actor for Acceptor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        for inlet in self.crew.inlets() {
            self.attend(inlet, ctx);
        }
        if self.notice.borrow().has_failed() {
            return;
        }
        debug!(acceptor = self.place, pool = &*self.crew.name, "acceptor ready");
        self.notice.borrow().ready(ctx.address());
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
pub(crate) struct Attend(pub(crate) Vec<Arc<Inlet>>);

impl Handler<Attend> for Acceptor {
    type Result = ();

    fn handle(&mut self, attend: Attend, ctx: &mut Context<Self>) {
        attend.0.into_iter().for_each(|inlet| self.attend(inlet, ctx));
    }
}

/// What an acceptor works with at one listener. The fields are dropped in their order: the pool hears that it is gone when
/// its share of the port is.
struct Shift {
    share: Option<Share>,
    orders: watch::Receiver<Mode>,
    inlet: Arc<Inlet>,
    place: usize,
    crew: Arc<Crew>,
    _notice: Rc<RefCell<Notice>>,
}

/// How a shift ended.
enum End {
    /// The listener is gone.
    Over(Arc<Inlet>),
    Failed(io::Error),
}

/// Attends to a listener as it is told to, until that is gone.
async fn attend(mut shift: Shift) -> End {
    let Shift { share, orders, inlet, place, crew, .. } = &mut shift;
    loop {
        let mode = *orders.borrow_and_update();
        match mode {
            Mode::Open => {
                let share = match share {
                    Some(share) => share,
                    None => match Share::of(inlet) {
                        Ok(new) => share.insert(new),
                        Err(error) => return End::Failed(error),
                    },
                };
                let taking = inlet.taking();
                // An order from before the mark is seen here, one from after it waits for the mark to go.
                if orders.has_changed().unwrap_or(true) {
                    continue;
                }
                // Dropped wherever it waits: a permit in hand goes back by itself.
                tokio::select! {
                    biased;
                    told = orders.changed() => if told.is_err() { return End::Over(inlet.clone()) },
                    error = take_peers(share, *place, crew) => return End::Failed(error),
                }
                drop(taking);
                continue;
            }
            Mode::Held => {}
            Mode::Shut(backlog_on_close) => {
                if let Some(share) = share.take() {
                    empty_queue(share, backlog_on_close, *place, crew).await;
                }
            }
            Mode::Gone(backlog_on_close) => {
                // One that began while the port was held has no share yet, and there may be a queue.
                if let Some(share) = share.take().or_else(|| Share::of(inlet).ok()) {
                    empty_queue(share, backlog_on_close, *place, crew).await;
                }
                return End::Over(inlet.clone());
            }
        }
        if orders.changed().await.is_err() {
            return End::Over(inlet.clone());
        }
    }
}

/// Takes peers until the listener fails, and returns how.
async fn take_peers(share: &mut Share, place: usize, crew: &Arc<Crew>) -> io::Error {
    let inlet = share.inlet().clone();
    let mut pause = FIRST_PAUSE;
    let mut row = 0;
    loop {
        if let Err(error) = poll_fn(|cx| share.accept.poll_ready(cx)).await {
            return error;
        }
        for _ in 0..GIVE_WAY {
            if !crew.is_ahead(place) {
                break;
            }
            // The thread gives way, not the task alone: on a full machine the others may not have had the processor.
            std::thread::yield_now();
            tokio::task::yield_now().await;
        }
        if row == ROW {
            row = 0;
            tokio::task::yield_now().await;
        }
        // Room comes first: while there is none, peers queue in the kernel, not here.
        let permit = inlet.port.room().await;
        match share.accept.try_accept() {
            Ok(accepted) => {
                (pause, row) = (FIRST_PAUSE, row + 1);
                crew.receive(place, &inlet, accepted, permit);
            }
            // Someone else was faster: the permit goes back.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => row = 0,
            Err(error) => match Verdict::of(&error) {
                Verdict::Ignore => debug!(%error, "a peer left before it was accepted"),
                Verdict::Pause => {
                    drop(permit);
                    crew.complain(&error, place, &inlet, pause);
                    if !crew.use_reserve(&error, place, &inlet, || share.accept.try_accept()) {
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                }
                Verdict::Fail => {
                    crew.tell(&error, place, &inlet);
                    return error;
                }
            },
        }
    }
}

/// The last call: takes what the kernel has queued, until it says that there is no more. Then the share is closed.
async fn empty_queue(mut share: Share, backlog_on_close: BacklogPolicy, place: usize, crew: &Arc<Crew>) {
    if backlog_on_close == BacklogPolicy::Drop {
        return;
    }
    let inlet = share.inlet().clone();
    // So that the arbiter has looked at the socket once more. In a task of its own: this one may be polled again before.
    let _ = actix_rt::spawn(tokio::task::yield_now()).await;
    let mut row = 0;
    loop {
        match next_queued(&mut share) {
            None => return,
            Some(Ok(accepted)) => crew.receive_last(place, &inlet, accepted, backlog_on_close),
            Some(Err(error)) if Verdict::of(&error) == Verdict::Ignore => {}
            Some(Err(error)) => return warn!(%error, listener = &**inlet.port.name(), "the queue could not be emptied"),
        }
        row += 1;
        if row % ROW == 0 {
            tokio::task::yield_now().await;
        }
    }
}

fn next_queued(share: &mut Share) -> Option<io::Result<Accepted>> {
    match share.accept.try_accept() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        accepted => Some(accepted),
    }
}
