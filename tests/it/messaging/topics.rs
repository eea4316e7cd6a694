//! Topics: who receives what is published.

use actix_acceptor::telemetry::CloseReason;
use support::*;

use super::*;

#[actix::test]
async fn every_member_receives_what_is_published() {
    let pool = start().await;
    let mut members = Vec::new();
    for _ in 0..5 {
        members.push(member(&pool).await);
    }
    let mut outsider = connect(&pool).await;
    assert_eq!(ask(&mut outsider, "publish lobby hello").await, "5 0");
    for member in &mut members {
        assert_eq!(line(member).await, "hello");
    }
    assert_eq!(ask(&mut outsider, "still here").await, "still here");
    let ids = pool.topic("lobby").members();
    assert_eq!(ids.len(), 5);
    assert!(ids.is_sorted());
}

#[actix::test]
async fn members_are_listed_in_pages() {
    let pool = start_with(|builder| builder.acceptors(2)).await;
    let topic = pool.topic("lobby");
    let mut members = Vec::new();
    for _ in 0..5 {
        members.push(member(&pool).await);
    }
    let ids = topic.members();
    for limit in 1..=6 {
        let (mut found, mut last) = (Vec::new(), None);
        loop {
            let page = topic.members_after(last, limit);
            assert!(page.len() <= limit);
            let Some(id) = page.last() else { break };
            last = Some(*id);
            found.extend(page);
        }
        assert_eq!(found, ids);
    }
    assert_eq!(ask(&mut members[4], "leave lobby").await, "true");
    let are_members: Vec<_> = pool.list().iter().map(|connection| topic.contains(connection.id)).collect();
    assert_eq!(are_members.iter().filter(|is_member| **is_member).count(), 4);
    assert!(topic.members().iter().all(|id| topic.contains(*id)));
}

#[actix::test]
async fn a_publisher_can_leave_itself_out() {
    let pool = start().await;
    let (mut one, mut other) = (member(&pool).await, member(&pool).await);
    assert_eq!(ask(&mut one, "others lobby hello").await, "1");
    assert_eq!(line(&mut other).await, "hello");
    assert_eq!(ask(&mut one, "next").await, "next");
}

#[actix::test]
async fn joining_twice_is_joining_once() {
    let pool = start().await;
    // A topic without members and handles is another one next time.
    let lobby = pool.topic("lobby");
    let mut peer = member(&pool).await;
    assert_eq!(ask(&mut peer, "join lobby").await, "false");
    assert_eq!(lobby.len(), 1);
    assert_eq!(pool.topic("lobby").publish("once").members, 1);
    assert_eq!(line(&mut peer).await, "once");
    assert_eq!(ask(&mut peer, "leave lobby").await, "true");
    assert_eq!(ask(&mut peer, "leave lobby").await, "false");
    assert_eq!(lobby.len(), 0);
}

#[actix::test]
async fn nothing_published_after_a_confirmed_leave_arrives() {
    let pool = start().await;
    let mut peer = member(&pool).await;
    for round in 0..200 {
        let before = pool.topic("lobby").publish(format!("before {round}"));
        assert_eq!(before.members, 1);
        peer.send("leave lobby\n").await;
        assert_eq!(line(&mut peer).await, format!("before {round}"));
        assert_eq!(line(&mut peer).await, "true");
        assert_eq!(pool.topic("lobby").publish("after").members, 0);
        assert_eq!(ask(&mut peer, "join lobby").await, "true");
    }
}

#[actix::test]
async fn a_topic_has_no_members_after_their_ends() {
    let pool = start().await;
    let (mut stops, leaves, mut panics, killed) =
        (member(&pool).await, member(&pool).await, member(&pool).await, member(&pool).await);
    let last = pool.topic("lobby").members()[3];
    assert_eq!(ask(&mut stops, "quit").await, "bye");
    drop(leaves);
    panics.send("panic\n").await;
    assert!(pool.kill(last));
    eventually(|| pool.topic("lobby").is_empty()).await;
    assert!(pool.topics().is_empty());
    drop((stops, panics, killed));
}

#[actix::test]
async fn topics_with_members_are_listed() {
    let pool = start().await;
    let (mut one, mut other) = (member(&pool).await, member(&pool).await);
    assert_eq!(ask(&mut one, "join attic").await, "true");
    assert_eq!(ask(&mut other, "publish cellar x").await, "0 0");
    let _handle = pool.topic("cellar");
    let topics = pool.topics();
    let topics: Vec<_> = topics.iter().map(|(name, members)| (&**name, *members)).collect();
    assert_eq!(topics, [("attic", 1), ("lobby", 2)]);
}

#[actix::test]
async fn a_member_receives_while_it_waits() {
    let pool = start().await;
    let mut peer = member(&pool).await;
    peer.send("wait\n").await;
    eventually(|| pool.list().iter().any(|info| info.state == actix_acceptor::info::ConnectionPhase::Waiting)).await;
    assert_eq!(pool.topic("lobby").publish("meanwhile").members, 1);
    assert_eq!(line(&mut peer).await, "meanwhile");
}

#[actix::test]
async fn replies_of_one_publisher_keep_their_order() {
    let pool = start().await;
    let mut peer = member(&pool).await;
    assert_eq!(ask(&mut peer, "join attic").await, "true");
    let id: u64 = ask(&mut peer, "id").await.parse().unwrap();
    let target = pool.list().into_iter().find(|info| info.id.to_string() == id.to_string()).unwrap().id;
    let (lobby, attic, connection) = (pool.topic("lobby"), pool.topic("attic"), pool.connection(target).unwrap());
    let all = pool.clone();
    let publisher = std::thread::spawn(move || {
        for n in (0..3_000).step_by(5) {
            let line = |at: usize| (n + at).to_string();
            assert_eq!(lobby.publish(line(0)).members, 1);
            assert_eq!(attic.publish(line(1)).members, 1);
            connection.send(line(2)).unwrap();
            assert_eq!(all.broadcast(line(3).into()).unwrap().delivered, 1);
            assert_eq!(all.send_to([target], line(4)).unwrap().delivered, 1);
        }
    });
    for n in 0..3_000 {
        assert_eq!(line(&mut peer).await, n.to_string());
    }
    publisher.join().unwrap();
}

#[actix::test]
async fn a_notification_calls_user_of_every_member() {
    let pool = start().await;
    let (mut one, mut other) = (member(&pool).await, member(&pool).await);
    let mut outsider = connect(&pool).await;
    assert_eq!(ask(&mut outsider, "notify lobby hello").await, "2");
    assert_eq!((line(&mut one).await, line(&mut other).await), ("hello".into(), "hello".into()));
}

#[actix::test]
async fn members_with_another_framing_receive_their_own() {
    let pool = start().await;
    let mut lines = member(&pool).await;
    pool.set_framing(Framing::len2()).unwrap();
    let mut prefixed = connect(&pool).await;
    prefixed.send(b"\0\x0ajoin lobby").await;
    assert_eq!(prefixed.read_exact(6).await, b"\0\x04true");
    let published = pool.topic("lobby").publish("hello");
    assert_eq!(published.members, 2);
    assert_eq!(line(&mut lines).await, "hello");
    assert_eq!(prefixed.read_exact(7).await, b"\0\x05hello");
    // A line feed is a delimiter for one of them only.
    let published = pool.topic("lobby").publish("two\nlines");
    assert!(published.error.is_some());
}

/// `join here` joins the topic of the first pool.
#[actix::test]
async fn members_of_another_pool_encode_by_themselves() {
    let (one, other) = (start().await, start().await);
    other.set_framing(Framing::len2()).unwrap();
    let topic = one.topic("shared");
    let mut guest = connect(&other).await;
    eventually(|| other.connections() == 1).await;
    let id = other.list()[0].id;
    let address = other.find(id).unwrap();
    assert!(in_time(address.send(Join(topic.clone()))).await.unwrap());
    assert_eq!(topic.members(), [id]);
    assert_eq!(topic.publish("hi").members, 1);
    assert_eq!(guest.read_exact(4).await, b"\0\x02hi");
    drop(guest);
    eventually(|| topic.is_empty()).await;
}

/// Makes a connection join a topic of any pool.
#[derive(actix::Message)]
#[rtype(result = "bool")]
struct Join(actix_acceptor::Topic<Member>);

impl actix::Handler<Join> for Connection<Member> {
    type Result = bool;

    fn handle(&mut self, join: Join, _: &mut actix_acceptor::ConnectionContext<Member>) -> bool {
        self.with(|_, conn| (conn.join(&join.0), Next::Continue))
    }
}

/// Ids are unique in their pool only.
#[actix::test]
async fn the_excepted_id_is_of_the_pool_of_the_topic() {
    let (one, other) = (start().await, start().await);
    let topic = one.topic("shared");
    let mut at_home = connect(&one).await;
    assert_eq!(ask(&mut at_home, "join shared").await, "true");
    let mut guest = connect(&other).await;
    eventually(|| other.addresses().len() == 1).await;
    let (id, address) = other.addresses().remove(0);
    assert!(in_time(address.send(Join(topic.clone()))).await.unwrap());
    assert_eq!(topic.members(), [id, id]);
    assert_eq!(topic.publish_except(id, "hi").members, 1);
    assert_eq!(line(&mut guest).await, "hi");
    assert_eq!(ask(&mut at_home, "next").await, "next");
}

#[actix::test]
async fn bytes_are_published_as_they_are() {
    let pool = start().await;
    let mut peer = member(&pool).await;
    assert_eq!(pool.untyped().topic("lobby").publish("raw").members, 1);
    assert_eq!(peer.read_exact(3).await, b"raw");
}

#[actix::test]
async fn a_member_that_stops_still_sends_what_was_published() {
    let pool = start_with(|builder| builder.acceptors(1)).await;
    let mut peer = member(&pool).await;
    // Both lines are read at once: the connection publishes to itself, then stops.
    peer.send("publish lobby hello\nquit\n").await;
    assert_eq!(peer.read_to_end().await, b"1 0\nhello\nbye\n");
    in_time(pool.stop(None)).await;
    assert_eq!(pool.info().closed.get(CloseReason::Local), 1);
}
