//! What can stop a pool: at its start, and later.

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
    #[error("{}", one_by_one(.0))]
    Several(Vec<StartError>),
    /// A setting makes no sense, by itself or beside another.
    #[error("{setting}: {why}")]
    InvalidSetting {
        /// The builder's method.
        setting: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
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

fn one_by_one(errors: &[StartError]) -> String {
    let texts: Vec<_> = errors.iter().map(StartError::to_string).collect();
    texts.join("; ")
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
