//! What was accepted and waits to be sent when the connection is lost.

use std::time::{Duration, Instant};

use actix_acceptor_cluster::{DeliveryError, NodeState, RemoteError};
use bytes::Bytes;
use futures::StreamExt;
use support::{eventually, in_time};

use super::proxy::Proxy;
use super::{nats, reached};
use crate::nats_server::NatsServer;
use crate::nodes::Node;

/// How many messages the client may have taken when the connection is lost.
const OF_CLIENT: u64 = 64;

/// The length of a line.
const LENGTH: usize = 4 << 10;

fn line(word: impl std::fmt::Display) -> Bytes {
    Bytes::from(format!("{word:.<LENGTH$}"))
}

/// Publishes numbered lines until the connection takes no more and 100 of them wait in the queue. Returns how many were accepted.
async fn fill(node: &Node) -> u64 {
    let topic = node.cluster.topic("lobby");
    let mut accepted = 0;
    let queued = || node.cluster.info().queued_messages;
    let mut publish = |many| {
        for _ in 0..many {
            topic.publish(line(accepted)).remote.unwrap();
            accepted += 1;
        }
    };
    while takes_all(&queued).await {
        publish(100);
    }
    publish(100);
    accepted
}

/// Whether the queue becomes empty. It is not if nothing is taken from it for half a second.
async fn takes_all(queued: &impl Fn() -> usize) -> bool {
    let (mut before, mut since) = (queued(), Instant::now());
    while before > 0 && since.elapsed() < Duration::from_millis(500) {
        tokio::time::sleep(Duration::from_millis(1)).await;
        if queued() < before {
            (before, since) = (queued(), Instant::now());
        }
    }
    before == 0
}

#[actix::test]
async fn the_queue_is_sent_in_order_after_a_reconnect() {
    let server = NatsServer::start();
    let proxy = Proxy::to(&server).await;
    let long = Duration::from_secs(60);
    let one = Node::start(nats(&proxy.url).node("one").server_timeout(long).queue_timeout(long)).await;
    let two = Node::start(nats(&server.url).node("two")).await;
    let mut far = two.member("lobby").await;
    proxy.silence();
    let accepted = fill(&one).await;
    proxy.close().await;
    reached(&one, NodeState::Alone).await;
    proxy.open();
    reached(&one, NodeState::Joined).await;
    one.cluster.topic("lobby").publish(line("end")).remote.unwrap();
    let mut numbers = Vec::new();
    loop {
        let line = String::from_utf8(in_time(far.read_exact(LENGTH + 1)).await).unwrap();
        let word = line.split('.').next().unwrap();
        if word == "end" {
            break;
        }
        numbers.push(word.parse::<u64>().unwrap());
    }
    // In order, nothing twice, and none is missing after the first one that was still in the queue.
    assert!(numbers.len() >= 100 && numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    let last: Vec<_> = (accepted - 100..accepted).collect();
    assert_eq!(numbers[numbers.len() - 100..], last);
    let dropped = one.cluster.info().dropped;
    let (arrived, missing) = (numbers.len() as u64, dropped.unconfirmed);
    assert!((accepted..=accepted + OF_CLIENT).contains(&(arrived + missing)), "{accepted} {arrived} {dropped:?}");
    let flush = in_time(one.cluster.flush()).await;
    assert!(matches!(flush, Err(RemoteError::Lost { messages }) if messages == missing), "{flush:?} {dropped:?}");
    for node in [one, two] {
        in_time(node.cluster.leave()).await;
    }
}

#[actix::test]
async fn leaving_sends_what_is_queued_before() {
    // Without JetStream, there is no lease to give up meanwhile.
    let server = NatsServer::with_arguments(&[]);
    let proxy = Proxy::to(&server).await;
    let long = Duration::from_secs(60);
    let settings = nats(&proxy.url).server_timeout(long).queue_timeout(long).request_timeout(long).start_alone(true);
    let one = Node::start(settings).await;
    // A member does not have room for all of them.
    let client = in_time(async_nats::connect(&server.url)).await.unwrap();
    let mut messages = in_time(client.subscribe("test.topic.lobby")).await.unwrap();
    in_time(client.flush()).await.unwrap();
    proxy.silence();
    let accepted = fill(&one).await;
    let leaving = actix::spawn(one.cluster.clone().leave());
    // Another handle is refused from now on.
    eventually(|| one.cluster.topic("lobby").publish("late").remote.is_err()).await;
    proxy.open();
    for _ in 0..accepted {
        in_time(messages.next()).await.unwrap();
    }
    in_time(leaving).await.unwrap();
}

#[actix::test]
async fn what_leaving_cannot_send_is_dropped_and_counted() {
    let server = NatsServer::start();
    let proxy = Proxy::to(&server).await;
    let long = Duration::from_secs(60);
    let one = Node::start(nats(&proxy.url).node("one").server_timeout(long).queue_timeout(long)).await;
    proxy.silence();
    let accepted = fill(&one).await;
    proxy.close().await;
    reached(&one, NodeState::Alone).await;
    in_time(one.cluster.clone().leave()).await;
    let info = one.cluster.info();
    assert_eq!((info.queued_messages, info.queued_bytes), (0, 0));
    let dropped = info.dropped.failed + info.dropped.unconfirmed;
    assert!(info.dropped.failed >= 100 && (accepted - OF_CLIENT..=accepted).contains(&dropped), "{info:?}");
}

#[actix::test]
async fn what_has_waited_for_too_long_is_dropped_and_counted() {
    let server = NatsServer::start();
    let proxy = Proxy::to(&server).await;
    let (long, short) = (Duration::from_secs(60), Duration::from_secs(2));
    let one = Node::start(nats(&proxy.url).node("one").server_timeout(long).queue_timeout(short)).await;
    proxy.silence();
    let accepted = fill(&one).await;
    let empty = async {
        while one.cluster.info().queued_messages > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    in_time(empty).await;
    let info = one.cluster.info();
    assert!(info.dropped.expired >= 100 && info.dropped.expired <= accepted, "{info:?}");
    assert_eq!((info.queued_bytes, info.published), (0, accepted));
    proxy.close().await;
    reached(&one, NodeState::Alone).await;
    proxy.open();
    reached(&one, NodeState::Joined).await;
    let dropped = one.cluster.info().dropped;
    assert_eq!(dropped.expired + dropped.unconfirmed, accepted, "{dropped:?}");
    in_time(one.cluster.leave()).await;
}

#[actix::test]
async fn a_full_queue_is_an_error_with_both_numbers() {
    let server = NatsServer::start();
    let proxy = Proxy::to(&server).await;
    let long = Duration::from_secs(60);
    let one = Node::start(nats(&proxy.url).server_timeout(long).queue_timeout(long).queue(1 << 20)).await;
    proxy.silence();
    let topic = one.cluster.topic("lobby");
    let (queued, limit) = loop {
        match topic.publish(Bytes::from(vec![b'.'; 100 << 10])).remote {
            Ok(()) => tokio::task::yield_now().await,
            Err(RemoteError::Full { queued, limit }) => break (queued, limit),
            Err(error) => panic!("{error}"),
        }
    };
    assert!(limit == 1 << 20 && queued <= limit && queued > limit - (101 << 10), "{queued}");
    assert!(one.cluster.info().queued_bytes <= limit);
    proxy.open();
    in_time(one.cluster.flush()).await.unwrap();
    assert_eq!(one.cluster.info().queued_bytes, 0);
    in_time(one.cluster.leave()).await;
}

#[actix::test]
async fn what_arrives_faster_than_it_is_handled_is_dropped_and_counted() {
    let server = NatsServer::start();
    let one = Node::start(nats(&server.url).node("one")).await;
    // Less than the client reads at once.
    let two = Node::start(nats(&server.url).node("two").queue(2_000)).await;
    let mut far = two.member("lobby").await;
    let sent = 20_000;
    for n in 0..sent {
        one.cluster.topic("lobby").publish(format!("line {n:05}")).remote.unwrap();
    }
    in_time(one.cluster.flush()).await.unwrap();
    let counts = || {
        let info = two.cluster.info();
        (info.received, info.dropped.overflowed)
    };
    eventually(|| counts().0 + counts().1 == sent).await;
    let (arrived, dropped) = counts();
    assert!(arrived > 0 && dropped > 0, "{arrived} {dropped}");
    let mut before = String::new();
    for _ in 0..arrived {
        let line = String::from_utf8(far.read_exact(11).await).unwrap();
        assert!(line > before, "{before}{line}");
        before = line;
    }
    for node in [one, two] {
        in_time(node.cluster.leave()).await;
    }
}

#[actix::test]
async fn a_message_of_exactly_the_limit_is_sent() {
    let server = NatsServer::start();
    let (one, two) =
        (Node::start(nats(&server.url).node("one")).await, Node::start(nats(&server.url).node("two")).await);
    let (_far, ann) = (two.member("lobby").await, two.named("ann").await);
    let max = 1 << 20;
    let text = |length: usize| Bytes::from(vec![b'a'; length]);
    // The size in the error is that of the message with what the crate adds.
    let Err(RemoteError::TooLarge { size, limit }) = one.cluster.topic("lobby").publish(text(max)).remote else {
        panic!("{max} bytes and more were sent");
    };
    assert!(limit == max && size > max && size < max + 16, "{size} {limit}");
    let added = size - max;
    let published = one.cluster.topic("lobby").publish(text(max - added + 1)).remote;
    assert!(matches!(published, Err(RemoteError::TooLarge { size, .. }) if size == max + 1), "{published:?}");
    one.cluster.topic("lobby").publish(text(max - added)).remote.unwrap();
    in_time(one.cluster.flush()).await.unwrap();
    eventually(|| two.cluster.info().received == 1).await;
    assert_eq!(one.cluster.info().dropped.failed, 0);
    let sent = in_time(one.cluster.send("ann", text(max))).await;
    assert!(matches!(sent, Err(DeliveryError::TooLarge { size, limit }) if size > max && limit == max), "{sent:?}");
    drop(ann);
    for node in [one, two] {
        in_time(node.cluster.leave()).await;
    }
}

#[actix::test]
async fn one_message_has_room_in_the_smallest_queue() {
    let server = NatsServer::start();
    let one = Node::start(nats(&server.url).node("one").queue(1)).await;
    let two = Node::start(nats(&server.url).node("two").queue(1)).await;
    let mut far = two.member("lobby").await;
    for n in 0..10 {
        one.cluster.topic("lobby").publish(line(n)).remote.unwrap();
        assert_eq!(in_time(far.read_exact(LENGTH + 1)).await[..LENGTH], line(n)[..]);
        eventually(|| one.cluster.info().queued_messages == 0).await;
    }
    for node in [one, two] {
        in_time(node.cluster.leave()).await;
    }
}
