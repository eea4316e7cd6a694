//! A connection to NATS.

use std::sync::atomic::{AtomicUsize, Ordering::*};
use std::sync::Arc;
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::{jetstream, Client, Event, Request};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tracing::{info, warn};

mod connect;

use super::{nats_bucket, BucketError, BucketOptions, NoAnswer, OnMessage, OnRequest};
use crate::names::Buckets;
use crate::settings::{NatsSettings, SHORTEST};
use crate::{ConnectError, RemoteError};

/// How long a subscription may take to be confirmed by the server.
const CONFIRM_WITHIN: Duration = Duration::from_secs(5);

/// How many commands wait in the client, beyond the queue of this crate.
const CLIENT_CAPACITY: usize = 64;

pub(crate) struct NatsNode {
    client: Client,
    connected: watch::Receiver<bool>,
    outgoing: mpsc::UnboundedSender<Outgoing>,
    queued: Arc<AtomicUsize>,
    limit: usize,
    sender: AbortHandle,
    replicas: usize,
    /// How long the server may take to answer about a bucket.
    store_within: Duration,
    /// Nothing answers on it: a request to it returns when the server has handled everything before.
    sync_subject: String,
}

/// What waits to be passed to the client.
enum Outgoing {
    Message {
        subject: String,
        payload: Bytes,
    },
    /// Everything before it has been passed to the client.
    Barrier(oneshot::Sender<()>),
}

pub(crate) struct NatsSubscription(AbortHandle);

impl NatsNode {
    pub(crate) async fn connect(settings: NatsSettings, node: String, ttl: Duration) -> Result<Self, ConnectError> {
        let servers = settings.check()?;
        let (is_connected, connected) = watch::channel(false);
        let at = servers.list();
        // Two pings without an answer are allowed for.
        let ping_interval = settings.server_timeout(ttl) / 3;
        // An attempt is for one server.
        let attempt = settings.connect_timeout / u32::try_from(servers.addresses.len()).unwrap_or(u32::MAX);
        let mut options = connect::options(&settings, &servers)?
            .name(&node)
            .no_echo()
            .client_capacity(CLIENT_CAPACITY)
            .ping_interval(ping_interval)
            .connection_timeout(attempt.max(SHORTEST))
            .event_callback(move |event| {
                match &event {
                    Event::Connected => {
                        is_connected.send_replace(true);
                        info!(node, servers = at, "connected to NATS");
                    }
                    Event::Disconnected | Event::Closed => {
                        is_connected.send_replace(false);
                        warn!(
                            node,
                            servers = at,
                            "the connection to NATS is lost; only members of this node are reached"
                        );
                    }
                    other => warn!(node, servers = at, event = %other, "NATS"),
                }
                async {}
            });
        if settings.start_alone {
            options = options.retry_on_initial_connect();
        }
        let limit = settings.connect_timeout;
        let client = match tokio::time::timeout(limit, options.connect(servers.addresses.as_slice())).await {
            Ok(connected) => connected.map_err(|error| connect::failed(&servers, error))?,
            Err(_) => return Err(connect::too_slow(&servers, limit)),
        };
        let queued = Arc::new(AtomicUsize::new(0));
        let (outgoing, from_queue) = mpsc::unbounded_channel();
        let sender = tokio::spawn(send_queued(client.clone(), from_queue, queued.clone())).abort_handle();
        let sync_subject = client.new_inbox();
        let (limit, replicas, store_within) = (settings.queue, settings.replicas, settings.connect_timeout);
        Ok(NatsNode { client, connected, outgoing, queued, limit, sender, replicas, store_within, sync_subject })
    }

    pub(super) fn is_connected(&self) -> bool {
        *self.connected.borrow()
    }

    pub(super) fn max_payload(&self) -> usize {
        self.client.max_payload()
    }

    pub(super) fn publish(&self, subject: &str, payload: Bytes) -> Result<(), RemoteError> {
        if !self.is_connected() {
            return Err(RemoteError::Disconnected);
        }
        let (size, limit) = (payload.len(), self.client.max_payload());
        if size > limit {
            return Err(RemoteError::TooLarge { size, limit });
        }
        let cost = size + subject.len();
        let added = self
            .queued
            .fetch_update(Relaxed, Relaxed, |queued| Some(queued + cost).filter(|queued| *queued <= self.limit));
        if let Err(queued) = added {
            return Err(RemoteError::Full { queued, limit: self.limit });
        }
        let message = Outgoing::Message { subject: subject.to_owned(), payload };
        self.outgoing.send(message).map_err(|_| RemoteError::Disconnected)
    }

    pub(super) async fn flush(&self) -> Result<(), RemoteError> {
        let (is_done, done) = oneshot::channel();
        let queued = self.outgoing.send(Outgoing::Barrier(is_done));
        match queued {
            Ok(()) => done.await.map_err(|_| RemoteError::Disconnected)?,
            Err(_) => return Err(RemoteError::Disconnected),
        }
        self.confirm().await
    }

    pub(super) async fn subscribe(
        &self,
        subject: String,
        on_message: OnMessage,
    ) -> Result<NatsSubscription, RemoteError> {
        let mut messages = self.client.subscribe(subject).await.map_err(|_| RemoteError::Disconnected)?;
        let task = tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                on_message(message.payload);
            }
        });
        Ok(NatsSubscription(task.abort_handle()))
    }

    pub(super) async fn answer(&self, subject: String, on_request: OnRequest) -> Result<NatsSubscription, RemoteError> {
        let mut requests = self.client.subscribe(subject).await.map_err(|_| RemoteError::Disconnected)?;
        let client = self.client.clone();
        let task = tokio::spawn(async move {
            while let Some(request) = requests.next().await {
                let Some(reply) = request.reply else { continue };
                let mut answer = on_request(request.payload);
                match (&mut answer).now_or_never() {
                    // The next request waits until the client has taken the answer.
                    Some(answer) => drop(client.publish(reply, answer).await),
                    None => {
                        let client = client.clone();
                        tokio::spawn(async move { client.publish(reply, answer.await).await });
                    }
                }
            }
        });
        Ok(NatsSubscription(task.abort_handle()))
    }

    pub(super) async fn request(&self, subject: &str, payload: Bytes, within: Duration) -> Result<Bytes, NoAnswer> {
        if !self.is_connected() {
            return Err(NoAnswer::NotSent(RemoteError::Disconnected));
        }
        let (size, limit) = (payload.len(), self.client.max_payload());
        if size > limit {
            return Err(NoAnswer::NotSent(RemoteError::TooLarge { size, limit }));
        }
        let request =
            self.client.send_request(subject.to_owned(), Request::new().payload(payload).timeout(Some(within)));
        match request.await {
            Ok(message) => Ok(message.payload),
            Err(error) => Err(match error.kind() {
                RequestErrorKind::NoResponders => NoAnswer::NoResponder,
                RequestErrorKind::TimedOut => NoAnswer::Timeout,
                _ => NoAnswer::NotSent(RemoteError::Disconnected),
            }),
        }
    }

    pub(super) async fn buckets(&self, prefix: &str, ttl: Duration) -> Result<Buckets, BucketError> {
        let mut jetstream = jetstream::new(self.client.clone());
        jetstream.set_timeout(self.store_within);
        let options = BucketOptions { ttl: None, replicas: self.replicas };
        let leases = BucketOptions { ttl: Some(ttl), ..options };
        Ok(Buckets {
            leases: nats_bucket(&jetstream, &format!("{prefix}_leases"), leases).await?,
            names: nats_bucket(&jetstream, &format!("{prefix}_names"), options).await?,
        })
    }

    /// Returns when the server has handled all that was asked of it before.
    pub(super) async fn confirm(&self) -> Result<(), RemoteError> {
        let request = self.client.request(self.sync_subject.clone(), Bytes::new());
        match tokio::time::timeout(CONFIRM_WITHIN, request).await {
            Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => Ok(()),
            _ => Err(RemoteError::Disconnected),
        }
    }
}

impl Drop for NatsNode {
    fn drop(&mut self) {
        self.sender.abort();
    }
}

impl Drop for NatsSubscription {
    fn drop(&mut self) {
        // The subscriber is dropped with its task, which ends the subscription.
        self.0.abort();
    }
}

async fn send_queued(client: Client, mut queue: mpsc::UnboundedReceiver<Outgoing>, queued: Arc<AtomicUsize>) {
    while let Some(next) = queue.recv().await {
        let (subject, payload) = match next {
            Outgoing::Message { subject, payload } => (subject, payload),
            Outgoing::Barrier(is_done) => {
                let _ = is_done.send(());
                continue;
            }
        };
        let cost = subject.len() + payload.len();
        if let Err(error) = client.publish(subject, payload).await {
            warn!(%error, "a message for other nodes was not sent");
        }
        queued.fetch_sub(cost, Relaxed);
    }
}
