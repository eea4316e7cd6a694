//! Everything that calls user code runs guarded and outside every internal lock. Each place panics once, and each calls
//! back into the pool once: the table in ARCHITECTURE.md.

mod mischief;
mod wild;

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::mpsc;
use std::time::Duration;

use actix_acceptor::telemetry::{Alarm, CloseReason, Observer, PoolEvent, RefusalReason};
use actix_acceptor::transport::{Memory, MemoryConnector};
use actix_acceptor::{AcceptorPool, Connection, Listener, Pool, SuspendMode};
use futures::FutureExt;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use mischief::{How, Mischief, OnDrop};
use wild::{Message, Own, Wild, WildCodec, WildStep, WildTransport};

/// What a panic at a place costs.
#[derive(Clone, Copy, Debug)]
enum Costs {
    /// One connection, with this reason.
    Connection(CloseReason),
    /// One peer, refused with this reason.
    Peer(RefusalReason),
    /// A restart of the acceptor: the listener itself is at fault.
    Restart,
    /// Nothing but a line in the log, or an error for the caller.
    Nothing,
}

use Costs::{Nothing, Peer as OnePeer, Restart};
const PANIC: Costs = Costs::Connection(CloseReason::Panic);

/// The places, and what a panic there costs.
const PLACES: &[(&str, Costs)] = &[
    ("factory", PANIC),
    ("codec factory", PANIC),
    ("init", PANIC),
    ("ack", PANIC),
    ("packet", PANIC),
    ("decode_error", PANIC),
    ("user", PANIC),
    ("timeout", PANIC),
    ("half_closed", PANIC),
    ("passive", PANIC),
    ("shutdown", PANIC),
    ("closed", Nothing),
    ("protocol drop", Nothing),
    ("decode", PANIC),
    ("decode_eof", PANIC),
    ("encode", PANIC),
    ("codec drop", Nothing),
    ("error display", Costs::Connection(CloseReason::Error)),
    ("decode error display", Costs::Connection(CloseReason::Error)),
    ("wait", PANIC),
    ("wait continuation", PANIC),
    ("wait drop", PANIC),
    ("blocking", PANIC),
    ("blocking continuation", PANIC),
    ("stream", PANIC),
    ("stream drop", PANIC),
    ("timer clone", PANIC),
    ("timer drop", PANIC),
    ("message clone", Nothing),
    ("handler", PANIC),
    ("spawned future", PANIC),
    ("spawned future drop", PANIC),
    ("handshake", PANIC),
    ("handshake future", PANIC),
    ("upgrade drop", PANIC),
    ("allows", OnePeer(RefusalReason::Denied)),
    ("may_override_peer", OnePeer(RefusalReason::Denied)),
    ("handshake info", Nothing),
    ("local_addr", Nothing),
    ("transport handshake", Nothing),
    ("share", Restart),
    ("poll_ready", Restart),
    ("try_accept", Restart),
    ("accept drop", Nothing),
    ("transport drop", Nothing),
    ("suspend", Nothing),
    ("resume", Nothing),
    ("poll_read", PANIC),
    ("poll_write", PANIC),
    ("poll_flush", PANIC),
    ("poll_shutdown", PANIC),
    ("io drop", Nothing),
    ("overload", OnePeer(RefusalReason::Overload)),
    ("observer", Nothing),
    ("alarm", Nothing),
    ("change", Nothing),
    ("condition", Nothing),
    ("old factory drop", Nothing),
    ("old codec factory drop", Nothing),
];

/// Dropped with the pool, so that they have none to call back.
const AT_THE_END: &[&str] = &["observer drop", "alarm drop", "overload drop", "handshake drop"];

struct Watcher(Mischief, #[allow(dead_code)] OnDrop);

impl Observer for Watcher {
    fn observe(&self, _: &str, _: &PoolEvent<'_>) {
        self.0.at("observer");
    }
}

async fn start(mischief: &Mischief) -> (Pool<Connection<Wild>>, MemoryConnector) {
    let (memory, connector) = Memory::new("wild");
    let on_drop = |place| OnDrop(mischief.clone(), place);
    let (protocol, codec, hook, call) = (mischief.clone(), mischief.clone(), mischief.clone(), mischief.clone());
    let (old, old_codec) = (on_drop("old factory drop"), on_drop("old codec factory drop"));
    let (hook_drop, call_drop) = (on_drop("overload drop"), on_drop("alarm drop"));
    let factory = move |_: &actix_acceptor::Peer| {
        let _ = &old;
        Wild::new(&protocol)
    };
    let codec = move || {
        let _ = &old_codec;
        WildCodec::new(&codec)
    };
    let alarm = Alarm::new("busy", 1).cool_down(Duration::ZERO).call(move |_| {
        let _ = &call_drop;
        call.at("alarm");
    });
    let overload = move |_: &actix_acceptor::limits::NewConnection<'_>| {
        let _ = &hook_drop;
        hook.at("overload");
        false
    };
    let listener = Listener::from_transport(WildTransport::new(mischief, memory));
    let pool = AcceptorPool::with_codec(factory, codec)
        .acceptors(1)
        .max_restarts(3, Duration::from_secs(60))
        .alarm(alarm)
        .overload(overload)
        .observer(Watcher(mischief.clone(), on_drop("observer drop")))
        .listener(listener.handshake(WildStep(mischief.clone(), on_drop("handshake drop"))))
        .start();
    (in_time(pool).await.unwrap(), connector)
}

/// Does everything once that reaches a place. Nothing here need succeed, but all of it must return.
///
/// Returns where the pool listens now.
async fn drive(mischief: &Mischief, pool: &Pool<Connection<Wild>>, connector: &MemoryConnector) -> MemoryConnector {
    let _ = pool.listeners();
    for line in [
        "hello",
        "wait",
        "blocking",
        "stream",
        "timer",
        "passive",
        "upgrade",
        "fail",
        "garbage",
        "idle",
        "half a packet",
    ] {
        let Ok(mut peer) = in_time(connector.connect()).await else { continue };
        // The upgrade would take bytes that follow it for an injection.
        let rest = if line == "upgrade" { "" } else { "x" };
        let _ = peer.write_all(format!("{line}\n{rest}").as_bytes()).await;
        let mut answer = [0; 64];
        let _ = timeout(ms(60), peer.read(&mut answer)).await;
        let sender = pool.clone();
        let message = Message::new(mischief);
        // A clone that panics does so in the program's own call.
        let _ = catch_unwind(AssertUnwindSafe(move || sender.notify_all(message)));
        for (_, address) in pool.addresses() {
            address.do_send(Own(mischief.clone()));
        }
        let _ = timeout(ms(20), peer.read(&mut answer)).await;
        let _ = peer.shutdown().await;
        let _ = timeout(ms(60), peer.read_to_end(&mut Vec::new())).await;
    }
    if let Ok(mut peer) = in_time(connector.connect()).await {
        let _ = peer.write_all(b"wait forever\n").await;
        let _ = timeout(ms(20), peer.read(&mut [0; 64])).await;
        for connection in pool.list() {
            pool.kill(connection.id);
        }
    }
    let user = mischief.clone();
    let _ = in_time(pool.change(move |_| user.at("change"))).await;
    let condition = AssertUnwindSafe(pool.wait_for(
        |_| {
            mischief.at("condition");
            true
        },
        ms(1),
    ));
    let _ = condition.catch_unwind().await;
    let (user, other) = (mischief.clone(), mischief.clone());
    let _ = pool.set_protocol(move |_| Wild::new(&user));
    let _ = pool.set_codec(move || WildCodec::new(&other));
    for _ in 0..2 {
        let _ = in_time(pool.suspend(SuspendMode::Close)).await;
        let _ = in_time(pool.resume()).await;
    }
    let (memory, second) = Memory::new("second");
    let listener = Listener::from_transport(WildTransport::new(mischief, memory));
    match in_time(pool.set_listeners(vec![listener])).await {
        Ok(_) => second,
        Err(_) => connector.clone(),
    }
}

/// One pool, one place. The pool serves, counts and stops afterwards.
async fn scenario(how: How, place: &'static str, costs: Costs) {
    let mischief = Mischief::new(how);
    let (pool, connector) = start(&mischief).await;
    mischief.set_pool(Some(pool.clone()));
    mischief.arm(place);
    let connector = drive(&mischief, &pool, &connector).await;
    eventually(|| mischief.is_done()).await;
    let mut peer = Peer(in_time(connector.connect()).await.unwrap());
    peer.echo("still here\n").await;
    let restarts = acceptors::restarts(&pool);
    in_time(pool.stop(ms(500))).await;
    assert!(!mischief.is_armed(), "it was never reached");
    let info = pool.info();
    assert_eq!(info.accepted, info.refused.total() + info.closed.total());
    mischief.set_pool(None);
    if how == How::Panic {
        let counted = |reason| info.closed.get(reason) as usize;
        let panics = usize::from(matches!(costs, Costs::Connection(CloseReason::Panic)));
        assert_eq!(counted(CloseReason::Panic), panics, "{:?}", info.closed);
        let refused = if let OnePeer(reason) = costs { info.refused.get(reason) } else { 1 };
        assert_eq!((refused, info.refused.total()), (1, u64::from(matches!(costs, OnePeer(_)))), "{:?}", info.refused);
        assert_eq!(restarts, u64::from(matches!(costs, Restart)));
    }
}

/// Runs scenarios on threads of their own, some at a time: one that never returns is found, too.
fn run_all(how: How) {
    logs::listen();
    let failed = |(place, costs): &(&'static str, Costs)| {
        let (place, costs) = (*place, *costs);
        let (done, is_done) = mpsc::channel();
        let run = move || {
            let run = || actix_rt::System::new().block_on(scenario(how, place, costs));
            let _ = done.send(catch_unwind(AssertUnwindSafe(run)).is_ok());
        };
        std::thread::spawn(run);
        (place, is_done)
    };
    let mut failures = Vec::new();
    for places in PLACES.chunks(8) {
        let running: Vec<_> = places.iter().map(failed).collect();
        for (place, is_done) in running {
            match is_done.recv_timeout(2 * TIME_LIMIT) {
                Ok(true) => {}
                Ok(false) => failures.push(format!("{place} failed")),
                Err(_) => failures.push(format!("{place} never returned")),
            }
        }
    }
    assert!(failures.is_empty(), "{how:?}: {failures:#?}");
}

#[test]
fn a_panic_of_user_code_costs_what_its_place_allows() {
    run_all(How::Panic);
}

#[test]
fn user_code_may_call_the_pool_from_every_place() {
    run_all(How::CallBack);
}

#[test]
fn values_that_panic_when_the_pool_drops_them_are_harmless() {
    for place in AT_THE_END {
        actix_rt::System::new().block_on(async {
            let mischief = Mischief::new(How::Panic);
            let (pool, connector) = start(&mischief).await;
            in_time(connector.connect()).await.unwrap().write_all(b"hello\n").await.unwrap();
            mischief.arm(place);
            in_time(pool.stop(ms(500))).await;
            drop(pool);
            eventually(|| !mischief.is_armed()).await;
        });
    }
}
