//! Names that are unique over all nodes, and messages to their owners.

use std::time::Duration;

use actix_acceptor_cluster::DeliveryError;
use support::in_time;

use crate::nodes::{ask, worlds, HowMany, Node};

async fn until_owner(node: &Node, name: &str, owner: Option<&str>) {
    let is_owner = async {
        while node.whereis(name).await.as_deref() != owner {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    in_time(is_owner).await;
}

#[actix::test]
async fn a_name_has_one_owner_on_all_nodes() {
    for world in worlds() {
        let (one, two) = (world.node("one").await, world.node("two").await);
        assert_eq!(one.whereis("ann").await, None);
        let mut ann = one.named("ann").await;
        assert_eq!((one.whereis("ann").await, two.whereis("ann").await), (Some("one".into()), Some("one".into())));
        ask(&mut ann, "register ann", "ok").await;
        let taken = "the name belongs to a connection of node \"one\"";
        let (mut near, mut far) = (one.guest().await, two.guest().await);
        ask(&mut near, "register ann", taken).await;
        ask(&mut far, "register ann", taken).await;
        ask(&mut near, "unregister ann", "false").await;
        ask(&mut ann, "unregister ann", "true").await;
        assert_eq!(two.whereis("ann").await, None);
        ask(&mut far, "register ann", "ok").await;
        assert_eq!(one.whereis("ann").await.as_deref(), Some("two"));
        // The end of a connection releases its names.
        drop(far);
        until_owner(&one, "ann", None).await;
        ask(&mut near, "register ann", "ok").await;
        one.cluster.leave().await;
        two.cluster.leave().await;
    }
}

#[actix::test]
async fn a_name_is_taken_over_across_nodes() {
    for world in worlds() {
        let (one, two) = (world.node("one").await, world.node("two").await);
        let mut former = one.named("ann").await;
        let mut new = two.guest().await;
        ask(&mut new, "replace ann", "ok").await;
        assert_eq!(one.whereis("ann").await.as_deref(), Some("two"));
        assert_eq!(former.until_gone().await, b"");
        // The end of the former owner releases nothing.
        ask(&mut new, "register ann", "ok").await;
        assert_eq!(one.whereis("ann").await.as_deref(), Some("two"));
        one.cluster.leave().await;
        two.cluster.leave().await;
    }
}

#[actix::test]
async fn a_name_reaches_its_owner_from_every_node() {
    for world in worlds() {
        let (one, two) = (world.node("one").await, world.node("two").await);
        let mut ann = one.named("ann").await;
        for node in [&one, &two] {
            in_time(node.cluster.send("ann", "a reply")).await.unwrap();
            ann.expect(b"a reply\n").await;
            in_time(node.cluster.notify("ann", "hello".to_owned())).await.unwrap();
            ann.expect(b"message hello\n").await;
            let id = one.pool.list()[0].id.get();
            assert_eq!(in_time(node.cluster.ask("ann", HowMany("four".to_owned()))).await.unwrap(), (4, id));
            let missing = in_time(node.cluster.send("bob", "a reply")).await;
            assert!(matches!(missing, Err(DeliveryError::NoOwner)), "{missing:?}");
        }
        // A connection that has ended.
        let owner = in_time(two.cluster.whereis("ann")).await.unwrap().unwrap();
        drop(ann);
        let gone = async {
            while !matches!(owner.send("late").await, Err(DeliveryError::NoOwner)) {
                tokio::task::yield_now().await;
            }
        };
        in_time(gone).await;
        one.cluster.leave().await;
        two.cluster.leave().await;
    }
}
