//! A node: what its handles and tasks share, and how it starts, delivers and ends.

use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::telemetry::ObserverKey;
use actix_acceptor::{BoxError, Connection, Pool};
use bytes::Bytes;
use futures::future::FutureExt;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{watch, Notify, Semaphore};
use tokio::task::{AbortHandle, JoinHandle};
use tracing::warn;

use crate::answers::Answers;
use crate::bus::{Bus, Subject, Subscription};
use crate::cluster::ClusterProtocol;
use crate::direct::Life;
use crate::envelope::{self, Kind};
use crate::keep::{self, JoinError};
use crate::naming::Naming;
use crate::observer::Follow;
use crate::presence::{self, Published, RecentNodes, Watchers};
use crate::refusals::Refusals;
use crate::requests::{Asker, MAX_QUESTIONS};
use crate::runtime::Runtime;
use crate::state::StateSender;
use crate::subject::{token, token_length};
use crate::subscriptions::{self, Subscriptions};
use crate::{Format, RemoteError};

/// How long the server may take to confirm the first subscriptions.
const SUBSCRIBED_WITHIN: Duration = Duration::from_secs(10);

/// A node that does not start gives up after this time.
const RELEASED_WITHIN: Duration = Duration::from_secs(1);

/// A node.
pub(crate) struct Node<P: ClusterProtocol, F: Format> {
    pub(crate) pool: Pool<Connection<P>>,
    pub(crate) bus: Bus,
    pub(crate) runtime: Runtime,
    pub(crate) format: F,
    pub(crate) name: Arc<str>,
    pub(crate) prefix: String,
    pub(crate) request_timeout: Duration,
    pub(crate) subscriptions: Arc<Subscriptions>,
    pub(crate) naming: Arc<Naming>,
    /// Names of an incarnation without lease are to be registered again.
    pub(crate) is_lost: Arc<Notify>,
    pub(crate) answers: Answers<P, F>,
    /// One permit for each question that is being answered.
    pub(crate) questions: Arc<Semaphore>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) state: StateSender,
    #[cfg(feature = "metrics")]
    pub(crate) reported: crate::metrics::Reported,
    pub(crate) published: Arc<Published>,
    pub(crate) watchers: Arc<Watchers>,
    pub(crate) recent_nodes: RecentNodes,
    observer: Mutex<Option<ObserverKey>>,
    /// The subscriptions to what other nodes send to this one, until the node leaves.
    requests: Mutex<Option<[Subscription; 2]>>,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// What a node is made of.
pub(crate) struct NodeParts<P: ClusterProtocol, F> {
    pub(crate) pool: Pool<Connection<P>>,
    pub(crate) bus: Bus,
    pub(crate) runtime: Runtime,
    pub(crate) format: F,
    pub(crate) name: Arc<str>,
    pub(crate) prefix: String,
    pub(crate) ttl: Duration,
    pub(crate) request_timeout: Duration,
}

impl<P: ClusterProtocol, F: Format> Node<P, F> {
    /// Starts the tasks of the node. Without `starts_alone`, it is an error if the node cannot join the others at once.
    pub(crate) async fn start(parts: NodeParts<P, F>, starts_alone: bool) -> Result<Arc<Self>, JoinError> {
        let NodeParts { pool, bus, runtime, format, name, prefix, ttl, request_timeout } = parts;
        let node = Arc::new(Node {
            naming: Arc::new(Naming::new(&name, ttl)),
            is_lost: Arc::default(),
            pool,
            bus,
            runtime,
            format,
            name,
            prefix,
            request_timeout,
            subscriptions: Subscriptions::new(),
            answers: Answers::default(),
            questions: Arc::new(Semaphore::new(MAX_QUESTIONS)),
            refusals: Arc::default(),
            state: watch::Sender::default(),
            #[cfg(feature = "metrics")]
            reported: crate::metrics::Reported::default(),
            published: Arc::default(),
            watchers: Arc::default(),
            recent_nodes: RecentNodes::default(),
            observer: Mutex::default(),
            requests: Mutex::default(),
            tasks: Mutex::default(),
        });
        #[cfg(feature = "metrics")]
        {
            crate::metrics::describe();
            node.reported.report(&node.info());
        }
        let observer = node.pool.add_observer(Follow(Arc::downgrade(&node)));
        *node.observer.lock() = Some(observer);
        // Topics that have members already.
        node.pool.topics().iter().for_each(|(topic, _)| node.subscriptions.changed(topic));
        let link = node.bus.link_state();
        let follow = subscriptions::follow(Arc::downgrade(&node), node.subscriptions.clone(), link);
        let subscribe = node.runtime.spawn(follow);
        node.tasks.lock().push(subscribe.abort_handle());
        let mut unstarted = Unstarted(Some(node.clone()));
        match node.join(!starts_alone).await {
            // Other nodes use other settings, which does not change by itself.
            Err(error) if !starts_alone || error.is_mismatch() => {
                if let Some(released) = unstarted.release() {
                    let _ = released.await;
                }
                return Err(error);
            }
            Err(error) => warn!(node = &*node.name, %error, "the node starts alone"),
            Ok(()) => {}
        }
        let weak = || Arc::downgrade(&node);
        let tasks = [
            node.runtime.spawn(keep::heartbeats(weak())),
            node.runtime.spawn(keep::regain(weak(), node.is_lost.clone())),
            node.runtime.spawn(keep::releases(node.naming.clone())),
            node.runtime.spawn(keep::sweeps(weak())),
            node.runtime.spawn(keep::audits(weak())),
            node.runtime.spawn(presence::publish(weak(), node.published.clone())),
        ];
        node.tasks.lock().extend(tasks.map(|task| task.abort_handle()));
        unstarted.0 = None;
        Ok(node)
    }

    /// Whether this node answers the requests of others.
    pub(crate) fn is_answering(&self) -> bool {
        self.requests.lock().is_some()
    }

    /// Takes the lease, answers the requests of other nodes, and receives their messages.
    async fn join(self: &Arc<Self>, waits: bool) -> Result<(), JoinError> {
        self.first_lease(waits).await?;
        self.answer_requests().await?;
        let is_subscribed = self.subscriptions.until_subscribed(self.bus.link_state());
        if tokio::time::timeout(SUBSCRIBED_WITHIN, is_subscribed).await.is_err() {
            return Err(JoinError::Other(
                "the server has not confirmed the subscriptions of the node, or does not permit them".into(),
            ));
        }
        self.refresh_state();
        Ok(())
    }

    /// The subject of a topic, or the length that it would have.
    pub(crate) fn topic_subject(&self, topic: &str) -> Result<Subject, usize> {
        token(topic).map(|token| format!("{}.topic.{token}", self.prefix).into()).ok_or_else(|| token_length(topic))
    }

    /// The number of this process.
    pub(crate) fn life(&self) -> Life {
        self.naming.lease.life()
    }

    /// The subject of requests for a process of a node.
    pub(crate) fn node_subject(&self, node: &str, life: Life) -> Option<String> {
        token(node).map(|token| format!("{}.node.{token}.{life:016x}", self.prefix))
    }

    /// The subject of requests for pages of topics.
    pub(crate) fn presence_subject(&self, node: &str, life: Life) -> Option<String> {
        token(node).map(|token| format!("{}.presence.{token}.{life:016x}", self.prefix))
    }

    pub(crate) async fn answer_requests(self: &Arc<Self>) -> Result<(), BoxError> {
        if self.requests.lock().is_some() {
            return Ok(());
        }
        let node = Arc::downgrade(self);
        let on_page = move |request: Bytes| {
            let answer = node.upgrade().map(|node| node.answer_presence(&request)).unwrap_or_default();
            futures::future::ready(answer).boxed()
        };
        let pages = self
            .bus
            .answer(self.presence_subject(&self.name, self.life()).unwrap_or_default(), Box::new(on_page))
            .await?;
        // The builder has checked the name.
        let subject = self.node_subject(&self.name, self.life()).unwrap_or_default();
        let node = Arc::downgrade(self);
        let on_request = move |request: Bytes| match node.upgrade() {
            Some(node) => {
                let limit = node.bus.max_payload();
                node.handle(request, Asker::Node { limit })
            }
            None => futures::future::ready(Bytes::new()).boxed(),
        };
        let requests = self.bus.answer(subject, Box::new(on_request)).await?;
        self.bus.confirm().await?;
        if requests.is_refused() || pages.is_refused() {
            return Err("the permissions of the node do not allow it to subscribe to requests".into());
        }
        let mut answered = self.requests.lock();
        // Not after the node has left.
        *answered = (!self.bus.has_left()).then_some([requests, pages]);
        Ok(())
    }

    /// Sends what was published before, and gives up the lease. Other handles of the node get errors from now on.
    pub(crate) async fn leave(&self) {
        /// Also if the future is dropped.
        struct End<'a, P: ClusterProtocol, F: Format>(&'a Node<P, F>);

        impl<P: ClusterProtocol, F: Format> Drop for End<'_, P, F> {
            fn drop(&mut self) {
                self.0.stop();
                self.0.runtime.end();
            }
        }

        self.bus.leave();
        let end = End(self);
        let _ = tokio::time::timeout(self.request_timeout, self.bus.flush()).await;
        self.stop();
        self.naming.leave().await;
        self.bus.close().await;
        drop(end);
    }

    /// Ends the tasks of the node.
    fn stop(&self) {
        self.bus.leave();
        let observer = self.observer.lock().take();
        if let Some(observer) = observer {
            self.pool.remove_observer(observer);
            #[cfg(feature = "metrics")]
            crate::metrics::left(&self.name);
        }
        self.tasks.lock().drain(..).for_each(|task| task.abort());
        self.watchers.stop();
        let requests = self.requests.lock().take();
        drop(requests);
        self.answers.clear();
        self.subscriptions.clear();
        self.refresh_state();
    }

    pub(crate) fn send(&self, subject: &Subject, kind: Kind, body: &impl Serialize) -> Result<(), RemoteError> {
        let envelope = envelope::encode(&self.format, kind, body).map_err(RemoteError::Format)?;
        self.bus.publish(subject, envelope)
    }
}

impl<P: ClusterProtocol, F: Format> Drop for Node<P, F> {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Gives the lease back if a node does not start, also if the future is dropped: the next attempt would have to wait until it
/// expires.
struct Unstarted<P: ClusterProtocol, F: Format>(Option<Arc<Node<P, F>>>);

impl<P: ClusterProtocol, F: Format> Unstarted<P, F> {
    fn release(&mut self) -> Option<JoinHandle<()>> {
        let node = self.0.take()?;
        let runtime = node.runtime.clone();
        Some(runtime.spawn(async move { drop(tokio::time::timeout(RELEASED_WITHIN, node.naming.leave()).await) }))
    }
}

impl<P: ClusterProtocol, F: Format> Drop for Unstarted<P, F> {
    fn drop(&mut self) {
        let _ = self.release();
    }
}
