//! Limits on one peer, and rules about who may come.

use actix_acceptor::{
    limits::{AtLimit, Rule},
    telemetry::RefusalReason,
};

use super::counting::*;
use support::*;

const PEERS: [&str; 5] = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"];

#[actix::test]
async fn each_peer_has_a_connection_limit() {
    for acceptors in [1, 3] {
        let counter = ConnectionCounter::default();
        let pool = counter.pool().acceptors(acceptors).max_per_peer(2).refusal_message("two are enough\n");
        let pool = pool.bind("127.0.0.1:0").await.unwrap();
        let mut inside = Vec::new();
        for (number, peer) in PEERS.into_iter().enumerate() {
            for _ in 0..2 {
                inside.push(served_from(&pool, peer).await);
            }
            connect_from(&pool, peer).await.expect_closed_after("two are enough\n").await;
            eventually(|| refused(&pool, RefusalReason::PerPeer) == number as u64 + 1).await;
            assert_adds_up(&pool);
        }
        assert_eq!((pool.connections(), pool.info().refused.total(), pool.info().accepted), (10, 5, 15));
        // One leaves: its peer may have one more, the others may not.
        inside.remove(4);
        counting(&pool, 9).await;
        connect_from(&pool, PEERS[0]).await.expect_closed_after("two are enough\n").await;
        inside.push(served_from(&pool, PEERS[2]).await);
        connect_from(&pool, PEERS[2]).await.expect_closed_after("two are enough\n").await;
        eventually(|| refused(&pool, RefusalReason::PerPeer) == 7).await;
        ends(&pool).await;
    }
}

#[actix::test]
async fn addresses_of_one_prefix_count_as_one_peer() {
    let counter = ConnectionCounter::default();
    // The last two bits make no difference: .0 to .3 are one, .4 to .7 another.
    let pool = counter.pool().max_per_peer(2).peer_prefix(30, 64).bind("127.0.0.1:0").await.unwrap();
    let _inside = [
        served_from(&pool, "127.0.0.1").await,
        served_from(&pool, "127.0.0.3").await,
        served_from(&pool, "127.0.0.4").await,
    ];
    connect_from(&pool, "127.0.0.2").await.expect_closed_after("").await;
    let _one_more = served_from(&pool, "127.0.0.5").await;
    connect_from(&pool, "127.0.0.6").await.expect_closed_after("").await;
    eventually(|| refused(&pool, RefusalReason::PerPeer) == 2).await;
    ends(&pool).await;
}

#[actix::test]
async fn lowering_the_limit_per_peer_ends_no_connection() {
    let counter = ConnectionCounter::default();
    let pool = counter.pool().bind("127.0.0.1:0").await.unwrap();
    let mut inside = fill(&pool, 3).await;
    in_time(pool.change(|settings| settings.max_per_peer = Some(2))).await.unwrap();
    connect(&pool).await.expect_closed_after("").await;
    for peer in &mut inside {
        peer.echo("alive").await;
    }
    // Connections from before the change count.
    inside.pop();
    counting(&pool, 2).await;
    connect(&pool).await.expect_closed_after("").await;
    inside.pop();
    counting(&pool, 1).await;
    inside.push(served(&pool).await);
    connect(&pool).await.expect_closed_after("").await;
    eventually(|| refused(&pool, RefusalReason::PerPeer) == 3).await;
    in_time(pool.change(|settings| settings.max_per_peer = None)).await.unwrap();
    inside.extend(fill(&pool, 3).await);
    in_time(pool.change(|settings| settings.max_per_peer = Some(0))).await.unwrap_err();
    ends(&pool).await;
}

#[actix::test]
async fn a_refused_peer_takes_up_no_permit() {
    let counter = ConnectionCounter::default();
    let pool = counter.pool().max_connections(2).max_per_peer(1).bind("127.0.0.1:0").await.unwrap();
    let _first = served_from(&pool, PEERS[0]).await;
    for _ in 0..10 {
        connect_from(&pool, PEERS[0]).await.expect_closed_after("").await;
    }
    let _second = served_from(&pool, PEERS[1]).await;
    let mut third = connect_from(&pool, PEERS[2]).await;
    third.expect_waiting().await;
    assert_eq!((refused(&pool, RefusalReason::PerPeer), counter.most()), (10, 2));
    ends(&pool).await;
}

#[actix::test]
async fn an_exempt_connection_does_not_count_for_its_peer() {
    let counter = ConnectionCounter::default();
    let pool = counter.pool().max_connections(2).max_per_peer(1).bind("127.0.0.1:0").await.unwrap();
    let exempt = served_from(&pool, PEERS[0]).await;
    assert!(pool.exempt(pool.list()[0].id));
    assert!(pool.exempt(pool.list()[0].id));
    let counted = served_from(&pool, PEERS[0]).await;
    connect_from(&pool, PEERS[0]).await.expect_closed_after("").await;
    // Its end gives nothing back a second time.
    drop(exempt);
    eventually(|| pool.connections() == 1).await;
    connect_from(&pool, PEERS[0]).await.expect_closed_after("").await;
    assert_eq!(pool.listeners()[0].connections, 1);
    drop(counted);
    counting(&pool, 0).await;
    served_from(&pool, PEERS[0]).await;
    ends(&pool).await;
}

fn rules(rules: &[&str]) -> Vec<Rule> {
    rules.iter().map(|rule| rule.parse().unwrap()).collect()
}

#[actix::test]
async fn the_first_matching_rule_decides() {
    let table: [(&[&str], [bool; 5]); 6] = [
        (&[], [true; 5]),
        (&["deny 127.0.0.2"], [true, false, true, true, true]),
        (&["allow 127.0.0.2", "deny 127.0.0.0/8"], [false, true, false, false, false]),
        (&["deny 127.0.0.0/8", "allow 127.0.0.2"], [false; 5]),
        (&["deny 127.0.0.2/31", "allow 127.0.0.0/29", "deny 0.0.0.0/0"], [true, false, false, true, true]),
        (&["deny ::/0", "deny 10.0.0.0/8"], [true; 5]),
    ];
    let counter = ConnectionCounter::default();
    let pool = counter.pool().acceptors(2).refusal_message("not for those who are denied\n");
    let pool = pool.rules(rules(table[0].0)).bind("127.0.0.1:0").await.unwrap();
    let mut denied = 0;
    for (list, may) in table {
        // Changed live, and at once.
        in_time(pool.change(move |settings| settings.rules = rules(list))).await.unwrap();
        assert_eq!(pool.settings().rules, rules(list));
        for (peer, may) in PEERS.into_iter().zip(may) {
            if may {
                served_from(&pool, peer).await;
            } else {
                connect_from(&pool, peer).await.expect_closed_after("").await;
                denied += 1;
            }
        }
    }
    eventually(|| refused(&pool, RefusalReason::Denied) == denied).await;
    assert_eq!((denied, pool.info().refused.total(), counter.served()), (12, 12, 18));
    ends(&pool).await;
}

#[actix::test]
async fn rules_apply_to_new_connections_only() {
    let counter = ConnectionCounter::default();
    let pool = counter.pool().bind("127.0.0.1:0").await.unwrap();
    let mut inside = served(&pool).await;
    in_time(pool.change(|settings| settings.rules = rules(&["deny 0.0.0.0/0"]))).await.unwrap();
    connect(&pool).await.expect_closed_after("").await;
    inside.echo("still here").await;
    ends(&pool).await;
}

#[actix::test]
async fn a_denied_peer_is_counted_as_denied_at_the_limit() {
    let counter = ConnectionCounter::default();
    let pool = counter.pool().max_connections(1).at_limit(AtLimit::Close).refusal_message("full\n");
    let pool = pool.rules(rules(&["deny 127.0.0.2"])).bind("127.0.0.1:0").await.unwrap();
    let _inside = served(&pool).await;
    connect_from(&pool, "127.0.0.2").await.expect_closed_after("").await;
    connect_from(&pool, "127.0.0.3").await.expect_closed_after("full\n").await;
    eventually(|| pool.info().refused.total() == 2).await;
    assert_eq!((refused(&pool, RefusalReason::Denied), refused(&pool, RefusalReason::Limit)), (1, 1));
    ends(&pool).await;
}

#[actix::test]
async fn a_rule_for_mapped_addresses_denies_ipv4_peers() {
    for block in ["::ffff:127.0.0.9", "::ffff:127.0.0.8/125"] {
        let counter = ConnectionCounter::default();
        let pool = counter.pool().rules([Rule::deny(block).unwrap()]).bind("127.0.0.1:0").await.unwrap();
        connect_from(&pool, "127.0.0.9").await.expect_closed_after("").await;
        let _served = served_from(&pool, "127.0.0.1").await;
        eventually(|| refused(&pool, RefusalReason::Denied) == 1).await;
        ends(&pool).await;
    }
}
