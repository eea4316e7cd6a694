//! `Next::stop_because`: a reason of the program's own for the end of a connection.

use actix_acceptor::{
    telemetry::CloseReason, AcceptorPool, BoxError, Closed, Conn, ConnectionInfo, Drain, Framing, Next, Protocol,
    Timeout,
};
use bytes::Bytes;
use support::*;
use tokio::sync::mpsc::{unbounded_channel, UnboundedSender};

/// Stops with the name of a callback, whichever is called first after a line.
struct Reasons(UnboundedSender<Closed>);

impl Protocol for Reasons {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        match &packet[..] {
            b"packet" => {
                conn.push("bye");
                Next::stop_because("packet")
            }
            b"formatted" => Next::stop_because(format!("{} unsent", conn.unsent())),
            b"wait" => conn.wait(std::future::ready(()), |(), _, _| Next::stop_because("wait")),
            b"user" => {
                conn.after(ms(0), ());
                Next::Continue
            }
            _ => Next::Send(packet),
        }
    }

    fn user(&mut self, (): (), _: &mut Conn<Self>) -> Next<Self> {
        Next::stop_because("user")
    }

    fn timeout(&mut self, _: Timeout, _: &mut Conn<Self>) -> Next<Self> {
        Next::stop_because("timeout")
    }

    fn half_closed(&mut self, _: &mut Conn<Self>) -> Next<Self> {
        Next::stop_because("half closed")
    }

    fn decode_error(&mut self, _: &BoxError, _: &mut Conn<Self>) -> Next<Self> {
        Next::stop_because("decode error")
    }

    fn shutdown(&mut self, _: Option<tokio::time::Instant>, _: &mut Conn<Self>) -> Next<Self> {
        Next::stop_because("shutdown")
    }

    fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
        if let Closed::Local(reason) = why {
            let _ = self.0.send(Closed::Local(reason.clone()));
        }
    }
}

#[actix::test]
async fn every_callback_can_stop_with_a_reason() {
    logs::listen();
    let causes = ["packet", "0 unsent", "wait", "user", "timeout", "half closed", "decode error", "shutdown"];
    for cause in causes {
        let (sender, mut reasons) = unbounded_channel();
        let builder = AcceptorPool::with_protocol(move |_| Reasons(sender.clone())).name(format!("stops: {cause}"));
        let builder = builder.framing(Framing::lines().with_max_frame(20)).half_close(true);
        let builder = if cause == "timeout" { builder.idle_timeout(ms(50)) } else { builder };
        let pool = builder.bind("127.0.0.1:0").await.unwrap();
        let mut peer = connect(&pool).await;
        peer.echo("hello\n").await;
        let (mut expected, mut drain) = (&b""[..], None);
        match cause {
            "packet" => expected = b"bye\n",
            "half closed" => peer.finish().await,
            "decode error" => peer.send("a line of more than 20 bytes\n").await,
            "shutdown" => {
                let pool = pool.clone();
                drain = Some(actix_rt::spawn(async move { pool.drain(Drain::grace(ms(5_000))).await }));
            }
            _ => {}
        }
        match cause {
            "0 unsent" => peer.send("formatted\n").await,
            "packet" | "wait" | "user" => peer.send(format!("{cause}\n")).await,
            _ => {}
        }
        let Closed::Local(reason) = in_time(reasons.recv()).await.unwrap() else { panic!("{cause}") };
        assert_eq!(reason.as_deref(), Some(cause));
        assert_eq!(peer.until_gone().await, expected, "{cause}");
        eventually(|| pool.connections() == 0).await;
        // Also during a drain.
        assert_eq!((pool.info().closed.get(CloseReason::Local), pool.info().closed.total()), (1, 1), "{cause}");
        if let Some(drain) = drain {
            assert_eq!(in_time(drain).await.unwrap().finished, 1);
        }
        let lines = logs::lines(|line| line.is("listener", &format!("stops: {cause}")) && line.is("reason", "local"));
        assert!(lines.len() == 1 && lines[0].is("detail", cause), "{cause}: {lines:?}");
        in_time(pool.stop(None)).await;
    }
}
