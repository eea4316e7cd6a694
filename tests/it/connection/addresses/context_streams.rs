//! What holds for streams and futures of a handler's context: they see the state of the connection between two items.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use actix_acceptor::{ConnectionContext, Reply};
use futures::stream;

use super::handlers::{respond, Request};
use super::*;

/// An item of a stream that a handler adds. It does as it says.
struct Item(Run);

impl Item {
    fn say(word: &'static str) -> Item {
        Item(say(word).0)
    }

    fn with(
        deed: impl Fn(&mut ActionProtocol, &mut Conn<ActionProtocol>) -> Next<ActionProtocol> + Send + Sync + 'static,
    ) -> Item {
        Item(to(deed).0)
    }
}

impl StreamHandler<Item> for Connection<ActionProtocol> {
    fn handle(&mut self, item: Item, _: &mut ConnectionContext<ActionProtocol>) {
        self.with(|desk, conn| ((), (item.0 .0)(desk, conn)));
    }

    fn finished(&mut self, _: &mut ConnectionContext<ActionProtocol>) {}
}

async fn add(address: &Addr<Connection<ActionProtocol>>, items: Vec<Item>) {
    let add = Request::to(move |_, ctx| {
        ctx.add_stream(stream::iter(items));
    });
    in_time(address.send(add)).await.unwrap();
}

#[actix::test]
async fn a_wait_holds_back_the_rest_of_a_handlers_stream() {
    let (pool, mut peer, address, mut words) = action_connection().await;
    let gate = Gate::new();
    let passes = gate.clone();
    let waits = Item::with(move |_, conn| conn.wait(passes.passed(), |(), desk, _| desk.say("waited")));
    add(&address, vec![Item::say("first"), waits, Item::say("second"), Item::say("third")]).await;
    words.expect(&["first"]).await;
    let (mut other, ..) = connect_with_address(&pool).await;
    other.echo("others go on\n").await;
    words.expect(&["ack", "others go on"]).await;
    assert!(words.none());
    gate.open();
    words.expect(&["waited", "second", "third"]).await;
    peer.echo("packet\n").await;
    words.expect(&["packet"]).await;
}

#[actix::test]
async fn a_stop_ends_a_handlers_stream() {
    type Stop = fn(&mut Conn<ActionProtocol>) -> Next<ActionProtocol>;
    let stops: [Stop; 3] = [|_| Next::Stop, |_| Next::SendAndStop("bye".into()), |_| Next::fail("enough")];
    for stop in stops {
        let (_pool, mut peer, address, mut words) = action_connection().await;
        add(&address, vec![Item::say("first"), Item::with(move |_, conn| stop(conn)), Item::say("late")]).await;
        words.expect(&["first"]).await;
        peer.read_to_end().await;
        assert!(in_time(words.0.recv()).await.unwrap().starts_with("closed: "));
        assert!(words.none());
    }
}

#[actix::test]
async fn a_handlers_stream_pauses_above_the_high_mark() {
    const REPLY: usize = 100 * 1024;
    let (builder, mut words) = action_pool();
    let pool = builder.watermarks(2 * REPLY, REPLY).send_timeout(None).bind("127.0.0.1:0").await.unwrap();
    let (mut peer, _, address) = connect_with_address(&pool).await;
    words.expect(&["ack"]).await;
    let handled = Arc::new(AtomicUsize::new(0));
    let reply = || {
        let handled = handled.clone();
        Item::with(move |_, conn| {
            let unsent = conn.unsent();
            assert!(unsent <= 2 * REPLY, "{unsent} bytes are queued");
            handled.fetch_add(1, Relaxed);
            Next::Send(vec![b'x'; REPLY].into())
        })
    };
    add(&address, (0..200).map(|_| reply()).collect()).await;
    let received = peer.read_exact(200 * (REPLY + 1)).await;
    assert_eq!(received.iter().filter(|byte| **byte == b'\n').count(), 200);
    assert_eq!(handled.load(Relaxed), 200);
    assert_eq!(pool.connections(), 1);
}

#[actix::test]
async fn a_stopped_context_runs_no_other_future() {
    let (_pool, mut peer, address, mut words) = action_connection().await;
    address.do_send(Request::to(|act, ctx| {
        ctx.spawn(async {}.into_actor(act).map(|(), _, ctx| ctx.stop()));
        ctx.spawn(async {}.into_actor(act).map(|(), act, ctx| respond("late", act, ctx)));
    }));
    assert_eq!(peer.read_to_end().await, b"");
    words.expect(&["closed: local"]).await;
    assert!(words.none());
}

#[actix::test]
async fn a_context_wait_that_stops_runs_no_other_wait() {
    let (_pool, mut peer, address, mut words) = action_connection().await;
    address.do_send(Request::to(|act, ctx| {
        ctx.wait(async {}.into_actor(act).map(|(), act, ctx| respond("late", act, ctx)));
        ctx.wait(async {}.into_actor(act).map(|(), act, _| act.with(|_, _| ((), Next::Stop))));
    }));
    assert_eq!(peer.read_to_end().await, b"");
    words.expect(&["closed: local"]).await;
    assert!(words.none());
}

/// Sends itself again, for ever.
#[derive(Message)]
#[rtype(result = "()")]
struct Again(fn(&mut ConnectionContext<ActionProtocol>));

impl Handler<Again> for Connection<ActionProtocol> {
    type Result = ();

    fn handle(&mut self, again: Again, ctx: &mut ConnectionContext<ActionProtocol>) {
        (again.0)(ctx);
    }
}

fn notify(ctx: &mut ConnectionContext<ActionProtocol>) {
    ctx.notify(Again(notify));
}

fn wait(ctx: &mut ConnectionContext<ActionProtocol>) {
    ctx.wait(actix::fut::ready(()).map(|(), act, ctx| Handler::handle(act, Again(wait), ctx)));
}

#[actix::test]
async fn an_endless_chain_of_messages_starves_no_socket() {
    let (pool, mut peer, address, mut words) = action_connection().await;
    let (mut neighbour, ..) = connect_with_address(&pool).await;
    words.expect(&["ack"]).await;
    in_time(address.send(Again(notify))).await.unwrap();
    for _ in 0..20 {
        peer.echo("own\n").await;
        neighbour.echo("neighbour\n").await;
        in_time(address.send(Reply("reply".into()))).await.unwrap().unwrap();
        peer.expect(b"reply\n").await;
        words.expect(&["own", "neighbour"]).await;
    }
    assert!(pool.kill(pool.list()[0].id));
    words.expect(&["closed: killed"]).await;
}

#[actix::test]
async fn an_endless_chain_of_context_waits_holds_no_thread() {
    let (pool, mut peer, address, mut words) = action_connection().await;
    let (mut neighbour, ..) = connect_with_address(&pool).await;
    words.expect(&["ack"]).await;
    in_time(address.send(Again(wait))).await.unwrap();
    for _ in 0..20 {
        neighbour.echo("neighbour\n").await;
        words.expect(&["neighbour"]).await;
    }
    assert!(pool.kill(pool.list()[0].id));
    words.expect(&["closed: killed"]).await;
    peer.until_gone().await;
}
