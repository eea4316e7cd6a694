//! Who is in a topic, on all nodes.

use std::sync::Arc;

use actix_acceptor::{BoxError, ConnectionId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::cluster::ClusterProtocol;
use crate::direct::Life;
use crate::node::Node;
use crate::{ClusterTopic, DeliveryError, Format};

/// A page of one node has at most this many members, so that its answer stays below the limits of NATS.
const MAX_OF_NODE: usize = 1_000;

/// A member of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// The node of the connection.
    pub node: Arc<str>,
    /// The id of the connection on its node.
    pub id: ConnectionId,
    /// The label of the connection.
    pub label: Option<String>,
    pub(crate) life: Life,
}

/// Where the next page of a [presence](ClusterTopic::presence) begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    node: String,
    after: u64,
}

/// A part of the members of a topic.
#[derive(Debug)]
#[non_exhaustive]
pub struct PresencePage {
    /// The members, sorted by node and id.
    pub members: Vec<Member>,
    /// Where the next page begins. `None` if this is the last one.
    pub next: Option<Cursor>,
    /// The nodes that have not answered, although they have a lease.
    pub unreachable: Vec<String>,
}

/// What a node is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PageRequest {
    topic: String,
    after: Option<u64>,
    limit: usize,
}

/// The answer of a node: ids and labels, ascending, and whether there are more.
#[derive(Debug, Default, Serialize, Deserialize)]
struct PageOfNode {
    life: Life,
    members: Vec<(u64, Option<String>)>,
    has_more: bool,
}

impl<P: ClusterProtocol, F: Format> ClusterTopic<P, F> {
    /// The members on all nodes, a page at a time: at most `limit` of them, from `from` on.
    ///
    /// The pages of one node are read one after the other, so that members that join or leave meanwhile may be missed, but none is
    /// there twice.
    ///
    /// # Errors
    /// [`DeliveryError::Disconnected`]: the server cannot be asked which nodes there are.
    pub async fn presence(&self, from: Option<Cursor>, limit: usize) -> Result<PresencePage, DeliveryError> {
        let nodes = self.node.nodes().await.map_err(|_| DeliveryError::Disconnected)?;
        let mut page = PresencePage { members: Vec::new(), next: None, unreachable: Vec::new() };
        let start = from.as_ref().map_or("", |cursor| &*cursor.node);
        for (node, _) in nodes.iter().filter(|(node, _)| node.as_str() >= start) {
            let mut after = from.as_ref().filter(|cursor| cursor.node == *node).map(|cursor| cursor.after);
            loop {
                if page.members.len() == limit {
                    page.next = Some(Cursor { node: node.clone(), after: after.unwrap_or(0) });
                    return Ok(page);
                }
                let left = (limit - page.members.len()).min(MAX_OF_NODE);
                let request = PageRequest { topic: self.name().to_owned(), after, limit: left };
                let Ok(answer) = self.node.page_of(node, request).await else {
                    page.unreachable.push(node.clone());
                    break;
                };
                after = answer.members.last().map(|(id, _)| *id).or(after);
                let node: Arc<str> = node.as_str().into();
                page.members.extend(answer.members.into_iter().map(|(id, label)| {
                    let id = ConnectionId::from(id);
                    Member { node: node.clone(), id, label, life: answer.life }
                }));
                if !answer.has_more {
                    break;
                }
            }
        }
        Ok(page)
    }
}

impl<P: ClusterProtocol, F: Format> Node<P, F> {
    async fn page_of(&self, node: &str, request: PageRequest) -> Result<PageOfNode, BoxError> {
        if *node == *self.name {
            return Ok(self.page(&request));
        }
        let subject = self.presence_subject(node).ok_or("the name of the node is too long")?;
        let request = crate::direct::encode(&request, &[])?;
        let answer = self.bus.request(&subject, request, self.request_timeout).await.map_err(DeliveryError::from)?;
        Ok(crate::direct::decode(&answer)?.0)
    }

    /// Answers the request of another node.
    pub(crate) fn answer_page(&self, request: &[u8]) -> Bytes {
        let page = match crate::direct::decode::<PageRequest>(request) {
            Ok((request, _)) => self.page(&request),
            Err(error) => {
                self.refusals.add(&self.name, &error);
                return Bytes::new();
            }
        };
        // Cannot fail: a page has numbers and strings only.
        crate::direct::encode(&page, &[]).unwrap_or_default()
    }

    fn page(&self, request: &PageRequest) -> PageOfNode {
        let members = self.pool.topic(&request.topic).members();
        let from = members.partition_point(|id| Some(id.get()) <= request.after);
        let limit = request.limit.min(MAX_OF_NODE);
        let rest = &members[from..];
        let page = rest.iter().take(limit).map(|id| {
            let label = self.pool.connection_info(*id).and_then(|info| info.label.map(|label| label.to_string()));
            (id.get(), label)
        });
        PageOfNode { life: self.life, members: page.collect(), has_more: rest.len() > limit }
    }
}
