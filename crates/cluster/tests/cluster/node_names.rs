//! Processes that are a node of the same name, one after the other or by mistake at the same time; and registrations that end early.

use std::time::{Duration, Instant};

use actix_acceptor_cluster::ConnectError;
use support::in_time;

use crate::nodes::{ask, line, worlds, Node, TTL};

#[actix::test]
async fn a_second_process_with_the_name_of_a_node_is_refused() {
    for world in worlds() {
        let (one, two) = (world.node("one").await, world.node("two").await);
        let mut ann = one.named("ann").await;
        match Node::try_start(world.settings("one")).await.map(|node| node.cluster) {
            Err(ConnectError::NodeNameTaken { node }) => assert_eq!(node, "one"),
            other => panic!("{other:?}"),
        }
        // The first one has noticed nothing.
        assert!(one.cluster.owns(one.pool.list()[0].id, "ann"));
        in_time(two.cluster.send("ann", "hello")).await.unwrap();
        ann.expect(b"hello\n").await;
        one.cluster.leave().await;
        two.cluster.leave().await;
    }
}

#[actix::test]
async fn a_node_that_has_left_can_start_again_at_once() {
    for world in worlds() {
        let start = async |name| Node::start(world.settings(name).ttl(Duration::from_secs(90))).await;
        let (one, two) = (start("one").await, start("two").await);
        let _ann = one.named("ann").await;
        one.cluster.leave().await;
        assert_eq!(two.whereis("ann").await, None);
        // The lease of the former one would last for longer than the test.
        let again = in_time(start("one")).await;
        assert_eq!(two.whereis("ann").await, None);
        let _ann = again.named("ann").await;
        assert_eq!(two.whereis("ann").await.as_deref(), Some("one"));
        again.cluster.leave().await;
        two.cluster.leave().await;
    }
}

#[actix::test]
async fn a_node_that_starts_after_a_crash_waits_for_the_lease() {
    for world in worlds() {
        let two = world.node("two").await;
        let began = Instant::now();
        let one = world.node("one").await;
        let _ann = one.named("ann").await;
        // As after a crash: nothing is released.
        in_time(one.pool.stop(None)).await;
        drop(one);
        let again = world.node("one").await;
        assert!(began.elapsed() >= TTL, "{:?}", began.elapsed());
        assert_eq!(two.whereis("ann").await, None);
        let _ann = again.named("ann").await;
        again.cluster.leave().await;
        two.cluster.leave().await;
    }
}

#[actix::test]
async fn a_registration_that_is_dropped_leaves_no_name() {
    for world in worlds() {
        let (one, two) = (world.node("one").await, world.node("two").await);
        let (mut dropped, mut other) = (one.guest().await, two.guest().await);
        for name in ["ann", "bob", "cat"] {
            loop {
                dropped.send(format!("register-and-drop {name}\n")).await;
                if line(&mut dropped).await == "dropped" {
                    break;
                }
                // It was done before the future was dropped.
                ask(&mut dropped, &format!("unregister {name}"), "true").await;
            }
            let is_free = async {
                loop {
                    other.send(format!("register {name}\n")).await;
                    if line(&mut other).await == "ok" {
                        return;
                    }
                }
            };
            in_time(is_free).await;
            assert_eq!(one.whereis(name).await.as_deref(), Some("two"));
        }
        one.cluster.leave().await;
        two.cluster.leave().await;
    }
}

#[actix::test]
async fn a_dropped_registration_takes_no_name_from_a_later_one() {
    for world in worlds() {
        let one = world.node("one").await;
        let mut guest = one.guest().await;
        let outcome = loop {
            guest.send("register-twice ann\n").await;
            match line(&mut guest).await {
                // The first one was done before its future could be dropped.
                outcome if outcome == "done" => ask(&mut guest, "unregister ann", "true").await,
                outcome => break outcome,
            }
        };
        assert_eq!(outcome, "owned");
        assert_eq!(one.whereis("ann").await.as_deref(), Some("one"));
        one.cluster.leave().await;
    }
}
