//! What others send to an async fn, or to an actor that owns its socket.

use std::future::Future;
use std::net::TcpStream as StdStream;

use actix_acceptor::{limits::SlowConsumer, telemetry::CloseReason, BoxError, OutboxError, PoolHandle, Pushes, Socket};
use futures::{SinkExt, StreamExt};
use support::*;
use tokio::io::AsyncWriteExt;

use super::*;

type Served = Result<(), BoxError>;

/// Handles the commands of a peer, and sends it what others push.
async fn serve(socket: Socket) -> Served {
    let mut pushes = socket.pushes();
    let mut lines = socket.framed(Framing::lines());
    loop {
        tokio::select! {
            pushed = pushes.recv() => match pushed {
                Some(bytes) => lines.get_mut().write_all(&bytes).await?,
                None => return Ok(()),
            },
            line = lines.next() => {
                let Some(line) = line.transpose()? else { return Ok(()) };
                let answer = answer(&line, lines.get_mut(), &mut pushes).await?;
                while let Some(bytes) = pushes.try_recv() {
                    lines.get_mut().write_all(&bytes).await?;
                }
                lines.send(answer.into()).await?;
            }
        }
    }
}

async fn answer(line: &Bytes, socket: &mut Socket, pushes: &mut Pushes) -> Result<String, BoxError> {
    let line = std::str::from_utf8(line)?;
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
    let pool = socket.pool();
    Ok(match verb {
        "join" => socket.join(&pool.topic(name)).to_string(),
        "leave" => socket.leave(&pool.topic(name)).to_string(),
        "others" => pool.topic(name).publish_except(socket.id(), format!("{text}\n")).members.to_string(),
        "register" => socket.register(name).is_ok().to_string(),
        "take" => {
            socket.register_replacing(name);
            "taken".into()
        }
        "unregister" => socket.unregister(name).to_string(),
        "label" => {
            socket.set_label(name);
            "labelled".into()
        }
        "tell" => pool.whereis(name).is_some_and(|other| other.send(format!("{text}\n")).is_ok()).to_string(),
        "myself" => socket.outbox().send(format!("{name}\n")).is_ok().to_string(),
        "id" => socket.id().to_string(),
        "quit" => return Err("requested by the peer".into()),
        "shutdown" => {
            socket.shutdown().await?;
            assert_eq!(pushes.recv().await, None);
            until_killed(socket).await?
        }
        "close" => {
            pushes.close();
            assert_eq!(pushes.recv().await, None);
            until_killed(socket).await?
        }
        "panic" => panic!("requested by the peer"),
        _ => line.to_owned(),
    })
}

async fn until_killed(socket: &Socket) -> Result<String, BoxError> {
    socket.draining().await;
    Err("killed".into())
}

/// A pool for each handler that owns its socket.
async fn both_with<F>(
    serve: impl Fn(Socket) -> F + Copy + Send + Sync + Unpin + 'static,
    outbox: usize,
    policy: SlowConsumer,
) -> [PoolHandle; 2]
where
    F: Future<Output = Served> + 'static,
{
    let actor = AcceptorPool::with_actor(move |socket| Ok(SocketActor::start(socket, serve)));
    let address = "127.0.0.1:0";
    [
        AcceptorPool::with_fn(serve).outbox(outbox, policy).acceptors(2).bind(address).await.unwrap().untyped(),
        actor.outbox(outbox, policy).acceptors(2).bind(address).await.unwrap().untyped(),
    ]
}

async fn both<F>(serve: impl Fn(Socket) -> F + Copy + Send + Sync + Unpin + 'static) -> [PoolHandle; 2]
where
    F: Future<Output = Served> + 'static,
{
    both_with(serve, 1 << 20, SlowConsumer::Close).await
}

async fn only(pool: &PoolHandle) -> ConnectionRef<Bytes> {
    eventually(|| pool.connections() == 1).await;
    pool.connection(pool.list()[0].id).unwrap()
}

async fn closed(pool: &PoolHandle, reason: CloseReason) {
    eventually(|| pool.connections() == 0).await;
    let closed = pool.info().closed;
    assert_eq!((closed.get(reason), closed.total()), (1, 1), "{closed:?}");
}

#[actix::test]
async fn pushes_arrive_whole_and_in_order_between_answers() {
    for pool in both(serve).await {
        let mut peer = connect(&pool).await;
        assert_eq!(ask(&mut peer, "join lobby").await, "true");
        assert_eq!(ask(&mut peer, "join lobby").await, "false");
        let (lobby, outbox) = (pool.topic("lobby"), only(&pool).await.outbox());
        let publisher = std::thread::spawn(move || {
            for n in (0..2_000).step_by(2) {
                assert_eq!(lobby.publish(format!("{n}\n")).members, 1);
                outbox.send(format!("{}\n", n + 1)).unwrap();
            }
        });
        peer.send("answer\n".repeat(100)).await;
        let (mut pushed, mut answers) = (0, 0);
        while pushed < 2_000 || answers < 100 {
            match &*line(&mut peer).await {
                "answer" => answers += 1,
                line => {
                    assert_eq!(line, pushed.to_string());
                    pushed += 1;
                }
            }
        }
        publisher.join().unwrap();
        assert_eq!(pool.list()[0].unsent, 0);
    }
}

/// The owner waits again after each message.
#[actix::test]
async fn no_push_is_missed() {
    for pool in both(serve).await {
        let mut peer = connect(&pool).await;
        let outbox = only(&pool).await.outbox();
        let sender = std::thread::spawn(move || {
            for n in 0..3_000 {
                outbox.send(format!("{n}\n")).unwrap();
                eventually_blocking(|| n % 3 != 0 || outbox.pending() == 0);
            }
        });
        for n in 0..3_000 {
            assert_eq!(line(&mut peer).await, n.to_string());
        }
        sender.join().unwrap();
    }
}

#[actix::test]
async fn nothing_published_after_a_socket_has_left_arrives() {
    for pool in both(serve).await {
        let mut peer = connect(&pool).await;
        for _ in 0..100 {
            assert_eq!(ask(&mut peer, "join lobby").await, "true");
            assert_eq!(pool.topic("lobby").publish("before\n").members, 1);
            peer.send("leave lobby\n").await;
            assert_eq!((line(&mut peer).await, line(&mut peer).await), ("before".into(), "true".into()));
            assert_eq!(pool.topic("lobby").publish("after\n").members, 0);
        }
    }
}

#[actix::test]
async fn a_socket_has_names_and_a_label() {
    for pool in both(serve).await {
        let (mut ann, mut bob) = (connect(&pool).await, connect(&pool).await);
        assert_eq!(ask(&mut ann, "register ann").await, "true");
        assert_eq!(ask(&mut bob, "register ann").await, "false");
        assert_eq!(ask(&mut bob, "tell ann hello").await, "true");
        assert_eq!(line(&mut ann).await, "hello");
        assert_eq!(ask(&mut ann, "label Ann").await, "labelled");
        assert_eq!(pool.whereis("ann").unwrap().info().label.as_deref(), Some("Ann"));
        assert_eq!(ask(&mut ann, "unregister ann").await, "true");
        assert_eq!(ask(&mut bob, "unregister ann").await, "false");
        assert_eq!(ask(&mut ann, "register ann").await, "true");
        assert_eq!(ask(&mut bob, "take ann").await, "taken");
        assert_eq!(ann.until_gone().await, b"");
        assert_eq!(ask(&mut bob, "tell ann me").await, "me");
        assert_eq!(line(&mut bob).await, "true");
        eventually(|| pool.info().closed.get(CloseReason::Replaced) == 1).await;
        assert_eq!(pool.names(), ["ann".into()]);
    }
}

#[actix::test]
async fn a_socket_leaves_its_groups_at_every_end() {
    for pool in both(serve).await {
        for end in ["quit", "panic", "shutdown", "close", "drop", "kill", "request"] {
            let mut peer = connect(&pool).await;
            assert_eq!(ask(&mut peer, "join lobby").await, "true", "{end}");
            assert_eq!(ask(&mut peer, "register ann").await, "true", "{end}");
            let connection = pool.whereis("ann").unwrap();
            let mut peer = Some(peer);
            match end {
                "drop" => drop(peer.take()),
                "kill" => assert!(connection.kill()),
                "request" => assert!(connection.close(None, ms(5_000))),
                verb => peer.as_mut().unwrap().send(format!("{verb}\n")).await,
            }
            eventually(|| pool.topic("lobby").is_empty() && pool.whereis("ann").is_none()).await;
            assert!(matches!(connection.send("late"), Err(OutboxError::Closed(_))), "{end}");
            connection.kill();
            eventually(|| pool.connections() == 0).await;
        }
    }
}

#[actix::test]
async fn a_closed_socket_sends_its_queue_then_the_last_bytes() {
    for pool in both(serve).await {
        let mut peer = connect(&pool).await;
        let connection = only(&pool).await;
        let expected: String = (0..1_000).map(|n| format!("{n}\n")).collect();
        (0..1_000).for_each(|n| connection.send(format!("{n}\n")).unwrap());
        assert!(pool.close(connection.id(), Some("last\n".into()), ms(5_000)));
        connection.close(Some("too late\n".into()), ms(10_000));
        assert_eq!(peer.read_to_end().await, format!("{expected}last\n").as_bytes());
        closed(&pool, CloseReason::Local).await;
        assert!(matches!(connection.send("late"), Err(OutboxError::Closed(_))));
        assert!(!connection.close(None, ms(0)));
    }
}

/// Sends what was pushed once the connection should end.
async fn at_the_end(mut socket: Socket) -> Served {
    let mut pushes = socket.pushes();
    socket.closing().await;
    pushes.close();
    while let Some(bytes) = pushes.next().await {
        socket.write_all(&bytes).await?;
    }
    Ok(())
}

#[actix::test]
async fn an_owner_sends_what_is_queued_when_it_should_close() {
    for (drains, reason) in [(false, CloseReason::Local), (true, CloseReason::Shutdown)] {
        for pool in both(at_the_end).await {
            let mut peer = connect(&pool).await;
            let connection = only(&pool).await;
            connection.send("queued").unwrap();
            match drains {
                true => drop(in_time(pool.stop(ms(5_000))).await),
                false => assert!(connection.close(Some(", last".into()), ms(5_000))),
            }
            let expected: &[u8] = if drains { b"queued" } else { b"queued, last" };
            assert_eq!(peer.read_to_end().await, expected);
            closed(&pool, reason).await;
        }
    }
}

/// Reads only: neither its pushes nor its end matter to it.
async fn reads_only(mut socket: Socket) -> Served {
    tokio::io::copy(&mut socket, &mut tokio::io::sink()).await?;
    Ok(())
}

#[actix::test]
async fn an_owner_that_takes_no_pushes_is_a_slow_consumer() {
    for pool in both_with(reads_only, 1_000, SlowConsumer::Close).await {
        let mut peer = connect(&pool).await;
        let connection = only(&pool).await;
        (0..10).for_each(|_| connection.send("x".repeat(100)).unwrap());
        assert!(matches!(connection.send("x"), Err(OutboxError::Full(_))));
        assert_eq!(peer.until_gone().await, b"");
        closed(&pool, CloseReason::SlowConsumer).await;
    }
    for pool in both_with(reads_only, 1_000, SlowConsumer::DropNewest).await {
        let peer = connect(&pool).await;
        let connection = only(&pool).await;
        (0..10).for_each(|_| connection.send("x".repeat(100)).unwrap());
        assert!(matches!(connection.send("x"), Err(OutboxError::Full(_))));
        assert_eq!((connection.info().unsent, connection.info().dropped), (1_000, 1));
        drop(peer);
        closed(&pool, CloseReason::Peer).await;
    }
}

/// A peer that does not read holds up the writes of its owner, which then takes no more.
#[actix::test]
async fn a_peer_that_reads_nothing_is_a_slow_consumer() {
    for pool in both_with(serve, 100_000, SlowConsumer::Close).await {
        let peer = StdStream::connect(pool.local_addr().unwrap()).unwrap();
        let connection = only(&pool).await;
        eventually(|| !(0..100).all(|_| connection.send("x".repeat(1_000)).is_ok())).await;
        eventually(|| pool.info().closed.get(CloseReason::SlowConsumer) == 1).await;
        drop(peer);
    }
}

#[actix::test]
async fn bytes_reach_connections_of_any_handler() {
    let [one, other] = both(serve).await;
    let protocol = start().await.untyped();
    for pool in [one, other, protocol] {
        let (mut first, mut second) = (connect(&pool).await, connect(&pool).await);
        let (id, _) = (ask(&mut first, "id").await, ask(&mut second, "id").await);
        let id = pool.list().into_iter().find(|connection| connection.id.to_string() == id).unwrap().id;
        assert_eq!(pool.broadcast("all\n").delivered, 2);
        assert_eq!((line(&mut first).await, line(&mut second).await), ("all".into(), "all".into()));
        assert_eq!(pool.send_to([id, id], "twice\n").delivered, 2);
        assert!(pool.close(id, Some("without a delimiter".into()), ms(5_000)));
        assert_eq!(first.read_to_end().await, b"twice\ntwice\nwithout a delimiter");
        assert_eq!(ask(&mut second, "alone").await, "alone");
        eventually(|| pool.connections() == 1).await;
        assert!(!pool.close(id, None, ms(0)));
    }
}
