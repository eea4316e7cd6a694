//! What blocks a thread until the test, or the watchdog, lets it go.

use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{Arc, Mutex};

use actix_acceptor::telemetry::{Observer, PoolEvent};

use super::TIME_LIMIT;

/// Blocks whoever would pass: once for each time that it is opened.
#[derive(Clone)]
pub struct Gate(Arc<Mutex<Receiver<()>>>);

impl Gate {
    pub fn new() -> (Gate, Sender<()>) {
        let (open, gate) = channel();
        (Gate(Arc::new(Mutex::new(gate))), open)
    }

    /// False if nobody is left to open it.
    pub fn pass(&self) -> bool {
        self.0.lock().unwrap().recv_timeout(TIME_LIMIT).is_ok()
    }
}

/// An observer that opens a gate for each block that is told: the arbiter may be the test's own. Observers that were given
/// to the pool before it have been told by then, the log has not.
pub struct GateOpener(pub Sender<()>);

impl Observer for GateOpener {
    fn observe(&self, _: &str, event: &PoolEvent<'_>) {
        if let PoolEvent::Blocked { .. } = event {
            let _ = self.0.send(());
        }
    }
}
