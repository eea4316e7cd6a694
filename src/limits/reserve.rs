//! A descriptor kept in reserve: with it a peer can be told to go when there is no other left.

use std::sync::{Mutex, PoisonError};

/// Open while descriptors last; given up for a moment to accept one peer with it.
#[derive(Debug, Default)]
pub(crate) struct ReserveDescriptor(Mutex<Option<std::fs::File>>);

impl ReserveDescriptor {
    /// Takes a descriptor into reserve, where there is one.
    pub(crate) fn keep() -> Self {
        ReserveDescriptor(Mutex::new(spare()))
    }

    /// Gives the descriptor up for as long as `accept` runs. `None`: there was none in reserve.
    pub(crate) fn lend<R>(&self, accept: impl FnOnce() -> R) -> Option<R> {
        let mut reserve = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(reserve.take()?);
        let accepted = accept();
        *reserve = spare();
        Some(accepted)
    }

    /// After it could not be taken back: tries again.
    pub(crate) fn refill(&self) {
        let mut reserve = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if reserve.is_none() {
            *reserve = spare();
        }
    }
}

fn spare() -> Option<std::fs::File> {
    std::fs::File::open(if cfg!(windows) { "NUL" } else { "/dev/null" }).ok()
}
