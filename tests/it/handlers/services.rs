//! Listeners with services of their own: several protocols in one pool.

use std::time::Duration;

use actix_acceptor::handlers::{ActorService, FnService, NoActor, ProtocolService};
use actix_acceptor::messages::StatelessEncoder;
use actix_acceptor::telemetry::CloseReason;
use actix_acceptor::{
    AcceptorPool, Conn, Connection, Framing, Listener, Next, Pool, Protocol, Socket, StartError, User,
};
use bytes::{Bytes, BytesMut};
use support::*;
use tokio::net::TcpStream;
use tokio_util::codec::{LengthDelimitedCodec, LinesCodec};

use crate::messaging::{ask, line, Member};

/// Answers in capitals. Some first words are commands.
struct Shout;

impl Protocol for Shout {
    type Codec = StatelessEncoder<LinesCodec>;
    type Reply = String;
    type User = String;

    fn packet(&mut self, text: String, conn: &mut Conn<Self>) -> Next<Self> {
        let pool = conn.pool();
        match text.split_once(' ') {
            Some(("join", topic)) => Next::send(conn.join(&pool.topic(topic)).to_string()),
            Some(("register", name)) => Next::send(conn.register(name).is_ok().to_string()),
            Some(("publish", text)) => Next::send(pool.topic("lobby").publish(text).members.to_string()),
            _ => Next::Send(text.to_uppercase()),
        }
    }

    fn user(&mut self, text: String, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(text)
    }
}

/// Replies of the type of [`Member`], with another codec: a prefix of 4 bytes.
struct Prefixed;

impl Protocol for Prefixed {
    type Codec = StatelessEncoder<LengthDelimitedCodec>;
    type Reply = Bytes;
    type User = ();

    fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        conn.join(&conn.pool().topic("lobby"));
        Next::send("joined")
    }

    fn packet(&mut self, text: BytesMut, conn: &mut Conn<Self>) -> Next<Self> {
        conn.pool().topic("lobby").publish_except(conn.id(), text.freeze());
        Next::Continue
    }
}

fn lines() -> StatelessEncoder<LinesCodec> {
    StatelessEncoder(LinesCodec::new())
}

fn tcp(name: &str) -> Listener {
    Listener::tcp("127.0.0.1:0").name(name)
}

fn shout() -> ProtocolService<Shout> {
    ProtocolService::with_codec(|_| Shout, lines)
}

/// The listeners `members` (the builder's service), `shout`, `prefixed`, and `sockets`: an async fn that forwards its pushes.
fn listeners() -> Vec<Listener> {
    let prefixed = ProtocolService::with_codec(|_| Prefixed, || StatelessEncoder(LengthDelimitedCodec::new()));
    let forward = FnService::new(|mut socket: Socket| async move {
        use tokio::io::AsyncWriteExt;
        let mut pushes = socket.pushes();
        socket.join(&socket.pool().topic("lobby"));
        socket.write_all(b"joined\n").await?;
        while let Some(bytes) = pushes.recv().await {
            socket.write_all(&bytes).await?;
            socket.write_all(b"|").await?;
        }
        std::io::Result::Ok(())
    });
    vec![
        tcp("members"),
        tcp("shout").service(shout()),
        tcp("prefixed").service(prefixed),
        tcp("sockets").service(forward),
    ]
}

async fn start() -> Pool<Connection<Member>> {
    let builder = AcceptorPool::with_protocol(|_| Member::default()).framing(Framing::lines()).acceptors(2);
    listeners().into_iter().fold(builder, |builder, listener| builder.listener(listener)).start().await.unwrap()
}

async fn connect_to<A>(pool: &Pool<A>, listener: &str) -> Peer<TcpStream> {
    let listeners = pool.listeners();
    let address = &listeners.iter().find(|info| &*info.name == listener).unwrap().address;
    Peer(TcpStream::connect(address.socket().unwrap()).await.unwrap())
}

#[actix::test]
async fn each_listener_has_a_protocol_of_its_own() {
    let pool = start().await;
    let mut member = connect_to(&pool, "members").await;
    let mut shouting = connect_to(&pool, "shout").await;
    let mut prefixed = connect_to(&pool, "prefixed").await;
    let mut socket = connect_to(&pool, "sockets").await;
    assert_eq!(ask(&mut member, "hello").await, "hello");
    assert_eq!(ask(&mut shouting, "hello").await, "HELLO");
    prefixed.expect(b"\0\0\0\x06joined").await;
    socket.expect(b"joined\n").await;
    let list = pool.list();
    let listeners: Vec<_> = list.iter().map(|connection| &*connection.listener).collect();
    assert_eq!(listeners, ["members", "shout", "prefixed", "sockets"]);
    assert_eq!((pool.connections(), pool.info().accepted), (4, 4));
    let report = pool.stop(Duration::ZERO).await;
    assert_eq!(report.asked, 4);
    assert_eq!(pool.info().closed.total(), 4);
}

#[actix::test]
async fn an_actor_serves_a_listener() {
    let actor = ActorService::new(|socket| Ok(SocketActor::start(socket, echo)));
    let pool = AcceptorPool::with_protocol(|_| Member::default()).listener(tcp("actors").service(actor));
    let pool = pool.start().await.unwrap();
    let mut peer = connect_to(&pool, "actors").await;
    peer.echo("hello").await;
    assert!(pool.typed::<Connection<Shout>>().is_none());
}

#[actix::test]
async fn all_protocols_share_the_limits() {
    let pool = AcceptorPool::with_protocol(|_| Member::default()).framing(Framing::lines()).max_connections(2);
    let pool = pool.at_limit(actix_acceptor::limits::AtLimit::Close).listener(tcp("members"));
    let pool = pool.listener(tcp("shout").service(shout())).start().await.unwrap();
    let mut member = connect_to(&pool, "members").await;
    let mut shouting = connect_to(&pool, "shout").await;
    assert_eq!(ask(&mut member, "one").await, "one");
    assert_eq!(ask(&mut shouting, "two").await, "TWO");
    for listener in ["members", "shout"] {
        assert_eq!(connect_to(&pool, listener).await.until_gone().await, b"");
    }
    assert_eq!(pool.info().refused.total(), 2);
}

#[actix::test]
async fn a_typed_handle_reaches_connections_of_its_kind() {
    let members = start().await;
    let shouts = members.typed::<Connection<Shout>>().unwrap();
    let sockets = members.typed::<NoActor>().unwrap();
    let mut member = connect_to(&members, "members").await;
    let mut shouting = connect_to(&members, "shout").await;
    assert_eq!(ask(&mut member, "ready").await, "ready");
    assert_eq!(ask(&mut shouting, "ready").await, "READY");
    let ids: Vec<_> = members.list().iter().map(|connection| connection.id).collect();
    let (of_member, of_shout) = (ids[0], ids[1]);

    // A wrong type neither reaches the connection nor makes it unreachable for the right one.
    assert!(shouts.find(of_member).is_none() && shouts.connection(of_member).is_none());
    assert!(members.find(of_shout).is_none() && members.connection(of_shout).is_none());
    assert!(!shouts.close(of_member, None, Duration::ZERO));
    members.find(of_member).unwrap().try_send(User("mail".into())).unwrap();
    assert_eq!(line(&mut member).await, "mail");
    shouts.connection(of_shout).unwrap().send("direct").unwrap();
    assert_eq!(line(&mut shouting).await, "direct");

    assert_eq!(members.addresses().len(), 1);
    assert_eq!(members.broadcast("to members".into()).unwrap().delivered, 1);
    assert_eq!(shouts.broadcast("to shouts".to_owned()).unwrap().delivered, 1);
    assert_eq!(members.send_to(ids.clone(), "some").unwrap().delivered, 1);
    assert_eq!(shouts.notify_all("noted".to_owned()).delivered, 1);
    assert_eq!(sockets.untyped().broadcast("all\n").delivered, 2);
    for expected in ["to members", "some", "all"] {
        assert_eq!(line(&mut member).await, expected);
    }
    // A message is handled after the replies that were queued before.
    let mut received = [line(&mut shouting).await, line(&mut shouting).await, line(&mut shouting).await];
    received.sort();
    assert_eq!(received, ["all", "noted", "to shouts"]);
    // A connection of any kind.
    assert!(members.kill(of_shout) && shouts.kill(of_member));
}

#[actix::test]
async fn a_name_is_unique_over_all_protocols() {
    let members = start().await;
    let shouts = members.typed::<Connection<Shout>>().unwrap();
    let mut member = connect_to(&members, "members").await;
    let mut shouting = connect_to(&members, "shout").await;
    assert_eq!(ask(&mut member, "register ann").await, "true");
    assert_eq!(ask(&mut shouting, "register ann").await, "false");
    assert!(members.whereis("ann").is_some());
    assert!(shouts.whereis("ann").is_none());
    assert_eq!(members.untyped().whereis("ann").unwrap().id(), members.list()[0].id);
}

#[actix::test]
async fn members_of_a_topic_may_have_different_protocols() {
    let pool = start().await;
    let mut member = connect_to(&pool, "members").await;
    let mut shouting = connect_to(&pool, "shout").await;
    let mut prefixed = connect_to(&pool, "prefixed").await;
    let mut socket = connect_to(&pool, "sockets").await;
    assert_eq!(ask(&mut member, "join lobby").await, "true");
    assert_eq!(ask(&mut shouting, "join lobby").await, "true");
    prefixed.expect(b"\0\0\0\x06joined").await;
    socket.expect(b"joined\n").await;
    assert_eq!(pool.topic("lobby").len(), 4);

    // Replies of type `Bytes` reach the protocols with that type, each with its own codec, and the socket as they are.
    for _ in 0..3 {
        assert_eq!(pool.topic("lobby").publish("hello").members, 3);
        assert_eq!(line(&mut member).await, "hello");
        prefixed.expect(b"\0\0\0\x05hello").await;
        socket.expect(b"hello|").await;
    }
    prefixed.send(b"\0\0\0\x02hi").await;
    assert_eq!(line(&mut member).await, "hi");
    socket.expect(b"hi|").await;

    // Replies of type `String` reach only the protocol with that type.
    assert_eq!(ask(&mut shouting, "publish strings").await, "1");
    assert_eq!(line(&mut shouting).await, "strings");
    assert_eq!(ask(&mut member, "done").await, "done");
    prefixed.send(b"\0\0\0\x03end").await;
    socket.expect(b"end|").await;
}

#[actix::test]
async fn listeners_of_one_protocol_may_have_different_codecs() {
    let capped = ProtocolService::with_codec(|_| Shout, || StatelessEncoder(LinesCodec::new_with_max_length(9)));
    let pool = AcceptorPool::with_codec(|_| Shout, lines).listener(tcp("free"));
    let pool = pool.listener(tcp("capped").service(capped)).start().await.unwrap();
    let mut free = connect_to(&pool, "free").await;
    let mut capped = connect_to(&pool, "capped").await;
    assert_eq!(ask(&mut free, "join lobby").await, "true");
    assert_eq!(ask(&mut capped, "join by").await, "true");
    assert_eq!(ask(&mut free, "ten letters").await, "TEN LETTERS");
    assert_eq!(pool.broadcast("news".to_owned()).unwrap().delivered, 2);
    assert_eq!((line(&mut free).await, line(&mut capped).await), ("news".to_owned(), "news".to_owned()));
    capped.send("ten letters\n").await;
    assert_eq!(capped.until_gone().await, b"");
}

#[actix::test]
async fn a_factory_is_replaced_for_all_services_of_its_kind() {
    let pool = start().await;
    let shouts = pool.typed::<Connection<Shout>>().unwrap();
    shouts.set_codec(|| StatelessEncoder(LinesCodec::new_with_max_length(4))).unwrap();
    let mut shouting = connect_to(&pool, "shout").await;
    assert_eq!(ask(&mut shouting, "four").await, "FOUR");
    shouting.send("12345\n").await;
    assert_eq!(shouting.until_gone().await, b"");
    pool.typed::<NoActor>().unwrap().set_fn(echo).unwrap();
    let mut socket = connect_to(&pool, "sockets").await;
    socket.echo("from now on").await;
    let mut member = connect_to(&pool, "members").await;
    assert_eq!(ask(&mut member, "a long line as before").await, "a long line as before");
}

#[actix::test]
async fn an_open_listener_gets_another_service() {
    let pool = AcceptorPool::with_protocol(|_| Member::default()).framing(Framing::lines());
    let pool = pool.listener(tcp("one")).listener(tcp("two")).start().await.unwrap();
    let mut before = connect_to(&pool, "two").await;
    assert_eq!(ask(&mut before, "before").await, "before");
    assert!(pool.typed::<Connection<Shout>>().is_none());

    let changed = pool.set_listeners(vec![tcp("one"), tcp("two").service(shout())]).await.unwrap();
    assert_eq!((changed.changed, changed.unchanged), (vec!["two".to_owned()], vec!["one".to_owned()]));
    let mut after = connect_to(&pool, "two").await;
    assert_eq!(ask(&mut after, "after").await, "AFTER");
    assert_eq!(ask(&mut before, "still").await, "still");
    let shouts = pool.typed::<Connection<Shout>>().unwrap();
    assert_eq!(shouts.broadcast("new ones".to_owned()).unwrap().delivered, 1);
    assert_eq!(line(&mut after).await, "new ones");

    // Without a service, a listener has that of the builder again.
    pool.set_listeners(vec![tcp("one"), tcp("two")]).await.unwrap();
    let mut again = connect_to(&pool, "two").await;
    assert_eq!(ask(&mut again, "again").await, "again");
    assert_eq!(ask(&mut after, "after").await, "AFTER");
    // The connections that are left can still be reached.
    shouts.connection(pool.list()[1].id).unwrap().send("last").unwrap();
    assert_eq!(line(&mut after).await, "last");
}

#[actix::test]
async fn an_invalid_limit_of_a_service_names_its_listener() {
    let service = ProtocolService::new(|_| Member::default()).max_frame(0);
    let pool = AcceptorPool::with_protocol(|_| Member::default()).listener(tcp("narrow").service(service));
    match pool.start().await {
        Err(error @ StartError::InvalidSetting(_)) => {
            let text = error.to_string();
            assert!(text.contains("narrow") && text.contains("max_frame"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[actix::test]
async fn a_panic_in_a_service_ends_one_connection() {
    let service =
        FnService::new(|socket: Socket| async move { assert!(socket.unregister("none"), "requested by the test") });
    let pool = AcceptorPool::with_protocol(|_| Member::default()).framing(Framing::lines());
    let pool = pool.listener(tcp("good")).listener(tcp("bad").service(service)).start().await.unwrap();
    let mut good = connect_to(&pool, "good").await;
    assert_eq!(connect_to(&pool, "bad").await.until_gone().await, b"");
    assert_eq!(ask(&mut good, "still here").await, "still here");
    eventually(|| pool.info().closed.get(CloseReason::Panic) == 1).await;
}
