//! A connection to NATS.

use std::sync::Arc;
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::connection::State;
use async_nats::{jetstream, Client, Message, Request, Subject};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

mod connect;
mod incoming;
mod link;
mod outgoing;
mod refused;

use super::{nats_bucket, BucketError, BucketOptions, LinkState, NoAnswer, OnMessage, OnRequest};
use crate::counters::Counters;
use crate::info::LinkInfo;
use crate::names::Buckets;
use crate::settings::{NatsSettings, Servers};
use crate::{ConnectError, RemoteError};
use incoming::Incoming;
pub(super) use link::Link;
use outgoing::Queue;

/// How long the server may take to answer that it has handled everything before.
const CONFIRM_WITHIN: Duration = Duration::from_secs(5);

/// While messages are sent, the server is asked this often whether it has handled them.
const CONFIRM_EVERY: Duration = Duration::from_millis(500);

/// How many commands wait in the client, beyond the queue of this crate. They are sent after a reconnect, however late.
///
/// The client writes to its socket once for all that it finds here.
const CLIENT_CAPACITY: usize = 64;

/// How many messages wait in the client per subscription, above what it reads at once.
const SUBSCRIPTION_CAPACITY: usize = 1 << 19;

pub(crate) struct NatsNode {
    client: Client,
    link: Arc<Link>,
    queue: Queue,
    incoming: Arc<Incoming>,
    tasks: [AbortHandle; 3],
    servers: String,
    replicas: usize,
    /// How long the server may take to make a bucket.
    create_within: Duration,
    /// Nothing answers on it: a request to it returns when the server has handled everything before.
    sync_subject: String,
    runtime: Handle,
}

pub(crate) struct NatsSubscription {
    tasks: Vec<AbortHandle>,
    subject: String,
    link: Arc<Link>,
}

impl NatsNode {
    /// Connects to a server. With `start_alone`, it is no error if no server can be reached.
    pub(crate) async fn connect(
        settings: NatsSettings,
        servers: Servers,
        node: &str,
        ttl: Duration,
        counters: Arc<Counters>,
    ) -> Result<Self, ConnectError> {
        let link = Arc::new(Link::new(node.to_owned(), servers.list(), counters.clone()));
        let weak = Arc::downgrade(&link);
        let options = connect::options(&settings, &servers, ttl)?
            .name(node)
            .no_echo()
            .client_capacity(CLIENT_CAPACITY)
            // Subjects are made of tokens.
            .skip_subject_validation(true)
            .subscription_capacity(SUBSCRIPTION_CAPACITY)
            .event_callback(move |event| {
                if let Some(link) = weak.upgrade() {
                    link.on_event(&event);
                }
                async {}
            });
        let limit = settings.connect_timeout;
        let client = match tokio::time::timeout(limit, options.connect(servers.addresses.as_slice())).await {
            Ok(connected) => connected.map_err(|error| connect::failed(&servers, error))?,
            Err(_) => return Err(connect::too_slow(&servers, limit)),
        };
        link.set_client(client.clone());
        if settings.start_alone {
            // The client goes on trying.
            let _ = tokio::time::timeout(limit, link.first_attempt()).await;
        }
        let (queue, send) = Queue::new(client.clone(), link.clone(), settings.queue, settings.queue_timeout);
        let (incoming, receive) = Incoming::new(settings.queue, counters);
        let sync_subject = client.new_inbox();
        let confirm = confirm_handed(client.clone(), link.clone(), sync_subject.clone());
        Ok(NatsNode {
            client,
            link,
            queue,
            incoming,
            tasks: [tokio::spawn(send), tokio::spawn(receive), tokio::spawn(confirm)].map(|task| task.abort_handle()),
            servers: servers.list(),
            replicas: settings.replicas,
            create_within: limit,
            sync_subject,
            runtime: Handle::current(),
        })
    }

    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    pub(super) fn link_state(&self) -> watch::Receiver<LinkState> {
        self.link.subscribe()
    }

    pub(super) fn link_info(&self) -> LinkInfo {
        let (state, latest) = (self.link.refresh(), self.link.latest());
        let server = self.client.try_server_info().filter(|_| state.is_connected);
        LinkInfo {
            servers: self.servers.clone(),
            server: server.map(|server| format!("{} at {}:{}", server.server_name, server.host, server.port)),
            since: latest.since,
            connects: state.connects,
            last_error: latest.error,
            queued: self.queue.size(),
        }
    }

    pub(super) fn max_payload(&self) -> usize {
        self.client.max_payload()
    }

    pub(super) fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), RemoteError> {
        if !self.is_connected() {
            return Err(RemoteError::Disconnected);
        }
        let (size, limit) = (payload.len(), self.client.max_payload());
        if size > limit {
            return Err(RemoteError::TooLarge { size, limit });
        }
        self.queue.push(subject, payload)
    }

    /// Ends the connection for all operations. What waits in the queue is dropped and counted.
    pub(super) async fn close(&self) {
        self.link.close();
        // An error: the thread of the node has ended.
        let _ = self.queue.barrier().await;
    }

    pub(super) async fn flush(&self) -> Result<(), RemoteError> {
        self.link.during(self.queue.barrier()).await.map_err(|_| RemoteError::Disconnected)??;
        self.confirm().await?;
        match self.link.counters.take_lost() {
            0 => Ok(()),
            messages => Err(RemoteError::Lost { messages }),
        }
    }

    pub(super) async fn subscribe(
        &self,
        subject: Subject,
        on_message: OnMessage,
    ) -> Result<NatsSubscription, RemoteError> {
        self.link.refused.remove(&subject);
        let subscribed = self.link.during(self.client.subscribe(subject.clone())).await;
        let mut messages = subscribed.map_err(|_| RemoteError::Disconnected)?.map_err(|_| RemoteError::Disconnected)?;
        let (incoming, on_message) = (self.incoming.clone(), Arc::new(on_message));
        // Not constrained by tokio: it takes all that the client has read before the client reads on.
        let task = tokio::spawn(tokio::task::unconstrained(async move {
            while let Some(message) = messages.next().await {
                incoming.push(&on_message, message.payload);
            }
        }));
        Ok(self.subscription(subject.to_string(), vec![task.abort_handle()]))
    }

    pub(super) async fn answer(&self, subject: String, on_request: OnRequest) -> Result<NatsSubscription, RemoteError> {
        self.link.refused.remove(&subject);
        let subscribed = self.link.during(self.client.subscribe(subject.clone())).await;
        let mut requests = subscribed.map_err(|_| RemoteError::Disconnected)?.map_err(|_| RemoteError::Disconnected)?;
        let (client, link, incoming) = (self.client.clone(), self.link.clone(), self.incoming.clone());
        let (arrived, mut queue) = mpsc::unbounded_channel();
        let answer = async move {
            // They end with this task.
            let mut pending = JoinSet::new();
            loop {
                let (reply, payload, place) = tokio::select! {
                    request = queue.recv() => match request {
                        Some(request) => request,
                        None => return,
                    },
                    Some(_) = pending.join_next() => continue,
                };
                let mut answer = on_request(payload);
                drop(place);
                match (&mut answer).now_or_never() {
                    // The next request waits until the client has taken the answer.
                    Some(answer) => send_answer(&client, &link, reply, futures::future::ready(answer)).await,
                    None => {
                        let (client, link) = (client.clone(), link.clone());
                        pending.spawn(async move { send_answer(&client, &link, reply, answer).await });
                    }
                }
            }
        };
        // As for messages.
        let receive = tokio::task::unconstrained(async move {
            while let Some(Message { reply, payload, .. }) = requests.next().await {
                if let Some((reply, place)) = reply.zip(incoming.place(payload.len())) {
                    let _ = arrived.send((reply, payload, place));
                }
            }
        });
        let (answer, receive) = (tokio::spawn(answer), tokio::spawn(receive));
        Ok(self.subscription(subject, vec![receive.abort_handle(), answer.abort_handle()]))
    }

    fn subscription(&self, subject: String, tasks: Vec<AbortHandle>) -> NatsSubscription {
        NatsSubscription { tasks, subject, link: self.link.clone() }
    }

    pub(super) async fn reconnect(&self) {
        // An error: the client has ended.
        let _ = self.link.during(self.client.force_reconnect()).await;
    }

    /// How many subscriptions the server has refused without naming them.
    pub(super) fn unnamed_refusals(&self) -> u64 {
        self.link.refused.unnamed()
    }

    pub(super) async fn request(&self, subject: &str, payload: Bytes, within: Duration) -> Result<Bytes, NoAnswer> {
        let (size, limit) = (payload.len(), self.client.max_payload());
        if size > limit {
            return Err(NoAnswer::NotSent(RemoteError::TooLarge { size, limit }));
        }
        let request = Request::new().payload(payload).timeout(None);
        let answer = self.link.during(self.client.send_request(subject.to_owned(), request));
        match tokio::time::timeout(within, answer).await {
            Ok(Ok(Ok(message))) => Ok(message.payload),
            Ok(Ok(Err(error))) if error.kind() == RequestErrorKind::NoResponders => Err(NoAnswer::NoResponder),
            Ok(_) => Err(NoAnswer::NotSent(RemoteError::Disconnected)),
            Err(_) => Err(NoAnswer::Timeout),
        }
    }

    pub(super) async fn buckets(&self, prefix: &str, ttl: Duration) -> Result<Buckets, BucketError> {
        let context = |limit| {
            let mut jetstream = jetstream::new(self.client.clone());
            jetstream.set_timeout(limit);
            jetstream
        };
        // While servers elect a leader, a change is tried again before the lease has run out.
        let change_within = self.create_within.min((ttl / 2).max(Duration::from_secs(2)));
        let contexts = (context(self.create_within), context(change_within));
        let options = BucketOptions { ttl: None, replicas: self.replicas };
        let leases = BucketOptions { ttl: Some(ttl), ..options };
        let buckets = async {
            Ok(Buckets {
                leases: nats_bucket(&contexts, &self.link, &format!("{prefix}_leases"), leases).await?,
                names: nats_bucket(&contexts, &self.link, &format!("{prefix}_names"), options).await?,
            })
        };
        self.link.during(buckets).await.map_err(|lost| BucketError::Other(lost.into()))?
    }

    /// Returns when the server has handled all that was asked of it before.
    pub(super) async fn confirm(&self) -> Result<(), RemoteError> {
        let (client, link, subject) = (self.client.clone(), self.link.clone(), self.sync_subject.clone());
        // On the thread of the node, where errors that have arrived before the answer are handled first.
        let confirmed = self.runtime.spawn(async move { confirm(&client, &link, &subject).await });
        confirmed.await.unwrap_or(Err(RemoteError::Disconnected))
    }
}

/// Sends an answer, unless the connection is lost: the node that has asked stops waiting then.
async fn send_answer(client: &Client, link: &Link, reply: Subject, answer: impl Future<Output = Bytes>) {
    if let Ok(Err(error)) = link.during(async { client.publish(reply, answer.await).await }).await {
        link.answer_failed(&error);
    }
}

async fn confirm(client: &Client, link: &Link, sync_subject: &str) -> Result<(), RemoteError> {
    let mark = link.handed.mark();
    let request = Request::new().timeout(Some(CONFIRM_WITHIN));
    match link.during(client.send_request(sync_subject.to_owned(), request)).await {
        Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => {
            // A loss that was not seen yet comes first.
            link.refresh();
            link.handed.confirm(mark);
            Ok(())
        }
        _ => Err(RemoteError::Disconnected),
    }
}

/// While messages are sent, asks the server now and then whether it has handled them: what it has not when the connection is
/// lost may be lost.
async fn confirm_handed(client: Client, link: Arc<Link>, sync_subject: String) {
    while !link.is_closed() {
        link.handed.has_new.notified().await;
        tokio::time::sleep(CONFIRM_EVERY).await;
        if confirm(&client, &link, &sync_subject).await.is_err() {
            link.handed.has_new.notify_one();
            link.connected_or_closed().await;
        }
    }
}

impl Drop for NatsNode {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl NatsSubscription {
    pub(super) fn is_refused(&self) -> bool {
        self.link.refused.contains(&self.subject)
    }
}

impl Drop for NatsSubscription {
    fn drop(&mut self) {
        // The subscriber is dropped with its task, which ends the subscription.
        self.tasks.iter().for_each(AbortHandle::abort);
        self.link.refused.remove(&self.subject);
    }
}
