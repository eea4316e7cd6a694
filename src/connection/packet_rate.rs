//! The packet rate of a connection: each packet takes a token, and without tokens the socket is not read.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{sleep, Instant, Sleep};

use super::{Closed, Connection, Flags, Paused, Protocol};
use crate::config::{OverRate, PacketRate};
use crate::limits::TokenBucket;

/// The tokens of one connection, and the pause in which it waits for the next one.
pub(super) struct PacketBucket {
    tokens: TokenBucket,
    /// The times of `tokens` are counted from here.
    epoch: Instant,
    /// Ends the pause. `None` until the first one.
    pause: Option<Pin<Box<Sleep>>>,
    /// The number of bytes that were read and not decoded when the pause began.
    unread: usize,
    /// When it was found, in this pause, that the peer has shut down its sending side; 0 if it has not.
    peer_left: u64,
}

impl PacketBucket {
    fn new() -> Self {
        PacketBucket { tokens: TokenBucket::default(), epoch: Instant::now(), pause: None, unread: 0, peer_left: 0 }
    }

    /// Takes a token for a packet. Returns false if there is none and the packet must not be delivered.
    fn take(&mut self, limit: &PacketRate) -> bool {
        let (rate, now) = (limit.rate(), self.epoch.elapsed());
        match limit.over {
            OverRate::Close => self.tokens.take(&rate, now),
            OverRate::Slow => {
                self.tokens.take_in_advance(&rate, now);
                true
            }
        }
    }

    /// Begins a pause.
    fn pause(&mut self, time: Duration, unread: usize) {
        match &mut self.pause {
            Some(pause) => pause.as_mut().reset(Instant::now() + time),
            None => self.pause = Some(Box::pin(sleep(time))),
        }
        (self.unread, self.peer_left) = (unread, 0);
    }

    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.pause.as_mut().map_or(Poll::Ready(()), |pause| pause.as_mut().poll(cx))
    }
}

impl<P: Protocol> Connection<P> {
    /// Takes a token for a packet that was decoded, or could not be. Returns false if it must not be delivered.
    pub(super) fn take_token(&mut self) -> bool {
        let limit = self.conn.config.settings.packet_rate;
        limit.is_none_or(|limit| self.packet_bucket().take(&limit))
    }

    fn packet_bucket(&mut self) -> &mut PacketBucket {
        self.cold().packet_bucket.get_or_insert_with(|| Box::new(PacketBucket::new()))
    }

    /// Begins a pause if there is no token for another packet. Returns whether there is a pause.
    pub(super) fn slow_down(&mut self) -> bool {
        let Some(limit) = self.conn.config.settings.packet_rate.filter(|limit| limit.over == OverRate::Slow) else {
            return false;
        };
        let unread = self.conn.unread().map_or(0, |read| read.len());
        let bucket = self.packet_bucket();
        let time = bucket.tokens.until_token(&limit.rate(), bucket.epoch.elapsed());
        if !time.is_zero() {
            bucket.pause(time, unread);
            self.conn.paused.insert(Paused::SLOWED);
        }
        !time.is_zero()
    }

    /// Ends the pause if there is a token, or nothing left to read. Returns whether packets are handled because of this.
    #[inline]
    pub(super) fn poll_slowed(&mut self, cx: &mut Context<'_>) -> bool {
        self.conn.paused.contains(Paused::SLOWED) && self.poll_slowed_slow(cx)
    }

    #[cold]
    fn poll_slowed_slow(&mut self, cx: &mut Context<'_>) -> bool {
        let is_over = self.packet_bucket().poll_pause(cx).is_ready() || self.is_read_to_end(cx);
        if is_over {
            self.conn.paused.remove(Paused::SLOWED);
        }
        is_over && self.is_open()
    }

    /// Whether the peer of a slowed connection has shut down its sending side, and has sent no packets that are still to be
    /// delivered. If there are such packets, the pause lasts for at most the idle timeout.
    fn is_read_to_end(&mut self, cx: &mut Context<'_>) -> bool {
        if self.is_waiting() || self.is_upgrading() {
            // Other rules apply as long as that lasts.
            return false;
        }
        // Registers for a FIN.
        let _ = self.conn.io.poll_read_ready(cx);
        if !self.has(Flags::EOF) && self.conn.io.is_read_closed() != Some(true) {
            return false;
        }
        self.read_ahead(cx);
        if self.conn.is_closing() {
            return false;
        }
        let (unread, now) = (self.conn.unread().map_or(0, |read| read.len()), self.conn.guard.now());
        let is_at_end = self.has(Flags::EOF);
        let bucket = self.packet_bucket();
        if is_at_end && unread == bucket.unread {
            return true;
        }
        if bucket.peer_left == 0 {
            bucket.peer_left = now;
            self.conn.guard.deadlines.mark_changed();
        }
        if self.slowed_deadline().is_some_and(|deadline| deadline <= now) {
            self.close(Closed::Idle);
        }
        false
    }

    /// The end of the idle timeout of a slowed connection whose peer has left.
    pub(super) fn slowed_deadline(&self) -> Option<u64> {
        let cold = self.cold.as_ref().filter(|_| self.conn.paused.contains(Paused::SLOWED))?;
        let peer_left = cold.packet_bucket.as_ref()?.peer_left;
        self.conn.guard.deadlines.idle_deadline_of_pause(peer_left)
    }
}
