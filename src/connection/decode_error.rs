//! Bytes that the codec cannot decode: the protocol answers, then the connection closes, or the codec goes on.

use super::turn::Budget;
use super::{Closed, Connection, Protocol, Trigger};
use crate::error::BoxError;
use crate::framing::FramingError;
use crate::panic::catch_panic;

/// The state of a connection about errors of its codec.
#[derive(Debug, Default)]
pub(super) struct DecodeErrors {
    /// The error that has not been handled.
    raised: Option<BoxError>,
    /// The error for which `decode_error` was called last: the close reason of a `Stop` that it or a wait of it returns.
    answered: Option<BoxError>,
    /// How many bytes the codec had consumed when it failed last.
    consumed: Option<u64>,
}

impl<P: Protocol> Connection<P> {
    /// Notes an error of the codec, which ends the delivery. It is handled once the buffer is back in its place.
    #[cold]
    pub(super) fn raise_decode_error(&mut self, error: BoxError) {
        self.cold().decode_errors.raised = Some(error);
    }

    /// Handles an error of the codec, if there is one.
    #[inline]
    pub(super) fn handle_decode_error(&mut self, budget: &mut Budget) {
        if self.cold.as_ref().is_some_and(|cold| cold.decode_errors.raised.is_some()) {
            self.handle_decode_error_slow(budget);
        }
    }

    #[cold]
    fn handle_decode_error_slow(&mut self, budget: &mut Budget) {
        // Otherwise a codec that fails at every byte would hold up other connections.
        budget.packets = budget.packets.saturating_sub(1);
        let unread = self.conn.unread().map_or(0, |read| read.len()) as u64;
        let consumed = Some(self.conn.guard.state().bytes_in().saturating_sub(unread));
        let errors = &mut self.cold().decode_errors;
        let Some(error) = errors.raised.take() else { return };
        if errors.consumed == consumed {
            return self.close(Closed::from(error));
        }
        errors.consumed = consumed;
        self.call_decode_error(error);
    }

    /// Closes the connection because a codec leaves more bytes than allowed, whatever the protocol answers: the codec would
    /// take in even more.
    #[cold]
    pub(super) fn exceed_read_buffer(&mut self, length: u64, limit: u64) {
        self.call_decode_error(FramingError::TooLong { length, limit }.into());
        self.close(Closed::TooLong { length, limit });
    }

    fn call_decode_error(&mut self, error: BoxError) {
        self.conn.guard.next_callback();
        let called = catch_panic(|| {
            let next = self.me.decode_error(&error, &mut self.conn);
            self.cold().decode_errors.answered = Some(error);
            #[cfg(feature = "testing")]
            self.record_call(Trigger::DecodeError, &next);
            self.apply(next, Trigger::DecodeError);
            if !self.is_waiting() {
                self.cold().decode_errors.answered = None;
            }
        });
        if let Err(text) = called {
            self.end(Closed::Panic(text));
        }
    }

    /// The reason for a `Stop` that `decode_error` has returned.
    pub(super) fn closed_by_decode_error(&mut self) -> Closed {
        self.cold().decode_errors.answered.take().map_or(Closed::Local(None), Closed::from)
    }
}
