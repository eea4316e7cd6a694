//! The panic guard under which every user callback runs, and every value of the user is dropped.

use std::any::Any;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::{catch_unwind, AssertUnwindSafe};

use tracing::error;

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

/// The text of a user-defined error or value. If its `Display` panics, the panic's message.
pub(crate) fn text_of(value: &dyn fmt::Display) -> String {
    catch_panic(|| value.to_string()).unwrap_or_else(|panic| panic)
}

/// A user-defined value whose drop runs under the panic guard, wherever its last reference is dropped.
pub(crate) struct Guarded<T>(Option<T>);

impl<T> Guarded<T> {
    pub(crate) fn new(value: T) -> Self {
        Guarded(Some(value))
    }
}

impl<T> Deref for Guarded<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.0.as_ref().expect("present until it is dropped")
    }
}

impl<T> DerefMut for Guarded<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("present until it is dropped")
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        let value = self.0.take();
        if let Err(panic) = catch_panic(|| drop(value)) {
            error!(panic, value = std::any::type_name::<T>(), "the drop of a value panicked");
        }
    }
}
