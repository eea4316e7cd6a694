//! Requests to nodes: asking, and what a node does for the requests of others.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::{BoxError, ConnectionId, OutboxError, User};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use serde::Serialize;
use tokio::time::Instant;

use crate::answers::{ready, Answered};
use crate::bus::NoAnswer;
use crate::cluster::ClusterProtocol;
use crate::direct::{self, Asks, Expects, Header, Outcome};
use crate::envelope::Refused;
use crate::incarnation::Incarnation;
use crate::lease;
use crate::node::Node;
use crate::state::PendingRequest;
use crate::subject::token;
use crate::{DeliveryError, Format, RemoteError};

/// A node handles at most this many questions at a time.
pub(crate) const MAX_QUESTIONS: usize = 1_024;

/// A request waits at most this long.
pub(crate) const MAX_WITHIN: Duration = Duration::from_secs(3_600);

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asker {
    /// The node itself. Not counted.
    Own,
    /// Another node. The answer has at most `limit` bytes.
    Node { limit: Option<usize> },
}

impl<P: ClusterProtocol, F: Format> Node<P, F> {
    pub(crate) fn encode(&self, value: &impl Serialize) -> Result<Vec<u8>, DeliveryError> {
        self.format.encode(value).map_err(DeliveryError::Format)
    }

    /// The incarnation for which a node has its lease.
    async fn incarnation_of(&self, node: &str) -> Result<Option<Incarnation>, DeliveryError> {
        let Some(key) = token(node) else { return Ok(None) };
        let buckets = self.buckets().await.map_err(|_| DeliveryError::Disconnected)?;
        lease::incarnation_of(&buckets.leases, &key).await.map_err(|_| DeliveryError::Disconnected)
    }

    /// Asks a node. `None` expects the one that has the lease at the moment.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        node: &str,
        expects: Option<Expects>,
        asks: Asks,
        body: &[u8],
        within: Duration,
    ) -> Result<Vec<u8>, DeliveryError> {
        if self.bus.has_left() {
            return Err(DeliveryError::Disconnected);
        }
        let asked = self.ask_before(node, expects, asks, body, within);
        match tokio::time::timeout(within, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(DeliveryError::Timeout),
        }
    }

    async fn ask_before(
        self: &Arc<Self>,
        node: &str,
        expects: Option<Expects>,
        asks: Asks,
        body: &[u8],
        within: Duration,
    ) -> Result<Vec<u8>, DeliveryError> {
        let (asked, is_own) = (Instant::now(), *node == *self.name);
        let expects = match expects {
            Some(expects) => expects,
            None if is_own => Expects::Life(self.life()),
            None => Expects::Lease(self.incarnation_of(node).await?.ok_or(DeliveryError::NoOwner)?),
        };
        // What is left of it.
        let within = within.saturating_sub(asked.elapsed());
        let header = Header { expects, within: direct::millis(within), asks };
        let request = direct::encode(&header, body).map_err(DeliveryError::Format)?;
        let answer = if is_own {
            self.handle(request, Asker::Own).await
        } else {
            let subject = self.node_subject(node, expects.life()).ok_or(DeliveryError::NoOwner)?;
            match self.bus.request(&subject, request, within).await {
                // It has its lease, so it has lost its connection a moment ago.
                Err(NoAnswer::NoResponder)
                    if self.incarnation_of(node).await?.is_some_and(|now| expects.allows(now)) =>
                {
                    return Err(DeliveryError::Disconnected);
                }
                answer => answer?,
            }
        };
        let (outcome, body) =
            direct::decode::<Outcome>(&answer).map_err(|error| DeliveryError::Format(error.into()))?;
        let node = || node.to_owned();
        match outcome {
            Outcome::Done => Ok(body.to_vec()),
            Outcome::Gone => Err(DeliveryError::NoOwner),
            Outcome::Full => Err(DeliveryError::Full),
            Outcome::Late => Err(DeliveryError::Timeout),
            Outcome::Busy => Err(DeliveryError::Busy { node: node() }),
            Outcome::TooLarge(size, limit) => Err(DeliveryError::TooLarge { size, limit }),
            Outcome::Refused(why) => Err(DeliveryError::Refused { node: node(), why }),
        }
    }

    /// Handles a request, and returns the answer. Never panics. A pending question does not keep the node running.
    pub(crate) fn handle(self: &Arc<Self>, request: Bytes, asker: Asker) -> BoxFuture<'static, Bytes> {
        let arrived = Instant::now();
        let (name, refusals) = (self.name.clone(), self.refusals.clone());
        let panicked = move || {
            refusals.add(&name, &Refused::Panic);
            Outcome::Refused("panic while the request was handled".to_owned())
        };
        let handled = catch_unwind(AssertUnwindSafe(|| match direct::decode::<Header>(&request) {
            Ok((header, body)) => self.outcome(header, body, arrived),
            Err(error) => {
                self.refusals.add(&self.name, &error);
                ready(Outcome::Refused(error.to_string()))
            }
        }));
        let handled = handled.unwrap_or_else(|_| ready(panicked()));
        let (pending, limit) = match asker {
            Asker::Own => (None, None),
            Asker::Node { limit } => (Some(PendingRequest::begin(&self.bus.counters)), limit),
        };
        async move {
            // Cannot fail: an outcome has numbers and a string.
            let encode = |outcome: &Outcome, body: &[u8]| direct::encode(outcome, body).unwrap_or_default();
            let (outcome, body) = match AssertUnwindSafe(handled).catch_unwind().await {
                Ok(answered) => answered,
                Err(_) => (panicked(), Vec::new()),
            };
            drop(pending);
            let answer = encode(&outcome, &body);
            match limit {
                Some(limit) if answer.len() > limit => encode(&Outcome::TooLarge(answer.len(), limit), &[]),
                _ => answer,
            }
        }
        .boxed()
    }

    fn is_expected(&self, expects: Expects) -> bool {
        match expects {
            Expects::Lease(incarnation) => self.naming.lease.incarnation() == Some(incarnation),
            Expects::Life(life) => self.life() == life,
        }
    }

    fn outcome(self: &Arc<Self>, header: Header, body: &[u8], arrived: Instant) -> BoxFuture<'static, Answered> {
        if let (Asks::Replaced(id, name), Expects::Lease(incarnation)) = (&header.asks, header.expects) {
            // Also without a lease at the moment.
            let given_up = self.clone().give_up(incarnation, (*id).into(), name.as_str().into());
            return async { (if given_up.await { Outcome::Done } else { Outcome::Gone }, Vec::new()) }.boxed();
        }
        if !self.is_expected(header.expects) {
            return ready(Outcome::Gone);
        }
        let deadline = arrived + Duration::from_millis(header.within.into()).min(MAX_WITHIN);
        ready(match header.asks {
            Asks::Reply(id) => self.send_here(id.into(), body),
            Asks::Message(id) => self.notify_here(id.into(), body),
            Asks::Replaced(..) => Outcome::Gone,
            Asks::Question(id, question) => match self.answers.of_connections(&question) {
                Some(answer) => return self.question(deadline, || answer(self, id.into(), body, deadline)),
                None => no_answer(&question, "Cluster::answers"),
            },
            Asks::NodeQuestion(question) => match self.answers.of_node(&question) {
                Some(answer) => return self.question(deadline, || answer(self, body)),
                None => no_answer(&question, "Cluster::node_answers"),
            },
        })
    }

    /// Answers a question until its deadline, unless there are too many of them.
    fn question(
        &self,
        deadline: Instant,
        answer: impl FnOnce() -> BoxFuture<'static, Answered>,
    ) -> BoxFuture<'static, Answered> {
        let Ok(permit) = self.questions.clone().try_acquire_owned() else { return ready(Outcome::Busy) };
        let answer = answer();
        async move {
            let answered = tokio::time::timeout_at(deadline, answer).await;
            drop(permit);
            answered.unwrap_or_else(|_| (Outcome::Late, Vec::new()))
        }
        .boxed()
    }

    pub(crate) fn unreadable(&self, error: BoxError) -> Outcome {
        let refused = Refused::Body(error);
        self.refusals.add(&self.name, &refused);
        Outcome::Refused(refused.to_string())
    }

    fn send_here(&self, id: ConnectionId, body: &[u8]) -> Outcome {
        let Some(connection) = self.pool.connection(id) else { return Outcome::Gone };
        match self.format.decode::<P::Reply>(body).map(|reply| connection.send(reply)) {
            Ok(Ok(())) => Outcome::Done,
            Ok(Err(OutboxError::Full(_))) => Outcome::Full,
            Ok(Err(OutboxError::Closed(_))) => Outcome::Gone,
            Ok(Err(error)) => Outcome::Refused(error.to_string()),
            Err(error) => self.unreadable(error),
        }
    }

    fn notify_here(&self, id: ConnectionId, body: &[u8]) -> Outcome {
        let Some(address) = self.pool.find(id) else { return Outcome::Gone };
        match self.format.decode::<P::User>(body).map(|message| address.try_send(User(message))) {
            Ok(Ok(())) => Outcome::Done,
            Ok(Err(actix::dev::SendError::Full(_))) => Outcome::Full,
            Ok(Err(actix::dev::SendError::Closed(_))) => Outcome::Gone,
            Err(error) => self.unreadable(error),
        }
    }
}

fn no_answer(question: &str, method: &str) -> Outcome {
    Outcome::Refused(format!("no answer to questions {question:?} is registered; see `{method}`"))
}

impl From<NoAnswer> for DeliveryError {
    fn from(no_answer: NoAnswer) -> Self {
        match no_answer {
            NoAnswer::NoResponder => DeliveryError::NoOwner,
            NoAnswer::Timeout => DeliveryError::Timeout,
            NoAnswer::NotSent(RemoteError::TooLarge { size, limit }) => DeliveryError::TooLarge { size, limit },
            NoAnswer::NotSent(_) => DeliveryError::Disconnected,
        }
    }
}
