//! A protocol, a codec, a transport and a handshake step whose every method is a place of mischief.

use std::io;
use std::pin::Pin;
use std::task::{ready, Context, Poll};
use std::time::Duration;

use actix::prelude::*;
use actix_acceptor::transport::{Accept, Accepted, Address, Handshake, HandshakeError, Handshaken};
use actix_acceptor::transport::{LocalBoxFuture, Memory, Stream, Transport};
use actix_acceptor::{
    Active, BoxError, Closed, Conn, Connection, ConnectionContext, ConnectionInfo, Next, Protocol, Timeout,
};
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_util::codec::{Decoder, Encoder};

use super::mischief::{Mischief, OnDrop, WildError};

pub(super) struct Wild {
    mischief: Mischief,
    _on_drop: OnDrop,
}

impl Wild {
    pub(super) fn new(mischief: &Mischief) -> Self {
        mischief.at("factory");
        Wild { mischief: mischief.clone(), _on_drop: OnDrop(mischief.clone(), "protocol drop") }
    }
}

impl Protocol for Wild {
    type Codec = WildCodec;
    type Reply = Bytes;
    type User = Message;

    fn init(&mut self, _: &mut Conn<Self>) -> Next<Self> {
        self.mischief.at("init");
        Next::Continue
    }

    fn ack(&mut self, _: &mut Conn<Self>) -> Next<Self> {
        self.mischief.at("ack");
        Next::Continue
    }

    fn packet(&mut self, line: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        self.mischief.at("packet");
        let mischief = self.mischief.clone();
        match &line[..] {
            b"wait" => {
                let future = async move { mischief.at("wait") };
                conn.wait(future, |(), me, _| {
                    me.mischief.at("wait continuation");
                    Next::Send("waited".into())
                })
            }
            b"wait forever" => {
                let on_drop = OnDrop(mischief, "wait drop");
                let future = async move {
                    let _on_drop = on_drop;
                    std::future::pending::<()>().await;
                };
                conn.wait(future, |(), _, _| Next::Continue)
            }
            b"blocking" => conn.blocking(
                move || mischief.at("blocking"),
                |(), me, _| {
                    me.mischief.at("blocking continuation");
                    Next::Send("blocked".into())
                },
            ),
            b"stream" => {
                conn.add_stream(WildStream(Some(mischief.clone()), OnDrop(mischief, "stream drop")));
                Next::Continue
            }
            b"timer" => {
                conn.every(Duration::from_millis(1), Message(mischief, TIMER_CLONE));
                Next::Continue
            }
            b"passive" => {
                conn.set_active(Active::Count(0));
                Next::Continue
            }
            b"upgrade" => Next::upgrade(WildStep(mischief.clone(), OnDrop(mischief, "upgrade drop"))),
            b"idle" => {
                conn.set_idle_timeout(Duration::from_millis(20));
                Next::Continue
            }
            b"half a packet" => {
                conn.set_packet_timeout(Duration::from_millis(20));
                Next::Continue
            }
            b"fail" => Next::fail(WildError(mischief, "error display")),
            _ => Next::Send(line),
        }
    }

    fn decode_error(&mut self, _: &BoxError, _: &mut Conn<Self>) -> Next<Self> {
        self.mischief.at("decode_error");
        Next::Stop
    }

    fn user(&mut self, _: Message, _: &mut Conn<Self>) -> Next<Self> {
        self.mischief.at("user");
        Next::Send("user".into())
    }

    fn timeout(&mut self, _: Timeout, _: &mut Conn<Self>) -> Next<Self> {
        self.mischief.at("timeout");
        Next::Stop
    }

    fn half_closed(&mut self, _: &mut Conn<Self>) -> Next<Self> {
        self.mischief.at("half_closed");
        Next::Stop
    }

    fn passive(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        self.mischief.at("passive");
        conn.set_active(Active::Always);
        Next::Send("active".into())
    }

    fn shutdown(&mut self, _: Option<Instant>, _: &mut Conn<Self>) -> Next<Self> {
        self.mischief.at("shutdown");
        Next::Stop
    }

    fn closed(&mut self, _: &Closed, _: &ConnectionInfo) {
        self.mischief.at("closed");
    }
}

/// A message to all connections.
pub(super) struct Message(Mischief, &'static str);

impl Message {
    pub(super) fn new(mischief: &Mischief) -> Self {
        Message(mischief.clone(), "message clone")
    }
}

impl Clone for Message {
    fn clone(&self) -> Self {
        self.0.at(self.1);
        Message(self.0.clone(), self.1)
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        if self.1 == TIMER_CLONE {
            self.0.at("timer drop");
        }
    }
}

const TIMER_CLONE: &str = "timer clone";

/// A message with a handler of its own, which spawns a future.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(super) struct Own(pub(super) Mischief);

impl Handler<Own> for Connection<Wild> {
    type Result = ();

    fn handle(&mut self, own: Own, ctx: &mut ConnectionContext<Wild>) {
        own.0.at("handler");
        let future = async move {
            // Made here, so that it is dropped while the future is polled, not with the connection.
            let on_drop = OnDrop(own.0.clone(), "spawned future drop");
            own.0.at("spawned future");
            drop(on_drop);
        };
        ctx.spawn(future.into_actor(self));
    }
}

struct WildStream(Option<Mischief>, #[allow(dead_code)] OnDrop);

impl futures::Stream for WildStream {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Message>> {
        Poll::Ready(self.0.take().map(|mischief| {
            mischief.at("stream");
            Message::new(&mischief)
        }))
    }
}

/// Lines.
pub(super) struct WildCodec(pub(super) Mischief, #[allow(dead_code)] pub(super) OnDrop);

impl WildCodec {
    pub(super) fn new(mischief: &Mischief) -> Self {
        mischief.at("codec factory");
        WildCodec(mischief.clone(), OnDrop(mischief.clone(), "codec drop"))
    }
}

impl Decoder for WildCodec {
    type Item = Bytes;
    type Error = BoxError;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Bytes>, BoxError> {
        self.0.at("decode");
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let line = bytes.split_to(end).freeze();
        bytes.advance(1);
        if line == "garbage" {
            return Err(Box::new(WildError(self.0.clone(), "decode error display")));
        }
        Ok(Some(line))
    }

    fn decode_eof(&mut self, bytes: &mut BytesMut) -> Result<Option<Bytes>, BoxError> {
        self.0.at("decode_eof");
        self.decode(bytes)
    }
}

impl Encoder<Bytes> for WildCodec {
    type Error = BoxError;

    fn encode(&mut self, line: Bytes, bytes: &mut BytesMut) -> Result<(), BoxError> {
        self.0.at("encode");
        bytes.extend_from_slice(&line);
        bytes.extend_from_slice(b"\n");
        Ok(())
    }
}

/// A transport in memory.
pub(super) struct WildTransport(pub(super) Mischief, pub(super) Memory, #[allow(dead_code)] pub(super) OnDrop);

impl WildTransport {
    pub(super) fn new(mischief: &Mischief, memory: Memory) -> Self {
        WildTransport(mischief.clone(), memory, OnDrop(mischief.clone(), "transport drop"))
    }
}

impl Transport for WildTransport {
    fn local_addr(&self) -> Address {
        self.0.at("local_addr");
        self.1.local_addr()
    }

    fn share(&self) -> io::Result<Box<dyn Accept>> {
        self.0.at("share");
        Ok(Box::new(WildAccept(self.0.clone(), self.1.share()?, OnDrop(self.0.clone(), "accept drop"))))
    }

    fn handshake(&self) -> Vec<std::sync::Arc<dyn Handshake>> {
        self.0.at("transport handshake");
        Vec::new()
    }

    fn suspend(&self) -> io::Result<()> {
        self.0.at("suspend");
        self.1.suspend()
    }

    fn resume(&self) -> io::Result<()> {
        self.0.at("resume");
        self.1.resume()
    }
}

struct WildAccept(Mischief, Box<dyn Accept>, #[allow(dead_code)] OnDrop);

impl Accept for WildAccept {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.1.poll_ready(cx))?;
        self.0.at("poll_ready");
        Poll::Ready(Ok(()))
    }

    fn try_accept(&mut self) -> io::Result<Accepted> {
        let Accepted { stream, peer } = self.1.try_accept()?;
        self.0.at("try_accept");
        let io = WildIo(self.0.clone(), stream, OnDrop(self.0.clone(), "io drop"));
        Ok(Accepted { stream: Stream::other(io), peer })
    }
}

struct WildIo(Mischief, Stream, #[allow(dead_code)] OnDrop);

impl AsyncRead for WildIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.at("poll_read");
        Pin::new(&mut self.1).poll_read(cx, buffer)
    }
}

impl AsyncWrite for WildIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.at("poll_write");
        Pin::new(&mut self.1).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.at("poll_flush");
        Pin::new(&mut self.1).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.at("poll_shutdown");
        Pin::new(&mut self.1).poll_shutdown(cx)
    }
}

/// A handshake step without bytes.
pub(super) struct WildStep(pub(super) Mischief, #[allow(dead_code)] pub(super) OnDrop);

impl Handshake for WildStep {
    fn handshake(&self, stream: Stream, _: &Address) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>> {
        self.0.at("handshake");
        let mischief = self.0.clone();
        Box::pin(async move {
            mischief.at("handshake future");
            Ok(Handshaken::new(stream))
        })
    }

    fn allows(&self, _: &Address) -> bool {
        self.0.at("allows");
        true
    }

    fn may_override_peer(&self, _: &Address) -> bool {
        self.0.at("may_override_peer");
        false
    }

    fn info(&self) -> actix_acceptor::transport::HandshakeInfo {
        self.0.at("handshake info");
        Default::default()
    }
}
