//! The side of the process: a pool in a cluster whose connections do what their lines say.

use std::io::Write;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_acceptor::prelude::*;
use actix_acceptor_cluster::Cluster;
use bytes::Bytes;
use futures::FutureExt;

use crate::process::{NODE, REPLICAS, SERVERS, TTL};

/// The connections are looked at so often.
const SAMPLE: Duration = Duration::from_millis(4);

/// Between two looks that are further apart, the process was stopped.
const GAP: u64 = 40_000;

/// An ownership that goes on is reported in parts of this length, in microseconds.
const PART: u64 = 100_000;

#[test]
#[ignore = "the other tests start it as a process"]
fn a_node() {
    let Ok(servers) = std::env::var(SERVERS) else { return };
    let (name, replicas) = (std::env::var(NODE).unwrap(), std::env::var(REPLICAS).unwrap().parse().unwrap());
    actix::System::new().block_on(run(&servers, &name, replicas));
    std::process::exit(0);
}

/// A line for the process that has started this one.
fn report(line: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "> {line}").and_then(|()| out.flush()).unwrap();
}

async fn run(servers: &str, name: &str, replicas: usize) {
    let own = Arc::new(OnceLock::new());
    let cluster = own.clone();
    let builder = AcceptorPool::with_protocol(move |_: &Peer| Guest { cluster: cluster.clone() });
    let pool = builder.framing(Framing::lines()).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let settings = Cluster::nats(servers).node(name).prefix("test").ttl(TTL).replicas(replicas);
    let settings = settings.request_timeout(Duration::from_secs(1));
    let cluster = match settings.connect(&pool).await {
        Ok(cluster) => cluster,
        Err(error) => return report(format_args!("error {error:?}")),
    };
    own.set(cluster.clone()).unwrap();
    let port = pool.local_addrs()[0].to_string().rsplit(':').next().unwrap().to_owned();
    report(format_args!("ready {port}"));
    let (sampled, of_samples) = (cluster.clone(), pool.clone());
    std::thread::spawn(move || sample(&sampled, &of_samples));
    pool.drain_on_signal(Drain::grace(Duration::from_millis(200))).await.unwrap();
    cluster.leave().await;
}

/// Microseconds, the same on all processes.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}

/// Reports from when to when each connection has had a name, as this node sees it.
fn sample(cluster: &Cluster<Guest>, pool: &Pool<Connection<Guest>>) {
    let mut owned: Vec<(Arc<str>, u64, u64, u64)> = Vec::new();
    let mut last = now();
    loop {
        let before = now();
        let names = pool.list().into_iter().flat_map(|connection| {
            let id = connection.id;
            cluster.names_of(id).into_iter().map(move |name| (name, id.get()))
        });
        let names: Vec<_> = names.collect();
        let after = now();
        let was_stopped = after - last > GAP;
        let mut next = Vec::new();
        for (name, id) in names {
            let former = owned.iter().position(|(other, of, ..)| (other, *of) == (&name, id));
            match former.map(|at| owned.swap_remove(at)).filter(|_| !was_stopped) {
                Some((name, id, from, _)) if before - from < PART => next.push((name, id, from, before)),
                Some((name, id, from, _)) => {
                    report(format_args!("owned {id} {from} {before} {name}"));
                    next.push((name, id, after, before));
                }
                None => next.push((name, id, after, before)),
            }
        }
        for (name, id, from, to) in owned {
            if from < to {
                report(format_args!("owned {id} {from} {to} {name}"));
            }
        }
        (owned, last) = (next, after);
        std::thread::sleep(SAMPLE);
    }
}

struct Guest {
    cluster: Arc<OnceLock<Cluster<Guest>>>,
}

fn answer<T: std::fmt::Display>(answer: T) -> Next<Guest> {
    Next::send(format!("= {answer}"))
}

impl Protocol for Guest {
    type Codec = Framing;
    type Reply = Bytes;
    type User = String;

    fn packet(&mut self, line: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        let line = String::from_utf8(line.to_vec()).unwrap();
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let (word, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let (word, text) = (word.to_owned(), text.to_owned());
        let Some(cluster) = self.cluster.get().cloned() else { return answer("not yet") };
        let result = match verb {
            "id" => return answer(conn.id().get()),
            "join" => {
                conn.join(&conn.pool().topic(&word));
                async move {
                    cluster.topic(word).subscribed().await.unwrap();
                    "joined".to_owned()
                }
                .boxed()
            }
            "leave" => return answer(conn.leave(&conn.pool().topic(&word))),
            "label" => {
                conn.set_label(word);
                return answer("ok");
            }
            "publish" => {
                let published = cluster.topic(word).publish_except(conn.id(), text);
                return answer(published.remote.map_or_else(|error| error.to_string(), |()| "published".to_owned()));
            }
            "flush" => async move { done(cluster.flush().await) }.boxed(),
            "register" => cluster.register(conn, word).map(done).boxed(),
            "replace" => cluster.register_replacing(conn, word).map(done).boxed(),
            "unregister" => cluster.unregister(conn, word).map(|released| released.to_string()).boxed(),
            "owns" => return answer(cluster.owns(conn.id(), word)),
            "send" => async move { done(cluster.send(word, text).await) }.boxed(),
            "whereis" => async move {
                match cluster.whereis(word).await {
                    Ok(Some(owner)) => format!("{} {}", owner.node(), owner.id().get()),
                    Ok(None) => "none".to_owned(),
                    Err(error) => format!("error {error}"),
                }
            }
            .boxed(),
            "who" => async move {
                match cluster.topic(word).presence(None, 1_000).await {
                    Ok(page) if page.unreachable.is_empty() => {
                        let label = |member: actix_acceptor_cluster::Member| member.label.unwrap_or_default();
                        let mut labels: Vec<_> = page.members.into_iter().map(label).collect();
                        labels.sort();
                        labels.join(",")
                    }
                    Ok(page) => format!("unreachable {:?}", page.unreachable),
                    Err(error) => format!("error {error}"),
                }
            }
            .boxed(),
            _ => return answer("unknown"),
        };
        conn.wait(result, |result: String, _, _| answer(result))
    }
}

fn done<E: std::fmt::Display>(result: Result<(), E>) -> String {
    result.map_or_else(|error| error.to_string(), |()| "ok".to_owned())
}
