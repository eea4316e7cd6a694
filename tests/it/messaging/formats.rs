//! Connections that encode differently, and those of other pools.

use actix_acceptor::Topic;
use support::*;

use super::*;

#[actix::test]
async fn a_leave_sends_replies_for_its_own_codec_first() {
    let pool = start().await;
    let mut peer = member(&pool).await;
    assert_eq!(ask(&mut peer, "own").await, "own");
    for round in 0..50 {
        assert_eq!(pool.topic("lobby").publish(format!("before {round}")).members, 1);
        peer.send("leave lobby\n").await;
        assert_eq!(line(&mut peer).await, format!("before {round}"));
        assert_eq!(line(&mut peer).await, "true");
        assert_eq!(pool.topic("lobby").publish("after").members, 0);
        assert_eq!(ask(&mut peer, "join lobby").await, "true");
    }
}

/// Uses its line as its next framing, after having sent to itself.
struct Chameleon;

impl Protocol for Chameleon {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        let outbox = conn.outbox();
        outbox.send("encoded").unwrap();
        conn.codec_mut();
        outbox.send("not encoded").unwrap();
        conn.set_framing(Framing::lines());
        outbox.send("encoded again").unwrap();
        conn.set_framing(Framing::len1());
        outbox.send("with a length").unwrap();
        Next::Send(packet)
    }
}

#[actix::test]
async fn replies_are_sent_in_the_framing_in_which_they_were_queued() {
    let pool = AcceptorPool::with_protocol(|_| Chameleon).framing(Framing::lines()).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.send("x\n").await;
    peer.expect(b"encoded\nnot encoded\nencoded again\n").await;
    peer.expect(b"\x01x\x0dwith a length").await;
}

/// A member of a topic that belongs to another pool, or to its own.
struct Guest(Topic<Guest>);

impl Protocol for Guest {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        let is_new = if packet == "join" { conn.join(&self.0) } else { conn.leave(&self.0) };
        Next::send(is_new.to_string())
    }
}

#[actix::test]
async fn a_leave_affects_no_member_of_another_pool() {
    let home = AcceptorPool::with_protocol(|_| -> Guest { unreachable!() }).bind("127.0.0.1:0").await.unwrap();
    let topic = home.topic("lobby");
    let mut peers = Vec::new();
    let mut pools = Vec::new();
    for _ in 0..2 {
        let topic = topic.clone();
        let pool = AcceptorPool::with_protocol(move |_| Guest(topic.clone())).framing(Framing::lines());
        let pool = pool.bind("127.0.0.1:0").await.unwrap();
        peers.push(connect(&pool).await);
        pools.push(pool);
    }
    for peer in &mut peers {
        assert_eq!(ask(peer, "join").await, "true");
    }
    // Ids are unique in a pool only.
    assert_eq!(topic.members()[0], topic.members()[1]);
    // None of them is of the handle's pool.
    assert!(topic.members_after(None, 2).is_empty() && !topic.contains(topic.members()[0]));
    assert_eq!(ask(&mut peers[1], "leave").await, "true");
    assert_eq!(ask(&mut peers[1], "leave").await, "false");
    assert_eq!((topic.len(), topic.members().len()), (1, 1));
    assert_eq!(topic.publish("hello").members, 1);
    assert_eq!(line(&mut peers[0]).await, "hello");
    drop(peers.pop());
    eventually(|| pools[1].connections() == 0).await;
    assert_eq!(topic.len(), 1);
}

/// Publishes to itself, then changes its framing: `own` has it encode by itself, `len2` gives it another one.
struct Publisher;

impl Protocol for Publisher {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        let topic = conn.pool().topic("lobby");
        conn.join(&topic);
        // A burst: all but the first are deferred.
        (0..10).for_each(|n| assert_eq!(topic.publish(n.to_string()).members, 1));
        match &packet[..] {
            b"own" => {
                conn.codec_mut();
            }
            _ => conn.set_framing(Framing::len1()),
        }
        assert_eq!(topic.publish("after").members, 1);
        Next::Continue
    }
}

#[actix::test]
async fn a_burst_before_a_change_of_framing_is_not_lost() {
    let pool = AcceptorPool::with_protocol(|_| Publisher).framing(Framing::lines()).bind("127.0.0.1:0").await.unwrap();
    for (packet, after) in [("own\n", "after\n"), ("len1\n", "\x05after")] {
        let mut peer = connect(&pool).await;
        peer.send(packet).await;
        peer.expect(format!("0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n{after}").as_bytes()).await;
        drop(peer);
        eventually(|| pool.connections() == 0).await;
    }
}
