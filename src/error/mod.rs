//! Errors of a pool: at its start, while it runs, and when it is changed.

mod main_error;
mod way_out;

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::panic::catch_panic;

pub use main_error::MainError;
pub(crate) use way_out::WayOut;

/// Any error, as returned by callbacks and codecs.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a pool did not start. The variants follow glisten's.
///
/// The system's error is the [`source`](Error::source) and not part of the text: print the sources as well, in a loop or, with
/// `anyhow`, with `{:#}`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The pool has ended or is draining, or ended before it had started.
    #[error("the pool is not running: it has ended or is draining")]
    ListenerClosed,
    /// The address was not resolved in time.
    #[error("{address}: not resolved within {limit:?}; pass an IP address, or set a longer `start_timeout`")]
    ListenerTimeout {
        /// The address to be resolved.
        address: String,
        /// The time allowed for resolving it.
        limit: Duration,
    },
    /// An acceptor was not ready in time.
    #[error(
        "acceptor {acceptor} was not ready within {limit:?}; if the machine is busy, set a longer `start_timeout`"
    )]
    AcceptorTimeout {
        /// The index of the acceptor.
        acceptor: usize,
        /// The time allowed for its start.
        limit: Duration,
    },
    /// An acceptor could not register its handle of a listener.
    #[error("acceptor {acceptor} failed{}", WayOut(.source))]
    AcceptorFailed {
        /// The index of the acceptor.
        acceptor: usize,
        /// The error of the system or the transport.
        source: Arc<io::Error>,
    },
    /// An acceptor panicked, or its arbiter ended, before it was ready.
    #[error("acceptor {acceptor} crashed before it was ready: {}", .panic.as_deref().unwrap_or("its arbiter ended"))]
    AcceptorCrashed {
        /// The index of the acceptor.
        acceptor: usize,
        /// The message of the panic, for example of a user-defined [`Transport`](crate::transport::Transport). `None` if its
        /// arbiter ended.
        panic: Option<Arc<str>>,
    },
    /// A system call failed: an address cannot be resolved or bound, or no thread can be started for an arbiter or the
    /// watchdog. For a listener of a configuration, it is [`Config`](StartError::Config).
    #[error("cannot set up {what}{}", WayOut(.source))]
    SystemError {
        /// What was being set up: the address, the arbiter, the watchdog.
        what: String,
        /// The error of the system.
        source: io::Error,
    },
    /// More than one error: several invalid settings, or several addresses that cannot be opened. Either all listeners
    /// are opened or none. The message contains every error with its sources.
    #[error("{}", join_messages(.0))]
    Several(Vec<StartError>),
    /// A setting is invalid, by itself or in combination with another.
    #[error(transparent)]
    InvalidSetting(#[from] InvalidSetting),
    /// The configuration given to [`Builder::config`](crate::Builder::config) is invalid, or one of its listeners cannot be
    /// opened.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another pool of this actix system has the same name.
    #[error("a pool named {name:?} already exists in this actix system; choose another name, or stop that pool first")]
    NameTaken {
        /// The requested name.
        name: String,
    },
    /// tokio's clock is paused on this thread, but the acceptors would run on arbiters of their own, whose clocks are not
    /// paused. Run them on this thread with [`on_current_arbiter`](crate::Builder::on_current_arbiter).
    #[error(
        "tokio's clock is paused on this thread, but not on the acceptors' own arbiters: call `on_current_arbiter`, or do \
         not pause the clock"
    )]
    PausedClock,
    /// No actix system is running on this thread, or the one that did has ended. A pool needs one: use `#[actix::main]`, or
    /// `actix::System::new().block_on(..)`. `#[tokio::main]` starts none: keep it, and call
    /// [`start_on_own_thread`](crate::Builder::start_on_own_thread).
    #[error(
        "no actix System is running on this thread: use `#[actix::main]` instead of `#[tokio::main]`, which starts none, or \
         replace `bind(address)` with `listener(Listener::tcp(address)).start_on_own_thread()`"
    )]
    NoSystem,
}

impl StartError {
    /// Combines errors into one; `None` if there are none.
    pub(crate) fn all(errors: Vec<StartError>) -> Option<StartError> {
        let mut each = Vec::with_capacity(errors.len());
        for error in errors {
            match error {
                StartError::Several(errors) => each.extend(errors),
                error => each.push(error),
            }
        }
        match each.len() {
            0 => None,
            1 => each.pop(),
            _ => Some(StartError::Several(each)),
        }
    }
}

fn join_messages(errors: &[impl Error + 'static]) -> String {
    let texts: Vec<_> = errors.iter().map(|error| with_sources(error)).collect();
    texts.join("; ")
}

/// A setting that was rejected, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {why}")]
#[non_exhaustive]
pub struct InvalidSetting {
    /// The setting: a method of a builder or of [`Listener`](crate::Listener), or a field of
    /// [`Settings`](crate::Settings).
    pub setting: &'static str,
    /// The value that was given and what is allowed.
    pub why: Cow<'static, str>,
}

impl InvalidSetting {
    pub(crate) fn new(setting: &'static str, why: impl Into<Cow<'static, str>>) -> Self {
        InvalidSetting { setting, why: why.into() }
    }
}

/// Why settings were not changed. All settings keep their values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// Settings that are invalid, or that cannot be changed while the pool runs.
    #[error("{}", join_messages(.0))]
    Invalid(Vec<InvalidSetting>),
    /// The pool has ended or is draining.
    #[error("the pool is not running: it has ended or is draining")]
    NotRunning,
}

/// Why a configuration, or the file it was read from, is invalid. Displayed as `FILE: KEY: WHY`.
#[derive(Debug)]
#[non_exhaustive]
pub struct ConfigError {
    /// The file, if the configuration was read from one.
    pub file: Option<PathBuf>,
    /// The key, such as `listeners[0].tls`. Empty if the error is not about one key.
    pub key: String,
    /// What is invalid, and what is allowed.
    pub why: String,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    None,
    /// `why` displays this error, so `source()` continues with its source.
    Displayed(BoxError),
    Source(io::Error),
}

impl ConfigError {
    pub(crate) fn new(key: impl Into<String>, why: impl Into<String>) -> Self {
        ConfigError { file: None, key: key.into(), why: why.into(), cause: Cause::None }
    }

    /// The error of a value, with its sources.
    pub(crate) fn caused(key: impl Into<String>, cause: impl Into<BoxError>) -> Self {
        let cause = cause.into();
        ConfigError { why: cause.to_string(), cause: Cause::Displayed(cause), ..Self::new(key, "") }
    }

    #[cfg(feature = "config")]
    pub(crate) fn unreadable(file: &Path, error: io::Error) -> Self {
        Self::with_source("", "cannot read the file", error).in_file(file)
    }

    /// An error of the system.
    pub(crate) fn with_source(key: impl Into<String>, why: impl Into<String>, source: io::Error) -> Self {
        ConfigError { cause: Cause::Source(source), ..Self::new(key, why) }
    }

    /// Whether the value itself is invalid, whatever the system says.
    pub(crate) fn is_of_value(&self) -> bool {
        !matches!(self.cause, Cause::Source(_))
    }

    // Not used if every feature is enabled.
    #[allow(dead_code)]
    pub(crate) fn without_feature(key: &str, features: &str) -> Self {
        let why = format!("requires feature {features} of actix-acceptor, which is not enabled in this program");
        Self::new(key, why)
    }

    /// With the key below another one.
    pub(crate) fn below(mut self, key: &str) -> Self {
        self.key = format!("{key}.{}", self.key);
        self
    }

    pub(crate) fn in_file(mut self, file: &Path) -> Self {
        self.file = Some(file.to_owned());
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", file.display())?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.why)
    }
}

/// The source is what caused the error that is displayed: for example, the system's error for a file.
impl Error for ConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            Cause::None => None,
            Cause::Displayed(cause) => cause.source(),
            Cause::Source(source) => Some(source),
        }
    }
}

/// Why [`Pool::reload`](crate::Pool::reload) changed nothing.
///
/// The system's error, such as that of an address in use, is the [`source`](Error::source) and not part of the text: print
/// the sources as well, in a loop or, with `anyhow`, with `{:#}`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// Keys that are invalid, that the pool's handler does not have, or that cannot be changed while the pool runs.
    #[error("{}", join_messages(.0))]
    Invalid(Vec<ConfigError>),
    /// A listener cannot be opened or changed: the system rejected its address or an option. A
    /// [`StartError::Config`] names the file and the key.
    #[error(transparent)]
    Listeners(StartError),
    /// The pool has ended or is draining.
    #[error("the pool is not running: it has ended or is draining")]
    NotRunning,
}

/// Why a pool could not be suspended or resumed.
///
/// The system's error is the [`source`](Error::source) and not part of the text: print the sources as well, in a loop or, with
/// `anyhow`, with `{:#}`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SuspendError {
    /// A listener could not be closed or opened again. The state of the other listeners did not change.
    #[error("cannot {} the listener at {address}{}", if *.resuming { "resume" } else { "suspend" }, WayOut(.source))]
    Listener {
        /// Whether it could not be opened again; otherwise, it could not be closed.
        resuming: bool,
        /// The address of the listener.
        address: String,
        /// The error of the system or the transport.
        source: io::Error,
    },
    /// The pool has ended or is draining.
    #[error("the pool is not running: it has ended or is draining")]
    NotRunning,
}

impl From<SuspendError> for StartError {
    fn from(error: SuspendError) -> Self {
        match error {
            SuspendError::Listener { address, source, .. } => StartError::SystemError { what: address, source },
            SuspendError::NotRunning => StartError::ListenerClosed,
        }
    }
}

/// The pool has ended, so what serves its new connections can no longer be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pool has ended")]
pub struct PoolEnded;

/// The number of connections did not satisfy the condition in time, or before the pool ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} waiting for the number of connections: there are {connections}",
    if *.ended { "the pool has ended while" } else { "timed out" }
)]
#[non_exhaustive]
pub struct WaitError {
    /// The number of connections when the wait ended.
    pub connections: usize,
    /// Whether the pool has ended, so that the number cannot change any more.
    pub ended: bool,
}

/// Why a running pool ended by itself.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// Acceptors had to be restarted more often than allowed.
    #[error(
        "more than {limit} acceptor restarts within {within:?}; `max_restarts` sets the limit, and a pool of \
         `AcceptorPool::supervised` starts again; the last acceptor {last}"
    )]
    TooManyRestarts {
        /// The number of restarts allowed.
        limit: usize,
        /// The period to which the limit applies.
        within: Duration,
        /// How the last acceptor ended.
        last: Exit,
    },
    /// No new arbiter could be started for an acceptor. If descriptors, threads or memory are exhausted, the pool does not
    /// end but tries again after a pause.
    #[error("cannot start an arbiter for acceptor {acceptor}{}", WayOut(.source))]
    NoArbiter {
        /// The index of the acceptor.
        acceptor: usize,
        /// The error of the system.
        source: Arc<io::Error>,
    },
    /// The arbiter on which the pool itself ran has stopped, usually because `main` has returned. A pool does not keep the program
    /// running: await [`Pool::stopped`](crate::Pool::stopped) or [`Pool::drain_on_signal`](crate::Pool::drain_on_signal).
    #[error(
        "the arbiter on which it was started has stopped, as at the end of `main`; await `pool.stopped()` or \
         `pool.drain_on_signal(..)`"
    )]
    Orphaned,
}

/// How an acceptor ended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Exit {
    /// The acceptor or its arbiter stopped.
    #[error("stopped")]
    Stopped,
    /// Its listener failed.
    #[error("failed: {0}")]
    Failed(Arc<io::Error>),
    /// The acceptor panicked, with this message.
    #[error("panicked: {0}")]
    Panicked(Arc<str>),
}

/// An error's message followed by those of its sources, separated by colons: for logs.
///
/// The error may be user-defined: if its `Display` or `source` panics, the text is the panic's message.
pub(crate) fn with_sources(error: &(dyn std::error::Error + 'static)) -> String {
    catch_panic(|| {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        text
    })
    .unwrap_or_else(|panic| panic)
}
