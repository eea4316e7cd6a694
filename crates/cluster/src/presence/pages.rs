//! Pages of the members of a topic.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::{BoxError, ConnectionId};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::Serialize;
use tokio::time::Instant;

use super::wire::{PageOfNode, PageRequest, Request};
use super::{Member, MAX_LABEL};
use crate::cluster::ClusterProtocol;
use crate::direct::{self, Life};
use crate::envelope::Refused;
use crate::node::Node;
use crate::{ClusterTopic, DeliveryError, Format};

/// A page of one node has at most this many members, and takes up at most this many bytes, unless the server allows less.
const MAX_OF_NODE: usize = 1_000;
const MAX_BYTES: usize = 128 * 1_024;

/// What a page takes up beside its members, and a member beside its label, at most.
const OVERHEAD: usize = 64;
pub(super) const OVERHEAD_OF_MEMBER: usize = 16;

/// Where the next page of [`presence`](ClusterTopic::presence) begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    node: String,
    after: Option<(Life, u64)>,
}

/// A part of the members of a topic.
#[derive(Debug)]
#[non_exhaustive]
pub struct PresencePage {
    /// The members, sorted by node and id.
    pub members: Vec<Member>,
    /// Where the next page begins. `None` if this is the last one.
    pub next: Option<Cursor>,
    /// The nodes that have a lease but did not answer. Their members are missing.
    pub unreachable: Vec<Arc<str>>,
}

impl<P: ClusterProtocol, F: Format> ClusterTopic<P, F> {
    /// A page of the members on all nodes: at most `limit` of them, starting at `from`.
    ///
    /// The pages of one node are read one after the other, so members that join or leave in the meantime may be missed, but none is
    /// listed twice. If a node restarts in the meantime, its members are listed again from the first.
    ///
    /// A call takes at most the [`request_timeout`](crate::ClusterBuilder::request_timeout). If nodes that do not answer use it up, the
    /// page ends early, and the next one begins with the first node that was not asked yet.
    ///
    /// To follow the changes, use [`watch`](ClusterTopic::watch).
    ///
    /// # Errors
    /// [`DeliveryError::Disconnected`]: the server cannot be asked which nodes there are.
    pub async fn presence(&self, from: Option<Cursor>, limit: usize) -> Result<PresencePage, DeliveryError> {
        let nodes = self.node.nodes().await.map_err(|_| DeliveryError::Disconnected)?;
        let mut page = PresencePage { members: Vec::new(), next: None, unreachable: Vec::new() };
        let (deadline, interval) = (Instant::now() + self.node.request_timeout, self.node.naming.lease.interval());
        let start = from.as_ref().map_or("", |cursor| &*cursor.node);
        for (node, incarnation) in nodes.iter().filter(|(node, _)| node.as_str() >= start) {
            let mut after = from.as_ref().filter(|cursor| cursor.node == *node).and_then(|cursor| cursor.after);
            loop {
                if page.members.len() >= limit || Instant::now() >= deadline {
                    page.next = Some(Cursor { node: node.clone(), after });
                    return Ok(page);
                }
                let left = limit - page.members.len();
                let request = PageRequest { topic: self.name().to_owned(), after, limit: left };
                // A node that hangs loses its lease meanwhile.
                let within = (deadline - Instant::now()).min(interval);
                let Ok(mut answer) = self.node.page_of(node, incarnation.life, request, within).await else {
                    page.unreachable.push(node.as_str().into());
                    break;
                };
                let life = answer.life;
                answer.members.truncate(left);
                let last = answer.members.last().map(|(id, _)| (life, *id));
                // An answer that goes on with the same member would be asked for without an end.
                let (has_more, goes_on) = (answer.has_more, last.is_some() && last != after);
                after = last.or(after);
                let node: Arc<str> = node.as_str().into();
                page.members.extend(answer.members.into_iter().map(|(id, label)| {
                    let id = ConnectionId::from(id);
                    Member { node: node.clone(), life, id, label }
                }));
                if !has_more {
                    break;
                } else if !goes_on {
                    page.unreachable.push(node);
                    break;
                }
            }
        }
        Ok(page)
    }
}

impl<P: ClusterProtocol, F: Format> Node<P, F> {
    pub(super) async fn page_of(
        &self,
        node: &str,
        life: Life,
        request: PageRequest,
        within: Duration,
    ) -> Result<PageOfNode, BoxError> {
        if *node == *self.name {
            return Ok(self.page(&request, MAX_BYTES));
        }
        self.ask_presence(node, life, &Request::Page(request), within).await
    }

    pub(super) async fn ask_presence<T: DeserializeOwned>(
        &self,
        node: &str,
        life: Life,
        request: &Request,
        within: Duration,
    ) -> Result<T, BoxError> {
        let subject = self.presence_subject(node, life).ok_or("the name of the node is too long")?;
        let request = direct::encode(request, &[])?;
        let answer = self.bus.request(&subject, request, within).await.map_err(DeliveryError::from)?;
        Ok(direct::decode_owned(&answer)?)
    }

    /// Answers the request of another node. Never panics.
    pub(crate) fn answer_presence(&self, request: &[u8]) -> Bytes {
        // Subscribers of `tracing` are code of the program.
        let answer = catch_unwind(AssertUnwindSafe(|| self.try_answer_presence(request)));
        answer.unwrap_or_default()
    }

    fn try_answer_presence(&self, request: &[u8]) -> Bytes {
        match direct::decode::<Request>(request) {
            Ok((Request::Page(request), _)) => {
                let allowed = self.bus.max_payload().unwrap_or(MAX_BYTES);
                encode(&self.page(&request, allowed.saturating_sub(OVERHEAD).min(MAX_BYTES)))
            }
            Ok((Request::Watch(topic), _)) => match self.watch(&topic, None) {
                Some(watching) => encode(&watching),
                None => {
                    self.refuse(&Refused::Body("too many topics are watched, or the name of one is too long".into()))
                }
            },
            Err(error) => self.refuse(&error),
        }
    }

    fn refuse(&self, why: &Refused) -> Bytes {
        self.refusals.add(&self.name, why);
        Bytes::new()
    }

    /// A page of about as many members as the bytes allow, at least one.
    fn page(&self, request: &PageRequest, max_bytes: usize) -> PageOfNode {
        let last = request.after.filter(|(life, _)| *life == self.life()).map(|(_, id)| ConnectionId::from(id));
        let limit = request.limit.min(MAX_OF_NODE);
        let mut ids = self.pool.topic(&request.topic).members_after(last, limit + 1);
        let mut page = PageOfNode { life: self.life(), members: Vec::new(), has_more: ids.len() > limit };
        ids.truncate(limit);
        let mut bytes = 0;
        for id in ids {
            let label = self.label_of(id);
            bytes += OVERHEAD_OF_MEMBER + label.as_ref().map_or(0, String::len);
            if bytes > max_bytes && !page.members.is_empty() {
                page.has_more = true;
                break;
            }
            page.members.push((id.get(), label));
        }
        page
    }

    /// The label of a connection, cut if it is too long.
    pub(super) fn label_of(&self, id: ConnectionId) -> Option<String> {
        let label = self.pool.connection_info(id)?.label?;
        let mut end = label.len().min(MAX_LABEL);
        while !label.is_char_boundary(end) {
            end -= 1;
        }
        Some(label[..end].to_owned())
    }
}

/// Cannot fail: an answer has numbers and strings only.
fn encode(answer: &impl Serialize) -> Bytes {
    direct::encode(answer, &[]).unwrap_or_default()
}
