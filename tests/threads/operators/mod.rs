//! What an operator may call: every pair of calls at the same time, and each call from every place where the user's code
//! runs.

mod calls;
mod model;
mod pairs;
mod places;
mod subject;
mod trap;

use std::panic::{set_hook, take_hook, PanicHookInfo};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The limit of each call and of each step around it. Longer than a drain that has to wait for everything.
const LIMIT: Duration = Duration::from_secs(20);

/// The panics of this process while it exists, whoever caught them. Only one at a time.
struct Panics {
    seen: Arc<Mutex<Vec<String>>>,
    before: Arc<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>,
}

impl Panics {
    fn watch() -> Self {
        let (seen, before) = (Arc::new(Mutex::new(Vec::new())), Arc::from(take_hook()));
        let panics = Panics { seen: seen.clone(), before: Arc::clone(&before) };
        set_hook(Box::new(move |panic| {
            seen.lock().unwrap().push(panic.to_string());
            before(panic);
        }));
        panics
    }

    /// Fails the test if there was one.
    #[track_caller]
    fn none(&self, what: &str) {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        assert!(seen.is_empty(), "{what}: {seen:?}");
    }
}

impl Drop for Panics {
    fn drop(&mut self) {
        let before = self.before.clone();
        if !std::thread::panicking() {
            set_hook(Box::new(move |panic| before(panic)));
        }
    }
}

/// The descriptors of this process that stay open.
struct Descriptors(usize);

impl Descriptors {
    async fn now() -> Self {
        let mut before = Self::count();
        support::eventually(|| std::mem::replace(&mut before, Self::count()) == before).await;
        Descriptors(before)
    }

    fn count() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }

    /// Waits until no others are open.
    async fn are_closed(&self, what: &str) {
        let started = std::time::Instant::now();
        while Self::count() > self.0 {
            assert!(started.elapsed() < LIMIT, "{what}: {} descriptors instead of {}", Self::count(), self.0);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
