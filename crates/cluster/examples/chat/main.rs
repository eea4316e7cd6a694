//! A chat on several machines: guests of all nodes share rooms, names and private messages. Try it on one machine:
//!
//! ```text
//! nats-server --jetstream
//! cargo run -p actix-acceptor-cluster --example chat -- 127.0.0.1:7878 a
//! cargo run -p actix-acceptor-cluster --example chat -- 127.0.0.1:7879 b
//! cargo run -p actix-acceptor-cluster --example chat -- 127.0.0.1:7880 c
//! nc 127.0.0.1 7878                               and in other terminals: nc 127.0.0.1 7879, nc 127.0.0.1 7880
//! ```
//!
//! Without NATS: `cargo run -p actix-acceptor-cluster --example chat -- 127.0.0.1:7878 a local`.

mod arguments;

use std::time::Duration;

use actix_acceptor::{handlers::ProtocolService, prelude::*, Wait};
use actix_acceptor_cluster::{Cluster, ClusterTopic, DeliveryError, RegisterError};
use arguments::Arguments;
use bytes::Bytes;

const HELP: &str = "/nick NAME, /join ROOM, /tell NAME TEXT, /who, /where NAME, /quit";

/// The most guests that `/who` lists.
const LISTED: usize = 50;

/// A guest enters a room after this time even if the other nodes cannot be reached.
const ENTER_WITHIN: Duration = Duration::from_secs(2);

/// The state of one connection.
struct Guest {
    cluster: Cluster<Guest>,
    name: String,
    room: ClusterTopic<Guest>,
}

impl Protocol for Guest {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        let registered = self.cluster.register(conn, &self.name);
        conn.wait(registered, |registered, me, conn| {
            conn.set_label(&me.name);
            let welcome = match registered {
                Ok(()) => format!("you are {}; {HELP}", me.name),
                Err(error) => format!("you have no name yet: {error}; {HELP}"),
            };
            me.enter("lobby", welcome, conn)
        })
    }

    fn packet(&mut self, line: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        let line = String::from_utf8_lossy(&line);
        let (command, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match command {
            "/join" if is_name(rest) => {
                self.say(conn.id(), &format!("* {} left", self.name));
                conn.leave(self.room.local());
                self.enter(rest, format!("you are in {rest}"), conn)
            }
            "/nick" if is_name(rest) && rest != self.name => self.rename(rest.to_owned(), conn),
            "/tell" => self.tell(rest, conn),
            "/who" => conn.wait(who(self.room.clone()), |names, _, _| {
                Next::send(names.unwrap_or_else(|error| error.to_string()))
            }),
            "/where" => {
                let (cluster, name) = (self.cluster.clone(), rest.to_owned());
                conn.wait(async move { cluster.whereis(name).await }, |owner, _, _| match owner {
                    Ok(Some(owner)) => Next::send(format!("at node {}", owner.node())),
                    Ok(None) => Next::send("no such guest"),
                    Err(error) => Next::send(error.to_string()),
                })
            }
            "/quit" => Next::Stop,
            _ if line.starts_with('/') => Next::send(HELP),
            _ => match self.say(conn.id(), &format!("{}: {line}", self.name)) {
                None => Next::Continue,
                Some(why) => Next::send(why),
            },
        }
    }

    fn shutdown(&mut self, _: Option<tokio::time::Instant>, _: &mut Conn<Self>) -> Next<Self> {
        Next::send_and_stop(format!("* node {} stops; connect to another one", self.cluster.node()))
    }

    /// The connection has already left its room and releases its names, whatever the reason.
    fn closed(&mut self, _: &Closed, info: &ConnectionInfo) {
        self.say(info.id, &format!("* {} left", self.name));
    }
}

impl Guest {
    fn new(peer: &Peer) -> Self {
        let cluster = peer.env::<Cluster<Guest>>().expect("main gives it to the listener").clone();
        Guest { name: format!("guest-{}-{}", cluster.node(), peer.id), room: cluster.topic("lobby"), cluster }
    }

    /// Joins a room, and answers once the lines of other nodes arrive.
    fn enter(&mut self, room: &str, answer: String, conn: &mut Conn<Self>) -> Next<Self> {
        self.room = self.cluster.topic(room);
        conn.join(self.room.local());
        let room = self.room.clone();
        let subscribed = async move { room.subscribed().await };
        conn.wait_with(Wait::new().within(ENTER_WITHIN), subscribed, move |subscribed, me, conn| {
            me.say(conn.id(), &format!("* {} joined", me.name));
            match subscribed {
                Ok(Ok(())) => Next::send(answer),
                Ok(Err(error)) => Next::send(format!("{answer} (alone: {error})")),
                Err(_) => Next::send(format!("{answer} (alone: the other nodes cannot be reached)")),
            }
        })
    }

    /// Sends a line to the others in the room. Returns why the guests of other nodes do not get it.
    fn say(&self, me: ConnectionId, line: &str) -> Option<String> {
        let published = self.room.publish_except(me, line.to_owned());
        published.remote.err().map(|error| format!("only guests of node {} read this: {error}", self.cluster.node()))
    }

    /// Registers the new name, and then releases the old one.
    fn rename(&self, name: String, conn: &mut Conn<Self>) -> Next<Self> {
        conn.wait(self.cluster.register(conn, &name), move |registered, me, conn| {
            match registered {
                Ok(()) => {}
                Err(RegisterError::Taken { node }) => return Next::send(format!("that name is taken, at node {node}")),
                Err(error) => return Next::send(error.to_string()),
            }
            conn.set_label(&name);
            me.say(conn.id(), &format!("* {} is now {name}", me.name));
            let former = std::mem::replace(&mut me.name, name);
            let released = me.cluster.unregister(conn, former);
            conn.wait(released, |_, me, _| Next::send(format!("you are {}", me.name)))
        })
    }

    /// Sends a line to the guest with a name, on any node.
    fn tell(&self, rest: &str, conn: &mut Conn<Self>) -> Next<Self> {
        let (to, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let (cluster, to, text) = (self.cluster.clone(), to.to_owned(), format!("{} tells you: {text}", self.name));
        conn.wait(async move { cluster.send(to, text).await }, |sent, _, _| match sent {
            Ok(()) => Next::Continue,
            Err(DeliveryError::NoOwner) => Next::send("no such guest"),
            Err(error) => Next::send(error.to_string()),
        })
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 32 && text.chars().all(char::is_alphanumeric)
}

/// The guests of a room on all nodes, as `ann@a bob@b`.
async fn who(room: ClusterTopic<Guest>) -> Result<String, DeliveryError> {
    let page = room.presence(None, LISTED).await?;
    let mut names: Vec<_> =
        page.members.iter().map(|guest| format!("{}@{}", guest.label.as_deref().unwrap_or("?"), guest.node)).collect();
    names.sort();
    names.extend(page.next.map(|_| "..".to_owned()));
    names.extend(page.unreachable.iter().map(|node| format!("({node} does not answer)")));
    Ok(names.join(" "))
}

/// The pool of a node, before it listens.
fn chat() -> Builder<ProtocolService<Guest>> {
    AcceptorPool::with_protocol(Guest::new).framing(Framing::lines()).idle_timeout(None)
}

#[actix::main]
async fn main() -> Result<(), MainError> {
    let Arguments { address, node, nats, ttl } = Arguments::parse()?;
    let builder = match nats {
        Some(url) => Cluster::nats(url),
        None => Cluster::local(),
    };
    // The port is opened once the node has joined the others.
    let pool = chat().start_without_listeners().await?;
    let cluster = builder.prefix("chat").node(&node).ttl(ttl).connect(&pool).await?;
    pool.set_listeners(vec![Listener::tcp(address).env(cluster.clone())]).await?;
    println!("node {} listens on {}", cluster.node(), pool.local_addrs()[0]);

    // On SIGTERM or Ctrl-C: says goodbye, and waits for what is queued. Then the names of this node are free at once.
    let report = pool.drain_on_signal(Drain::grace(Duration::from_secs(5))).await?;
    cluster.leave().await;
    println!("node {node} has left; {} connections were closed", report.asked);
    Ok(())
}
