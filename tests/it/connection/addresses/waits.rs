//! The mailbox while a connection takes in nothing, and ends that come then.

use actix::prelude::SendError;
use futures::FutureExt;

use super::*;

#[actix::test]
async fn a_wait_defers_packets_and_messages_in_order() {
    let (pool, mut peer, address, mut words) = action_connection().await;
    let gate = Gate::new();
    in_time(address.send(wait_at(&gate, "done"))).await.unwrap();
    peer.send("p1\np2\n").await;
    for word in ["m1", "m2", "m3"] {
        address.try_send(say(word)).unwrap();
    }
    // The wait reads ahead, to see the peer leave; yet nothing is delivered.
    eventually(|| pool.list()[0].bytes_in == 6).await;
    assert!(words.none());
    gate.open();
    words.expect(&["done", "m1", "m2", "m3", "p1", "p2"]).await;
    peer.expect(b"p1\np2\n").await;
}

#[actix::test]
async fn a_waiting_connection_blocks_no_other() {
    let (pool, _peer, address, mut words) = action_connection().await;
    let gate = Gate::new();
    in_time(address.send(wait_at(&gate, "done"))).await.unwrap();
    let (mut other, _, another) = connect_with_address(&pool).await;
    words.expect(&["ack"]).await;
    other.echo("packet\n").await;
    in_time(another.send(say("message"))).await.unwrap();
    words.expect(&["packet", "message"]).await;
    gate.open();
    words.expect(&["done"]).await;
}

#[actix::test]
async fn a_full_mailbox_refuses_and_delivers_the_rest() {
    let (builder, mut words) = action_pool();
    let pool = builder.mailbox_capacity(3).bind("127.0.0.1:0").await.unwrap();
    let (_peer, _, address) = connect_with_address(&pool).await;
    let gate = Gate::new();
    in_time(address.send(wait_at(&gate, "done"))).await.unwrap();
    for word in ["one", "two", "three"] {
        address.try_send(say(word)).unwrap();
    }
    assert!(matches!(address.try_send(say("refused")), Err(SendError::Full(_))));
    // actix's `do_send` knows no capacity.
    address.do_send(say("four"));
    gate.open();
    words.expect(&["ack", "done", "one", "two", "three", "four"]).await;
    in_time(address.send(say("room again"))).await.unwrap();
    address.try_send(say("and again")).unwrap();
    words.expect(&["room again", "and again"]).await;
}

#[actix::test]
async fn the_mailbox_capacity_is_256_by_default() {
    let (_pool, _peer, address, mut words) = action_connection().await;
    let gate = Gate::new();
    in_time(address.send(wait_at(&gate, "done"))).await.unwrap();
    let taken = (0..1000).take_while(|_| address.try_send(say("more")).is_ok()).count();
    assert_eq!(taken, 256);
    gate.open();
    words.expect(&["done"]).await;
    words.expect(&["more"; 256]).await;
    let refused = action_pool().0.mailbox_capacity(0).bind("127.0.0.1:0").await.unwrap_err();
    assert!(refused.to_string().starts_with("mailbox_capacity"), "{refused}");
}

/// A mailbox holds its capacity of one sender, and one message more of each other sender, however many there are.
#[actix::test]
async fn each_new_sender_has_one_slot_in_a_full_mailbox() {
    let (builder, mut words) = action_pool();
    let pool = builder.mailbox_capacity(3).bind("127.0.0.1:0").await.unwrap();
    let (_peer, id, address) = connect_with_address(&pool).await;
    let gate = Gate::new();
    in_time(address.send(wait_at(&gate, "done"))).await.unwrap();
    let taken = (0..1000).take_while(|_| address.try_send(say("kept")).is_ok()).count();
    assert_eq!(taken, 3);
    let clone = address.clone();
    assert!(clone.try_send(say("clone")).is_ok() && clone.try_send(say("clone")).is_err());
    let found = (0..100).filter(|_| pool.find(id).unwrap().try_send(say("found")).is_ok()).count();
    assert_eq!(found, 100);
    // actix gives each `send` a sender of its own; without a poll nothing is sent.
    let mut polled: Vec<_> = (0..100).map(|_| Box::pin(address.send(say("sent")))).collect();
    let _never_polled = address.send(say("never"));
    for send in &mut polled {
        assert!(send.now_or_never().is_none());
    }
    gate.open();
    words.expect(&["ack", "done", "kept", "kept", "kept", "clone"]).await;
    words.expect(&["found"; 100]).await;
    words.expect(&["sent"; 100]).await;
    assert!(words.none());
}

#[actix::test]
async fn a_kill_during_a_wait_needs_no_mailbox() {
    let (pool, mut peer, address, mut words) = action_connection().await;
    let gate = Gate::new();
    in_time(address.send(wait_at(&gate, "never"))).await.unwrap();
    while address.try_send(say("never")).is_ok() {}
    assert!(pool.kill(pool.list()[0].id));
    words.expect(&["closed: killed"]).await;
    peer.until_gone().await;
    ended(&pool, CloseReason::Killed).await;
    gate.open();
    assert!(words.none());
}

#[actix::test]
async fn a_kill_works_above_the_high_mark() {
    let (builder, mut words) = action_pool();
    let pool = builder.watermarks(1000, 100).bind("127.0.0.1:0").await.unwrap();
    let (mut peer, id, address) = connect_with_address(&pool).await;
    words.expect(&["ack"]).await;
    // Far more than the kernel buffers: the rest stays above the high mark.
    in_time(address.send(to(|_, _| Next::Send(vec![b'.'; 32 << 20].into())))).await.unwrap();
    address.try_send(say("never")).unwrap();
    peer.send("never\n").await;
    let (mut other, ..) = connect_with_address(&pool).await;
    other.echo("meanwhile\n").await;
    words.expect(&["ack", "meanwhile"]).await;
    assert!(words.none());
    assert!(pool.kill(id));
    words.expect(&["closed: killed"]).await;
    let got = peer.until_gone().await;
    assert!(got.len() < 32 << 20, "what was unsent is lost");
    eventually(|| !address.connected()).await;
}

#[actix::test]
async fn held_input_is_delivered_below_the_low_mark() {
    let (builder, mut words) = action_pool();
    let pool = builder.watermarks(1000, 100).bind("127.0.0.1:0").await.unwrap();
    let (mut peer, _, address) = connect_with_address(&pool).await;
    words.expect(&["ack"]).await;
    in_time(address.send(to(|_, _| Next::Send(vec![b'.'; 32 << 20].into())))).await.unwrap();
    address.try_send(say("message")).unwrap();
    peer.send("packet\n").await;
    let big = peer.read_exact((32 << 20) + 1).await;
    assert_eq!(big.last(), Some(&b'\n'));
    peer.expect(b"packet\n").await;
    words.expect(&["message", "packet"]).await;
}

#[actix::test]
async fn a_kill_while_ending_does_not_wait_for_unsent_bytes() {
    let (pool, mut peer, address, mut words) = action_connection().await;
    in_time(address.send(to(|_, _| Next::SendAndStop(vec![b'.'; 32 << 20].into())))).await.unwrap();
    assert!(words.none());
    assert!(pool.kill(pool.list()[0].id));
    words.expect(&["closed: killed"]).await;
    assert!(peer.until_gone().await.len() < 32 << 20);
}
