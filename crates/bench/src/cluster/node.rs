//! A node written with this library.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::OnceLock;

use actix_acceptor::{limits::SlowConsumer, AcceptorPool, Conn, Framing, Next, Protocol};
use actix_acceptor_cluster::{Cluster, ClusterTopic, RemoteError};
use bytes::Bytes;

use super::names::timed;
use super::{environment, lines, stamped, without_end, Request, PACE, TOPIC};

static CLUSTER: OnceLock<Cluster<Member>> = OnceLock::new();

/// The names that were registered, and those that were asked for.
static REGISTERED: AtomicUsize = AtomicUsize::new(0);
static ASKED: AtomicUsize = AtomicUsize::new(0);

struct Member;

impl Protocol for Member {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, line: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        let Some(cluster) = CLUSTER.get().cloned() else { return Next::Stop };
        let topic = cluster.topic(TOPIC);
        match Request::parse(&line) {
            Some(Request::Join) => {
                conn.join(&conn.pool().topic(TOPIC));
                conn.wait(async move { topic.subscribed().await }, |_, _, _| Next::Send("joined".into()))
            }
            Some(Request::Publish(count)) => answer(conn, publish(cluster, topic, count)),
            Some(Request::Paced(count)) => answer(conn, paced(topic, count)),
            Some(Request::Register { count, at_once }) => {
                let first = REGISTERED.fetch_add(count, Relaxed);
                let calls = (first..first + count).map(|name| cluster.register(conn, format!("name-{name}"))).collect();
                answer(conn, timed(calls, at_once))
            }
            Some(Request::Whereis { count, at_once }) => {
                let first = ASKED.fetch_add(count, Relaxed);
                let name = move |call: usize| format!("name-{}", (first + call) % REGISTERED.load(Relaxed).max(1));
                let calls = (0..count).map(|call| whereis(cluster.clone(), name(call))).collect();
                answer(conn, timed(calls, at_once))
            }
            Some(Request::Topics(count)) => {
                let pool = conn.pool();
                for topic in 0..count {
                    conn.join(&pool.topic(format!("topic-{topic}")));
                }
                let subscribed = async move {
                    for topic in 0..count {
                        let _ = cluster.topic(format!("topic-{topic}")).subscribed().await;
                    }
                    "subscribed".to_owned()
                };
                answer(conn, subscribed)
            }
            Some(Request::Count | Request::Counted(_)) | None => Next::Stop,
        }
    }
}

fn answer(conn: &Conn<Member>, work: impl Future<Output = String> + 'static) -> Next<Member> {
    conn.wait(work, |answer, _, _| Next::Send(answer.into()))
}

async fn publish(cluster: Cluster<Member>, topic: ClusterTopic<Member>, count: usize) -> String {
    for line in lines(count).map(without_end) {
        loop {
            match topic.publish(line.clone()).remote {
                Ok(()) => break,
                // Nothing else is lost: there are no members here.
                Err(RemoteError::Full { .. }) => drop(cluster.flush().await),
                Err(error) => return format!("failed: {error}"),
            }
        }
    }
    "published".to_owned()
}

async fn paced(topic: ClusterTopic<Member>, count: usize) -> String {
    let mut pace = tokio::time::interval(PACE);
    for _ in 0..count {
        pace.tick().await;
        if let Err(error) = topic.publish(without_end(stamped())).remote {
            return format!("failed: {error}");
        }
    }
    "published".to_owned()
}

async fn whereis(cluster: Cluster<Member>, name: String) -> Result<(), String> {
    match cluster.whereis(&name).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(format!("{name} has no owner")),
        Err(error) => Err(error.to_string()),
    }
}

/// Serves on one arbiter until the process ends.
pub(crate) async fn serve(announce: impl FnOnce(SocketAddr) -> io::Result<()>) -> io::Result<()> {
    let (url, name) = environment();
    let server = AcceptorPool::with_protocol(|_| Member).framing(Framing::lines()).idle_timeout(None).acceptors(1);
    let server = server.max_connections(1_000_000).outbox(64 * 1024 * 1024, SlowConsumer::Close);
    let pool = server.bind("127.0.0.1:0").await.map_err(io::Error::other)?;
    let builder = match &url {
        Some(url) => Cluster::nats(url),
        None => Cluster::local(),
    };
    let cluster = builder.node(name).connect(&pool).await.map_err(io::Error::other)?;
    let _ = CLUSTER.set(cluster);
    announce(pool.local_addr().ok_or(io::ErrorKind::AddrNotAvailable)?)?;
    std::future::pending().await
}
