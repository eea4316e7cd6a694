//! The packets of a socket that the library does not drive: framing, read-ahead and the packet timeout.

use std::collections::VecDeque;
use std::future::{pending, poll_fn, Future};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Poll};
use std::time::Duration;

use actix_acceptor::{
    framing::FramingError, telemetry::CloseReason, tls::Tls, transport::HandshakeError, BoxError, Closed, Framing,
    Socket,
};
use bytes::Bytes;
use futures::{Sink, SinkExt, StreamExt};
use tokio::time::{sleep, Instant, Sleep};
use tokio_util::codec::{Encoder, Framed};

use crate::sessions::SessionStatus;

/// Highest number of packets read ahead during a wait.
const AHEAD: usize = 64;
/// How many bytes are queued at least before they are written without a flush.
const MUCH_QUEUED: usize = 8 * 1024;

pub struct Packets {
    /// `None` during an upgrade and after a failed one.
    framed: Option<Framed<Socket, Framing>>,
    /// Replaces the codec after a packet timeout.
    framing: Framing,
    ahead: VecDeque<Bytes>,
    /// When the peer has shut down its sending side.
    eof: Option<Instant>,
    /// [`Received::End`] has been returned.
    ended: bool,
    limit: Option<Duration>,
    /// The packet timeout. Runs while a packet is incomplete.
    unfinished: Option<Pin<Box<Sleep>>>,
    status: Arc<SessionStatus>,
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
    pub fn new(socket: Socket, framing: Framing, limit: Option<Duration>, status: Arc<SessionStatus>) -> Self {
        let framed = Some(socket.framed(framing.clone()));
        Packets { framed, framing, ahead: VecDeque::new(), eof: None, ended: false, limit, unfinished: None, status }
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

    /// Restarts the packet timeout after a time in which nothing was received.
    pub fn restart_packet_timeout(&mut self) {
        self.unfinished = None;
    }

    /// Whether [`Received::End`] has been returned.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Cancel safe.
    pub async fn next(&mut self) -> Result<Received, FramingError> {
        let received = match self.ahead.pop_front() {
            Some(packet) => Received::Packet(packet),
            None if self.eof.is_some() => Received::End,
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
                self.eof = Some(Instant::now());
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

    /// Resolves when a wait that began at this time must end, with the reason: the peer has shut down its sending side, and the
    /// idle timeout has passed since then. Reads ahead to detect that. Cancel safe.
    pub async fn peer_gone(&mut self, began: Instant, idle: Option<Duration>) -> BoxError {
        if let Err(error) = self.read_ahead(AHEAD).await {
            return error.into();
        }
        match (idle, self.eof) {
            (Some(idle), Some(eof)) => sleep(idle.saturating_sub(eof.max(began).elapsed())).await,
            _ => pending().await,
        }
        Closed::Idle.into()
    }

    /// The next packet. While the connection is slowed there is none; then it resolves only when the peer has shut down its
    /// sending side, and has sent nothing that is still to be handled. At most one packet is read ahead for that.
    pub async fn next_unless(&mut self, slowed: bool) -> Result<Option<Received>, FramingError> {
        if !slowed {
            return self.next().await.map(Some);
        }
        self.read_ahead(1).await?;
        if self.is_read_to_end() {
            return Ok(None);
        }
        pending().await
    }

    /// Whether the peer has shut down its sending side, and all packets before that were taken.
    pub fn is_read_to_end(&self) -> bool {
        self.eof.is_some() && self.ahead.is_empty()
    }

    /// Reads ahead until the end of the input or until `most` packets are held. The packet timeout does not run meanwhile.
    async fn read_ahead(&mut self, most: usize) -> Result<(), FramingError> {
        while self.eof.is_none() && self.ahead.len() < most {
            match self.framed().next().await {
                Some(Ok(packet)) => self.ahead.push_back(packet),
                Some(Err(error)) => return Err(error),
                None => self.eof = Some(Instant::now()),
            }
        }
        Ok(())
    }

    pub async fn send(&mut self, packet: Bytes) -> Result<(), FramingError> {
        self.feed(packet).await?;
        self.flush().await
    }

    /// Queues a packet. Writes first if much is queued.
    pub async fn feed(&mut self, packet: Bytes) -> Result<(), FramingError> {
        self.make_room().await?;
        self.framing.encode(packet, self.framed.as_mut().expect("not used after a failed upgrade").write_buffer_mut())
    }

    /// Queues bytes as they are. Writes first if much is queued.
    pub async fn feed_encoded(&mut self, bytes: Bytes) -> Result<(), FramingError> {
        self.make_room().await?;
        self.framed().write_buffer_mut().extend_from_slice(&bytes);
        Ok(())
    }

    async fn make_room(&mut self) -> Result<(), FramingError> {
        if self.framed().write_buffer().len() >= MUCH_QUEUED {
            self.flush().await?;
        }
        Ok(())
    }

    pub async fn flush(&mut self) -> Result<(), FramingError> {
        poll_fn(|cx| {
            let flushed = Sink::<Bytes>::poll_flush(Pin::new(self.framed()), cx);
            let unsent = self.framed().write_buffer().len();
            self.status.set_unsent(unsent);
            flushed
        })
        .await
    }

    /// Sends the rest and shuts down the sending side. Does nothing after a failed upgrade.
    pub async fn close(&mut self) -> Result<(), FramingError> {
        if self.framed.is_some() {
            self.flush().await?;
            SinkExt::<Bytes>::close(self.framed()).await?;
        }
        Ok(())
    }
}
