//! The actix context of a connection: an address and two lists, and mostly not even those.

use std::pin::Pin;
use std::task::Context;

use actix::dev::{Envelope, ToEnvelope};
use actix::fut::ActorFuture;
use actix::prelude::*;
use actix::WeakAddr;
use tokio::sync::oneshot::Sender;

use super::Connection;
use super::Protocol;

/// The context of a [`Connection`]: what its handlers get, with all that actix's
/// [`AsyncContext`] offers (`spawn`, `wait`, `run_later`, `notify` and so on).
///
/// Futures spawned here run while the connection takes packets in; `wait` holds packets and messages alike. `stop` ends
/// the connection as [`Next::Stop`](crate::Next::Stop) does.
pub struct ConnectionContext<P: Protocol> {
    address: WeakAddr<Connection<P>>,
    stopped: bool,
    work: Option<Box<Work<P>>>,
}

type Job<P> = Pin<Box<dyn ActorFuture<Connection<P>, Output = ()>>>;

/// Futures that handlers have spawned.
struct Work<P: Protocol> {
    last: SpawnHandle,
    /// A job is out of its place while it is polled.
    jobs: Vec<(SpawnHandle, Option<Job<P>>)>,
    waits: Vec<Job<P>>,
    unpolled: bool,
}

impl<P: Protocol> ConnectionContext<P> {
    pub(super) fn new(address: WeakAddr<Connection<P>>) -> Self {
        ConnectionContext { address, stopped: false, work: None }
    }

    #[inline]
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Whether anything is spawned at all.
    #[inline]
    pub(super) fn busy(&self) -> bool {
        self.work.is_some()
    }

    /// Whether a handler waits for a future of the context.
    #[inline]
    pub(super) fn waits(&self) -> bool {
        self.work.as_ref().is_some_and(|work| !work.waits.is_empty())
    }

    /// A future was added that nobody has polled yet.
    pub(super) fn unpolled(&self) -> bool {
        self.work.as_ref().is_some_and(|work| work.unpolled)
    }

    /// Polls what is spawned, waits first and alone. Futures may spawn and cancel others meanwhile.
    pub(super) fn run(&mut self, act: &mut Connection<P>, cx: &mut Context<'_>) {
        self.work().unpolled = false;
        while let Some(mut wait) = self.work().waits.pop() {
            let at = self.work().waits.len();
            if wait.as_mut().poll(act, self, cx).is_pending() {
                // A wait that began in the meantime goes first, as in actix.
                let newer = self.work().waits.len() > at;
                self.work().waits.insert(at, wait);
                if !newer {
                    return;
                }
            }
        }
        let mut index = 0;
        while index < self.work().jobs.len() && !self.waits() && act.open() {
            let (handle, job) = &mut self.work().jobs[index];
            let (handle, Some(mut job)) = (*handle, job.take()) else { return };
            let done = job.as_mut().poll(act, self, cx).is_ready();
            let jobs = &mut self.work().jobs;
            // It may have cancelled itself, or moved by cancelling others.
            match jobs.iter().position(|(other, _)| *other == handle) {
                None => index = 0,
                Some(at) if done => {
                    jobs.remove(at);
                    index = at;
                }
                Some(at) => {
                    jobs[at].1 = Some(job);
                    index = at + 1;
                }
            }
        }
        if self.work().jobs.is_empty() && self.work().waits.is_empty() {
            self.work = None;
        }
    }

    fn work(&mut self) -> &mut Work<P> {
        self.work.get_or_insert_with(|| {
            Box::new(Work { last: SpawnHandle::default(), jobs: Vec::new(), waits: Vec::new(), unpolled: false })
        })
    }
}

impl<P: Protocol> ActorContext for ConnectionContext<P> {
    fn stop(&mut self) {
        self.stopped = true;
    }

    fn terminate(&mut self) {
        self.stopped = true;
    }

    fn state(&self) -> ActorState {
        if self.stopped {
            ActorState::Stopping
        } else {
            ActorState::Running
        }
    }
}

impl<P: Protocol> AsyncContext<Connection<P>> for ConnectionContext<P> {
    /// # Panics
    /// Never while the connection lives, and a context does not outlive it.
    fn address(&self) -> Addr<Connection<P>> {
        self.address.upgrade().expect("a connection's mailbox lives as long as its context")
    }

    fn spawn<F>(&mut self, future: F) -> SpawnHandle
    where
        F: ActorFuture<Connection<P>, Output = ()> + 'static,
    {
        let work = self.work();
        work.last = work.last.next();
        work.jobs.push((work.last, Some(Box::pin(future))));
        work.unpolled = true;
        work.last
    }

    fn wait<F>(&mut self, future: F)
    where
        F: ActorFuture<Connection<P>, Output = ()> + 'static,
    {
        let work = self.work();
        work.waits.push(Box::pin(future));
        work.unpolled = true;
    }

    fn waiting(&self) -> bool {
        self.stopped || self.waits()
    }

    fn cancel_future(&mut self, handle: SpawnHandle) -> bool {
        let jobs = &mut self.work().jobs;
        let before = jobs.len();
        jobs.retain(|(other, _)| *other != handle);
        jobs.len() < before
    }
}

impl<P, M> ToEnvelope<Connection<P>, M> for ConnectionContext<P>
where
    P: Protocol,
    Connection<P>: Actor<Context = ConnectionContext<P>> + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn pack(message: M, answer: Option<Sender<M::Result>>) -> Envelope<Connection<P>> {
        Envelope::new(message, answer)
    }
}
