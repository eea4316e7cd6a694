//! The messages every connection takes.

use actix_acceptor::{
    messages::{Close, Encoded, Info, SetActive},
    Active, Reply, SendError,
};

use super::*;

#[actix::test]
async fn a_reply_message_bypasses_the_callbacks() {
    let (_pool, mut peer, address, words) = action_connection().await;
    in_time(address.send(Reply("hello".into()))).await.unwrap().unwrap();
    peer.expect(b"hello\n").await;
    assert!(words.none());
}

#[actix::test]
async fn messages_behind_a_close_are_not_delivered() {
    let (_pool, mut peer, address, mut words) = action_connection().await;
    let gate = Gate::new();
    in_time(address.send(wait_at(&gate, "done"))).await.unwrap();
    address.do_send(Close);
    let (late, question) = (address.send(Reply("late".into())), address.send(say("late")));
    gate.open();
    assert_eq!(peer.read_to_end().await, b"");
    assert!(matches!(in_time(late).await, Err(MailboxError::Closed)));
    assert!(matches!(in_time(question).await, Err(MailboxError::Closed)));
    words.expect(&["done", "closed: local"]).await;
}

#[actix::test]
async fn sending_after_a_stop_in_a_callback_is_an_error() {
    let (_pool, mut peer, address, mut words) = action_connection().await;
    let (sender, mut outcomes) = unbounded_channel();
    let question = address.send(After(sender));
    in_time(question).await.unwrap();
    assert!(matches!(outcomes.recv().await.unwrap(), Err(SendError::Closed)));
    assert_eq!(peer.read_to_end().await, b"before\n");
    words.expect(&["closed: local"]).await;
}

/// Stops, and then sends in the same handler.
#[derive(Message)]
#[rtype(result = "()")]
struct After(UnboundedSender<Result<(), SendError>>);

impl Handler<After> for Connection<ActionProtocol> {
    type Result = ();

    fn handle(&mut self, after: After, _: &mut Self::Context) {
        self.with(|_, _| ((), Next::SendAndStop("before".into())));
        self.with(|_, conn| (after.0.send(conn.send("after".into())).unwrap(), Next::Continue));
    }
}

#[actix::test]
async fn info_reports_the_connections_counters() {
    let (builder, mut words) = action_pool();
    let pool = builder.name("numbers").bind("127.0.0.1:0").await.unwrap();
    let (mut peer, id, address) = connect_with_address(&pool).await;
    peer.echo("12345\n").await;
    in_time(address.send(Reply("more".into()))).await.unwrap().unwrap();
    peer.expect(b"more\n").await;
    let info = in_time(address.send(Info)).await.unwrap();
    assert_eq!((info.id, info.peer.socket(), &*info.listener), (id, Some(peer.address()), "numbers"));
    assert_eq!((info.bytes_in, info.bytes_out), (6, 11));
    assert!(info.idle <= info.age && info.age < TIME_LIMIT);
    words.expect(&["ack", "12345"]).await;
}

#[actix::test]
async fn close_sends_what_is_queued_and_ends_it() {
    let (pool, mut peer, address, mut words) = action_connection().await;
    let big = Bytes::from(vec![b'.'; 1 << 20]);
    // Both are in the mailbox before the connection looks at either.
    address.do_send(Reply(big.clone()));
    address.do_send(Close);
    let rest = peer.read_to_end().await;
    assert_eq!((rest.len(), rest.last()), (big.len() + 1, Some(&b'\n')));
    words.expect(&["closed: local"]).await;
    ended(&pool, CloseReason::Local).await;
}

#[actix::test]
async fn set_active_lets_that_many_packets_through() {
    let (_pool, mut peer, address, mut words) = action_connection().await;
    let set = async |mode| in_time(address.send(SetActive(mode))).await.unwrap();
    set(Active::Passive).await;
    peer.send("one\ntwo\nthree\nfour\n").await;
    in_time(address.send(say("passive: messages come all the same"))).await.unwrap();
    words.expect(&["passive: messages come all the same"]).await;
    set(Active::Once).await;
    peer.expect(b"one\n").await;
    words.expect(&["one"]).await;
    in_time(address.send(say("held"))).await.unwrap();
    set(Active::Count(2)).await;
    peer.expect(b"two\nthree\n").await;
    words.expect(&["held", "two", "three"]).await;
    in_time(address.send(say("held"))).await.unwrap();
    set(Active::Always).await;
    peer.expect(b"four\n").await;
    words.expect(&["held", "four"]).await;
    peer.echo("five\n").await;
}

#[actix::test]
async fn encoded_bytes_are_sent_as_they_are() {
    let (_pool, mut peer, address, words) = action_connection().await;
    in_time(address.send(Encoded(Bytes::from_static(b"no end of line")))).await.unwrap().unwrap();
    peer.expect(b"no end of line").await;
    assert!(words.none());
}
