//! Who is in a topic, on all nodes.

use support::in_time;

use crate::nodes::{ask, worlds};

#[actix::test]
async fn the_members_of_all_nodes_are_listed_in_pages() {
    for world in worlds() {
        let (one, two, three) = (world.node("one").await, world.node("two").await, world.node("three").await);
        assert_eq!(in_time(one.cluster.nodes()).await.unwrap(), ["one", "three", "two"]);
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
