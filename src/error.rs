//! What can stop a pool: at its start, and later.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Any error, as callbacks and codecs may answer with it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a pool did not start. The cases are glisten's, with the system's reason kept as the source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The pool ended, or was stopped, before it had started.
    #[error("the listener was closed before the pool had started")]
    ListenerClosed,
    /// The address was not resolved in time.
    #[error("{address}: not resolved within {limit:?}")]
    ListenerTimeout {
        /// What was asked for.
        address: String,
        /// How long was waited.
        limit: Duration,
    },
    /// An acceptor was not ready in time.
    #[error("acceptor {acceptor} was not ready within {limit:?}")]
    AcceptorTimeout {
        /// Which one.
        acceptor: usize,
        /// How long was waited.
        limit: Duration,
    },
    /// An acceptor could not take its share of the listener.
    #[error("acceptor {acceptor} failed: {source}")]
    AcceptorFailed {
        /// Which one.
        acceptor: usize,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// An acceptor panicked, or its arbiter ended, before it was ready.
    #[error("acceptor {acceptor} crashed before it was ready")]
    AcceptorCrashed {
        /// Which one.
        acceptor: usize,
    },
    /// The system refused: the address cannot be resolved or bound, or there is no thread for an arbiter or the watchdog.
    #[error("{what}: {source}")]
    SystemError {
        /// What was tried: the address, the arbiter, the watchdog.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// Several settings make no sense, or several ports cannot be opened (all are, or none): each is named.
    #[error("{}", join_messages(.0))]
    Several(Vec<StartError>),
    /// A setting is invalid, by itself or in combination with another.
    #[error(transparent)]
    InvalidSetting(#[from] InvalidSetting),
    /// Another pool of this actix system has this name.
    #[error("there is a pool named {name} already")]
    NameTaken {
        /// The name asked for.
        name: String,
    },
    /// There is no actix system on this thread: pools live in one.
    #[error("no actix System is running on this thread")]
    NoSystem,
}

impl StartError {
    /// Several errors, if there are any, as one.
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

fn join_messages(errors: &[impl ToString]) -> String {
    let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// A setting that was rejected, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {why}")]
#[non_exhaustive]
pub struct InvalidSetting {
    /// The setting: a method of a builder or of [`Listener`](crate::Listener), or a field of
    /// [`Settings`](crate::Settings). `watermarks` stands for both marks.
    pub setting: &'static str,
    /// The value that was given and what is allowed.
    pub why: Cow<'static, str>,
}

impl InvalidSetting {
    pub(crate) fn new(setting: &'static str, why: impl Into<Cow<'static, str>>) -> Self {
        InvalidSetting { setting, why: why.into() }
    }
}

/// Why settings were not changed. None of them was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// Settings that are invalid, or that cannot be changed while the pool runs.
    #[error("{}", join_messages(.0))]
    Invalid(Vec<InvalidSetting>),
    /// The pool has ended or is draining.
    #[error("the pool is not running")]
    NotRunning,
}

/// Why a pool could not be suspended or resumed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SuspendError {
    /// A listener could not be closed or opened again. The other listeners are as they were.
    #[error("cannot suspend or resume the listener at {address}")]
    Listener {
        /// The address of the listener.
        address: String,
        /// The reason given by the system or the transport.
        source: io::Error,
    },
    /// The pool has ended or is draining.
    #[error("the pool is not running")]
    NotRunning,
}

impl From<SuspendError> for StartError {
    fn from(error: SuspendError) -> Self {
        match error {
            SuspendError::Listener { address, source } => StartError::SystemError { what: address, source },
            SuspendError::NotRunning => StartError::ListenerClosed,
        }
    }
}

/// The pool has ended, so what serves its new connections can no longer be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pool has ended")]
pub struct PoolEnded;

/// The number of connections did not reach the expected value in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("timed out waiting for the number of connections: there are {connections}")]
#[non_exhaustive]
pub struct WaitError {
    /// How many connections there are.
    pub connections: usize,
}

/// Why a running pool ended by itself.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// Acceptors had to be replaced more often than the budget allows.
    #[error("more than {limit} acceptor restarts within {within:?}; the last acceptor {last}")]
    TooManyRestarts {
        /// How many were allowed.
        limit: usize,
        /// In which time.
        within: Duration,
        /// How the last one ended.
        last: Exit,
    },
    /// A new arbiter could not be started for an acceptor.
    #[error("no arbiter for acceptor {acceptor}: {source}")]
    NoArbiter {
        /// Which acceptor.
        acceptor: usize,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The arbiter that the pool itself lived on stopped.
    #[error("the pool's own arbiter stopped")]
    Orphaned,
}

/// How an acceptor ended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Exit {
    /// It stopped, or its arbiter did.
    #[error("stopped")]
    Stopped,
    /// Its listener failed.
    #[error("failed: {0}")]
    Failed(Arc<io::Error>),
    /// It panicked.
    #[error("panicked")]
    Panicked,
}
