//! The calls of an operator, as values.

use std::time::Duration;

use actix_acceptor::{
    error::{SettingsError, StartError, SuspendError},
    AcceptorPool, Connection, Framing, Pool, SettingsPatch, SuspendMode,
};
use bytes::Bytes;
use support::ms;

use super::subject::{Greeter, Subject};
use super::LIMIT;

/// A call of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    SuspendClose,
    SuspendHold,
    Resume,
    Drain,
    DrainLater,
    Stop,
    StopAtOnce,
    Change,
    Apply,
    Shrink,
    SetListeners,
    KeepListeners,
    SetProtocol,
    SetCodec,
    SetFraming,
    Kill,
    Close,
    Exempt,
    NotifyAll,
    Broadcast,
    Find,
    Addresses,
    List,
    ConnectionInfo,
    Info,
    Listeners,
    Settings,
    Acceptors,
    FindByName,
    WaitFor,
    WaitBriefly,
    WaitForever,
    Stopped,
}

use self::Call::*;

/// What a call returned, as far as it says something about the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Ok,
    /// The pool is draining or has ended.
    NotRunning,
    Yes,
    No,
    /// Expected only: one of both.
    Either,
}

impl Outcome {
    /// Whether this is what was expected.
    pub(super) fn is(self, expected: Outcome) -> bool {
        self == expected || expected == Outcome::Either && matches!(self, Outcome::Yes | Outcome::No)
    }

    fn of(found: bool) -> Self {
        if found {
            Outcome::Yes
        } else {
            Outcome::No
        }
    }
}

impl Call {
    pub(super) const ALL: [Call; 33] = [
        SuspendClose,
        SuspendHold,
        Resume,
        Drain,
        DrainLater,
        Stop,
        StopAtOnce,
        Change,
        Apply,
        Shrink,
        SetListeners,
        KeepListeners,
        SetProtocol,
        SetCodec,
        SetFraming,
        Kill,
        Close,
        Exempt,
        NotifyAll,
        Broadcast,
        Find,
        Addresses,
        List,
        ConnectionInfo,
        Info,
        Listeners,
        Settings,
        Acceptors,
        FindByName,
        WaitFor,
        WaitBriefly,
        WaitForever,
        Stopped,
    ];

    /// Those that change the state of the whole pool, or depend on it.
    pub(super) const OF_STATE: [Call; 10] =
        [SuspendClose, SuspendHold, Resume, Drain, Stop, StopAtOnce, Change, SetListeners, KeepListeners, SetProtocol];

    /// Whether it returns only when the pool has ended.
    pub(super) fn awaits_the_end(self) -> bool {
        matches!(self, Drain | DrainLater | Stop | StopAtOnce | WaitForever | Stopped)
    }

    /// Whether it stops the pool.
    pub(super) fn stops(self) -> bool {
        matches!(self, Drain | DrainLater | Stop | StopAtOnce)
    }

    /// Whether it is not `async`.
    pub(super) fn is_sync(self) -> bool {
        self as usize >= SetProtocol as usize && self as usize <= FindByName as usize
    }

    /// Whether it exists only for a pool of protocols.
    pub(super) fn is_typed(self) -> bool {
        matches!(self, SetProtocol | SetCodec | SetFraming | Close | NotifyAll | Broadcast | Find | Addresses)
    }

    pub(super) async fn run(self, subject: &Subject) -> Outcome {
        let pool = &subject.pool;
        match self {
            SuspendClose => suspended(pool.suspend(SuspendMode::Close).await),
            SuspendHold => suspended(pool.suspend(SuspendMode::Hold).await),
            Resume => suspended(pool.resume().await),
            Drain => ended(pool.drain(actix_acceptor::Drain::grace(subject.grace)).await),
            DrainLater => ended(pool.drain(actix_acceptor::Drain::grace(subject.grace).delay(ms(1))).await),
            Stop => ended(pool.stop(None).await),
            StopAtOnce => ended(pool.stop(Duration::ZERO).await),
            Change => changed(pool.change(|settings| settings.max_connections = 7).await.map(drop)),
            Apply => {
                let mut patch = SettingsPatch::default();
                patch.max_connections = Some(5);
                changed(pool.apply(patch).await.map(drop))
            }
            Shrink => changed(pool.change(|settings| settings.acceptors = Some(1)).await.map(drop)),
            SetListeners => listeners(pool.set_listeners(subject.listeners(true)).await.map(drop)),
            KeepListeners => listeners(pool.set_listeners(subject.listeners(false)).await.map(drop)),
            WaitFor => waited(pool.wait_for(|connections| connections <= 3, None).await.is_ok()),
            WaitBriefly => waited(pool.wait_for(|connections| connections > 100, ms(1)).await.is_err()),
            WaitForever => waited(pool.wait_for(|connections| connections > 100, None).await.is_err()),
            Stopped => waited(pool.stopped().await.is_ok()),
            _ => self.run_sync(subject),
        }
    }

    /// Runs one that is not `async`.
    pub(super) fn run_sync(self, subject: &Subject) -> Outcome {
        let pool = &subject.pool;
        match self {
            SetProtocol => set(subject.typed(|pool| pool.set_protocol(|_| Greeter::new(1)).is_ok())),
            SetCodec => set(subject.typed(|pool| pool.set_codec(|| Framing::delimiter(";")).is_ok())),
            SetFraming => set(subject.typed(|pool| pool.set_framing(Framing::delimiter("|")).is_ok())),
            Kill => Outcome::of(pool.kill(subject.first)),
            Close => {
                let close = |pool: &Pool<Connection<Greeter>>| pool.close(subject.first, Some("bye".into()), LIMIT);
                Outcome::of(subject.typed(close))
            }
            ConnectionInfo => {
                let info = pool.connection_info(subject.first);
                assert!(info.as_ref().is_none_or(|info| info.id == subject.first));
                Outcome::of(info.is_some())
            }
            Exempt => Outcome::of(pool.exempt(subject.first)),
            NotifyAll => {
                let report = subject.typed(|pool| pool.notify_all(Bytes::from("note")));
                assert!(report.delivered + report.full.len() <= 3, "{report:?}");
                Outcome::Ok
            }
            Broadcast => match subject.typed(|pool| pool.broadcast(Bytes::from("all"))) {
                Ok(report) => {
                    assert!(report.delivered + report.full.len() <= 3, "{report:?}");
                    Outcome::Ok
                }
                Err(_) => Outcome::NotRunning,
            },
            Find => Outcome::of(subject.typed(|pool| pool.find(subject.first).is_some())),
            Addresses => {
                assert!(subject.typed(|pool| pool.addresses().len()) <= 3);
                Outcome::Ok
            }
            List => {
                assert!(pool.list().len() <= 3);
                Outcome::Ok
            }
            Info => {
                subject.adds_up();
                Outcome::Ok
            }
            Listeners => {
                // Before, or after: never in between.
                let (names, replaced) = (subject.listener_names(), [subject.names(false), subject.names(true)]);
                assert!(names.is_empty() || replaced.contains(&names), "{names:?}");
                Outcome::Ok
            }
            Settings => {
                assert!([100, 7, 5].contains(&pool.settings().max_connections));
                Outcome::Ok
            }
            Acceptors => {
                assert!(pool.acceptors().len() <= 2 && pool.local_addrs().len() <= 2);
                Outcome::Ok
            }
            FindByName => {
                if let Some(found) = AcceptorPool::find(&subject.name) {
                    assert_eq!(found.name(), subject.name);
                }
                Outcome::Ok
            }
            _ => panic!("{self:?} is async"),
        }
    }
}

fn suspended(result: Result<(), SuspendError>) -> Outcome {
    match result {
        Ok(()) => Outcome::Ok,
        Err(SuspendError::NotRunning) => Outcome::NotRunning,
        Err(other) => panic!("{other}"),
    }
}

fn ended(_: actix_acceptor::info::DrainReport) -> Outcome {
    Outcome::Ok
}

fn changed(result: Result<(), SettingsError>) -> Outcome {
    match result {
        Ok(()) => Outcome::Ok,
        Err(SettingsError::NotRunning) => Outcome::NotRunning,
        Err(other) => panic!("{other}"),
    }
}

fn listeners(result: Result<(), StartError>) -> Outcome {
    match result {
        Ok(()) => Outcome::Ok,
        Err(StartError::ListenerClosed) => Outcome::NotRunning,
        Err(other) => panic!("{other}"),
    }
}

fn waited(as_expected: bool) -> Outcome {
    assert!(as_expected);
    Outcome::Ok
}

fn set(is_ok: bool) -> Outcome {
    if is_ok {
        Outcome::Ok
    } else {
        Outcome::NotRunning
    }
}
