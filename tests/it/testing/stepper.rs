//! Steppers: what a step shows is what the pool does.

use std::future::Future;
use std::time::Duration;

use actix::prelude::*;
use actix_acceptor::testing::{Callback, Harness, NextKind, Stepper};
use actix_acceptor::{
    handlers::ProtocolService, limits::OverRate, telemetry::CloseReason, Active, Builder, Connection,
    ConnectionContext, Framing, Next, Wait,
};
use bytes::Bytes;
use support::*;
use tokio::sync::oneshot;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// A connection of a probe that has called `init` and `ack`.
async fn stepper(builder: Builder<ProtocolService<Probe>>) -> (Harness<Connection<Probe>>, Stepper<Probe>) {
    let harness = Harness::start(builder.framing(Framing::lines())).await;
    let mut stepper = harness.stepper().await;
    stepper.run().await;
    (harness, stepper)
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[actix::test]
async fn a_step_shows_calls_answers_and_what_was_sent() {
    let (builder, mut callbacks) = Probe::pool(|call, conn| match call {
        Call::Ack => Next::send_all(["welcome", "to the test"]),
        Call::Packet(packet) if packet == "all" => {
            conn.push("pushed");
            Next::Send(packet.clone())
        }
        Call::Packet(packet) if packet == "file" => Next::stop_because("enough"),
        call => protocol_default(call),
    });
    let harness = Harness::start(builder.framing(Framing::lines())).await;
    let mut stepper = harness.stepper_from("10.0.0.7:1").await;
    assert_eq!(callbacks.so_far(), [], "nothing runs before the first step");
    assert_eq!(harness.pool().connections(), 1);
    let step = stepper.run().await;
    assert_eq!(step.calls, [(Callback::Init, NextKind::Continue), (Callback::Ack, NextKind::SendAll(2))]);
    assert_eq!(step.replies(Framing::lines()), ["welcome", "to the test"]);
    let step = stepper.packet("all").await;
    assert_eq!((step.nexts(), &*step.sent), (vec![NextKind::Send], &b"pushed\nall\n"[..]));
    assert_eq!(stepper.run().await.calls, []);
    assert_eq!((stepper.conn().peer().to_string(), stepper.conn().info().packets), ("10.0.0.7:1".to_owned(), 1));
    let step = stepper.packet("file").await;
    assert_eq!(step.nexts(), [NextKind::StopBecause("enough".to_owned())]);
    assert_eq!(step.close_reason(), Some(CloseReason::Local));
    assert!(stepper.is_closed());
    harness.end().await;
}

#[actix::test]
async fn packets_are_held_back_as_by_the_pool() {
    let (builder, _callbacks) = Probe::pool(|call, conn| match call {
        Call::Packet(packet) if packet == "wait" => {
            conn.wait(tokio::time::sleep(MINUTE), |(), _, _| Next::send("waited"))
        }
        Call::Packet(packet) if packet == "messages" => {
            let options = Wait::new().with_messages();
            conn.wait_with(options, tokio::time::sleep(MINUTE), |_, _, _| Next::send("waited"))
        }
        Call::Packet(packet) | Call::User(packet) => Next::Send(packet.clone()),
        Call::Passive => Next::send("passive"),
        call => protocol_default(call),
    });
    let (harness, mut stepper) = stepper(builder).await;
    assert_eq!(stepper.packet("wait").await.nexts(), [NextKind::Wait]);
    assert!(stepper.is_waiting());
    assert_eq!(stepper.packet("held").await.calls, []);
    assert_eq!(stepper.user(bytes("message")).await.calls, []);
    assert_eq!(stepper.advance(MINUTE - ms(1)).await.calls, []);
    let step = stepper.wait_ends().await;
    let callbacks: Vec<_> = step.calls.iter().map(|(callback, _)| *callback).collect();
    assert_eq!(callbacks, [Callback::Packet, Callback::User, Callback::Packet]);
    assert_eq!(step.sent, "waited\nmessage\nheld\n");

    stepper.packet("messages").await;
    assert_eq!(stepper.packet("held").await.calls, []);
    assert_eq!(stepper.user(bytes("message")).await.sent, "message\n");
    assert_eq!(stepper.wait_ends().await.sent, "waited\nheld\n");

    let id = stepper.conn().id();
    let address = harness.pool().find(id).unwrap();
    address.do_send(actix_acceptor::messages::SetActive(Active::Count(1)));
    assert_eq!(stepper.run().await.calls, []);
    let step = stepper.packet("counted").await;
    assert_eq!(step.calls, [(Callback::Packet, NextKind::Send), (Callback::Passive, NextKind::Send)]);
    assert_eq!(stepper.packet("passive").await.calls, []);
    address.do_send(actix_acceptor::messages::SetActive(Active::Always));
    assert_eq!(stepper.run().await.sent, "passive\n");
}

#[actix::test]
async fn a_packet_rate_applies_to_handed_packets() {
    let (builder, _callbacks) = Probe::pool(|call, _| protocol_default(call));
    let (_harness, mut stepper) = stepper(builder.packet_rate(2, MINUTE, OverRate::Close)).await;
    assert_eq!(stepper.packet("1").await.close_reason(), None);
    assert_eq!(stepper.packet("2").await.close_reason(), None);
    let step = stepper.packet("3").await;
    assert_eq!((step.calls, step.closed.unwrap().0), (vec![], CloseReason::PacketRate));
}

#[actix::test]
async fn the_bytes_of_the_peer_pass_the_codec() {
    let (builder, _callbacks) = Probe::pool(|call, _| match call {
        Call::Packet(packet) => Next::Send(packet.clone()),
        Call::DecodeError(_) => Next::send_and_stop("too long"),
        call => protocol_default(call),
    });
    let (_harness, mut stepper) = stepper(builder.max_frame(8).packet_timeout(MINUTE)).await;
    assert_eq!(stepper.bytes("a\nb\nhal").await.sent, "a\nb\n");
    assert_eq!(stepper.bytes("f\n").await.sent, "half\n");
    assert_eq!(stepper.packet("handed").await.sent, "handed\n");
    let step = stepper.bytes("much too long\n").await;
    assert_eq!(step.calls, [(Callback::DecodeError, NextKind::SendAndStop)]);
    assert_eq!((step.close_reason(), &*step.sent), (Some(CloseReason::TooLong), &b"too long\n"[..]));
}

#[actix::test]
async fn timers_and_timeouts_fire_when_time_passes() {
    let (builder, _callbacks) = Probe::pool(|call, conn| match call {
        Call::Ack => {
            conn.every(MINUTE, bytes("tick"));
            conn.after(MINUTE / 2, bytes("once"));
            Next::Continue
        }
        Call::User(message) => Next::Send(message.clone()),
        Call::Timeout(_) => Next::send("idle"),
        call => protocol_default(call),
    });
    let (_harness, mut stepper) = stepper(builder.idle_timeout(5 * MINUTE)).await;
    assert_eq!(stepper.timers(), [MINUTE / 2, MINUTE]);
    assert_eq!(stepper.advance(MINUTE / 2 - ms(1)).await.calls, []);
    assert_eq!(stepper.advance(ms(1)).await.sent, "once\n");
    assert_eq!(stepper.timers(), [MINUTE / 2]);
    assert_eq!(stepper.advance(3 * MINUTE).await.sent, "tick\ntick\ntick\n");
    let step = stepper.timeout().await;
    assert_eq!(step.calls.last(), Some(&(Callback::Timeout, NextKind::Send)));
    assert!(step.sent.ends_with(b"idle\n"));
}

#[actix::test]
async fn a_wait_ends_when_the_test_completes_it() {
    let (sender, receiver) = oneshot::channel::<Bytes>();
    let receiver = std::sync::Mutex::new(Some(receiver));
    let (builder, _callbacks) = Probe::pool(move |call, conn| match call {
        Call::Packet(_) => {
            let receiver = receiver.lock().unwrap().take().unwrap();
            conn.wait(receiver, |answer, _, _| answer.map_or_else(Next::fail, Next::Send))
        }
        call => protocol_default(call),
    });
    let (_harness, mut stepper) = stepper(builder).await;
    stepper.packet("question").await;
    sender.send(bytes("answer")).unwrap();
    assert!(stepper.is_waiting(), "it runs in steps only");
    assert_eq!(stepper.run().await.sent, "answer\n");
    assert!(!stepper.is_waiting());
}

#[actix::test]
async fn closures_on_other_threads_are_waited_for() {
    let (builder, _callbacks) = Probe::pool(|call, conn| match call {
        Call::Packet(packet) => {
            let packet = packet.clone();
            conn.blocking(move || packet, |packet, _, _| Next::Send(packet))
        }
        call => protocol_default(call),
    });
    let (_harness, mut stepper) = stepper(builder).await;
    assert_eq!(stepper.packet("work").await.nexts()[0], NextKind::Wait);
    if stepper.is_waiting() {
        assert_eq!(stepper.wait_ends().await.sent, "work\n");
    }
}

#[actix::test]
async fn topics_names_and_replies_of_others_are_seen() {
    let (builder, _callbacks) = Probe::pool(|call, conn| {
        if *call == Call::Ack {
            conn.join(&conn.pool().topic("news"));
            conn.join(&conn.pool().topic("games"));
            conn.register("ann").unwrap();
        }
        protocol_default(call)
    });
    let (harness, mut stepper) = stepper(builder).await;
    assert_eq!((stepper.topics(), stepper.names()), (vec!["games".into(), "news".into()], vec!["ann".into()]));
    harness.pool().topic("news").publish("hello");
    harness.pool().whereis("ann").unwrap().send("you").unwrap();
    let step = stepper.run().await;
    assert_eq!((step.calls, &*step.sent), (vec![], &b"hello\nyou\n"[..]));
    harness.pool().close(stepper.conn().id(), Some(bytes("bye")), MINUTE);
    let step = stepper.run().await;
    assert_eq!((step.close_reason(), &*step.sent), (Some(CloseReason::Local), &b"bye\n"[..]));
    assert_eq!((stepper.topics(), stepper.names()), (vec![], vec![]));
}

struct Ask;

impl Message for Ask {
    type Result = u32;
}

impl Handler<Ask> for Connection<Probe> {
    type Result = u32;

    fn handle(&mut self, _: Ask, _: &mut ConnectionContext<Probe>) -> u32 {
        self.with(|_, _| (7, Next::send("asked")))
    }
}

#[actix::test]
async fn handlers_of_messages_are_calls_as_well() {
    let (builder, _callbacks) = Probe::pool(|call, _| protocol_default(call));
    let (_harness, mut stepper) = stepper(builder).await;
    let answer = actix_rt::spawn(stepper.conn().address().send(Ask));
    let step = stepper.run().await;
    assert_eq!((step.calls, &*step.sent), (vec![(Callback::Other, NextKind::Send)], &b"asked\n"[..]));
    assert_eq!(answer.await.unwrap().unwrap(), 7);
}

#[actix::test]
async fn a_peer_finishes_or_resets() {
    let (builder, _callbacks) = Probe::pool(|call, _| protocol_default(call));
    let (harness, mut stepper) = stepper(builder).await;
    let step = stepper.finish().await;
    assert_eq!(step.calls, [(Callback::HalfClosed, NextKind::Continue)]);
    assert_eq!(step.close_reason(), Some(CloseReason::Peer));
    let mut stepper = harness.stepper().await;
    stepper.run().await;
    let (reason, why) = stepper.reset().await.closed.unwrap();
    assert_eq!(reason, CloseReason::Peer);
    assert!(why.contains("reset"), "{why}");
    harness.end().await;
}

#[actix::test]
async fn a_drain_calls_shutdown() {
    let (builder, _callbacks) = Probe::pool(|call, conn| match call {
        Call::Shutdown => conn.wait(tokio::time::sleep(MINUTE), |(), _, _| Next::Stop),
        call => protocol_default(call),
    });
    let (harness, mut stepper) = stepper(builder).await;
    assert_eq!(stepper.shutdown(2 * MINUTE).await.calls, [(Callback::Shutdown, NextKind::Wait)]);
    assert!(stepper.conn().is_draining());
    assert_eq!(stepper.wait_ends().await.close_reason(), Some(CloseReason::Shutdown));
    harness.end().await;
}

#[actix::test]
async fn a_panic_ends_the_connection_of_the_step() {
    let (builder, _callbacks) = Probe::pool(|call, _| match call {
        Call::Packet(_) => panic!("the test asked for it"),
        call => protocol_default(call),
    });
    let (_harness, mut stepper) = stepper(builder).await;
    let (reason, why) = stepper.packet("panic").await.closed.unwrap();
    assert_eq!(reason, CloseReason::Panic);
    assert!(why.contains("the test asked for it"), "{why}");
}

#[actix::test]
async fn a_stepper_takes_only_its_own_connection() {
    let harness = echo_harness().await;
    let mut other = harness.connect().await;
    let mut first = harness.stepper().await;
    let second = harness.stepper().await;
    other.say("runs by itself\n").await;
    other.expect("runs by itself\n").await;
    assert_eq!(first.packet("stepped").await.sent, "stepped\n");
    assert_eq!(harness.pool().connections(), 3);
    drop((first, second));
    assert_eq!(harness.pool().connections(), 1);
    assert_eq!(harness.pool().info().closed.get(CloseReason::Killed), 2);
    harness.end().await;
}

#[actix::test]
async fn steps_that_cannot_be_taken_say_why() {
    let harness = Harness::start(echoes().max_per_peer(1).idle_timeout(None)).await;
    let _first = harness.stepper_from("10.0.0.7").await;
    let message = failure(async move { harness.stepper_from("10.0.0.7").await }).await;
    assert_eq!(
        message,
        "the pool has not accepted the peer of the stepper: a limit, a rule or its suspension forbids it"
    );
    let ended = stepper_failure(async |mut stepper| {
        stepper.packet("quit").await;
        stepper.packet("more").await;
    });
    assert!(ended.await.starts_with("the connection has ended: "));
    let disabled = stepper_failure(async |mut stepper| stepper.timeout().await);
    assert_eq!(disabled.await, "expected a timeout, but there was none within 24 hours");
    let waits = stepper_failure(async |mut stepper| stepper.wait_ends().await);
    assert_eq!(waits.await, "expected the end of a wait, but the connection does not wait");
    let endless = stepper_failure(async |mut stepper| {
        stepper.packet("wait").await;
        stepper.wait_ends().await
    });
    assert_eq!(endless.await, "expected the end of the wait, but there was none within 24 hours");
    let full = stepper_failure(async |mut stepper| {
        stepper.packet("wait").await;
        loop {
            stepper.user(bytes("more")).await;
        }
    });
    assert_eq!(full.await, "could not send the message: send failed because receiver is full");
}

/// What the test of a stepper without an idle timeout fails with.
async fn stepper_failure<F: Future + 'static>(test: impl FnOnce(Stepper<Probe>) -> F + 'static) -> String {
    let (builder, _callbacks) = Probe::pool(|call, conn| match call {
        Call::Packet(packet) if packet == "quit" => Next::Stop,
        Call::Packet(packet) if packet == "wait" => conn.wait(std::future::pending(), |(), _, _| Next::Stop),
        Call::Packet(packet) => Next::Send(packet.clone()),
        call => protocol_default(call),
    });
    let (_harness, stepper) = stepper(builder.idle_timeout(None).mailbox_capacity(4)).await;
    failure(async move { test(stepper).await }).await
}

#[actix::test]
async fn replies_that_cannot_be_decoded_are_named() {
    let part =
        stepper_failure(async |mut stepper| stepper.packet("reply").await.replies(Framing::lines().with_max_frame(2)));
    assert!(part.await.starts_with("the codec could not decode \"reply\\n\": "));
    let part = stepper_failure(async |mut stepper| {
        stepper.packet("reply").await.replies(Halves);
    });
    assert_eq!(part.await, r#"a part of a reply was sent: "reply\n""#);
}

/// Never has a whole item.
struct Halves;

impl tokio_util::codec::Decoder for Halves {
    type Item = ();
    type Error = std::io::Error;

    fn decode(&mut self, _: &mut bytes::BytesMut) -> std::io::Result<Option<()>> {
        Ok(None)
    }

    fn decode_eof(&mut self, _: &mut bytes::BytesMut) -> std::io::Result<Option<()>> {
        Ok(None)
    }
}

#[actix::test]
async fn a_stepper_that_outlives_its_harness_is_named() {
    let harness = echo_harness().await;
    let stepper = harness.stepper().await;
    let message = failure(harness.end()).await;
    assert_eq!(message, "1 of the connections did not end within 5s: 1 (stepper/1, Handshaking)");
    drop(stepper);
}
