//! The packets of a socket that the library does not drive: framing, read-ahead and the packet timeout.

use std::collections::VecDeque;
use std::future::{pending, poll_fn, Future};
use std::pin::Pin;
use std::task::{ready, Poll};
use std::time::Duration;

use actix_acceptor::{
    framing::FramingError, telemetry::CloseReason, tls::Tls, transport::HandshakeError, BoxError, Closed, Framing,
    Socket,
};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::time::{sleep, Sleep};
use tokio_util::codec::Framed;

/// Highest number of packets read ahead during a wait.
const AHEAD: usize = 64;

pub struct Packets {
    /// `None` during an upgrade and after a failed one.
    framed: Option<Framed<Socket, Framing>>,
    /// Replaces the codec after a packet timeout.
    framing: Framing,
    ahead: VecDeque<Bytes>,
    /// The peer has shut down its sending side.
    eof: bool,
    /// [`Received::End`] has been returned.
    ended: bool,
    limit: Option<Duration>,
    /// The packet timeout. Runs while a packet is incomplete.
    unfinished: Option<Pin<Box<Sleep>>>,
}

/// The result of a read.
pub enum Received {
    Packet(Bytes),
    /// The bytes of a packet that was incomplete at its timeout, prefix included.
    Unfinished(Bytes),
    /// The peer has shut down its sending side.
    End,
}

impl Packets {
    pub fn new(socket: Socket, framing: Framing, limit: Option<Duration>) -> Self {
        let framed = Some(socket.framed(framing.clone()));
        Packets { framed, framing, ahead: VecDeque::new(), eof: false, ended: false, limit, unfinished: None }
    }

    fn framed(&mut self) -> &mut Framed<Socket, Framing> {
        self.framed.as_mut().expect("not used after a failed upgrade")
    }

    pub fn socket(&self) -> &Socket {
        self.framed.as_ref().expect("not used after a failed upgrade").get_ref()
    }

    /// Sets the close reason. After a failed upgrade the library has set it.
    pub fn set_close_reason(&self, reason: CloseReason) {
        if let Some(framed) = &self.framed {
            framed.get_ref().set_close_reason(reason);
        }
    }

    /// Upgrades the connection to TLS. Plaintext after the request is refused.
    pub async fn upgrade(&mut self, tls: Tls) -> Result<(), BoxError> {
        let plaintext = self.framed().read_buffer().len() + self.ahead.iter().map(Bytes::len).sum::<usize>();
        if plaintext > 0 {
            return Err(Closed::Handshake(HandshakeError::PlaintextAfterStartTls(plaintext)).into());
        }
        if let Some(framed) = self.framed.take() {
            self.framed = Some(framed.into_inner().upgrade(tls).await?.framed(self.framing.clone()));
        }
        Ok(())
    }

    /// Whether [`Received::End`] has been returned.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Cancel safe.
    pub async fn next(&mut self) -> Result<Received, FramingError> {
        let received = match self.ahead.pop_front() {
            Some(packet) => Received::Packet(packet),
            None if self.eof => Received::End,
            None => self.read().await?,
        };
        self.ended = matches!(received, Received::End);
        Ok(received)
    }

    async fn read(&mut self) -> Result<Received, FramingError> {
        poll_fn(|cx| match self.framed().poll_next_unpin(cx)? {
            Poll::Ready(Some(packet)) => {
                self.unfinished = None;
                Poll::Ready(Ok(Received::Packet(packet)))
            }
            Poll::Ready(None) => {
                self.eof = true;
                Poll::Ready(Ok(Received::End))
            }
            Poll::Pending => {
                let Some(limit) = self.limit.filter(|_| !self.framed().read_buffer().is_empty()) else {
                    return Poll::Pending;
                };
                ready!(self.unfinished.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(cx));
                self.unfinished = None;
                *self.framed().codec_mut() = self.framing.clone();
                Poll::Ready(Ok(Received::Unfinished(self.framed().read_buffer_mut().split().freeze())))
            }
        })
        .await
    }

    /// Resolves when a wait must end, with the reason: the peer has shut down its sending side, and the idle timeout has
    /// passed since. Reads ahead to detect that.
    pub async fn peer_gone(&mut self, idle: Option<Duration>) -> BoxError {
        while !self.eof && self.ahead.len() < AHEAD {
            // The packet timeout does not run during a wait.
            match self.framed().next().await {
                Some(Ok(packet)) => self.ahead.push_back(packet),
                Some(Err(error)) => return error.into(),
                None => self.eof = true,
            }
        }
        match idle.filter(|_| self.eof) {
            Some(idle) => sleep(idle).await,
            None => pending().await,
        }
        Closed::Idle.into()
    }

    /// Sends a last packet, if there is one, and the rest, then shuts down the sending side. Does nothing during an upgrade.
    pub async fn send_last(&mut self, last: Option<Bytes>) -> Result<(), FramingError> {
        let Some(framed) = &mut self.framed else { return Ok(()) };
        if let Some(last) = last {
            framed.send(last).await?;
        }
        SinkExt::<Bytes>::close(framed).await
    }

    pub async fn send(&mut self, packet: Bytes) -> Result<(), FramingError> {
        self.framed().send(packet).await
    }

    pub async fn feed(&mut self, packet: Bytes) -> Result<(), FramingError> {
        self.framed().feed(packet).await
    }

    pub async fn flush(&mut self) -> Result<(), FramingError> {
        SinkExt::<Bytes>::flush(self.framed()).await
    }

    /// Sends the rest and shuts down the sending side.
    pub async fn close(&mut self) -> Result<(), FramingError> {
        SinkExt::<Bytes>::close(self.framed()).await
    }
}
