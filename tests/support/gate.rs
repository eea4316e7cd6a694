//! Blocks a thread until the test, or the watchdog, opens it.

use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{Arc, Mutex};

use actix_acceptor::telemetry::{Observer, PoolEvent};

use super::TIME_LIMIT;

/// Blocks a thread until it is opened; once for each opening.
#[derive(Clone)]
pub struct Gate(Arc<Mutex<Receiver<()>>>);

impl Gate {
    pub fn new() -> (Gate, Sender<()>) {
        let (open, gate) = channel();
        (Gate(Arc::new(Mutex::new(gate))), open)
    }

    /// False if it can no longer be opened.
    pub fn pass(&self) -> bool {
        self.0.lock().unwrap().recv_timeout(TIME_LIMIT).is_ok()
    }
}

/// An observer that opens a gate at each `Blocked` event: the arbiter may be the test's own. Observers that were given
/// to the pool before it have seen the event by then, the log has not.
pub struct GateOpener(pub Sender<()>);

impl Observer for GateOpener {
    fn observe(&self, _: &str, event: &PoolEvent<'_>) {
        if let PoolEvent::Blocked { .. } = event {
            let _ = self.0.send(());
        }
    }
}
