//! A chat on several machines: guests of all nodes share rooms, names and private messages. Try it on one machine:
//!
//! ```text
//! nats-server -js
//! cargo run -p actix-acceptor-cluster --example chat -- 127.0.0.1:7878 a
//! cargo run -p actix-acceptor-cluster --example chat -- 127.0.0.1:7879 b
//! nc 127.0.0.1 7878                          and in another terminal: nc 127.0.0.1 7879
//! ```
//!
//! The arguments are the address, the name of the node, and the URL of NATS.

use std::sync::{Arc, OnceLock};

use actix_acceptor::prelude::*;
use actix_acceptor_cluster::{Cluster, ClusterTopic, DeliveryError, RegisterError};
use bytes::Bytes;

const HELP: &str = "/nick NAME, /join ROOM, /tell NAME TEXT, /who, /where NAME, /quit";

/// The names of one page of `/who`.
const PAGE: usize = 50;

/// One connection.
struct Guest {
    cluster: Arc<OnceLock<Cluster<Guest>>>,
    name: Option<String>,
    room: String,
}

impl Protocol for Guest {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        conn.join(&conn.pool().topic(&self.room));
        Next::send(HELP)
    }

    fn packet(&mut self, line: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        let line = String::from_utf8_lossy(&line).into_owned();
        let (command, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let Some(cluster) = self.cluster.get().cloned() else { return Next::send("not yet; try again") };
        match command {
            "/nick" if is_name(rest) => self.rename(rest.to_owned(), &cluster, conn),
            "/join" if is_name(rest) => {
                conn.leave(&conn.pool().topic(&self.room));
                conn.join(&conn.pool().topic(rest));
                self.room = rest.to_owned();
                // Answers once what guests of other nodes say in the room arrives here.
                let (topic, room) = (cluster.topic(rest), rest.to_owned());
                let subscribed = async move { topic.subscribed().await };
                conn.wait(subscribed, move |(), _, _| Next::send(format!("you are in {room}")))
            }
            "/tell" => {
                let (to, text) = rest.split_once(' ').unwrap_or((rest, ""));
                let (to, text) = (to.to_owned(), format!("{} tells you: {text}", self.name()));
                let sent = async move { cluster.send(to, text).await };
                conn.wait(sent, |sent, _, _| match sent {
                    Ok(()) => Next::Continue,
                    Err(DeliveryError::NoOwner) => Next::send("no such guest"),
                    Err(error) => Next::send(error.to_string()),
                })
            }
            "/who" => conn.wait(who(cluster.topic(&self.room)), |names, _, _| match names {
                Ok(names) => Next::send(names),
                Err(error) => Next::send(error.to_string()),
            }),
            "/where" => {
                let name = rest.to_owned();
                let owner = async move { cluster.whereis(name).await };
                conn.wait(owner, |owner, _, _| match owner {
                    Ok(Some(owner)) => Next::send(format!("at {}", owner.node())),
                    Ok(None) => Next::send("no such guest"),
                    Err(error) => Next::send(error.to_string()),
                })
            }
            "/quit" => Next::Stop,
            _ if line.starts_with('/') => Next::send(HELP),
            _ => {
                let published = cluster.topic(&self.room).publish_except(conn.id(), format!("{}: {line}", self.name()));
                match published.remote {
                    Ok(()) => Next::Continue,
                    Err(error) => Next::send(format!("only guests of this node have read that: {error}")),
                }
            }
        }
    }
}

impl Guest {
    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("a guest")
    }

    fn rename(&mut self, name: String, cluster: &Cluster<Guest>, conn: &mut Conn<Self>) -> Next<Self> {
        let registered = cluster.register(conn, &name);
        let cluster = cluster.clone();
        conn.wait(registered, move |registered, me, conn| match registered {
            Ok(()) => {
                conn.set_label(&name);
                let former = me.name.replace(name.clone()).filter(|former| *former != name);
                let answer = format!("you are {name}");
                match former {
                    Some(former) => {
                        let released = cluster.unregister(conn, former);
                        conn.wait(released, |_, _, _| Next::send(answer))
                    }
                    None => Next::send(answer),
                }
            }
            Err(RegisterError::Taken { node }) => Next::send(format!("that name is taken, at {node}")),
            Err(error) => Next::send(error.to_string()),
        })
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 32 && text.chars().all(char::is_alphanumeric)
}

/// The names of the guests of a room, on all nodes.
async fn who(room: ClusterTopic<Guest>) -> Result<String, DeliveryError> {
    let page = room.presence(None, PAGE).await?;
    let name = |label: &Option<String>| label.clone().unwrap_or("a guest".to_owned());
    let mut names: Vec<_> =
        page.members.iter().map(|member| format!("{}@{}", name(&member.label), member.node)).collect();
    if page.next.is_some() {
        names.push("..".to_owned());
    }
    Ok(names.join(" "))
}

#[actix::main]
async fn main() -> Result<(), MainError> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:7878".to_owned());
    let node = arguments.next().unwrap_or("a".to_owned());
    let nats = arguments.next().unwrap_or("nats://127.0.0.1:4222".to_owned());

    let cluster = Arc::new(OnceLock::new());
    let of_guests = cluster.clone();
    let guest = move |_: &Peer| Guest { cluster: of_guests.clone(), name: None, room: "lobby".to_owned() };
    let pool = AcceptorPool::with_protocol(guest).framing(Framing::lines()).bind(address).await?;
    let joined = Cluster::nats(nats).node(node).prefix("chat").connect(&pool).await?;
    println!("node {} listens on {}", joined.node(), pool.local_addrs()[0]);
    let _ = cluster.set(joined.clone());
    let report = pool.drain_on_signal(Drain::grace(std::time::Duration::from_secs(5))).await?;
    joined.leave().await;
    println!("{} guests have left", report.asked);
    Ok(())
}
