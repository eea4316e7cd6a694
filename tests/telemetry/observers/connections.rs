//! Connections: one beginning and one end each, whatever happens, and numbers that are the pool's own.

use std::collections::HashMap;
use std::time::Duration;

use actix_acceptor::{telemetry::CloseReason, AcceptorPool, Framing, Next, Pool};

use support::*;

/// The ten ways, and how each counts.
const WAYS: [(&str, CloseReason); 10] = [
    ("local", CloseReason::Local),
    ("finish", CloseReason::Peer),
    ("reset", CloseReason::Peer),
    ("idle", CloseReason::Idle),
    ("packet_timeout", CloseReason::PacketTimeout),
    ("send_timeout", CloseReason::SendTimeout),
    ("too_long", CloseReason::TooLong),
    ("error", CloseReason::Error),
    ("panic", CloseReason::Panic),
    ("kill", CloseReason::Killed),
];

async fn doom(pool: &Pool<actix_acceptor::Connection<EndOnRequest>>, peer: Peer, way: &str) -> Option<Peer> {
    let mut peer = peer;
    match way {
        "finish" => peer.finish().await,
        "reset" => {
            peer.reset();
            return None;
        }
        "packet_timeout" => peer.send("packet_timeout\nhalf").await,
        "too_long" => peer.send("x".repeat(100)).await,
        "kill" => {
            let list = pool.list();
            let me = list.iter().find(|info| info.peer.socket() == Some(peer.address())).unwrap();
            assert!(pool.kill(me.id));
        }
        way => peer.send(format!("{way}\n")).await,
    }
    Some(peer)
}

#[actix::test]
async fn every_connection_starts_once_and_stops_once() {
    let (observer, other) = (EventRecorder::new(), EventRecorder::new());
    let builder = AcceptorPool::with_protocol(|_| EndOnRequest).framing(Framing::lines()).max_frame(64).acceptors(2);
    let builder = builder.send_timeout(Duration::from_millis(100)).name("doomed");
    let pool = builder.observer(observer.clone()).observer(other.clone()).bind("127.0.0.1:0").await.unwrap();
    let (mut ways, mut peers) = (HashMap::new(), Vec::new());
    for (way, reason) in WAYS.iter().cycle().take(100) {
        let mut peer = connect(&pool).await;
        ways.insert(peer.address().to_string(), *reason);
        peer.echo("hello\n").await;
        peers.extend(doom(&pool, peer, way).await);
    }
    eventually(|| observer.ends().len() == 100 && pool.connections() == 0).await;
    in_time(pool.stop(None)).await;
    let mut stories: HashMap<u64, Vec<RecordedEvent>> = HashMap::new();
    for seen in observer.connections() {
        let (RecordedEvent::Started(who) | RecordedEvent::Ready(who) | RecordedEvent::Stopped(who, _)) = &seen else {
            unreachable!()
        };
        assert!(ways.contains_key(&who.peer) && who.listener == "doomed", "{who:?}");
        stories.entry(who.id).or_default().push(seen);
    }
    assert_eq!(stories.len(), 100);
    for (id, story) in stories {
        let [RecordedEvent::Started(started), RecordedEvent::Ready(ready), RecordedEvent::Stopped(who, end)] =
            &story[..]
        else {
            panic!("{id}: {story:?}")
        };
        assert_eq!((started, ready), (who, who));
        assert_eq!(end.reason, ways[&who.peer], "{story:?}");
    }
    let (info, ends) = (pool.info(), observer.ends());
    let sum = |of: fn(&Ending) -> u64| ends.iter().map(|(_, end)| of(end)).sum::<u64>();
    assert_eq!((sum(|end| end.bytes_in), sum(|end| end.bytes_out)), (info.bytes_in, info.bytes_out));
    for reason in CloseReason::ALL.iter().copied() {
        let told = ends.iter().filter(|(_, end)| end.reason == reason).count() as u64;
        assert_eq!(told, info.closed.get(reason), "{reason:?}");
    }
    assert_eq!(other.ends().len(), 100, "everybody is told");
}

#[actix::test]
async fn connection_events_precede_the_end_of_the_pool() {
    for (grace, reason) in [(None, CloseReason::Shutdown), (Some(Duration::ZERO), CloseReason::Killed)] {
        let observer = EventRecorder::new();
        let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(2).observer(observer.clone());
        let pool = builder.bind("127.0.0.1:0").await.unwrap();
        let mut peers = Vec::new();
        for _ in 0..10 {
            let mut peer = connect(&pool).await;
            peer.echo("hello").await;
            peers.push(peer);
        }
        in_time(pool.stop(grace)).await;
        let ends = observer.ends();
        assert_eq!(ends.len(), 10);
        assert!(ends.iter().all(|(_, end)| end.reason == reason), "{ends:?}");
        assert!(ends.iter().all(|(_, end)| (end.bytes_in, end.bytes_out, end.packets) == (5, 5, 1)), "{ends:?}");
    }
}

#[actix::test]
async fn a_connection_lost_with_its_arbiter_is_reported() {
    let observer = EventRecorder::new();
    let (builder, _diary) = Probe::pool(|call, _| {
        if let Call::Packet(_) = call {
            actix::Arbiter::current().stop();
        }
        protocol_default(call)
    });
    let pool = builder.acceptors(1).observer(observer.clone()).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.send("the end").await;
    peer.until_gone().await;
    eventually(|| observer.ends().len() == 1).await;
    assert_eq!(observer.ends()[0].1.reason, CloseReason::Killed);
    in_time(pool.stop(None)).await;
    assert_eq!(observer.connections().len(), 3);
}

#[actix::test]
async fn ready_is_reported_between_init_and_ack() {
    let observer = EventRecorder::new();
    let looks = observer.clone();
    let (told, mut counts) = tokio::sync::mpsc::unbounded_channel();
    let (builder, mut callbacks) = Probe::pool(move |call, _| {
        if matches!(call, Call::Init | Call::Ack) {
            let _ = told.send((call.clone(), looks.connections().len()));
        }
        protocol_default(call)
    });
    let pool = builder.observer(observer.clone()).bind("127.0.0.1:0").await.unwrap();
    let _peer = connect(&pool).await;
    callbacks.until(&Call::Ack).await;
    assert_eq!(in_time(counts.recv()).await, Some((Call::Init, 1)), "started");
    assert_eq!(in_time(counts.recv()).await, Some((Call::Ack, 2)), "ready");
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn a_connection_that_init_ends_was_never_ready() {
    let observer = EventRecorder::new();
    let (builder, _diary) = Probe::pool(|call, _| match call {
        Call::Init => Next::Stop,
        call => protocol_default(call),
    });
    let pool = builder.observer(observer.clone()).bind("127.0.0.1:0").await.unwrap();
    connect(&pool).await.until_gone().await;
    eventually(|| observer.ends().len() == 1).await;
    assert!(matches!(&observer.connections()[..], [RecordedEvent::Started(_), RecordedEvent::Stopped(..)]));
    assert_eq!(observer.ends()[0].1.reason, CloseReason::Local);
    in_time(pool.stop(None)).await;
}
