//! The order of what others send and the connection's own answers.

use support::*;

use super::*;

#[actix::test]
async fn no_answer_overtakes_replies_that_wait_in_the_outbox() {
    // High marks: only the order holds packets back.
    let pool = start_with(|builder| {
        builder.on_current_arbiter().watermarks(4 << 20, 2 << 20).outbox(8 << 20, Default::default())
    })
    .await;
    let mut peer = connect(&pool).await;
    assert_eq!(ask(&mut peer, "ready").await, "ready");
    let outbox = pool.connection(pool.list()[0].id).unwrap().outbox();
    let reply = "x".repeat(1_000);
    let (mut sent, mut before) = (0, 0);
    // Until the kernel takes no more, and more is queued than is moved to the write buffer at once.
    eventually(|| {
        let pending = outbox.pending();
        if pending < 1_000_000 {
            (0..100).for_each(|_| outbox.send(reply.clone()).unwrap());
            sent += 100;
        }
        pending >= 1_000_000 && std::mem::replace(&mut before, pending) == pending
    })
    .await;
    peer.send("answer\n").await;
    // Its arbiter has looked at the packet since.
    let mut other = connect(&pool).await;
    for _ in 0..3 {
        assert_eq!(ask(&mut other, "other").await, "other");
    }
    for _ in 0..sent {
        assert_eq!(line(&mut peer).await, reply);
    }
    assert_eq!(line(&mut peer).await, "answer");
}
