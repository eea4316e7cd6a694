//! Custom messages, and what actix offers to their handlers.

use std::time::{Duration, Instant};

use actix_acceptor::{handlers::EventLoop, messages::Info, ConnectionContext};

use super::*;

type Question<R> = dyn FnOnce(&mut Connection<ActionProtocol>, &mut ConnectionContext<ActionProtocol>) -> R + Send;

/// What a handler is to do, with its context: made by [`Request::to`].
pub(super) struct Request<R>(Box<Question<R>>);

impl<R> Request<R> {
    pub(super) fn to(
        deed: impl FnOnce(&mut Connection<ActionProtocol>, &mut ConnectionContext<ActionProtocol>) -> R + Send + 'static,
    ) -> Self {
        Request(Box::new(deed))
    }
}

impl<R: Send + 'static> Message for Request<R> {
    type Result = R;
}

impl<R: Send + 'static> Handler<Request<R>> for Connection<ActionProtocol> {
    type Result = MessageResult<Request<R>>;

    fn handle(&mut self, ask: Request<R>, ctx: &mut ConnectionContext<ActionProtocol>) -> Self::Result {
        MessageResult((ask.0)(self, ctx))
    }
}

/// Leaves a word from a handler, or from a future of one.
pub(super) fn respond(
    word: &'static str,
    act: &mut Connection<ActionProtocol>,
    _: &mut ConnectionContext<ActionProtocol>,
) {
    act.with(|desk, _| ((), desk.say(word)));
}

/// A question answered later, while the connection goes on.
#[derive(Message)]
#[rtype(result = "String")]
struct Deferred(Gate);

impl Handler<Deferred> for Connection<ActionProtocol> {
    type Result = ResponseActFuture<Self, String>;

    fn handle(&mut self, later: Deferred, _: &mut Self::Context) -> Self::Result {
        Box::pin(
            later
                .0
                .passed()
                .into_actor(self)
                .map(|(), act, _| act.with(|desk, conn| (format!("from {}", conn.id()), desk.say("answered")))),
        )
    }
}

#[actix::test]
async fn a_message_handler_reaches_protocol_and_connection() {
    let (_pool, mut peer, address, mut words) = action_connection().await;
    let ask = Request::to(|act, _| {
        act.with(|desk, conn| {
            desk.record("asked");
            conn.send("sent".into()).unwrap();
            (conn.id(), Next::Send("and answered".into()))
        })
    });
    let id = in_time(address.send(ask)).await.unwrap();
    assert_eq!(id, in_time(address.send(Info)).await.unwrap().id);
    peer.expect(b"sent\nand answered\n").await;
    words.expect(&["asked"]).await;
}

#[actix::test]
async fn a_message_handler_may_stop_fail_or_wait() {
    type Answer = fn(&mut Conn<ActionProtocol>) -> Next<ActionProtocol>;
    let answers: [(Answer, &[u8], &str); 3] = [
        (|_| Next::SendAndStop("bye".into()), b"bye\n", "closed: local"),
        (|_| Next::fail("as asked"), b"", "closed: error"),
        (|conn| conn.wait(async { "waited" }, |out, _, _| Next::SendAndStop(out.into())), b"waited\n", "closed: local"),
    ];
    for (answer, rest, end) in answers {
        let (_pool, mut peer, address, mut words) = action_connection().await;
        let ask = Request::to(move |act, _| act.with(|_, conn| ("answered at once", answer(conn))));
        assert_eq!(in_time(address.send(ask)).await.unwrap(), "answered at once");
        assert_eq!(peer.read_to_end().await, rest);
        words.expect(&[end]).await;
    }
}

#[actix::test]
async fn a_message_handler_panic_ends_its_connection() {
    let (pool, mut peer, address, mut words) = action_connection().await;
    let (mut other, ..) = connect_with_address(&pool).await;
    words.expect(&["ack"]).await;
    let ask = Request::<()>::to(|act, _| act.with(|_, _| panic!("in the handler")));
    assert!(matches!(in_time(address.send(ask)).await, Err(MailboxError::Closed)));
    peer.until_gone().await;
    words.expect(&["closed: panic"]).await;
    other.echo("lives\n").await;
}

#[actix::test]
async fn a_deferred_response_does_not_block_the_connection() {
    let (pool, mut peer, address, mut words) = action_connection().await;
    let gate = Gate::new();
    let answer = address.send(Deferred(gate.clone()));
    in_time(address.send(say("meanwhile"))).await.unwrap();
    peer.echo("packet\n").await;
    gate.open();
    assert_eq!(in_time(answer).await.unwrap(), format!("from {}", pool.list()[0].id));
    words.expect(&["meanwhile", "packet", "answered"]).await;
}

#[actix::test]
async fn run_later_runs_later_and_not_earlier() {
    const DELAY: Duration = Duration::from_millis(100);
    let (_pool, mut peer, address, mut words) = action_connection().await;
    let started = Instant::now();
    in_time(address.send(Request::to(|_, ctx| {
        ctx.run_later(DELAY, |act, _| act.with(|desk, _| ((), (desk.record("later"), Next::Send("late".into())).1)));
    })))
    .await
    .unwrap();
    peer.expect(b"late\n").await;
    assert!(started.elapsed() >= DELAY);
    words.expect(&["later"]).await;
}

#[actix::test]
async fn run_interval_runs_until_it_is_cancelled() {
    let (_pool, _peer, address, mut words) = action_connection().await;
    let every = |_: &mut _, ctx: &mut ConnectionContext<ActionProtocol>| {
        ctx.run_interval(Duration::from_millis(10), |act, ctx| respond("tick", act, ctx))
    };
    let handle = in_time(address.send(Request::to(every))).await.unwrap();
    words.expect(&["tick", "tick", "tick"]).await;
    assert!(in_time(address.send(Request::to(move |_, ctx| ctx.cancel_future(handle)))).await.unwrap());
    in_time(address.send(say("cancelled"))).await.unwrap();
    // Ticks from before are behind us; none comes while the next ones of another interval do.
    while in_time(words.0.recv()).await.unwrap() == "tick" {}
    let (sender, mut ticks) = unbounded_channel();
    in_time(address.send(Request::to(move |_, ctx| {
        ctx.run_interval(Duration::from_millis(10), move |_, _| sender.send(()).unwrap());
    })))
    .await
    .unwrap();
    for _ in 0..5 {
        in_time(ticks.recv()).await.unwrap();
    }
    assert!(words.none());
}

#[actix::test]
async fn notify_comes_back_as_a_message() {
    let (_pool, _peer, address, mut words) = action_connection().await;
    in_time(address.send(Request::to(|act, ctx| {
        ctx.notify_later(say("last"), Duration::from_millis(50));
        ctx.notify(say("second"));
        respond("first", act, ctx);
    })))
    .await
    .unwrap();
    words.expect(&["first", "second", "last"]).await;
}

#[actix::test]
async fn the_context_knows_its_own_address() {
    let (_pool, _peer, address, _words) = action_connection().await;
    assert_eq!(in_time(address.send(Request::to(|_, ctx| ctx.address()))).await.unwrap(), address);
}

#[actix::test]
async fn spawned_futures_run_concurrently_and_may_spawn() {
    let (_pool, mut peer, address, mut words) = action_connection().await;
    let (outer, inner) = (Gate::new(), Gate::new());
    let (first, second) = (outer.passed(), inner.clone());
    in_time(address.send(Request::to(move |act, ctx| {
        ctx.spawn(first.into_actor(act).map(move |(), act, ctx| {
            respond("outer", act, ctx);
            ctx.spawn(second.passed().into_actor(act).map(|(), act, ctx| respond("inner", act, ctx)));
        }));
    })))
    .await
    .unwrap();
    peer.echo("packet\n").await;
    outer.open();
    words.expect(&["packet", "outer"]).await;
    peer.echo("packet\n").await;
    inner.open();
    words.expect(&["packet", "inner"]).await;
}

/// Tells when it is dropped.
struct Dropped(UnboundedSender<&'static str>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

#[actix::test]
async fn a_cancelled_future_is_dropped_and_never_runs() {
    let (_pool, mut peer, address, words) = action_connection().await;
    let (sender, mut drops) = unbounded_channel();
    let (gate, guard) = (Gate::new(), Dropped(sender));
    let passed = gate.passed();
    let handle = in_time(address.send(Request::to(move |act, ctx| {
        ctx.spawn(passed.into_actor(act).map(move |(), act, ctx| {
            let _guard = &guard;
            respond("never", act, ctx);
        }))
    })))
    .await
    .unwrap();
    let cancel = || address.send(Request::to(move |_, ctx| ctx.cancel_future(handle)));
    assert!(in_time(cancel()).await.unwrap());
    assert_eq!(in_time(drops.recv()).await, Some("dropped"));
    assert!(!in_time(cancel()).await.unwrap());
    gate.open();
    peer.echo("goes on\n").await;
    assert_eq!(words.0.len(), 1);
}

#[actix::test]
async fn stop_of_the_context_sends_what_is_queued_and_ends_it() {
    let (pool, mut peer, address, mut words) = action_connection().await;
    in_time(address.send(Request::to(|act, ctx| {
        act.with(|_, _| ((), Next::Send("queued".into())));
        ctx.stop();
    })))
    .await
    .unwrap();
    assert_eq!(peer.read_to_end().await, b"queued\n");
    words.expect(&["closed: local"]).await;
    ended(&pool, CloseReason::Local).await;
}

#[actix::test]
async fn spawned_futures_end_with_their_connection() {
    let (pool, _peer, address, mut words) = action_connection().await;
    let (sender, mut drops) = unbounded_channel();
    let (spawned, waited) = (Dropped(sender.clone()), Dropped(sender));
    in_time(address.send(Request::to(move |act, ctx| {
        let forever = |guard: Dropped| async move {
            std::future::pending::<()>().await;
            drop(guard);
        };
        ctx.spawn(forever(spawned).into_actor(act));
        ctx.wait(forever(waited).into_actor(act));
    })))
    .await
    .unwrap();
    assert!(pool.kill(pool.list()[0].id));
    words.expect(&["closed: killed"]).await;
    assert_eq!((in_time(drops.recv()).await, in_time(drops.recv()).await), (Some("dropped"), Some("dropped")));
}

/// A custom message to a connection of `with_events`.
#[derive(Message)]
#[rtype(result = "u64")]
struct Count;

impl Handler<Count> for Connection<EventLoop<u64>> {
    type Result = u64;

    fn handle(&mut self, _: Count, _: &mut Self::Context) -> u64 {
        self.with(|me, _| (*me.state().unwrap(), Next::Continue))
    }
}

#[actix::test]
async fn an_events_connection_handles_custom_messages() {
    use actix_acceptor::{Event, Init};
    let pool = AcceptorPool::with_events(
        |_| Init::new(0u64),
        |count, event, _| match event {
            Event::Packet(packet) => {
                *count += 1;
                Next::Send(packet)
            }
            event => event.default_next(),
        },
    );
    let pool = pool.framing(Framing::lines()).bind("127.0.0.1:0").await.unwrap();
    let (mut peer, _, address) = connect_with_address(&pool).await;
    peer.echo("one\ntwo\n").await;
    assert_eq!(in_time(address.send(Count)).await.unwrap(), 2);
}

#[actix::test]
async fn the_handle_of_a_finished_future_cancels_no_other() {
    let (_pool, _peer, address, mut words) = action_connection().await;
    let spawn = |reply: &'static str, passed: futures::future::BoxFuture<'static, ()>| {
        in_time(address.send(Request::to(move |act, ctx| {
            ctx.spawn(passed.into_actor(act).map(move |(), act, ctx| respond(reply, act, ctx)))
        })))
    };
    let finished = spawn("first", Box::pin(async {})).await.unwrap();
    words.expect(&["first"]).await;
    let gate = Gate::new();
    spawn("second", Box::pin(gate.passed())).await.unwrap();
    assert!(!in_time(address.send(Request::to(move |_, ctx| ctx.cancel_future(finished)))).await.unwrap());
    gate.open();
    words.expect(&["second"]).await;
}
