//! [`Mischief`], what a place of user code does when its turn comes: it panics, or it calls back into the pool.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use actix_acceptor::{Connection, Pool, SuspendMode};

use super::wild::{Message, Wild};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Panic,
    CallBack,
}

/// Shared by all places of a test. One place at a time is armed; it acts once.
#[derive(Clone)]
pub(super) struct Mischief(Arc<Inner>);

struct Inner {
    how: How,
    armed: Mutex<Option<&'static str>>,
    unfinished: AtomicUsize,
    pool: Mutex<Option<Pool<Connection<Wild>>>>,
}

impl Mischief {
    pub(super) fn new(how: How) -> Self {
        Mischief(Arc::new(Inner {
            how,
            armed: Mutex::default(),
            unfinished: AtomicUsize::new(0),
            pool: Mutex::default(),
        }))
    }

    pub(super) fn arm(&self, place: &'static str) {
        *self.0.armed.lock().unwrap() = Some(place);
    }

    /// Whether the armed place was never reached.
    pub(super) fn is_armed(&self) -> bool {
        self.0.armed.lock().unwrap().is_some()
    }

    /// Whether everything that was called back has returned.
    pub(super) fn is_done(&self) -> bool {
        self.0.unfinished.load(SeqCst) == 0
    }

    pub(super) fn set_pool(&self, pool: Option<Pool<Connection<Wild>>>) {
        *self.0.pool.lock().unwrap() = pool;
    }

    /// Called by every place of user code.
    pub(super) fn at(&self, place: &'static str) {
        if self.0.armed.lock().unwrap().take_if(|armed| *armed == place).is_none() {
            return;
        }
        match self.0.how {
            How::Panic => panic!("mischief at {place}"),
            How::CallBack => {
                let pool = self.0.pool.lock().unwrap().clone();
                call_back(self, &pool.expect("a running pool"));
            }
        }
    }
}

/// Calls everything that a pool offers.
fn call_back(mischief: &Mischief, pool: &Pool<Connection<Wild>>) {
    let _ = (pool.info(), pool.list(), pool.listeners(), pool.local_addrs(), pool.settings(), pool.status());
    let _ = (pool.connections(), pool.acceptors(), pool.is_ready(), pool.addresses(), pool.local_addr());
    let live: Vec<_> = pool.list().iter().map(|connection| connection.id).collect();
    for id in live {
        let _ = (pool.find(id), pool.exempt(id));
    }
    pool.notify_all(Message::new(mischief));
    let own = mischief.clone();
    let _ = pool.set_protocol(move |_| Wild::new(&own));
    let (own_handle, unfinished) = (pool.clone(), UnfinishedCalls::begin(mischief));
    // What is async is called on another thread: this one may be the pool's own.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let _ = own_handle.suspend(SuspendMode::Hold).await;
            let _ = own_handle.resume().await;
            let _ = own_handle.change(|settings| settings.max_connections = 999).await;
            let _ = own_handle.wait_for(|_| true, None).await;
        });
        drop(unfinished);
    });
    pool.list().last().map(|connection| pool.kill(connection.id));
}

/// Calls that have been begun and are not done.
struct UnfinishedCalls(Mischief);

impl UnfinishedCalls {
    fn begin(mischief: &Mischief) -> Self {
        mischief.0.unfinished.fetch_add(1, SeqCst);
        UnfinishedCalls(mischief.clone())
    }
}

impl Drop for UnfinishedCalls {
    fn drop(&mut self) {
        self.0 .0.unfinished.fetch_sub(1, SeqCst);
    }
}

/// Acts when it is dropped.
pub(super) struct OnDrop(pub(super) Mischief, pub(super) &'static str);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.at(self.1);
    }
}

/// An error whose `Display` acts.
pub(super) struct WildError(pub(super) Mischief, pub(super) &'static str);

impl fmt::Display for WildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.at(self.1);
        f.write_str("a wild error")
    }
}

impl fmt::Debug for WildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WildError")
    }
}

impl std::error::Error for WildError {}
