//! Every order in which threads can meet at the data structures that they share, tried out by a model checker.
//!
//! The files of the library are compiled here once more, with the model checker's primitives ([`sync`]) and with small
//! stand-ins for what they import from the rest of the library.

#![allow(clippy::unwrap_used)]

mod deferred;
mod names;
mod outbox;
mod permits;
mod registry;
mod sync;
mod topics;
mod wakes;

#[path = "../../src/panic.rs"]
#[allow(dead_code, reason = "the library asks for more than the models do")]
mod panic;

mod config {
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) enum SlowConsumer {
        Close,
        DropNewest,
    }

    pub(crate) struct Settings {
        pub(crate) outbox: usize,
        pub(crate) slow_consumer: SlowConsumer,
    }
}

mod framing {
    #[derive(Clone, Debug)]
    pub(crate) struct Framing;

    impl Framing {
        pub(crate) fn encodes_like(&self, _: &Framing) -> bool {
            true
        }
    }
}

mod telemetry {
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub(crate) struct ConnectionId(pub(crate) u64);

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum CloseReason {
        Killed,
        Replaced,
        SlowConsumer,
    }

    impl CloseReason {
        pub(crate) const ALL: [CloseReason; 3] =
            [CloseReason::Killed, CloseReason::Replaced, CloseReason::SlowConsumer];
    }
}

/// Tries all orders with up to this number of forced thread switches.
fn model(preemptions: usize, of: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(of);
}
