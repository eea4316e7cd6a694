//! The door `serve`: an async fn that owns its socket, as reagent's `handle/1`.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::future::LocalBoxFuture;
use futures::FutureExt;

use super::{sealed, socket_limits, Door, Opened};
use crate::acceptor::Seam;
use crate::error::BoxError;
use crate::guard::{guard, panic_text};
use crate::protocol::{Closed, Limits};
use crate::socket::{Incoming, Socket, SocketLimits};
use crate::telemetry::Reason;

type Serve = Box<dyn Fn(Socket) -> LocalBoxFuture<'static, Result<(), BoxError>> + Send + Sync>;

/// The door [`serve`](crate::AcceptorPool::serve).
pub struct ServeDoor {
    serve: Serve,
}

/// Behind a connection of the door [`serve`](crate::AcceptorPool::serve) there is no actor, but a task.
#[derive(Debug)]
pub enum Task {}

/// What an async fn that serves a connection may return: nothing, or a result.
pub trait Outcome {
    /// The outcome as a result.
    fn outcome(self) -> Result<(), BoxError>;
}

impl Outcome for () {
    fn outcome(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<E: Into<BoxError>> Outcome for Result<(), E> {
    fn outcome(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

impl ServeDoor {
    pub(crate) fn new<F, T>(serve: F) -> Self
    where
        F: Fn(Socket) -> T + Send + Sync + 'static,
        T: Future<Output: Outcome> + 'static,
    {
        ServeDoor { serve: Box::new(move |socket| serve(socket).map(Outcome::outcome).boxed_local()) }
    }
}

#[allow(private_interfaces)]
impl Door for ServeDoor {
    type Actor = Task;

    fn open(self, limits: Limits, _: Arc<str>) -> Opened {
        let seam = ServeSeam { serve: self.serve, limits: socket_limits(&limits) };
        Opened { seam: Arc::new(seam), left: None }
    }
}

impl sealed::Sealed for ServeDoor {}

struct ServeSeam {
    serve: Serve,
    limits: SocketLimits,
}

impl Seam for ServeSeam {
    fn open(&self, incoming: Incoming) {
        let socket = Socket::accept(incoming, self.limits);
        let desk = socket.desk();
        match guard(|| (self.serve)(socket)) {
            Err(panic) => desk.note(Reason::Panic, Some(panic)),
            Ok(served) => {
                actix_rt::spawn(async move {
                    match AssertUnwindSafe(served).catch_unwind().await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => {
                            let closed = Closed::from_error(error);
                            desk.note(closed.reason(), Some(closed.to_string()));
                        }
                        Err(panic) => desk.note(Reason::Panic, Some(panic_text(panic))),
                    }
                });
            }
        }
    }
}
