//! The queue of messages that wait to be passed to the client, bounded in bytes and in time.

use std::iter::Peekable;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Subject};
use bytes::Bytes;
use futures::FutureExt;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, Notify};
use tokio::time::Instant;
use tracing::warn;

use super::incoming::OVERHEAD;
use super::link::Link;
use crate::counters::{Counters, Loss, Throttle};
use crate::RemoteError;

/// How many messages are taken from the queue at once.
const BATCH: usize = 64;

/// The messages that were passed to the client. The server has surely handled those before the last round trip.
#[derive(Debug, Default)]
pub(super) struct Handed {
    numbers: Mutex<Numbers>,
    pub(super) has_new: Notify,
}

#[derive(Debug, Default)]
struct Numbers {
    handed: u64,
    confirmed: u64,
    /// How often the connection was lost.
    losses: u64,
}

impl Handed {
    fn losses(&self) -> u64 {
        self.numbers.lock().losses
    }

    /// Messages were passed to the client. `losses` is the number from before: a connection that was lost meanwhile may have had them.
    fn add(&self, messages: u64, losses: u64, counters: &Counters) {
        if messages == 0 {
            return;
        }
        let mut numbers = self.numbers.lock();
        numbers.handed += messages;
        if numbers.losses != losses {
            numbers.confirmed += messages;
            drop(numbers);
            counters.lose(Loss::Unconfirmed, messages);
        } else {
            drop(numbers);
            self.has_new.notify_one();
        }
    }

    pub(super) fn mark(&self) -> u64 {
        self.numbers.lock().handed
    }

    /// The server has handled what was passed to the client before this mark.
    pub(super) fn confirm(&self, mark: u64) {
        let mut numbers = self.numbers.lock();
        numbers.confirmed = numbers.confirmed.max(mark);
    }

    /// The connection is lost.
    pub(super) fn lost(&self, counters: &Counters) {
        let mut numbers = self.numbers.lock();
        let lost = numbers.handed - numbers.confirmed;
        numbers.confirmed = numbers.handed;
        numbers.losses += 1;
        drop(numbers);
        if lost > 0 {
            counters.lose(Loss::Unconfirmed, lost);
        }
    }
}

pub(super) struct Queue {
    sender: mpsc::UnboundedSender<Outgoing>,
    size: Arc<Size>,
    limit: usize,
}

/// How much is in the queue.
#[derive(Debug, Default)]
struct Size {
    bytes: AtomicUsize,
    messages: AtomicUsize,
}

impl Size {
    fn remove(&self, messages: usize, bytes: usize) {
        self.messages.fetch_sub(messages, Relaxed);
        self.bytes.fetch_sub(bytes, Relaxed);
    }
}

enum Outgoing {
    Message(Message),
    /// Everything before it has been passed to the client, or dropped.
    Barrier(oneshot::Sender<()>),
}

struct Message {
    subject: Subject,
    payload: Bytes,
    accepted: Instant,
}

impl Message {
    fn cost(&self) -> usize {
        self.subject.len() + self.payload.len() + OVERHEAD
    }
}

impl Queue {
    /// A queue, and the task that empties it.
    pub(super) fn new(
        client: Client,
        link: Arc<Link>,
        limit: usize,
        max_age: Duration,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, queue) = mpsc::unbounded_channel();
        let size = Arc::new(Size::default());
        let task =
            Sender { client, link, size: size.clone(), max_age, failures: Throttle::new(Duration::from_secs(10)) };
        (Queue { sender, size, limit }, task.run(queue))
    }

    pub(super) fn push(&self, subject: &Subject, payload: Bytes) -> Result<(), RemoteError> {
        let message = Message { subject: subject.clone(), payload, accepted: Instant::now() };
        let (cost, limit) = (message.cost(), self.limit);
        // One message has room in any case.
        let added = |queued: usize| queued.checked_add(cost).filter(|sum| queued == 0 || *sum <= limit);
        if let Err(queued) = self.size.bytes.fetch_update(Relaxed, Relaxed, added) {
            return Err(RemoteError::Full { queued, limit });
        }
        self.size.messages.fetch_add(1, Relaxed);
        self.sender.send(Outgoing::Message(message)).map_err(|_| RemoteError::Disconnected)
    }

    /// Waits until everything before has been passed to the client, or dropped.
    pub(super) async fn barrier(&self) -> Result<(), RemoteError> {
        let (is_done, done) = oneshot::channel();
        self.sender.send(Outgoing::Barrier(is_done)).map_err(|_| RemoteError::Disconnected)?;
        done.await.map_err(|_| RemoteError::Disconnected)
    }

    /// The bytes and the messages that wait.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.size.bytes.load(Relaxed), self.size.messages.load(Relaxed))
    }
}

struct Sender {
    client: Client,
    link: Arc<Link>,
    size: Arc<Size>,
    max_age: Duration,
    failures: Throttle,
}

impl Sender {
    async fn run(self, mut queue: mpsc::UnboundedReceiver<Outgoing>) {
        let mut batch = Vec::with_capacity(BATCH);
        while queue.recv_many(&mut batch, BATCH).await > 0 {
            let mut batch = batch.drain(..).peekable();
            while batch.peek().is_some() {
                if self.pass_at_once(&mut batch) {
                    // The client takes what it has when it runs.
                    tokio::task::yield_now().await;
                } else if let Some(Outgoing::Message(message)) = batch.next() {
                    match self.pass(&message).await {
                        Ok(losses) => self.link.handed.add(1, losses, &self.link.counters),
                        Err((loss, error)) => {
                            self.link.counters.lose(loss, 1);
                            if let Some(left_out) = self.failures.allow() {
                                warn!(error, left_out, "a message for other nodes was not sent");
                            }
                        }
                    }
                    self.size.remove(1, message.cost());
                }
            }
        }
    }

    /// Passes messages to the client for as long as there is a connection and the client has room, without a timer. The client runs
    /// on the same thread, so neither changes meanwhile. Returns whether it has passed any.
    fn pass_at_once(&self, batch: &mut Peekable<impl Iterator<Item = Outgoing>>) -> bool {
        let (is_connected, now) = (self.link.refresh().is_connected, Instant::now());
        let losses = self.link.handed.losses();
        let (mut passed, mut messages, mut bytes) = (false, 0, 0);
        let settle = |messages: &mut usize, bytes: &mut usize| {
            self.link.handed.add(*messages as u64, losses, &self.link.counters);
            self.size.remove(std::mem::take(messages), std::mem::take(bytes));
        };
        let passes = |next: &Outgoing| match next {
            Outgoing::Message(message) if is_connected && now < message.accepted + self.max_age => {
                let passed = self.client.publish(message.subject.clone(), message.payload.clone()).now_or_never();
                matches!(passed, Some(Ok(())))
            }
            Outgoing::Message(_) => false,
            Outgoing::Barrier(_) => true,
        };
        while let Some(next) = batch.next_if(passes) {
            passed = true;
            match next {
                Outgoing::Message(message) => {
                    messages += 1;
                    bytes += message.cost();
                }
                Outgoing::Barrier(is_done) => {
                    settle(&mut messages, &mut bytes);
                    let _ = is_done.send(());
                }
            }
        }
        settle(&mut messages, &mut bytes);
        passed
    }

    /// Passes a message to the client, when there is a connection. Returns how often the connection was lost before.
    async fn pass(&self, message: &Message) -> Result<u64, (Loss, String)> {
        let until = message.accepted + self.max_age;
        loop {
            if self.link.is_closed() {
                return Err((Loss::Failed, "the node has left the cluster".to_owned()));
            }
            if Instant::now() >= until {
                return Err((Loss::Expired, format!("no connection to NATS for {:?}", self.max_age)));
            }
            let losses = self.link.handed.losses();
            // If the connection is lost meanwhile, the client does not have the message.
            let passed = self.client.publish(message.subject.clone(), message.payload.clone());
            match tokio::time::timeout_at(until, self.link.during(passed)).await {
                Ok(Ok(Ok(()))) => return Ok(losses),
                Ok(Ok(Err(error))) => return Err((Loss::Failed, error.to_string())),
                Ok(Err(_)) => drop(tokio::time::timeout_at(until, self.link.connected_or_closed()).await),
                Err(_) => {}
            }
        }
    }
}
