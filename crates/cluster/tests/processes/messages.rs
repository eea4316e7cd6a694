//! Messages between processes, with exact counts.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;

use futures::future::join_all;

use crate::nats_server::NatsServer;
use crate::process::Process;

const MESSAGES: u64 = 400;

/// Publishes numbers, each after the node has taken the one before.
async fn publish(process: &Process, publisher: usize) {
    let mut client = process.client().await;
    for n in 0..MESSAGES {
        assert_eq!(client.ask(&format!("publish lobby {publisher} {n}")).await.unwrap(), "published");
    }
    assert_eq!(client.ask("flush").await.unwrap(), "ok");
}

/// The numbers of each publisher, which have to be in order and without a gap.
fn check(messages: &[String]) -> HashMap<usize, (u64, u64)> {
    let mut ranges = HashMap::new();
    for message in messages {
        let (publisher, n) = message.split_once(' ').unwrap();
        let (publisher, n): (usize, u64) = (publisher.parse().unwrap(), n.parse().unwrap());
        let (_, last) = ranges.entry(publisher).or_insert((n, n));
        assert!(n == *last || n == *last + 1, "{n} of {publisher} after {last}");
        *last = n;
    }
    let count: u64 = ranges.values().map(|(first, last)| last - first + 1).sum();
    assert_eq!(count, messages.len() as u64, "a message came twice");
    ranges
}

#[actix::test]
async fn members_get_everything_between_joining_and_leaving() {
    let server = NatsServer::start();
    let nodes = [
        Process::start("one", &server.url).await,
        Process::start("two", &server.url).await,
        Process::start("three", &server.url).await,
    ];
    let is_done = Arc::new(AtomicBool::new(false));
    let mut all = Vec::new();
    // The third node is subscribed only while it has a guest.
    for node in &nodes[..2] {
        let mut member = node.client().await;
        assert_eq!(member.ask("join lobby").await.unwrap(), "joined");
        all.push(member);
    }
    let guests = nodes.iter().map(|node| async {
        let mut visits = 0;
        while !is_done.load(Relaxed) {
            let mut guest = node.client().await;
            assert_eq!(guest.ask("join lobby").await.unwrap(), "joined");
            for _ in 0..30 {
                let message = guest.next();
                let Ok(message) = tokio::time::timeout(std::time::Duration::from_millis(200), message).await else {
                    break;
                };
                let message = message.unwrap();
                guest.messages.push(message);
            }
            assert_eq!(guest.ask("leave lobby").await.unwrap(), "true");
            check(&guest.messages);
            let until_left = guest.messages.len();
            // Several round trips later, nothing has come.
            for _ in 0..3 {
                guest.ask("id").await.unwrap();
            }
            assert_eq!(guest.messages.len(), until_left, "a message after leaving");
            visits += 1;
        }
        visits
    });
    let publishers = async {
        join_all(nodes.iter().enumerate().map(|(publisher, node)| publish(node, publisher))).await;
        is_done.store(true, Relaxed);
    };
    let (visits, ()) = tokio::join!(join_all(guests), publishers);
    for member in &mut all {
        while member.messages.len() < 3 * MESSAGES as usize {
            let message = support::in_time(member.next()).await.unwrap();
            member.messages.push(message);
        }
        member.ask("id").await.unwrap();
        let expected: HashMap<_, _> = (0..3).map(|publisher| (publisher, (0, MESSAGES - 1))).collect();
        assert_eq!(check(&member.messages), expected);
    }
    println!("visits: {visits:?}");
}
