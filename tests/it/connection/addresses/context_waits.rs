//! What holds while a handler has its context wait: the same as during any other wait.

use std::time::Duration;

use futures::stream;

use super::handlers::{respond, Request};
use super::*;

/// A question answered later, while the connection does nothing else.
#[derive(Message)]
#[rtype(result = "String")]
struct AtomicRequest(Gate);

impl Handler<AtomicRequest> for Connection<ActionProtocol> {
    type Result = AtomicResponse<Self, String>;

    fn handle(&mut self, alone: AtomicRequest, _: &mut Self::Context) -> Self::Result {
        AtomicResponse::new(Box::pin(alone.0.passed().into_actor(self).map(|(), act, ctx| {
            respond("answered", act, ctx);
            "alone".to_owned()
        })))
    }
}

#[actix::test]
async fn an_atomic_response_holds_packets_and_messages() {
    let (pool, mut peer, address, mut words) = action_connection().await;
    let gate = Gate::new();
    let answer = address.send(AtomicRequest(gate.clone()));
    let message = address.send(say("message"));
    peer.send("packet\n").await;
    let (mut other, ..) = connect_with_address(&pool).await;
    other.echo("others go on\n").await;
    words.expect(&["ack", "others go on"]).await;
    assert!(words.none());
    gate.open();
    assert_eq!(in_time(answer).await.unwrap(), "alone");
    in_time(message).await.unwrap();
    peer.expect(b"packet\n").await;
    words.expect(&["answered", "message", "packet"]).await;
}

#[actix::test]
async fn context_waits_hold_everything_and_run_latest_first() {
    let (_pool, mut peer, address, mut words) = action_connection().await;
    let (early, late) = (Gate::new(), Gate::new());
    let (first, second) = (early.passed(), late.passed());
    in_time(address.send(Request::to(move |act, ctx| {
        ctx.wait(first.into_actor(act).map(|(), act, ctx| respond("early", act, ctx)));
        ctx.wait(second.into_actor(act).map(|(), act, ctx| respond("late", act, ctx)));
        assert!(ctx.waiting());
    })))
    .await
    .unwrap();
    address.do_send(say("message"));
    peer.send("packet\n").await;
    early.open();
    late.open();
    peer.expect(b"packet\n").await;
    words.expect(&["late", "early", "message", "packet"]).await;
}

#[actix::test]
async fn a_peer_that_leaves_during_a_wait_of_the_context_is_seen() {
    let (_pool, mut peer, address, mut words) = action_connection().await;
    let answer = address.send(AtomicRequest(Gate::new()));
    peer.finish().await;
    peer.reset();
    words.expect(&["closed: peer"]).await;
    assert!(matches!(in_time(answer).await, Err(MailboxError::Closed)));
}

#[actix::test]
async fn a_fin_does_not_cancel_a_wait_of_the_context() {
    let (pool, mut peer, address, mut words) = action_connection().await;
    let gate = Gate::new();
    let answer = address.send(AtomicRequest(gate.clone()));
    peer.send("packet\n").await;
    peer.finish().await;
    let (mut other, ..) = connect_with_address(&pool).await;
    other.echo("others go on\n").await;
    words.expect(&["ack", "others go on"]).await;
    assert!(words.none());
    gate.open();
    assert_eq!(in_time(answer).await.unwrap(), "alone");
    assert_eq!(peer.read_to_end().await, b"packet\n");
    words.expect(&["answered", "packet", "closed: peer"]).await;
}

#[actix::test]
async fn the_idle_timeout_bounds_a_context_wait_after_a_fin() {
    for behind in [0, 1, 100_000] {
        let (builder, mut words) = action_pool();
        let pool = builder.idle_timeout(Duration::from_millis(300)).bind("127.0.0.1:0").await.unwrap();
        let (mut peer, _, address) = connect_with_address(&pool).await;
        let answer = address.send(AtomicRequest(Gate::new()));
        words.expect(&["ack"]).await;
        peer.send(vec![b'x'; behind]).await;
        peer.finish().await;
        words.expect(&["closed: idle"]).await;
        assert!(matches!(in_time(answer).await, Err(MailboxError::Closed)));
    }
}

#[actix::test]
async fn a_shutdown_is_deferred_until_a_context_wait_ends() {
    let (pool, mut peer, address, mut words) = action_connection().await;
    let gate = Gate::new();
    let answer = address.send(AtomicRequest(gate.clone()));
    let (mut other, ..) = connect_with_address(&pool).await;
    words.expect(&["ack"]).await;
    let stop = pool.clone();
    let stopping = actix::spawn(async move { stop.stop(None).await });
    // All get it at the same moment: this one ends at once.
    assert_eq!(other.read_to_end().await, b"");
    words.expect(&["closed: shutdown"]).await;
    assert!(words.none());
    gate.open();
    assert_eq!(in_time(answer).await.unwrap(), "alone");
    words.expect(&["answered", "closed: shutdown"]).await;
    assert_eq!(peer.read_to_end().await, b"");
    in_time(stopping).await.unwrap();
}

#[actix::test]
async fn the_maximum_age_ends_a_wait_of_the_context() {
    let (builder, mut words) = action_pool();
    let pool = builder.max_age(Duration::from_millis(150)).bind("127.0.0.1:0").await.unwrap();
    let (mut peer, _, address) = connect_with_address(&pool).await;
    let answer = address.send(AtomicRequest(Gate::new()));
    words.expect(&["ack", "closed: max_age"]).await;
    assert!(matches!(in_time(answer).await, Err(MailboxError::Closed)));
    assert_eq!(peer.read_to_end().await, b"");
}

#[actix::test]
async fn a_stream_added_before_a_context_wait_is_read_after_it() {
    let (pool, _peer, address, mut words) = action_connection().await;
    let gate = Gate::new();
    let passed = gate.passed();
    address.do_send(Request::to(move |act, ctx| {
        act.with(|_, conn| (conn.add_stream(stream::iter([say("item").0])), Next::Continue));
        ctx.wait(passed.into_actor(act).map(|(), act, ctx| respond("waited", act, ctx)));
    }));
    let (mut other, ..) = connect_with_address(&pool).await;
    other.echo("others go on\n").await;
    words.expect(&["ack", "others go on"]).await;
    gate.open();
    words.expect(&["waited", "item"]).await;
}
