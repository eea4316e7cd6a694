//! A descriptor kept in reserve: with it a peer can be refused when the process is out of descriptors.

use parking_lot::Mutex;

/// The reserve descriptor. It is closed for a moment so that one peer can be accepted with it, and refused.
#[derive(Debug, Default)]
pub(crate) struct ReserveDescriptor(Mutex<Option<std::fs::File>>);

impl ReserveDescriptor {
    /// Opens the reserve descriptor, if one is left.
    pub(crate) fn open() -> Self {
        ReserveDescriptor(Mutex::new(open_null()))
    }

    /// Closes the descriptor while `accept` runs. `None` if there was none in reserve.
    pub(crate) fn release_during<R>(&self, accept: impl FnOnce() -> R) -> Option<R> {
        let reserve = self.0.lock().take()?;
        drop(reserve);
        // Not under the lock: accepting runs user code.
        let accepted = accept();
        self.refill();
        Some(accepted)
    }

    /// Opens the descriptor again if it could not be opened before.
    pub(crate) fn refill(&self) {
        let mut reserve = self.0.lock();
        if reserve.is_none() {
            *reserve = open_null();
        }
    }
}

fn open_null() -> Option<std::fs::File> {
    std::fs::File::open(if cfg!(windows) { "NUL" } else { "/dev/null" }).ok()
}
