//! A node written with tokio and async-nats alone: one task per connection, and `tokio::sync::broadcast` for the members.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;

use async_nats::jetstream::{self, kv};
use async_nats::Client;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::{channel, Receiver, Sender};
use tokio::sync::Notify;

use super::names::timed;
use super::{environment, lines, stamped, Request, PACE, SUBJECT};
use crate::broadcast::{drain, next, CAPACITY};

struct Node {
    client: Client,
    topic: Sender<Bytes>,
    is_subscribed: AtomicBool,
    counted: AtomicUsize,
    /// How many counted lines are waited for.
    wanted: AtomicUsize,
    has_wanted: Notify,
    registered: AtomicUsize,
    asked: AtomicUsize,
}

/// Serves until the process ends.
pub(crate) async fn serve(announce: impl FnOnce(SocketAddr) -> io::Result<()>) -> io::Result<()> {
    let (url, name) = environment();
    let options = async_nats::ConnectOptions::new().name(name).no_echo();
    let client = options.connect(url.unwrap_or_default()).await.map_err(io::Error::other)?;
    let node = Arc::new(Node {
        client,
        topic: channel(CAPACITY).0,
        is_subscribed: AtomicBool::new(false),
        counted: AtomicUsize::new(0),
        wanted: AtomicUsize::new(0),
        has_wanted: Notify::new(),
        registered: AtomicUsize::new(0),
        asked: AtomicUsize::new(0),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    announce(listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(peer(stream, node.clone()));
    }
}

async fn peer(mut stream: TcpStream, node: Arc<Node>) -> io::Result<()> {
    let mut input = BytesMut::with_capacity(1024);
    let mut output = Vec::new();
    let mut membership: Option<Receiver<Bytes>> = None;
    loop {
        tokio::select! {
            read = stream.read_buf(&mut input) => {
                if read? == 0 {
                    return Ok(());
                }
                while let Some(end) = input.iter().position(|byte| *byte == b'\n') {
                    let line = input.split_to(end + 1);
                    let request = Request::parse(&line).ok_or(io::ErrorKind::InvalidInput)?;
                    if let Request::Join = request {
                        membership = Some(node.topic.subscribe());
                    }
                    let mut answer = node.answer(request).await?;
                    answer.push('\n');
                    stream.write_all(answer.as_bytes()).await?;
                }
                input.reserve(1024);
            }
            line = next(&mut membership) => {
                output.clear();
                output.extend_from_slice(&line.map_err(io::Error::other)?);
                drain(&mut membership, &mut output)?;
                stream.write_all(&output).await?;
            }
        }
    }
}

impl Node {
    async fn answer(self: &Arc<Self>, request: Request) -> io::Result<String> {
        Ok(match request {
            Request::Join | Request::Count => {
                self.subscribe(matches!(request, Request::Join)).await?;
                "joined".to_owned()
            }
            Request::Counted(count) => {
                let wanted = self.wanted.fetch_add(count, Relaxed) + count;
                while self.counted.load(Relaxed) < wanted {
                    self.has_wanted.notified().await;
                }
                "counted".to_owned()
            }
            Request::Publish(count) => {
                for line in lines(count) {
                    self.publish(line).await?;
                }
                "published".to_owned()
            }
            Request::Paced(count) => {
                let mut pace = tokio::time::interval(PACE);
                for _ in 0..count {
                    pace.tick().await;
                    self.publish(stamped()).await?;
                }
                "published".to_owned()
            }
            Request::Register { count, at_once } => {
                let (names, _) = self.buckets().await?;
                let first = self.registered.fetch_add(count, Relaxed);
                let calls = (first..first + count).map(|name| register(&names, format!("plain-{name}"))).collect();
                timed(calls, at_once).await
            }
            Request::Whereis { count, at_once } => {
                let (names, leases) = self.buckets().await?;
                let first = self.asked.fetch_add(count, Relaxed);
                let name = |call: usize| format!("plain-{}", (first + call) % self.registered.load(Relaxed).max(1));
                let calls = (0..count).map(|call| whereis(&names, &leases, name(call))).collect();
                timed(calls, at_once).await
            }
            Request::Topics(_) => return Err(io::ErrorKind::Unsupported.into()),
        })
    }

    async fn publish(&self, line: Bytes) -> io::Result<()> {
        self.client.publish(SUBJECT, line).await.map_err(io::Error::other)
    }

    /// Passes what is published to the members, or counts it. Once for each node.
    async fn subscribe(self: &Arc<Self>, has_members: bool) -> io::Result<()> {
        if self.is_subscribed.swap(true, Relaxed) {
            return Ok(());
        }
        let mut messages = self.client.subscribe(SUBJECT).await.map_err(io::Error::other)?;
        self.client.flush().await.map_err(io::Error::other)?;
        let node = self.clone();
        tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                if has_members {
                    drop(node.topic.send(message.payload));
                } else {
                    let counted = node.counted.fetch_add(1, Relaxed) + 1;
                    if counted == node.wanted.load(Relaxed) {
                        node.has_wanted.notify_one();
                    }
                }
            }
        });
        Ok(())
    }

    /// The buckets of the nodes of this library.
    async fn buckets(&self) -> io::Result<(kv::Store, kv::Store)> {
        let jetstream = jetstream::new(self.client.clone());
        let names = jetstream.get_key_value("acceptor_names").await.map_err(io::Error::other)?;
        Ok((names, jetstream.get_key_value("acceptor_leases").await.map_err(io::Error::other)?))
    }
}

/// Sets a key that has no value to as many bytes as a name has.
async fn register(names: &kv::Store, name: String) -> Result<(), String> {
    let value = Bytes::from_static(b"a node's name, 24 bytes.");
    names.update(name, value, 0).await.map(drop).map_err(|error| error.to_string())
}

/// Gets the key of a name and that of a lease.
async fn whereis(names: &kv::Store, leases: &kv::Store, name: String) -> Result<(), String> {
    for (bucket, key) in [(names, &*name), (leases, "a")] {
        let entry = bucket.entry(key).await.map_err(|error| error.to_string())?;
        entry.ok_or_else(|| format!("{key} has no value"))?;
    }
    Ok(())
}
