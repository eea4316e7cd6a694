//! The packets of a socket that the library does not drive: framing, a look ahead, and the packet timeout.

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

/// How many packets are read ahead during a wait.
const AHEAD: usize = 64;

pub struct Packets {
    /// Away during an upgrade, and gone when it has failed.
    framed: Option<Framed<Socket, Framing>>,
    /// For the next packet, when one was given up.
    framing: Framing,
    ahead: VecDeque<Bytes>,
    /// The peer has shut its side.
    eof: bool,
    /// That was told.
    ended: bool,
    limit: Option<Duration>,
    /// Runs while a packet has begun and not ended.
    unfinished: Option<Pin<Box<Sleep>>>,
}

/// What came from the peer.
pub enum Came {
    Packet(Bytes),
    /// A packet that was not finished in time: its bytes so far, prefix included.
    Unfinished(Bytes),
    /// The peer has shut its side.
    End,
}

impl Packets {
    pub fn new(socket: Socket, framing: Framing, limit: Option<Duration>) -> Self {
        let framed = Some(socket.framed(framing.clone()));
        Packets { framed, framing, ahead: VecDeque::new(), eof: false, ended: false, limit, unfinished: None }
    }

    fn framed(&mut self) -> &mut Framed<Socket, Framing> {
        self.framed.as_mut().expect("a failed upgrade is the end")
    }

    pub fn socket(&self) -> &Socket {
        self.framed.as_ref().expect("a failed upgrade is the end").get_ref()
    }

    /// Says how the connection ends. Of a failed upgrade the library knows.
    pub fn note(&self, reason: CloseReason) {
        if let Some(framed) = &self.framed {
            framed.get_ref().set_close_reason(reason);
        }
    }

    /// Turns the connection into a TLS one. What the peer has sent in clear behind its wish is refused.
    pub async fn upgrade(&mut self, tls: Tls) -> Result<(), BoxError> {
        let in_clear = self.framed().read_buffer().len() + self.ahead.iter().map(Bytes::len).sum::<usize>();
        if in_clear > 0 {
            return Err(Closed::Handshake(HandshakeError::PlaintextAfterStartTls(in_clear)).into());
        }
        if let Some(framed) = self.framed.take() {
            self.framed = Some(framed.into_inner().upgrade(tls).await?.framed(self.framing.clone()));
        }
        Ok(())
    }

    /// Whether [`Came::End`] was told.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// May be dropped and called anew: nothing is lost.
    pub async fn next(&mut self) -> Result<Came, FramingError> {
        let came = match self.ahead.pop_front() {
            Some(packet) => Came::Packet(packet),
            None if self.eof => Came::End,
            None => self.read().await?,
        };
        self.ended = matches!(came, Came::End);
        Ok(came)
    }

    async fn read(&mut self) -> Result<Came, FramingError> {
        poll_fn(|cx| match self.framed().poll_next_unpin(cx)? {
            Poll::Ready(Some(packet)) => {
                self.unfinished = None;
                Poll::Ready(Ok(Came::Packet(packet)))
            }
            Poll::Ready(None) => {
                self.eof = true;
                Poll::Ready(Ok(Came::End))
            }
            Poll::Pending => {
                let Some(limit) = self.limit.filter(|_| !self.framed().read_buffer().is_empty()) else {
                    return Poll::Pending;
                };
                ready!(self.unfinished.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(cx));
                self.unfinished = None;
                *self.framed().codec_mut() = self.framing.clone();
                Poll::Ready(Ok(Came::Unfinished(self.framed().read_buffer_mut().split().freeze())))
            }
        })
        .await
    }

    /// Returns when the peer has left with nothing behind; reads ahead to see it.
    pub async fn left(&mut self, half_close: bool) -> Result<(), FramingError> {
        while !self.eof && self.ahead.len() < AHEAD {
            // The packet time stands still during a wait.
            match self.framed().next().await {
                Some(packet) => self.ahead.push_back(packet?),
                None => self.eof = true,
            }
        }
        if half_close || !self.ahead.is_empty() {
            pending().await
        }
        Ok(())
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

    /// Sends what is left, then shuts our side.
    pub async fn close(&mut self) -> Result<(), FramingError> {
        SinkExt::<Bytes>::close(self.framed()).await
    }
}
