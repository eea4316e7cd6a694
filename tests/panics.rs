//! A panic in whatever the user wrote costs one connection.

#![allow(clippy::unwrap_used)]

mod support;

use std::future::{pending, poll_fn};
use std::io;
use std::sync::{Arc, Mutex};

use actix::prelude::*;
use actix_acceptor::{
    AcceptorPool, Active, Closed, Conn, Connection, ConnectionContext, Framing, Next, Protocol, Reason, Reply, User,
};
use bytes::{Bytes, BytesMut};
use support::*;
use tokio_util::codec::{Decoder, Encoder};

/// Where a [`Brittle`] panics: where the packet or message tells it to.
struct Brittle(Recorder);

/// Lines, with a codec that panics over some of them.
#[derive(Default)]
struct BrittleCodec(Lines);

struct Lines(Framing);

impl Default for Lines {
    fn default() -> Self {
        Lines(Framing::lines())
    }
}

impl Decoder for BrittleCodec {
    type Item = Bytes;
    type Error = io::Error;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, io::Error> {
        let line = self.0 .0.decode(src).map_err(io::Error::other)?;
        assert!(line.as_ref().is_none_or(|line| line != "decode"), "boom");
        Ok(line)
    }

    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, io::Error> {
        assert!(src != "decode_eof", "boom");
        self.0 .0.decode_eof(src).map_err(io::Error::other)
    }
}

impl Encoder<Bytes> for BrittleCodec {
    type Error = io::Error;

    fn encode(&mut self, line: Bytes, dst: &mut BytesMut) -> Result<(), io::Error> {
        dst.extend_from_slice(b"half of it");
        assert!(!line.starts_with(b"encode"), "boom");
        dst.clear();
        self.0 .0.encode(line, dst).map_err(io::Error::other)
    }
}

/// A value whose end is a panic.
struct DropsBadly;

impl Drop for DropsBadly {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("boom");
        }
    }
}

impl Protocol for Brittle {
    type Codec = BrittleCodec;
    type Reply = Bytes;
    type User = Bytes;

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        match &*packet {
            b"packet" => panic!("boom"),
            b"payload" => std::panic::panic_any(DropsBadly),
            b"encode, sent" => drop(conn.send(packet)),
            b"stream" => conn.add_stream(futures::stream::poll_fn(|_| panic!("boom"))),
            b"wait" => return conn.wait(poll_fn(|_| panic!("boom")), |(), _, _| Next::Continue),
            b"then" => return conn.wait(async {}, |(), _, _| panic!("boom")),
            b"wait's drop" => {
                let bad = DropsBadly;
                return conn.wait(
                    async move {
                        pending::<()>().await;
                        drop(bad)
                    },
                    |(), _, _| Next::Continue,
                );
            }
            _ => return Next::Send(packet),
        }
        Next::Continue
    }

    fn user(&mut self, message: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        panic!("{}", String::from_utf8_lossy(&message))
    }

    fn closed(&mut self, why: &Closed) {
        self.0.note(why);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Handled(&'static str);

impl Handler<Handled> for Connection<Brittle> {
    type Result = ();

    fn handle(&mut self, how: Handled, ctx: &mut ConnectionContext<Brittle>) {
        match how.0 {
            "with" => self.with(ctx, |_, _| panic!("boom")),
            "spawn" => drop(ctx.spawn(poll_fn(|_| panic!("boom")).into_actor(self))),
            "wait" => ctx.wait(poll_fn(|_| panic!("boom")).into_actor(self)),
            _ => panic!("boom"),
        }
    }
}

#[actix::test]
async fn a_panic_anywhere_costs_one_connection() {
    let (recorder, mut closings) = Recorder::new();
    let builder = AcceptorPool::protocol(move |_| Brittle(recorder.clone()));
    let pool = builder.acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let mut good = connect(&pool).await;
    good.echo("hello\n").await;
    let packets = ["packet", "decode", "encode", "encode, sent", "stream", "wait", "then"];
    let messages = ["user", "reply", "plain", "with", "spawn", "wait"];
    for (number, case) in packets.iter().chain(&messages).enumerate() {
        let mut bad = connect(&pool).await;
        bad.echo("hello\n").await;
        if number < packets.len() {
            bad.send(format!("{case}\n")).await;
        } else {
            let address = pool.addresses().pop().unwrap().1;
            match *case {
                "user" => address.do_send(User(Bytes::from_static(b"boom"))),
                "reply" => address.do_send(Reply(Bytes::from_static(b"encode"))),
                case => address.do_send(Handled(case)),
            }
        }
        assert_eq!(bad.until_gone().await, b"", "{case}");
        let (reason, why) = closings.next().await;
        assert_eq!((reason, &*why), (Reason::Panic, "a callback panicked: boom"), "{case}");
        good.echo("still here\n").await;
    }
    let mut bad = connect(&pool).await;
    bad.send("decode_eof").await;
    bad.finish().await;
    assert_eq!(bad.until_gone().await, b"");
    assert_eq!(closings.reason().await, Reason::Panic);
    let mut bad = connect(&pool).await;
    bad.send("payload\n").await;
    assert_eq!(bad.until_gone().await, b"");
    assert_eq!(closings.next().await, (Reason::Panic, "a callback panicked: not a text".into()));
    good.echo("still here\n").await;
    assert!(closings.is_empty());
    let info = pool.info();
    assert_eq!(info.closed.get(Reason::Panic), info.closed.total());
    assert_eq!(info.acceptors[0].restarts, 0, "an acceptor paid for it");
}

#[actix::test]
async fn a_future_that_panics_when_dropped_costs_its_own_connection_only() {
    let (recorder, mut closings) = Recorder::new();
    let builder = AcceptorPool::protocol(move |_| Brittle(recorder.clone()));
    let pool = builder.acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let mut good = connect(&pool).await;
    let mut bad = connect(&pool).await;
    bad.send("wait's drop\n").await;
    eventually(|| pool.info().bytes_in == 12).await;
    bad.finish().await;
    bad.until_gone().await;
    closings.next().await;
    good.echo("still here\n").await;
    eventually(|| pool.connections() == 1).await;
    assert!(closings.is_empty(), "closed came twice");
    assert_eq!(pool.info().acceptors[0].restarts, 0);
}

/// Whatever the ending was for.
#[actix::test]
async fn a_panic_in_closed_is_logged_and_harms_nobody() {
    struct Ungrateful;
    impl Protocol for Ungrateful {
        type Codec = Framing;
        type Reply = Bytes;
        type User = ();

        fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
            match &*packet {
                b"stop" => Next::Stop,
                b"fail" => Next::fail("no"),
                b"panic" => panic!("boom"),
                b"passive" => {
                    conn.set_active(Active::Passive);
                    Next::Continue
                }
                _ => Next::Send(packet),
            }
        }

        fn closed(&mut self, why: &Closed) {
            panic!("closed for {}", why.reason().name());
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let logging = tracing::subscriber::set_default(subscriber);
    let pool = AcceptorPool::protocol(|_| Ungrateful).on_current_arbiter().bind("127.0.0.1:0").await.unwrap();
    let mut good = connect(&pool).await;
    for (last, reason) in
        [("stop", "local"), ("fail", "error"), ("panic", "panic"), ("", "peer"), ("passive", "killed")]
    {
        let mut bad = connect(&pool).await;
        bad.echo("hello").await;
        bad.send(last).await;
        match reason {
            "peer" => bad.finish().await,
            "killed" => assert!(pool.kill(pool.list().pop().unwrap().id)),
            _ => {}
        }
        bad.until_gone().await;
        eventually(|| pool.connections() == 1).await;
        let text = log.take();
        assert!(
            text.contains("closed() panicked") && text.contains(&format!("closed for {reason}")),
            "{reason}: {text}"
        );
        good.echo("still here").await;
    }
    drop(logging);
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
