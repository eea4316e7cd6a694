//! A minute without a server, with the default settings.

use std::time::{Duration, Instant};

use actix_acceptor_cluster::{Cluster, NodeState, RemoteError};
use support::{in_time, within};

use super::proxy::Proxy;
use super::reached;
use crate::nats_server::NatsServer;
use crate::nodes::{ask, line, Node};

const MINUTE: Duration = Duration::from_secs(60);

/// Nothing goes through, and nothing refuses the connections: the node has to find out.
#[actix::test]
async fn after_a_minute_without_a_server_all_is_as_before() {
    let server = NatsServer::start();
    let proxy = Proxy::to(&server).await;
    let node = |url: &str, name: &str| Node::start(Cluster::nats(url).prefix("test").node(name));
    let (one, two) = (node(&proxy.url, "one").await, node(&server.url, "two").await);
    let (mut near, mut far) = (one.named("ann").await, two.named("bob").await);
    for (peer, node) in [(&mut near, &one), (&mut far, &two)] {
        ask(peer, "join lobby", "true").await;
        in_time(node.cluster.topic("lobby").subscribed()).await.unwrap();
    }

    proxy.silence();
    let began = Instant::now();
    let (mut accepted, mut published, mut slowest) = (0, 0, Duration::ZERO);
    while began.elapsed() < MINUTE {
        let at = Instant::now();
        match one.cluster.topic("lobby").publish(format!("near {published}")).remote {
            Ok(()) => accepted += 1,
            Err(error) => assert!(matches!(error, RemoteError::Disconnected), "{error}"),
        }
        near.expect(format!("near {published}\n").as_bytes()).await;
        slowest = slowest.max(at.elapsed());
        published += 1;
        if published % 100 == 0 {
            // Against the idle timeout of the pool.
            for peer in [&mut near, &mut far] {
                ask(peer, "join lobby", "false").await;
            }
        }
        // The pace of the publisher.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(accepted < published && one.cluster.state() == NodeState::Alone, "{accepted} of {published}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    // The lease has expired, on both sides.
    assert_eq!((one.cluster.info().lease, two.whereis("ann").await), (None, None));
    assert_eq!(two.whereis("bob").await.as_deref(), Some("two"));

    // What the proxy has held back is lost.
    proxy.close().await;
    proxy.open();
    within(MINUTE, reached(&one, NodeState::Joined)).await;
    in_time(one.cluster.topic("lobby").subscribed()).await.unwrap();
    let registered = async {
        while two.whereis("ann").await.as_deref() != Some("one") {
            tokio::task::yield_now().await;
        }
    };
    in_time(registered).await;
    in_time(two.cluster.send("ann", "hello")).await.unwrap();
    near.expect(b"hello\n").await;
    one.cluster.topic("lobby").publish("together");
    near.expect(b"together\n").await;
    let mut arrived = Vec::new();
    loop {
        match line(&mut far).await {
            line if line == "together" => break,
            line => arrived.push(line.strip_prefix("near ").unwrap().parse::<u64>().unwrap()),
        }
    }
    assert!(arrived.is_sorted_by(|one, next| one < next), "{arrived:?}");
    let dropped = one.cluster.info().dropped;
    let lost = dropped.expired + dropped.failed + dropped.unconfirmed;
    assert_eq!(arrived.len() as u64 + lost, accepted, "{arrived:?}, {dropped:?}");
    for node in [one, two] {
        in_time(node.cluster.leave()).await;
    }
}
