//! Acceptors: at work, gone, replaced; what `accept` said; arbiters that are blocked.

use std::io;
use std::time::Duration;

use actix_acceptor::transport::Tcp;
use actix_acceptor::{AcceptorPool, Next};

use support::acceptors::*;
use support::*;

fn of_acceptors(observer: &EventRecorder) -> Vec<RecordedEvent> {
    let of_one = |seen: &RecordedEvent| {
        matches!(
            seen,
            RecordedEvent::AcceptorStarted(_) | RecordedEvent::AcceptorStopped(..) | RecordedEvent::AcceptError { .. }
        )
    };
    observer.seen().into_iter().filter(of_one).collect()
}

#[actix::test]
async fn a_restart_reports_stop_and_then_start() {
    for (die, exit) in [
        (AcceptorFailure::Stop, "stopped"),
        (AcceptorFailure::Panic, "panicked: an acceptor dies"),
        (AcceptorFailure::WithArbiter, "stopped"),
    ] {
        let observer = EventRecorder::new();
        let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(2).observer(observer.clone());
        let pool = builder.bind("127.0.0.1:0").await.unwrap();
        let begun = of_acceptors(&observer).len();
        pool.acceptors()[1].do_send(die);
        eventually(|| of_acceptors(&observer).len() == 4).await;
        assert_eq!(begun, 2);
        let seen = of_acceptors(&observer);
        assert_eq!(
            seen[2..],
            [RecordedEvent::AcceptorStopped(1, exit.to_owned()), RecordedEvent::AcceptorStarted(1)],
            "{die:?}"
        );
        connect(&pool).await.echo("on it goes").await;
        in_time(pool.stop(None)).await;
        assert_eq!(of_acceptors(&observer).len(), 6);
    }
}

#[actix::test]
async fn resizing_reports_acceptors() {
    let observer = EventRecorder::new();
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(1).observer(observer.clone());
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    in_time(pool.change(|settings| settings.acceptors = Some(2))).await.unwrap();
    eventually(|| of_acceptors(&observer).len() == 2).await;
    in_time(pool.change(|settings| settings.acceptors = Some(1))).await.unwrap();
    eventually(|| of_acceptors(&observer).len() == 3).await;
    in_time(pool.stop(None)).await;
    let gone = |place| RecordedEvent::AcceptorStopped(place, "stopped".to_owned());
    let (first, second) = (RecordedEvent::AcceptorStarted(0), RecordedEvent::AcceptorStarted(1));
    assert_eq!(of_acceptors(&observer), [first, second, gone(1), gone(0)]);
}

#[actix::test]
async fn accept_errors_name_listener_and_acceptor() {
    let observer = EventRecorder::new();
    let (transport, script_handle) = ScriptedTransport::in_front_of(Tcp::bind("127.0.0.1:0".parse().unwrap()).unwrap());
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(1).name("short of all").observer(observer.clone());
    let pool = builder.listen(transport).await.unwrap();
    let codes = [libc::EMFILE, libc::ENOBUFS, libc::ENOMEM];
    codes.iter().for_each(|code| script_handle.accept_fails(*code));
    eventually(|| of_acceptors(&observer).len() == 4).await;
    connect(&pool).await.echo("at last").await;
    let error =
        |code: &i32| RecordedEvent::AcceptError { listener: "short of all".to_owned(), acceptor: 0, code: Some(*code) };
    assert_eq!(of_acceptors(&observer)[1..], codes.iter().map(error).collect::<Vec<_>>());
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_failed_listener_is_the_acceptors_exit_reason() {
    let observer = EventRecorder::new();
    let (transport, script_handle) = ScriptedTransport::in_front_of(Tcp::bind("127.0.0.1:0".parse().unwrap()).unwrap());
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(1).observer(observer.clone());
    let pool = builder.listen(transport).await.unwrap();
    script_handle.ready_fails(io::Error::other("as scripted"));
    eventually(|| of_acceptors(&observer).len() == 3).await;
    let failed = RecordedEvent::AcceptorStopped(0, "failed: as scripted".to_owned());
    assert_eq!(of_acceptors(&observer)[1..], [failed, RecordedEvent::AcceptorStarted(0)]);
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_blocked_arbiter_is_reported_once_and_never_early() {
    let (gate, open) = Gate::new();
    let observer = EventRecorder::new();
    let limit = Duration::from_millis(100);
    let (builder, _diary) = Probe::pool(move |call, _| match call {
        Call::Packet(word) if word == "block\n" => {
            gate.pass();
            Next::Stop
        }
        Call::Packet(word) => Next::Send(word.clone()),
        call => protocol_default(call),
    });
    let pool = builder.acceptors(2).watchdog(limit).observer(observer.clone()).bind("127.0.0.1:0").await.unwrap();
    let mut peers = one_peer_per_acceptor(&pool).await;
    let blocks = || -> Vec<_> {
        let block = |seen| match seen {
            RecordedEvent::Blocked { acceptor, id, so_far } => Some((acceptor, id, so_far)),
            _ => None,
        };
        observer.seen().into_iter().filter_map(block).collect()
    };
    // The last one is the first of its acceptor.
    let (mut last, mut first) = (peers.pop().unwrap(), peers.remove(0));
    first.send("block\n").await;
    eventually(|| blocks().len() == 1).await;
    // While the second is blocked for the limit, the first would be reported again.
    last.send("block\n").await;
    eventually(|| blocks().iter().any(|(_, id, _)| *id != Some(1))).await;
    drop(open);
    let blocks = blocks();
    let places: Vec<_> = blocks.iter().map(|(acceptor, ..)| acceptor.unwrap()).collect();
    assert!(places == [0, 1] || places == [1, 0], "{blocks:?}");
    assert!(blocks[0].1 == Some(1) && blocks.iter().all(|(.., so_far)| *so_far >= limit), "{blocks:?}");
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn a_listener_error_is_reported_before_the_acceptor_stops() {
    let observer = EventRecorder::new();
    let (transport, script_handle) = ScriptedTransport::in_front_of(Tcp::bind("127.0.0.1:0".parse().unwrap()).unwrap());
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(1).name("broken").observer(observer.clone());
    let pool = builder.listen(transport).await.unwrap();
    script_handle.accept_fails(libc::EBADF);
    eventually(|| observer.seen().iter().filter(|seen| matches!(seen, RecordedEvent::AcceptorStarted(_))).count() == 2)
        .await;
    let error = RecordedEvent::AcceptError { listener: "broken".to_owned(), acceptor: 0, code: Some(libc::EBADF) };
    assert_eq!(of_acceptors(&observer)[1], error);
    in_time(pool.stop(Duration::ZERO)).await;
}
