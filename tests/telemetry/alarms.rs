//! Alarms on the number of connections: raised at the high mark, cleared at the low one, and quiet in between.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix_acceptor::error::InvalidSetting;
use actix_acceptor::{telemetry::Alarm, AcceptorPool, PoolHandle, StartError};
use support::*;
use tracing::Level;

const HOUR: Duration = Duration::from_secs(3_600);

/// Peers that come and go one by one, each only when the one before has.
struct PeerQueue {
    pool: PoolHandle,
    peers: Vec<Peer>,
}

impl PeerQueue {
    /// One acceptor: its connections come and go in one order.
    async fn at(alarms: impl IntoIterator<Item = Alarm>, name: &str) -> (PeerQueue, EventRecorder) {
        let observer = EventRecorder::new();
        let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(1).name(name).observer(observer.clone());
        let builder = alarms.into_iter().fold(builder, |builder, alarm| builder.alarm(alarm));
        let pool = builder.bind("127.0.0.1:0").await.unwrap().untyped();
        (PeerQueue { pool, peers: Vec::new() }, observer)
    }

    async fn resize(&mut self, count: usize) {
        while self.peers.len() != count {
            if self.peers.len() < count {
                let mut peer = connect(&self.pool).await;
                peer.echo("hello").await;
                self.peers.push(peer);
            } else {
                let mut peer = self.peers.pop().unwrap();
                peer.finish().await;
                peer.until_gone().await;
            }
            eventually(|| self.pool.connections() == self.peers.len()).await;
        }
    }

    /// Ends the pool, which sends them all home.
    async fn leave(self) {
        in_time(self.pool.stop(None)).await;
    }
}

#[actix::test]
async fn alarms_raise_at_the_high_mark_and_clear_at_the_low() {
    let alarm = Alarm::new("busy", 5).low(2).cool_down(Duration::ZERO);
    let (mut queue, observer) = PeerQueue::at([alarm], "hysteresis").await;
    queue.resize(4).await;
    assert_eq!(observer.alarms("busy"), []);
    for count in [5, 7, 3, 6, 4, 5, 3] {
        queue.resize(count).await;
    }
    assert_eq!(observer.alarms("busy"), [(true, 5)], "in between nothing is told");
    for count in [2, 0, 4, 1, 4] {
        queue.resize(count).await;
    }
    assert_eq!(observer.alarms("busy")[1..], [(false, 2)], "in between nothing is told");
    queue.resize(6).await;
    assert_eq!(observer.alarms("busy")[2..], [(true, 5)]);
    queue.leave().await;
    assert_eq!(observer.alarms("busy")[3..], [(false, 2)]);
}

#[actix::test]
async fn the_default_low_mark_is_one_below_the_high_mark() {
    let (mut queue, observer) = PeerQueue::at([Alarm::new("busy", 3).cool_down(Duration::ZERO)], "default low").await;
    for count in [3, 2, 3, 2] {
        queue.resize(count).await;
    }
    queue.leave().await;
    assert_eq!(observer.alarms("busy"), [(true, 3), (false, 2), (true, 3), (false, 2)]);
}

#[actix::test]
async fn within_the_cool_down_an_alarm_is_not_raised_again() {
    let (mut queue, observer) = PeerQueue::at([Alarm::new("busy", 3).low(1).cool_down(HOUR)], "cool").await;
    for count in [3, 1, 4, 0, 3] {
        queue.resize(count).await;
    }
    queue.leave().await;
    assert_eq!(observer.alarms("busy"), [(true, 3), (false, 1)]);
}

#[actix::test]
async fn after_the_cool_down_an_alarm_is_raised_again() {
    const COOL_DOWN: Duration = Duration::from_millis(300);
    let (mut queue, observer) = PeerQueue::at([Alarm::new("busy", 2).low(1).cool_down(COOL_DOWN)], "again").await;
    let raised = |observer: &EventRecorder| {
        let seen = observer.seen_at().into_iter();
        seen.filter(|(_, seen)| matches!(seen, RecordedEvent::Alarm { raised: true, .. }))
            .map(|(at, _)| at)
            .collect::<Vec<_>>()
    };
    let begun = Instant::now();
    while raised(&observer).len() < 3 {
        assert!(begun.elapsed() < TIME_LIMIT);
        queue.resize(2).await;
        queue.resize(1).await;
    }
    for pair in raised(&observer).windows(2) {
        // On a busy machine the callback runs a little later than the alarm.
        assert!(pair[1] - pair[0] >= COOL_DOWN - Duration::from_millis(50), "{:?}", pair[1] - pair[0]);
    }
    let told = observer.alarms("busy");
    assert!(told.iter().zip([true, false].iter().cycle()).all(|(told, raised)| told.0 == *raised), "{told:?}");
    queue.leave().await;
}

#[actix::test]
async fn several_alarms_have_separate_marks_and_callbacks() {
    type Calls = Arc<Mutex<Vec<(String, bool, usize)>>>;
    let calls = Calls::default();
    let alarm = |name: &str, high, low| {
        let calls = calls.clone();
        Alarm::new(name, high).low(low).call(move |alarm| {
            calls.lock().unwrap().push((alarm.name.to_owned(), alarm.raised, alarm.connections));
        })
    };
    let (mut queue, observer) = PeerQueue::at([alarm("some", 2, 0), alarm("many", 4, 3)], "several").await;
    queue.resize(5).await;
    queue.leave().await;
    let told = |name: &str, raised, connections| (name.to_owned(), raised, connections);
    let expected = [told("some", true, 2), told("many", true, 4), told("many", false, 3), told("some", false, 0)];
    assert_eq!(*calls.lock().unwrap(), expected);
    assert_eq!((observer.alarms("some").len(), observer.alarms("many").len()), (2, 2));
}

#[actix::test]
async fn a_panic_in_an_alarm_callback_is_logged() {
    logs::listen();
    let bad = Alarm::new("bad", 1).low(0).call(|_| panic!("the alarm's own fault"));
    let good = Alarm::new("good", 1).low(0);
    let (mut queue, observer) = PeerQueue::at([bad, good], "a bad alarm").await;
    queue.resize(2).await;
    queue.peers[0].echo("still served").await;
    queue.leave().await;
    assert_eq!(observer.alarms("bad"), [(true, 1), (false, 0)]);
    assert_eq!(observer.alarms("good"), [(true, 1), (false, 0)]);
    let lines = logs::lines(|line| line.is("name", "bad") && line.message() == "the alarm's callback panicked");
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line.level == Level::ERROR && line.is("panic", "the alarm's own fault")));
}

#[actix::test]
async fn each_alarm_change_logs_one_line() {
    logs::listen();
    let (mut queue, _) = PeerQueue::at([Alarm::new("in the log", 2).low(0)], "logged").await;
    queue.resize(3).await;
    queue.leave().await;
    let lines = logs::lines(|line| line.is("name", "in the log"));
    let told: Vec<_> = lines.iter().map(|line| (line.level, line.message(), &*line.fields["connections"])).collect();
    assert_eq!(told, [(Level::WARN, "alarm raised", "2"), (Level::INFO, "alarm cleared", "0")]);
}

#[actix::test]
async fn invalid_alarm_marks_are_refused_at_the_start() {
    let refused = [Alarm::new("a", 5).low(5), Alarm::new("b", 5).low(6), Alarm::new("c", 0), Alarm::new("d", 0).low(0)];
    for alarm in refused {
        let shown = format!("{alarm:?}");
        let builder = AcceptorPool::with_protocol(|_| Echo).alarm(Alarm::new("sound", 1)).alarm(alarm);
        match builder.bind("127.0.0.1:0").await {
            Err(StartError::InvalidSetting(InvalidSetting { setting: "alarm", .. })) => {}
            other => panic!("{shown}: {other:?}"),
        }
    }
}

#[actix::test]
async fn a_late_count_does_not_clear_a_newer_alarm() {
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    // Holds the first connection up between its count and the look of the alarm behind it, as a busy machine may.
    let late = Alarm::new("late", 1).low(0).call(move |alarm| {
        if alarm.raised {
            gate.lock().unwrap().recv_timeout(TIME_LIMIT).unwrap();
        }
    });
    let observer = EventRecorder::new();
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(2).watchdog(None).observer(observer.clone());
    let pool = builder.alarm(late).alarm(Alarm::new("two", 2)).bind("127.0.0.1:0").await.unwrap();
    let mut first = connect(&pool).await;
    eventually(|| observer.alarms("late").len() == 1).await;
    // The other acceptor takes this one.
    let mut second = connect(&pool).await;
    second.echo("hello").await;
    assert_eq!(observer.alarms("two"), [(true, 2)]);
    open.send(()).unwrap();
    first.echo("hello").await;
    assert_eq!((pool.connections(), observer.alarms("two")), (2, vec![(true, 2)]), "there are two all the while");
    in_time(pool.stop(None)).await;
}
