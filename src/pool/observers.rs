//! What a pool reports to its observers: its acceptors, and the spans of its parts.

use std::sync::Arc;

use actix::prelude::*;
use tracing::field::display;

use super::PoolState;
use crate::acceptor::Acceptor;
use crate::error::Exit;
use crate::listener::ListenerState;
use crate::telemetry::{OpenSpan, PoolEvent, SpanOf};

impl PoolState {
    /// Calls the observers.
    pub(super) fn emit<'a>(&self, event: impl FnOnce() -> PoolEvent<'a>) {
        self.registries().shared().observers.emit(event);
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

    /// Opens the span of an acceptor that has none, if an observer supplies one.
    fn open_acceptor_span(&self, slot: usize) {
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
