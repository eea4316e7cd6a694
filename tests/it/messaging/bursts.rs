//! Bursts of replies, which topics queue as a whole: they arrive as if each had been queued at once.

use std::thread;

use actix_acceptor::limits::SlowConsumer;
use futures::future::join_all;

use super::*;

const PUBLISHERS: usize = 3;
const REPLIES: usize = 4_000;

#[actix::test]
async fn of_each_publisher_everything_arrives_in_order() {
    let pool = start_with(|builder| builder.acceptors(2).outbox(64 << 20, SlowConsumer::DropNewest)).await;
    let mut peers = Vec::new();
    for _ in 0..3 {
        let mut peer = member(&pool).await;
        assert_eq!(ask(&mut peer, "join other").await, "true");
        peers.push(peer);
    }
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let (lobby, other) = (pool.topic("lobby"), pool.topic("other"));
            let members: Vec<_> = lobby.members().into_iter().map(|id| pool.connection(id).unwrap()).collect();
            thread::spawn(move || {
                for n in 0..REPLIES {
                    let reply = format!("{publisher} {n}");
                    match n % 50 {
                        // Most are published one after the other to one topic.
                        ..40 => assert_eq!(lobby.publish(reply).members, members.len()),
                        40..45 => assert_eq!(other.publish(reply).members, members.len()),
                        45..48 => members.iter().for_each(|member| member.send(reply.clone()).unwrap()),
                        _ => assert_eq!(lobby.publish_except(members[0].id(), reply).members, members.len() - 1),
                    }
                    if n % 50 == 0 {
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let read = peers.iter_mut().enumerate().map(|(member, peer)| async move {
        let is_left_out = |n: usize| member == 0 && n % 50 >= 48;
        let mut next = [0; PUBLISHERS];
        while next.iter().any(|next| *next < REPLIES) {
            let line = line(peer).await;
            let (publisher, n) = line.split_once(' ').unwrap();
            let next = &mut next[publisher.parse::<usize>().unwrap()];
            assert_eq!(n.parse(), Ok(*next), "of {publisher}");
            *next += 1;
            while *next < REPLIES && is_left_out(*next) {
                *next += 1;
            }
        }
    });
    join_all(read).await;
    publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
    assert_eq!(pool.info().dropped, 0);
    for peer in &mut peers {
        assert_eq!(ask(peer, "done").await, "done");
    }
}

/// Each publication of a burst sees what happened before it, although a burst is queued as a whole.
#[actix::test]
async fn a_burst_is_not_seen_as_one() {
    let pool = start_with(|builder| builder.on_current_arbiter().outbox(64_000, SlowConsumer::DropNewest)).await;
    let (mut first, mut second) = (member(&pool).await, member(&pool).await);
    let lobby = pool.topic("lobby");
    let connection = pool.connection(lobby.members()[0]).unwrap();
    // Nothing else runs on this arbiter until the first `await`.
    let publish = |range: std::ops::Range<u32>| range.map(|n| lobby.publish(format!("{n:099}")).members).sum::<usize>();
    assert_eq!(publish(0..10), 20);
    assert_eq!(connection.outbox().pending(), 1_000);
    connection.send("between").unwrap();
    assert_eq!(publish(10..20), 20);
    assert_eq!(pool.connection_info(connection.id()).unwrap().unsent, 2_008);
    assert_eq!(pool.list()[1].unsent, 2_000);
    // Up to the limit, one reply more for the other member.
    assert_eq!(publish(20..639), 2 * 619);
    assert_eq!(connection.outbox().pending(), 63_908);
    let published = lobby.publish(format!("{:099}", 639));
    assert_eq!((published.members, published.dropped), (1, 1));
    assert!(connection.kill());
    assert_eq!(lobby.publish("short").members, 0);
    let numbers = |received: Vec<u8>| {
        let lines: Vec<_> = std::str::from_utf8(&received).unwrap().lines().map(str::to_owned).collect();
        lines.into_iter().filter_map(|line| line.parse::<u32>().ok()).collect::<Vec<_>>()
    };
    assert_eq!(numbers(second.read_exact(64_000).await), (0..640).collect::<Vec<_>>());
    first.until_gone().await;
    assert_eq!(lobby.publish("again").members, 1);
    assert_eq!(line(&mut second).await, "again");
}

/// Nothing else runs on this arbiter until the first `await`, so each burst is queued as a whole.
#[actix::test]
async fn a_burst_leaves_out_its_publisher_only() {
    let pool = start_with(|builder| builder.on_current_arbiter()).await;
    let mut peers = [member(&pool).await, member(&pool).await];
    let lobby = pool.topic("lobby");
    let ids = lobby.members();
    let mut expected = [String::new(), String::new()];
    for (n, except) in [None, None, Some(0), Some(0), Some(1), Some(1), Some(0), None, Some(1), None].iter().enumerate()
    {
        let published = match except {
            Some(except) => lobby.publish_except(ids[*except], n.to_string()),
            None => lobby.publish(n.to_string()),
        };
        assert_eq!(published.members, 2 - usize::from(except.is_some()), "{n}");
        for (member, expected) in expected.iter_mut().enumerate() {
            if *except != Some(member) {
                *expected += &format!("{n}\n");
            }
        }
    }
    for (peer, expected) in peers.iter_mut().zip(expected) {
        peer.expect(expected.as_bytes()).await;
    }
}

/// What a burst reports is what arrives, also if the outboxes of its members have different room.
#[actix::test]
async fn a_burst_fits_the_member_with_the_least_room() {
    for fuller in 0..3 {
        let pool = start_with(|builder| builder.on_current_arbiter().outbox(10_000, SlowConsumer::DropNewest)).await;
        let mut peers = [member(&pool).await, member(&pool).await, member(&pool).await];
        let lobby = pool.topic("lobby");
        pool.connection(lobby.members()[fuller]).unwrap().send("x".repeat(4_999)).unwrap();
        let reached: Vec<_> = (0..11).map(|n| lobby.publish(format!("{n:0999}")).members).collect();
        assert_eq!(reached, [3, 3, 3, 3, 3, 2, 2, 2, 2, 2, 0]);
        assert_eq!(pool.info().dropped, 5 + 3);
        for (member, peer) in peers.iter_mut().enumerate() {
            if member == fuller {
                assert_eq!(line(peer).await.len(), 4_999);
            }
            for n in 0..if member == fuller { 5 } else { 10 } {
                assert_eq!(line(peer).await, format!("{n:0999}"));
            }
        }
    }
}
