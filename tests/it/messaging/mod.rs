//! What connections send to each other: outboxes, topics, names.

mod arbiters;
mod bursts;
mod encodings;
mod events;
mod formats;
mod limits;
mod names;
mod order;
mod outbox;
mod pushes;
mod races;
mod references;
mod slow_consumers;
mod sockets;
mod states;
mod topics;
mod upgrades;
mod user_code;

use actix_acceptor::{
    handlers::ProtocolService, AcceptorPool, Builder, Conn, Connection, ConnectionRef, Framing, Next, Pool, Protocol,
};
use bytes::Bytes;
use support::*;
use tokio::net::TcpStream;

/// A connection that is driven by its peer: a line is a command.
#[derive(Default)]
pub(crate) struct Member {
    prefixed: bool,
}

impl Protocol for Member {
    type Codec = Framing;
    type Reply = Bytes;
    type User = Bytes;

    fn packet(&mut self, line: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        let line = String::from_utf8(line.to_vec()).unwrap();
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let pool = conn.pool();
        match verb {
            "join" => reply(conn.join(&pool.topic(name))),
            // A topic of another pool.
            "visit" => {
                let other: Members = AcceptorPool::find(name).and_then(|other| other.typed()).unwrap();
                reply(conn.join(&other.topic(text)))
            }
            "leave" => reply(conn.leave(&pool.topic(name))),
            "publish" => {
                let published = pool.topic(name).publish(text.to_owned());
                reply(format!("{} {}", published.members, published.dropped))
            }
            "others" => reply(pool.topic(name).publish_except(conn.id(), text.to_owned()).members),
            "notify" => reply(pool.topic(name).notify(text.to_owned().into()).delivered),
            "register" => reply(conn.register(name).is_ok()),
            "take" => {
                conn.register_replacing(name);
                reply("taken")
            }
            "unregister" => reply(conn.unregister(name)),
            "tell" => reply(pool.whereis(name).is_some_and(|other| other.send(text.to_owned()).is_ok())),
            "owner" => reply(pool.whereis(name).map_or_else(String::new, |owner| owner.id().to_string())),
            "id" => reply(conn.id()),
            "label" => {
                conn.set_label(name);
                reply("labelled")
            }
            // Answered in the framing before.
            "framing" => {
                conn.codec_mut();
                conn.push("changed");
                self.prefixed = !self.prefixed;
                conn.set_framing(if self.prefixed { Framing::len2() } else { Framing::lines() });
                Next::Continue
            }
            // From now on, only the connection's own codec can encode its replies.
            "own" => {
                conn.codec_mut();
                reply("own")
            }
            "wait" => conn.wait(std::future::pending::<()>(), |(), _, _| Next::Stop),
            "quit" => Next::SendAndStop("bye".into()),
            "panic" => panic!("requested by the peer"),
            _ => reply(line),
        }
    }

    fn user(&mut self, message: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(message)
    }
}

fn reply(text: impl ToString) -> Next<Member> {
    Next::Send(text.to_string().into())
}

pub(crate) type Members = Pool<Connection<Member>>;

/// A pool of members with two acceptors.
pub(crate) async fn start() -> Members {
    start_with(|builder| builder.acceptors(2)).await
}

pub(crate) async fn start_with(
    settings: impl FnOnce(Builder<ProtocolService<Member>>) -> Builder<ProtocolService<Member>>,
) -> Members {
    let builder = AcceptorPool::with_protocol(|_| Member::default()).framing(Framing::lines());
    settings(builder).bind("127.0.0.1:0").await.unwrap()
}

/// Sends a command, and reads the answer.
pub(crate) async fn ask(peer: &mut Peer<TcpStream>, command: &str) -> String {
    peer.send(format!("{command}\n")).await;
    line(peer).await
}

/// Reads one line.
pub(crate) async fn line(peer: &mut Peer<TcpStream>) -> String {
    let mut line = String::new();
    loop {
        match peer.read_exact(1).await[0] {
            b'\n' => return line,
            byte => line.push(byte.into()),
        }
    }
}

/// A connected member of the topic `lobby`.
pub(crate) async fn member(pool: &Members) -> Peer<TcpStream> {
    let mut peer = connect(pool).await;
    assert_eq!(ask(&mut peer, "join lobby").await, "true");
    peer
}
