//! Timers: messages that a connection sends to itself later.

use std::sync::Mutex;
use std::time::Duration;

use actix_acceptor::{handlers::ProtocolService, telemetry::CloseReason, AcceptorPool, Builder, Conn, Connection};
use actix_acceptor::{Event, Framing, Init, Next, Pool, Timeout, TimerKey, Wait};
use bytes::Bytes;
use futures::stream;
use support::*;
use tokio::io::DuplexStream;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// A pool in memory, and a peer of it.
struct Served {
    pool: Pool<Connection<Probe>>,
    script_handle: ScriptHandle,
    peer: Peer<DuplexStream>,
    callbacks: Callbacks,
}

impl Served {
    async fn by(act: impl Fn(&Call, &mut Conn<Probe>) -> Next<Probe> + Send + Sync + 'static) -> Self {
        Self::with(act, |builder| builder).await
    }

    async fn with(
        act: impl Fn(&Call, &mut Conn<Probe>) -> Next<Probe> + Send + Sync + 'static,
        set: impl FnOnce(Builder<ProtocolService<Probe>>) -> Builder<ProtocolService<Probe>>,
    ) -> Self {
        let (builder, callbacks) = Probe::pool(act);
        let (pool, script_handle) = in_memory(set(builder.framing(Framing::lines()).idle_timeout(None))).await;
        let peer = script_handle.connect();
        Served { pool, script_handle, peer, callbacks }
    }

    /// The next message, and when it came.
    async fn message(&mut self) -> (Bytes, Instant) {
        loop {
            match self.callbacks.next_ever().await {
                (Call::User(message), at) => return (message, at),
                (Call::Closed(reason, why), _) => panic!("{reason:?} ({why}) came before a message"),
                _ => {}
            }
        }
    }

    /// Expects a message so long after a point in time.
    #[track_caller]
    fn expect(&mut self, text: &'static str, from: Instant, after: Duration) -> impl Future<Output = ()> + '_ {
        let caller = std::panic::Location::caller();
        async move {
            let (message, at) = self.message().await;
            let (took, slack) = (at - from, ms(2));
            assert_eq!(message, text, "{caller}, after {took:?}");
            assert!(took >= after && took <= after + slack, "{caller}: {text} came after {took:?}");
        }
    }
}

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// Sends back packets, and does what the closure does in `ack`.
fn in_ack(
    act: impl Fn(&mut Conn<Probe>) + Send + Sync + 'static,
) -> impl Fn(&Call, &mut Conn<Probe>) -> Next<Probe> + Send + Sync + 'static {
    move |call, conn| {
        match call {
            Call::Ack => act(conn),
            Call::Packet(packet) => return Next::Send(packet.clone()),
            _ => {}
        }
        protocol_default(call)
    }
}

#[test]
fn messages_come_once_and_when_they_are_due() {
    paused(async {
        let mut served = Served::by(in_ack(|conn| {
            conn.after(Duration::MAX, text("never"));
            conn.after(ms(300), text("third"));
            conn.after(ms(100), text("first"));
            conn.after(Duration::from_secs(100_000), text("last"));
            conn.after(ms(200), text("second, set first"));
            conn.after(ms(200), text("second"));
            conn.after(Duration::ZERO, text("at once"));
            assert_eq!(conn.timers(), 7);
        }))
        .await;
        let began = served.callbacks.until(&Call::Ack).await;
        served.expect("at once", began, Duration::ZERO).await;
        served.expect("first", began, ms(100)).await;
        served.expect("second, set first", began, ms(200)).await;
        served.expect("second", began, ms(200)).await;
        served.expect("third", began, ms(300)).await;
        served.expect("last", began, Duration::from_secs(100_000)).await;
        elapse(Duration::from_secs(1_000_000)).await;
        assert!(served.callbacks.so_far().is_empty());
    });
}

#[test]
fn a_period_delivers_until_it_is_cancelled() {
    paused(async {
        let (key, beats) = (Mutex::new(None), Mutex::new(0));
        let mut served = Served::by(move |call, conn| {
            let mut key = key.lock().unwrap();
            match call {
                Call::Ack => *key = Some(conn.every(ms(250), text("beat"))),
                Call::User(_) => {
                    let mut beats = beats.lock().unwrap();
                    *beats += 1;
                    assert_eq!(conn.timers(), 1);
                    if *beats == 4 {
                        assert!(conn.cancel(key.unwrap()) && !conn.cancel(key.unwrap()));
                        assert_eq!(conn.timers(), 0);
                    }
                }
                _ => {}
            }
            protocol_default(call)
        })
        .await;
        let began = served.callbacks.until(&Call::Ack).await;
        for beat in 1..=4 {
            served.expect("beat", began, ms(250) * beat).await;
        }
        elapse(Duration::from_secs(10)).await;
        assert!(served.callbacks.so_far().is_empty());
    });
}

/// Sets a period and a timer, then waits for a second when it gets a packet.
fn waiting(options: Wait) -> impl Fn(&Call, &mut Conn<Probe>) -> Next<Probe> + Send + Sync + 'static {
    move |call, conn| match call {
        Call::Ack => {
            conn.every(ms(100), text("beat"));
            conn.after(ms(750), text("later"));
            conn.after(ms(550), text("soon"));
            conn.wait_with(options, tokio::time::sleep(ms(1_030)), |_, _, _| Next::Send(text("waited")))
        }
        call => protocol_default(call),
    }
}

#[test]
fn missed_periods_are_not_made_up_for() {
    paused(async {
        let mut served = Served::by(waiting(Wait::new())).await;
        let began = served.callbacks.until(&Call::Ack).await;
        served.peer.expect(b"waited\n").await;
        for message in ["beat", "soon", "later"] {
            served.expect(message, began, ms(1_030)).await;
        }
        for beat in 1..5 {
            served.expect("beat", began, ms(1_030) + ms(100) * beat).await;
        }
    });
}

#[test]
fn a_wait_with_messages_delivers_those_of_timers() {
    paused(async {
        let mut served = Served::by(waiting(Wait::new().with_messages())).await;
        let began = served.callbacks.until(&Call::Ack).await;
        for beat in 1..=5 {
            served.expect("beat", began, ms(100) * beat).await;
        }
        served.expect("soon", began, ms(550)).await;
    });
}

#[test]
fn timers_wait_until_the_connection_is_ready() {
    paused(async {
        let mut served = Served::by(|call, conn| match call {
            Call::Init => {
                conn.after(Duration::ZERO, text("at once"));
                conn.wait(tokio::time::sleep(ms(700)), |(), _, _| Next::Continue)
            }
            call => protocol_default(call),
        })
        .await;
        let began = Instant::now();
        assert_eq!(served.callbacks.next().await, Call::Init);
        assert_eq!(served.callbacks.next().await, Call::Ack);
        served.expect("at once", began, ms(700)).await;
    });
}

#[test]
fn above_the_high_mark_no_timer_is_delivered() {
    paused(async {
        let act = |call: &Call, conn: &mut Conn<Probe>| match call {
            Call::Ack => {
                conn.after(ms(100), text("later"));
                Next::Send(Bytes::from(vec![b'x'; 300 * 1024]))
            }
            call => protocol_default(call),
        };
        let mut served = Served::with(act, |builder| builder.send_timeout(None)).await;
        served.callbacks.until(&Call::Ack).await;
        elapse(Duration::from_secs(10)).await;
        assert!(served.callbacks.so_far().is_empty());
        served.peer.read_exact(300 * 1024 + 1).await;
        assert_eq!(served.message().await.0, "later");
    });
}

/// A message, and a receiver whose sender is dropped with the message.
fn watched() -> (Bytes, oneshot::Receiver<()>) {
    struct Owner(#[allow(dead_code)] oneshot::Sender<()>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            b"never"
        }
    }
    let (sender, receiver) = oneshot::channel();
    (Bytes::from_owner(Owner(sender)), receiver)
}

#[test]
fn timers_end_with_their_connection_and_do_not_delay_it() {
    for how in ["fin", "stop", "close", "kill", "drain"] {
        paused(async move {
            let ((once, once_dropped), (periodic, periodic_dropped)) = (watched(), watched());
            let messages = Mutex::new(Some((once, periodic)));
            let mut served = Served::by(move |call, conn| {
                match call {
                    Call::Ack => {
                        let (once, periodic) = messages.lock().unwrap().take().unwrap();
                        conn.after(Duration::from_secs(60), once);
                        conn.every(Duration::from_secs(60), periodic);
                    }
                    Call::Packet(_) => return Next::Stop,
                    _ => {}
                }
                protocol_default(call)
            })
            .await;
            let began = served.callbacks.until(&Call::Ack).await;
            let id = served.pool.list()[0].id;
            let expected = match how {
                "fin" => {
                    served.peer.finish().await;
                    CloseReason::Peer
                }
                "stop" => {
                    served.peer.send("stop\n").await;
                    CloseReason::Local
                }
                "close" => {
                    assert!(served.pool.close(id, None, ms(100)));
                    CloseReason::Local
                }
                "kill" => {
                    assert!(served.pool.kill(id));
                    CloseReason::Killed
                }
                _ => {
                    let pool = served.pool.clone();
                    actix::spawn(async move { pool.stop(None).await });
                    CloseReason::Shutdown
                }
            };
            assert_eq!(served.callbacks.closed().await.0, expected, "{how}");
            for dropped in [once_dropped, periodic_dropped] {
                assert!(in_time(dropped).await.is_err(), "{how}");
            }
            assert!(began.elapsed() < ms(100), "{how}: {:?}", began.elapsed());
        });
    }
}

#[test]
fn with_half_close_timers_go_on_after_the_fin() {
    paused(async {
        let act = in_ack(|conn| {
            conn.every(Duration::from_secs(1), text("beat"));
        });
        let mut served = Served::with(act, |builder| builder.half_close(true)).await;
        let began = served.callbacks.until(&Call::Ack).await;
        served.peer.finish().await;
        served.callbacks.until(&Call::HalfClosed).await;
        for beat in 1..=3 {
            served.expect("beat", began, Duration::from_secs(1) * beat).await;
        }
    });
}

#[test]
fn a_timer_is_no_activity_of_the_peer() {
    paused(async {
        let act = in_ack(|conn| {
            conn.every(ms(300), text("beat"));
        });
        let mut served = Served::with(act, |builder| builder.idle_timeout(Duration::from_secs(1))).await;
        let began = served.callbacks.until(&Call::Ack).await;
        let at = served.callbacks.until(&Call::Timeout(Timeout::Idle)).await;
        assert_on_time(began, at, Duration::from_secs(1));
    });
}

#[actix::test]
async fn a_timer_is_cancelled_by_its_own_key_only() {
    let keys = Mutex::new(Vec::<TimerKey>::new());
    let mut served = Served::by(move |call, conn| {
        let mut keys = keys.lock().unwrap();
        match call {
            Call::Packet(_) => {
                // Among them are keys of another connection.
                assert!(!keys.iter().any(|key| conn.cancel(*key)));
                assert_eq!(conn.timers(), 0);
                let cancelled = conn.after(Duration::ZERO, text("never"));
                assert!(conn.cancel(cancelled) && !conn.cancel(cancelled));
                let delivered = conn.after(Duration::ZERO, text("delivered"));
                for key in [cancelled, delivered] {
                    assert!(!keys.contains(&key));
                    keys.push(key);
                }
                Next::Continue
            }
            Call::User(message) => {
                assert_eq!(conn.timers(), 0);
                Next::Send(message.clone())
            }
            call => protocol_default(call),
        }
    })
    .await;
    let mut other = served.script_handle.connect();
    for _ in 0..3 {
        for peer in [&mut served.peer, &mut other] {
            peer.send("again\n").await;
            peer.expect(b"delivered\n").await;
        }
    }
}

#[actix::test]
async fn timers_without_a_delay_starve_nothing() {
    let mut served = Served::by(|call, conn| match call {
        Call::Ack => {
            conn.every(Duration::ZERO, text("period"));
            conn.after(Duration::ZERO, text("chain"));
            conn.add_stream(stream::repeat(text("stream")));
            Next::Continue
        }
        Call::User(message) => {
            if message == "chain" {
                conn.after(Duration::ZERO, text("chain"));
            }
            Next::Continue
        }
        Call::Packet(packet) => {
            let packet = packet.clone();
            conn.spawn(std::future::ready(()), |(), _, _| Next::Send(packet));
            Next::Continue
        }
        call => protocol_default(call),
    })
    .await;
    let mut other = served.script_handle.connect();
    for _ in 0..20 {
        served.peer.echo("own\n").await;
        other.echo("other\n").await;
    }
    for message in ["period", "chain", "stream"] {
        in_time(async { while served.message().await.0 != message {} }).await;
    }
}

#[actix::test]
async fn events_receive_the_messages_of_timers() {
    let builder = AcceptorPool::with_events(
        |conn| {
            conn.after(ms(1), "timer");
            Init::new(()).with_messages::<&str>()
        },
        |(), event, _| match event {
            Event::User(message) => Next::Send(text(message)),
            event => event.default_next(),
        },
    );
    let (_pool, script_handle) = in_memory(builder).await;
    script_handle.connect().expect(b"timer").await;
}
