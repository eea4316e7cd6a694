//! What waits to be passed to the client, which is bounded in bytes and in time.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Subject};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, Notify};
use tokio::time::Instant;
use tracing::warn;

use super::incoming::OVERHEAD;
use super::link::Link;
use crate::counters::{Counters, Loss, Throttle};
use crate::RemoteError;

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

    /// A message was passed to the client. `losses` is the number from before: a connection that was lost meanwhile may have had it.
    fn add(&self, losses: u64, counters: &Counters) {
        let mut numbers = self.numbers.lock();
        numbers.handed += 1;
        if numbers.losses != losses {
            numbers.confirmed += 1;
            drop(numbers);
            counters.lose(Loss::Unconfirmed, 1);
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

    pub(super) fn push(&self, subject: &str, payload: Bytes) -> Result<(), RemoteError> {
        let message = Message { subject: subject.into(), payload, accepted: Instant::now() };
        let (cost, limit) = (message.cost(), self.limit);
        let added = |queued: usize| queued.checked_add(cost).filter(|queued| *queued <= limit);
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
        while let Some(next) = queue.recv().await {
            let message = match next {
                Outgoing::Message(message) => message,
                Outgoing::Barrier(is_done) => {
                    let _ = is_done.send(());
                    continue;
                }
            };
            match self.pass(&message).await {
                Ok(losses) => self.link.handed.add(losses, &self.link.counters),
                Err((loss, error)) => {
                    self.link.counters.lose(loss, 1);
                    if let Some(left_out) = self.failures.allow() {
                        warn!(error, left_out, "a message for other nodes was not sent");
                    }
                }
            }
            self.size.bytes.fetch_sub(message.cost(), Relaxed);
            self.size.messages.fetch_sub(1, Relaxed);
        }
    }

    /// Passes a message to the client, when there is a connection. Returns how often the connection was lost before.
    async fn pass(&self, message: &Message) -> Result<u64, (Loss, String)> {
        let until = message.accepted + self.max_age;
        loop {
            if Instant::now() >= until {
                return Err((Loss::Expired, format!("no connection to NATS for {:?}", self.max_age)));
            }
            let losses = self.link.handed.losses();
            // If the connection is lost meanwhile, the client does not have the message.
            let passed = self.client.publish(message.subject.clone(), message.payload.clone());
            match tokio::time::timeout_at(until, self.link.during(passed)).await {
                Ok(Ok(Ok(()))) => return Ok(losses),
                Ok(Ok(Err(error))) => return Err((Loss::Failed, error.to_string())),
                Ok(Err(_)) => drop(tokio::time::timeout_at(until, self.link.connected()).await),
                Err(_) => {}
            }
        }
    }
}
