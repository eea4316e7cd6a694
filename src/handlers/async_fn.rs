//! The door `serve`: an async fn that owns its socket, as reagent's `handle/1`.

use std::future::{poll_fn, Future};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{select, Either, LocalBoxFuture};
use futures::FutureExt;

use super::{sealed, socket_limits, Latest, Opened, Service};
use crate::acceptor::ConnectionSpawner;
use crate::connection::{Closed, Reconfigure, Terms};
use crate::error::{BoxError, PoolEnded};
use crate::panic::{catch_panic, panic_text};
use crate::pool::Pool;
use crate::socket::{Incoming, Socket, SocketLimits};
use crate::telemetry::CloseReason;

type Serve = Arc<dyn Fn(Socket) -> LocalBoxFuture<'static, Result<(), BoxError>> + Send + Sync>;

/// The door [`serve`](crate::AcceptorPool::with_fn).
pub struct FnService {
    serve: Serve,
}

/// Behind a connection of the door [`serve`](crate::AcceptorPool::with_fn) there is no actor, but a task.
#[derive(Debug)]
pub enum NoActor {}

/// What an async fn that serves a connection may return: nothing, or a result.
pub trait IntoServeResult {
    /// The outcome as a result.
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
    pub(crate) fn new<F, T>(serve: F) -> Self
    where
        F: Fn(Socket) -> T + Send + Sync + 'static,
        T: Future<Output: IntoServeResult> + 'static,
    {
        FnService { serve: Arc::new(move |socket| serve(socket).map(IntoServeResult::into_serve_result).boxed_local()) }
    }
}

#[allow(private_interfaces)]
impl Service for FnService {
    type Actor = NoActor;

    fn open(self, terms: Terms) -> Opened {
        let spawner =
            FnSpawner { serve: Arc::new(Latest::new(self.serve)), limits: Latest::new(socket_limits(&terms)) };
        let left = spawner.serve.clone();
        let reconfigure = Arc::new(spawner);
        Opened { spawner: reconfigure.clone(), reconfigure, left: Some(left) }
    }
}

impl sealed::Sealed for FnService {}

/// How long an async fn whose connection was ended has to end itself; then it is dropped.
const AFTER_KILL: Duration = Duration::from_millis(100);

struct FnSpawner {
    serve: Arc<Latest<Serve>>,
    limits: Latest<SocketLimits>,
}

impl ConnectionSpawner for FnSpawner {
    fn open(&self, incoming: Incoming) {
        let socket = Socket::accept(incoming, self.limits.get());
        if socket.is_ready() {
            return begin(&self.serve, socket);
        }
        let serve = self.serve.clone();
        actix_rt::spawn(async move {
            if let Some(socket) = socket.shake().await {
                begin(&serve, socket);
            }
        });
    }

    fn shortest_limit(&self) -> u32 {
        self.limits.get().shortest()
    }
}

impl Reconfigure for FnSpawner {
    fn set_terms(&self, terms: Terms) {
        self.limits.set(socket_limits(&terms));
    }
}

/// Calls the async fn, and sees it to its end.
fn begin(serve: &Latest<Serve>, socket: Socket) {
    let shared = socket.shared();
    shared.ready();
    let at_work = shared.at_work();
    let begun = catch_panic(|| (serve.get())(socket));
    drop(at_work);
    let served = match begun {
        Err(panic) => return shared.note(CloseReason::Panic, Some(panic)),
        Ok(served) => served,
    };
    actix_rt::spawn(async move {
        let mut served = AssertUnwindSafe(served).catch_unwind();
        let served = poll_fn(|cx| {
            let _at_work = shared.at_work();
            served.poll_unpin(cx)
        });
        let killed = shared.killed().then(|()| tokio::time::sleep(AFTER_KILL));
        match select(pin!(served), pin!(killed)).await {
            Either::Left((Ok(Ok(())), _)) => {}
            Either::Left((Ok(Err(error)), _)) => {
                let closed = Closed::from(error);
                // An error of the user's may panic when it is shown.
                let text = catch_panic(|| closed.to_string()).unwrap_or_else(|panic| panic);
                shared.note(closed.reason(), Some(text));
            }
            Either::Left((Err(panic), _)) => shared.note(CloseReason::Panic, Some(panic_text(panic))),
            // It does not look at its socket: it is dropped, and with it the socket.
            Either::Right(_) => {}
        }
    });
}

impl Pool<NoActor> {
    /// Replaces the async fn that serves each new connection, as given to
    /// [`AcceptorPool::with_fn`](crate::AcceptorPool::with_fn). Existing connections keep theirs.
    ///
    /// # Errors
    /// [`PoolEnded`] when the pool has ended.
    pub fn set_fn<F, T>(&self, serve: F) -> Result<(), PoolEnded>
    where
        F: Fn(Socket) -> T + Send + Sync + 'static,
        T: Future<Output: IntoServeResult> + 'static,
    {
        self.handler::<Latest<Serve>>()?.set(FnService::new(serve).serve);
        Ok(())
    }
}
