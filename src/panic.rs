//! The panic guard that every callback of the user's runs under.

use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};

/// Runs what the user wrote; a panic in it is an error with the panic's text.
///
/// What the closure touches must be dropped, or not be looked at again, after a panic: the callers end the connection.
#[inline]
pub(crate) fn catch_panic<R>(callback: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(callback)).map_err(panic_text)
}

/// What a panic said.
#[cold]
pub(crate) fn panic_text(panic: Box<dyn Any + Send>) -> String {
    let text = match panic.downcast_ref::<&'static str>() {
        Some(text) => (*text).to_owned(),
        None => panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "not a text".to_owned()),
    };
    // A payload whose own drop panics must not get out of here either.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(panic)));
    text
}
