//! The panic guard under which every user callback runs.

use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};

/// Runs user code; a panic becomes an error with the panic's message.
///
/// After a panic, the caller must drop the values that the closure used without using them again.
#[inline]
pub(crate) fn catch_panic<R>(callback: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(callback)).map_err(panic_text)
}

/// The message of a panic.
#[cold]
pub(crate) fn panic_text(panic: Box<dyn Any + Send>) -> String {
    let text = match panic.downcast_ref::<&'static str>() {
        Some(text) => (*text).to_owned(),
        None => panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "payload is not a string".to_owned()),
    };
    // Dropping the payload may panic as well.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(panic)));
    text
}
