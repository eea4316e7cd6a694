//! Where the user's code runs, and what makes a call there.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};

use actix_acceptor::{
    telemetry::{Observer, PoolEvent},
    transport::{Address, Handshake, HandshakeError, Handshaken, Stream},
    Listener,
};
use futures::future::LocalBoxFuture;
use tokio::sync::oneshot;

use super::calls::{Call, Outcome};
use super::subject::Subject;

/// Where the user's code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Init,
    Ack,
    Packet,
    User,
    Timeout,
    HalfClosed,
    Passive,
    Shutdown,
    Closed,
    DropOfProtocol,
    Factory,
    Codec,
    /// Awaited in `Conn::wait`.
    Wait,
    /// Awaited in the async fn.
    AsyncFn,
    Allows,
    MayOverridePeer,
    HandshakeInfo,
    /// Awaited in the step.
    HandshakeStep,
    OnAccept,
    Overload,
    Alarm,
    /// In the closure passed to `Pool::change`.
    ChangeClosure,
    Observer(&'static str),
    /// A thread without a runtime.
    PlainThread,
}

use self::Place::*;

impl Place {
    pub(super) const ALL: [Place; 32] = [
        Init,
        Ack,
        Packet,
        User,
        Timeout,
        HalfClosed,
        Passive,
        Shutdown,
        Closed,
        DropOfProtocol,
        Factory,
        Codec,
        Wait,
        AsyncFn,
        Allows,
        MayOverridePeer,
        HandshakeInfo,
        HandshakeStep,
        OnAccept,
        Overload,
        Alarm,
        ChangeClosure,
        Observer("ListenerStarted"),
        Observer("ListenerStopped"),
        Observer("AcceptorStarted"),
        Observer("AcceptorStopped"),
        Observer("ConnectionStarted"),
        Observer("ConnectionReady"),
        Observer("ConnectionStopped"),
        Observer("Refused"),
        Observer("Alarm"),
        PlainThread,
    ];

    /// Whether the call is awaited there. An end of the connection may cut it off.
    pub(super) fn awaits(self) -> bool {
        matches!(self, Wait | AsyncFn | HandshakeStep)
    }

    /// Whether the connection may be gone by the time a spawned call has something to return: so is its arbiter.
    pub(super) fn is_at_the_end(self) -> bool {
        matches!(self, Shutdown | Closed | DropOfProtocol | Observer("ConnectionStopped" | "AcceptorStopped"))
    }
}

/// Makes a call when the code comes to its place for the first time.
pub(super) struct Trap {
    pub(super) place: Place,
    pub(super) call: Call,
    is_armed: AtomicBool,
    subject: OnceLock<Subject>,
    result: Mutex<Option<oneshot::Sender<Outcome>>>,
    pub(super) refuses: AtomicBool,
}

impl Trap {
    pub(super) fn new(place: Place, call: Call) -> (Arc<Self>, oneshot::Receiver<Outcome>) {
        let (result, outcome) = oneshot::channel();
        let trap = Trap {
            place,
            call,
            is_armed: AtomicBool::new(false),
            subject: OnceLock::new(),
            result: Mutex::new(Some(result)),
            refuses: AtomicBool::new(false),
        };
        (Arc::new(trap), outcome)
    }

    pub(super) fn arm(&self, subject: &Subject) {
        self.subject.set(subject.clone()).ok().unwrap();
        self.is_armed.store(true, SeqCst);
    }

    pub(super) fn has_sprung(&self) -> bool {
        self.result.lock().unwrap().is_none()
    }

    pub(super) fn spring(&self, place: Place) -> Option<(Subject, oneshot::Sender<Outcome>)> {
        let is_here = self.place == place && self.is_armed.load(SeqCst);
        let result = if is_here { self.result.lock().unwrap().take() } else { None };
        Some((self.subject.get()?.clone(), result?))
    }

    /// The code is at this place: makes the call if it is due, in a task of the thread if it is async.
    pub(super) fn at(&self, place: Place) {
        let Some((subject, result)) = self.spring(place) else { return };
        let call = self.call;
        if call.is_sync() {
            let _ = result.send(call.run_sync(&subject));
        } else {
            actix_rt::spawn(async move {
                let _ = result.send(call.run(&subject).await);
            });
        }
    }

    /// As [`at`](Self::at), for a place that awaits it.
    pub(super) fn awaited(&self, place: Place) -> Option<impl Future<Output = ()> + 'static + use<>> {
        let ((subject, result), call) = (self.spring(place)?, self.call);
        Some(async move {
            let _ = result.send(call.run(&subject).await);
        })
    }

    /// The listener, with the places that it has.
    pub(super) fn listener(self: &Arc<Self>, listener: Listener) -> Listener {
        let trap = self.clone();
        listener.handshake(Spots(self.clone())).on_accept(move |_| {
            trap.at(Place::OnAccept);
            Ok(())
        })
    }

    pub(super) fn in_a_wait(&self) -> Option<impl Future<Output = ()> + 'static + use<>> {
        self.awaited(Place::Wait)
    }
}

/// An observer, and a handshake step that lets everything pass.
pub(super) struct Spots(pub(super) Arc<Trap>);

impl Observer for Spots {
    fn observe(&self, _: &str, event: &PoolEvent<'_>) {
        let name = match event {
            PoolEvent::ListenerStarted { .. } => "ListenerStarted",
            PoolEvent::ListenerStopped { .. } => "ListenerStopped",
            PoolEvent::AcceptorStarted { .. } => "AcceptorStarted",
            PoolEvent::AcceptorStopped { .. } => "AcceptorStopped",
            PoolEvent::ConnectionStarted { .. } => "ConnectionStarted",
            PoolEvent::ConnectionReady { .. } => "ConnectionReady",
            PoolEvent::ConnectionStopped { .. } => "ConnectionStopped",
            PoolEvent::Refused { .. } => "Refused",
            PoolEvent::Alarm { .. } => "Alarm",
            _ => return,
        };
        self.0.at(Place::Observer(name));
    }
}

impl Handshake for Spots {
    fn handshake(&self, stream: Stream, _: &Address) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>> {
        let call = self.0.awaited(Place::HandshakeStep);
        Box::pin(async move {
            if let Some(call) = call {
                call.await;
            }
            Ok(Handshaken::new(stream))
        })
    }

    fn allows(&self, _: &Address) -> bool {
        self.0.at(Place::Allows);
        true
    }

    fn may_override_peer(&self, _: &Address) -> bool {
        self.0.at(Place::MayOverridePeer);
        false
    }

    fn info(&self) -> actix_acceptor::transport::HandshakeInfo {
        self.0.at(Place::HandshakeInfo);
        Default::default()
    }
}
