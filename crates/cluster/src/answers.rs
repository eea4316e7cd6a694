//! The answers to questions: of connections, and of the node.

use std::collections::HashMap;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::sync::Arc;

use actix::dev::{MessageResponse, OneshotSender, SendError};
use actix::prelude::*;
use actix_acceptor::{Connection, ConnectionContext, ConnectionId};
use futures::future::{BoxFuture, FutureExt};
use parking_lot::RwLock;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::cluster::ClusterProtocol;
use crate::connection::Question;
use crate::direct::Outcome;
use crate::node::Node;
use crate::Format;

/// With the result of a question, if it is done.
pub(crate) type Answered = (Outcome, Vec<u8>);

/// Answers questions of one type that connections are asked until a moment.
type OfConnection<P, F> =
    dyn Fn(&Node<P, F>, ConnectionId, &[u8], Instant) -> BoxFuture<'static, Answered> + Send + Sync;

/// Answers questions of one type that the node is asked.
type OfNode<P, F> = dyn Fn(&Node<P, F>, &[u8]) -> BoxFuture<'static, Answered> + Send + Sync;

type ByName<A> = HashMap<&'static str, Arc<A>>;

/// The answers, by the name of the question.
pub(crate) struct Answers<P: ClusterProtocol, F: Format> {
    of_connections: RwLock<ByName<OfConnection<P, F>>>,
    /// `None` once the node has left.
    of_node: RwLock<Option<ByName<OfNode<P, F>>>>,
}

impl<P: ClusterProtocol, F: Format> Default for Answers<P, F> {
    fn default() -> Self {
        Answers { of_connections: RwLock::default(), of_node: RwLock::new(Some(HashMap::new())) }
    }
}

impl<P: ClusterProtocol, F: Format> Answers<P, F> {
    pub(crate) fn add_of_connections<M: Question>(&self)
    where
        Connection<P>: Actor<Context = ConnectionContext<P>> + Handler<M>,
    {
        self.of_connections.write().insert(M::NAME, Arc::new(ask_connection::<P, F, M>));
    }

    pub(crate) fn add_of_node<M: Question, A>(&self, answer: impl Fn(M) -> A + Send + Sync + 'static)
    where
        A: Future<Output = M::Result> + Send + 'static,
    {
        let answer: Arc<OfNode<P, F>> = Arc::new(move |node: &Node<P, F>, body: &[u8]| {
            let question = match node.format.decode::<M>(body) {
                Ok(question) => question,
                Err(error) => return ready(node.unreadable(error)),
            };
            let (answer, format) = (answer(question), node.format.clone());
            async move { done(&format, &answer.await) }.boxed()
        });
        let former = match &mut *self.of_node.write() {
            Some(answers) => answers.insert(M::NAME, answer),
            None => Some(answer),
        };
        // Outside the lock: it is the user's.
        drop(former);
    }

    /// Drops the answers of the node, which may own handles of it, and those that are added later.
    pub(crate) fn clear(&self) {
        let former = self.of_node.write().take();
        // A panic while they are dropped must not keep the node from ending.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(former)));
    }

    pub(crate) fn of_connections(&self, question: &str) -> Option<Arc<OfConnection<P, F>>> {
        self.of_connections.read().get(question).cloned()
    }

    pub(crate) fn of_node(&self, question: &str) -> Option<Arc<OfNode<P, F>>> {
        self.of_node.read().as_ref()?.get(question).cloned()
    }
}

pub(crate) fn ready(outcome: Outcome) -> BoxFuture<'static, Answered> {
    futures::future::ready((outcome, Vec::new())).boxed()
}

fn done(format: &impl Format, result: &impl Serialize) -> Answered {
    match format.encode(result) {
        Ok(body) => (Outcome::Done, body),
        Err(error) => (Outcome::Refused(error.to_string()), Vec::new()),
    }
}

fn ask_connection<P: ClusterProtocol, F: Format, M: Question>(
    node: &Node<P, F>,
    id: ConnectionId,
    body: &[u8],
    deadline: Instant,
) -> BoxFuture<'static, Answered>
where
    Connection<P>: Actor<Context = ConnectionContext<P>> + Handler<M>,
{
    let question = match node.format.decode::<M>(body) {
        Ok(question) => question,
        Err(error) => return ready(node.unreadable(error)),
    };
    let Some(address) = node.pool.find(id) else { return ready(Outcome::Gone) };
    let (sender, result) = oneshot::channel();
    let has_panicked = Arc::new(AtomicBool::new(false));
    match address.try_send::<Ask<M>>(Ask { question, deadline, result: sender, has_panicked: has_panicked.clone() }) {
        Ok(()) => {}
        Err(SendError::Full(_)) => return ready(Outcome::Full),
        Err(SendError::Closed(_)) => return ready(Outcome::Gone),
    }
    let format = node.format.clone();
    async move {
        match result.await {
            Ok(result) => done(&format, &result),
            Err(_) if has_panicked.load(Acquire) => {
                (Outcome::Refused("the handler of the question panicked".to_owned()), Vec::new())
            }
            Err(_) => (Outcome::Gone, Vec::new()),
        }
    }
    .boxed()
}

/// A question on its way through the mailbox of a connection.
struct Ask<M: Question> {
    question: M,
    deadline: Instant,
    result: OneshotSender<M::Result>,
    has_panicked: Arc<AtomicBool>,
}

impl<M: Question> Message for Ask<M> {
    type Result = ();
}

impl<P: ClusterProtocol, M: Question> Handler<Ask<M>> for Connection<P>
where
    Connection<P>: Actor<Context = ConnectionContext<P>> + Handler<M>,
{
    type Result = ();

    fn handle(&mut self, ask: Ask<M>, ctx: &mut ConnectionContext<P>) {
        struct Panicked(Arc<AtomicBool>);
        impl Drop for Panicked {
            fn drop(&mut self) {
                self.0.store(std::thread::panicking(), Release);
            }
        }
        let Ask { question, deadline, result, has_panicked } = ask;
        if Instant::now() >= deadline {
            // The asker has given up.
            return;
        }
        // After `result`, so it is dropped first. The panic itself goes on, and ends the connection.
        let panicked = Panicked(has_panicked);
        let response = Handler::<M>::handle(self, question, ctx);
        response.handle(ctx, Some(result));
        drop(panicked);
    }
}
