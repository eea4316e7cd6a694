//! The task of a watch, which follows what all nodes publish about a topic.
//!
//! Each node is asked three times per TTL to publish changes. The members of a node are listed when the watch begins, and again
//! after messages were lost: each message has a number, and each answer has that of the last one.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use actix_acceptor::BoxError;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::asking::Listed;
use super::watch::{PresenceWatch, WatchError, WatchedSet};
use super::wire::{Changes, Position, Watching};
use crate::bus::Subscription;
use crate::cluster::ClusterProtocol;
use crate::direct;
use crate::incarnation::Incarnation;
use crate::node::Node;
use crate::{ClusterTopic, Format};

/// After a failure, the next attempt begins after this time.
const RETRY: Duration = Duration::from_millis(500);

/// How many messages wait for the task, and for the list of a node's members. Those that are lost are noticed.
const QUEUE: usize = 256;

impl<P: ClusterProtocol, F: Format> ClusterTopic<P, F> {
    /// Follows the members on all nodes: [`next`](PresenceWatch::next) first returns [`Joined`](super::PresenceChange::Joined) for
    /// each connection that is already a member, then the changes.
    ///
    /// [`members`](PresenceWatch::members) is the result of the changes returned so far, so each member joins once and leaves once.
    /// For a slow reader, several changes of one member are merged into one, or cancel out.
    ///
    /// The watch keeps at most `max_members` members, and ends with [`WatchError::TooMany`] if there are more. List the members of
    /// larger topics with [`presence`](ClusterTopic::presence).
    ///
    /// Changes arrive within about 10 ms; those on this node also without NATS. If messages are lost, the members are correct again
    /// within the [`ttl`](crate::ClusterBuilder::ttl). A new node is found within a third of it. The members of a node that has
    /// crashed leave when its lease has expired. Until then, as when a node does not answer for another reason, they stay, and the
    /// node is [unreachable](PresenceWatch::unreachable).
    ///
    /// A topic without a watch costs nothing. A watch costs a request to each node three times per `ttl`, and one message for the
    /// changes within 10 ms, up to 512 of them. If many connections need the changes, use one watch and forward its changes to
    /// them.
    ///
    /// ```
    /// # use actix_acceptor::Next;
    /// # use actix_acceptor_cluster::{Cluster, PresenceChange};
    /// # use support::{connect, eventually, guests};
    /// # actix::System::new().block_on(async {
    /// # let pool = guests(|_, _| Next::Continue).await;
    /// let cluster = Cluster::local().node("a").connect(&pool).await?;
    /// let mut watch = cluster.topic("lobby").watch(1_000);
    /// # let peer = connect(&pool).await;
    /// // A peer connects, and joins the topic.
    /// let Some(Ok(PresenceChange::Joined(member))) = watch.next().await else { panic!("no member") };
    /// assert_eq!((&*member.node, watch.members().len()), ("a", 1));
    /// # drop(peer);
    /// // It disconnects.
    /// let Some(Ok(PresenceChange::Left(former))) = watch.next().await else { panic!("it is still there") };
    /// assert_eq!((former, watch.members().len()), (member, 0));
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn watch(&self, max_members: usize) -> PresenceWatch {
        let set = Arc::new(WatchedSet::new(max_members));
        let (sender, events) = mpsc::channel(QUEUE);
        let follower = Follower {
            node: Arc::downgrade(&self.node),
            topic: self.name().into(),
            set: CloseOnDrop(set.clone()),
            limit: max_members,
            sender,
            subscription: None,
            nodes: HashMap::new(),
            work: FuturesUnordered::new(),
            is_subscribing: false,
            is_listing: false,
            is_listed: false,
            has_failed: false,
        };
        let task = self.node.runtime.spawn(follower.run(events));
        PresenceWatch { set, _task: self.node.watchers.add(task.abort_handle()) }
    }
}

/// Ends the stream of the reader when the task ends.
struct CloseOnDrop(Arc<WatchedSet>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

struct Follower<P: ClusterProtocol, F: Format> {
    node: Weak<Node<P, F>>,
    topic: Arc<str>,
    set: CloseOnDrop,
    limit: usize,
    sender: mpsc::Sender<Bytes>,
    subscription: Option<Subscription>,
    nodes: HashMap<Arc<str>, Followed>,
    work: FuturesUnordered<BoxFuture<'static, Done>>,
    is_subscribing: bool,
    is_listing: bool,
    /// The last list of nodes is one of the server.
    is_listed: bool,
    has_failed: bool,
}

/// A node that is followed.
struct Followed {
    /// `None`: this node.
    incarnation: Option<Incarnation>,
    /// When it was asked last.
    asked: Instant,
    /// A request to it is on its way.
    is_asked: bool,
    /// It has not answered the last request.
    is_silent: bool,
    /// As of the last answer.
    announced: u64,
    state: FollowState,
}

enum FollowState {
    /// Its changes are applied up to here.
    Live(Position),
    /// Its members must be listed. What it publishes meanwhile waits.
    Outdated(Vec<Changes>),
}

/// A piece of work that has ended.
enum Done {
    Subscribed(Option<Subscription>),
    /// The nodes that have a lease.
    Nodes(Option<Vec<(String, Incarnation)>>),
    /// A node publishes changes.
    Renewed(Arc<str>, Option<Incarnation>, Result<Watching, BoxError>),
    /// The members of a node.
    Listed(Arc<str>, Option<Incarnation>, Result<Listed, BoxError>),
}

impl<P: ClusterProtocol, F: Format> Follower<P, F> {
    async fn run(mut self, mut events: mpsc::Receiver<Bytes>) {
        let Some(interval) = self.node.upgrade().map(|node| node.naming.lease.interval()) else { return };
        let mut next_round = Instant::now();
        loop {
            tokio::select! {
                event = events.recv() => self.apply(event.unwrap_or_default()),
                Some(done) = self.work.next(), if !self.work.is_empty() => {
                    if !self.finish(done) {
                        // So that a failure is followed by another attempt soon.
                        next_round = next_round.min(Instant::now() + RETRY);
                    }
                }
                () = tokio::time::sleep_until(next_round) => {
                    if !self.begin_round() {
                        return;
                    }
                    next_round = Instant::now() + interval;
                }
            }
            self.report();
            if self.has_failed {
                return;
            }
        }
    }

    /// Asks which nodes there are, and this node to go on. Returns false if the node has ended.
    fn begin_round(&mut self) -> bool {
        let Some(node) = self.node.upgrade() else { return false };
        match (node.members_subject(&self.topic), &self.subscription) {
            (Err(length), _) => {
                self.set.0.fail(WatchError::NameTooLong { length, limit: crate::subject::MAX_TOKEN });
                return false;
            }
            (Ok(subject), None) if !self.is_subscribing => {
                self.is_subscribing = true;
                let (node, sender) = (node.clone(), self.sender.clone());
                self.work
                    .push(async move { Done::Subscribed(node.subscribe_to_members(subject, sender).await) }.boxed());
            }
            (Ok(_), None) => {}
            (Ok(_), Some(_)) => self.list_nodes(&node),
        }
        self.follow(node.name.clone(), None);
        true
    }

    fn list_nodes(&mut self, node: &Arc<Node<P, F>>) {
        if !self.is_listing {
            self.is_listing = true;
            let node = node.clone();
            self.work.push(async move { Done::Nodes(node.recent_nodes().await) }.boxed());
        }
    }

    /// Handles the end of a piece of work. Returns false if it has failed.
    fn finish(&mut self, done: Done) -> bool {
        match done {
            Done::Subscribed(subscription) => {
                self.is_subscribing = false;
                self.subscription = subscription;
                let node = self.node.upgrade().filter(|_| self.subscription.is_some());
                node.map(|node| self.list_nodes(&node)).is_some()
            }
            Done::Nodes(nodes) => {
                (self.is_listing, self.is_listed) = (false, nodes.is_some());
                nodes.map(|nodes| self.set_nodes(nodes)).is_some()
            }
            Done::Renewed(node, incarnation, answer) => self.renewed(node, incarnation, answer),
            Done::Listed(node, incarnation, listed) => self.listed(node, incarnation, listed),
        }
    }

    /// Follows these nodes, and no others.
    fn set_nodes(&mut self, nodes: Vec<(String, Incarnation)>) {
        let nodes: HashMap<Arc<str>, Incarnation> =
            nodes.into_iter().map(|(name, incarnation)| (name.into(), incarnation)).collect();
        let set = &self.set.0;
        self.nodes.retain(|name, followed| {
            let has_lease = followed.incarnation.is_none() || nodes.contains_key(name);
            if !has_lease {
                set.remove(name);
            }
            has_lease
        });
        let own = self.node.upgrade().map(|node| node.name.clone());
        for (name, incarnation) in nodes.into_iter().filter(|(name, _)| Some(name) != own.as_ref()) {
            self.follow(name, Some(incarnation));
        }
    }

    /// Asks a node to publish changes, or to go on with it.
    fn follow(&mut self, name: Arc<str>, incarnation: Option<Incarnation>) {
        let followed = self.nodes.entry(name.clone()).or_insert_with(|| Followed {
            incarnation,
            asked: Instant::now(),
            is_asked: false,
            is_silent: false,
            announced: 0,
            state: FollowState::Outdated(Vec::new()),
        });
        if followed.incarnation != incarnation {
            // Perhaps another process. If it is the same one, nothing has changed.
            followed.incarnation = incarnation;
            followed.state = FollowState::Outdated(Vec::new());
        }
        let Some(node) = self.node.upgrade().filter(|_| !followed.is_asked) else { return };
        let is_live = matches!(followed.state, FollowState::Live(_));
        // After a failure of other nodes, rounds are shorter.
        if is_live && !followed.is_silent && followed.asked.elapsed() < node.naming.lease.interval() / 2 {
            return;
        }
        (followed.is_asked, followed.asked) = (true, Instant::now());
        let (topic, sender, limit) = (self.topic.clone(), self.sender.clone(), self.limit);
        let life = incarnation.map_or(node.life(), |incarnation| incarnation.life);
        let asked = async move {
            if is_live {
                let answer = node.ask_to_publish((&name, life), &topic, &sender).await;
                Done::Renewed(name, incarnation, answer)
            } else {
                let listed = node.list_members((&name, life), &topic, &sender, limit).await;
                Done::Listed(name, incarnation, listed)
            }
        };
        self.work.push(asked.boxed());
    }

    /// The node to which an answer belongs, if the answer is from the process that has the lease.
    fn answered(
        &mut self,
        name: &Arc<str>,
        incarnation: Option<Incarnation>,
        watching: Option<&Watching>,
    ) -> Option<&mut Followed> {
        let followed = self.nodes.get_mut(name)?;
        followed.is_asked = false;
        let is_current = followed.incarnation == incarnation;
        let is_own = incarnation.is_none();
        let is_valid = watching.is_some_and(|watching| is_own || watching.incarnation == incarnation);
        followed.is_silent = !is_valid || !is_current;
        Some(followed).filter(|followed| !followed.is_silent)
    }

    fn renewed(
        &mut self,
        name: Arc<str>,
        incarnation: Option<Incarnation>,
        answer: Result<Watching, BoxError>,
    ) -> bool {
        let Some(followed) = self.answered(&name, incarnation, answer.as_ref().ok()) else { return false };
        let Ok(Watching { position, .. }) = answer else { return false };
        if let FollowState::Live(applied) = &followed.state {
            // What was announced by the answer before must have arrived by now.
            if position.is_of(applied) && applied.sequence >= followed.announced {
                followed.announced = position.sequence;
                return true;
            }
            followed.state = FollowState::Outdated(Vec::new());
        }
        self.follow(name, incarnation);
        true
    }

    fn listed(&mut self, name: Arc<str>, incarnation: Option<Incarnation>, listed: Result<Listed, BoxError>) -> bool {
        let watching = listed.as_ref().ok().map(|listed| listed.watching);
        let Some(followed) = self.answered(&name, incarnation, watching.as_ref()) else { return false };
        let Ok(Listed { watching, members }) = listed else { return false };
        let Watching { position, members: count, .. } = watching;
        followed.announced = position.sequence;
        let waiting = match std::mem::replace(&mut followed.state, FollowState::Live(position)) {
            FollowState::Outdated(waiting) => waiting,
            FollowState::Live(_) => Vec::new(),
        };
        if count > self.limit {
            self.set.0.remove(&name);
            self.set.0.fail_too_many(count);
            self.has_failed = true;
            return true;
        }
        self.has_failed |= !self.set.0.replace(&name, position.life, members);
        for changes in waiting {
            // Those of another epoch are older, or the next answer shows that they are newer.
            if changes.position.is_of(&position) {
                self.apply_changes(changes);
            }
        }
        true
    }

    fn apply(&mut self, message: Bytes) {
        match direct::decode_owned::<Changes>(&message) {
            Ok(changes) => self.apply_changes(changes),
            Err(error) => {
                if let Some(node) = self.node.upgrade() {
                    node.refusals.add(&node.name, &error);
                }
            }
        }
    }

    fn apply_changes(&mut self, changes: Changes) {
        let Some((name, followed)) = self.nodes.iter_mut().find(|(name, _)| ***name == *changes.node) else { return };
        match &mut followed.state {
            FollowState::Outdated(waiting) if waiting.len() < QUEUE => waiting.push(changes),
            // The gap is noticed afterwards.
            FollowState::Outdated(_) => {}
            FollowState::Live(applied) => {
                let position = changes.position;
                if position.is_of(applied) && position.sequence <= applied.sequence {
                    return;
                }
                if position.is_of(applied) && Some(position.sequence) == applied.sequence.checked_add(1) {
                    applied.sequence = position.sequence;
                    self.has_failed |= !self.set.0.apply(name, position.life, changes.members);
                    return;
                }
                followed.state = FollowState::Outdated(vec![changes]);
                let (name, incarnation) = (name.clone(), followed.incarnation);
                self.follow(name, incarnation);
            }
        }
    }

    fn report(&self) {
        let is_known = |followed: &Followed| !followed.is_silent && matches!(followed.state, FollowState::Live(_));
        let unknown = self.nodes.iter().filter(|(_, followed)| !is_known(followed)).map(|(name, _)| name.clone());
        let mut unreachable: Vec<_> = unknown.collect();
        unreachable.sort();
        self.set.0.set_complete(self.is_listed && unreachable.is_empty(), unreachable);
    }
}
