//! SIGTERM and SIGINT; on systems other than Unix, Ctrl-C.
//!
//! While a [`Signals`] exists, the signals do not end the process. Once none is left, they have their default action again.

use std::io;

#[cfg(unix)]
pub(super) use unix::Signals;

#[cfg(unix)]
mod unix {
    use std::io;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::sync::Arc;

    use parking_lot::Mutex;
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::flag::register_conditional_default;
    use tokio::signal::unix::{signal, Signal, SignalKind};

    /// SIGTERM and SIGINT. While one of these exists, the signals have no default action.
    pub(crate) struct Signals {
        terminate: Signal,
        interrupt: Signal,
        _suppressed: SuppressedDefault,
    }

    impl Signals {
        pub(crate) fn listen() -> io::Result<Self> {
            super::check_runtime()?;
            Ok(Signals {
                _suppressed: SuppressedDefault::new()?,
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            })
        }

        pub(crate) async fn receive(&mut self) {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
        }
    }

    /// How many [`SuppressedDefault`]s exist, and whether the signals have their default action. `None` before the first. A
    /// handler of tokio, once installed, replaces the default action until the process ends.
    static DEFAULT: Mutex<Option<(usize, Arc<AtomicBool>)>> = Mutex::new(None);

    /// Suppresses the default action of the signals until the last one is dropped.
    struct SuppressedDefault;

    impl SuppressedDefault {
        fn new() -> io::Result<Self> {
            let mut default = DEFAULT.lock();
            if default.is_none() {
                let enabled = Arc::new(AtomicBool::new(false));
                for signal in [SIGTERM, SIGINT] {
                    register_conditional_default(signal, enabled.clone())?;
                }
                *default = Some((0, enabled));
            }
            if let Some((count, enabled)) = &mut *default {
                *count += 1;
                enabled.store(false, SeqCst);
            }
            Ok(SuppressedDefault)
        }
    }

    impl Drop for SuppressedDefault {
        fn drop(&mut self) {
            if let Some((count, enabled)) = &mut *DEFAULT.lock() {
                *count -= 1;
                enabled.store(*count == 0, SeqCst);
            }
        }
    }
}

#[cfg(not(unix))]
pub(super) struct Signals {
    #[cfg(windows)]
    ctrl_c: tokio::signal::windows::CtrlC,
}

#[cfg(not(unix))]
impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        check_runtime()?;
        Ok(Signals {
            #[cfg(windows)]
            ctrl_c: tokio::signal::windows::ctrl_c()?,
        })
    }

    #[cfg(windows)]
    pub(super) async fn receive(&mut self) {
        self.ctrl_c.recv().await;
    }

    #[cfg(not(windows))]
    pub(super) async fn receive(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}

/// tokio panics if no runtime is running on this thread.
fn check_runtime() -> io::Result<()> {
    match tokio::runtime::Handle::try_current() {
        Ok(_) => Ok(()),
        Err(error) => Err(io::Error::other(format!(
            "signals are received in a tokio runtime, such as that of `#[actix::main]`: {error}"
        ))),
    }
}
