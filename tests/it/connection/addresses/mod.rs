//! A connection's address: what can be sent to it, when it arrives, and what becomes of it at the end.

mod context_streams;
mod context_waits;
mod first_use;
mod handlers;
mod messages;
mod pool;
mod streams;
mod waits;

use std::future::Future;
use std::sync::Arc;

use actix::prelude::*;
use actix_acceptor::{
    handlers::ProtocolService, telemetry::CloseReason, AcceptorPool, Builder, Closed, Conn, Connection, ConnectionId,
    ConnectionInfo, Framing, Next, Pool, Protocol, User,
};
use bytes::Bytes;
use support::*;
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};
use tokio::sync::Semaphore;

type Action = dyn Fn(&mut ActionProtocol, &mut Conn<ActionProtocol>) -> Next<ActionProtocol> + Send + Sync;

/// A message that is done as it says.
#[derive(Clone)]
struct Run(Arc<Action>);

fn to(
    deed: impl Fn(&mut ActionProtocol, &mut Conn<ActionProtocol>) -> Next<ActionProtocol> + Send + Sync + 'static,
) -> User<Run> {
    User(Run(Arc::new(deed)))
}

/// A message that only leaves a word.
fn say(word: &'static str) -> User<Run> {
    to(move |desk, _| desk.say(word))
}

/// A message that makes the connection wait at the gate, then leaves a word.
fn wait_at(gate: &Gate, word: &'static str) -> User<Run> {
    let gate = gate.clone();
    to(move |_, conn| conn.wait(gate.passed(), move |(), desk, _| desk.say(word)))
}

/// Opened once for each who passes.
#[derive(Clone)]
struct Gate(Arc<Semaphore>);

impl Gate {
    fn new() -> Self {
        Gate(Arc::new(Semaphore::new(0)))
    }

    fn open(&self) {
        self.0.add_permits(1);
    }

    fn passed(&self) -> impl Future<Output = ()> + 'static {
        let gate = self.0.clone();
        async move { gate.acquire().await.unwrap().forget() }
    }
}

/// Speaks lines; sends packets back, does what messages say, and leaves a word about all of it.
struct ActionProtocol {
    words: UnboundedSender<String>,
    init: Option<Run>,
}

impl ActionProtocol {
    fn record(&mut self, word: impl ToString) {
        let _ = self.words.send(word.to_string());
    }

    fn say(&mut self, word: impl ToString) -> Next<ActionProtocol> {
        self.record(word);
        Next::Continue
    }
}

impl Protocol for ActionProtocol {
    type Codec = Framing;
    type Reply = Bytes;
    type User = Run;

    fn init(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        match self.init.take() {
            Some(init) => (init.0)(self, conn),
            None => Next::Continue,
        }
    }

    fn ack(&mut self, _: &mut Conn<Self>) -> Next<Self> {
        self.say("ack")
    }

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        self.record(std::str::from_utf8(&packet).unwrap());
        Next::Send(packet)
    }

    fn user(&mut self, message: Run, conn: &mut Conn<Self>) -> Next<Self> {
        (message.0)(self, conn)
    }

    fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
        self.record(format_args!("closed: {}", why.reason().name()));
    }
}

/// The words that desks leave.
struct Reports(UnboundedReceiver<String>);

impl Reports {
    #[track_caller]
    fn expect<'a>(&'a mut self, expected: &'a [&'a str]) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            for expected in expected {
                let word = within(TIME_LIMIT, self.0.recv()).await.expect("a desk to leave a word");
                assert!(word == *expected, "{caller}: {word:?} instead of {expected:?}");
            }
        }
    }

    fn none(&self) -> bool {
        self.0.is_empty()
    }
}

fn action_pool() -> (Builder<ProtocolService<ActionProtocol>>, Reports) {
    action_pool_with(None)
}

fn action_pool_with(init: Option<Run>) -> (Builder<ProtocolService<ActionProtocol>>, Reports) {
    let (words, respond) = unbounded_channel();
    let builder = AcceptorPool::with_protocol(move |_| ActionProtocol { words: words.clone(), init: init.clone() });
    (builder.framing(Framing::lines()).acceptors(1), Reports(respond))
}

/// A peer and the address of its connection, before it has said anything.
async fn connect_with_address<P: Protocol>(pool: &Pool<Connection<P>>) -> (Peer, ConnectionId, Addr<Connection<P>>) {
    let peer = connect(pool).await;
    let mut met = None;
    eventually(|| {
        let list = pool.list();
        let connection = list.iter().find(|connection| connection.peer.socket() == Some(peer.address()));
        met = connection.and_then(|connection| Some((connection.id, pool.find(connection.id)?)));
        met.is_some()
    })
    .await;
    let (id, address) = met.unwrap();
    (peer, id, address)
}

/// One desk, and all there is around it.
async fn action_connection() -> (Pool<Connection<ActionProtocol>>, Peer, Addr<Connection<ActionProtocol>>, Reports) {
    let (builder, mut words) = action_pool();
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let (peer, _, address) = connect_with_address(&pool).await;
    words.expect(&["ack"]).await;
    (pool, peer, address, words)
}

#[actix::test]
async fn there_is_an_address_before_the_first_packet() {
    let (pool, mut peer, address, mut words) = action_connection().await;
    in_time(address.send(to(|_, _| Next::Send("you said nothing yet".into())))).await.unwrap();
    peer.expect(b"you said nothing yet\n").await;
    peer.echo("now\n").await;
    words.expect(&["now"]).await;
    assert_eq!(pool.addresses()[0].1, address);
}

#[actix::test]
async fn messages_sent_before_ack_are_delivered_after_it() {
    let gate = Gate::new();
    let init = {
        let gate = gate.clone();
        Run(Arc::new(move |desk: &mut ActionProtocol, conn: &mut Conn<ActionProtocol>| {
            desk.record("init");
            conn.address().try_send(say("from init")).unwrap();
            conn.wait(gate.passed(), |(), desk, _| desk.say("ready"))
        }))
    };
    let (builder, mut words) = action_pool_with(Some(init));
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let (mut peer, _, address) = connect_with_address(&pool).await;
    words.expect(&["init"]).await;
    peer.send("packet\n").await;
    address.try_send(say("message")).unwrap();
    let answer = address.send(say("another"));
    // Another connection of the same arbiter comes and goes meanwhile: nothing moves here.
    connect(&pool).await.finish().await;
    words.expect(&["init", "closed: peer"]).await;
    assert!(words.none());
    gate.open();
    words.expect(&["ready", "ack", "from init", "message", "another", "packet"]).await;
    in_time(answer).await.unwrap();
}

#[actix::test]
async fn a_connection_hands_out_its_own_address() {
    let (pool, _peer, address, _words) = action_connection().await;
    let (sender, mut receiver) = unbounded_channel();
    in_time(address.send(to(move |_, conn| {
        sender.send((conn.id(), conn.address())).unwrap();
        Next::Continue
    })))
    .await
    .unwrap();
    let (id, own) = receiver.recv().await.unwrap();
    assert_eq!(own, address);
    assert_eq!(pool.find(id), Some(address));
}

#[actix::test]
async fn a_recipient_hides_the_protocol_type() {
    let (_pool, mut peer, address, mut words) = action_connection().await;
    let recipient: Recipient<User<Run>> = address.recipient();
    in_time(recipient.send(to(|_, _| Next::Send("received".into())))).await.unwrap();
    peer.expect(b"received\n").await;
    recipient.do_send(to(|_, _| Next::Stop));
    assert_eq!(peer.read_to_end().await, b"");
    words.expect(&["closed: local"]).await;
    eventually(|| !recipient.connected()).await;
    assert_eq!(in_time(recipient.send(say("too late"))).await.unwrap_err().to_string(), "Mailbox has closed");
}

#[actix::test]
async fn a_closed_connection_has_no_address() {
    let (pool, mut peer, address, mut words) = action_connection().await;
    let id = pool.list()[0].id;
    peer.finish().await;
    words.expect(&["closed: peer"]).await;
    eventually(|| pool.find(id).is_none() && !address.connected()).await;
    assert!(pool.addresses().is_empty() && !pool.kill(id));
    assert!(matches!(in_time(address.send(say("late"))).await, Err(MailboxError::Closed)));
    assert!(matches!(address.try_send(say("late")), Err(actix::prelude::SendError::Closed(_))));
    address.do_send(say("late"));
    assert!(words.none());
}

#[actix::test]
async fn a_request_left_in_the_mailbox_gets_an_error() {
    let (pool, _peer, address, mut words) = action_connection().await;
    let gate = Gate::new();
    in_time(address.send(wait_at(&gate, "never"))).await.unwrap();
    let question = address.send(say("never"));
    assert!(pool.kill(pool.list()[0].id));
    assert!(matches!(in_time(question).await, Err(MailboxError::Closed)));
    words.expect(&["closed: killed"]).await;
    assert!(words.none());
}

/// Waits until the only connection is off the books, for this reason.
async fn ended(pool: &Pool<Connection<ActionProtocol>>, reason: CloseReason) {
    eventually(|| pool.info().closed.get(reason) == 1 && pool.connections() == 0).await;
}
