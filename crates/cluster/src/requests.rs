//! What a node does for the requests of others.

use std::sync::Arc;

use actix::prelude::*;
use actix_acceptor::{Connection, ConnectionContext, ConnectionId, OutboxError, User};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use tracing::warn;

use crate::cluster::ClusterProtocol;
use crate::connection::Question;
use crate::direct::{self, Asks, Header, Outcome};
use crate::node::Node;
use crate::Format;

/// Answers questions of one type.
pub(crate) type Answer<P, F> =
    Box<dyn Fn(Arc<Node<P, F>>, ConnectionId, &[u8]) -> BoxFuture<'static, (Outcome, Vec<u8>)> + Send + Sync>;

/// The answer to questions of this type.
pub(crate) fn answer<P: ClusterProtocol, F: Format, M: Question>() -> Answer<P, F>
where
    Connection<P>: Actor<Context = ConnectionContext<P>> + Handler<M>,
{
    Box::new(|node, id, body| {
        let question = match node.format.decode::<M>(body) {
            Ok(question) => question,
            Err(error) => return refused(error.to_string()),
        };
        let Some(address) = node.pool.find(id) else { return gone() };
        async move {
            match address.send(question).await {
                Ok(result) => match node.format.encode(&result) {
                    Ok(body) => (Outcome::Done, body),
                    Err(error) => (Outcome::Refused(error.to_string()), Vec::new()),
                },
                Err(_) => (Outcome::Gone, Vec::new()),
            }
        }
        .boxed()
    })
}

fn refused(why: String) -> BoxFuture<'static, (Outcome, Vec<u8>)> {
    futures::future::ready((Outcome::Refused(why), Vec::new())).boxed()
}

fn gone() -> BoxFuture<'static, (Outcome, Vec<u8>)> {
    futures::future::ready((Outcome::Gone, Vec::new())).boxed()
}

impl<P: ClusterProtocol, F: Format> Node<P, F> {
    /// Handles a request, and returns the answer.
    pub(crate) fn handle(self: Arc<Self>, request: Bytes) -> BoxFuture<'static, Bytes> {
        let outcome = match direct::decode::<Header>(&request) {
            Ok((header, body)) => self.clone().outcome(header, body),
            Err(error) => {
                self.count_refused(&error);
                refused(error.to_string())
            }
        };
        async move {
            let (outcome, body) = outcome.await;
            // Cannot fail: an outcome has no more than a string.
            direct::encode(&outcome, &body).unwrap_or_default()
        }
        .boxed()
    }

    fn outcome(self: Arc<Self>, header: Header, body: &[u8]) -> BoxFuture<'static, (Outcome, Vec<u8>)> {
        if self.naming.lease.incarnation() != Some(header.incarnation) {
            return gone();
        }
        let id = ConnectionId::from(header.connection);
        let outcome = match header.asks {
            Asks::Reply => self.send_here(id, body),
            Asks::Message => self.notify_here(id, body),
            Asks::Replaced(name) => {
                self.replaced_here(&name, id);
                Outcome::Done
            }
            Asks::Question(name) => {
                let answer = self.answers.read().get(&*name).cloned();
                return match answer {
                    Some(answer) => answer(self, id, body),
                    None => refused(format!("no answer to questions {name:?} is registered; see `Cluster::answers`")),
                };
            }
        };
        futures::future::ready((outcome, Vec::new())).boxed()
    }

    fn send_here(&self, id: ConnectionId, body: &[u8]) -> Outcome {
        let Some(connection) = self.pool.connection(id) else { return Outcome::Gone };
        match self.format.decode::<P::Reply>(body).map(|reply| connection.send(reply)) {
            Ok(Ok(())) => Outcome::Done,
            Ok(Err(OutboxError::Full(_))) => Outcome::Full,
            Ok(Err(_)) => Outcome::Gone,
            Err(error) => Outcome::Refused(error.to_string()),
        }
    }

    fn notify_here(&self, id: ConnectionId, body: &[u8]) -> Outcome {
        let Some(address) = self.pool.find(id) else { return Outcome::Gone };
        match self.format.decode::<P::User>(body).map(|message| address.try_send(User(message))) {
            Ok(Ok(())) => Outcome::Done,
            Ok(Err(actix::dev::SendError::Full(_))) => Outcome::Full,
            Ok(Err(actix::dev::SendError::Closed(_))) => Outcome::Gone,
            Err(error) => Outcome::Refused(error.to_string()),
        }
    }

    pub(crate) fn count_refused(&self, error: &dyn std::fmt::Display) {
        warn!(node = &*self.name, %error, "a message of another node was refused");
        self.refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}
