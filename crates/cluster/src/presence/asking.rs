//! What a watch asks of nodes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::BoxError;
use bytes::Bytes;
use tokio::sync::{mpsc, Mutex};
use tokio::time::Instant;

use super::wire::{PageRequest, Request, Watching};
use crate::bus::Subscription;
use crate::cluster::ClusterProtocol;
use crate::direct::Life;
use crate::incarnation::Incarnation;
use crate::node::Node;
use crate::Format;

/// The members of a page that is read.
const PAGE: usize = 1_000;

/// A list of the nodes is used by all watches of this node for this time.
const RECENT: Duration = Duration::from_millis(300);

/// The last list of the nodes.
pub(crate) type RecentNodes = Mutex<Option<(Instant, Vec<(String, Incarnation)>)>>;

/// The members of a node.
pub(super) struct Listed {
    pub(super) watching: Watching,
    /// With their labels. Empty if there are more than were asked for.
    pub(super) members: BTreeMap<u64, Option<String>>,
}

impl<P: ClusterProtocol, F: Format> Node<P, F> {
    /// The nodes that have a lease. `None` if the server cannot be asked.
    pub(super) async fn recent_nodes(&self) -> Option<Vec<(String, Incarnation)>> {
        let mut recent = self.recent_nodes.lock().await;
        if let Some((at, nodes)) = &*recent
            && at.elapsed() < RECENT
        {
            return Some(nodes.clone());
        }
        let nodes = self.nodes().await.ok()?;
        *recent = Some((Instant::now(), nodes.clone()));
        Some(nodes)
    }

    /// A node that has not answered until the next request is unreachable.
    fn watch_timeout(&self) -> Duration {
        self.request_timeout.min(self.naming.lease.interval())
    }

    /// Nothing is missed that another node publishes after it has answered a later request.
    pub(super) async fn subscribe_to_members(
        &self,
        subject: String,
        sender: mpsc::Sender<Bytes>,
    ) -> Option<Subscription> {
        // A message that does not fit leaves a gap.
        let on_message = Box::new(move |message| drop(sender.try_send(message)));
        let subscription = self.bus.subscribe(subject.into(), on_message).await.ok()?;
        let unnamed = self.bus.unnamed_refusals();
        self.bus.confirm().await.ok()?;
        (!subscription.is_refused() && self.bus.unnamed_refusals() == unnamed).then_some(subscription)
    }

    /// Asks a node to publish the changes of a topic.
    pub(super) async fn ask_to_publish(
        &self,
        (node, life): (&str, Life),
        topic: &Arc<str>,
        sender: &mpsc::Sender<Bytes>,
    ) -> Result<Watching, BoxError> {
        if *node == *self.name {
            return self.watch(topic, Some(sender)).ok_or_else(|| "too many topics are watched".into());
        }
        self.ask_presence(node, life, &Request::Watch(topic.to_string()), self.watch_timeout()).await
    }

    /// The same, and lists the members.
    pub(super) async fn list_members(
        &self,
        (node, life): (&str, Life),
        topic: &Arc<str>,
        sender: &mpsc::Sender<Bytes>,
        limit: usize,
    ) -> Result<Listed, BoxError> {
        let watching = self.ask_to_publish((node, life), topic, sender).await?;
        let (mut members, mut after) = (BTreeMap::new(), None);
        // Of too many, the number is enough.
        while watching.members <= limit && members.len() <= limit {
            let request = PageRequest { topic: topic.to_string(), after, limit: PAGE };
            let page = self.page_of(node, life, request, self.watch_timeout()).await?;
            let last = page.members.last().map(|(id, _)| (life, *id));
            let goes_on = page.has_more && last.is_some() && last != after;
            after = last.or(after);
            members.extend(page.members);
            if !goes_on {
                break;
            }
        }
        Ok(Listed { watching, members })
    }
}
