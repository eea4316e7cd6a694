//! The observers and alarms of a running pool, the events of the pool and its acceptors, and the spans of its parts.

use std::sync::atomic::Ordering::*;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tracing::field::display;

use super::samples::StartSamples;
use super::state::SlotInfo;
use super::{DrainReport, Pool, PoolState, Status};
use crate::acceptor::Acceptor;
use crate::error::{Exit, InvalidSetting, PoolError};
use crate::listener::ListenerState;
use crate::telemetry::{Alarm, AlarmKey, Observer, ObserverKey, OpenSpan, PoolEvent, SpanOf};

impl<A> Pool<A> {
    /// Adds an observer to the running pool. Returns a key for [`remove_observer`](Pool::remove_observer).
    ///
    /// It receives the events that occur from now on, each after the observers that were added before. An event that is being
    /// reported during the call may or may not reach it. Past events are not repeated: the first event of a live connection may
    /// be its end. An observer that counts, such as `Metrics`, whose gauges start at 0, is best added with
    /// [`Builder::observer`](crate::Builder::observer); or it starts with the numbers of [`info`](Pool::info) and
    /// [`list`](Pool::list).
    ///
    /// It supplies [spans](Observer::span) for the pool, its listeners and its acceptors if they have none, and for connections
    /// that start from now on. In a pool that has ended, it has no effect.
    ///
    /// ```
    /// # actix_rt::System::new().block_on(async {
    /// # use actix_acceptor::{telemetry::{Observer, PoolEvent}, AcceptorPool, Socket};
    /// struct Peers;
    ///
    /// impl Observer for Peers {
    ///     fn observe(&self, _: &str, event: &PoolEvent<'_>) {
    ///         if let PoolEvent::ConnectionStarted { peer, .. } = event {
    ///             println!("{peer}");
    ///         }
    ///     }
    /// }
    ///
    /// # let pool = AcceptorPool::with_fn(|_: Socket| async {}).bind("127.0.0.1:0").await?;
    /// let key = pool.add_observer(Peers);
    /// assert!(pool.remove_observer(key));
    /// assert!(!pool.remove_observer(key));
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn add_observer(&self, observer: impl Observer) -> ObserverKey {
        let key = self.shared.registries().shared().observers.add(Box::new(observer));
        self.shared.open_spans();
        if let Some(supervisor) = self.shared.supervisor() {
            supervisor.do_send(StartSamples);
        }
        key
    }

    /// Removes an observer that was added with [`add_observer`](Pool::add_observer). Returns false if the pool has none with this
    /// key.
    ///
    /// Events that other threads are reporting may still reach it; it is dropped after the last of them. Spans that it has
    /// supplied stay open until their subject ends.
    pub fn remove_observer(&self, key: ObserverKey) -> bool {
        self.shared.registries().shared().observers.remove(key)
    }

    /// Adds an alarm to the running pool. It is checked at once, and raised if its high mark is reached. Returns a key for
    /// [`remove_alarm`](Pool::remove_alarm).
    ///
    /// # Errors
    /// [`InvalidSetting`] if the low mark of the alarm is not below the high one.
    ///
    /// ```
    /// # actix_rt::System::new().block_on(async {
    /// # use actix_acceptor::{telemetry::Alarm, AcceptorPool, Socket};
    /// # let pool = AcceptorPool::with_fn(|_: Socket| async {}).bind("127.0.0.1:0").await?;
    /// let key = pool.add_alarm(Alarm::new("busy", 1_000).low(800))?;
    /// assert!(pool.remove_alarm(key));
    /// assert!(pool.add_alarm(Alarm::new("invalid", 10).low(10)).is_err());
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn add_alarm(&self, alarm: Alarm) -> Result<AlarmKey, InvalidSetting> {
        if let Some(invalid) = alarm.invalid() {
            return Err(invalid);
        }
        let (shared, limits) = (self.shared.registries().shared(), self.shared.limits());
        let key = shared.alarms.add(alarm);
        shared.check_alarms(limits.alive(), limits);
        Ok(key)
    }

    /// Removes an alarm that was added with [`add_alarm`](Pool::add_alarm). Returns false if the pool has none with this key. If
    /// it is raised, it is not reported as cleared.
    pub fn remove_alarm(&self, key: AlarmKey) -> bool {
        self.shared.registries().shared().alarms.remove(key)
    }
}

impl PoolState {
    /// Calls the observers.
    pub(super) fn emit<'a>(&self, event: impl FnOnce() -> PoolEvent<'a>) {
        self.registries().shared().observers.emit(event);
    }

    /// Reports that the pool has started.
    pub(super) fn emit_started(&self) {
        self.is_started.store(true, Release);
        self.emit(|| PoolEvent::PoolStarted);
    }

    /// Reports a drain, unless the start of the pool has failed.
    pub(super) fn emit_draining(&self, delay: Duration, grace: Option<Duration>) {
        if self.is_started.load(Acquire) {
            self.emit(|| PoolEvent::PoolDraining { delay, grace });
        }
    }

    /// Reports the end of the pool, unless its start has failed, and closes its span.
    pub(super) fn emit_ended(&self, outcome: &Result<(), PoolError>) {
        if self.is_started.load(Acquire) {
            let DrainReport { forced, unserved, took, .. } = self.report();
            self.emit(|| PoolEvent::PoolEnded { outcome, forced, unserved, took });
        }
        self.registries().shared().observers.close_pool_span();
    }

    pub(super) fn emit_opened(&self, listener: &ListenerState) {
        listener.emit_opened(self.registries().shared());
    }

    /// Records that the acceptor of a slot accepts.
    pub(super) fn acceptor_started(&self, slot: usize, address: Addr<Acceptor>) {
        self.slots.lock()[slot].address = Some(address);
        self.open_acceptor_span(slot);
        self.emit(|| PoolEvent::AcceptorStarted { acceptor: slot });
    }

    /// Removes the acceptor of a slot, if there is one, and reports how it has ended.
    pub(super) fn acceptor_stopped(&self, slot: usize, exit: &Exit) {
        let mut slots = self.slots.lock();
        let (address, span) = (slots[slot].address.take(), slots[slot].span.take());
        drop(slots);
        if address.is_some() {
            self.emit(|| PoolEvent::AcceptorStopped { acceptor: slot, exit });
        }
        if let Some(span) = span {
            span.record("exit", display(exit));
        }
    }

    /// Opens the spans of open listeners that have none, if an observer supplies them.
    pub(super) fn open_listener_spans(&self) {
        let listeners = self.listeners.lock().clone();
        listeners.iter().for_each(|listener| listener.open_span());
    }

    /// Opens the spans of parts that have none, after an observer was added.
    fn open_spans(&self) {
        if self.status() == Status::Ended {
            return;
        }
        self.registries().shared().observers.open_pool_span();
        self.open_listener_spans();
        let slots = self.slots.lock().len();
        (0..slots).for_each(|slot| self.open_acceptor_span(slot));
        if self.status() == Status::Ended {
            // Ended meanwhile: nothing else would close the span.
            self.registries().shared().observers.close_pool_span();
        }
    }

    /// Opens the span of an acceptor that has none, if an observer supplies one.
    fn open_acceptor_span(&self, slot: usize) {
        let is_needed = |info: &SlotInfo| info.address.is_some() && info.span.is_none();
        if !is_needed(&self.slots.lock()[slot]) {
            return;
        }
        let observers = &self.registries().shared().observers;
        let parent = observers.pool_span();
        let opened = observers.open_span(&SpanOf::Acceptor { acceptor: slot }, parent.as_deref());
        let unused = self.keep_acceptor_span(slot, opened);
        // Outside the lock: the subscriber is user code.
        drop(unused);
    }

    /// Returns the span if the acceptor has ended meanwhile or has another one.
    fn keep_acceptor_span(&self, slot: usize, span: Option<Arc<OpenSpan>>) -> Option<Arc<OpenSpan>> {
        let info = &mut self.slots.lock()[slot];
        if info.address.is_none() || info.span.is_some() {
            return span;
        }
        info.span = span;
        None
    }
}
