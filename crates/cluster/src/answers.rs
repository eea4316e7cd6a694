//! The answers to questions: of connections, and of the node.

use std::collections::HashMap;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicU8, Ordering::*};
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

    /// Drops the answers of the node, which may own handles of it. Those that are added later are dropped at once.
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
    let unanswered = Arc::new(AtomicU8::new(GONE));
    match address.try_send::<Ask<M>>(Ask { question, deadline, result: sender, unanswered: unanswered.clone() }) {
        Ok(()) => {}
        Err(SendError::Full(_)) => return ready(Outcome::Full),
        Err(SendError::Closed(_)) => return ready(Outcome::Gone),
    }
    let format = node.format.clone();
    async move {
        match result.await {
            Ok(result) => done(&format, &result),
            Err(_) => match unanswered.load(Acquire) {
                PANICKED => (Outcome::Refused("the handler of the question panicked".to_owned()), Vec::new()),
                LATE => (Outcome::Late, Vec::new()),
                _ => (Outcome::Gone, Vec::new()),
            },
        }
    }
    .boxed()
}

/// A question on its way through the mailbox of a connection.
struct Ask<M: Question> {
    question: M,
    deadline: Instant,
    result: OneshotSender<M::Result>,
    unanswered: Arc<AtomicU8>,
}

/// Why a question has no result: the connection has ended, the handler has panicked, or the asker has given up before.
const GONE: u8 = 0;
const PANICKED: u8 = 1;
const LATE: u8 = 2;

impl<M: Question> Message for Ask<M> {
    type Result = ();
}

impl<P: ClusterProtocol, M: Question> Handler<Ask<M>> for Connection<P>
where
    Connection<P>: Actor<Context = ConnectionContext<P>> + Handler<M>,
{
    type Result = ();

    fn handle(&mut self, ask: Ask<M>, ctx: &mut ConnectionContext<P>) {
        struct Panicked(Arc<AtomicU8>);
        impl Drop for Panicked {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    self.0.store(PANICKED, Release);
                }
            }
        }
        let Ask { question, deadline, result, unanswered } = ask;
        if Instant::now() >= deadline {
            // Before `result` is dropped.
            unanswered.store(LATE, Release);
            return;
        }
        // After `result`, so it is dropped first. The panic itself goes on, and ends the connection.
        let panicked = Panicked(unanswered);
        let response = Handler::<M>::handle(self, question, ctx);
        response.handle(ctx, Some(result));
        drop(panicked);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde::Deserialize;
    use support::{connect, guests, Guest};

    use super::*;
    use crate::Cluster;

    #[derive(Message, Serialize, Deserialize)]
    #[rtype(result = "()")]
    struct Any;

    impl Question for Any {
        const NAME: &'static str = "any";
    }

    impl Handler<Any> for Connection<Guest> {
        type Result = ();

        fn handle(&mut self, _: Any, _: &mut ConnectionContext<Guest>) {}
    }

    #[actix::test]
    async fn a_question_that_is_skipped_in_the_mailbox_is_late() {
        let pool = guests(|_, _| actix_acceptor::Next::Continue).await;
        let cluster = Cluster::local().connect(&pool).await.expect("a node");
        let mut peer = connect(&pool).await;
        peer.expect(b"welcome\n").await;
        let (id, now) = (pool.list()[0].id, Instant::now());
        for (deadline, outcome) in [(now, Outcome::Late), (now + Duration::from_secs(60), Outcome::Done)] {
            let answered = support::in_time(ask_connection::<_, _, Any>(&cluster.node, id, &[], deadline)).await;
            assert_eq!(answered, (outcome, Vec::new()));
        }
    }
}
