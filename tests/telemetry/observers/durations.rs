//! The reported duration of a connection is exact, whatever its arbiter did meanwhile.

use std::time::{Duration, Instant};

use actix_acceptor::{telemetry::CloseReason, AcceptorPool, Next};

use support::*;

/// As exact as it is promised to be.
const OFF: Duration = Duration::from_millis(100);

#[actix::test]
async fn the_duration_is_exact_to_a_tenth_of_a_second() {
    let observer = EventRecorder::new();
    let builder = AcceptorPool::with_protocol(|_| Echo).idle_timeout(None).packet_timeout(None).send_timeout(None);
    let pool = builder.observer(observer.clone()).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("hello").await;
    eventually(|| pool.list()[0].age >= ms(250)).await;
    drop(peer);
    eventually(|| observer.ends().len() == 1).await;
    let at = |wanted: fn(&RecordedEvent) -> bool| -> Instant {
        observer.seen_at().into_iter().find(|(_, seen)| wanted(seen)).unwrap().0
    };
    let lived =
        at(|seen| matches!(seen, RecordedEvent::Stopped(..))) - at(|seen| matches!(seen, RecordedEvent::Started(_)));
    let told = observer.ends()[0].1.duration;
    // A little is lost between the clock's look and the observer's, on a busy machine.
    assert!(told + OFF >= lived && told <= lived + 2 * OFF, "{told:?} instead of {lived:?}");
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn the_duration_includes_blocked_time() {
    const BLOCKED: Duration = Duration::from_millis(600);
    let observer = EventRecorder::new();
    let (gate, open) = Gate::new();
    let (builder, mut callbacks) = Probe::pool(move |call, _| match call {
        Call::Packet(word) => {
            gate.pass();
            if &**word == b"stop" {
                Next::Stop
            } else {
                Next::Send(word.clone())
            }
        }
        call => protocol_default(call),
    });
    // The gate opens when the watchdog has seen it closed for that time.
    let builder = builder.acceptors(1).watchdog(BLOCKED).observer(observer.clone()).observer(GateOpener(open));
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("block").await;
    let age = pool.list()[0].age;
    assert!(age + OFF >= BLOCKED, "{age:?} of {BLOCKED:?}");
    peer.send("stop").await;
    assert_eq!(callbacks.closed().await.0, CloseReason::Local);
    eventually(|| observer.ends().len() == 1).await;
    let told = observer.ends()[0].1.duration;
    assert!(told + OFF >= BLOCKED * 2, "{told:?} of {:?}", BLOCKED * 2);
    in_time(pool.stop(None)).await;
}
