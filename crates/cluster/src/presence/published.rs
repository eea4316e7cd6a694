//! The topics of this node that are watched, here or on other nodes.
//!
//! The events of the pool only say for which connections something may have changed. A task then looks at what they are, so the
//! order of events does not matter, and a burst of events is one message.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use actix_acceptor::ConnectionId;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, Notify};
use tokio::time::Instant;

use super::pages::OVERHEAD_OF_MEMBER;
use super::wire::{Changes, MemberState, Position, Watching};
use crate::cluster::ClusterProtocol;
use crate::direct;
use crate::node::Node;
use crate::Format;

/// The time between two messages about the same topic, at least.
const PAUSE: Duration = Duration::from_millis(10);

/// At most this many topics are watched.
const MAX_TOPICS: usize = 100_000;

/// If more connections have changed at once, the watchers list all members again.
const MAX_DIRTY: usize = 65_536;

/// A message has at most this many changes, and takes up about this many bytes at most, unless the server allows less.
const MAX_CHANGES: usize = 512;
const MAX_BYTES: usize = 32 * 1_024;

/// What a message takes up beside the name of the node and the changes, at most.
const OVERHEAD: usize = 96;

/// After this many looks at connections and topics, other tasks run.
const LOOKS_AT_ONCE: usize = 256;

/// The watched topics.
#[derive(Debug, Default)]
pub(crate) struct Published {
    is_watched: AtomicBool,
    topics: RwLock<HashMap<Arc<str>, Arc<PublishedTopic>>>,
    /// Those with connections for which something may have changed.
    dirty: Mutex<Vec<Arc<PublishedTopic>>>,
    /// Connections that have another label.
    labelled: Mutex<Dirty>,
    has_changed: Notify,
}

#[derive(Debug)]
struct PublishedTopic {
    name: Arc<str>,
    state: Mutex<TopicState>,
}

#[derive(Debug)]
struct TopicState {
    epoch: u64,
    sequence: u64,
    dirty: Dirty,
    /// The end of what other nodes have asked for.
    remote_until: Option<Instant>,
    /// The watchers of this node.
    local: Vec<mpsc::Sender<Bytes>>,
}

impl TopicState {
    fn begin_epoch(&mut self) {
        (self.epoch, self.sequence) = (crate::builder::random_number(), 0);
    }
}

/// Connections for which something may have changed.
#[derive(Debug, Default)]
struct Dirty {
    ids: HashSet<ConnectionId>,
    has_lost: bool,
}

impl Dirty {
    /// Returns whether it is the first one.
    fn add(&mut self, id: ConnectionId) -> bool {
        let is_first = self.ids.is_empty();
        if self.ids.len() < MAX_DIRTY {
            self.ids.insert(id);
        } else {
            self.has_lost = true;
        }
        is_first
    }
}

impl Published {
    /// The membership of a connection in this topic may have changed.
    pub(crate) fn changed(&self, topic: &str, id: ConnectionId) {
        if self.is_watched.load(Relaxed) {
            let topics = self.topics.read();
            if let Some(topic) = topics.get(topic).filter(|topic| topic.state.lock().dirty.add(id)) {
                self.dirty.lock().push(topic.clone());
                self.has_changed.notify_one();
            }
        }
    }

    pub(crate) fn labelled(&self, id: ConnectionId) {
        if self.is_watched.load(Relaxed) {
            self.labelled.lock().add(id);
            self.has_changed.notify_one();
        }
    }

    /// The number of topics.
    pub(crate) fn watched(&self) -> usize {
        self.topics.read().len()
    }

    /// Labels of any connections may have changed.
    fn all_changed(&self) {
        let topics: Vec<_> = self.topics.read().values().cloned().collect();
        topics.iter().for_each(|topic| topic.state.lock().dirty.has_lost = true);
        self.dirty.lock().extend(topics);
    }

    /// Changes after this are published. `None` if too many topics are watched.
    fn watch(&self, name: &str, until: Instant, by: Option<&mpsc::Sender<Bytes>>) -> Option<(u64, u64)> {
        let mut topics = self.topics.write();
        if !topics.contains_key(name) {
            if topics.len() == MAX_TOPICS {
                return None;
            }
            let state = TopicState {
                epoch: crate::builder::random_number(),
                sequence: 0,
                dirty: Dirty::default(),
                remote_until: None,
                local: Vec::new(),
            };
            let name: Arc<str> = name.into();
            topics.insert(name.clone(), Arc::new(PublishedTopic { name, state: Mutex::new(state) }));
            self.is_watched.store(true, Relaxed);
            // The task arranges for its end.
            self.has_changed.notify_one();
        }
        let mut state = topics.get(name)?.state.lock();
        match by {
            Some(sender) if state.local.iter().any(|other| other.same_channel(sender)) => {}
            Some(sender) => state.local.push(sender.clone()),
            None => state.remote_until = Some(until),
        }
        Some((state.epoch, state.sequence))
    }

    /// Forgets the topics that are no longer watched.
    fn purge(&self) {
        let now = Instant::now();
        let mut topics = self.topics.write();
        topics.retain(|_, topic| {
            let mut state = topic.state.lock();
            state.local.retain(|watcher| !watcher.is_closed());
            !state.local.is_empty() || state.remote_until.is_some_and(|until| now < until)
        });
        if topics.is_empty() {
            self.is_watched.store(false, Relaxed);
            *self.labelled.lock() = Dirty::default();
        }
    }

    /// Waits for something to publish, or until it is time to purge.
    async fn until_changed(&self, interval: Duration) {
        if self.is_watched.load(Relaxed) {
            let _ = tokio::time::timeout(interval, self.has_changed.notified()).await;
        } else {
            self.has_changed.notified().await;
        }
    }
}

/// Lets other tasks of the node run meanwhile.
#[derive(Default)]
struct Pace(usize);

impl Pace {
    async fn keep(&mut self, looks: usize) {
        self.0 += looks;
        if self.0 >= LOOKS_AT_ONCE {
            self.0 = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// Publishes the changes of watched topics.
pub(crate) async fn publish<P: ClusterProtocol, F: Format>(node: Weak<Node<P, F>>, published: Arc<Published>) {
    let mut purged = Instant::now();
    loop {
        let Some(interval) = node.upgrade().map(|node| node.naming.lease.interval()) else { return };
        published.until_changed(interval).await;
        let Some(node) = node.upgrade() else { return };
        if purged.elapsed() >= interval {
            published.purge();
            purged = Instant::now();
        }
        node.publish_changes().await;
        drop(node);
        tokio::time::sleep(PAUSE).await;
    }
}

impl<P: ClusterProtocol, F: Format> Node<P, F> {
    /// The subject of changes of the members of a topic, or the length that it would have.
    pub(super) fn members_subject(&self, topic: &str) -> Result<String, usize> {
        crate::subject::token(topic)
            .map(|token| format!("{}.members.{token}", self.prefix))
            .ok_or_else(|| crate::subject::token_length(topic))
    }

    /// Publishes the changes of a topic from now on: for one TTL, or to a watcher of this node.
    pub(super) fn watch(&self, topic: &str, by: Option<&mpsc::Sender<Bytes>>) -> Option<Watching> {
        self.members_subject(topic).ok()?;
        let until = Instant::now() + 3 * self.naming.lease.interval();
        // Before the members are looked at, here and for pages.
        let (epoch, sequence) = self.published.watch(topic, until, by)?;
        Some(Watching {
            incarnation: self.naming.lease.incarnation(),
            position: Position { life: self.life(), epoch, sequence },
            members: self.pool.topic(topic).len(),
        })
    }

    async fn publish_changes(&self) {
        let mut pace = Pace::default();
        for topic in self.changed_topics(&mut pace).await {
            self.publish_topic(&topic, &mut pace).await;
        }
    }

    /// The topics for which something may have changed. Of connections with other labels, only their topics are looked at.
    async fn changed_topics(&self, pace: &mut Pace) -> Vec<Arc<PublishedTopic>> {
        let labelled = std::mem::take(&mut *self.published.labelled.lock());
        if labelled.has_lost {
            self.published.all_changed();
        } else {
            for id in labelled.ids {
                let topics = self.pool.connection(id).map(|connection| connection.topics()).unwrap_or_default();
                topics.iter().for_each(|topic| self.published.changed(topic, id));
                pace.keep(1 + topics.len()).await;
            }
        }
        std::mem::take(&mut *self.published.dirty.lock())
    }

    async fn publish_topic(&self, published: &PublishedTopic, pace: &mut Pace) {
        let topic = self.pool.topic(&*published.name);
        let dirty = std::mem::take(&mut published.state.lock().dirty);
        if dirty.has_lost {
            published.state.lock().begin_epoch();
            self.send_changes(published, Vec::new());
            return pace.keep(1).await;
        }
        let allowed = self.bus.max_payload().unwrap_or(MAX_BYTES);
        let max_bytes = allowed.saturating_sub(OVERHEAD + self.name.len()).min(MAX_BYTES);
        let (mut members, mut bytes) = (Vec::new(), 0);
        for id in dirty.ids {
            let is_member = topic.contains(id);
            let label = if is_member { self.label_of(id) } else { None };
            let cost = OVERHEAD_OF_MEMBER + label.as_ref().map_or(0, String::len);
            if members.len() == MAX_CHANGES || (bytes + cost > max_bytes && !members.is_empty()) {
                self.send_changes(published, std::mem::take(&mut members));
                bytes = 0;
            }
            members.push((id.get(), if is_member { MemberState::Member(label) } else { MemberState::Gone }));
            bytes += cost;
            pace.keep(1).await;
        }
        if !members.is_empty() {
            self.send_changes(published, members);
        }
    }

    /// Sends a message to the watchers. One that is lost leaves a gap in the sequence, which the watchers notice.
    fn send_changes(&self, published: &PublishedTopic, members: Vec<(u64, MemberState)>) {
        let mut state = published.state.lock();
        state.sequence += 1;
        let position = Position { life: self.life(), epoch: state.epoch, sequence: state.sequence };
        let is_remote = state.remote_until.is_some_and(|until| Instant::now() < until);
        let local = state.local.clone();
        drop(state);
        let changes = Changes { node: self.name.to_string(), position, members };
        // Cannot fail: the changes have numbers and strings only.
        let message = direct::encode(&changes, &[]).unwrap_or_default();
        for watcher in local {
            let _ = watcher.try_send(message.clone());
        }
        if is_remote && let Ok(subject) = self.members_subject(&published.name) {
            let _ = self.bus.publish(&subject.into(), message);
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_acceptor::Next;
    use futures::FutureExt;
    use support::{connect, guests};

    use super::*;
    use crate::Cluster;

    #[actix::test]
    async fn a_label_is_looked_up_in_the_topics_of_its_connection_only() {
        let pool = guests(|_, _| Next::Continue).await;
        let cluster = Cluster::local().connect(&pool).await.expect("a local node");
        let mut peers = Vec::new();
        for _ in 0..100 {
            let mut peer = connect(&pool).await;
            peer.expect(b"welcome\n").await;
            peers.push(peer);
        }
        let until = Instant::now() + Duration::from_secs(600);
        for topic in 0..10_000 {
            cluster.node.published.watch(&format!("topic{topic}"), until, None);
        }
        cluster.node.published.watch("lobby", until, None);
        // Without an await, the task of the node does not run.
        let began = std::time::Instant::now();
        pool.list().iter().for_each(|connection| cluster.node.published.labelled(connection.id));
        let changed = cluster.node.changed_topics(&mut Pace::default()).now_or_never().expect("few looks");
        let names: Vec<_> = changed.iter().map(|topic| &*topic.name).collect();
        assert_eq!((names, changed[0].state.lock().dirty.ids.len()), (vec!["lobby"], 100));
        cluster.node.publish_topic(&changed[0], &mut Pace::default()).await;
        if std::env::var_os("CLUSTER_FIGURES").is_some() {
            println!("100 labels with 10,001 watched topics: {:?}", began.elapsed());
        }
    }
}
