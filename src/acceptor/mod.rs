//! The accept loop: readable, room, accept, hand over.
//!
//! ```text
//! AcceptorPool ── starts, replaces ──▶ Acceptor ── Incoming ──▶ Seam (a door)
//!       ▲                                 │
//!       └──────────── Exited ─────────────┘   however it died: a value's Drop tells
//! ```

mod exit;
mod verdict;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tracing::{debug, warn};

use crate::socket::Incoming;
use crate::table::Table;
use crate::transport::{Accept, Transport};

pub(crate) use exit::{Exited, Notice, Ready};
use verdict::Verdict;

/// Where an acceptor's work ends: takes an accepted socket over. The doors implement it.
pub(crate) trait Seam: Send + Sync + 'static {
    fn open(&self, incoming: Incoming);
}

/// How many peers are taken in a row before others on the thread have their turn.
const ROW: usize = 32;
/// How often an acceptor that is ahead of the others lets them go first, before it takes a peer all the same.
const GIVE_WAY: usize = 4;
/// The first pause when the machine is out of something; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What all acceptors of a pool work with.
pub(crate) struct Crew {
    pub(crate) transports: Vec<Arc<dyn Transport>>,
    pub(crate) seam: Arc<dyn Seam>,
    pub(crate) listener: Arc<str>,
    pub(crate) tables: Vec<Arc<Table>>,
    pub(crate) complaints: Complaints,
}

/// An acceptor: takes peers from the pool's listening sockets and hands them to where they are served, on its own arbiter.
///
/// Pools start and replace them. The address of one, from [`PoolHandle::acceptors`](crate::PoolHandle::acceptors), takes
/// messages for which you write a handler.
pub struct Acceptor {
    place: usize,
    crew: Arc<Crew>,
    notice: Rc<RefCell<Notice>>,
}

impl Acceptor {
    pub(crate) fn new(place: usize, crew: Arc<Crew>, notice: Notice) -> Self {
        Acceptor { place, crew, notice: Rc::new(RefCell::new(notice)) }
    }

    /// Which place of the pool it fills, counted from 0.
    pub fn place(&self) -> usize {
        self.place
    }
}

impl Actor for Acceptor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        for transport in &self.crew.transports {
            let share = match transport.share() {
                Ok(share) => share,
                Err(error) => {
                    self.notice.borrow_mut().fail(error);
                    return ctx.stop();
                }
            };
            let shift = Shift { share, place: self.place, crew: self.crew.clone(), _notice: self.notice.clone() };
            ctx.spawn(take_peers(shift).into_actor(self).map(|error, acceptor, ctx| {
                acceptor.notice.borrow_mut().fail(error);
                ctx.stop();
            }));
        }
        debug!(acceptor = self.place, listener = &*self.crew.listener, "acceptor ready");
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

/// What an acceptor works with. The fields are dropped in their order: the pool hears that it is gone when its share of
/// the port is.
struct Shift {
    share: Box<dyn Accept>,
    place: usize,
    crew: Arc<Crew>,
    _notice: Rc<RefCell<Notice>>,
}

/// Takes peers until the listener fails, and returns how.
async fn take_peers(mut shift: Shift) -> io::Error {
    let Shift { share, place, crew, .. } = &mut shift;
    let place = *place;
    let mut pause = FIRST_PAUSE;
    let mut row = 0;
    loop {
        if let Err(error) = poll_fn(|cx| share.poll_ready(cx)).await {
            return error;
        }
        // Room comes first: while there is none, peers queue in the kernel, not here.
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
        match share.try_accept() {
            Ok(accepted) => {
                (pause, row) = (FIRST_PAUSE, row + 1);
                crew.seam.open(Incoming::new(accepted, crew.tables[place].clone(), crew.listener.clone()));
            }
            // Someone else was faster.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => row = 0,
            Err(error) => match Verdict::of(&error) {
                Verdict::Ignore => debug!(%error, "a peer left before it was accepted"),
                Verdict::Pause => {
                    crew.complaints.complain(|left_out| {
                        let listener = &*crew.listener;
                        warn!(%error, listener, acceptor = place, left_out, ?pause, "cannot accept, trying again");
                    });
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Verdict::Fail => return error,
            },
        }
    }
}

impl Crew {
    /// Whether this place has clearly more connections than the least loaded one: then the others may go first.
    fn is_ahead(&self, place: usize) -> bool {
        let least = self.tables.iter().map(|table| table.live()).min().unwrap_or(0);
        self.tables[place].live() > least + 8 + least / 8
    }
}

/// One log line a second at most, over all acceptors of a pool.
pub(crate) struct Complaints {
    since: Instant,
    next: AtomicU64,
    left_out: AtomicU64,
}

impl Complaints {
    pub(crate) fn new() -> Self {
        Complaints { since: Instant::now(), next: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    fn complain(&self, line: impl FnOnce(u64)) {
        let now = self.since.elapsed().as_millis() as u64;
        let next = self.next.load(Relaxed);
        if now >= next && self.next.compare_exchange(next, now + 1000, Relaxed, Relaxed).is_ok() {
            line(self.left_out.swap(0, Relaxed));
        } else {
            self.left_out.fetch_add(1, Relaxed);
        }
    }
}
