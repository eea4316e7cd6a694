//! The numbers that `closed` gets: those that the observers and the log report.

use std::time::Duration;

use actix_acceptor::{
    telemetry::CloseReason, AcceptorPool, Closed, Conn, ConnectionInfo, Event, Framing, Init, Listener, Next, Protocol,
};
use bytes::Bytes;
use tokio::sync::mpsc::{unbounded_channel, UnboundedSender};

use support::*;

type Sender = UnboundedSender<(CloseReason, ConnectionInfo)>;

/// Echoes lines, and ends as one says. Keeps nothing about its connection.
struct Ends(Sender);

fn answer<P: Protocol<Reply = Bytes>>(packet: Bytes) -> Next<P> {
    match &packet[..] {
        b"stop" => Next::SendAndStop("bye".into()),
        b"panic" => panic!("as asked"),
        _ => Next::Send(packet),
    }
}

impl Protocol for Ends {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        answer(packet)
    }

    fn closed(&mut self, why: &Closed, info: &ConnectionInfo) {
        self.0.send((why.reason(), info.clone())).unwrap();
    }
}

#[actix::test]
async fn closed_gets_the_final_numbers_of_its_connection() {
    let (sender, mut closings) = unbounded_channel();
    let events = AcceptorPool::with_events(
        |_| Init::new(()),
        |(), event, _| match event {
            Event::Packet(packet) => answer(packet),
            event => event.default_next(),
        },
    );
    let sender_of_events = sender.clone();
    let events = events.with_close_info(move |(), why, info| {
        sender_of_events.send((why.reason(), info.clone())).unwrap();
    });
    let listener = || Listener::tcp("127.0.0.1:0").name("lines");
    let recorders = [EventRecorder::new(), EventRecorder::new()];
    let framing = Framing::lines();
    let pools = [
        AcceptorPool::with_protocol(move |_| Ends(sender.clone()))
            .framing(framing.clone())
            .observer(recorders[0].clone())
            .listener(listener())
            .start()
            .await
            .unwrap()
            .untyped(),
        events.framing(framing).observer(recorders[1].clone()).listener(listener()).start().await.unwrap().untyped(),
    ];
    for (pool, recorder) in pools.iter().zip(&recorders) {
        let ways: [(CloseReason, &str, u64, u64); 4] = [
            (CloseReason::Peer, "", 0, 0),
            (CloseReason::Killed, "", 0, 0),
            (CloseReason::Local, "stop\n", 1, 4),
            // The packet that panicked was delivered.
            (CloseReason::Panic, "panic\n", 1, 0),
        ];
        for (number, (expected, packet, packets, bytes_out)) in ways.into_iter().enumerate() {
            let mut peer = connect(pool).await;
            let address = peer.address();
            peer.echo("hello\n").await;
            peer.send(packet).await;
            match expected {
                CloseReason::Peer => peer.finish().await,
                CloseReason::Killed => assert!(pool.kill(pool.list()[0].id)),
                _ => {}
            }
            let (reason, info) = in_time(closings.recv()).await.unwrap();
            assert_eq!((reason, info.id.get()), (expected, number as u64 + 1));
            assert_eq!((info.peer.socket(), &*info.listener), (Some(address), "lines"));
            assert_eq!(
                (info.packets, info.bytes_in, info.bytes_out),
                (1 + packets, 6 + packet.len() as u64, 6 + bytes_out)
            );
            eventually(|| pool.connections() == 0).await;
            eventually(|| recorder.ends().len() == number + 1).await;
            let (key, end) = recorder.ends().pop().unwrap();
            assert_eq!((key.id, end.reason), (info.id.get(), reason));
            assert_eq!((end.packets, end.bytes_in, end.bytes_out), (info.packets, info.bytes_in, info.bytes_out));
            assert!(info.idle <= info.age && info.age <= end.duration, "{info:?} {end:?}");
        }
        in_time(pool.stop(Duration::ZERO)).await;
    }
}
