//! The handler `with_fn`: an async fn that owns its socket, as reagent's `handle/1`.

use std::fmt;
use std::future::{poll_fn, Future};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::future::{select, Either, LocalBoxFuture};
use futures::FutureExt;

use super::{sealed, Service};
use crate::config::Config;
use crate::connection::Closed;
use crate::error::{BoxError, PoolEnded};
use crate::handshake::HandshakeChain;
use crate::limits::ConnectionKind;
use crate::listener::{ConnectionSpawner, ListenerService};
use crate::net::Stream;
use crate::panic::{catch_panic, panic_text, Guarded};
use crate::pool::Pool;
use crate::registry::ConnectionGuard;
use crate::socket::Socket;
use crate::telemetry::CloseReason;
use crate::time::Timeouts;

type ServeFn = Box<dyn Fn(Socket) -> LocalBoxFuture<'static, Result<(), BoxError>> + Send + Sync>;

/// The function for the next connection.
type SharedFn = ArcSwap<Guarded<ServeFn>>;

/// The handler of [`with_fn`](crate::AcceptorPool::with_fn): each connection is served by an async fn. Create one with
/// [`new`](FnService::new) for [`Listener::service`](crate::Listener::service).
pub struct FnService {
    serve: ServeFn,
}

/// The actor type of a pool whose connections are served by an async fn and have no actor.
#[derive(Debug)]
pub enum NoActor {}

/// What an async fn that serves a connection may return: nothing, or a result.
#[diagnostic::on_unimplemented(
    message = "an async fn that serves a connection cannot return `{Self}`",
    note = "it returns `()` or `Result<(), E>`, where `E` is an error or a string (`E: Into<BoxError>`)"
)]
pub trait IntoServeResult {
    /// Converts the return value to a result.
    fn into_serve_result(self) -> Result<(), BoxError>;
}

impl IntoServeResult for () {
    fn into_serve_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<E: Into<BoxError>> IntoServeResult for Result<(), E> {
    fn into_serve_result(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

impl FnService {
    /// Creates a service, with the argument of [`AcceptorPool::with_fn`](crate::AcceptorPool::with_fn).
    pub fn new<F, T>(serve: F) -> Self
    where
        F: Fn(Socket) -> T + Send + Sync + 'static,
        T: Future<Output: IntoServeResult> + 'static,
    {
        FnService { serve: Box::new(move |socket| serve(socket).map(IntoServeResult::into_serve_result).boxed_local()) }
    }
}

#[allow(private_interfaces)]
impl Service for FnService {
    type Actor = NoActor;

    fn into_listener_service(self) -> Arc<ListenerService> {
        let serve = Arc::new(SharedFn::from_pointee(Guarded::new(self.serve)));
        ListenerService::new(ConnectionKind::of::<NoActor, Bytes>(), FnSpawner(serve.clone()), serve)
    }
}

impl sealed::Sealed for FnService {}

impl fmt::Debug for FnService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnService").finish_non_exhaustive()
    }
}

/// How long an async fn may run after the pool has ended its connection. After that it is dropped.
const CLOSE_GRACE: Duration = Duration::from_millis(100);

struct FnSpawner(Arc<SharedFn>);

impl ConnectionSpawner for FnSpawner {
    fn spawn(&self, stream: Stream, guard: ConnectionGuard, handshake: Option<Box<HandshakeChain>>, _: Arc<Config>) {
        let serve = self.0.clone();
        Socket::new(stream, guard, handshake).when_ready(move |socket| start(&serve, socket));
    }

    /// Without a packet timeout: the fn decodes packets itself.
    fn timeouts(&self, config: &Config) -> Timeouts {
        Timeouts { packet: 0, ..config.timeouts() }
    }
}

/// Calls the async fn and runs it to its end.
fn start(serve: &SharedFn, socket: Socket) {
    let shared = socket.shared();
    shared.set_ready();
    let activity = shared.begin_activity();
    let started = catch_panic(|| (serve.load_full())(socket));
    drop(activity);
    let served = match started {
        Err(panic) => return shared.set_close_reason(CloseReason::Panic, Some(panic)),
        Ok(served) => served,
    };
    actix_rt::spawn(async move {
        let mut served = AssertUnwindSafe(served).catch_unwind();
        let served = poll_fn(|cx| {
            let _activity = shared.begin_activity();
            served.poll_unpin(cx)
        });
        let closed = shared.closed_by_pool().then(|()| tokio::time::sleep(CLOSE_GRACE));
        match select(pin!(served), pin!(closed)).await {
            Either::Left((Ok(Ok(())), _)) => {}
            Either::Left((Ok(Err(error)), _)) => {
                // Formatting a user-defined error may panic.
                let (reason, detail) = catch_panic(|| {
                    let closed = match Closed::from(error) {
                        closed if shared.has_peer_left() => closed.after_end_of_input(),
                        closed => closed,
                    };
                    if let Closed::Handshake(error) = &closed {
                        shared.set_handshake_failure(error);
                    }
                    (closed.reason(), closed.detail())
                })
                .unwrap_or_else(|panic| (CloseReason::Error, Some(panic)));
                shared.set_close_reason(reason, detail);
            }
            Either::Left((Err(panic), _)) => shared.set_close_reason(CloseReason::Panic, Some(panic_text(panic))),
            // The fn does not use its socket: both are dropped.
            Either::Right(_) => {}
        }
    });
}

impl Pool<NoActor> {
    /// Replaces the async fn that serves each new connection, as given to
    /// [`AcceptorPool::with_fn`](crate::AcceptorPool::with_fn). Existing connections keep their fn.
    ///
    /// # Errors
    /// [`PoolEnded`] when the pool has ended.
    pub fn set_fn<F, T>(&self, serve: F) -> Result<(), PoolEnded>
    where
        F: Fn(Socket) -> T + Send + Sync + 'static,
        T: Future<Output: IntoServeResult> + 'static,
    {
        let serve = Arc::new(Guarded::new(FnService::new(serve).serve));
        self.for_each_factory(|factory: Arc<SharedFn>| factory.store(serve.clone()))
    }
}
