//! A server that restarts while messages are sent, and a node with many topics.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_acceptor_cluster::{NodeState, RemoteError};
use support::{eventually, in_time, within, Peer};

use super::{nats, reached};
use crate::nats_server::NatsServer;
use crate::nodes::Node;

/// Reads numbered lines until the last one, and returns the numbers.
async fn numbers(mut peer: Peer) -> Vec<u64> {
    let (mut numbers, mut line) = (Vec::new(), Vec::new());
    loop {
        line.extend(peer.read_exact(1).await);
        if line.ends_with(b"\n") {
            let text = String::from_utf8(std::mem::take(&mut line)).unwrap();
            match text.trim_end() {
                "end" => return numbers,
                number => numbers.push(number.parse().unwrap()),
            }
        }
    }
}

#[actix::test]
async fn a_restart_under_load_loses_nothing_locally_and_nothing_flushed() {
    let mut server = NatsServer::start();
    let (one, two) =
        (Node::start(nats(&server.url).node("one")).await, Node::start(nats(&server.url).node("two")).await);
    let (near, far) = (one.member("lobby").await, two.member("lobby").await);
    let (near, far) = (actix::spawn(numbers(near)), actix::spawn(numbers(far)));
    let (published, stop) = (Rc::new(Cell::new(0_u64)), Rc::new(Cell::new(false)));
    let publisher = {
        let (topic, published, stop) = (one.cluster.topic("lobby"), published.clone(), stop.clone());
        actix::spawn(async move {
            let mut accepted = Vec::new();
            while !stop.get() {
                let number = published.get();
                published.set(number + 1);
                match topic.publish(number.to_string()).remote {
                    Ok(()) => accepted.push(number),
                    Err(RemoteError::Disconnected) => {}
                    Err(error) => panic!("{error}"),
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            accepted
        })
    };
    let mut flushed = Vec::new();
    for _ in 0..3 {
        let from = published.get();
        eventually(|| published.get() > from + 50).await;
        let to = published.get();
        in_time(one.cluster.flush()).await.unwrap();
        // The server has them, and this question of the other node is behind them.
        in_time(two.cluster.flush()).await.unwrap();
        flushed.push(from + 1..to);
        server.stop();
        reached(&one, NodeState::Alone).await;
        let away = published.get();
        eventually(|| published.get() > away + 20).await;
        server.start_again();
        for node in [&one, &two] {
            reached(node, NodeState::Joined).await;
            in_time(node.cluster.topic("lobby").subscribed()).await.unwrap();
        }
        // What was lost is reported once.
        let _ = in_time(one.cluster.flush()).await;
    }
    stop.set(true);
    let accepted = in_time(publisher).await.unwrap();
    in_time(one.cluster.flush()).await.unwrap();
    one.cluster.topic("lobby").publish("end").remote.unwrap();
    let (near, far) = (in_time(near).await.unwrap(), in_time(far).await.unwrap());
    assert_eq!(near, (0..published.get()).collect::<Vec<_>>());
    // In order, nothing twice, nothing that was not accepted.
    assert!(far.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(far.iter().all(|number| accepted.binary_search(number).is_ok()));
    for number in flushed.into_iter().flatten() {
        assert!(far.binary_search(&number).is_ok(), "{number}");
    }
    let info = one.cluster.info();
    assert!(info.reconnects == 3 && published.get() > accepted.len() as u64 + 60, "{info:?}");
    for node in [one, two] {
        in_time(node.cluster.leave()).await;
    }
}

#[actix::test]
async fn many_topics_are_subscribed_again_in_one_round_trip() {
    const TOPICS: usize = 20_000;
    let mut server = NatsServer::start();
    let node =
        Node::start(nats(&server.url).node("one").ttl(Duration::from_secs(3)).server_timeout(Duration::from_secs(3)))
            .await;
    let mut member = node.guest().await;
    let began = Instant::now();
    // In the callback of one connection, which would wait for the answers otherwise.
    for first in (0..TOPICS).step_by(100) {
        let lines: String = (first..first + 100).map(|n| format!("join topic{n}\n")).collect();
        member.send(lines).await;
        member.expect("true\n".repeat(100).as_bytes()).await;
    }
    let all = || node.cluster.info().topics == TOPICS;
    within(Duration::from_secs(60), eventually(all)).await;
    let subscribed = began.elapsed();
    server.stop();
    reached(&node, NodeState::Alone).await;
    assert_eq!(node.cluster.info().topics, 0);
    let began = Instant::now();
    server.start_again();
    in_time(node.cluster.topic("topic19999").subscribed()).await.unwrap();
    let again = began.elapsed();
    assert!(all());
    assert_eq!(server.subjects("test.node.one.").len(), 1);
    if std::env::var_os("CLUSTER_FIGURES").is_some() {
        println!("{TOPICS} topics: {subscribed:?} to join them, {again:?} from the start of the server to all of them");
    }
    // The heartbeats go on.
    reached(&node, NodeState::Joined).await;
    in_time(node.cluster.leave()).await;
}
