//! Listeners: open, closed, suspended, moved.

use std::time::Duration;

use actix_acceptor::{AcceptorPool, Listener, Pool, SuspendMode};

use support::*;

/// The listeners of a pool, as events report them.
fn listener_events<A>(pool: &Pool<A>, open: bool) -> Vec<RecordedEvent> {
    let tell = |info: actix_acceptor::info::ListenerInfo| {
        let (listener, address) = (info.name.to_string(), info.address.to_string());
        match open {
            true => RecordedEvent::ListenerStarted { listener, address },
            false => RecordedEvent::ListenerStopped { listener, address },
        }
    };
    pool.listeners().into_iter().map(tell).collect()
}

fn of_listeners(observer: &EventRecorder) -> Vec<RecordedEvent> {
    let of_one = |seen: &RecordedEvent| {
        matches!(seen, RecordedEvent::ListenerStarted { .. } | RecordedEvent::ListenerStopped { .. })
    };
    observer.seen().into_iter().filter(of_one).collect()
}

#[actix::test]
async fn listeners_come_first_and_go_last() {
    let observer = EventRecorder::new();
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(2).name("a whole life").observer(observer.clone());
    let builder = builder.listener(Listener::tcp("127.0.0.1:0").name("public"));
    let pool = builder.listener(Listener::tcp("127.0.0.1:0")).start().await.unwrap();
    let (started, stopped) = (listener_events(&pool, true), listener_events(&pool, false));
    assert_eq!((started.len(), observer.seen().len()), (2, 4), "told before the start returns");
    in_time(pool.stop(None)).await;
    let seen = observer.seen();
    assert_eq!(seen[..2], started);
    let mut acceptors = seen[2..6].to_vec();
    acceptors[..2].sort_by_key(|seen| format!("{seen:?}"));
    acceptors[2..].sort_by_key(|seen| format!("{seen:?}"));
    let gone = |place| RecordedEvent::AcceptorStopped(place, "stopped".to_owned());
    assert_eq!(acceptors, [RecordedEvent::AcceptorStarted(0), RecordedEvent::AcceptorStarted(1), gone(0), gone(1)]);
    assert_eq!(seen[6..], stopped);
    assert_eq!(observer.pools(), ["a whole life"]);
}

#[actix::test]
async fn a_suspension_reports_listeners_stopped_and_started() {
    let observer = EventRecorder::new();
    let builder = AcceptorPool::with_protocol(|_| Echo).observer(observer.clone());
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let (started, stopped) = (listener_events(&pool, true).remove(0), listener_events(&pool, false).remove(0));
    for _ in 0..2 {
        in_time(pool.suspend(SuspendMode::Close)).await.unwrap();
    }
    assert_eq!(of_listeners(&observer), [started.clone(), stopped.clone()]);
    for _ in 0..2 {
        in_time(pool.resume()).await.unwrap();
    }
    assert_eq!(of_listeners(&observer), [started.clone(), stopped.clone(), started.clone()], "on the same port");
    connect(&pool).await.echo("open").await;
    in_time(pool.suspend(SuspendMode::Close)).await.unwrap();
    in_time(pool.stop(Duration::ZERO)).await;
    let seen = of_listeners(&observer);
    assert_eq!(seen, [started.clone(), stopped.clone(), started, stopped], "closed once, though the pool ends");
}

#[actix::test]
async fn a_port_that_is_held_stays_open() {
    let observer = EventRecorder::new();
    let builder = AcceptorPool::with_protocol(|_| Echo).observer(observer.clone());
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    in_time(pool.suspend(SuspendMode::Hold)).await.unwrap();
    in_time(pool.resume()).await.unwrap();
    assert_eq!(of_listeners(&observer), listener_events(&pool, true));
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn only_changed_listeners_are_reported() {
    let observer = EventRecorder::new();
    let builder = AcceptorPool::with_protocol(|_| Echo).observer(observer.clone());
    let builder = builder.listener(Listener::tcp("127.0.0.1:0").name("goes"));
    let pool = builder.listener(Listener::tcp("127.0.0.1:0").name("stays")).start().await.unwrap();
    let (mut expected, gone) = (listener_events(&pool, true), listener_events(&pool, false).remove(0));
    let stays = Listener::tcp(&pool.listeners()[1].address).name("stays");
    in_time(pool.set_listeners(vec![stays, Listener::tcp("127.0.0.1:0").name("comes")])).await.unwrap();
    // It has gone when its port is closed, be that before the other is open or after.
    eventually(|| of_listeners(&observer).contains(&gone)).await;
    expected.extend([listener_events(&pool, true).remove(1), gone]);
    let mut seen = of_listeners(&observer);
    seen[2..].sort_by_key(|seen| matches!(seen, RecordedEvent::ListenerStopped { .. }));
    assert_eq!(seen, expected);
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn a_renamed_listener_is_reported_with_both_names() {
    let observer = EventRecorder::new();
    let builder = AcceptorPool::with_protocol(|_| Echo).observer(observer.clone());
    let pool = builder.listener(Listener::tcp("127.0.0.1:0").name("before")).start().await.unwrap();
    let address = pool.local_addrs()[0].to_string();
    in_time(pool.set_listeners(vec![Listener::tcp(&address).name("after")])).await.unwrap();
    in_time(pool.set_listeners(vec![Listener::tcp(&address).name("after")])).await.unwrap();
    in_time(pool.stop(None)).await;
    let (listener, previous) = ("after".to_owned(), "before".to_owned());
    let changed = RecordedEvent::ListenerChanged { listener: listener.clone(), previous, address: address.clone() };
    let stopped = RecordedEvent::ListenerStopped { listener, address };
    let of_listeners = |seen: &RecordedEvent| *seen == changed || *seen == stopped;
    let seen: Vec<_> = observer.seen().into_iter().filter(of_listeners).collect();
    assert_eq!(seen, [changed, stopped]);
}

#[actix::test]
async fn a_start_that_fails_closes_what_it_had_opened() {
    let observer = EventRecorder::new();
    let (transport, script_handle) = ScriptedTransport::in_memory();
    script_handle.share(|| Err(std::io::Error::from_raw_os_error(libc::EMFILE)));
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(1).name("never").observer(observer.clone());
    in_time(builder.listen(transport)).await.unwrap_err();
    let (listener, address) = ("never".to_owned(), "memory".to_owned());
    let started = RecordedEvent::ListenerStarted { listener: listener.clone(), address: address.clone() };
    assert_eq!(
        observer.seen(),
        [started, RecordedEvent::ListenerStopped { listener, address }],
        "no acceptor was ready"
    );
}
