//! What `src/sync.rs` names, made of the model checker's primitives.

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::BuildHasherDefault;
use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;

use loom::sync::atomic::Ordering::*;
pub(crate) use loom::sync::atomic::{fence, AtomicBool, AtomicU32, AtomicU64, AtomicU8, AtomicUsize};

/// Always the same, so that every run of a model does the same.
pub(crate) type RandomState = BuildHasherDefault<DefaultHasher>;

#[derive(Default)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
        self.0.lock().unwrap()
    }

    pub(crate) fn try_lock(&self) -> Option<loom::sync::MutexGuard<'_, T>> {
        self.0.try_lock().ok()
    }
}

impl<T: fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lock().fmt(f)
    }
}

/// A lock that lets in one reader at a time: the models do not depend on several.
#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(Mutex<T>);

impl<T> RwLock<T> {
    pub(crate) fn read(&self) -> impl Deref<Target = T> + '_ {
        self.0.lock()
    }

    pub(crate) fn write(&self) -> impl DerefMut<Target = T> + '_ {
        self.0.lock()
    }
}

/// The value is visible to those who see that it is set.
pub(crate) struct OnceBox<T> {
    value: OnceLock<Box<T>>,
    is_set: AtomicBool,
    setting: Mutex<()>,
}

impl<T> OnceBox<T> {
    pub(crate) fn get(&self) -> Option<&T> {
        self.value.get().filter(|_| self.is_set.load(Acquire)).map(|value| &**value)
    }

    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> Box<T>) -> &T {
        if let Some(value) = self.get() {
            return value;
        }
        let setting = self.setting.lock();
        let value = self.value.get_or_init(make);
        self.is_set.store(true, Release);
        drop(setting);
        value
    }
}

impl<T> Default for OnceBox<T> {
    fn default() -> Self {
        OnceBox { value: OnceLock::new(), is_set: AtomicBool::new(false), setting: Mutex::default() }
    }
}

impl<T> fmt::Debug for OnceBox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnceBox(..)")
    }
}

/// Runs the body of a unit test of the library as a model.
pub(crate) fn check(body: impl Fn() + Send + Sync + 'static) {
    crate::model(2, body);
}
