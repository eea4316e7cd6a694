//! Who is in a topic, on all nodes.

use std::time::Duration;

use support::{eventually, in_time};

use crate::faults::nats;
use crate::faults::proxy::Proxy;
use crate::nats_server::NatsServer;
use crate::nodes::{ask, worlds, Node, World};
use crate::watch::{truth, Watched};

#[actix::test]
async fn the_members_of_all_nodes_are_listed_in_pages() {
    for world in worlds() {
        let (one, two, three) = (world.node("one").await, world.node("two").await, world.node("three").await);
        assert_eq!(in_time(one.cluster.nodes()).await.unwrap(), ["one", "three", "two"].map(Into::into));
        let mut peers = Vec::new();
        for (node, labels) in [(&one, vec!["ann", "bob"]), (&two, vec!["cat"]), (&three, vec![])] {
            for label in labels {
                let mut peer = node.member("lobby").await;
                ask(&mut peer, &format!("label {label}"), "ok").await;
                peers.push(peer);
            }
        }
        peers.push(three.guest().await);
        for limit in [1, 2, 3, 100] {
            let topic = two.cluster.topic("lobby");
            let (mut from, mut found, mut pages) = (None, Vec::new(), 0);
            loop {
                let page = in_time(topic.presence(from, limit)).await.unwrap();
                assert!(page.members.len() <= limit && page.unreachable.is_empty());
                found.extend(page.members.into_iter().map(|member| (member.node.to_string(), member.label.unwrap())));
                pages += 1;
                from = page.next;
                if from.is_none() {
                    break;
                }
            }
            let expected = [("one", "ann"), ("one", "bob"), ("two", "cat")];
            assert_eq!(found, expected.map(|(node, label)| (node.to_owned(), label.to_owned())));
            assert!(pages <= 3 / limit + 1, "{pages} of {limit}");
        }
        for node in [one, two, three] {
            node.cluster.leave().await;
        }
    }
}

#[actix::test]
async fn a_page_goes_on_with_the_members_of_a_restarted_node() {
    for world in worlds() {
        let one = world.node("one").await;
        let mut former = Vec::new();
        for _ in 0..3 {
            former.push(one.member("lobby").await);
        }
        let page = in_time(one.cluster.topic("lobby").presence(None, 2)).await.unwrap();
        in_time(one.cluster.leave()).await;
        let one = world.node("one").await;
        let _new = [one.member("lobby").await, one.member("lobby").await];
        // The ids of the new members are those of the page before.
        let next = in_time(one.cluster.topic("lobby").presence(page.next, 10)).await.unwrap();
        assert_eq!(next.members.len(), 2);
        assert!(next.members.iter().zip(&page.members).all(|(new, former)| new.id == former.id && new != former));
        one.cluster.leave().await;
    }
}

#[actix::test]
async fn long_labels_are_cut_and_pages_stay_small() {
    let world = World::Nats(NatsServer::start());
    let (one, two) = (world.node("one").await, world.node("two").await);
    let mut members = Vec::new();
    for n in 0..200 {
        let mut member = two.guest().await;
        member.send(format!("label {n:03}{}ä\njoin lobby\n", "a".repeat(1_020))).await;
        member.expect(b"ok\ntrue\n").await;
        members.push(member);
    }
    let topic = one.cluster.topic("lobby");
    let page = in_time(topic.presence(None, 1_000)).await.unwrap();
    let labels: Vec<_> = page.members.iter().map(|member| member.label.as_deref().unwrap()).collect();
    assert_eq!((labels.len(), page.next), (200, None));
    for (n, label) in labels.iter().enumerate() {
        // The last letter would be cut in two.
        assert_eq!(**label, format!("{n:03}{}", "a".repeat(1_020)));
    }
    // A watch reads several pages as well, and gets the changes of all of them at once.
    let mut watched = Watched::new(&one, "lobby");
    watched.until_complete().await;
    assert_eq!(watched.watch.members(), page.members);
    for member in &mut members {
        member.send("label x\nleave lobby\njoin lobby\n").await;
        member.expect(b"ok\ntrue\ntrue\n").await;
    }
    eventually(|| watched.found() == truth(&[&one, &two], "lobby")).await;
    assert!(watched.members.values().all(|member| member.label.as_deref() == Some("x")));
}

#[actix::test]
async fn a_server_with_a_small_limit_gets_small_pages_and_changes() {
    let world = World::Nats(NatsServer::with_config("max_payload: 4096"));
    // With a TTL at which changes that were lost are not found in time.
    let start = async |name| Node::start(world.settings(name).ttl(Duration::from_secs(90))).await;
    let (one, two) = (start("one").await, start("two").await);
    let mut members = Vec::new();
    for n in 0..30 {
        let mut member = two.guest().await;
        member.send(format!("label {n:03}{}\njoin lobby\n", "a".repeat(1_000))).await;
        member.expect(b"ok\ntrue\n").await;
        members.push(member);
    }
    let page = in_time(one.cluster.topic("lobby").presence(None, 1_000)).await.unwrap();
    assert_eq!((page.members.len(), page.next, page.unreachable.len()), (30, None, 0));
    let mut watched = Watched::new(&one, "lobby");
    watched.until_complete().await;
    for (n, member) in members.iter_mut().enumerate() {
        member.send(format!("label {n:03}{}\n", "b".repeat(1_000))).await;
        member.expect(b"ok\n").await;
    }
    eventually(|| watched.found() == truth(&[&one, &two], "lobby")).await;
    assert!(watched.members.values().all(|member| member.label.as_deref().unwrap().ends_with('b')));
}

#[actix::test]
async fn nodes_that_do_not_answer_take_one_time_limit_per_page() {
    let server = NatsServer::start();
    let proxy = Proxy::to(&server).await;
    let long = Duration::from_secs(60);
    let one = Node::start(nats(&server.url).node("one").ttl(long).request_timeout(Duration::from_secs(1))).await;
    let mut others = Vec::new();
    for name in ["three", "two", "zero"] {
        others.push(Node::start(nats(&proxy.url).node(name).ttl(long).server_timeout(long)).await);
    }
    let _near = one.member("lobby").await;
    proxy.silence();
    let topic = one.cluster.topic("lobby");
    let (mut from, mut pages) = (None, Vec::new());
    loop {
        let page = in_time(topic.presence(from, 10)).await.unwrap();
        from = page.next;
        pages.push((page.members.len(), page.unreachable.iter().map(ToString::to_string).collect::<Vec<_>>()));
        if from.is_none() {
            break;
        }
    }
    let silent = |members, name: &str| (members, vec![name.to_owned()]);
    assert_eq!(pages, [silent(1, "three"), silent(0, "two"), silent(0, "zero")]);
}
