//! Events about topics and names.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_acceptor::telemetry::{Observer, PoolEvent};
use actix_acceptor::{AcceptorPool, Conn, Connection, Framing, Next, Pool, Protocol};
use bytes::Bytes;
use support::*;

/// The events about topics and names, and the ends of connections, in order.
#[derive(Clone, Default)]
struct Groups(Arc<Mutex<Vec<String>>>);

impl Groups {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Observer for Groups {
    fn observe(&self, _: &str, event: &PoolEvent<'_>) {
        let text = match *event {
            PoolEvent::TopicJoined { id, topic } => format!("{id} joined {topic}"),
            PoolEvent::TopicLeft { id, topic } => format!("{id} left {topic}"),
            PoolEvent::NameRegistered { id, name } => format!("{id} registered {name}"),
            PoolEvent::NameReleased { id, name } => format!("{id} released {name}"),
            PoolEvent::ConnectionStopped { id, .. } => format!("{id} stopped"),
            _ => return,
        };
        self.0.lock().unwrap().push(text);
    }
}

/// Does what the lines say.
struct Member;

impl Protocol for Member {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, line: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        let line = std::str::from_utf8(&line).unwrap();
        let (verb, word) = line.split_once(' ').unwrap_or((line, ""));
        let topic = conn.pool().topic(word);
        let outcome = match verb {
            "join" => conn.join(&topic),
            "leave" => conn.leave(&topic),
            "register" => conn.register(word).is_ok(),
            "replace" => {
                conn.register_replacing(word);
                true
            }
            "unregister" => conn.unregister(word),
            "stop" => return Next::send_and_stop("bye"),
            _ => panic!("on purpose"),
        };
        Next::send(outcome.to_string())
    }
}

async fn start() -> (Pool<Connection<Member>>, Groups) {
    let groups = Groups::default();
    let builder = AcceptorPool::with_protocol(|_| Member).framing(Framing::lines()).acceptors(1);
    let pool = in_time(builder.observer(groups.clone()).bind("127.0.0.1:0")).await.unwrap();
    (pool, groups)
}

async fn ask(peer: &mut Peer, line: &str, answer: &str) {
    peer.send(format!("{line}\n")).await;
    peer.expect(format!("{answer}\n").as_bytes()).await;
}

#[actix::test]
async fn topics_and_names_are_reported_when_they_change() {
    let (pool, groups) = start().await;
    let mut peer = connect(&pool).await;
    for (line, answer, events) in [
        ("join a", "true", vec!["1 joined a"]),
        ("join a", "false", vec![]),
        ("join b", "true", vec!["1 joined b"]),
        ("leave a", "true", vec!["1 left a"]),
        ("leave a", "false", vec![]),
        ("register x", "true", vec!["1 registered x"]),
        ("register x", "true", vec![]),
        ("replace x", "true", vec![]),
        ("register y", "true", vec!["1 registered y"]),
        ("unregister y", "true", vec!["1 released y"]),
        ("unregister y", "false", vec![]),
    ] {
        ask(&mut peer, line, answer).await;
        assert_eq!(groups.take(), events, "{line}");
    }
    let mut other = connect(&pool).await;
    ask(&mut other, "register x", "false").await;
    ask(&mut other, "join b", "true").await;
    assert_eq!(groups.take(), ["2 joined b"]);
    ask(&mut other, "replace x", "true").await;
    eventually(|| pool.connections() == 1).await;
    // The former owner is closed: it releases the name once.
    assert_eq!(groups.take(), ["1 released x", "2 registered x", "1 left b", "1 stopped"]);
    in_time(pool.stop(Duration::ZERO)).await;
    assert_eq!(groups.take(), ["2 left b", "2 released x", "2 stopped"]);
}

#[actix::test]
async fn every_end_of_a_connection_is_a_leave() {
    for end in ["stop", "panic", "kill", "disconnect"] {
        let (pool, groups) = start().await;
        let mut peer = connect(&pool).await;
        ask(&mut peer, "join a", "true").await;
        ask(&mut peer, "register x", "true").await;
        match end {
            "kill" => assert!(pool.kill(pool.list()[0].id)),
            "disconnect" => drop(peer),
            verb => peer.send(format!("{verb}\n")).await,
        }
        eventually(|| pool.connections() == 0).await;
        assert_eq!(groups.take(), ["1 joined a", "1 registered x", "1 left a", "1 released x", "1 stopped"], "{end}");
        in_time(pool.stop(None)).await;
    }
}

#[actix::test]
async fn a_name_is_released_by_an_owner_that_is_closing() {
    let (pool, groups) = start().await;
    let (mut peer, mut other) = (connect(&pool).await, connect(&pool).await);
    ask(&mut peer, "register x", "true").await;
    peer.send("stop\n").await;
    peer.expect(b"bye\n").await;
    ask(&mut other, "register x", "true").await;
    let id = pool.whereis("x").unwrap().id();
    let events = groups.take();
    let of_name: Vec<_> = events.iter().filter(|event| event.ends_with(" x")).collect();
    assert_eq!(of_name, ["1 registered x", "1 released x", &format!("{id} registered x")]);
    in_time(pool.stop(Duration::ZERO)).await;
}
