//! `Conn::spawn`: futures that run beside the connection.

use std::future::pending;

use actix_acceptor::{telemetry::CloseReason, Conn, Next, User, Wait};
use support::*;
use tokio::sync::oneshot;

use super::*;

#[actix::test]
async fn a_spawned_future_holds_nothing_back() {
    let (open, gate) = oneshot::channel::<()>();
    let gate = once(gate);
    let act = move |call: &Call, conn: &mut Conn<Probe>| match call {
        Call::Packet(bytes) if bytes == "spawn" => {
            conn.spawn(gate(), |_, _, conn: &mut Conn<Probe>| {
                assert_eq!(conn.spawned(), 0);
                text("later")
            });
            assert_eq!(conn.spawned(), 1);
            text("spawned")
        }
        call => echoed(call),
    };
    let (pool, _callbacks) = lines(act, |builder| builder).await;
    let mut peer = connect(&pool).await;
    peer.send("spawn\n").await;
    peer.expect(b"spawned\n").await;
    peer.echo("meanwhile\n").await;
    in_time(pool.addresses()[0].1.send(User(Bytes::from_static(b"message")))).await.unwrap();
    peer.expect(b"message\n").await;
    open.send(()).unwrap();
    peer.expect(b"later\n").await;
    peer.echo("after\n").await;
}

#[actix::test]
async fn spawned_futures_run_concurrently() {
    let act = |call: &Call, conn: &mut Conn<Probe>| match call {
        Call::Ack => {
            for millis in [150, 50, 100] {
                let answer = Bytes::from(millis.to_string());
                conn.spawn(tokio::time::sleep(ms(millis)), |(), _, _| Next::Send(answer));
            }
            conn.spawn(std::future::ready(()), |(), _, conn: &mut Conn<Probe>| {
                conn.spawn(std::future::ready(()), |(), _, _| text("at once"));
                Next::Continue
            });
            Next::Continue
        }
        call => echoed(call),
    };
    let (pool, _callbacks) = lines(act, |builder| builder).await;
    connect(&pool).await.expect(b"at once\n50\n100\n150\n").await;
}

/// It makes progress during a wait; its answer comes after it, or during it if the wait allows messages.
#[actix::test]
async fn a_spawned_future_progresses_during_a_wait() {
    for (options, answers) in [(Wait::new(), "waited\nspawned\n"), (Wait::new().with_messages(), "spawned\nwaited\n")] {
        let act = move |call: &Call, conn: &mut Conn<Probe>| match call {
            Call::Packet(_) => {
                let (sender, receiver) = oneshot::channel();
                conn.spawn(
                    async move {
                        tokio::time::sleep(ms(20)).await;
                        sender.send(())
                    },
                    |_, _, _| text("spawned"),
                );
                let work = async move {
                    receiver.await.unwrap();
                    tokio::time::sleep(ms(20)).await;
                };
                conn.wait_with(options, work, |_, _, _| text("waited"))
            }
            call => protocol_default(call),
        };
        let (pool, _callbacks) = lines(act, |builder| builder).await;
        let mut peer = connect(&pool).await;
        peer.send("go\n").await;
        peer.expect(answers.as_bytes()).await;
    }
}

#[actix::test]
async fn spawned_futures_are_dropped_when_the_connection_closes() {
    for how in ["fin", "kill", "stop", "reset"] {
        let (future, dropped) = watched(pending::<()>());
        let future = once(future);
        let act = move |call: &Call, conn: &mut Conn<Probe>| match call {
            Call::Ack => {
                conn.spawn(future(), |(), _, _| panic!("never done"));
                Next::Continue
            }
            Call::Packet(_) => Next::Stop,
            call => protocol_default(call),
        };
        let (pool, mut callbacks) = lines(act, |builder| builder).await;
        let mut peer = connect(&pool).await;
        callbacks.until(&Call::Ack).await;
        let expected = match how {
            "fin" => {
                peer.finish().await;
                CloseReason::Peer
            }
            "kill" => {
                assert!(pool.kill(pool.list()[0].id));
                CloseReason::Killed
            }
            "stop" => {
                peer.send("stop\n").await;
                CloseReason::Local
            }
            _ => {
                peer.reset();
                CloseReason::Peer
            }
        };
        assert!(!in_time(dropped).await.unwrap(), "{how}");
        assert_eq!(callbacks.closed().await.0, expected, "{how}");
    }
}

#[actix::test]
async fn a_panic_in_a_spawned_future_costs_one_connection() {
    let act = |call: &Call, conn: &mut Conn<Probe>| match call {
        Call::Packet(bytes) if bytes == "panic" => {
            conn.spawn(async { panic!("as asked") }, |(), _, _| Next::Continue);
            Next::Continue
        }
        Call::Packet(bytes) if bytes == "drop" => {
            let bomb = PanicOnDrop;
            let future = async move {
                let _bomb = bomb;
                pending::<()>().await;
            };
            conn.spawn(future, |(), _, _| Next::Continue);
            Next::Stop
        }
        call => echoed(call),
    };
    let (pool, mut callbacks) = lines(act, |builder| builder).await;
    let mut good = connect(&pool).await;
    for how in ["panic\n", "drop\n"] {
        let mut bad = connect(&pool).await;
        bad.send(how).await;
        assert_eq!(callbacks.closed().await.0, CloseReason::Panic, "{how}");
        good.echo("still here\n").await;
    }
}

#[actix::test]
async fn a_future_spawned_in_init_answers_after_ack() {
    let act = |call: &Call, conn: &mut Conn<Probe>| match call {
        Call::Init => {
            conn.spawn(std::future::ready(()), |(), _, _| text("spawned"));
            conn.wait(tokio::time::sleep(ms(20)), |(), _, _| text("waited"))
        }
        Call::Ack => text("ready"),
        call => protocol_default(call),
    };
    let (pool, _callbacks) = lines(act, |builder| builder).await;
    connect(&pool).await.expect(b"waited\nready\nspawned\n").await;
}
