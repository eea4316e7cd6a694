//! Listeners: open, closed, suspended, moved.

use std::time::Duration;

use actix_acceptor::{AcceptorPool, Listener, Pool, SuspendMode};

use support::*;

/// The listeners of a pool, as they are told.
fn told<A>(pool: &Pool<A>, open: bool) -> Vec<Seen> {
    let tell = |info: actix_acceptor::info::ListenerInfo| {
        let (listener, address) = (info.name.to_string(), info.address.to_string());
        match open {
            true => Seen::ListenerStarted { listener, address },
            false => Seen::ListenerStopped { listener, address },
        }
    };
    pool.listeners().into_iter().map(tell).collect()
}

fn of_listeners(witness: &Witness) -> Vec<Seen> {
    let of_one = |seen: &Seen| matches!(seen, Seen::ListenerStarted { .. } | Seen::ListenerStopped { .. });
    witness.seen().into_iter().filter(of_one).collect()
}

#[actix::test]
async fn listeners_come_first_and_go_last() {
    let witness = Witness::new();
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(2).name("a whole life").observer(witness.clone());
    let builder = builder.listener(Listener::tcp("127.0.0.1:0").name("public"));
    let pool = builder.listener(Listener::tcp("127.0.0.1:0")).start().await.unwrap();
    let (started, stopped) = (told(&pool, true), told(&pool, false));
    assert_eq!((started.len(), witness.seen().len()), (2, 4), "told before the start returns");
    soon(pool.stop(None)).await;
    let seen = witness.seen();
    assert_eq!(seen[..2], started);
    let mut acceptors = seen[2..6].to_vec();
    acceptors[..2].sort_by_key(|seen| format!("{seen:?}"));
    acceptors[2..].sort_by_key(|seen| format!("{seen:?}"));
    let gone = |place| Seen::AcceptorStopped(place, "stopped".to_owned());
    assert_eq!(acceptors, [Seen::AcceptorStarted(0), Seen::AcceptorStarted(1), gone(0), gone(1)]);
    assert_eq!(seen[6..], stopped);
    assert_eq!(witness.pools(), ["a whole life"]);
}

#[actix::test]
async fn a_suspension_reports_listeners_stopped_and_started() {
    let witness = Witness::new();
    let builder = AcceptorPool::with_protocol(|_| Echo).observer(witness.clone());
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let (started, stopped) = (told(&pool, true).remove(0), told(&pool, false).remove(0));
    for _ in 0..2 {
        soon(pool.suspend(SuspendMode::Close)).await.unwrap();
    }
    assert_eq!(of_listeners(&witness), [started.clone(), stopped.clone()]);
    for _ in 0..2 {
        soon(pool.resume()).await.unwrap();
    }
    assert_eq!(of_listeners(&witness), [started.clone(), stopped.clone(), started.clone()], "on the same port");
    connect(&pool).await.echo("open").await;
    soon(pool.suspend(SuspendMode::Close)).await.unwrap();
    soon(pool.stop(Duration::ZERO)).await;
    let seen = of_listeners(&witness);
    assert_eq!(seen, [started.clone(), stopped.clone(), started, stopped], "closed once, though the pool ends");
}

#[actix::test]
async fn a_port_that_is_held_stays_open() {
    let witness = Witness::new();
    let builder = AcceptorPool::with_protocol(|_| Echo).observer(witness.clone());
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    soon(pool.suspend(SuspendMode::Hold)).await.unwrap();
    soon(pool.resume()).await.unwrap();
    assert_eq!(of_listeners(&witness), told(&pool, true));
    soon(pool.stop(None)).await;
}

#[actix::test]
async fn only_changed_listeners_are_reported() {
    let witness = Witness::new();
    let builder = AcceptorPool::with_protocol(|_| Echo).observer(witness.clone());
    let builder = builder.listener(Listener::tcp("127.0.0.1:0").name("goes"));
    let pool = builder.listener(Listener::tcp("127.0.0.1:0").name("stays")).start().await.unwrap();
    let (mut expected, gone) = (told(&pool, true), told(&pool, false).remove(0));
    let stays = Listener::tcp(&pool.listeners()[1].address).name("stays");
    soon(pool.set_listeners(vec![stays, Listener::tcp("127.0.0.1:0").name("comes")])).await.unwrap();
    // It has gone when its port is closed, be that before the other is open or after.
    eventually(|| of_listeners(&witness).contains(&gone)).await;
    expected.extend([told(&pool, true).remove(1), gone]);
    let mut seen = of_listeners(&witness);
    seen[2..].sort_by_key(|seen| matches!(seen, Seen::ListenerStopped { .. }));
    assert_eq!(seen, expected);
    soon(pool.stop(None)).await;
}

#[actix::test]
async fn a_start_that_fails_closes_what_it_had_opened() {
    let witness = Witness::new();
    let (transport, director) = Scripted::in_memory();
    director.share(|| Err(std::io::Error::from_raw_os_error(libc::EMFILE)));
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(1).name("never").observer(witness.clone());
    soon(builder.listen(transport)).await.unwrap_err();
    let (listener, address) = ("never".to_owned(), "memory".to_owned());
    let started = Seen::ListenerStarted { listener: listener.clone(), address: address.clone() };
    assert_eq!(witness.seen(), [started, Seen::ListenerStopped { listener, address }], "no acceptor was ready");
}
