//! Acceptors: at work, gone, replaced; what `accept` said; arbiters that are blocked.

use std::io;
use std::time::Duration;

use actix_acceptor::transport::Tcp;
use actix_acceptor::{AcceptorPool, Next};

use support::acceptors::*;
use support::*;

fn of_acceptors(witness: &Witness) -> Vec<Seen> {
    let of_one =
        |seen: &Seen| matches!(seen, Seen::AcceptorStarted(_) | Seen::AcceptorStopped(..) | Seen::AcceptError { .. });
    witness.seen().into_iter().filter(of_one).collect()
}

#[actix::test]
async fn a_restart_reports_stop_and_then_start() {
    for (die, exit) in [(Die::Stop, "stopped"), (Die::Panic, "panicked"), (Die::WithArbiter, "stopped")] {
        let witness = Witness::new();
        let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(2).observer(witness.clone());
        let pool = builder.bind("127.0.0.1:0").await.unwrap();
        let begun = of_acceptors(&witness).len();
        pool.acceptors()[1].do_send(die);
        eventually(|| of_acceptors(&witness).len() == 4).await;
        assert_eq!(begun, 2);
        let seen = of_acceptors(&witness);
        assert_eq!(seen[2..], [Seen::AcceptorStopped(1, exit.to_owned()), Seen::AcceptorStarted(1)], "{die:?}");
        connect(&pool).await.echo("on it goes").await;
        soon(pool.stop(None)).await;
        assert_eq!(of_acceptors(&witness).len(), 6);
    }
}

#[actix::test]
async fn resizing_reports_acceptors() {
    let witness = Witness::new();
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(1).observer(witness.clone());
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    soon(pool.change(|settings| settings.acceptors = Some(2))).await.unwrap();
    eventually(|| of_acceptors(&witness).len() == 2).await;
    soon(pool.change(|settings| settings.acceptors = Some(1))).await.unwrap();
    eventually(|| of_acceptors(&witness).len() == 3).await;
    soon(pool.stop(None)).await;
    let gone = |place| Seen::AcceptorStopped(place, "stopped".to_owned());
    let (first, second) = (Seen::AcceptorStarted(0), Seen::AcceptorStarted(1));
    assert_eq!(of_acceptors(&witness), [first, second, gone(1), gone(0)]);
}

#[actix::test]
async fn accept_errors_name_listener_and_acceptor() {
    let witness = Witness::new();
    let (transport, director) = Scripted::in_front_of(Tcp::bind("127.0.0.1:0".parse().unwrap()).unwrap());
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(1).name("short of all").observer(witness.clone());
    let pool = builder.listen(transport).await.unwrap();
    let codes = [libc::EMFILE, libc::ENOBUFS, libc::ENOMEM];
    codes.iter().for_each(|code| director.accept_fails(*code));
    eventually(|| of_acceptors(&witness).len() == 4).await;
    connect(&pool).await.echo("at last").await;
    let error = |code: &i32| Seen::AcceptError { listener: "short of all".to_owned(), acceptor: 0, code: Some(*code) };
    assert_eq!(of_acceptors(&witness)[1..], codes.iter().map(error).collect::<Vec<_>>());
    soon(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_failed_listener_is_the_acceptors_exit_reason() {
    let witness = Witness::new();
    let (transport, director) = Scripted::in_front_of(Tcp::bind("127.0.0.1:0".parse().unwrap()).unwrap());
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(1).observer(witness.clone());
    let pool = builder.listen(transport).await.unwrap();
    director.ready_fails(io::Error::other("as scripted"));
    eventually(|| of_acceptors(&witness).len() == 3).await;
    let failed = Seen::AcceptorStopped(0, "failed: as scripted".to_owned());
    assert_eq!(of_acceptors(&witness)[1..], [failed, Seen::AcceptorStarted(0)]);
    soon(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_blocked_arbiter_is_reported_once_and_never_early() {
    let (gate, open) = Gate::new();
    let witness = Witness::new();
    let limit = Duration::from_millis(100);
    let (builder, _diary) = Probe::pool(move |call, _| match call {
        Call::Packet(word) if word == "block\n" => {
            gate.pass();
            Next::Stop
        }
        Call::Packet(word) => Next::Send(word.clone()),
        call => default_next(call),
    });
    let pool = builder.acceptors(2).watchdog(limit).observer(witness.clone()).bind("127.0.0.1:0").await.unwrap();
    let mut peers = a_peer_for_each(&pool).await;
    let blocks = || -> Vec<_> {
        let block = |seen| match seen {
            Seen::Blocked { acceptor, id, so_far } => Some((acceptor, id, so_far)),
            _ => None,
        };
        witness.seen().into_iter().filter_map(block).collect()
    };
    // The last one is the first of its acceptor.
    let (mut last, mut first) = (peers.pop().unwrap(), peers.remove(0));
    first.send("block\n").await;
    eventually(|| blocks().len() == 1).await;
    // While the second is blocked for the limit, the first would be told again.
    last.send("block\n").await;
    eventually(|| blocks().iter().any(|(_, id, _)| *id != Some(1))).await;
    drop(open);
    let blocks = blocks();
    let places: Vec<_> = blocks.iter().map(|(acceptor, ..)| acceptor.unwrap()).collect();
    assert!(places == [0, 1] || places == [1, 0], "{blocks:?}");
    assert!(blocks[0].1 == Some(1) && blocks.iter().all(|(.., so_far)| *so_far >= limit), "{blocks:?}");
    soon(pool.stop(None)).await;
}

#[actix::test]
async fn a_listener_error_is_reported_before_the_acceptor_stops() {
    let witness = Witness::new();
    let (transport, director) = Scripted::in_front_of(Tcp::bind("127.0.0.1:0".parse().unwrap()).unwrap());
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(1).name("broken").observer(witness.clone());
    let pool = builder.listen(transport).await.unwrap();
    director.accept_fails(libc::EBADF);
    eventually(|| witness.seen().iter().filter(|seen| matches!(seen, Seen::AcceptorStarted(_))).count() == 2).await;
    let error = Seen::AcceptError { listener: "broken".to_owned(), acceptor: 0, code: Some(libc::EBADF) };
    assert_eq!(of_acceptors(&witness)[1], error);
    soon(pool.stop(Duration::ZERO)).await;
}
