//! User-defined hooks that set up sockets.

use std::fmt;
use std::io;
use std::sync::Arc;

use socket2::SockRef;

use crate::panic::catch_panic;

/// A hook that sets up a socket or rejects it.
#[derive(Clone)]
pub(crate) struct SocketHook(Arc<dyn Fn(SockRef<'_>) -> io::Result<()> + Send + Sync>);

impl SocketHook {
    pub(crate) fn new(hook: impl Fn(SockRef<'_>) -> io::Result<()> + Send + Sync + 'static) -> Self {
        SocketHook(Arc::new(hook))
    }

    /// Calls the hook. A panic becomes an error.
    pub(super) fn call(&self, socket: SockRef<'_>) -> io::Result<()> {
        catch_panic(|| (self.0)(socket))
            .unwrap_or_else(|text| Err(io::Error::other(format!("the hook panicked: {text}"))))
    }
}

/// Closures cannot be compared: a hook is equal only to its clones.
impl PartialEq for SocketHook {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for SocketHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SocketHook")
    }
}
