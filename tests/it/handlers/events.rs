//! `AcceptorPool::with_events`: the closures, their streams, and the state at the end.

use std::time::Duration;

use actix_acceptor::{
    handlers::EventLoop, telemetry::CloseReason, AcceptorPool, Connection, Event, Framing, Init, Next, Pool, User,
};
use bytes::Bytes;
use futures::stream;
use support::*;
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};
use tokio_util::codec::LinesCodec;

/// The items of a channel as a stream.
fn items<T: 'static>(receiver: UnboundedReceiver<T>) -> impl futures::Stream<Item = T> + 'static {
    stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|item| (item, receiver)) })
}

fn line(text: impl ToString) -> Bytes {
    Bytes::from(text.to_string())
}

#[actix::test]
async fn the_state_begins_in_on_init_and_each_connection_has_its_own() {
    let pool = AcceptorPool::with_events(
        |conn| Init::new(conn.id().get() * 100),
        |count, event, _| match event {
            Event::Ack => Next::Send(line("welcome")),
            Event::Packet(_) => {
                *count += 1;
                Next::Send(line(*count))
            }
            event => event.default_next(),
        },
    )
    .framing(Framing::lines())
    .bind("127.0.0.1:0")
    .await
    .unwrap();
    let mut first = connect(&pool).await;
    first.expect(b"welcome\n").await;
    let mut second = connect(&pool).await;
    second.expect(b"welcome\n").await;
    first.send("a\nb\n").await;
    first.expect(b"101\n102\n").await;
    second.send("c\n").await;
    second.expect(b"201\n").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn the_items_of_a_stream_from_on_init_arrive_as_user() {
    let pool = AcceptorPool::with_events(
        |_| Init::new(()).stream(stream::iter(["one", "two"])).with_stream(stream::iter(["three"])),
        |_, event, _| match event {
            Event::User(item) => Next::Send(line(item)),
            event => event.default_next(),
        },
    )
    .framing(Framing::lines())
    .bind("127.0.0.1:0")
    .await
    .unwrap();
    let mut peer = connect(&pool).await;
    let mut lines: Vec<_> = peer.read_exact(14).await.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    lines.sort();
    assert_eq!(lines, [b"".to_vec(), b"one".to_vec(), b"three".to_vec(), b"two".to_vec()]);
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_stream_added_in_a_later_callback_arrives_as_user_too() {
    let (handing, mut handed) = unbounded_channel::<UnboundedSender<String>>();
    let pool = AcceptorPool::with_events(
        |_| Init::new(()).with_messages::<String>(),
        move |_, event, conn| match event {
            Event::Packet(packet) => {
                let (sender, receiver) = unbounded_channel();
                handing.send(sender).unwrap();
                conn.add_stream(items(receiver));
                Next::Send(packet)
            }
            Event::User(item) => Next::Send(line(item)),
            event => event.default_next(),
        },
    )
    .framing(Framing::lines())
    .bind("127.0.0.1:0")
    .await
    .unwrap();
    let mut peer = connect(&pool).await;
    let mut senders = Vec::new();
    for number in 0..3 {
        peer.echo("one more\n").await;
        let sender = in_time(handed.recv()).await.unwrap();
        sender.send(format!("number {number}")).unwrap();
        peer.expect(format!("number {number}\n").as_bytes()).await;
        senders.push(sender);
    }
    // One ends; the others go on.
    senders.remove(1);
    for sender in &senders {
        sender.send("still here".to_owned()).unwrap();
        peer.expect(b"still here\n").await;
    }
    drop(peer);
    in_time(senders[0].closed()).await;
    in_time(pool.stop(Duration::ZERO)).await;
}

enum Tell {
    Add(u64),
    End,
}

type Sum = EventLoop<u64, Tell>;

async fn sums() -> (Pool<Connection<Sum>>, UnboundedReceiver<(u64, CloseReason)>) {
    let (closing, closings) = unbounded_channel();
    let pool = AcceptorPool::with_events(
        |_| Init::new(0).with_messages::<Tell>(),
        |sum: &mut u64, event, _| match event {
            Event::User(Tell::Add(number)) => {
                *sum += number;
                Next::Send(line(*sum))
            }
            Event::User(Tell::End) => Next::Stop,
            Event::Packet(packet) if packet == "panic" => panic!("as asked"),
            event => event.default_next(),
        },
    )
    .with_close(move |sum, why| closing.send((sum, why.reason())).unwrap())
    .framing(Framing::lines())
    .bind("127.0.0.1:0")
    .await
    .unwrap();
    (pool, closings)
}

#[actix::test]
async fn the_type_has_a_name_so_addresses_and_recipients_work() {
    let (pool, mut closings) = sums().await;
    let mut peer = connect(&pool).await;
    eventually(|| pool.addresses().len() == 1).await;
    let address: actix::Addr<Connection<Sum>> = pool.find(pool.list()[0].id).unwrap();
    let recipient: actix::Recipient<User<Tell>> = address.recipient();
    recipient.do_send(User(Tell::Add(2)));
    recipient.do_send(User(Tell::Add(3)));
    peer.expect(b"2\n5\n").await;
    recipient.do_send(User(Tell::End));
    assert_eq!(peer.read_to_end().await, b"");
    assert_eq!(in_time(closings.recv()).await, Some((5, CloseReason::Local)));
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn with_close_gets_the_state_once_however_it_ended() {
    let (pool, mut closings) = sums().await;
    async fn connected(pool: &Pool<Connection<Sum>>, number: u64) -> Peer {
        let mut peer = connect(pool).await;
        // It may be counted a moment before it has its address.
        eventually(|| pool.addresses().len() == 1).await;
        pool.addresses()[0].1.do_send(User(Tell::Add(number)));
        peer.expect(format!("{number}\n").as_bytes()).await;
        peer
    }
    drop(connected(&pool, 1).await);
    assert_eq!(in_time(closings.recv()).await, Some((1, CloseReason::Peer)));
    eventually(|| pool.connections() == 0).await;
    let mut peer = connected(&pool, 2).await;
    peer.send("panic\n").await;
    assert_eq!(in_time(closings.recv()).await, Some((2, CloseReason::Panic)));
    eventually(|| pool.connections() == 0).await;
    let _peer = connected(&pool, 3).await;
    pool.kill(pool.list()[0].id);
    assert_eq!(in_time(closings.recv()).await, Some((3, CloseReason::Killed)));
    eventually(|| pool.connections() == 0).await;
    let _peer = connected(&pool, 4).await;
    in_time(pool.stop(Duration::from_secs(60))).await;
    assert_eq!(in_time(closings.recv()).await, Some((4, CloseReason::Shutdown)));
    drop(pool);
    assert_eq!(in_time(closings.recv()).await, None, "each once");
}

#[actix::test]
async fn on_init_may_stop_fail_or_panic_before_any_event() {
    let (closing, mut closings) = unbounded_channel();
    let pool = AcceptorPool::with_events(
        |conn| match conn.id().get() {
            1 => Init::new("stopped").stop(),
            2 => Init::new("failed").fail("no more"),
            3 => panic!("as asked"),
            _ => Init::new("begun"),
        },
        |state, event, _| match event {
            Event::Ack => Next::Send(line(*state)),
            event => event.default_next(),
        },
    )
    .with_close(move |state, why| closing.send((state, why.reason(), why.to_string())).unwrap())
    .acceptors(1)
    .bind("127.0.0.1:0")
    .await
    .unwrap();
    for _ in 0..3 {
        assert_eq!(connect(&pool).await.until_gone().await, b"");
    }
    connect(&pool).await.expect(b"begun").await;
    let (state, reason, _) = in_time(closings.recv()).await.unwrap();
    assert_eq!((state, reason), ("stopped", CloseReason::Local));
    let (state, reason, text) = in_time(closings.recv()).await.unwrap();
    assert_eq!((state, reason, &*text), ("failed", CloseReason::Error, "no more"));
    let (state, _, _) = in_time(closings.recv()).await.unwrap();
    assert_eq!(state, "begun", "there is no state after a panic in on_init");
    assert_eq!(pool.info().closed.get(CloseReason::Panic), 1);
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn what_on_init_sends_is_on_the_wire_before_a_stop() {
    let pool = AcceptorPool::with_events(
        |conn| {
            conn.send(line("full, sorry")).unwrap();
            Init::new(()).stop()
        },
        |_, event, _| event.default_next(),
    )
    .bind("127.0.0.1:0")
    .await
    .unwrap();
    assert_eq!(connect(&pool).await.read_to_end().await, b"full, sorry");
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn another_codec_speaks_its_own_packets_and_replies() {
    let pool = AcceptorPool::with_events(
        |_| Init::new(()).with_codec::<LinesCodec, String>(),
        |_, event, _| match event {
            Event::Packet(line) => Next::Send(line.to_uppercase()),
            event => event.default_next(),
        },
    )
    .bind("127.0.0.1:0")
    .await
    .unwrap();
    let mut peer = connect(&pool).await;
    peer.send("hello\n").await;
    peer.expect(b"HELLO\n").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn default_next_stops_on_timeout_and_shutdown() {
    let idle = Duration::from_millis(50);
    let ignoring = AcceptorPool::with_events(
        |_| Init::new(()),
        |_, event, _| match event {
            Event::Timeout(_) => Next::Send(line("z")),
            _ => Next::Continue,
        },
    );
    let pool = ignoring.idle_timeout(idle).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.expect(b"zzz").await;
    let report = in_time(pool.stop(Duration::from_millis(100))).await;
    assert_eq!((report.asked, report.finished, report.forced), (1, 0, 1));
    let heeding = AcceptorPool::with_events(|_| Init::new(()), |_, event, _| event.default_next());
    let pool = heeding.idle_timeout(idle).bind("127.0.0.1:0").await.unwrap();
    assert_eq!(connect(&pool).await.read_to_end().await, b"");
    eventually(|| pool.info().closed.get(CloseReason::Idle) == 1).await;
    let mut peer = connect(&pool).await;
    eventually(|| pool.info().accepted == 2).await;
    let report = in_time(pool.stop(Duration::from_secs(60))).await;
    assert_eq!(report.forced, 0);
    assert_eq!(peer.until_gone().await, b"");
}

#[actix::test]
async fn on_close_sees_a_kill_and_shutdown_its_deadline() {
    let (sender, mut seen) = unbounded_channel();
    let shutdowns = sender.clone();
    let pool = AcceptorPool::with_events(
        |_| Init::new(()),
        move |_, event, _| {
            if let Event::Shutdown(deadline) = &event {
                shutdowns.send(format!("deadline: {}", deadline.is_some())).unwrap();
                return Next::Continue;
            }
            if let Event::Packet(packet) = event {
                Next::Send(packet)
            } else {
                event.default_next()
            }
        },
    )
    .with_close(move |(), why| sender.send(why.reason().to_string()).unwrap())
    .framing(Framing::lines())
    .bind("127.0.0.1:0")
    .await
    .unwrap();
    let (mut killed, mut forced) = (connect(&pool).await, connect(&pool).await);
    killed.echo("hello\n").await;
    assert!(pool.kill(pool.list()[0].id));
    assert_eq!(in_time(seen.recv()).await.unwrap(), "killed");
    killed.until_gone().await;
    forced.echo("hello\n").await;
    in_time(pool.stop(Duration::from_millis(50))).await;
    assert_eq!(in_time(seen.recv()).await.unwrap(), "deadline: true");
    assert_eq!(in_time(seen.recv()).await.unwrap(), "killed");
}
